"""Reading large runs a page at a time: sessions, and what they took."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any, TypedDict

from sqlalchemy import Connection, Engine, Select, and_, func, or_, select
from sqlalchemy.sql.elements import ColumnElement

from orchestrator.store.bulk import in_chunks
from orchestrator.store.rows import SessionRow
from orchestrator.store.tables import REPLY, SESSION

_RENAMED = {"run_id": "run", "outcome_json": "outcome"}
_FIELDS = [SESSION.c[_RENAMED.get(name, name)] for name in SessionRow.__dataclass_fields__]


class Spent(TypedDict):
    """What sessions took, all attempts counted."""

    asks: int
    """Asks that have an accepted reply, be it a failure."""
    attempts: int
    """Replies that came back, accepted or not."""
    prompt_tokens: int
    completion_tokens: int
    reasoning_tokens: int
    cached_tokens: int
    list_price: float | None
    """US dollars, as far as prices are known; None where none is."""
    paid_price: float | None
    unpriced: int
    """Attempts whose list price is not known."""
    latency_s: float
    """Seconds from dispatch to reply, summed."""


NOTHING_SPENT = Spent(
    asks=0,
    attempts=0,
    prompt_tokens=0,
    completion_tokens=0,
    reasoning_tokens=0,
    cached_tokens=0,
    list_price=None,
    paid_price=None,
    unpriced=0,
    latency_s=0.0,
)


def page_sessions(
    engine: Engine, run_id: int, statuses: Collection[str] | None, at_once: int
) -> Iterator[list[SessionRow]]:
    """Yield the sessions of a run by ordinal, `at_once` of them at a time."""
    query = select(*_FIELDS).where(SESSION.c.run == run_id)
    if statuses is not None:
        query = query.where(SESSION.c.status.in_(sorted(statuses)))
    query = query.order_by(SESSION.c.ordinal, SESSION.c.id).limit(at_once)
    page = _page(engine, query)
    while page:
        yield page
        last = page[-1]
        behind = or_(
            SESSION.c.ordinal > last.ordinal,
            and_(SESSION.c.ordinal == last.ordinal, SESSION.c.id > last.id),
        )
        page = _page(engine, query.where(SESSION.c.ordinal >= last.ordinal, behind))


def _page(engine: Engine, query: Select[Any]) -> list[SessionRow]:
    with engine.connect() as connection:
        return [SessionRow(*row) for row in connection.execute(query).all()]


def sum_spent(connection: Connection, session_ids: Sequence[int]) -> dict[int, Spent]:
    """Return what each session took; one that has no reply yet is left out."""
    found: dict[int, Spent] = {}
    for chunk in in_chunks(session_ids):
        query = select(REPLY.c.session, *_sums()).where(REPLY.c.session.in_(chunk))
        for row in connection.execute(query.group_by(REPLY.c.session)):
            found[row[0]] = _spent(row[1:])
    return found


def sum_run_spent(
    connection: Connection, run_id: int, statuses: Collection[str] | None = None
) -> Spent:
    """Return what the sessions of a run took; only those in `statuses` where given."""
    query = select(*_sums()).join_from(SESSION, REPLY, REPLY.c.session == SESSION.c.id)
    query = query.where(SESSION.c.run == run_id)
    if statuses is not None:
        query = query.where(SESSION.c.status.in_(sorted(statuses)))
    return _spent(tuple(connection.execute(query).one()))


def _sums() -> list[ColumnElement[Any]]:
    return [
        func.count().filter(REPLY.c.accepted),
        func.count(REPLY.c.session),
        *[
            func.coalesce(func.sum(REPLY.c[f"{name}_tokens"]), 0)
            for name in ("prompt", "completion", "reasoning", "cached")
        ],
        func.sum(REPLY.c.list_price),
        func.sum(REPLY.c.paid_price),
        func.count().filter(REPLY.c.list_price.is_(None)),
        func.coalesce(func.sum(REPLY.c.latency_s), 0.0),
    ]


def _spent(row: Sequence[Any]) -> Spent:
    return Spent(
        asks=int(row[0]),
        attempts=int(row[1]),
        prompt_tokens=int(row[2]),
        completion_tokens=int(row[3]),
        reasoning_tokens=int(row[4]),
        cached_tokens=int(row[5]),
        list_price=row[6],
        paid_price=row[7],
        unpriced=int(row[8]),
        latency_s=float(row[9]),
    )
