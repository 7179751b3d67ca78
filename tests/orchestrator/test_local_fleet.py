"""LocalFleet keeps the contract of fleets, also with engines that break theirs."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from agents.engine import Attempted, Engine
from agents.engines import make_engine
from agents.roster import Expert
from agents.worker import Results as Items
from agents.worker import Worker
from orchestrator.fleets.delivery import Delivery
from orchestrator.fleets.fleet import Dispatch, Fleet, Inbox, Load, LoadFailed, Results, Unload
from orchestrator.fleets.local_fleet import LocalFleet
from protocols.asks import Ask
from protocols.errors import Mistake
from protocols.replies import Reply
from tests.orchestrator.fleet_contract import VOTER, FleetContract, asks_of, running
from tests.orchestrator.gpu_fleet_contract import A, GpuFleetContract, load, on_gpu


class TestLocalFleet(FleetContract):
    def make(self) -> Fleet:
        return LocalFleet()


class TestLocalGpuFleet(GpuFleetContract):
    def make(self, gpus: int, gpu_gb: float) -> Fleet:
        return LocalFleet(gpus=gpus, gpu_gb=gpu_gb)


class Broken(Engine):
    """Answers one ask, then raises; cannot be loaded twice nor unloaded."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    async def unload(self) -> None:
        raise OSError("still in use")

    async def stream(self, asks: Sequence[Ask]) -> AsyncIterator[tuple[int, Attempted]]:
        yield 0, Reply("fine")
        raise self.error


@pytest.mark.parametrize("error", [ValueError("boom"), asyncio.CancelledError()], ids=type)
async def test_an_engine_that_raises_fails_what_is_open(error: BaseException) -> None:
    async with running(LocalFleet(lambda expert: Broken(error)), VOTER) as rig:
        first, *rest = await rig.answers(1, VOTER, asks_of(VOTER, 4))
        with pytest.raises(OSError, match="still in use"):
            await rig.fleet.close()
    assert isinstance(first, Reply)
    assert first.text == "fine"
    for result in rest:
        assert isinstance(result, Reply)
        assert result.failure is not None
        assert result.failure.boundary == "provider"


class BrokenWorker(Worker):
    """A worker whose stream itself raises or is cancelled."""

    error: BaseException = ValueError("the worker's own fault")

    async def stream(self, label: str, asks: Sequence[Ask]) -> AsyncIterator[Items]:
        yield [(1, Reply("fine"))]
        raise self.error


@pytest.mark.parametrize("error", [ValueError("own fault"), asyncio.CancelledError()], ids=type)
async def test_no_ask_waits_for_ever(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BrokenWorker, "error", error)
    monkeypatch.setattr("orchestrator.fleets.local_fleet.Worker", BrokenWorker)
    async with running(LocalFleet(), VOTER) as rig:
        results = await rig.answers(1, VOTER, asks_of(VOTER, 3))
    assert [isinstance(r, Reply) and r.failed for r in results] == [True, False, True]


async def test_an_expert_that_cannot_be_unloaded_is_told() -> None:
    async with running(LocalFleet(lambda expert: Broken(ValueError())), VOTER) as rig:
        rig.fleet.perform(Load(rig.worker, "voter"))
        rig.fleet.perform(Unload(rig.worker, "voter"))
        await rig.until(lambda: any(isinstance(e, LoadFailed) for e in rig.events))
    (failed,) = [event for event in rig.events if isinstance(event, LoadFailed)]
    assert failed.message == "still in use"


async def test_replies_that_are_ready_together_are_one_event() -> None:
    async with running(LocalFleet(), VOTER) as rig:
        await rig.answers(1, VOTER, asks_of(VOTER, 256))
    assert len([event for event in rig.events if isinstance(event, Results)]) == 1


async def test_an_expert_that_spreads_has_a_worker_of_several_gpus() -> None:
    b = on_gpu("b").model_copy(update={"accelerator": "H100"})  # taken as it comes
    async with running(LocalFleet(gpus=3, gpu_gb=40.0), WIDE, b) as rig:
        found = [(e.worker, e.memory_gb, sorted(e.batch_limits)) for e in rig.joined]
    assert found == [("gpu-0", 40.0, ["a"]), ("gpu-1", 40.0, ["b"])]


LARGE = "echo '0, GPU-aaaa, NVIDIA H100, 81559'"
SMALL = "echo '1, GPU-bbbb, NVIDIA A10G, 24564'"
WIDE = A.model_copy(update={"gpus": 2})


