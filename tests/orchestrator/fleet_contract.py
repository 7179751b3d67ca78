"""The contract that every fleet keeps. Subclass :class:`FleetContract` and give it `make`."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from agents.engine import Attempted, Throttled
from agents.roster import Expert
from orchestrator.fleets.fleet import (
    Dispatch,
    Fleet,
    FleetEvent,
    Inbox,
    Load,
    Loaded,
    LoadFailed,
    Results,
    Unload,
    WorkerJoined,
)
from protocols.asks import Ask, Model, Seat
from protocols.errors import Mistake
from protocols.messages import Message, Part, Place
from protocols.replies import Reply
from tests.agents.making import ask_about, question_number, recorded_expert, row, write_rows

PATIENCE_S = 60.0
"""After this a test has hung."""

VOTER = Expert(label="voter", model="scripted/voter")
ECHO = Expert(label="echo", model="scripted/echo")
SLOW = Expert(label="slow", model="scripted/slow", options={"latency_s": 3600.0})
FAILING = Expert(label="failing", model="scripted/flaky", options={"fail_share": 1.0})
THROTTLING = Expert(label="busy", model="scripted/flaky", options={"throttle_share": 1.0})

HOSTILE = (
    "",
    "\n" * 5_000,
    "{key} {0} %s ${HOME} {{ x }}",
    "Answer: A\n> Answer: B\n</quote> \u2028Answer: C\x85Answer: D",
    "\u202e\ufffd\U0001f600\x1b[31m",
    "\x00 and \ud800",
    "?" * 300_000,
)


def asks_of(expert: Expert, count: int) -> tuple[Ask, ...]:
    """Return `count` asks that differ, placed one after the other."""
    return tuple(ask_about(expert, question_number(i), place=Place(0, i)) for i in range(count))


def ask_to_say(text: str) -> Ask:
    """Return an ask that the echo answers with `text`."""
    seat = Seat("s", "solver", ECHO.label, Model(ECHO.model))
    return Ask(seat, (Message("user", (Part("question", text),)),))


class Rig:
    """A started fleet and what came of it."""

    def __init__(self, fleet: Fleet, inbox: Inbox) -> None:
        self.fleet = fleet
        self.inbox = inbox
        self.events: list[FleetEvent] = []

    @property
    def joined(self) -> list[WorkerJoined]:
        return [event for event in self.events if isinstance(event, WorkerJoined)]

    @property
    def worker(self) -> str:
        return self.joined[-1].worker

    def send(self, batch: int, expert: Expert, asks: Sequence[Ask]) -> None:
        self.fleet.perform(Dispatch(batch, self.worker, expert.label, tuple(asks)))

    async def until(self, enough: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while True:
                self.events += self.inbox.take()
                if enough():
                    return
                await self.inbox.wait()

    def results(self, batch: int) -> dict[int, Attempted]:
        """Return what came of a batch; an index that came twice fails the test."""
        pairs = [
            item
            for event in self.events
            if isinstance(event, Results) and event.batch == batch
            for item in event.items
        ]
        assert max(Counter(index for index, _ in pairs).values(), default=1) == 1
        return dict(pairs)

    async def answers(self, batch: int, expert: Expert, asks: Sequence[Ask]) -> list[Attempted]:
        """Return the results of a batch, in the order of its asks."""
        self.send(batch, expert, asks)
        await self.until(lambda: len(self.results(batch)) == len(asks))
        found = self.results(batch)
        return [found[i] for i in range(len(asks))]


@asynccontextmanager
async def running(fleet: Fleet, *experts: Expert) -> AsyncIterator[Rig]:
    """Start a fleet and close it in the end."""
    rig = Rig(fleet, Inbox())
    await fleet.start(experts, rig.inbox)
    try:
        await rig.until(lambda: bool(rig.joined))
        yield rig
    finally:
        await fleet.close()


class FleetContract:
    """What a fleet keeps, whatever its workers are."""

    def make(self) -> Fleet:
        """Return a fleet that was not started."""
        raise NotImplementedError

    async def test_a_worker_joins_with_the_limits_of_its_experts(self) -> None:
        small = Expert(label="small", model="scripted/echo", options={"batch_limit": 3})
        async with running(self.make(), VOTER, small) as rig:
            assert rig.joined[0].batch_limits == {"voter": 4096, "small": 3}

    async def test_every_index_of_many_batches_comes_once(self) -> None:
        asks = asks_of(VOTER, 2_000)
        async with running(self.make(), VOTER) as rig:
            for start in range(0, 2_000, 128):
                rig.send(start, VOTER, asks[start : start + 128])
            await rig.until(lambda: sum(len(rig.results(b)) for b in range(0, 2_000, 128)) == 2_000)
            for start in range(0, 2_000, 128):
                size = min(128, 2_000 - start)
                assert sorted(rig.results(start)) == list(range(size))

    async def test_several_experts_at_once(self) -> None:
        experts = [
            Expert(label=f"e{i}", model="scripted/constant", options={"text": f"I am {i}"})
            for i in range(5)
        ]
        async with running(self.make(), *experts) as rig:
            for i, expert in enumerate(experts):
                rig.send(i, expert, asks_of(expert, 20))
            await rig.until(lambda: all(len(rig.results(i)) == 20 for i in range(5)))
            for i in range(5):
                texts = {r.text for r in rig.results(i).values() if isinstance(r, Reply)}
                assert texts == {f"I am {i}"}

    async def test_what_experts_do_wrong_is_data(self) -> None:
        async with running(self.make(), FAILING, THROTTLING, VOTER) as rig:
            failures = await rig.answers(1, FAILING, asks_of(FAILING, 30))
            throttled = await rig.answers(2, THROTTLING, asks_of(THROTTLING, 30))
            served = await rig.answers(3, VOTER, asks_of(VOTER, 30))
        assert all(isinstance(r, Reply) and r.failure is not None for r in failures)
        assert all(isinstance(r, Throttled) for r in throttled)
        assert all(isinstance(r, Reply) and not r.failed for r in served)

    async def test_an_expert_that_is_not_hosted_fails_its_asks(self) -> None:
        async with running(self.make(), VOTER) as rig:
            (result,) = await rig.answers(1, ECHO, asks_of(ECHO, 1))
        assert isinstance(result, Reply)
        assert result.failure is not None
        assert result.failure.boundary == "provider"

    async def test_load_use_unload_and_use_again(self, tmp_path: Path) -> None:
        expert = recorded_expert(write_rows(tmp_path / "rows.jsonl", *map(row, range(4))))
        async with running(self.make(), expert) as rig:
            rig.fleet.perform(Load(rig.worker, expert.label))
            await rig.until(lambda: any(isinstance(e, Loaded) for e in rig.events))
            first = await rig.answers(1, expert, asks_of(expert, 4))
            rig.fleet.perform(Unload(rig.worker, expert.label))
            second = await rig.answers(2, expert, asks_of(expert, 4))
        assert [r.text for r in first if isinstance(r, Reply)] == ["Answer: A"] * 4
        assert [r.text for r in second if isinstance(r, Reply)] == ["Answer: A"] * 4
        (loaded,) = [event for event in rig.events if isinstance(event, Loaded)]
        assert loaded.expert == expert.label
        assert loaded.seconds >= 0.0

    async def test_files_are_found_from_another_directory(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write_rows(tmp_path / "rows.jsonl", *map(row, range(2)))
        monkeypatch.chdir(tmp_path)
        expert = recorded_expert(Path("rows.jsonl"))
        async with running(self.make(), expert) as rig:
            results = await rig.answers(1, expert, asks_of(expert, 2))
        assert not any(r.failed for r in results if isinstance(r, Reply))

    async def test_an_expert_that_cannot_be_loaded(self, tmp_path: Path) -> None:
        seen = recorded_expert(write_rows(tmp_path / "rows.jsonl", *map(row, range(3))))
        asks = asks_of(seen, 3)
        gone = seen.model_copy(update={"data": str(tmp_path / "gone.jsonl")})
        async with running(self.make(), gone, VOTER) as rig:
            rig.fleet.perform(Load(rig.worker, gone.label))
            await rig.until(lambda: any(isinstance(e, LoadFailed) for e in rig.events))
            results = await rig.answers(1, gone, asks)
            served = await rig.answers(2, VOTER, asks_of(VOTER, 3))
        (failed,) = [event for event in rig.events if isinstance(event, LoadFailed)]
        assert failed.expert == gone.label
        assert "gone.jsonl" in failed.message
        assert "\n" not in failed.message
        for result in results:
            assert isinstance(result, Reply)
            assert result.failure is not None
            assert result.failure.boundary == "provider"
            assert "gone.jsonl" in result.failure.message
        assert not any(r.failed for r in served if isinstance(r, Reply))

    async def test_hostile_text_comes_back_as_it_went(self) -> None:
        async with running(self.make(), ECHO) as rig:
            results = await rig.answers(1, ECHO, [ask_to_say(text) for text in HOSTILE])
        for text, result in zip(HOSTILE, results, strict=True):
            assert isinstance(result, Reply)
            clean = text.replace("\x00", "\ufffd").replace("\ud800", "\ufffd")
            assert result.text == clean
            assert result.repaired == (clean != text)

    async def test_an_empty_batch_is_harmless(self) -> None:
        async with running(self.make(), VOTER) as rig:
            rig.send(1, VOTER, ())
            assert len(await rig.answers(2, VOTER, asks_of(VOTER, 2))) == 2

    async def test_close_in_the_middle_ends_everything(self) -> None:
        fleet = self.make()
        async with running(fleet, SLOW, VOTER) as rig:
            rig.send(1, SLOW, asks_of(SLOW, 50))
            await rig.answers(2, VOTER, asks_of(VOTER, 5))
            before = asyncio.all_tasks()
            assert len(before) > 1
            await fleet.close()
            assert asyncio.all_tasks() == {asyncio.current_task()}
            rig.events += rig.inbox.take()
            assert rig.results(1) == {}
            await fleet.close()

    async def test_a_setting_that_does_not_fit_is_a_mistake(self) -> None:
        broken = Expert(label="broken", model="scripted/echo", options={"nonsense": 1})
        fleet = self.make()
        with pytest.raises(Mistake, match="nonsense") as caught:
            await fleet.start([broken], Inbox())
        assert "\n" not in str(caught.value)
        await fleet.close()
