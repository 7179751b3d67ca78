"""Slices of a run's budget that several drivers spend from.

A driver may spend what it leased, and leases more from the run's budget while there is some. What
is free is the budget, less what the run spent, less what the leases of living drivers have left;
it is computed and taken in one transaction that holds the run's row, so that no two drivers take
the same. A driver writes what is left of its slice with its signs of life, later than it spends it,
so what is free is rather too little than too much.

A lease lives as long as its driver, which holds a lock beside it. The lease of a dead one falls
back to the budget, without what the dead driver spent and without what was under way when it died:
both are in the transcripts, the latter at its reserved price.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from sqlalchemy import Connection, delete, insert, select, update

from orchestrator.money.ledger import RUN, UNITS, Amount, Budget
from orchestrator.store.money import RoleSpend, read_spent
from orchestrator.store.runs import lock_run
from orchestrator.store.tables import LEASE

Amounts = Mapping[str, Amount]
"""By role; RUN for the run's own."""


class Slice(NamedTuple):
    """What came of a wish to lease."""

    granted: dict[str, Amount] | None
    """What the driver may spend beyond what it had, by account; None: its need cannot be met."""
    others_hold_enough: bool
    """Whether it could be met if all others gave back what they have left."""


def amounts_json(amounts: Amounts) -> str:
    """Return amounts as a lease keeps them."""
    return json.dumps({role: list(amount) for role, amount in amounts.items()})


def read_lessees(connection: Connection, run_id: int) -> list[int]:
    """Return the drivers that hold, or held when they died, a slice of a run's budget."""
    query = select(LEASE.c.driver).where(LEASE.c.run == run_id)
    return list(connection.execute(query).scalars())


def end_leases(connection: Connection, drivers: Collection[int]) -> None:
    """Give slices back."""
    connection.execute(delete(LEASE).where(LEASE.c.driver.in_(sorted(drivers))))


def note_lease(connection: Connection, driver: int, amounts: str) -> None:
    """Write what is left of a driver's slice."""
    connection.execute(update(LEASE).where(LEASE.c.driver == driver).values(amounts=amounts))


def take_slice(
    connection: Connection,
    run_id: int,
    driver: int,
    budget: Budget,
    *,
    left: Amounts,
    need: Amounts,
    parts: int,
) -> Slice:
    """Lease another slice for a driver: at least `need`, else the budget's free part by `parts`.

    Args:
        connection: in a transaction that writes.
        run_id: the run.
        driver: who leases.
        budget: of the run.
        left: what the driver has left, by account, when all it spent was durable.
        need: what it needs to make its next attempt, by account.
        parts: in how many slices to cut what is free.
    """
    lock_run(connection, run_id)
    spent = _spent(read_spent(connection, run_id))
    query = select(LEASE.c.amounts).where(LEASE.c.run == run_id, LEASE.c.driver != driver)
    others = [_read(text) for text in connection.execute(query).scalars()]
    slices: dict[str, Amount] = {}
    met = within_reach = True
    for role, limits in {RUN: budget, **budget.roles}.items():
        taken = [held.get(role, Amount()) for held in (spent, left, *others)]
        new: dict[str, float] = {}
        for unit in UNITS:
            limit = getattr(limits, unit)
            if limit is None or (role == RUN and unit == "seconds"):
                continue
            free = limit - sum(getattr(one, unit) for one in taken)
            least = getattr(need.get(role, Amount()), unit)
            held_by_others = sum(getattr(one.get(role, Amount()), unit) for one in others)
            met = met and free >= least
            within_reach = within_reach and free + held_by_others >= least
            share = max(free, 0) / parts
            new[unit] = max(least, share if unit in ("usd", "seconds") else int(share))
        slices[role] = Amount(**new)  # type: ignore[arg-type]
    more = slices if met else dict.fromkeys(slices, Amount())
    held = {role: left.get(role, Amount()).plus(amount) for role, amount in more.items()}
    values = {"amounts": amounts_json(held)}
    mine = connection.execute(update(LEASE).where(LEASE.c.driver == driver).values(**values))
    if not mine.rowcount:
        connection.execute(insert(LEASE).values(driver=driver, run=run_id, **values))
    return Slice(slices if met else None, within_reach)


def _spent(by_role: Mapping[str, RoleSpend]) -> dict[str, Amount]:
    amounts = {
        role: Amount(one.paid, one.tokens, one.calls, one.seconds) for role, one in by_role.items()
    }
    whole = Amount()
    for amount in amounts.values():
        whole = whole.plus(amount)
    return {**amounts, RUN: whole}


def _read(text: str) -> dict[str, Any]:
    return {role: Amount(*amount) for role, amount in json.loads(text).items()}
