"""Several drivers and one budget: what the dead held falls back, what the living hold does not."""

from __future__ import annotations

import asyncio

import pytest

from orchestrator.money.leasing import LEASES, Lease
from orchestrator.money.ledger import RUN, Amount, Budget, Ledger
from orchestrator.store import Store, StoreJournal
from tests.orchestrator.store_examples import new_run, new_session

BUDGET = Budget(calls=8)
CALL = Amount(calls=1)
NEED = {RUN: CALL}


@pytest.fixture
def run(store: Store) -> int:
    run = store.create_run(new_run())
    store.add_sessions(run, [new_session(0)])
    return run


def lessee(store: Store, journal: StoreJournal, run: int) -> Lease:
    """Return a driver's lease, with nothing leased yet."""
    ledger = Ledger(BUDGET)
    ledger.lease()
    driver = store.start_driver(run, "x")
    return Lease(store, journal, run, driver, ledger, drivers=2)


async def ask(lease: Lease, role: str = "judge") -> None:
    """Ask for more, as the driver does once all it spent is durable."""
    want = lease.want((role, CALL))
    assert want is not None
    assert lease.want((role, CALL)) is None, "it asks one thing at a time"
    woken = asyncio.Event()
    lease.begin(want, woken.set)
    await asyncio.wait_for(woken.wait(), 30)


async def test_a_driver_leases_what_it_needs_and_gives_back_the_rest(
    store: Store, run: int
) -> None:
    with store.journal(run, shards=()) as journal:
        lease = lessee(store, journal, run)
        assert lease.ledger.reserve("judge", CALL) == "later"
        await ask(lease)
        assert lease.ledger.reserve("judge", CALL) == "granted"
        lease.ledger.settle("judge", CALL, CALL)
        assert lease.left()[RUN].calls == 1, "a quarter of 8, less one"
        await lease.close()
        assert store.lessees(run) == []


async def test_the_lease_of_the_dead_falls_back_to_the_budget(store: Store, run: int) -> None:
    dead = store.start_driver(run, "dead")
    store.take_slice(run, dead, BUDGET, left={}, need=NEED, parts=1)
    with store.journal(run, shards=()) as journal:
        lease = lessee(store, journal, run)
        await ask(lease)
        assert lease.left()[RUN].calls == 2
        assert dead not in store.lessees(run)
        await lease.close()


async def test_what_the_living_hold_is_waited_for(store: Store, run: int) -> None:
    with store.journal(run, shards=()) as theirs, store.journal(run, shards=()) as ours:
        living = store.start_driver(run, "living")
        assert theirs.claim([LEASES + living])
        assert theirs.shards == frozenset(), "the lock of a lease is no shard"
        store.take_slice(run, living, BUDGET, left={}, need=NEED, parts=1)
        lease = lessee(store, ours, run)
        await ask(lease)
        assert not lease.ledger.exhausted
        assert lease.left()[RUN].calls == 0
        store.end_leases([living])
        await ask(lease)
        assert lease.left()[RUN].calls == 2
        await lease.close()


async def test_where_nobody_holds_anything_the_budget_is_exhausted(store: Store, run: int) -> None:
    with store.journal(run, shards=()) as journal:
        lease = lessee(store, journal, run)
        want = lease.want(("judge", Amount(calls=9)))
        assert want is not None
        woken = asyncio.Event()
        lease.begin(want, woken.set)
        await asyncio.wait_for(woken.wait(), 30)
        assert lease.ledger.reached == (RUN, "calls")
        assert lease.want(("judge", CALL)) is None
        await lease.close()


async def test_what_is_under_way_may_make_room_first(store: Store, run: int) -> None:
    with store.journal(run, shards=()) as journal:
        lease = lessee(store, journal, run)
        for _ in range(8):  # everything is leased, piece by piece
            while lease.ledger.reserve("judge", CALL) == "later":
                await ask(lease)
        await ask(lease)
        assert not lease.ledger.exhausted, "what runs may cost less than was reserved"
        assert lease.want(("judge", CALL)) is None
        for _ in range(8):
            lease.ledger.settle("judge", CALL, Amount())
        assert lease.want(("judge", CALL)) is not None
        lease.ledger.exhaust("judge", CALL)
        await lease.close()
