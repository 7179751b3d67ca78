"""B6: whether a message costs more in a longer run, the store included."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks import workload
from benchmarks.measuring import Figure, Result, fresh
from benchmarks.workload import ASKS


def stored(sessions: int) -> dict[str, float]:
    """Return microseconds a message, preparing the run included."""
    with tempfile.TemporaryDirectory(prefix="moot-bench-") as folder:
        preparing, executing = workload.in_store(Path(folder) / "b6.db", sessions)
    both = {"wall": preparing.wall + executing.wall, "cpu": preparing.cpu + executing.cpu}
    return {clock: seconds / (sessions * ASKS) * 1e6 for clock, seconds in both.items()}


def measure(runs: int, *, quick: bool) -> Iterator[Result]:
    sizes = (10, 20, 40) if quick else (1_000, 10_000, 100_000)
    repeats = dict(zip(sizes, (min(runs, 5), min(runs, 3), 1), strict=True))
    found = {
        size: [fresh("benchmarks.b6:stored", sessions=size) for _ in range(repeats[size])]
        for size in sizes
    }
    figures: list[Figure] = []
    for clock, words in (("wall", "wall clock"), ("cpu", "processor time")):
        costs = {
            size: Figure(f"{size:,} sessions ({words})", "us a message", [r[clock] for r in runs])
            for size, runs in found.items()
        }
        figures += costs.values()
        for size in sizes[1:]:
            growth = [cost / costs[sizes[0]].median for cost in costs[size].runs]
            name = f"growth from {sizes[0]:,} to {size:,} ({words})"
            figures.append(Figure(name, "", growth, target=1.2))
    yield Result(
        "b6",
        "cost of a message as runs grow: debates of 7 asks, prepared and executed",
        workload.SQLITE,
        figures,
        ["the longest run is measured once: it takes minutes"],
    )
