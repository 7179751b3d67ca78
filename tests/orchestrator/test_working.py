"""Several drivers on one run: shares, what is free, what is held, and what the dead leave."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.driver import Driver, DriverSettings, Ended, Progress
from orchestrator.heartbeat import Heartbeat
from orchestrator.limits.retry import RetryPolicy
from orchestrator.money.ledger import Budget
from orchestrator.run import Prepared, execute, prepare
from orchestrator.sharding import ALL_SHARDS, deal
from orchestrator.spec import RunSpec
from orchestrator.store import AllHeld, NewSession, Store
from orchestrator.working import after, work
from protocols.errors import Mistake
from tests import postgres
from tests.orchestrator.run_examples import (
    DEBATE,
    DIRECT,
    Watched,
    a_spec,
    outcomes,
    run,
    statuses,
)

SETTINGS = DriverSettings(retry=RetryPolicy(first_wait_s=0.0, attempts=1))
SPEC = a_spec(DEBATE, DIRECT, numbers=range(40))
ASKS = 40 * (6 + 1)


@pytest.fixture(
    params=["sqlite", pytest.param("postgresql", marks=[pytest.mark.postgres, pytest.mark.slow])]
)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield str(tmp_path / "runs.db")
    else:
        with postgres.database() as address:
            yield address


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    with Store.open(url) as store:
        yield store


async def drive(
    store: Store,
    prepared: Prepared,
    watched: Watched,
    *,
    spec: RunSpec = SPEC,
    share: tuple[int, ...] = ALL_SHARDS,
) -> Ended:
    return await work(store, prepared, spec, watched.fleet, settings=SETTINGS, share=share)


def recorded(store: Store, run_id: int) -> set[tuple[str, str, bytes]]:
    """Return (session key, ask key, digest of the accepted reply) of everything in a run."""
    rows = store.sessions(run_id)
    return {
        (row.key, one.key, one.reply.digest)
        for row, loaded in zip(rows, store.tapes([row.id for row in rows]), strict=True)
        for one in loaded.tape.values()
    }


async def test_two_drivers_do_what_one_does(store: Store, url: str, tmp_path: Path) -> None:
    prepared = prepare(store, SPEC)
    shares = deal(store.pending_by_shard(prepared.run_id), 2)
    watched = [Watched(), Watched()]
    with Store.open(url) as other:
        await asyncio.gather(
            drive(store, prepared, watched[0], share=shares[0]),
            drive(other, prepared, watched[1], share=shares[1]),
        )
    assert all(one.total > ASKS / 4 for one in watched)
    assert Counter(watched[0].calls) + Counter(watched[1].calls) == Counter(
        row["key"] for row in store.ask_rows([row.id for row in store.sessions(prepared.run_id)])
    )
    with Store.open(str(tmp_path / "whole.db")) as whole:
        alone = await run(whole, SPEC)
        assert outcomes(store, prepared.run_id) == outcomes(whole, alone.run_id)
        assert recorded(store, prepared.run_id) == recorded(whole, alone.run_id)
    (row,) = store.runs()
    assert (row.status, len(store.drivers(row.id))) == ("finished", 2)


async def test_a_driver_takes_what_is_free_and_leaves_what_is_held(store: Store, url: str) -> None:
    prepared = prepare(store, SPEC)
    pending = store.pending_by_shard(prepared.run_id)
    held = sorted(pending)[:3]
    left = sum(pending[shard] for shard in held)
    with Store.open(url) as other, other.journal(prepared.run_id, shards=held):
        ended = await drive(store, prepared, Watched())
        assert (ended.ending, ended.progress.sessions_done) == ("finished", 80 - left)
        assert statuses(store, prepared.run_id) == {"finished": 80 - left, "pending": left}
        assert store.runs()[0].status == "running", "somebody works on it"
        with pytest.raises(AllHeld, match="worked on by another process"):
            await drive(store, prepared, Watched())
    ended = await drive(store, replace(prepared, done=80 - left), Watched())
    assert ended.progress.sessions_done == 80
    assert store.runs()[0].status == "finished"


async def test_what_a_dead_driver_held_is_taken_in_the_same_call(store: Store, url: str) -> None:
    prepared = prepare(store, SPEC)
    mine, others = deal(store.pending_by_shard(prepared.run_id), 2)
    with Store.open(url) as other:
        dying = other.journal(prepared.run_id, shards=others)

        def dies(ask: object) -> None:
            if watched.total == 5:
                dying.__exit__(None, None, None)

        watched = Watched(on_call=dies)
        ended = await drive(store, prepared, watched, share=mine)
    assert (ended.ending, ended.progress.sessions_done) == ("finished", 80)
    assert (ended.progress.asks_done, watched.total) == (ASKS, ASKS)
    assert len(store.drivers(prepared.run_id)) == 2, "one pass for the share, one for the rest"


async def test_shards_are_taken_as_the_window_has_room(
    store: Store, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.jobs.AT_ONCE", 1)
    prepared = prepare(store, SPEC)
    first, second = Watched(), Watched()
    settings = replace(SETTINGS, window=4)
    with Store.open(url) as other:
        await asyncio.gather(
            *[
                work(one, prepared, SPEC, watched.fleet, settings=settings)
                for one, watched in ((store, first), (other, second))
            ]
        )
    assert first.total
    assert second.total, "the first one did not take all that there is"
    assert first.total + second.total == ASKS
    assert statuses(store, prepared.run_id) == {"finished": 80}


async def test_nothing_left_starts_no_fleet(store: Store) -> None:
    done = await run(store, SPEC)

    class Refused(Watched):
        def fleet(self):
            fleet = super().fleet()
            fleet.start = None  # type: ignore[method-assign, assignment]
            return fleet

    ended = await drive(store, prepare(store, SPEC), Refused())
    assert (ended.ending, ended.progress.asks_done) == ("finished", 0)
    assert store.runs()[0].status == "finished"
    assert len(store.drivers(done.run_id)) == 1


async def test_a_run_of_before_shards_goes_on(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = Store.add_sessions

    def in_shard_0(self: Store, run_id: int, sessions: list[NewSession]) -> list[int]:
        return before(self, run_id, [replace(one, shard=0) for one in sessions])

    with monkeypatch.context() as old:
        old.setattr(Store, "add_sessions", in_shard_0)
        first = await run(store, SPEC, calls=50)
    assert set(store.pending_by_shard(first.run_id)) == {0}
    assert (await run(store, SPEC)).ended.ending == "finished"
    assert statuses(store, first.run_id) == {"finished": 80}


async def test_a_run_that_is_worked_on_is_not_changed(store: Store) -> None:
    prepared = prepare(store, SPEC)
    with store.journal(prepared.run_id, shards=[1]):
        assert prepare(store, SPEC).done == 0, "the same workflow changes nothing"
        with pytest.raises(Mistake, match=r"being worked on and the workflow changed.*40 super"):
            prepare(store, a_spec(DEBATE, numbers=range(40)))
    assert statuses(store, prepared.run_id) == {"pending": 80}
    assert prepare(store, a_spec(DEBATE, numbers=range(40))).sessions == 40


async def test_commands_that_begin_at_once_make_one_run(url: str, store: Store) -> None:
    def begin() -> Prepared:
        with Store.open(url) as own:
            return prepare(own, SPEC)

    found = await asyncio.gather(*[asyncio.to_thread(begin) for _ in range(4)])
    assert {one.run_id for one in found} == {store.runs()[0].id}
    assert statuses(store, found[0].run_id) == {"pending": 80}


async def test_drivers_keep_to_their_part_of_the_budget(store: Store) -> None:
    prepared = prepare(store, SPEC)
    mine, others = deal(store.pending_by_shard(prepared.run_id), 2)
    watched = Watched()
    settings = replace(SETTINGS, budget=Budget(calls=20))
    ended = await work(store, prepared, SPEC, watched.fleet, settings=settings, share=mine)
    assert (ended.ending, watched.total) == ("budget", 20)
    (row,) = store.drivers(prepared.run_id)
    assert row.ending == "budget"
    assert others


async def test_a_driver_tells_the_store_how_far_it_is(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.heartbeat.BEAT_S", 0.0)
    seen: list[str] = []

    def look(progress: Progress) -> None:
        seen.extend(row.progress_json for row in store.drivers(prepared.run_id))

    prepared = prepare(store, SPEC)
    await execute(store, prepared, SPEC, Watched().fleet(), settings=SETTINGS, on_progress=look)
    (row,) = store.drivers(prepared.run_id)
    told = json.loads(row.progress_json)
    assert (told["asks"], told["sessions_done"], told["in_flight"]) == (ASKS, 80, 0)
    assert told["experts"]["speaker"]["replies"] == 40 * 4
    assert seen


async def test_a_driver_that_breaks_says_so(store: Store) -> None:
    def broken(driver: Driver) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await run(store, SPEC, on_driver=broken)
    (row,) = store.drivers(store.runs()[0].id)
    assert (row.ending, store.runs()[0].status) == ("failed", "stopped")


def test_progress_of_two_passes_adds_up() -> None:
    first = Progress(10, 4, 40, 1, 41, 0, 1.0, 2.0)
    then = Progress(10, 9, 50, 2, 52, 3, 1.5, 4.0)
    assert after(first, then) == Progress(10, 9, 90, 3, 93, 3, 1.5, 6.0)


def test_the_last_word_comes_when_the_journal_is_closed(store: Store) -> None:
    run_id = prepare(store, SPEC).run_id
    journal = store.journal(run_id, shards=())
    journal.__exit__(None, None, None)
    heart = Heartbeat(journal, 1, done_before=4, paid_before=0.5)
    heart.hear(Progress(10, 9, 50, 2, 52, 3, 1.5, 4.0))
    assert (heart.last["sessions_done"], heart.last["paid"]) == (5, 1.0)
