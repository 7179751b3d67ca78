"""The aggregators' bench: one right and two wrong answers, in an order that tells nothing."""

from __future__ import annotations

import pytest

from protocols.aggregator_bench import AggregatorBench, bench_answers, bench_material
from protocols.aggregators import AggregatorScores
from protocols.cast import Asset, Cast
from protocols.errors import Mistake
from protocols.evidence import Evidence, EvidenceQuestion
from protocols.question import Question
from protocols.replies import Reply, failed
from tests.protocols.deliberating import names, said_to
from tests.protocols.examples import BENCH, CHOICE, cast_of
from tests.protocols.harness import everything_said, in_turn, play

EXPERTS = ("ada", "bob", "cy", "dee", "eve")


def evidence_of(**given: str) -> Evidence:
    """Return evidence: question id -> what each expert answered, the right answer being A."""
    return Evidence(
        questions=tuple(EvidenceQuestion(id=id, text="?", options=tuple("wxyz")) for id in given),
        right={
            expert: "".join(
                "-" if said[i] == "-" else "01"[said[i] == "A"] for said in given.values()
            )
            for i, expert in enumerate(EXPERTS)
        },
        answers={
            expert: tuple(None if said[i] in "-?" else said[i] for said in given.values())
            for i, expert in enumerate(EXPERTS)
        },
    )


def shown(asset: Asset, id: str) -> list[str]:
    cast = cast_of(aggregator=("zoe",), assets={"bench": asset})
    return bench_answers(Question(id=id, text="?", kind="text"), cast)


def test_one_right_and_two_different_wrong_answers_are_drawn():
    asset = bench_material(evidence_of(q1="ABBBC", q2="AABBB", q3="BBBBB", q4="AAAAB", q5="A-?BB"))
    assert isinstance(asset.content, dict)
    assert sorted(asset.content) == ["q1", "q2", "q5"]  # the others lack a right or a wrong one
    assert shown(asset, "q1") == ["Answer: A", "Answer: B", "Answer: C"]
    assert shown(asset, "q2") == ["Answer: A", "Answer: B", "Answer: B"]


def test_recorded_texts_are_shown_where_there_are_any():
    texts = {"ada": {"q": "Long ago.\nAnswer: A"}, "bob": {"q": ""}}
    asset = bench_material(evidence_of(q="AB?B?"), texts)
    assert shown(asset, "q") == ["Answer: B", "Answer: B", "Long ago.\nAnswer: A"]


def test_the_material_is_a_function_of_evidence_and_seed():
    evidence = evidence_of(**{f"q{i}": "AABBC" for i in range(20)})
    texts = {name: {f"q{i}": f"{name} says.\nAnswer: ?" for i in range(20)} for name in EXPERTS}
    one = bench_material(evidence, texts)
    assert one.digest == bench_material(evidence, texts).digest
    assert one.digest != bench_material(evidence, texts, seed=1).digest
    rest = bench_material(evidence.subset(["q7"]), texts)
    assert shown(rest, "q7") == shown(one, "q7")  # other questions change nothing


def test_evidence_without_such_questions_is_refused():
    for evidence in (evidence_of(q="AAAAB"), Evidence(questions=(), right={})):
        with pytest.raises(Mistake, match="no question with one right and two wrong"):
            bench_material(evidence)


def test_a_candidate_reads_three_quoted_answers_in_an_order_that_is_drawn():
    cast = cast_of(aggregator=("zoe",), assets={"bench": BENCH})
    orders = set()
    for seed in range(20):
        played = play(AggregatorBench(), CHOICE, cast, in_turn("B"), seed=seed)
        (ask,) = played.asks
        assert names(ask) == ["question", "options", *["answer"] * 3, "review", "task"]
        orders.add(tuple(text.splitlines()[-1] for text in said_to(ask)))
        outcome = played.outcome
        assert (outcome.answer, outcome.rule, outcome.answered_by) == ("B", "single", "zoe")
        assert sorted(outcome.detail["shown"]) == ["A", "B", "C"]
    assert len(orders) == 6


def test_neither_session_nor_material_says_which_is_right():
    evidence = evidence_of(q="ABBCD")
    asset = bench_material(evidence)
    other = Evidence(  # another answer is right: the same three may be drawn
        questions=evidence.questions,
        right=dict(zip(EXPERTS, ("0", "1", "1", "0", "0"), strict=True)),
        answers=evidence.answers,
    )
    assert asset.kind == "bench"
    assert shown(asset, "q") == sorted(shown(asset, "q"))
    assert shown(bench_material(other), "q") == sorted(shown(bench_material(other), "q"))
    cast = cast_of(aggregator=("zoe",), assets={"bench": BENCH})
    said = everything_said(play(AggregatorBench(), CHOICE, cast, in_turn("B")).asks)
    assert "correct" not in said


@pytest.mark.parametrize(
    ("reply", "status", "unparsed"),
    [(Reply("Hm."), "unparsed", 1), (failed("timeout", ""), "failed", 0)],
)
def test_a_candidate_that_gives_no_answer(reply, status, unparsed):
    cast = cast_of(aggregator=("zoe",), assets={"bench": BENCH})
    outcome = play(AggregatorBench(), CHOICE, cast, in_turn(reply)).outcome
    assert (outcome.status, outcome.unparsed, outcome.answer) == (status, unparsed, None)


@pytest.mark.parametrize(
    "content",
    [
        None,
        [],
        {},
        *({CHOICE.id: said} for said in (["a", "b"], ["a", "b", 3], ["a", "b", ""], "abc")),
    ],
)
def test_a_question_without_three_answers_is_refused(content):
    assets = {} if content is None else {"bench": Asset(kind="bench", content=content)}
    cast = cast_of(aggregator=("zoe",), assets=assets)
    with pytest.raises(Mistake, match=r"needs 3 answers to question 'q/choice'"):
        play(AggregatorBench(), CHOICE, cast, in_turn("A"))


def test_from_the_bench_to_the_chosen_aggregator():
    """Two candidates over a bench of six questions; the one that finds more is chosen."""
    evidence = evidence_of(**{f"q{i}": "ABBCD" for i in range(6)})
    asset = bench_material(evidence)
    found = []
    for candidate, answer in (("zoe", "A"), ("yan", "B")):
        cast: Cast = cast_of(aggregator=(candidate,), assets={"bench": asset})
        for asked in evidence.questions:
            question = Question(id=asked.id, text=asked.text, options=asked.options)
            outcome = play(AggregatorBench(), question, cast, in_turn(answer)).outcome
            found.append((candidate, asked.category, outcome.answer == "A"))
    scores = AggregatorScores.of(found)
    assert scores.expert("anything") == "zoe"
    assert scores.scores["yan"][""].share == 0.0
