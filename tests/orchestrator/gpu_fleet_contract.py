"""The contract of fleets with GPUs: what is resident, what is evicted, what is lost.

Subclass :class:`GpuFleetContract` and give it `make`. Simulated experts run on GPUs that are not
there; no test waits for a simulated second.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from agents.engine import Attempted
from agents.roster import Expert
from orchestrator.fleets.fleet import (
    Dispatch,
    Fleet,
    Inbox,
    Load,
    Loaded,
    LoadFailed,
    Results,
    Unload,
    WorkerJoined,
    WorkerLost,
)
from protocols.errors import Mistake
from protocols.replies import Reply
from tests.orchestrator.fleet_contract import VOTER, Rig, asks_of, running

_QUICK = {"t0_s": 0.000_1, "t1_s": 0.0, "mean_tokens": 2}


def on_gpu(label: str, gpu_gb: float = 40.0, **options: Any) -> Expert:
    """Return a simulated expert that is quick unless told."""
    return Expert(label=label, model="scripted/gpu", gpu_gb=gpu_gb, options={**_QUICK, **options})


A, B, C = on_gpu("a"), on_gpu("b"), on_gpu("c")
ENDLESS = on_gpu("endless", t0_s=3600.0)
"""Its replies never come."""
HEAVY = on_gpu("heavy", load_s=3600.0)
"""Its load never ends."""


def workers_of(rig: Rig) -> list[WorkerJoined]:
    """Return the GPU workers that joined, by name."""
    joined = [event for event in rig.joined if event.memory_gb is not None]
    return sorted(joined, key=lambda event: event.worker)


async def names_of(rig: Rig, count: int = 1) -> list[str]:
    """Wait for so many GPU workers and return their names."""
    await rig.until(lambda: len(workers_of(rig)) == count)
    return [event.worker for event in workers_of(rig)]


def said(rig: Rig, kind: type[Loaded] | type[LoadFailed]) -> list[tuple[str, str]]:
    """Return (worker, expert) of every event of a kind, in order."""
    return [(e.worker, e.expert) for e in rig.events if isinstance(e, kind)]


async def load(rig: Rig, worker: str, expert: Expert, *evict: Expert) -> Loaded | LoadFailed:
    """Load an expert and return what came of it."""
    before = len(said(rig, Loaded)) + len(said(rig, LoadFailed))
    rig.fleet.perform(Load(worker, expert.label, tuple(one.label for one in evict)))
    await rig.until(lambda: len(said(rig, Loaded)) + len(said(rig, LoadFailed)) > before)
    return [e for e in rig.events if isinstance(e, Loaded | LoadFailed)][-1]


class Batches:
    """Sends batches with numbers of their own."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.number = 0

    def send(self, worker: str, expert: Expert, count: int) -> int:
        self.number += 1
        asks = asks_of(expert, count)
        self.rig.fleet.perform(Dispatch(self.number, worker, expert.label, asks))
        return self.number

    async def answers(self, worker: str, expert: Expert, count: int = 3) -> list[Attempted]:
        batch = self.send(worker, expert, count)
        await self.rig.until(lambda: len(self.rig.results(batch)) == count)
        return [self.rig.results(batch)[i] for i in range(count)]

    async def serves(self, worker: str, expert: Expert) -> bool:
        """Whether an expert answers there; all of a batch or none."""
        results = await self.answers(worker, expert)
        failed = {isinstance(r, Reply) and r.failed for r in results}
        assert len(failed) == 1
        for result in results:
            if isinstance(result, Reply) and result.failure is not None:
                assert result.failure.boundary == "provider"
        return failed == {False}


