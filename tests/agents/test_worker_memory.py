"""A worker with a memory of its own: what is resident, what makes room, what fails."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from agents.engine import Attempted, Engine
from agents.roster import Expert
from agents.worker import Worker
from protocols.asks import Ask
from protocols.errors import Mistake
from protocols.replies import Failure, Reply
from tests.agents.making import ask_about, question_number
from tests.virtual_time import run_jumping


class Model(Engine):
    """Writes into a diary what is done to it; its load and its replies wait where told."""

    def __init__(self, label: str, diary: list[str]) -> None:
        self.label = label
        self.diary = diary
        self.may_load = asyncio.Event()
        self.may_load.set()
        self.may_reply = asyncio.Event()
        self.may_reply.set()
        self.load_error: BaseException | None = None
        self.unload_error: Exception | None = None
        self.common: dict[str, Any] | None = None

    def share(self, common: dict[str, Any]) -> None:
        assert self.common is None
        self.common = common

    async def load(self) -> None:
        self.diary.append(f"load {self.label}")
        try:
            await self.may_load.wait()
        except asyncio.CancelledError:
            self.diary.append(f"stopped {self.label}")
            raise
        if self.load_error is not None:
            raise self.load_error
        self.diary.append(f"ready {self.label}")

    async def unload(self) -> None:
        self.diary.append(f"unload {self.label}")
        if self.unload_error is not None:
            raise self.unload_error

    async def stream(self, asks: Sequence[Ask]) -> AsyncIterator[tuple[int, Attempted]]:
        yield 0, Reply("early")
        await self.may_reply.wait()
        for index in range(1, len(asks)):
            yield index, Reply("late")


class Rig:
    """A worker of 80 GB for experts of given sizes."""

    def __init__(self, memory_gb: float | None = 80.0, **sizes: float) -> None:
        self.diary: list[str] = []
        self.models: dict[str, Model] = {}
        experts = [
            Expert(label=label, model="scripted/model", gpu_gb=size)
            for label, size in sizes.items()
        ]
        self.worker = Worker(experts, self.make, memory_gb)
        self.worker.batch_limits()

    def make(self, expert: Expert) -> Engine:
        self.models[expert.label] = Model(expert.label, self.diary)
        return self.models[expert.label]

    def resident(self) -> tuple[str, ...]:
        return self.worker.resident

    async def said(self, label: str, count: int = 2) -> list[Attempted]:
        asks = [
            ask_about(Expert(label=label, model="x/y"), question_number(i)) for i in range(count)
        ]
        found: dict[int, Attempted] = {}
        async for items in self.worker.stream(label, asks):
            for index, result in items:
                assert index not in found
                found[index] = result
        return [found[i] for i in range(count)]


def failures(results: Sequence[Attempted]) -> list[Failure | None]:
    return [result.failure for result in results if isinstance(result, Reply)]


async def settle() -> None:
    """Let everything run that can."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_only_what_was_loaded_serves() -> None:
    rig = Rig(a=40.0, b=40.0)
    for failure in failures(await rig.said("a")):
        assert failure is not None
        assert failure.boundary == "provider"
        assert "not resident" in failure.message
    await rig.worker.load("a")
    assert failures(await rig.said("a")) == [None, None]
    assert rig.resident() == ("a",)
    assert rig.worker.sizes_gb() == {"a": 40.0, "b": 40.0}
    (unknown, _) = failures(await rig.said("c"))
    assert unknown is not None
    assert "hosts no expert 'c'" in unknown.message


async def test_what_is_evicted_goes_first_and_in_order() -> None:
    rig = Rig(a=30.0, b=50.0, c=80.0)
    await rig.worker.load("a")
    await rig.worker.load("b")
    rig.diary.clear()
    assert await rig.worker.load("c", ["b", "a"]) >= 0.0
    assert rig.diary == ["unload b", "unload a", "load c", "ready c"]
    assert rig.resident() == ("c",)
    assert failures(await rig.said("a"))[0] is not None


async def test_what_does_not_fit_is_refused_and_the_others_stay() -> None:
    rig = Rig(a=30.0, b=30.0, c=30.0, d=90.0)
    await rig.worker.load("a")
    await rig.worker.load("b")
    with pytest.raises(Mistake, match=r"c needs 30 GB and 20 of 80 GB are free \(a 30, b 30\)"):
        await rig.worker.load("c")
    assert rig.resident() == ("a", "b")
    with pytest.raises(Mistake, match=r"d needs 90 GB and 80 of 80 GB are free \(nothing\)"):
        await rig.worker.load("d", ["a", "b"])
    assert rig.resident() == ()
    assert "load d" not in rig.diary


async def test_a_load_of_what_is_there_only_evicts() -> None:
    rig = Rig(a=30.0, b=30.0)
    await rig.worker.load("a")
    await rig.worker.load("b")
    await rig.worker.load("b", ["a", "nobody"])
    assert rig.resident() == ("b",)
    assert rig.diary.count("load b") == 1


async def test_memory_adds_up_without_rounding_errors() -> None:
    rig = Rig(0.3, a=0.1, b=0.1, c=0.1)
    for label in "abc":
        await rig.worker.load(label)
    assert rig.resident() == ("a", "b", "c")


