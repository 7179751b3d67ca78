"""Evidence from recorded answers: right, wrong, missing; answers as they are compared; lengths."""

from __future__ import annotations

from pathlib import Path

import pytest

from agents.evidence import evidence_from_recorded
from agents.recorded_file import read_recorded
from tests.agents.making import row, write_rows


def test_answers_flags_and_lengths(tmp_path: Path) -> None:
    rows = [
        row(0, chars={"good": 100, "bad": 10}),
        row(1, answers={"good": "b", "bad": None}, chars={"good": 50}),
        row(2, answers={"good": "A"}, chars=None),
    ]
    file = read_recorded(write_rows(tmp_path / "p.jsonl", *rows))
    found = evidence_from_recorded(file, {"top": "good", "low": "bad", "new": "nobody"})
    assert found.right == {"top": "101", "low": "00-", "new": "---"}
    assert found.answers == {"top": ("A", "B", "A"), "low": ("B", None, None)}
    assert found.cost == {"top": 75.0, "low": 10.0}
    assert found.cost_unit == "characters"
    assert [question.id for question in found.questions] == [r["id"] for r in rows]
    assert found.questions[0].options == tuple(rows[0]["options"])
    assert found.measured_on
    assert found == evidence_from_recorded(file, {"low": "bad", "new": "nobody", "top": "good"})


def test_the_sources_flag_counts_and_a_number_is_a_number(tmp_path: Path) -> None:
    rows = [
        row(0, kind="numeric", options=None, gold="1200", answers={"m": "1,200.0"},
            correct={"m": 0}, chars=None),
        row(1, answers=None, correct={"m": 1}, chars=None),
    ]  # fmt: skip
    file = read_recorded(write_rows(tmp_path / "p.jsonl", *rows))
    found = evidence_from_recorded(file, {"m": "m"})
    assert found.right == {"m": "01"}
    assert found.answers == {"m": ("1200", None)}
    assert (found.cost, found.cost_unit) == ({}, "")


def test_correctness_alone_gives_no_answers(tmp_path: Path) -> None:
    rows = [row(n, answers=None, correct={"m": n % 2}, chars=None) for n in range(4)]
    found = evidence_from_recorded(
        read_recorded(write_rows(tmp_path / "p.jsonl", *rows)), {"m": "m"}
    )
    assert found.right == {"m": "0101"}
    assert found.answers == {}


@pytest.mark.parametrize("category", ["", "law"])
def test_a_question_is_filed_under_its_topics(tmp_path: Path, category: str) -> None:
    file = read_recorded(write_rows(tmp_path / "p.jsonl", row(0, category=category)))
    (question,) = evidence_from_recorded(file, {"good": "good"}).questions
    assert question.skills == tuple(sorted({category, question.subject} - {""}))
