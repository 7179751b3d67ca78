"""RayFleet on GPUs that are not there: places, what is resident, nodes that come and go."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agents.roster import Expert
from orchestrator.fleets.fleet import Fleet, Inbox, WorkerJoined, WorkerLost
from orchestrator.fleets.ray_fleet import RayFleet
from protocols.errors import Mistake
from tests.orchestrator.fleet_contract import VOTER, Rig, asks_of, running
from tests.orchestrator.gpu_fleet_contract import A, GpuFleetContract, load, on_gpu, workers_of
from tests.ray_cluster import Cluster

pytestmark = pytest.mark.ray


async def call(fleet: Fleet, worker: str, what: Callable[[Any], Any]) -> Any:
    """Return what a function of a worker's object gives, called in the worker's process."""
    assert isinstance(fleet, RayFleet)
    assert fleet._keepers is not None
    method: Any = fleet._keepers.actors[worker].__ray_call__
    return await method.remote(what)


async def node_of(fleet: Fleet, worker: str) -> str:
    """Return the id of the node that a worker runs on."""

    def here(_: Any) -> str:
        import ray

        return str(ray.get_runtime_context().get_node_id())

    return str(await call(fleet, worker, here))


def lost(rig: Rig) -> list[WorkerLost]:
    return [event for event in rig.events if isinstance(event, WorkerLost)]


def living(rig: Rig) -> list[WorkerJoined]:
    gone = {event.worker for event in lost(rig)}
    return [event for event in rig.joined if event.worker not in gone]


@pytest.mark.usefixtures("ray_cluster")
class TestRayGpus(GpuFleetContract):
    def make(self, gpus: int, gpu_gb: float) -> Fleet:
        return RayFleet(gpus=gpus, gpu_gb=gpu_gb, patience_s=10.0)

    async def end_worker(self, fleet: Fleet, worker: str) -> None:
        os.kill(await call(fleet, worker, lambda _: os.getpid()), signal.SIGKILL)


async def test_each_expert_runs_on_its_kind_of_gpu(ray_cluster: Cluster) -> None:
    labelled = on_gpu("labelled").model_copy(update={"accelerator": "A10G"})
    named = on_gpu("named").model_copy(update={"accelerator": "A100"})
    wide = on_gpu("wide").model_copy(update={"gpus": 2, "accelerator": "A100"})
    with (
        ray_cluster.node(num_gpus=1, labels={"ray.io/accelerator-type": "A10G"}) as small,
        ray_cluster.node(num_gpus=3, resources={"accelerator_type:A100": 1}) as large,
    ):
        fleet = RayFleet(gpu_gb=80.0, gpus=4, workers=1)
        async with running(fleet, labelled, named, wide, VOTER) as rig:
            await rig.until(lambda: len(rig.joined) == 4)
            hosts = {tuple(event.sizes_gb): event for event in rig.joined}
            assert set(hosts) == {("labelled",), ("named",), ("wide",), ()}
            for expert, node, count in (
                (labelled, small, 1),
                (named, large, 1),
                (wide, large, 2),
            ):
                worker = hosts[expert.label,].worker
                assert await node_of(fleet, worker) == node.node_id
                visible = await call(fleet, worker, lambda _: os.environ["CUDA_VISIBLE_DEVICES"])
                assert len(visible.split(",")) == count
                await load(rig, worker, expert)
        import ray
        from ray.util.placement_group import placement_group_table

        states = {group["state"] for group in placement_group_table().values()}
        assert states <= {"REMOVED"}
        assert ray.is_initialized()


async def test_a_worker_of_a_dead_node_moves_and_new_nodes_get_workers(
    ray_cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.fleets.ray_places._NODES_S", 0.5)
    kind = {"resources": {"accelerator_type:L4": 1}}
    expert = on_gpu("a").model_copy(update={"accelerator": "L4"})
    with ray_cluster.node(num_cpus=1, num_gpus=1, **kind) as first:
        fleet = RayFleet(gpu_gb=80.0)
        async with running(fleet, expert, VOTER) as rig:
            await rig.until(lambda: len(rig.joined) == 3)  # two API workers, one with a GPU
            (on_l4,) = workers_of(rig)
            assert await node_of(fleet, on_l4.worker) == first.node_id
            with ray_cluster.node(num_cpus=1, num_gpus=1, **kind) as second:
                await rig.until(lambda: len(rig.joined) == 5)
                nodes = [await node_of(fleet, event.worker) for event in rig.joined[3:]]
                assert nodes == [second.node_id] * 2
                ray_cluster.kill(first)
                await rig.until(lambda: len(lost(rig)) == 2)
                assert on_l4.worker in {event.worker for event in lost(rig)}
                assert all(event.replaced for event in lost(rig))
                with ray_cluster.node(num_cpus=1, num_gpus=1, **kind):
                    await rig.until(lambda: len(workers_of(rig)) == 3)
                    await rig.until(lambda: len(living(rig)) >= 5)
                    await rig.answers(9, VOTER, asks_of(VOTER, 1))


@pytest.mark.parametrize(
    ("expert", "settings", "said"),
    [
        (on_gpu("large", 90.0), {"gpu_gb": 80.0}, "large asks for 1 GPU with 90 GB, but the"),
        (
            on_gpu("odd").model_copy(update={"accelerator": "H900"}),
            {"gpu_gb": 80.0},
            "odd asks for 1 GPU H900 with 40 GB, but the cluster offers 2 x GPU of 80 GB",
        ),
        (
            on_gpu("wide").model_copy(update={"gpus": 16}),
            {"gpu_gb": 80.0},
            "wide asks for 16 GPUs each with 40 GB",
        ),
        (A, {"patience_s": 30.0}, "cannot be measured .* set gpu_gb of the fleet"),
    ],
    ids=["memory", "kind", "number", "unknown memory"],
)
@pytest.mark.usefixtures("ray_cluster")
async def test_what_the_cluster_lacks_is_one_line(
    expert: Expert, settings: dict[str, Any], said: str
) -> None:
    fleet = RayFleet(**{"patience_s": 1.0, **settings})
    with pytest.raises(Mistake, match=said) as caught:
        await fleet.start([expert, VOTER], Inbox())
    assert "\n" not in str(caught.value)
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.usefixtures("ray_cluster")
async def test_gpus_that_others_hold_are_one_line() -> None:
    async with running(RayFleet(gpu_gb=80.0), A):
        other = RayFleet(gpu_gb=80.0, patience_s=2.0)
        with pytest.raises(Mistake, match=r"a asks for 1 GPU .* no node had it free within 2 s"):
            await other.start([A], Inbox())


async def test_memory_that_nobody_told_is_measured(ray_cluster: Cluster, tmp_path: Path) -> None:
    listing = tmp_path / "nvidia-smi"
    listing.write_text("#!/bin/sh\necho '0, GPU-1, NVIDIA L40, 46068'\n")
    listing.chmod(0o755)
    kind = {"accelerator": "L40"}
    small = on_gpu("small").model_copy(update=kind)
    large = on_gpu("large", 80.0).model_copy(update=kind)
    path = {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    offers = {"num_gpus": 1, "resources": {"accelerator_type:L40": 1}, "env_vars": path}
    with ray_cluster.node(**offers):
        async with running(RayFleet(), small) as rig:
            (joined,) = workers_of(rig)
            assert joined.memory_gb == pytest.approx(48.3, abs=0.1)
            assert joined.sizes_gb == {"small": 40.0}
        with pytest.raises(Mistake, match=r"large asks for 1 GPU L40 with 80 GB, but no GPU that"):
            await RayFleet(patience_s=30.0).start([small, large], Inbox())


async def test_a_node_that_comes_in_time_is_taken(ray_cluster: Cluster) -> None:
    late = on_gpu("late").model_copy(update={"accelerator": "T4"})
    fleet, inbox = RayFleet(gpu_gb=80.0, patience_s=60.0), Inbox()
    starting = asyncio.create_task(fleet.start([late], inbox))
    await asyncio.sleep(0)
    with ray_cluster.node(num_gpus=1, labels={"ray.io/accelerator-type": "T4"}):
        await starting
        (joined,) = inbox.take()
        assert isinstance(joined, WorkerJoined)
        assert joined.sizes_gb == {"late": 40.0}
        await fleet.close()
