"""The fleets do what the simulator foretells; how exactly in time, the benchmark says."""

from __future__ import annotations

import pytest

from benchmarks.rehearsal import Rehearsal, foretell, run
from orchestrator.fleets.fleet import Fleet
from orchestrator.fleets.local_fleet import LocalFleet
from orchestrator.planner.plan import PlanSettings

WAVE = Rehearsal(3, 12, load_s=0.2, tokens=20.0, plan=PlanSettings(mode="wave"))


async def check(fleet: Fleet) -> None:
    told = foretell(WAVE)
    seen = await run(WAVE, fleet)
    assert (seen.asks, seen.failed) == (told.asks, 0) == (36, 0)
    assert seen.loads == told.load_count == 3 * 2 - 1  # E * R - C * (R - 1)


@pytest.mark.slow
async def test_the_local_fleet_does_what_was_foretold() -> None:
    await check(LocalFleet(gpus=1, gpu_gb=WAVE.gpu_gb))


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.usefixtures("ray_cluster")
async def test_the_ray_fleet_does_what_was_foretold() -> None:
    from orchestrator.fleets.ray_fleet import RayFleet

    await check(RayFleet(gpus=1, gpu_gb=WAVE.gpu_gb))


def test_what_is_foretold_is_the_same_each_time() -> None:
    one, other = foretell(WAVE), foretell(WAVE)
    assert one.makespan_s == other.makespan_s > 0.0
    assert one.loads == other.loads
    assert one.sessions == 12