def put_on_path(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a program `nvidia-smi` the only one there is."""
    program = folder / "nvidia-smi"
    program.write_text(f"#!{shutil.which('sh')}\n{script}\n", encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


async def memories(fleet: Fleet, *experts: Expert) -> dict[str, float | None]:
    async with running(fleet, *experts) as rig:
        return {event.worker: event.memory_gb for event in rig.joined}


async def test_the_gpus_of_this_machine_are_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_on_path(tmp_path, f"{LARGE}; {SMALL}", monkeypatch)
    small, large = on_gpu("small", 20.0), on_gpu("large", 70.0)
    async with running(LocalFleet(), small, large, VOTER) as rig:
        found = {e.worker: (e.memory_gb, sorted(e.batch_limits)) for e in rig.joined}
    assert found == {
        "local": (None, ["voter"]),
        "gpu-0": (pytest.approx(85.5, abs=0.1), ["large", "small"]),
        "gpu-1": (pytest.approx(25.8, abs=0.1), ["small"]),
    }
    assert list(await memories(LocalFleet(gpus=1), small)) == ["gpu-0"]
    assert await memories(LocalFleet(gpu_gb=22.0), small) == {"gpu-0": 22.0, "gpu-1": 22.0}
    assert list(await memories(LocalFleet(), large)) == ["gpu-0"]


async def test_only_the_gpus_that_are_visible_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_on_path(tmp_path, f"{LARGE}; {SMALL}", monkeypatch)
    small = on_gpu("small", 20.0)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert await memories(LocalFleet(), small) == {"gpu-0": pytest.approx(25.8, abs=0.1)}
    for nothing in ("-1", "", "7"):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", nothing)
        with pytest.raises(Mistake, match="no GPU was found"):
            await LocalFleet().start([small], Inbox())


@pytest.mark.parametrize(
    "script",
    ["exit 1", "echo '[N/A]'", "echo 'NVIDIA-SMI has failed'; exit 9", "true"],
    ids=["fails", "not-available", "no-driver", "no-gpu"],
)
async def test_without_a_gpu_one_line_says_what_to_do(
    script: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_on_path(tmp_path, script, monkeypatch)
    fleet = LocalFleet()
    with pytest.raises(Mistake, match=r"a needs a GPU .* no GPU was found here; give") as caught:
        await fleet.start([VOTER, A], Inbox())
    assert "\n" not in str(caught.value)
    await fleet.close()
    assert list(await memories(LocalFleet(), VOTER)) == ["local"]  # nobody asks for a GPU
    assert await memories(LocalFleet(gpus=2, gpu_gb=40.0), A) == {"gpu-0": 40.0, "gpu-1": 40.0}


async def test_fewer_gpus_than_told_are_a_mistake(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_on_path(tmp_path, LARGE, monkeypatch)
    with pytest.raises(Mistake, match="1 of 2 GPUs was found"):
        await LocalFleet(gpus=2).start([A], Inbox())
    with pytest.raises(Mistake, match=r"a asks for 2 GPUs each with 40 GB, and .* have 85\.5 GB"):
        await LocalFleet().start([WIDE], Inbox())
    with pytest.raises(Mistake, match=r"large asks for 1 GPU with 90 GB, and .* have 85\.5 GB;"):
        await LocalFleet().start([on_gpu("large", 90.0)], Inbox())


@pytest.mark.parametrize(("gpus", "gpu_gb"), [(0, 80.0), (-1, None), (1, 0.0), (None, -2.0)])
def test_no_gpus_and_no_memory_are_mistakes(gpus: int | None, gpu_gb: float | None) -> None:
    with pytest.raises(Mistake, match="must be"):
        LocalFleet(gpus=gpus, gpu_gb=gpu_gb)


async def test_closing_closes_every_worker_and_tells_what_went_wrong() -> None:
    unloaded: list[str] = []

    class Stuck(Engine):
        async def unload(self) -> None:
            unloaded.append("stuck")
            raise OSError("still in use")

        async def stream(self, asks: Sequence[Ask]) -> AsyncIterator[tuple[int, Attempted]]:
            yield 0, Reply("fine")

    async with running(LocalFleet(lambda expert: Stuck(), gpus=2, gpu_gb=40.0), A) as rig:
        for worker in ("gpu-0", "gpu-1"):
            await load(rig, worker, A)
        with pytest.raises(OSError, match="still in use"):
            await rig.fleet.close()
    assert unloaded == ["stuck", "stuck"]


async def test_engines_are_made_by_the_factory() -> None:
    made: list[str] = []

    def factory(expert: Expert) -> Engine:
        made.append(expert.label)
        return make_engine(expert)

    async with running(LocalFleet(factory), VOTER) as rig:
        await rig.answers(1, VOTER, asks_of(VOTER, 2))
    assert made == ["voter"]


async def test_nothing_is_performed_before_start_or_after_close() -> None:
    fleet = LocalFleet()
    with pytest.raises(RuntimeError, match="start"):
        fleet.perform(Load("local", "voter"))
    await fleet.start([VOTER], Inbox())
    await fleet.close()
    with pytest.raises(RuntimeError, match="start"):
        fleet.perform(Load("local", "voter"))


def test_a_delivery_hands_on_each_index_once() -> None:
    inbox = Inbox()
    delivery = Delivery(Dispatch(7, "w", "voter", asks_of(VOTER, 3)), inbox)
    delivery.put([(1, Reply("one")), (1, Reply("again")), (9, Reply("nowhere"))])
    delivery.put([(1, Reply("late"))])
    delivery.close("gone")
    delivery.close("gone twice")
    first, second = inbox.take()
    assert first == Results(7, ((1, Reply("one")),))
    assert isinstance(second, Results)
    assert [index for index, _ in second.items] == [0, 2]
    assert {r.failure.message for _, r in second.items if isinstance(r, Reply) and r.failure} == {
        "gone"
    }
