"""The response cache: where the reply to a request is found again.

An entry is the SHA-256 of an ask's key, the server's address and the number of the repeat, and
points at a row of ``reply``; nothing is stored twice. The newest reply takes an older one's place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, and_, delete, func, inspect, select

from orchestrator.journal import ReplyRecord
from orchestrator.store.bulk import in_chunks, insert_rows
from orchestrator.store.encoding import CACHE_COLUMNS, SEEN_COLUMNS, read_reply
from orchestrator.store.tables import ASK, CACHE, REPLY
from orchestrator.store.times import utc_now
from protocols.messages import Place
from protocols.replies import Reply

SLOT = ("session", "turn", "slot")
_AT_REPLY = and_(*[CACHE.c[name] == REPLY.c[name] for name in (*SLOT, "attempt")])
_AT_ASK = and_(*[CACHE.c[name] == ASK.c[name] for name in SLOT])


@dataclass(frozen=True, slots=True)
class Hit:
    """A recorded reply to the same request."""

    reply: Reply
    """Its latency is 0."""
    list_price: float | None
    """US dollars that were its list price."""


@dataclass(frozen=True, slots=True)
class CachedModel:
    """What the cache holds of one model."""

    model: str
    entries: int
    oldest: str
    """UTC, ISO 8601."""
    newest: str
    list_price: float
    """US dollars that asking all of it again would cost, as far as prices are known."""


def remember(connection: Connection, records: Sequence[ReplyRecord]) -> None:
    """Write the entries of replies that the cache is to find."""
    found = {r.cache_key: r for r in records if r.cache_key is not None}
    if not found:
        return
    _delete(connection, list(found))
    now = utc_now()
    rows = [(key, r.session, *r.place, r.attempt, now) for key, r in found.items()]
    insert_rows(connection, "cache_entry", CACHE_COLUMNS, rows)


def look_up(
    connection: Connection, keys: Sequence[bytes], max_age_s: float | None
) -> Mapping[bytes, Hit]:
    """Return what the cache holds under `keys`, nothing that is older than `max_age_s`."""
    hits: dict[bytes, Hit] = {}
    columns = [REPLY.c[name] for name in SEEN_COLUMNS]
    for chunk in in_chunks(keys):
        query = (
            select(CACHE.c.key, REPLY.c.list_price, *columns, REPLY.c.latency_s)
            .add_columns(REPLY.c.model_served)
            .join_from(CACHE, REPLY, _AT_REPLY)
            .where(CACHE.c.key.in_(chunk), REPLY.c.accepted)
        )
        if max_age_s is not None:
            query = query.where(CACHE.c.stored_at >= _before_now(max_age_s))
        for key, price, *row in connection.execute(query):
            row[-2] = 0.0
            hits[bytes(key)] = Hit(read_reply(row, Place(0, 0)), price)
    return hits


def read_cached(connection: Connection) -> list[CachedModel]:
    """Return what the cache holds by model; nothing where the store is older than it."""
    if not inspect(connection).has_table("cache_entry"):
        return []
    query = (
        select(
            ASK.c.model,
            func.count(),
            func.min(CACHE.c.stored_at),
            func.max(CACHE.c.stored_at),
            func.sum(REPLY.c.list_price),
        )
        .join_from(CACHE, REPLY, _AT_REPLY)
        .join(ASK, _AT_ASK)
        .group_by(ASK.c.model)
        .order_by(ASK.c.model)
    )
    return [
        CachedModel(model, count, oldest, newest, float(price or 0.0))
        for model, count, oldest, newest, price in connection.execute(query)
    ]


def forget(connection: Connection, max_age_s: float | None) -> int:
    """Take out entries older than `max_age_s`, or all (None); return how many."""
    statement: Any = delete(CACHE)
    if max_age_s is not None:
        statement = statement.where(CACHE.c.stored_at < _before_now(max_age_s))
    return int(connection.execute(statement).rowcount)


def _delete(connection: Connection, keys: Sequence[bytes]) -> None:
    for chunk in in_chunks(keys):
        connection.execute(delete(CACHE).where(CACHE.c.key.in_(chunk)))


def _before_now(seconds: float) -> str:
    return (datetime.now(UTC) - timedelta(seconds=seconds)).isoformat(timespec="milliseconds")
