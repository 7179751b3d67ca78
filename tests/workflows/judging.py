"""Small sets of verdicts for the tests of judges."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from workflows.judges.verdicts import Order, Pair, RawVote, Reading, Verdict, VerdictSet, Vote

ABSENT = "absent"
"""An order that was not recorded."""


def verdict(
    ab: str | None, ba: str | None = ABSENT, *, judge: str = "j", item: str = "i"
) -> Verdict:
    """Return a verdict from its raw votes."""
    told = {"ab": ab, "ba": ba}
    return Verdict(
        judge,
        item,
        tuple(
            Reading(cast("Order", order), cast("RawVote", vote))
            for order, vote in told.items()
            if vote != ABSENT
        ),
    )


def verdict_set(
    golds: Sequence[str | None],
    votes: Mapping[str, Sequence[tuple[str | None, str | None]]],
    clusters: Sequence[str] | None = None,
    **fields: Any,
) -> VerdictSet:
    """Return verdicts in both orders: judge -> one pair of votes for each item."""
    items = [f"i{n}" for n in range(len(golds))]
    pairs = {
        item: Pair(item, clusters[n] if clusters else item, cast("Vote | None", golds[n]))
        for n, item in enumerate(items)
    }
    columns = {
        judge: {
            item: verdict(ab, ba, judge=judge, item=item)
            for item, (ab, ba) in zip(items, given, strict=True)
        }
        for judge, given in votes.items()
    }
    return VerdictSet("t", pairs, columns, **fields)
