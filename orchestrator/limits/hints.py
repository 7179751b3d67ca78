"""What a provider says of its limits in the headers of an answer.

A hint is a :class:`protocols.replies.RateHint`. Limits that reset more slowly
than a minute (those of a day) say nothing of a minute and are left to ``Retry-After``.
"""

from __future__ import annotations

from typing import NamedTuple

from orchestrator.limits.limits import Bucket

MINUTE_S = 60.0


class Said(NamedTuple):
    """What a provider's headers say of one unit."""

    limit: float
    left: float


def said_of(limit: float | None, left: float | None, reset_s: float | None) -> Said | None:
    """Return what a hint says of a minute, or less; None where it says nothing of it."""
    if limit is None or left is None or limit <= 0.0 or (reset_s or 0.0) > MINUTE_S:
        return None
    return Said(limit, left)


def hold(bucket: Bucket, said: Said, age_s: float) -> None:
    """Let a bucket hold no more than is left; what has flowed in since then counts."""
    bucket.hold(said.left + bucket.rate * age_s + 1.0)  # headers round down
