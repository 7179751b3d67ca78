"""A driver's slice of a budget that it shares with others: see ``store/leases.py``."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from orchestrator.money.ledger import RUN, Amount, Ledger

if TYPE_CHECKING:
    from orchestrator.store import Store, StoreJournal
    from orchestrator.store.leases import Slice

LEASES = 1_000_000
"""Beyond the numbers of shards: the lock that a driver holds while its lease lives."""
PARTS = 2
"""Slices for each driver in what is free: few while there is much, small when it runs out."""


WAIT_S = (0.1, 2.0)
"""Before it asks again where others hold what it needs: at first, and at most."""


class Want:
    """Goes through the journal before more is leased, so that all that is spent is durable."""

    def __init__(self, role: str, need: Amount, left: dict[str, Amount], *, alone: bool) -> None:
        self.role = role
        self.need = need
        self.left = left
        self.alone = alone
        """Whether nothing else of the driver is under way that could make room."""


class Lease:
    """Leases for one driver; used from its event loop.

    Also a driver that is alone leases: another command may come and help it.
    A driver that needs more than is left, and has nothing under way, gives back what is left first.
    So what is over collects with those that can use it, and when nobody holds anything that
    somebody else could use, the budget is exhausted for all.
    """

    def __init__(
        self,
        store: Store,
        journal: StoreJournal,
        run_id: int,
        driver_id: int,
        ledger: Ledger,
        *,
        drivers: int,
    ) -> None:
        self.ledger = ledger
        self._store = store
        self._journal = journal
        self._run_id = run_id
        self._driver = driver_id
        self._parts = PARTS * drivers
        self._asking = False
        self._denied = False
        self._wait_s = WAIT_S[0]
        self._task: asyncio.Task[None] | None = None
        self._closed = asyncio.Event()
        ledger.lease()
        journal.claim([LEASES + driver_id])

    def want(self, parked: tuple[str, Amount] | None) -> Want | None:
        """Return what is to go through the journal for more to be leased, where that is due."""
        if parked is None or self._asking or self.ledger.exhausted:
            return None
        alone = not self.ledger.outstanding
        if self._denied and not alone:
            return None
        if alone:
            self.ledger.lease()
        self._asking = True
        role, need = parked
        return Want(role, need, self.left(), alone=alone)

    def begin(self, want: Want, wake: Callable[[], None]) -> None:
        """Lease in a thread, and wake the driver when it is done."""
        self._task = asyncio.get_running_loop().create_task(self._take(want, wake))

    def left(self) -> dict[str, Amount]:
        """Return what is left of the slice by account, reservations included."""
        return {role: account.left for role, account in self.ledger.accounts()}

    async def close(self) -> None:
        """Give back what is left."""
        self._closed.set()
        if self._task is not None:
            await asyncio.wait({self._task})
        await asyncio.to_thread(self._store.end_leases, [self._driver])

    async def _take(self, want: Want, wake: Callable[[], None]) -> None:
        try:
            found = await asyncio.to_thread(self._lease, want)
            if found.granted is not None:
                self.ledger.grant(found.granted)
                self._denied, self._wait_s = False, WAIT_S[0]
            elif found.others_hold_enough:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._closed.wait(), self._wait_s)
                self._wait_s = min(2 * self._wait_s, WAIT_S[1])
            elif want.alone:
                self.ledger.exhaust(want.role, want.need)
            else:
                self._denied = True
        finally:
            self._asking = False
            wake()

    def _lease(self, want: Want) -> Slice:
        others = {LEASES + one: one for one in self._store.lessees(self._run_id)}
        others.pop(LEASES + self._driver, None)
        dead = self._journal.claim(others) if others else frozenset()
        if dead:
            self._store.end_leases([others[lock] for lock in dead])
        return self._store.take_slice(
            self._run_id,
            self._driver,
            self.ledger.budget,
            left=want.left,
            need={RUN: want.need, want.role: want.need},
            parts=self._parts,
        )
