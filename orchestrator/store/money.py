"""What a run has spent, from its transcripts: also what a crash left unknown.

An attempt that costs something has a row in ``dispatch`` before it is made. One without a reply is
under way, or its process died: both count as spent at the price that was reserved. Who works on a
shard next books what its last driver left behind as attempts that were lost.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, NamedTuple

from sqlalchemy import Connection, Select, and_, delete, func, select

from orchestrator.money.accounts import lost_attempt
from orchestrator.store.bulk import in_chunks, insert_rows
from orchestrator.store.encoding import REPLY_COLUMNS, reply_row
from orchestrator.store.tables import ASK, DISPATCH, REPLY, SESSION
from protocols.messages import Place
from protocols.replies import Usage


class RoleSpend(NamedTuple):
    """What the asks of one role took; attempts that were made, whatever came of them."""

    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    paid: float = 0.0
    """US dollars."""
    list_price: float = 0.0
    """US dollars, of replies that were inherited or found in the cache too."""
    seconds: float = 0.0
    """That the attempts took, added up."""
    unpriced: int = 0
    """Attempts whose price is not known; they count nothing in the two above."""

    def plus(self, other: RoleSpend) -> RoleSpend:
        """Return both together."""
        return RoleSpend(
            self.calls + other.calls,
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.paid + other.paid,
            self.list_price + other.list_price,
            self.seconds + other.seconds,
            self.unpriced + other.unpriced,
        )

    @property
    def tokens(self) -> int:
        """Of prompts and completions."""
        return self.prompt_tokens + self.completion_tokens


def read_spent(connection: Connection, run_id: int) -> dict[str, RoleSpend]:
    """Return what a run spent by role, attempts whose fate is not known included."""
    made = REPLY.c.source.is_(None)
    counted = {
        "calls": func.count().filter(made),
        "prompt_tokens": func.sum(REPLY.c.prompt_tokens).filter(made),
        "completion_tokens": func.sum(REPLY.c.completion_tokens).filter(made),
        "paid": func.sum(REPLY.c.paid_price),
        "list_price": func.sum(REPLY.c.list_price),
        "seconds": func.sum(REPLY.c.latency_s).filter(made),
        "unpriced": func.count().filter(made & REPLY.c.list_price.is_(None)),
    }
    same_ask = _same_slot(REPLY, ASK)
    query = (
        select(ASK.c.role, *[counted[name] for name in RoleSpend._fields])
        .join_from(SESSION, REPLY, REPLY.c.session == SESSION.c.id)
        .join(ASK, same_ask)
        .where(SESSION.c.run == run_id)
        .group_by(ASK.c.role)
        .order_by(ASK.c.role)
    )
    spent = {role: _spend(sums) for role, *sums in connection.execute(query)}
    for role, *sums in connection.execute(_outstanding_sums(run_id)):
        calls, prompt, completion, usd, unpriced = (value or 0 for value in sums)
        more = RoleSpend(calls, int(prompt), int(completion), usd, usd, 0.0, unpriced)
        spent[role] = spent.get(role, RoleSpend()).plus(more)
    return spent


class Lengths(NamedTuple):
    """How long the prompts and the replies of one expert in one role were."""

    entry: str
    role: str
    expert: str
    prompt_tokens: float
    """The mean over replies that hold no failure."""
    completion_tokens: float


def read_lengths(connection: Connection, run_id: int) -> list[Lengths]:
    """Return mean lengths by entry, role and expert, of replies that were made for the run."""
    query = (
        select(
            *(SESSION.c.entry, ASK.c.role, ASK.c.expert),
            func.avg(REPLY.c.prompt_tokens),
            func.avg(REPLY.c.completion_tokens),
        )
        .join_from(SESSION, REPLY, REPLY.c.session == SESSION.c.id)
        .join(ASK, _same_slot(REPLY, ASK))
        .where(SESSION.c.run == run_id, REPLY.c.accepted, REPLY.c.failure_boundary.is_(None))
        .group_by(SESSION.c.entry, ASK.c.role, ASK.c.expert)
    )
    rows = connection.execute(query)
    found = [
        Lengths(entry, role, expert, float(prompt), float(reply))
        for entry, role, expert, prompt, reply in rows
    ]
    return [one for one in found if one.completion_tokens]


def has_dispatches(connection: Connection) -> bool:
    """Whether there may be anything to book."""
    return connection.execute(select(DISPATCH.c.session).limit(1)).first() is not None


def book_lost(connection: Connection, run_id: int, shards: Collection[int]) -> int:
    """Book what was under way in shards that nobody worked on; return how many attempts it was.

    Call it holding the locks of the shards: what their last driver left is of no other.
    """
    mine = SESSION.c.shard.in_(sorted(shards))
    query = _outstanding(
        DISPATCH.c.session,
        DISPATCH.c.turn,
        DISPATCH.c.slot,
        DISPATCH.c.attempt,
        DISPATCH.c.usd,
        DISPATCH.c.prompt_tokens,
        DISPATCH.c.completion_tokens,
    )
    rows = connection.execute(query.where(SESSION.c.run == run_id, mine)).all()
    records = [
        lost_attempt(session, Place(turn, slot), attempt, Usage(prompt, completion), usd)
        for session, turn, slot, attempt, usd, prompt, completion in rows
    ]
    insert_rows(connection, "reply", REPLY_COLUMNS, [reply_row(record) for record in records])
    sessions = select(SESSION.c.id).where(SESSION.c.run == run_id, mine)
    for chunk in in_chunks(list(connection.execute(sessions).scalars())):
        connection.execute(delete(DISPATCH).where(DISPATCH.c.session.in_(chunk)))
    return len(rows)


def _spend(sums: Any) -> RoleSpend:
    calls, prompt, completion, paid, listed, seconds, unpriced = (value or 0 for value in sums)
    return RoleSpend(
        int(calls), int(prompt), int(completion), float(paid), float(listed), seconds, unpriced
    )


def _same_slot(one: Any, other: Any) -> Any:
    columns = ("session", "turn", "slot")
    return and_(*[one.c[name] == other.c[name] for name in columns])


def _outstanding(*columns: Any) -> Select[Any]:
    """Return a query over attempts that were to be made and have no reply."""
    same = and_(_same_slot(REPLY, DISPATCH), REPLY.c.attempt == DISPATCH.c.attempt)
    return (
        select(*columns)
        .join_from(DISPATCH, SESSION, SESSION.c.id == DISPATCH.c.session)
        .outerjoin(REPLY, same)
        .where(REPLY.c.session.is_(None))
    )


def _outstanding_sums(run_id: int) -> Select[Any]:
    sums = (
        func.count(),
        func.sum(DISPATCH.c.prompt_tokens),
        func.sum(DISPATCH.c.completion_tokens),
        func.sum(DISPATCH.c.usd),
        func.count().filter(DISPATCH.c.usd.is_(None)),
    )
    return (
        _outstanding(ASK.c.role, *sums)
        .join(ASK, _same_slot(ASK, DISPATCH))
        .where(SESSION.c.run == run_id)
        .group_by(ASK.c.role)
    )
