"""Aggregation: how the answers of a team become one, by one function for every rule.

=============  ===================================================================================
``vote``       every answer counts by its draws (plurality)
``weighted``   by its draws times its author's skill weight
``accuracy``   by its draws times the log-odds of its author's measured accuracy (``fuser.py``)
``fuser``      the answer most likely to be right by weights learned over recorded votes
               (``fuser.py``); one expert's answer is one vote, however often it was drawn
``model``      the aggregator reads the answers and writes the final one: one ask more
``chosen``     so does, of several candidates, the one that the bench chose (``aggregators.py``)
=============  ===================================================================================

Quorum: any readable answer. Failed and unreadable replies have no vote; the session fails only
where the whole team failed. With an aggregator its own answer decides and nothing stands in for
it; it is asked wherever anybody said anything, and the vote is told beside it (``vote``).

Ties go by the law of ``ballots.py``: to the tied answer of the expert that is best on the
questions that experts were measured on, else to the first in slot order. A weight of 0 or less is
no vote. Where that leaves nobody with one, or the evidence teaches nothing, a simpler rule steps
in - draws for weights, accuracy for the fuser - and ``fallback`` says which and why.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from pydantic import JsonValue

from protocols.aggregators import (
    AGGREGATE_TEMPLATE,
    AGGREGATOR,
    AGGREGATORS,
    Solution,
    aggregator_ask,
    chosen_seat,
)
from protocols.asks import Seat
from protocols.ballots import (
    Ballot,
    Vote,
    count_unparsed,
    failure_counts,
    session_boundary,
    tally,
    vote_outcome,
)
from protocols.cast import Cast
from protocols.compose import ask_one
from protocols.contract import Role, Session
from protocols.errors import Mistake
from protocols.evidence import EVIDENCE, cast_evidence
from protocols.fuser import Fuser, cast_records, fit_fuser
from protocols.outcome import Outcome
from protocols.parsing import Parsed, Reading, read_answer
from protocols.plurality import answers_by_expert
from protocols.profile import cast_profile
from protocols.question import Question
from protocols.replies import Reply

Aggregate = Literal["vote", "weighted", "accuracy", "fuser", "model", "chosen"]

RULES: dict[Aggregate, str] = {
    "vote": "plurality",
    "weighted": "weighted_plurality",
    "accuracy": "accuracy_weighted",
    "fuser": "fuser",
    "model": "aggregator",
    "chosen": "chosen_aggregator",
}
"""The name of each rule in an outcome."""
TEMPLATES = (AGGREGATE_TEMPLATE,)
"""The template files that aggregation uses."""

_LEAST_SHARE = 1e-12


def aggregator_role(how: Aggregate) -> Role:
    """Return the role of the aggregator, which only ``model`` and ``chosen`` need."""
    return Role(
        AGGREGATOR,
        "reads the team's answers and gives the final one",
        many=how == "chosen",
        optional=not _asks(how),
        reads_passage=True,
        draws=True,  # it answers what the others wrote: no answer recorded alone will do
    )


def aggregate_asks(how: Aggregate) -> int:
    """Return how many asks an aggregation makes at most."""
    return int(_asks(how))


def aggregate_assets(how: Aggregate) -> tuple[str, ...]:
    """Return the names of the assets that an aggregation reads beside the skill weights."""
    if how in ("accuracy", "fuser"):
        return (EVIDENCE,)
    return (AGGREGATORS,) if how == "chosen" else ()


def aggregator_name(question: Question, cast: Cast, how: Aggregate) -> str:
    """Return what joins the answers: an expert's label, or a rule's name; for graphs.

    Raises:
        Mistake: nobody is cast as aggregator, or not the one that the bench chose.
    """
    seat = _seat(question, cast, how)
    return RULES[how] if seat is None else seat.expert


def _asks(how: Aggregate) -> bool:
    return how in ("model", "chosen")


def _seat(question: Question, cast: Cast, how: Aggregate) -> Seat | None:
    """Return the aggregator's seat; None where a vote joins the answers."""
    if how == "chosen":
        return chosen_seat(question, cast)
    return cast.seat(AGGREGATOR) if how == "model" else None


class Weighing(NamedTuple):
    """What each vote of a team counts."""

    weights: tuple[float, ...]
    """In the team's order; 0 or less is no vote."""
    fallback: str = ""
    """Which simpler rule stepped in, and why."""


def weigh(
    question: Question,
    cast: Cast,
    experts: Sequence[str],
    *,
    how: Aggregate,
    draws: Sequence[float],
    weights: Sequence[float],
) -> Weighing:
    """Return what each vote of a team counts before it is known who answers what.

    With an aggregator these are the weights of the vote that is told beside its answer: the
    draws. For ``fuser`` they are the learned weights, which may be negative.

    Args:
        question: what is asked.
        cast: whose assets hold what the experts were measured on.
        experts: the team's labels.
        how: the rule.
        draws: how often each was drawn.
        weights: the skill weight of each.

    Raises:
        Mistake: the rule needs evidence, and there is none.
    """
    if how == "weighted":
        return Weighing(tuple(d * w for d, w in zip(draws, weights, strict=True)))
    if how not in ("accuracy", "fuser"):
        return Weighing(tuple(map(float, draws)))
    records = cast_records(cast.assets)
    if records is None:
        raise Mistake(
            f"aggregate: {how} needs to know how the experts did on other questions; name the "
            f"asset {EVIDENCE!r}, or a profile for 'accuracy'"
        )
    fallback = ""
    if how == "fuser":
        evidence = cast_evidence(cast.assets)
        if evidence is not None:
            fuser = fit_fuser(evidence)
            if not fuser.lacks:
                return Weighing(tuple(fuser.weights.get(expert, 0.0) for expert in experts))
        lacks = "there is no evidence" if evidence is None else fuser.lacks
        fallback = f"accuracy: {lacks}"
    options = len(question.options) or 2
    worth = [records.weight(expert, options) for expert in experts]
    return Weighing(tuple(d * w for d, w in zip(draws, worth, strict=True)), fallback)


