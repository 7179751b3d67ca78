"""Rows for people and for frames: asks with their texts, replies with their figures, totals."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, Engine, and_, func, inspect, literal, select

from orchestrator.store.bulk import in_chunks
from orchestrator.store.reading import SESSIONS_AT_ONCE, part_ids
from orchestrator.store.rows import AskedExpert, Totals
from orchestrator.store.tables import ASK, PART, REPLY, SESSION


def view_asks(
    engine: Engine, session_ids: Sequence[int], *, texts: bool = True
) -> Iterator[dict[str, Any]]:
    """Yield asks as dictionaries, by session in the order given, turn and slot."""
    for chunk in in_chunks(session_ids, SESSIONS_AT_ONCE):
        with engine.connect() as connection:
            query = select(ASK).where(ASK.c.session.in_(chunk))
            rows = connection.execute(query.order_by(ASK.c.turn, ASK.c.slot)).mappings().all()
            used = {part for row in rows for part in part_ids(row["messages"])} if texts else set()
            parts = _parts(connection, sorted(used))
        for row in _in_order(rows, chunk):
            yield {
                **row,
                "messages": _messages(row["messages"], parts),
                "sampling": json.loads(row["sampling"]),
                "options": json.loads(row["options"] or "[]"),
            }


def view_replies(engine: Engine, session_ids: Sequence[int]) -> Iterator[dict[str, Any]]:
    """Yield every attempt, by session in the order given, turn, slot and attempt."""
    for chunk in in_chunks(session_ids, SESSIONS_AT_ONCE):
        with engine.connect() as connection:
            query = select(*_reply_columns(connection)).where(REPLY.c.session.in_(chunk))
            query = query.order_by(REPLY.c.turn, REPLY.c.slot, REPLY.c.attempt)
            rows = connection.execute(query).mappings().all()
        for row in _in_order(rows, chunk):
            distribution = row["distribution"]
            yield {
                **row,
                "distribution": None if distribution is None else json.loads(distribution),
                "digest": bytes(row["digest"]).hex(),
            }


def sum_totals(
    connection: Connection, run_id: int, statuses: Collection[str] | None
) -> dict[str, Totals]:
    """Return what each entry of a run took."""
    chosen = SESSION.c.run == run_id
    if statuses is not None:
        chosen = chosen & SESSION.c.status.in_(sorted(statuses))
    asks = (
        select(SESSION.c.entry, func.count(REPLY.c.turn))
        .outerjoin_from(SESSION, REPLY, and_(REPLY.c.session == SESSION.c.id, REPLY.c.accepted))
        .where(chosen)
        .group_by(SESSION.c.entry)
        .order_by(func.min(SESSION.c.ordinal))
    )
    sums = [REPLY.c[name] for name in Totals.__annotations__ if name in REPLY.c]
    made: Any = func.count()
    if "source" in _present(connection):
        made = made.filter(REPLY.c.source.is_(None))
    replies = (
        select(SESSION.c.entry, made, *[func.sum(column) for column in sums])
        .join_from(SESSION, REPLY, REPLY.c.session == SESSION.c.id)
        .where(chosen)
        .group_by(SESSION.c.entry)
    )
    totals = {
        entry: Totals(
            asks=count,
            attempts=0,
            prompt_tokens=0,
            completion_tokens=0,
            list_price=0.0,
            paid_price=0.0,
        )
        for entry, count in connection.execute(asks)
    }
    for entry, attempts, prompt, completion, list_price, paid_price in connection.execute(replies):
        totals[entry] = Totals(
            asks=totals[entry]["asks"],
            attempts=attempts,
            prompt_tokens=int(prompt),
            completion_tokens=int(completion),
            list_price=float(list_price or 0.0),
            paid_price=float(paid_price or 0.0),
        )
    return totals


def count_failures(connection: Connection, run_id: int) -> int:
    """Return how many accepted replies of a run, at sessions that it asks for, hold a failure."""
    query = (
        select(func.count())
        .join_from(SESSION, REPLY, REPLY.c.session == SESSION.c.id)
        .where(
            SESSION.c.run == run_id,
            SESSION.c.status.in_(("pending", "finished", "failed")),
            REPLY.c.accepted,
            REPLY.c.failure_boundary.is_not(None),
        )
    )
    return int(connection.execute(query).scalar_one())


def experts_asked(
    connection: Connection, run_id: int, statuses: Collection[str] | None
) -> list[AskedExpert]:
    """Return whom a run asked, in the order of its sessions, turns and slots."""
    chosen = SESSION.c.run == run_id
    if statuses is not None:
        chosen = chosen & SESSION.c.status.in_(sorted(statuses))
    query = (
        select(SESSION.c.entry, ASK.c.session, ASK.c.turn, ASK.c.expert)
        .join_from(ASK, SESSION, SESSION.c.id == ASK.c.session)
        .where(chosen)
        .order_by(SESSION.c.ordinal, ASK.c.turn, ASK.c.slot)
    )
    return [AskedExpert(*row) for row in connection.execute(query)]


def _reply_columns(connection: Connection) -> list[Any]:
    """Return the columns of replies; those that an older store has not are empty."""
    there = _present(connection)
    return [c if c.name in there else literal(None).label(c.name) for c in REPLY.c]


def _present(connection: Connection) -> set[str]:
    return {column["name"] for column in inspect(connection).get_columns("reply")}


def _parts(connection: Connection, ids: Sequence[int]) -> dict[int, tuple[str, str]]:
    found: dict[int, tuple[str, str]] = {}
    for chunk in in_chunks(ids):
        query = select(PART.c.id, PART.c.kind, PART.c.body).where(PART.c.id.in_(chunk))
        found.update((row.id, (row.kind, row.body)) for row in connection.execute(query))
    return found


def _messages(messages_json: str, parts: dict[int, tuple[str, str]]) -> list[dict[str, Any]]:
    messages = []
    for speaker, pieces in json.loads(messages_json):
        named = []
        for name, part, origin in pieces:
            kind, text = parts.get(part, ("text", ""))
            named.append({"name": name, "text": text, "kind": kind, "origin": origin})
        messages.append({"speaker": speaker, "parts": named})
    return messages


def _in_order(rows: Sequence[Any], session_ids: Sequence[int]) -> list[Any]:
    """Sort rows by the order of their sessions, keeping the order within each."""
    order = {session: index for index, session in enumerate(session_ids)}
    return sorted(rows, key=lambda row: order[row["session"]])
