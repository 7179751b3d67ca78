"""Deliberations are scored by their first answers and round by round, and told in a sentence."""

from __future__ import annotations

from typing import Any

import pytest

from protocols.outcome import Outcome, Status, failed_outcome
from workflows.comparing.findings import by_round as sentences
from workflows.comparing.rounds import FirstAnswers, Round, by_round, first_answers
from workflows.comparing.table import Row, Scored, protocol_row
from workflows.questions.answer_key import AnswerKey

KEY = AnswerKey(
    gold={"q": "A", "r": "A", "t": "A", "number": "4"},
    kinds={"q": "choice", "r": "choice", "t": "choice", "number": "number", "open": "choice"},
)


def rounds(*answers: str | None) -> list[dict[str, Any]]:
    return [{"answer": answer, "answers": {"ada": answer}} for answer in answers]


def detail(first: str | None, *answers: str | None) -> dict[str, Any]:
    return {"first_plurality": first, "rounds": rounds(*answers)}


def talked(first: str | None, *answers: str | None, **more: Any) -> Outcome:
    status: Status = "unparsed" if answers[-1] is None else "answered"
    told = {**detail(first, *answers), **more}
    return Outcome(status=status, answer=answers[-1], rule="plurality", detail=told)


def row(*sessions: tuple[str, Outcome]) -> Row:
    scored = [Scored(question, outcome) for question, outcome in sessions]
    return protocol_row("multiagent_debate", scored, KEY, {}, calls=1)


def test_every_round_is_graded_and_so_is_the_vote_of_the_first_answers() -> None:
    sessions = [("q", talked("A", "B", "A")), ("r", talked("B", "B", "A"))]
    assert first_answers(sessions, KEY) == FirstAnswers(n=2, correct=1.0, accuracy=0.5)
    assert by_round(sessions, KEY) == (Round(0, 2, 0.0, 0.0, 2), Round(1, 2, 2.0, 1.0, 2))


def test_a_session_that_ended_before_counts_with_its_last_answer() -> None:
    sessions = [("q", talked("A", "A")), ("r", talked("B", "B", "B", "A"))]
    found = by_round(sessions, KEY)
    assert [(one.n, one.correct, one.held) for one in found] == [(2, 1, 2), (2, 1, 1), (2, 2, 1)]
    assert sentences([row(*sessions)]) == [
        "multiagent_debate: 50.0 % by its first answers' majority, 100.0 % after up to 2 rounds"
    ]


def test_repeats_of_a_question_are_means() -> None:
    sessions = [("q", talked("A", "A")), ("q", talked("B", "B")), ("r", talked("A", "A"))]
    assert first_answers(sessions, KEY) == FirstAnswers(2, 1.5, 0.75)
    assert by_round(sessions, KEY) == (Round(0, 2, 1.5, 0.75, 3),)


def test_numbers_are_compared_as_numbers() -> None:
    assert first_answers([("number", talked("4.0", "4.0"))], KEY) == FirstAnswers(1, 1.0, 1.0)


def test_what_nobody_could_read_is_wrong_and_what_is_missing_is_left_out() -> None:
    unread = [("q", talked(None, None))]
    assert first_answers(unread, KEY) == FirstAnswers(1, 0.0, 0.0)
    assert by_round(unread, KEY) == (Round(0, 1, 0.0, 0.0, 1),)
    missing = {"rounds": [{"answer": None, "answers": {}}, *rounds("A")]}
    late = [("q", talked(None, "A", **missing))]
    assert first_answers(late, KEY) is None
    assert by_round(late, KEY) == (Round(1, 1, 1.0, 1.0, 1),)


@pytest.mark.parametrize(
    ("question", "outcome"),
    [
        ("open", talked("A", "A")),
        ("q", failed_outcome("provider", rule="plurality", detail=detail("A", "A"))),
        ("q", Outcome(status="answered", answer="A", rule="single")),
        ("q", Outcome(status="answered", answer="A", rule="x", detail={"rounds": 3})),
        ("q", Outcome(status="answered", answer="A", rule="x", detail={"rounds": [{"A": "x"}, 1]})),
    ],
    ids=["no gold answer", "missing", "no deliberation", "rounds are a number", "other rounds"],
)
def test_nothing_is_told_where_there_is_nothing(question: str, outcome: Outcome) -> None:
    assert first_answers([(question, outcome)], KEY) is None
    assert by_round([(question, outcome)], KEY) == ()
    made = row((question, outcome))
    assert made.as_json()["first_answers"] is None
    assert made.as_json()["by_round"] == []
    assert sentences([made]) == []


def test_nothing_at_all_is_nothing() -> None:
    assert first_answers([], KEY) is None
    assert by_round([], KEY) == ()


def test_a_refused_session_counts_as_wrong_at_its_end_and_keeps_its_first_answers() -> None:
    refused = failed_outcome("refused", rule="plurality", detail=detail("A", "A", None))
    made = row(("q", refused), ("r", talked("A", "A", "A")))
    assert made.as_json()["first_answers"] == {"n": 2, "correct": 2.0, "accuracy": 1.0}
    assert [one["correct"] for one in made.as_json()["by_round"]] == [2.0, 1.0]
    assert sentences([made]) == [
        "multiagent_debate: 100.0 % by its first answers' majority, 50.0 % after 1 round"
    ]


def test_other_denominators_are_told() -> None:
    plain = Outcome(status="answered", answer="A", rule="x", detail={"first_plurality": "B"})
    bare = Outcome(status="answered", answer="A", rule="x")
    assert sentences([row(("q", plain), ("r", bare))]) == [
        "multiagent_debate: 0.0 % by its first answers' majority (n = 1), 100.0 % at its end"
    ]
