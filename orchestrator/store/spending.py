"""What a run took, by entry, question and role; and how single sessions ended."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, and_, func, select

from orchestrator.store.bulk import in_chunks
from orchestrator.store.tables import ASK, REPLY, SESSION


@dataclass(frozen=True, slots=True)
class SpentRow:
    """What the asks of one role took in all sessions of an entry on a question.

    All attempts count, and replies that a branch or a cache took over too.
    """

    entry: str
    question: str
    role: str
    asks: int
    """Asks that have an accepted reply, be it a failure."""
    attempts: int
    prompt_tokens: int
    completion_tokens: int
    reasoning_tokens: int
    list_price: float | None
    """US dollars, as far as prices are known; None where none is."""
    paid_price: float | None
    unpriced: int
    """Attempts whose list price is not known."""


def sum_by_role(
    connection: Connection, run_id: int, statuses: Collection[str] | None = None
) -> list[SpentRow]:
    """Return what a run took by entry, question and role; only in `statuses` where given."""
    sums = [
        func.count().filter(REPLY.c.accepted),
        func.count(),
        *[func.sum(REPLY.c[f"{name}_tokens"]) for name in ("prompt", "completion", "reasoning")],
        func.sum(REPLY.c.list_price),
        func.sum(REPLY.c.paid_price),
        func.count().filter(REPLY.c.list_price.is_(None)),
    ]
    groups = (SESSION.c.entry, SESSION.c.question_id, ASK.c.role)
    here = and_(*[REPLY.c[name] == ASK.c[name] for name in ("session", "turn", "slot")])
    query = (
        select(*groups, *sums)
        .select_from(SESSION)
        .join(ASK, ASK.c.session == SESSION.c.id)
        .join(REPLY, here)
        .where(SESSION.c.run == run_id)
        .group_by(*groups)
    )
    if statuses is not None:
        query = query.where(SESSION.c.status.in_(sorted(statuses)))
    return [SpentRow(*row) for row in connection.execute(query)]


def sum_seconds(
    connection: Connection, run_id: int, statuses: Collection[str] | None = None
) -> dict[tuple[str, str], float]:
    """Return the seconds that entries take for a question, if nothing else is going on.

    Turn by turn the slowest ask with all its attempts, as the asks of a turn run at once; summed
    over turns and over the sessions of the entry on the question.
    """
    by_ask = (
        select(REPLY.c.session, REPLY.c.turn, func.sum(REPLY.c.latency_s).label("s"))
        .join_from(SESSION, REPLY, REPLY.c.session == SESSION.c.id)
        .where(SESSION.c.run == run_id)
        .group_by(REPLY.c.session, REPLY.c.turn, REPLY.c.slot)
        .subquery()
    )
    by_turn = (
        select(by_ask.c.session, func.max(by_ask.c.s).label("s"))
        .group_by(by_ask.c.session, by_ask.c.turn)
        .subquery()
    )
    groups = (SESSION.c.entry, SESSION.c.question_id)
    query = select(*groups, func.sum(by_turn.c.s)).join_from(
        SESSION, by_turn, by_turn.c.session == SESSION.c.id
    )
    if statuses is not None:
        query = query.where(SESSION.c.status.in_(sorted(statuses)))
    rows = connection.execute(query.group_by(*groups))
    return {(entry, question): float(seconds) for entry, question, seconds in rows}


def read_endings(
    connection: Connection, session_ids: Sequence[int]
) -> dict[int, tuple[str, str | None]]:
    """Return the status and the outcome, as JSON, of sessions by id."""
    found: dict[int, tuple[str, str | None]] = {}
    for chunk in in_chunks(session_ids):
        query = select(SESSION.c.id, SESSION.c.status, SESSION.c.outcome)
        rows = connection.execute(query.where(SESSION.c.id.in_(chunk)))
        found.update((row.id, (row.status, row.outcome)) for row in rows)
    return found
