"""How fast one driver process is, and what a second one adds: asks a second, both databases."""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks import workload
from benchmarks.b11 import postgres
from benchmarks.measuring import Figure, Result, fresh
from benchmarks.workload import ASKS
from orchestrator.crew import Crew, Line
from orchestrator.fleets.local_fleet import LocalFleet
from orchestrator.run import Prepared, execute, prepare
from orchestrator.sharding import deal
from orchestrator.spec import Difference
from orchestrator.store import Store

Rates = dict[str, float]


def rate(url: str, sessions: int, drivers: int) -> Rates:
    """Run debates with so many driver processes; return asks a second and seconds to start.

    The clock runs from when the first driver began to work until the last one ended: starting an
    interpreter takes a second, whatever the length of the run.
    """
    with Store.open(url) as store:
        prepared = prepare(store, workload.spec(sessions))
        shares = deal(store.pending_by_shard(prepared.run_id), drivers)
        tasks = [{"url": url, "run": prepared.run_id, "share": share} for share in shares]
        crew = Crew("benchmarks.shards:be_driver", lambda number, said: None)
        asyncio.run(crew.run(tasks))
        told = [member.figures for member in crew.members]
        assert store.pending_by_shard(prepared.run_id) == {}
        assert sum(one["asks"] for one in told) == sessions * ASKS
    seconds = max(one["ended"] for one in told) - min(one["began"] for one in told)
    return {"rate": sessions * ASKS / seconds}


def be_driver(task: Mapping[str, Any], line: Line) -> None:
    """Work a share of the run as a child process."""

    with Store.open(task["url"], create=False) as store:
        spec = workload.spec(0)
        none = Difference((), (), (), (), ())
        prepared = Prepared(task["run"], "debates", True, none, 0, 0)
        began = time.time()
        ended = asyncio.run(execute(store, prepared, spec, LocalFleet(), shards=task["share"]))
        asks = ended.progress.asks_done
        line.say(figures={"asks": asks, "began": began, "ended": time.time()}, ending="finished")


def in_sqlite(sessions: int, drivers: int) -> Rates:
    with tempfile.TemporaryDirectory(prefix="moot-bench-") as folder:
        return rate(str(Path(folder) / "shards.db"), sessions, drivers)


def measure(runs: int, *, quick: bool) -> Iterator[Result]:
    sessions = 70 if quick else 3_000
    found: dict[tuple[str, int], list[float]] = {}
    with postgres() as database:
        for _ in range(runs):
            for drivers in (1, 2):
                size = {"sessions": sessions, "drivers": drivers}
                here = fresh("benchmarks.shards:in_sqlite", **size)
                found.setdefault(("SQLite", drivers), []).append(here["rate"])
                if database is not None:
                    with database() as url:
                        there = fresh("benchmarks.shards:rate", url=url, **size)
                    found.setdefault(("PostgreSQL", drivers), []).append(there["rate"])
    figures = []
    for name in dict.fromkeys(name for name, _ in found):
        one, two = found[name, 1], found[name, 2]
        target = 5_000.0 if name == "SQLite" else None
        figures.append(Figure(f"{name}, one driver", "asks/s", one, target, "at least"))
        figures.append(Figure(f"{name}, two drivers", "asks/s", two))
        gain = [b / a for a, b in zip(one, two, strict=True)]
        figures.append(Figure(f"{name}, two drivers to one", "", gain))
    cores = os.cpu_count()
    yield Result(
        "shards",
        f"driver processes of one run: debates of 7 asks, {sessions:,} sessions, no latency",
        f"{workload.SQLITE}; PostgreSQL, fsync off, on a local socket",
        figures,
        [
            "experts that answer at once: what is measured is stepping, recording and the store",
            f"drivers, the experts of each and PostgreSQL's server share {cores} cores here",
            "a second driver is needed where experts answer faster than one driver's rate",
        ],
    )