class GpuFleetContract:
    """What a fleet with GPUs keeps."""

    def make(self, gpus: int, gpu_gb: float) -> Fleet:
        """Return a fleet of so many GPUs with so much memory each, not started."""
        raise NotImplementedError

    async def end_worker(self, fleet: Fleet, worker: str) -> None:
        """End a worker's process hard; skip where workers have none of their own."""
        pytest.skip("the workers of this fleet live in this process")

    async def test_workers_tell_their_memory_and_what_fits(self) -> None:
        large = on_gpu("large", 80.0)
        async with running(self.make(2, 80.0), A, large, VOTER) as rig:
            await names_of(rig, 2)
            for joined in workers_of(rig):
                assert joined.memory_gb == pytest.approx(80.0)
                assert joined.sizes_gb == {"a": 40.0, "large": 80.0}
                assert joined.batch_limits == {"a": 256, "large": 256}
            await rig.until(lambda: any(event.memory_gb is None for event in rig.joined))
            assert all(
                event.batch_limits == {"voter": 4096} and event.sizes_gb == {}
                for event in rig.joined
                if event.memory_gb is None
            )

    async def test_only_what_was_loaded_serves(self) -> None:
        async with running(self.make(1, 80.0), A, B) as rig:
            (gpu,), batches = await names_of(rig), Batches(rig)
            assert not await batches.serves(gpu, A)
            loaded = await load(rig, gpu, A)
            assert isinstance(loaded, Loaded)
            assert loaded.seconds >= 0.0
            assert await batches.serves(gpu, A)
            assert not await batches.serves(gpu, B)
            rig.fleet.perform(Unload(gpu, A.label))
            await load(rig, gpu, B)
            assert not await batches.serves(gpu, A)
            assert await batches.serves(gpu, B)

    async def test_experts_without_a_gpu_serve_beside_them(self) -> None:
        async with running(self.make(1, 80.0), A, VOTER) as rig:
            (gpu,), batches = await names_of(rig), Batches(rig)
            await rig.until(lambda: any(event.memory_gb is None for event in rig.joined))
            other = next(event.worker for event in rig.joined if event.memory_gb is None)
            await load(rig, gpu, A)
            assert await batches.serves(gpu, A)
            assert await batches.serves(other, VOTER)

    async def test_each_gpu_has_residents_of_its_own(self) -> None:
        async with running(self.make(2, 40.0), A, B) as rig:
            one, two = await names_of(rig, 2)
            batches = Batches(rig)
            await load(rig, one, A)
            await load(rig, two, B)
            assert await batches.serves(one, A)
            assert await batches.serves(two, B)
            assert not await batches.serves(one, B)

    async def test_a_load_evicts_what_it_is_told_to(self) -> None:
        async with running(self.make(1, 80.0), A, B, C) as rig:
            (gpu,), batches = await names_of(rig), Batches(rig)
            await load(rig, gpu, A)
            await load(rig, gpu, B)
            assert isinstance(await load(rig, gpu, C, A), Loaded)
            assert not await batches.serves(gpu, A)
            assert await batches.serves(gpu, B)
            assert await batches.serves(gpu, C)
            assert said(rig, Loaded) == [(gpu, "a"), (gpu, "b"), (gpu, "c")]

    async def test_what_does_not_fit_is_not_loaded(self) -> None:
        async with running(self.make(1, 80.0), A, B, C) as rig:
            (gpu,), batches = await names_of(rig), Batches(rig)
            await load(rig, gpu, A)
            await load(rig, gpu, B)
            failed = await load(rig, gpu, C)
            assert isinstance(failed, LoadFailed)
            assert failed.message.startswith("c needs 40 GB and 0 of 80 GB are free")
            assert await batches.serves(gpu, A)
            assert await batches.serves(gpu, B)

    async def test_a_load_that_fails_evicts_all_the_same(self, tmp_path: Path) -> None:
        gone = Expert(
            label="gone", model="recorded/x/y", data=str(tmp_path / "gone.jsonl"), gpu_gb=40.0
        )
        async with running(self.make(1, 40.0), A, gone) as rig:
            (gpu,), batches = await names_of(rig), Batches(rig)
            await load(rig, gpu, A)
            failed = await load(rig, gpu, gone, A)
            assert isinstance(failed, LoadFailed)
            assert "gone.jsonl" in failed.message
            assert "\n" not in failed.message
            assert not await batches.serves(gpu, A)
            assert isinstance(await load(rig, gpu, A), Loaded)
            assert await batches.serves(gpu, A)

    async def test_the_next_expert_is_loaded_while_another_generates(self) -> None:
        async with running(self.make(1, 80.0), ENDLESS, B) as rig:
            (gpu,), batches = await names_of(rig), Batches(rig)
            await load(rig, gpu, ENDLESS)
            endless = batches.send(gpu, ENDLESS, 5)
            assert isinstance(await load(rig, gpu, B), Loaded)
            assert rig.results(endless) == {}

    async def test_what_runs_when_it_is_evicted_fails_once(self) -> None:
        async with running(self.make(1, 40.0), ENDLESS, B) as rig:
            (gpu,), batches = await names_of(rig), Batches(rig)
            await load(rig, gpu, ENDLESS)
            batch = batches.send(gpu, ENDLESS, 5)
            assert isinstance(await load(rig, gpu, B, ENDLESS), Loaded)
            await rig.until(lambda: len(rig.results(batch)) == 5)
            assert all(isinstance(r, Reply) and r.failed for r in rig.results(batch).values())
            assert await batches.serves(gpu, B)

    async def test_every_index_of_many_batches_comes_once(self) -> None:
        async with running(self.make(2, 80.0), A, B) as rig:
            gpus, batches = await names_of(rig, 2), Batches(rig)
            for gpu in gpus:
                await load(rig, gpu, A)
                await load(rig, gpu, B)
            sent = [
                batches.send(gpu, expert, 60) for _ in range(5) for gpu in gpus for expert in (A, B)
            ]
            await rig.until(lambda: all(len(rig.results(batch)) == 60 for batch in sent))
            events = [event for event in rig.events if isinstance(event, Results)]
            assert sum(len(event.items) for event in events) == 60 * len(sent)

    async def test_close_while_an_expert_is_loaded(self) -> None:
        fleet = self.make(1, 80.0)
        async with running(fleet, HEAVY, A) as rig:
            (gpu,), batches = await names_of(rig), Batches(rig)
            await load(rig, gpu, A)
            rig.fleet.perform(Load(gpu, HEAVY.label))
            assert await batches.serves(gpu, A)
            await fleet.close()
            assert asyncio.all_tasks() == {asyncio.current_task()}
            rig.events += rig.inbox.take()
            assert said(rig, Loaded) == [(gpu, "a")]

    async def test_a_worker_that_is_lost_while_it_loads(self) -> None:
        fleet = self.make(1, 80.0)
        async with running(fleet, HEAVY, A, ENDLESS) as rig:
            (gpu,), batches = await names_of(rig), Batches(rig)
            await load(rig, gpu, A)
            rig.fleet.perform(Load(gpu, HEAVY.label))
            await self.end_worker(fleet, gpu)

            def lost() -> list[WorkerLost]:
                return [event for event in rig.events if isinstance(event, WorkerLost)]

            await rig.until(lambda: bool(lost()))
            assert [(event.worker, event.replaced) for event in lost()] == [(gpu, True)]
            (new,) = {*await names_of(rig, 2)} - {gpu}
            assert not await batches.serves(new, A)
            assert isinstance(await load(rig, new, A), Loaded)
            assert await batches.serves(new, A)
            assert said(rig, Loaded) == [(gpu, "a"), (new, "a")]

    @pytest.mark.parametrize(
        ("expert", "words"),
        [(on_gpu("large", 80.5), "large"), (on_gpu("broken", nonsense=1), "nonsense")],
        ids=["too-large", "setting"],
    )
    async def test_what_can_never_be_served_is_a_mistake(self, expert: Expert, words: str) -> None:
        fleet = self.make(1, 80.0)
        with pytest.raises(Mistake, match=words) as caught:
            await fleet.start([expert, A], Inbox())
        assert "\n" not in str(caught.value)
        await fleet.close()
