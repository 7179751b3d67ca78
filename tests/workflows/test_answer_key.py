from __future__ import annotations

from typing import Any

import pytest

from protocols.canonical import canonical_json
from protocols.errors import Mistake
from protocols.outcome import Outcome, failed_outcome
from protocols.replies import BOUNDARIES
from tests.workflows.making import DATA, load
from workflows.questions.answer_key import AnswerKey

KEY = AnswerKey(
    gold={"c": "B", "n": "1200", "t": "bob"},
    kinds={"c": "choice", "n": "number", "t": "text", "open": "text"},
    flags={"solo": {"n": 1, "c": 0, "flagged": 1}},
)


def outcome(**fields: Any) -> Outcome:
    return Outcome(**{"status": "answered", "rule": "plurality", **fields})


@pytest.mark.parametrize(
    ("question", "fields", "right"),
    [
        ("c", {"answer": "B"}, 1.0),
        ("c", {"answer": "A"}, 0.0),
        ("n", {"answer": "1,200.0"}, 1.0),
        ("n", {"answer": "1201"}, 0.0),
        ("t", {"answer": " Bob "}, 1.0),
        ("c", {"status": "unparsed"}, 0.0),
        ("c", {"status": "abstained"}, 0.0),
        ("open", {"answer": "anything"}, None),
        ("c", {"readings": [(0.4, 0.6), (0.3, 0.7)]}, 1.0),
        ("c", {"readings": [(0.4, 0.6), (0.7, 0.3)]}, 0.5),
        ("c", {"readings": [(0.4, 0.6), ()]}, 0.5),  # an order that could not be read
        ("c", {"readings": [(0.5, 0.5)], "tie_rule": "half"}, 0.5),
        ("c", {"readings": [(0.5, 0.5)], "tie_rule": "wrong"}, 0.0),
        ("c", {"readings": [(0.5, 0.5)], "tie_rule": "first"}, 0.0),
        ("c", {"readings": [(0.5, 0.5), (0.1, 0.9)], "tie_rule": "half"}, 0.75),
        ("c", {"readings": [(0.1 + 0.2, 0.3, 0.4 - 1e-12)], "tie_rule": "half"}, 0.0),
        ("c", {"readings": [(1 / 3, 1 / 3, 1 / 3)], "tie_rule": "half"}, 1 / 3),
        ("c", {"status": "tied", "readings": [(0.5, 0.5)], "tie_rule": "half"}, 0.5),
        ("c", {"status": "tied", "distribution": (0.5, 0.5), "tie_rule": "half"}, 0.5),
        ("c", {"status": "tied", "votes": {"A": 2, "B": 2, "C": 1}, "tie_rule": "half"}, 0.5),
        ("c", {"status": "tied", "votes": {"A": 2, "C": 2, "B": 1}, "tie_rule": "half"}, 0.0),
        ("c", {"status": "tied", "votes": {"A": 2, "B": 2}, "tie_rule": "none"}, 0.0),
        # What the source says of one expert counts; an aggregate is graded by its answer.
        ("n", {"answer": "7", "answered_by": "solo", "rule": "single"}, 1.0),
        ("c", {"answer": "B", "answered_by": "solo", "rule": "single"}, 0.0),
        ("n", {"status": "unparsed", "answered_by": "solo", "rule": "single"}, 1.0),
        ("n", {"answer": "7", "answered_by": "solo"}, 0.0),
        ("n", {"answer": "7", "answered_by": "other", "rule": "single"}, 0.0),
        # So does a rule that recruited one expert, but no vote of several.
        ("n", {"answer": "7", "answered_by": "solo", "detail": {"recruitment": {}}}, 1.0),
        ("c", {"answer": "B", "answered_by": "solo", "detail": {"recruitment": {}}}, 0.0),
        ("c", {"answer": "B", "detail": {"recruitment": {}}}, 1.0),
    ],
)
def test_correctness(question: str, fields: dict[str, Any], right: float | None) -> None:
    assert KEY.correctness(outcome(**fields), question) == pytest.approx(right)


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_missing_is_not_wrong(boundary: Any) -> None:
    missing = boundary in ("provider", "timeout")
    found = KEY.correctness(failed_outcome(boundary, rule="debate"), "c")
    assert found is None if missing else found == 0.0


@pytest.mark.parametrize("rule", ["single", "plurality"])
def test_where_only_the_score_was_recorded_it_counts(rule: str) -> None:
    lost = failed_outcome("provider", rule=rule, answered_by="solo")
    assert KEY.correctness(lost, "flagged") == 1.0
    assert KEY.correctness(lost, "t") is None
    assert KEY.correctness(failed_outcome("provider", rule=rule), "flagged") is None


def test_the_key_survives_json_and_labels() -> None:
    key = load(DATA / "gsm8k.jsonl.gz").key
    assert AnswerKey.from_json(key.as_json()) == key
    canonical_json(key.as_json())
    renamed = key.for_experts({"big": "gpt-4-1106-preview", "nobody": "none"})
    assert list(renamed.singles) == ["big"]
    assert renamed.flags["big"] == key.flags["gpt-4-1106-preview"]
    assert renamed.gold == key.gold
    with pytest.raises(Mistake, match="another format"):
        AnswerKey.from_json({"format": 2})


def test_single_experts_are_scored_by_the_sources_flag() -> None:
    loaded = load(DATA / "gsm8k.jsonl.gz")
    assert loaded.recorded is not None
    for row in loaded.recorded.rows:
        for model, flag in (row.correct or {}).items():
            assert loaded.key.singles[model][row.id] is bool(flag)


def test_no_gold_is_inside_a_question() -> None:
    for name in ("gsm8k", "bbh", "pandalm", "nyu_sessions"):
        for question in load(DATA / f"{name}.jsonl.gz").questions:
            assert set(question.model_dump()) == {
                "id",
                "text",
                "options",
                "kind",
                "passage",
                "category",
                "subject",
                "cluster",
            }
