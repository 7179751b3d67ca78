"""Real fleets beside the simulator: the same sessions, in real seconds and in simulated ones."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

from benchmarks.measuring import Figure, Result, fresh
from benchmarks.ray_here import cluster
from benchmarks.rehearsal import Rehearsal, foretell, run
from orchestrator.fleets.fleet import Fleet
from orchestrator.fleets.local_fleet import LocalFleet
from orchestrator.fleets.ray_fleet import RayFleet
from orchestrator.planner.plan import PlanSettings

CASES = {
    "one GPU, one slot, cycle": Rehearsal(6, 96),
    "one GPU, three slots, wave": Rehearsal(6, 96, slots=3, plan=PlanSettings(mode="wave")),
    "two GPUs, two slots, cycle": Rehearsal(6, 192, gpus=2, slots=2),
}
TINY = Rehearsal(3, 12, load_s=0.05, tokens=5)
WITHIN = 0.10


def on_fleets(name: str, quick: bool) -> dict[str, Any]:
    """Return the real seconds and loads of a case on each fleet."""
    case = TINY if quick else CASES[name]
    with cluster(gpus=case.gpus):
        seen = {}
        fleets: dict[str, Fleet] = {
            "LocalFleet": LocalFleet(gpus=case.gpus, gpu_gb=case.gpu_gb),
            "RayFleet": RayFleet(gpus=case.gpus, gpu_gb=case.gpu_gb),
        }
        for fleet_name, fleet in fleets.items():
            found = asyncio.run(run(case, fleet))
            assert found.failed == 0
            seen[fleet_name] = {"seconds": found.seconds, "loads": found.loads, "asks": found.asks}
    return seen


def measure(runs: int, *, quick: bool) -> Iterator[Result]:
    figures: list[Figure] = []
    for name, case in CASES.items():
        report = foretell(TINY if quick else case)
        figures.append(Figure(f"{name}: foretold", "s", [report.makespan_s]))
        figures.append(Figure(f"{name}: loads foretold", "", [report.load_count]))
        found = [
            fresh("benchmarks.fleet_vs_simulator:on_fleets", name=name, quick=quick)
            for _ in range(min(runs, 3))
        ]
        for fleet in ("LocalFleet", "RayFleet"):
            seen = [one[fleet] for one in found]
            assert all(one["asks"] == report.asks for one in seen)
            seconds = [one["seconds"] for one in seen]
            off = [abs(one / report.makespan_s - 1.0) for one in seconds]
            figures += [
                Figure(f"{name}: {fleet}", "s", seconds),
                Figure(f"{name}: {fleet}, off by", "", off, WITHIN),
                Figure(f"{name}: {fleet}, loads", "", [float(one["loads"]) for one in seen]),
            ]
    yield Result(
        "fleet_vs_simulator",
        "debates of simulated experts (six, 1 s to load, 60 tokens a reply, 16 at once) on fleets "
        "in real time, beside the simulator's prediction with the same planner",
        "no store",
        figures,
        ["GPUs are only counted; a fleet's time begins when its workers are there"],
    )