def join(
    question: Question,
    cast: Cast,
    seats: Sequence[Seat],
    replies: Sequence[Reply],
    readings: Sequence[Reading],
    *,
    how: Aggregate,
    draws: Sequence[float],
    weights: Sequence[float],
    detail: dict[str, JsonValue],
) -> Session[Outcome]:
    """Join a team's answers and return the outcome; asks the aggregator where there is one.

    Args:
        question: what was asked.
        cast: who sits where, with the assets that the rule reads.
        seats: the team.
        replies: what each said.
        readings: how each answer was read.
        how: the rule.
        draws: how often each was drawn.
        weights: the skill weight of each; read by ``weighted`` alone.
        detail: what the caller tells; ``answers``, ``vote`` and ``fallback`` are added to it.

    Raises:
        Mistake: what the rule needs is not in the cast.
    """
    experts = [seat.expert for seat in seats]
    weighing = weigh(question, cast, experts, how=how, draws=draws, weights=weights)
    if how == "fuser" and not weighing.fallback:
        weighing = _shared(experts, readings, weighing)
    ballot, fallback = _count(cast, experts, readings, draws=draws, weighing=weighing)
    detail["answers"] = answers_by_expert(seats, replies, readings)
    if fallback:
        detail["fallback"] = fallback
    final_seat = _seat(question, cast, how)
    if final_seat is None:
        alone = seats[0].expert if len(seats) == 1 else None
        outcome = vote_outcome(
            replies, readings, ballot, rule=RULES[how], answered_by=alone, detail=detail
        )
        # Who was to answer is told of a failure too: where only its score is known, that counts.
        return outcome.model_copy(update={"answered_by": alone}) if alone else outcome
    detail["vote"] = ballot.answer
    if not all(reply.failed for reply in replies):
        solutions = [Solution(r, int(d)) for r, d in zip(replies, draws, strict=True)]
        final = yield from ask_one(aggregator_ask(question, cast, solutions, seat=final_seat))
        replies = (*replies, final)
        readings = (*readings, read_answer(final, question))
    return aggregated(replies, readings, ballot, rule=RULES[how], detail=detail)


def _count(
    cast: Cast,
    experts: Sequence[str],
    readings: Sequence[Reading],
    *,
    draws: Sequence[float],
    weighing: Weighing,
) -> tuple[Ballot, str]:
    """Return the vote, and what is told where a simpler rule stepped in."""
    profile = cast_profile(cast.assets)
    records = None if profile is not None else cast_records(cast.assets)
    precedence = profile.ranking() if profile else records.ranking if records else None
    given = _given(readings)
    worth, fallback = weighing
    if given and not any(worth[slot] > 0.0 for slot, _ in given):
        worth, fallback = tuple(map(float, draws)), "vote: no answer has a positive weight"
    votes = [
        Vote(answer, worth[slot], experts[slot], slot)
        for slot, answer in given
        if worth[slot] > 0.0
    ]
    return tally(votes, precedence=precedence), fallback


def _given(readings: Sequence[Reading]) -> list[tuple[int, str]]:
    """Return the answers that could be read, each with its slot."""
    return [
        (slot, reading.value)
        for slot, reading in enumerate(readings)
        if isinstance(reading, Parsed)
    ]


def _shared(experts: Sequence[str], readings: Sequence[Reading], learned: Weighing) -> Weighing:
    """Return each vote's part of its answer's chance to be right, by the fuser's weights."""
    given = _given(readings)
    fuser = Fuser(dict(zip(experts, learned.weights, strict=True)), 0)
    shares = fuser.shares([(experts[slot], answer) for slot, answer in given])
    voters = [answer for _, answer in given]
    worth = [0.0] * len(experts)
    for slot, answer in given:
        worth[slot] = max(shares[answer], _LEAST_SHARE) / voters.count(answer)
    return Weighing(tuple(worth))


def aggregated(
    replies: Sequence[Reply],
    readings: Sequence[Reading],
    ballot: Ballot,
    *,
    rule: str,
    detail: dict[str, JsonValue],
) -> Outcome:
    """Conclude from the last reply, that of an aggregator; no other answer stands in for it.

    Where all failed that it was to read, it was not asked and the session failed.

    Args:
        replies: all replies of the session, the aggregator's last if it was asked.
        readings: how each was read.
        ballot: the vote that is told beside it.
        rule: the rule's name.
        detail: what is told.
    """
    last, reading = replies[-1], readings[-1]
    boundary = session_boundary(replies) if all(r.failed for r in replies) else None
    if last.failure is not None:
        boundary = boundary or last.failure.boundary
    answer = reading.value if isinstance(reading, Parsed) else None
    return Outcome(
        status="failed" if boundary else "unparsed" if answer is None else "answered",
        answer=None if boundary else answer,
        votes=ballot.votes,
        rule=rule,
        unparsed=count_unparsed(replies, readings),
        failures=failure_counts(replies),
        boundary=boundary,
        detail=detail,
    )
