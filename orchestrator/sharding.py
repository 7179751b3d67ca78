"""How the sessions of a run are dealt out to drivers.

Theory. A session gets its shard when it is created, by its question, so that all protocols of a
question stay together; a driver works a shard only under its lock (``store/locks.py``).
Which driver works which shard changes no outcome, no ask key and no seed: only who asks.

One driver takes shard after shard as its window has room, so others that are started later, on any
machine that reaches the store, find free ones. Several drivers of one command are dealt balanced
shares first, and each takes what is free when its own share is done.
"""

from __future__ import annotations

from collections.abc import Mapping

SHARDS = 64
"""Shards of a run: the most drivers that can work on it at once. Stored with every session."""
ALL_SHARDS = tuple(range(SHARDS))

_DIGITS = 8


def shard_of(question_key: str) -> int:
    """Return the shard of the sessions on a question, by its key (hexadecimal)."""
    return int(question_key[:_DIGITS], 16) % SHARDS


def deal(pending: Mapping[int, int], drivers: int) -> list[tuple[int, ...]]:
    """Deal shards out to drivers: the largest first, each to whom has the fewest sessions so far.

    Args:
        pending: sessions that are not over, by shard; shards without any are left out.
        drivers: how many drivers there are to be, at least one.

    Returns:
        A share for each driver that gets any, so at most one for each shard.
    """
    shares: list[list[int]] = [[] for _ in range(drivers)]
    loads = [0] * drivers
    for shard, count in sorted(pending.items(), key=lambda item: (-item[1], item[0])):
        if count > 0:
            least = loads.index(min(loads))
            shares[least].append(shard)
            loads[least] += count
    return [tuple(sorted(share)) for share in shares if share]
