"""What a very large run would need, from measured constants; writes docs/scale.md.

    python -m benchmarks.scale            # measure the planner, write both
    python -m benchmarks.scale --text     # write docs/scale.md from results/scale.json again

The text holds no figure of its own: each is computed here, from the results of the other benchmarks
and from simulations with the product's planner.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.measuring import RESULTS, ROOT, Figure, Result, fresh
from orchestrator.planner.plan import Planner
from orchestrator.simulator.bounds import lower_bounds, reference_loads
from orchestrator.simulator.machines import GpuExpert
from orchestrator.simulator.simulate import World, simulate
from orchestrator.simulator.workloads import Draws, labels, workload

DOCUMENT = ROOT / "docs" / "scale.md"
SESSIONS, EXPERTS, NODES = 1_000_000, 1_000, 100
GPUS_A_NODE, SLOTS = 8, 3
ASKS, TURNS, AT_ONCE = 9, 3, 3
"""Of a debate of three experts in three rounds."""
FIGURES = GpuExpert()
OPERATIONS = 3
"""Of the planner for each ask: it arrives, is dispatched, is answered."""
REPORT_S = 0.02
"""A busy driver hears of what happened in portions; so does the simulated one."""
SIZES = ((16, 1, 1_000), (32, 8, 4_000), (64, 32, 8_000))
"""Experts, GPUs and sessions with which the planner's cost is measured."""
MODEL = 16
"""Experts of the small model of the whole: as many asks an expert, as many GPUs an expert."""


@dataclass(frozen=True)
class Constant:
    """A figure that another benchmark measured."""

    benchmark: str
    name: str
    unit: str
    value: float


CONSTANTS = {
    "driver_us": ("b6", "100,000 sessions (wall clock)"),
    "session_kb": ("b4", "a session with its six speeches"),
    "sqlite_rows": ("b11", "SQLite (wall clock)"),
    "postgres_rows": ("b11", "PostgreSQL (wall clock)"),
    "ray_us": ("b8", "RayFleet, 64 asks a call"),
    "planner_us": ("b9", "an operation"),
}
"""What is taken from where; a name may go on."""


def constants(folder: Path = RESULTS) -> dict[str, Constant]:
    """Read the constants that are measured; others are left out."""
    found = {}
    for key, (benchmark, begins) in CONSTANTS.items():
        path = folder / f"{benchmark}.json"
        if not path.is_file():
            continue
        for figure in json.loads(path.read_text(encoding="utf-8"))["figures"]:
            if figure["name"].startswith(begins):
                found[key] = Constant(benchmark, figure["name"], figure["unit"], figure["median"])
                break
    return found


def planned(experts: int, gpus: int, sessions: int) -> dict[str, Any]:
    """Simulate debates; JSON figures with the makespan over its bound."""
    world = World.of(
        dict.fromkeys(labels(experts), FIGURES), gpus=gpus, slots=SLOTS, report_s=REPORT_S
    )
    traces = workload("debate", sessions, experts=experts)
    report = simulate(Planner(), world, traces)
    found = report.as_json()
    del found["loads_by_expert"]
    bound = lower_bounds(world, traces).makespan_s
    return {"experts": experts, "gpus": gpus, "over_bound": report.makespan_s / bound, **found}


def _simulated(experts: int, gpus: int, sessions: int) -> dict[str, Any]:
    return fresh("benchmarks.scale:planned", experts=experts, gpus=gpus, sessions=sessions)


def needs(known: dict[str, Constant], sizes: list[dict[str, Any]]) -> dict[str, float]:
    """Return what the run takes of each resource, were it alone in the way."""
    asks = SESSIONS * ASKS
    gpus = NODES * GPUS_A_NODE
    work = asks * Draws().mean * FIGURES.token_s
    found = {
        "asks": float(asks),
        "gpus": float(gpus),
        "gpu_s": work,
        "gpu_alone_s": work / gpus,
        "asks_a_second": asks * gpus / work,
        "places": float(gpus * SLOTS),
        "loads": float(EXPERTS),
        "loads_one_slot": float(reference_loads(EXPERTS, TURNS, gpus)),
        "running": float(gpus * FIGURES.batch_limit),
        "live": math.ceil(gpus * FIGURES.batch_limit / AT_ONCE),
        "queue": SESSIONS * AT_ONCE / EXPERTS,
    }
    costs = {size["experts"]: size["planner_us_per_operation"] for size in sizes}
    (low, few), (high, many) = sorted(costs.items())[-2:]
    slope = max((many - few) / (high - low), 0.0)
    found["planner_us_there"] = many + slope * (EXPERTS - high)
    found["planner_alone_s"] = asks * OPERATIONS * found["planner_us_there"] / 1e6
    if "driver_us" in known:
        found["driver_alone_s"] = asks * known["driver_us"].value / 1e6
    for name in ("sqlite", "postgres"):
        if f"{name}_rows" in known:
            found[f"{name}_alone_s"] = 2 * asks / known[f"{name}_rows"].value
    if "ray_us" in known:
        found["ray_alone_s"] = asks * known["ray_us"].value / 1e6
    if "session_kb" in known:
        found["memory_gb"] = found["live"] * known["session_kb"].value / 1e6
    return found


def drivers(found: dict[str, float]) -> int:
    """Return how many drivers keep up with the GPUs."""
    slowest = max(found.get("driver_alone_s", 0.0), found.get("ray_alone_s", 0.0))
    return max(1, math.ceil(slowest / found["gpu_alone_s"]))


def compute(*, quick: bool) -> dict[str, Any]:
    """Measure and compute everything."""
    known = constants()
    sizes = [_simulated(e, g, n // 100 if quick else n) for e, g, n in SIZES]
    found = needs(known, sizes)
    shards = drivers(found)
    gpus = max(1, round(MODEL * NODES * GPUS_A_NODE / EXPERTS))
    sessions = MODEL * SESSIONS // EXPERTS // (100 if quick else 1)
    whole = _simulated(MODEL, gpus, sessions)
    part = _simulated(MODEL, max(1, round(gpus / shards)), max(1, sessions // shards))
    return {
        "constants": {key: vars(constant) for key, constant in known.items()},
        "needs": {**found, "drivers": float(shards)},
        "planner": sizes,
        "whole": whole,
        "part": part,
    }


def measure(runs: int, *, quick: bool) -> Iterator[Result]:
    """Yield the result with all that the document says."""
    computed = compute(quick=quick)
    figures = [
        Figure(
            f"planner, {one['experts']} experts on {one['gpus']} GPUs",
            "us an operation",
            [one["planner_us_per_operation"]],
            target=10.0,
        )
        for one in computed["planner"]
    ]
    figures += [Figure(name, "", [value]) for name, value in computed["needs"].items()]
    title = f"{SESSIONS:,} debates with {EXPERTS:,} experts on {NODES} nodes"
    yield Result("scale", title, "computed from the other results", figures, [], [computed])


def main() -> None:
    """Measure, or take the last measurement, and write the document."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument("--text", action="store_true", help="measure nothing")
    if not parser.parse_args().text:
        for result in measure(1, quick=False):
            result.write(RESULTS, quick=False)
            print(result.table())
    text = document(json.loads((RESULTS / "scale.json").read_text(encoding="utf-8")))
    DOCUMENT.write_text(text, encoding="utf-8")
    print(text)


def document(result: dict[str, Any]) -> str:
    """Return the text of docs/scale.md."""
    from benchmarks.scale_text import text

    return text(result["tables"][0])


if __name__ == "__main__":
    main()