async def test_a_load_that_fails_takes_no_memory_and_may_be_repeated() -> None:
    rig = Rig(a=60.0, b=60.0)
    await rig.worker.load("a")
    rig.models["b"].load_error = OSError("no such file")
    with pytest.raises(OSError, match="no such file"):
        await rig.worker.load("b", ["a"])
    assert rig.resident() == ()
    rig.models["b"].load_error = None
    await rig.worker.load("b")
    assert rig.resident() == ("b",)


async def test_an_eviction_that_fails_is_told_and_the_others_go_all_the_same() -> None:
    rig = Rig(a=20.0, b=20.0, c=40.0)
    await rig.worker.load("a")
    await rig.worker.load("b")
    rig.models["a"].unload_error = OSError("still in use")
    with pytest.raises(OSError, match="still in use"):
        await rig.worker.load("c", ["a", "b"])
    assert rig.resident() == ()
    assert rig.diary[-2:] == ["unload a", "unload b"]


async def test_loads_come_one_after_the_other() -> None:
    rig = Rig(a=20.0, b=20.0)
    rig.models["a"].may_load.clear()
    first = asyncio.create_task(rig.worker.load("a"))
    second = asyncio.create_task(rig.worker.load("b"))
    await settle()
    assert rig.diary == ["load a"]
    rig.models["a"].may_load.set()
    await asyncio.gather(first, second)
    assert rig.diary == ["load a", "ready a", "load b", "ready b"]


async def test_experts_without_memory_load_side_by_side() -> None:
    rig = Rig(None, a=20.0, b=20.0)
    rig.models["a"].may_load.clear()
    first = asyncio.create_task(rig.worker.load("a"))
    await settle()
    await rig.worker.load("b")
    rig.models["a"].may_load.set()
    await first
    assert rig.diary == ["load a", "load b", "ready b", "ready a"]
    assert rig.worker.sizes_gb() == {}


async def test_the_next_expert_is_loaded_while_another_generates() -> None:
    rig = Rig(a=40.0, b=40.0)
    await rig.worker.load("a")
    rig.models["a"].may_reply.clear()
    generating = asyncio.create_task(rig.said("a", 3))
    await settle()
    await rig.worker.load("b")
    assert failures(await rig.said("b")) == [None, None]
    assert not generating.done()
    rig.models["a"].may_reply.set()
    assert failures(await generating) == [None] * 3


async def test_unloading_waits_for_nothing_and_fails_what_runs() -> None:
    rig = Rig(a=80.0, b=80.0)
    await rig.worker.load("a")
    rig.models["a"].may_reply.clear()
    generating = asyncio.create_task(rig.said("a", 3))
    await settle()
    await rig.worker.load("b", ["a"])
    first, *rest = failures(await generating)
    assert first is None
    for failure in rest:
        assert failure is not None
        assert failure.boundary == "provider"
    assert failures(await rig.said("b")) == [None, None]


async def test_closing_stops_a_load_and_what_waits_for_it() -> None:
    rig = Rig(a=40.0, b=40.0)
    rig.models["a"].may_load.clear()
    loads = [asyncio.create_task(rig.worker.load(label)) for label in "ab"]
    await settle()
    await rig.worker.close()
    errors = await asyncio.gather(*loads, return_exceptions=True)
    assert [str(error) for error in errors] == ["the worker was closed"] * 2
    assert rig.diary == ["load a", "stopped a"]
    assert rig.resident() == ()


async def test_a_cancelled_load_stops_the_engine() -> None:
    rig = Rig(a=40.0)
    rig.models["a"].may_load.clear()
    load = asyncio.create_task(rig.worker.load("a"))
    await settle()
    load.cancel()
    with pytest.raises(asyncio.CancelledError):
        await load
    assert rig.diary == ["load a", "stopped a"]
    rig.models["a"].may_load.set()
    await rig.worker.load("a")


async def test_an_engine_that_cancels_its_own_load_has_failed() -> None:
    rig = Rig(a=40.0)
    rig.models["a"].load_error = asyncio.CancelledError()
    with pytest.raises(RuntimeError, match="stopped itself"):
        await rig.worker.load("a")


async def test_engines_of_one_worker_share_and_those_of_two_do_not() -> None:
    one, other = Rig(a=1.0, b=1.0), Rig(a=1.0)
    assert one.models["a"].common is one.models["b"].common is not None
    assert one.models["a"].common is not other.models["a"].common


def test_experts_of_one_worker_share_its_card() -> None:
    options = {"t0_s": 1.0, "t1_s": 0.0, "mean_tokens": 10, "load_s": 5.0}
    experts = [
        Expert(label=label, model="scripted/gpu", gpu_gb=10.0, options=options) for label in "ab"
    ]

    async def both() -> float:
        worker = Worker(experts, memory_gb=20.0)
        await asyncio.gather(worker.load("a"), worker.load("b"))
        loop = asyncio.get_running_loop()
        assert loop.time() == 10.0

        async def run(expert: Expert) -> None:
            async for _ in worker.stream(expert.label, [ask_about(expert, question_number(0))]):
                pass

        await asyncio.gather(*map(run, experts))
        return loop.time()

    # one step alone, nine rounds of two steps, one step alone
    assert run_jumping(both()) == 10.0 + 1.0 + 9 * 2.0 + 1.0
