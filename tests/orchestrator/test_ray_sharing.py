"""API workers that several drivers share: found by name, never ended by one, gone when left."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from orchestrator.fleets.fleet import WorkerLost
from orchestrator.fleets.ray_cluster import NAMESPACE
from orchestrator.fleets.ray_fleet import RayFleet
from tests.orchestrator.fleet_contract import ECHO, SLOW, VOTER, asks_of, running
from tests.orchestrator.test_ray_fleet import process_of
from tests.ray_cluster import Cluster

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_cluster")]

ROOT = Path(__file__).resolve().parents[2]

KILLED_DRIVER = """
import asyncio, sys
sys.path[:0] = [{root!r}]
from agents.roster import Expert
from orchestrator.fleets import ray_places
from orchestrator.fleets.fleet import Inbox
from orchestrator.fleets.ray_fleet import RayFleet

ray_places.LEASE_S = 3.0

async def main():
    fleet = RayFleet({address!r}, workers=1, shared={name!r}, share=(0, 2))
    await fleet.start([Expert(label="echo", model="scripted/echo")], Inbox())
    print("started", flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


def names(prefix: str) -> list[str]:
    """Return the names of the shared workers that live."""
    from ray.util import list_named_actors

    found = [entry["name"] for entry in list_named_actors(all_namespaces=True)]
    return sorted(name for name in found if name.startswith(f"moot:{prefix}:"))


async def all_gone(prefix: str) -> None:
    async with asyncio.timeout(60.0):
        while names(prefix):  # noqa: ASYNC110 - Ray tells nobody when a name is gone
            await asyncio.sleep(0.2)


async def test_two_drivers_use_one_worker_and_it_ends_when_both_left() -> None:
    name = uuid4().hex
    fleets = [RayFleet(workers=1, shared=name, share=(i, 2)) for i in range(2)]
    async with running(fleets[0], VOTER, ECHO) as one:
        async with running(fleets[1], VOTER, ECHO) as two:
            assert one.joined[0].batch_limits == {"voter": 2048, "echo": 2048}
            pids = [await process_of(fleet, "ray-0") for fleet in fleets]
            assert pids[0] == pids[1]
            assert len(names(name)) == 1
            assert len(await two.answers(1, VOTER, asks_of(VOTER, 50))) == 50
        replies = await one.answers(1, VOTER, asks_of(VOTER, 50))  # the other's end is not ours
        assert len(replies) == 50
        assert not any(isinstance(event, WorkerLost) for event in one.events)
    await all_gone(name)


async def test_other_rosters_do_not_meet() -> None:
    name = uuid4().hex
    fleets = [RayFleet(workers=1, shared=name, share=(i, 2)) for i in range(2)]
    async with running(fleets[0], VOTER), running(fleets[1], ECHO):
        assert len(names(name)) == 2
    await all_gone(name)


async def test_a_shared_worker_that_dies_is_replaced_for_both() -> None:
    name = uuid4().hex
    fleets = [RayFleet(workers=1, shared=name, share=(i, 2)) for i in range(2)]
    async with running(fleets[0], SLOW) as one, running(fleets[1], SLOW) as two:
        for rig in (one, two):
            rig.send(1, SLOW, asks_of(SLOW, 5))
        os.kill(await process_of(fleets[0], "ray-0"), signal.SIGKILL)
        for rig in (one, two):
            await rig.until(lambda rig=rig: len(rig.joined) == 2)  # type: ignore[misc]
            (lost,) = [event for event in rig.events if isinstance(event, WorkerLost)]
            assert lost.replaced
            assert rig.results(1) == {}
        pids = [
            await process_of(fleet, rig.worker)
            for fleet, rig in zip(fleets, (one, two), strict=True)
        ]
        assert pids[0] == pids[1]
    await all_gone(name)


async def test_a_worker_whose_drivers_were_killed_ends_itself(
    ray_cluster: Cluster, tmp_path: Path
) -> None:
    name = uuid4().hex
    script = tmp_path / "driver.py"
    script.write_text(KILLED_DRIVER.format(root=str(ROOT), address=ray_cluster.address, name=name))
    driver = await asyncio.to_thread(
        subprocess.Popen, [sys.executable, str(script)], stdout=subprocess.PIPE, cwd=tmp_path
    )
    try:
        assert driver.stdout is not None
        assert await asyncio.to_thread(driver.stdout.readline) == b"started\n"
        assert len(names(name)) == 1
        await asyncio.sleep(4.0)  # longer than its lease: it is attended
        assert len(names(name)) == 1
    finally:
        driver.kill()
        await asyncio.to_thread(driver.communicate)
    assert len(names(name)) == 1  # it outlives its driver, for a while
    await all_gone(name)


async def test_the_namespace_is_moots() -> None:
    import ray

    name = uuid4().hex
    async with running(RayFleet(workers=1, shared=name), VOTER):
        actor: Any = ray.get_actor(names(name)[0], namespace=NAMESPACE)
        assert actor is not None
    await all_gone(name)
