"""Ballots: votes, their tally, and ties that are broken by a stated rule.

The law of ties. A tied vote goes to the tied answer given by the expert that is best on the
profile's questions (equal experts: by name); without a profile, to the tied answer that comes
first in slot order. Weights are real numbers: they are summed exactly and compared with a relative
tolerance, so that the order of summation never decides.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pydantic import JsonValue

from protocols.outcome import Outcome, TieRule, failed_outcome
from protocols.parsing import Parsed, Reading
from protocols.replies import BOUNDARIES, Boundary, Reply

TOLERANCE = 1e-9
"""Weights closer than this (relative to the larger) and probabilities closer than this (absolute)
are equal."""


@dataclass(frozen=True, slots=True)
class Vote:
    """One vote for one answer."""

    answer: str
    """The answer in canonical form."""
    weight: float = 1.0
    """How much it counts; positive and finite."""
    voter: str = ""
    """The expert's label in the roster."""
    slot: int = 0
    """The place of its ask in the turn."""


@dataclass(frozen=True, slots=True)
class Ballot:
    """The result of a vote."""

    answer: str | None
    """The answer with the most weight; None without a vote."""
    votes: dict[str, float]
    """The weight of each answer, by answer in sorted order."""
    tied: tuple[str, ...]
    """The answers that share the top, in slot order; empty without a tie."""
    tie_broken: bool
    """Whether the tie rule decided."""
    tie_rule: TieRule
    """``best_expert`` where experts have an order of precedence, else ``first``."""


def tally(votes: Iterable[Vote], *, precedence: Sequence[str] | None = None) -> Ballot:
    """Count votes by weight (plurality).

    Args:
        votes: the votes, in any order.
        precedence: experts, best first, for ties; None breaks ties by slot order. Experts that
            it does not name come after those it names, by name.

    Raises:
        ValueError: a weight is not positive and finite.
    """
    cast = sorted(votes, key=lambda vote: (vote.slot, vote.voter, vote.answer))
    weights: dict[str, list[float]] = {}
    for vote in cast:
        if not 0.0 < vote.weight < math.inf:
            raise ValueError(f"a vote's weight must be positive and finite, not {vote.weight}")
        weights.setdefault(vote.answer, []).append(vote.weight)
    totals = {answer: math.fsum(parts) for answer, parts in weights.items()}
    tie_rule: TieRule = "first" if precedence is None else "best_expert"
    if not totals:
        return Ballot(None, {}, (), False, tie_rule)
    top = max(totals.values())
    leading = tuple(answer for answer, total in totals.items() if top - total <= TOLERANCE * top)
    winner = leading[0] if len(leading) == 1 else _break_tie(cast, leading, precedence)
    tied = leading if len(leading) > 1 else ()
    return Ballot(winner, dict(sorted(totals.items())), tied, bool(tied), tie_rule)


def _break_tie(
    votes: Sequence[Vote], tied: tuple[str, ...], precedence: Sequence[str] | None
) -> str:
    """Return the tied answer that the tie rule prefers; `votes` are in slot order."""
    candidates = [vote for vote in votes if vote.answer in tied]
    if precedence is None:
        return candidates[0].answer
    rank = {expert: place for place, expert in reversed(list(enumerate(precedence)))}
    last = len(precedence)
    return min(candidates, key=lambda vote: (rank.get(vote.voter, last), vote.voter)).answer


def argmax_distribution(distribution: Sequence[float]) -> int | None:
    """Return the index of the largest probability; None where the top is shared, or nothing is."""
    if not distribution:
        return None
    top = max(distribution)
    leading = [i for i, value in enumerate(distribution) if top - value <= TOLERANCE]
    return leading[0] if len(leading) == 1 else None


def mean_distribution(readings: Sequence[Sequence[float]]) -> tuple[float, ...]:
    """Return the mean of distributions over the same options."""
    return tuple(math.fsum(values) / len(readings) for values in zip(*readings, strict=True))


def failure_counts(replies: Iterable[Reply]) -> dict[Boundary, int]:
    """Return how many of `replies` failed, by boundary, in the order of ``BOUNDARIES``."""
    failed = [reply.failure.boundary for reply in replies if reply.failure is not None]
    return {boundary: failed.count(boundary) for boundary in BOUNDARIES if boundary in failed}


def session_boundary(replies: Iterable[Reply]) -> Boundary | None:
    """Return the boundary of a session in which all of `replies` failed.

    Missing data counts first: where a provider failed or time ran out, asking again may well give
    an answer, so the session is missing, not wrong. Else the first failure counts.
    """
    failures = [reply.failure for reply in replies if reply.failure is not None]
    for failure in failures:
        if failure.missing:
            return failure.boundary
    return failures[0].boundary if failures else None


def vote_outcome(
    replies: Sequence[Reply],
    readings: Sequence[Reading],
    ballot: Ballot,
    *,
    rule: str,
    answered_by: str | None = None,
    detail: Mapping[str, JsonValue] | None = None,
) -> Outcome:
    """Return the outcome of a vote.

    Any readable vote is a quorum. Failed and unreadable replies have no vote and are counted; the
    session failed only where every ask did, and is unparsed where something came back but nothing
    could be read.
    """
    failures = failure_counts(replies)
    unparsed = count_unparsed(replies, readings)
    told = dict(detail or {})
    if ballot.answer is None and not unparsed:
        boundary = session_boundary(replies)
        assert boundary is not None
        return failed_outcome(
            boundary, rule=rule, tie_rule=ballot.tie_rule, failures=failures, detail=told
        )
    return Outcome(
        status="unparsed" if ballot.answer is None else "answered",
        answer=ballot.answer,
        votes=ballot.votes,
        answered_by=answered_by,
        rule=rule,
        tie_rule=ballot.tie_rule,
        tie_broken=ballot.tie_broken,
        unparsed=unparsed,
        failures=failures,
        detail=told,
    )


def count_unparsed(replies: Sequence[Reply], readings: Sequence[Reading]) -> int:
    """Return how many replies hold content from which no answer could be read."""
    return sum(
        not reply.failed and not isinstance(reading, Parsed)
        for reply, reading in zip(replies, readings, strict=True)
    )
