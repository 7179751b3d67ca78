"""The judge's turn of a two-sided protocol: one or both answer orders, and what follows from them.

Whoever favours the first position, or the letter A, favours it in both orders; so the second
order shows the same speeches with positions and letters exchanged, and its reading is mapped back
to the question's own order. The outcome's distribution is the mean of the readings.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from protocols.ballots import (
    argmax_distribution,
    failure_counts,
    mean_distribution,
    session_boundary,
)
from protocols.outcome import Outcome, Status, failed_outcome
from protocols.parsing import option_distribution
from protocols.question import Question
from protocols.replies import MISSING_BOUNDARIES, Reply

Orders = Literal[1, 2]
JudgeTie = Literal["half", "wrong"]


def read_orders(replies: Sequence[Reply], question: Question) -> tuple[tuple[float, ...], ...]:
    """Return one distribution for each order, over the question's own options.

    An order that gave nothing readable is an empty tuple: it keeps its place, has no part in the
    mean and counts as not correct.
    """
    readings = [option_distribution(reply, question) or () for reply in replies]
    return tuple(
        [reading if order == 0 else reading[::-1] for order, reading in enumerate(readings)]
    )


def judged_outcome(
    question: Question,
    replies: Sequence[Reply],
    *,
    tie: JudgeTie,
    earlier_failures: Sequence[Reply] = (),
    detail: dict[str, Any],
) -> Outcome:
    """Return the outcome of a session from its judge's replies, one for each order.

    An order whose data is missing (provider, timeout) fails the session, and so does a judge that
    failed in every order. Where it failed, or wrote nothing readable, in one of two orders, the
    outcome is what the other says, with an empty reading in the place of the lost one: scored as
    not correct, so that such a session is right by half at most. An even mean stays a tie.

    Args:
        question: a question with two options.
        replies: the judge's replies, the question's own order first.
        tie: how an even distribution is scored.
        earlier_failures: replies that failed before the judge's turn, and did not end the session.
        detail: what the protocol tells beside it.
    """
    failures = failure_counts([*earlier_failures, *replies])
    readings = read_orders(replies, question)
    readable = [reading for reading in readings if reading]
    lost = session_boundary(replies)
    if lost is not None and (lost in MISSING_BOUNDARIES or all(r.failed for r in replies)):
        return failed_outcome(
            lost, rule=judge_rule(len(replies)), tie_rule=tie, failures=failures, detail=detail
        )
    mean = mean_distribution(readable) if readable else None
    best = None if mean is None else argmax_distribution(mean)
    status: Status = "unparsed" if mean is None else "tied" if best is None else "answered"
    return Outcome(
        status=status,
        answer=None if best is None else question.labels[best],
        distribution=mean,
        readings=readings if readable else (),
        rule=judge_rule(len(replies)),
        tie_rule=tie,
        unparsed=len(readings) - len(readable) - sum(reply.failed for reply in replies),
        failures=failures,
        detail=detail | _judge_detail(replies, readings),
    )


def judge_rule(orders: int) -> str:
    """Return the name of the rule by which the readings of so many answer orders become one."""
    return "mean_of_orders" if orders == 2 else "single"


def _judge_detail(
    replies: Sequence[Reply], readings: Sequence[tuple[float, ...]]
) -> dict[str, Any]:
    """Tell where the distributions come from and whether both orders chose the same option."""
    told: dict[str, Any] = {
        "distribution_sources": [
            (reply.distribution_source or "answer") if reading else None
            for reply, reading in zip(replies, readings, strict=True)
        ]
    }
    readable = [reading for reading in readings if reading]
    if len(readable) == 2:
        told["consistent"] = argmax_distribution(readable[0]) == argmax_distribution(readable[1])
    return told
