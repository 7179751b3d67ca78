"""The response cache: what was asked before is found again, marked, and paid nothing."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from agents.engine import Attempted
from agents.engines import price_of
from agents.roster import Expert, Price
from orchestrator.driver import Driver, DriverSettings, Ended
from orchestrator.fleets.local_fleet import LocalFleet
from orchestrator.money.ledger import Budget
from orchestrator.money.reply_cache import CacheKeys, CachePolicy
from orchestrator.replay import replay
from orchestrator.run import execute, prepare
from orchestrator.spec import Entry, RunSpec
from orchestrator.store import Store
from protocols.asks import Ask, Model
from protocols.cast import Cast, Member
from protocols.debate import Debate
from protocols.direct_answer import DirectAnswer
from protocols.replies import Reply, Usage, failed
from tests.orchestrator.run_examples import questions
from tests.orchestrator.test_driver import NO_WAIT, Puppet

HOSTED = Expert(label="x", model="openai/some", price=Price(completion=1e6))
ANY_AGE = CachePolicy()
MEMBER = Member(expert="x", model=Model("openai/some"))
CAST = Cast(members={"debater": (MEMBER,), "judge": (MEMBER,)})
DEBATE = Entry("debate", Debate(rounds=1, orders=2), CAST)
DIRECT = Entry("direct", DirectAnswer(), CAST)


def says(ask: Ask, attempt: int) -> Attempted:
    return Reply("Answer: A", usage=Usage(10, 1), latency_s=0.5)


def a_spec(name: str, *entries: Entry, repeats: int = 1, expert: Expert = HOSTED) -> RunSpec:
    return RunSpec(name, entries or (DEBATE,), questions(1, 2, 3), (expert,), repeats=repeats)


async def go(
    store: Store,
    spec: RunSpec,
    decide: Any = says,
    *,
    cache: CachePolicy | None = ANY_AGE,
    budget: Budget | None = None,
) -> tuple[int, Ended, Counter[str]]:
    engine = Puppet(decide)
    settings = DriverSettings(retry=NO_WAIT, cache=cache, budget=budget or Budget())
    prepared = prepare(store, spec)
    fleet = LocalFleet(factory=lambda expert: engine)
    ended = await execute(store, prepared, spec, fleet, settings=settings)
    return prepared.run_id, ended, engine.attempts


async def test_another_run_finds_everything_and_calls_nobody(store: Store) -> None:
    first, _, calls = await go(store, a_spec("one"))
    second, ended, again = await go(store, a_spec("two"), budget=Budget(usd=0.0))
    assert (calls.total(), again.total()) == (12, 0)
    assert (ended.ending, ended.progress.asks_done, ended.progress.attempts) == ("finished", 12, 0)
    rows = list(store.reply_rows([row.id for row in store.sessions(second)]))
    assert {
        (row["source"], row["paid_price"], row["list_price"], row["latency_s"]) for row in rows
    } == {("cache", 0.0, 1.0, 0.0)}
    of = {run: [row.outcome_json for row in store.sessions(run)] for run in (first, second)}
    assert of[first] == of[second]
    keys = {run: [row.key for row in store.sessions(run)] for run in (first, second)}
    assert keys[first] == keys[second], "a cache is no part of a session's identity"
    assert replay(store, second).identical == 3
    spent = store.spent(second)
    assert sum(one.calls for one in spent.values()) == 0
    assert sum(one.list_price for one in spent.values()) == 12.0


async def test_nothing_is_looked_up_without_being_told(store: Store) -> None:
    await go(store, a_spec("one"))
    _, _, again = await go(store, a_spec("two"), cache=None)
    assert again.total() == 12


async def test_draws_and_repeats_keep_their_own_replies(store: Store) -> None:
    numbers = iter(range(10_000))

    def counted(ask: Ask, attempt: int) -> Attempted:
        return Reply(f"{next(numbers)}\nAnswer: A", usage=Usage(1, 1))

    spec = a_spec("one", DIRECT, repeats=3)
    first, _, calls = await go(store, spec, counted)
    assert calls.total() == 9, "a repeat is not the reply of another repeat"
    second, _, again = await go(store, replace(spec, name="two"), counted)
    assert again.total() == 0

    def texts(run: int) -> list[tuple[str, int, str]]:
        sessions = {row.id: row for row in store.sessions(run)}
        rows = store.reply_rows(list(sessions))
        return sorted(
            (sessions[r["session"]].question_id, sessions[r["session"]].repeat, r["text"])
            for r in rows
        )

    assert texts(first) == texts(second)
    assert len({text for _, _, text in texts(second)}) == 9


async def test_another_address_is_another_reply(store: Store) -> None:
    await go(store, a_spec("one"))
    moved = HOSTED.model_copy(update={"base_url": "http://localhost:1/v1"})
    _, _, again = await go(store, a_spec("two", expert=moved))
    assert again.total() == 12


@pytest.mark.parametrize(
    "wrong",
    [
        failed("refused", "no"),
        failed("provider", "gone"),
        failed("malformed", "what"),
        Reply("Answer: A", finish="content_filter"),
    ],
    ids=["refused", "provider", "malformed", "filtered"],
)
async def test_what_went_wrong_is_asked_again(store: Store, wrong: Reply) -> None:
    await go(store, a_spec("one", DIRECT), lambda ask, attempt: wrong)
    assert store.cached_models() == []
    _, ended, again = await go(store, a_spec("two", DIRECT))
    assert (ended.ending, again.total()) == ("finished", 3)


async def test_experts_that_are_not_hosted_are_never_kept(store: Store) -> None:
    scripted = Expert(label="x", model="scripted/echo", price=Price(prompt=1.0))
    await go(store, a_spec("one", expert=scripted))
    assert store.cached_models() == []
    assert not CacheKeys([scripted])


async def test_too_old_is_asked_again(store: Store) -> None:
    await go(store, a_spec("one", DIRECT))
    _, _, again = await go(store, a_spec("two", DIRECT), cache=CachePolicy(max_age_s=-1.0))
    assert again.total() == 3
    _, _, later = await go(store, a_spec("three", DIRECT), cache=CachePolicy(max_age_s=3600.0))
    assert later.total() == 0


async def test_what_is_cleared_is_asked_again(store: Store) -> None:
    run, _, _ = await go(store, a_spec("one", DIRECT))
    assert store.forget_cached() == 3
    _, _, again = await go(store, a_spec("two", DIRECT))
    assert again.total() == 3
    assert replay(store, run).identical == 3, "the replies of the first run stay"


async def test_looking_up_is_done_in_batches_beside_the_loop() -> None:
    """While a look-up takes its time the loop goes on, and what arrives makes the next one."""
    from orchestrator.journal import MemoryJournal
    from tests.orchestrator.test_driver import a_job

    batches: list[int] = []
    loop = asyncio.get_running_loop()
    beats = 0

    def beat() -> None:
        nonlocal beats
        beats += 1
        loop.call_later(0.001, beat)

    def look_up(keys: Sequence[bytes]) -> Mapping[bytes, Any]:
        before = beats
        batches.append(len(keys))
        while beats < before + 3:  # would wait for ever in the loop's own thread
            pass
        return {}

    engine = Puppet(says)
    driver = Driver(
        LocalFleet(factory=lambda expert: engine),
        MemoryJournal(),
        [HOSTED],
        price=lambda label, usage: price_of(HOSTED, usage),
        look_up=look_up,
    )
    beat()
    ended = await driver.run([a_job(i) for i in range(50)], total=50)
    assert ended.ending == "finished"
    assert engine.attempts.total() == sum(batches) == 200
    assert len(batches) < 50


async def test_a_look_up_that_fails_ends_the_run() -> None:
    from orchestrator.journal import MemoryJournal
    from tests.orchestrator.test_driver import a_job

    def look_up(keys: Sequence[bytes]) -> Mapping[bytes, Any]:
        raise OSError("the disk is gone")

    driver = Driver(
        LocalFleet(factory=lambda expert: Puppet(says)),
        MemoryJournal(),
        [HOSTED],
        look_up=look_up,
    )
    with pytest.raises(OSError, match="the disk is gone"):
        await asyncio.wait_for(driver.run([a_job(1)], total=1), 30)
