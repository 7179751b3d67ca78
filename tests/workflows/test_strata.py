"""Strata: sides joined with the key after the sessions are over."""

from __future__ import annotations

from typing import Any

import pytest

from protocols.outcome import Outcome, failed_outcome
from workflows.comparing.findings import by_stratum
from workflows.comparing.strata import Stratum, strata, stratum_scores
from workflows.comparing.table import Scored, protocol_row
from workflows.questions.answer_key import AnswerKey

KEY = AnswerKey(gold={"q": "A", "r": "B"}, kinds={"q": "choice", "r": "choice", "s": "choice"})
FOR_A, FOR_B, EVEN = (0.8, 0.2), (0.1, 0.9), (0.5, 0.5)


def outcome(*readings: tuple[float, ...], **detail: Any) -> Outcome:
    return Outcome(
        status="answered",
        answer="A",
        distribution=(0.5, 0.5),
        readings=readings,
        rule="x",
        tie_rule="half",
        detail=detail,
    )


def sides(*entries: tuple[str, list[int]], chosen: bool = False) -> list[dict[str, Any]]:
    more = {"chosen": True} if chosen else {}
    return [{"side": side, "by": "ada", "readings": at, **more} for side, at in entries]


CONSULTED = {"consultants": {"A": "ada"}}


@pytest.mark.parametrize(
    ("found", "scores"),
    [
        pytest.param(
            outcome(FOR_A, FOR_B, EVEN, FOR_B, sides=sides(("A", [0, 1]), ("B", [2, 3])),
                    stagings=[CONSULTED, {"consultants": {"B": "ada"}}]),
            [("honest", 0.5), ("dishonest", 0.25)],
            id="both sides in two orders, a tie counts half",
        ),
        pytest.param(
            outcome(FOR_A, sides=sides(("B", [0])), consultants={"B": "ada"}),
            [("dishonest", 1.0)],
            id="one side",
        ),
        pytest.param(
            outcome(FOR_B, sides=sides(("A", [0]), chosen=True), debaters={"A": "x", "B": "y"}),
            [("protagonist_right", 0.0)],
            id="a protagonist",
        ),
        pytest.param(
            outcome(FOR_A, FOR_B, sides=sides(("A", [0]), ("B", [1])),
                    stagings=[{"debaters": {"A": "x", "B": "y"}}] * 2),
            [("first_right", 1.0), ("first_wrong", 0.0)],
            id="both assignments of two debaters",
        ),
        pytest.param(
            outcome(FOR_A, (), sides=sides(("A", [1])), **CONSULTED),
            [("honest", 0.0)],
            id="a reading that was lost is not correct",
        ),
        pytest.param(
            Outcome(status="unparsed", rule="x", detail={"sides": sides(("A", [0])), **CONSULTED}),
            [("honest", 0.0)],
            id="unparsed",
        ),
        pytest.param(
            failed_outcome("provider", rule="x", detail={"sides": sides(("A", [0])), **CONSULTED}),
            [],
            id="missing",
        ),
        pytest.param(outcome(FOR_A, debaters={"A": "x", "B": "y"}), [], id="nobody's side tells"),
    ],
)  # fmt: skip
def test_a_session_is_scored_by_side(found: Outcome, scores: list[tuple[str, float]]) -> None:
    made = stratum_scores(found, "q", KEY)
    assert [name for name, _ in made] == [name for name, _ in scores]
    assert [score for _, score in made] == pytest.approx([score for _, score in scores])
    assert stratum_scores(found, "s", KEY) == [], "no gold answer is known"


def test_strata_count_questions_of_which_repeats_are_means() -> None:
    honest = {"sides": sides(("A", [0])), **CONSULTED}
    rows = [("q", outcome(FOR_A, **honest)), ("q", outcome(FOR_B, **honest))]
    rows.append(("r", outcome(FOR_B, **honest)))
    assert strata(rows, KEY) == {
        "honest": Stratum(n=1, correct=0.5, accuracy=0.5),
        "dishonest": Stratum(n=1, correct=1.0, accuracy=1.0),
    }
    assert strata([("q", outcome(FOR_A))], KEY) == {}


def test_rows_hold_strata_and_are_told() -> None:
    detail = {"sides": sides(("A", [0])), **CONSULTED}
    scored = [Scored("q", outcome(FOR_A, **detail)), Scored("r", outcome(FOR_A, **detail))]
    row = protocol_row("consultancy", [*scored, Scored("q", None)], KEY, {}, calls=3)
    assert row.as_json()["strata"] == {
        "honest": {"n": 1, "correct": 1.0, "accuracy": 1.0},
        "dishonest": {"n": 1, "correct": 0.0, "accuracy": 0.0},
    }
    (line,) = by_stratum([row])
    assert line.startswith("consultancy: right on 100.0 % where the consultant is honest (n = 1), ")
    assert line.endswith("0.0 % where it is dishonest (n = 1)")
    plain = protocol_row("debate", [Scored("q", outcome(FOR_A))], KEY, {}, calls=1)
    assert plain.as_json()["strata"] == {}
    assert by_stratum([plain]) == []
