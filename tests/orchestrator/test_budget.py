"""A run keeps to its budget, says what it spent, and goes on where it is given more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agents.engine import Attempted, Throttled
from agents.engines import has_known_price, is_charged, price_of
from agents.roster import Expert, Price
from orchestrator.driver import Driver, DriverSettings
from orchestrator.fleets.fleet import (
    Action,
    Dispatch,
    Fleet,
    Inbox,
    Results,
    WorkerJoined,
    WorkerLost,
)
from orchestrator.fork import Changes, fork_run
from orchestrator.journal import DispatchRecord, MemoryJournal, ReplyRecord
from orchestrator.money.accounts import LOST
from orchestrator.money.books import open_ledger, worked_s
from orchestrator.money.ledger import Budget, Limits
from orchestrator.run import execute
from orchestrator.store import DriverRow, Store
from protocols.asks import Ask
from protocols.replies import Reply, Usage, failed
from tests.orchestrator.paid_examples import CALLS, EXPERTS, IN_FLIGHT, dearest_call, go, spec
from tests.orchestrator.run_examples import outcomes
from tests.orchestrator.test_driver import NO_WAIT, Bench, a_job

ALONE = Budget()


async def whole_price(tmp_path: Path) -> tuple[float, dict[str, float]]:
    """Return what the run costs without a budget, in all and by role."""
    with Store.open(str(tmp_path / "whole.db")) as store:
        run, ended = await go(store, spec(), ALONE, lambda ask: None)
        assert ended.ending == "finished"
        spent = store.spent(run)
    return sum(one.paid for one in spent.values()), {role: one.paid for role, one in spent.items()}


async def test_half_the_money_stops_the_run_and_more_finishes_it(
    store: Store, tmp_path: Path
) -> None:
    whole, _ = await whole_price(tmp_path)
    asked: list[Ask] = []
    run, ended = await go(store, spec(), Budget(usd=whole / 2), asked.append)
    assert (ended.ending, ended.reached) == ("budget", ("", "usd"))
    spent = store.spent(run)
    paid = sum(one.paid for one in spent.values())
    assert paid <= whole / 2
    assert paid > whole / 2 - IN_FLIGHT * dearest_call(asked), "stops within the calls in flight"
    assert sum(one.calls for one in spent.values()) == len(asked)
    assert ended.progress.paid == pytest.approx(paid)
    again, more = await go(store, spec(), Budget(usd=whole * 1.2), asked.append)
    assert (again, more.ending) == (run, "finished")
    assert len(asked) == len({ask.key for ask in asked}) == CALLS, "nothing is paid twice"
    assert sum(one.paid for one in store.spent(run).values()) == pytest.approx(whole)
    with Store.open(str(tmp_path / "whole.db")) as other:
        assert outcomes(store, run) == outcomes(other, 1)


async def test_the_budget_of_one_role(store: Store, tmp_path: Path) -> None:
    _, by_role = await whole_price(tmp_path)
    limit = by_role["judge"] / 3
    run, ended = await go(
        store, spec(), Budget(roles={"judge": Limits(usd=limit)}), lambda ask: None
    )
    assert (ended.ending, ended.reached) == ("budget", ("judge", "usd"))
    spent = store.spent(run)
    assert 0 < spent["judge"].paid <= limit
    assert 0 < spent["debater"].paid <= by_role["debater"]


@pytest.mark.parametrize(
    ("budget", "unit"), [(Budget(tokens=2_000), "tokens"), (Budget(calls=50), "calls")]
)
async def test_tokens_and_calls(store: Store, budget: Budget, unit: str) -> None:
    run, ended = await go(store, spec(), budget, lambda ask: None)
    assert (ended.ending, ended.reached) == ("budget", ("", unit))
    spent = store.spent(run).values()
    assert sum(getattr(one, unit) for one in spent) <= getattr(budget, unit)


async def test_a_budget_of_nothing_asks_nothing(store: Store) -> None:
    asked: list[Ask] = []
    run, ended = await go(store, spec(), Budget(usd=0.0), asked.append)
    assert (ended.ending, asked, store.spent(run)) == ("budget", [], {})


async def test_time_that_is_over_stops_the_run(store: Store) -> None:
    budget = Budget(seconds=0.05)
    run, ended = await go(store, spec(), budget, lambda ask: None)
    assert (ended.ending, ended.reached) == ("budget", ("", "seconds"))
    assert sum(one.calls for one in store.spent(run).values()) < CALLS
    assert open_ledger(store, run, budget).seconds > 0.0, "earlier commands count"
    _, more = await go(store, spec(), Budget(seconds=600.0), lambda ask: None)
    assert more.ending == "finished"


def test_wall_time_is_that_in_which_anybody_worked() -> None:
    def driver(start: int, seen: int, end: int | None) -> DriverRow:
        times = [
            None if s is None else f"2026-01-01T00:00:{s:02}+00:00" for s in (start, seen, end)
        ]
        return DriverRow(0, 0, "x", str(times[0]), str(times[1]), times[2], None, "{}")

    assert worked_s([]) == 0.0
    assert worked_s([driver(30, 40, 41), driver(0, 10, None), driver(5, 11, 12)]) == 23.0


async def test_inherited_replies_cost_nothing_and_are_no_calls(store: Store) -> None:
    run, _ = await go(store, spec(questions=4), ALONE, lambda ask: None)
    parent = store.runs()[0]
    before = store.spent(run)
    prepared = fork_run(
        store, parent, "fork", Changes({}, {}), turn=2, config={"roster": [], "fork": True}
    )
    asked: list[Ask] = []
    from agents.engines import make_engine
    from orchestrator.fleets.local_fleet import LocalFleet
    from tests.orchestrator.paid_examples import Told

    fleet = LocalFleet(factory=lambda expert: Told(make_engine(expert), asked.append))
    settings = DriverSettings(budget=Budget(calls=8))
    ended = await execute(store, prepared, replace(spec(), name="fork"), fleet, settings=settings)
    assert (ended.ending, len(asked)) == ("finished", 8)
    spent = store.spent(prepared.run_id)
    assert (spent["judge"].calls, spent["debater"].calls) == (8, 0)
    assert spent["debater"].paid == 0.0
    assert spent["debater"].list_price == pytest.approx(before["debater"].paid)
    assert store.totals(prepared.run_id)["debate"]["attempts"] == 8


async def test_what_is_paid_for_is_durable_before_it_is_asked() -> None:
    bench = Bench()
    paid = Expert(label="x", model="scripted/echo", price=Price(prompt=1.0))
    seen: list[bool] = []

    def decide(ask: Ask, attempt: int) -> Attempted:
        places = [r.place for r in bench.journal.records if isinstance(r, DispatchRecord)]
        seen.append(ask.place in places)
        return Reply("ok", usage=Usage(10, 5))

    from orchestrator.fleets.local_fleet import LocalFleet

    bench.engine.decide = decide
    bench.driver = Driver(
        LocalFleet(factory=lambda expert: bench.engine),
        bench.journal,
        [paid],
        price=lambda label, usage: price_of(paid, usage),
    )
    await bench.run([a_job(i) for i in range(5)])
    assert seen == [True] * 20
    assert bench.driver.ledger.paid == pytest.approx(20 * 10 / 1e6)


async def test_free_experts_write_no_dispatches() -> None:
    bench = Bench(budget=Budget(calls=7, tokens=10**9))
    await bench.run([a_job(i) for i in range(5)])
    assert not any(isinstance(r, DispatchRecord) for r in bench.journal.records)


async def test_failed_and_throttled_attempts_are_counted() -> None:
    def decide(ask: Ask, attempt: int) -> Attempted:
        if attempt == 0:
            return Throttled(0.0)
        return failed("provider", "gone") if attempt == 1 else Reply("ok")

    bench = Bench(decide, budget=Budget(calls=20), retry=NO_WAIT)
    ended = await bench.run([a_job(i) for i in range(5)])
    assert ended.ending == "budget"
    assert bench.driver.ledger.calls == sum(bench.engine.attempts.values()) == 20


class Dying(Fleet):
    """A fleet whose first worker dies with everything it was given; another takes its place."""

    def __init__(self) -> None:
        self.calls = 0

    async def start(self, experts: Sequence[Expert], inbox: Inbox) -> None:
        self._inbox = inbox
        inbox.put(WorkerJoined("first", {"x": 2}))

    def perform(self, action: Action) -> None:
        assert isinstance(action, Dispatch)
        self.calls += len(action.asks)
        if action.worker == "first":
            self._inbox.put(WorkerLost("first", "killed", replaced=True))
            self._inbox.put(WorkerJoined("second", {"x": 2}))
            return
        items = [(i, Reply("ok", usage=Usage(10, 1))) for i in range(len(action.asks))]
        self._inbox.put(Results(action.batch, tuple(items)))

    async def close(self) -> None:
        return


async def test_what_a_lost_worker_was_asked_is_counted_at_its_reserved_price() -> None:
    paid = Expert(label="x", model="scripted/echo", price=Price(completion=1.0))
    journal, fleet = MemoryJournal(), Dying()
    driver = Driver(
        fleet,
        journal,
        [paid],
        price=lambda label, usage: price_of(paid, usage),
        settings=DriverSettings(budget=Budget(usd=1.0)),
    )
    ended = await driver.run([a_job(1)], total=1)
    assert ended.ending == "finished"
    replies = [r for r in journal.records if isinstance(r, ReplyRecord)]
    lost = [r for r in replies if r.reply.failure and r.reply.failure.cause == LOST]
    assert [(r.accepted, r.attempt, r.paid_price) for r in lost] == [(False, 0, 1_024e-6)] * 2
    assert fleet.calls == len(replies) == 6
    assert driver.ledger.paid == pytest.approx(2 * 1_024e-6 + 4 * 1e-6)
    assert driver.ledger.outstanding == 0


@pytest.mark.parametrize(
    ("fields", "charged", "known"),
    [
        ({"model": "scripted/echo"}, False, True),
        ({"model": "scripted/echo", "price": Price(prompt=1.0)}, True, True),
        ({"model": "scripted/echo", "price": Price(gpu_second=0.1)}, True, True),
        ({"model": "scripted/echo", "price": "unknown"}, False, False),
        ({"model": "openai/x", "price": Price()}, False, True),
        ({"model": "openai/x", "price": "unknown"}, True, False),
        ({"model": "recorded/a/b"}, False, True),
    ],
)
def test_who_costs_something(fields: dict[str, Any], charged: bool, known: bool) -> None:
    expert = Expert(label="x", **fields)
    assert (is_charged(expert), has_known_price(expert)) == (charged, known)


def test_experts_of_the_examples_are_charged() -> None:
    assert all(is_charged(one) for one in EXPERTS)
