"""Rules are tried on parts of the profile's questions that they have not learned from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from orchestrator.spec import Entry
from protocols.cast import Cast
from protocols.evidence import EVIDENCE, Evidence, EvidenceQuestion
from protocols.outcome import Outcome, failed_outcome
from protocols.profile import PROFILE
from protocols.registry import make_protocol
from protocols.skills import SKILLS, skills_asset
from tests.protocols.examples import cast_of
from workflows.recruiting.selection import (
    Answers,
    Tried,
    cross_validated,
    folds_of,
    selected,
    selection,
)

THREE = Evidence(
    questions=tuple(
        EvidenceQuestion(id=f"v{n}", text=f"Question {n}?", options=("x", "y"), category="law")
        for n in (1, 2, 3)
    ),
    right={"ada": "110", "bob": "011"},
    answers={"ada": ("A", "A", "B"), "bob": ("B", "A", "A")},
)
"""A is right to all three."""


def entry(name: str, evidence: Evidence = THREE, kind: str = "routed", **parameters: Any) -> Entry:
    assets = {EVIDENCE: evidence.as_asset(), PROFILE: evidence.profile().as_asset()}
    cast = cast_of(solver=evidence.experts, assets=assets)
    return Entry(name, make_protocol(kind, parameters), cast)


def tried(one: Entry, evidence: Evidence = THREE, folds: int = 3, **more: Any) -> Tried:
    parts = folds_of(evidence, folds)
    return cross_validated(one.name, one.protocol, one.cast, Answers(evidence), parts, **more)


def test_three_questions_by_hand() -> None:
    """Each question is left out once.

    Without v1 bob has 2 of 2, ada 1 of 2: bob is asked and wrong. Without v2 each has 1 of 2: ada
    by name, who is right. Without v3 ada has 2 of 2: she is asked and wrong.
    """
    alone = tried(entry("alone", rule="best_single"))
    assert alone.right == {"v1": False, "v2": True, "v3": False}
    assert alone.accuracy == pytest.approx(1 / 3)
    assert alone.calls == 3
    both = tried(entry("both", rule="best_single", k=2))  # ties go to who is best on the others
    assert both.right == {"v1": False, "v2": True, "v3": False}
    assert both.calls == 6
    nothing_left_out = tried(entry("one fold", rule="best_single"), folds=2)
    assert set(nothing_left_out.right) == {"v1", "v2", "v3"}


def test_of_equal_rules_the_cheaper_one_is_selected_then_the_first() -> None:
    both, alone = entry("both", rule="best_single", k=2), entry("alone", rule="best_single")
    same = entry("same", rule={"rule": "task_best", "least": 9})
    found, best = selection([both, alone, same], THREE, 3)
    assert found == pytest.approx({"both": 1 / 3, "alone": 1 / 3, "same": 1 / 3})
    assert best == "alone"


def test_a_missing_outcome_gains_nothing() -> None:
    few = Tried("few", {"v1": True}, 1)
    more = Tried("more", {"v1": True, "v2": True, "v3": False}, 3)
    nothing = Tried("nothing", {}, 3)
    assert (few.accuracy, nothing.accuracy) == (1.0, None)
    assert selected([few, more, nothing]) == "more"
    assert selected([nothing]) is None
    assert selected([]) is None


def questions_of(evidence: Evidence, folds: int, seed: int = 0) -> list[list[str]]:
    return [[q.id for q in fold.questions] for fold in folds_of(evidence, folds, seed)]


def many(count: int) -> Evidence:
    return Evidence(
        questions=tuple(EvidenceQuestion(id=f"v{n}", text=f"{n}?") for n in range(count)),
        right={"ada": "1" * count},
    )


@pytest.mark.parametrize(("count", "folds"), [(7, 3), (3, 5), (1, 2), (20, 5)])
def test_every_question_is_in_one_part_and_parts_are_of_almost_equal_size(
    count: int, folds: int
) -> None:
    evidence = many(count)
    parts = folds_of(evidence, folds)
    assert len(parts) == min(count, folds)
    sizes = [len(part.questions) for part in parts]
    assert max(sizes) - min(sizes) <= 1
    ids = [question.id for part in parts for question in part.questions]
    assert sorted(ids) == sorted(question.id for question in evidence.questions)
    for part in parts:
        rest = Evidence.from_asset(part.assets[EVIDENCE])
        assert {q.id for q in rest.questions} == set(ids) - {q.id for q in part.questions}


def test_the_deal_depends_on_seed_and_ids_alone() -> None:
    evidence = many(20)
    turned = Evidence(questions=evidence.questions[::-1], right=evidence.right)
    assert questions_of(evidence, 4) == questions_of(turned, 4)
    assert questions_of(evidence, 4) != questions_of(evidence, 4, seed=1)
    assert folds_of(many(0), 3) == ()


def test_a_rule_never_learns_from_the_question_at_hand() -> None:
    """The question before the last is like the last: who memorised it would be right on it."""
    questions = tuple(
        EvidenceQuestion(id=f"v{n}", text="The same words?", category=f"c{n}") for n in range(6)
    )
    evidence = Evidence(questions=questions, right={"ada": "101010", "bob": "010101"})
    one = entry("near", evidence, rule={"rule": "task_best", "least": 1})
    found = tried(one, evidence, folds=6)
    assert not any(found.right.values())  # the other one is always better on what is left


CORRECTNESS = THREE.model_copy(update={"answers": {}})


def test_evidence_without_answers_serves_rules_that_ask_one_expert() -> None:
    alone = entry("alone", CORRECTNESS, rule="best_single")
    both = entry("both", CORRECTNESS, rule="best_single", k=2)
    found, best = selection([both, alone], CORRECTNESS, 3)
    assert found == pytest.approx({"alone": 1 / 3})
    assert best == "alone"


def test_only_rules_over_measured_experts_are_tried() -> None:
    stranger = entry("stranger", rule="best_single")
    cast = cast_of(solver=("ada", "zoe"), assets=dict(stranger.cast.assets))
    others = [
        entry("plain", kind="plurality"),
        entry("chance", rule="random"),
        Entry("stranger", stranger.protocol, cast),
    ]
    assert selection(others, THREE, 3) == ({}, None)
    assert selection([*others, entry("one", rule="best_single")], THREE, 3)[1] == "one"


def test_a_broken_rule_is_missing() -> None:
    one = entry("one", rule="best_single")
    without = Cast(members=one.cast.members)  # no evidence at all
    found = cross_validated("one", one.protocol, without, Answers(THREE), folds_of(THREE, 3))
    assert (found.right, found.accuracy) == ({}, None)


@pytest.mark.parametrize(
    "parameters", [{"rule": "expert_choice", "k": 1}, {"rule": "best_single", "trim": 0.3}]
)
def test_teams_are_settled_among_the_questions_of_the_part(parameters: Mapping[str, Any]) -> None:
    found = tried(entry("settled", **parameters))
    assert set(found.right) == {"v1", "v2", "v3"}
    assert found.calls >= 3


def test_annotated_skills_of_the_evidence_count_where_the_run_reads_skills() -> None:
    questions = tuple(
        EvidenceQuestion(id=f"v{n}", text=f"{n}?", options=("x", "y"), skills=(skill,))
        for n, skill in enumerate(("law", "art") * 3)
    )
    right = {"ada": "101010", "bob": "010101"}
    answers: dict[str, tuple[str | None, ...]] = {
        expert: tuple("A" if flag == "1" else "B" for flag in flags)
        for expert, flags in right.items()
    }
    evidence = Evidence(questions=questions, right=right, answers=answers)
    one = entry("skills", evidence, kind="symbolic_moe", k=1, replacement=False)
    named = {**one.cast.assets, SKILLS: skills_asset({"other": ["law"]})}
    with_skills = Entry("skills", one.protocol, cast_of(solver=("ada", "bob"), assets=named))
    assert tried(with_skills, evidence, folds=6).accuracy == 1.0
    assert tried(one, evidence, folds=6).accuracy != 1.0  # nobody says what the questions take


def test_recorded_answers_as_replies_and_who_is_right() -> None:
    evidence = Evidence(
        questions=(EvidenceQuestion(id="v", text="?", options=("x", "y")),),
        right={"ada": "1", "bob": "0", "cy": "-"},
        answers={"ada": ("A",), "bob": (None,), "cy": (None,)},
    )
    answers = Answers(evidence)
    assert answers.reply("ada", "v").text == "Answer: A"
    assert not answers.reply("bob", "v").failed
    assert "Answer" not in answers.reply("bob", "v").text
    for missing in ("cy", "nobody"):
        failure = answers.reply(missing, "v").failure
        assert failure is not None
        assert (failure.boundary, failure.cause) == ("provider", "not_recorded")

    def right(**fields: Any) -> bool | None:
        return answers.right(Outcome(**{"status": "answered", "rule": "vote", **fields}), "v")

    assert right(answer="A") is True
    assert right(answer="B") is False
    assert right(status="unparsed", answer=None) is False
    assert right(status="unparsed", answered_by="ada") is True  # as the source scored it
    assert answers.right(failed_outcome("provider", rule="vote"), "v") is None
    assert answers.right(failed_outcome("provider", rule="vote", answered_by="bob"), "v") is False
    assert answers.right(failed_outcome("refused", rule="vote"), "v") is False
