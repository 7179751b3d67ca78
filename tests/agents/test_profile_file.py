"""Measured experts: what is added counts once, files come back, what is none is one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agents.profile_file import (
    Measured,
    is_profile_file,
    load_profile,
    read_measured,
    write_measured,
)
from protocols.errors import Mistake
from protocols.evidence import Evidence, EvidenceQuestion
from tests.protocols.examples import PROFILE


def question(number: int, *skills: str, **more: str) -> EvidenceQuestion:
    fields = {"id": f"q/{number}", "text": f"What is {number}?", "kind": "text", **more}
    return EvidenceQuestion.model_validate({**fields, "skills": skills})


def evidence(*questions: EvidenceQuestion, **right: str) -> Evidence:
    answers: dict[str, tuple[str | None, ...]] = {e: ("a",) * len(f) for e, f in right.items()}
    return Evidence(questions=questions, right=right, answers=answers)


OLD = Measured(
    evidence=evidence(question(1, "law"), question(2, "law", "sums"), ann="10", bob="1-")
)


def test_more_questions_add_up():
    both = OLD.plus(Measured(evidence=evidence(question(3, "law"), ann="1", bob="0")))
    assert both.evidence.right == {"ann": "101", "bob": "1-0"}
    assert both.profile.skills == {"ann": {"law": 1.0, "sums": -1.0}, "bob": {"law": 0.0}}
    assert both.profile.asked == {"ann": 3, "bob": 2}
    assert both.counts() == {"ann": {"law": 3, "sums": 1}, "bob": {"law": 2}}


def test_more_experts_are_added():
    both = OLD.plus(Measured(evidence=evidence(question(2, "law", "sums"), cy="1")))
    assert both.evidence.right == {"ann": "10", "bob": "1-", "cy": "-1"}
    assert both.evidence.answers["cy"] == (None, "a")


def test_the_same_question_counts_once_and_the_new_answer_counts():
    again = Measured(evidence=evidence(question(1, "law"), question(2, "law"), ann="0-", bob="-1"))
    both = OLD.plus(again)
    assert both.evidence.right == {"ann": "00", "bob": "11"}
    assert OLD.plus(OLD).evidence.right == OLD.evidence.right
    assert OLD.plus(OLD).profile.skills == OLD.profile.skills


def test_a_question_is_known_by_its_content():
    other_id = question(1, "law", id="other")
    both = OLD.plus(Measured(evidence=evidence(other_id, ann="0")))
    assert [q.id for q in both.evidence.questions] == ["q/1", "q/2"]
    with pytest.raises(Mistake, match="'q/1' stands for two questions"):
        OLD.plus(Measured(evidence=evidence(question(1, text="Something else?"), ann="1")))


def test_skills_named_in_another_way_do_not_mix():
    with pytest.raises(Mistake, match="--skills subject"):
        OLD.plus(Measured(skills_by="menu", evidence=evidence(question(3), ann="1")))


def test_costs_are_means_over_all_answers():
    def priced(cost: float, unit: str, flags: str) -> Measured:
        asked = tuple(question(i + (10 if unit == "usd" else 0)) for i in range(len(flags)))
        found = evidence(*asked, ann=flags)
        return Measured(
            evidence=Evidence(
                questions=found.questions,
                right=found.right,
                cost={"ann": cost},
                cost_unit=unit,  # type: ignore[arg-type]
            )
        )

    both = priced(1.0, "characters", "1").plus(priced(3.0, "characters", "111"))
    assert both.evidence.cost == {"ann": 2.5}
    mixed = priced(1.0, "characters", "1").plus(priced(3.0, "usd", "111"))
    assert (mixed.evidence.cost, mixed.evidence.cost_unit) == ({"ann": 3.0}, "usd")


def test_key_phrases_are_fitted_again_on_all_questions():
    texts = ["a contract", "contract law", "one more contract", "a cell", "cells", "rivers"]
    asked = tuple(question(i, text=text) for i, text in enumerate(texts))
    first = Measured.of(evidence(*asked[:2], ann="11"), "text")
    assert first.text_skills is not None
    assert first.text_skills.phrases == {}
    both = first.plus(Measured.of(evidence(*asked[2:], ann="0000"), "text"))
    assert both.text_skills is not None
    assert both.text_skills.known == ("contract",)
    assert both.profile.skills == {"ann": {"contract": 1.0}}


def test_a_file_comes_back(tmp_path: Path):
    path = tmp_path / "p.json"
    write_measured(path, OLD)
    assert read_measured(path) == OLD
    assert load_profile(path) == (OLD.profile, OLD.evidence)
    assert is_profile_file(path)
    write_measured(path, read_measured(path))
    assert read_measured(path) == OLD


@pytest.mark.parametrize("wrapped", [True, False])
def test_a_profile_alone_is_read_without_evidence(tmp_path: Path, wrapped: bool):
    path = tmp_path / "p.json"
    content = PROFILE.model_dump(mode="json")
    path.write_text(json.dumps({"profile": content} if wrapped else content), encoding="utf-8")
    assert load_profile(path) == (PROFILE, None)
    with pytest.raises(Mistake, match="no evidence"):
        read_measured(path)


@pytest.mark.parametrize(
    "text",
    ["", "[]", "nothing", '{"evidence": 1}', '{"skills": {"a": 1}}', "[" * 50_000, '{"a": 1}\n{}'],
)
def test_what_is_no_profile_is_one_line(tmp_path: Path, text: str):
    path = tmp_path / "p.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(Mistake) as caught:
        load_profile(path)
    assert "\n" not in str(caught.value)
    assert "p.json" in str(caught.value)


def test_no_file_and_no_folder(tmp_path: Path):
    with pytest.raises(Mistake, match="check the path"):
        load_profile(tmp_path / "nowhere.json")
    with pytest.raises(Mistake, match="cannot be written"):
        write_measured(tmp_path / "no" / "folder.json", OLD)
    assert not is_profile_file(tmp_path)
