"""B12: replaying recorded sessions, with every digest, part and outcome checked."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks import workload
from benchmarks.measuring import Figure, Result, clocks, fresh, wall_and_cpu
from benchmarks.workload import ASKS
from orchestrator.replay import replay
from orchestrator.store import Store


def recorded(path: str, sessions: int) -> dict[str, float]:
    workload.in_store(Path(path), sessions)
    return {}


def replayed(path: str, sessions: int) -> dict[str, float]:
    """Replay the only run; return microseconds a message, and the calls that were made."""
    with Store.read(path) as store:
        replay(store, 1, sessions=[1])  # what is imported and compiled at first use
        with clocks() as spent:
            report = replay(store, 1)
    if (report.sessions, report.identical, report.incomplete) != (sessions, sessions, 0):
        raise RuntimeError(f"the replay is not identical: {report.details[:3]}")
    return {**spent.per(report.replies), "calls": report.model_calls}


def measure(runs: int, *, quick: bool) -> Iterator[Result]:
    sessions = 50 if quick else 10_000
    with tempfile.TemporaryDirectory(prefix="moot-bench-") as folder:
        arguments = {"path": str(Path(folder) / "b12.db"), "sessions": sessions}
        fresh("benchmarks.b12:recorded", **arguments)
        found = [fresh("benchmarks.b12:replayed", **arguments) for _ in range(runs)]
    yield Result(
        "b12",
        f"replay of {sessions:,} recorded debates ({sessions * ASKS:,} messages), all checked",
        "reads " + workload.SQLITE,
        [
            *wall_and_cpu("a message", "us", found, target=40.0),
            Figure("model calls", "", [run["calls"] for run in found], target=0.0),
        ],
    )
