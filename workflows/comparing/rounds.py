"""Deliberation scored round by round: what the first answers were worth, and what talking added.

The outcome of a deliberation tells in its detail the plurality of the first answers
(``first_plurality``) and what the protocol would have answered after every round (``rounds``).
Joined here to the answer key, after the sessions are over, they tell whether the rounds paid.

Denominators are those of the table: what is missing (no gold answer, a provider's failure or a
timeout) is left out; what the protocol itself left open or could not read is not correct.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from agents.grading import grade
from protocols.outcome import Outcome
from workflows.questions.answer_key import AnswerKey


@dataclass(frozen=True, slots=True)
class FirstAnswers:
    """How the plurality of the first answers did, on the sessions of one protocol."""

    n: int
    """Questions with first answers, less the missing ones."""
    correct: float
    """How many of them are right; repeats are means."""
    accuracy: float
    """correct / n."""


@dataclass(frozen=True, slots=True)
class Round:
    """How a protocol would have done had it ended after one of its rounds."""

    round: int
    """0 is the first answers, by the protocol's own rule; 1 the first round after them."""
    n: int
    """Questions, less the missing ones. A session that ended before this round counts with the
    answer of its last one, so that all rounds are over the same sessions."""
    correct: float
    """How many of them are right; repeats are means."""
    accuracy: float
    """correct / n."""
    held: int
    """Sessions that came so far."""


def first_answers(scored: Iterable[tuple[str, Outcome]], key: AnswerKey) -> FirstAnswers | None:
    """Return how the plurality of the first answers did; None where no session tells it.

    Args:
        scored: question id and outcome of each session.
        key: the gold answers.
    """
    values: dict[str, list[float]] = {}
    for question, outcome in _scorable(scored, key):
        told = _rounds(outcome)
        if "first_plurality" not in outcome.detail or (told and _nobody(told[0])):
            continue
        right = _right(outcome.detail["first_plurality"], question, key)
        values.setdefault(question, []).append(right)
    if not values:
        return None
    means = [fmean(found) for found in values.values()]
    return FirstAnswers(len(means), sum(means), fmean(means))


def by_round(scored: Iterable[tuple[str, Outcome]], key: AnswerKey) -> tuple[Round, ...]:
    """Return how a protocol did after its first answers and after every round; else nothing.

    Args:
        scored: question id and outcome of each session.
        key: the gold answers.
    """
    sessions = [
        (question, told)
        for question, outcome in _scorable(scored, key)
        if (told := _rounds(outcome))
    ]
    longest = max((len(told) for _, told in sessions), default=0)
    found = (_round(number, sessions, key) for number in range(longest))
    return tuple(one for one in found if one is not None)


def _round(
    number: int, sessions: Sequence[tuple[str, Sequence[Mapping[str, Any]]]], key: AnswerKey
) -> Round | None:
    values: dict[str, list[float]] = {}
    for question, told in sessions:
        here = told[min(number, len(told) - 1)]
        if not _nobody(here):
            values.setdefault(question, []).append(_right(here["answer"], question, key))
    if not values:
        return None
    means = [fmean(found) for found in values.values()]
    held = sum(len(told) > number for _, told in sessions)
    return Round(number, len(means), sum(means), fmean(means), held)


def _scorable(
    scored: Iterable[tuple[str, Outcome]], key: AnswerKey
) -> Iterable[tuple[str, Outcome]]:
    """Yield the sessions that the table counts."""
    return (
        (question, outcome)
        for question, outcome in scored
        if question in key.gold and not outcome.missing
    )


def _rounds(outcome: Outcome) -> list[Mapping[str, Any]]:
    """Return the rounds that a deliberation tells; other protocols tell none."""
    told = outcome.detail.get("rounds")
    if not isinstance(told, list):
        return []
    return [one for one in told if isinstance(one, dict) and {"answer", "answers"} <= one.keys()]


def _nobody(told: Mapping[str, Any]) -> bool:
    """Whether there is no data of anybody in a round: that is missing, not wrong."""
    return not told["answers"]


def _right(answer: object, question: str, key: AnswerKey) -> float:
    found = answer if isinstance(answer, str) else None
    return float(grade(found, key.gold[question], key.kinds[question]))
