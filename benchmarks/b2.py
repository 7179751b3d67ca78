"""B2: throughput at a fixed latency: 200 ms an ask, 128 in flight."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.measuring import Figure, Result, fresh
from benchmarks.workload import ASKS, SQLITE, WARM_UP, spec
from orchestrator.driver import DriverSettings
from orchestrator.fleets.local_fleet import LocalFleet
from orchestrator.limits.limits import Limit
from orchestrator.run import execute, prepare
from orchestrator.store import Store

LATENCY_S = 0.2
IN_FLIGHT = 128


def ideal_s(asks: int) -> float:
    """Return the seconds that so many asks take where the places are always full."""
    return asks * LATENCY_S / IN_FLIGHT


def moot(sessions: int) -> dict[str, float]:
    """Run debates whose two experts share the places."""
    with tempfile.TemporaryDirectory(prefix="moot-bench-") as folder:
        _moot(Path(folder) / "warm.db", WARM_UP)
        return {"seconds": _moot(Path(folder) / "b2.db", sessions)}


def _moot(path: Path, sessions: int) -> float:
    wanted = spec(sessions, LATENCY_S)
    settings = DriverSettings(limits={"scripted": Limit(concurrency=IN_FLIGHT)})
    with Store.open(str(path)) as store:
        prepared = prepare(store, wanted)
        start = time.perf_counter()
        ended = asyncio.run(execute(store, prepared, wanted, LocalFleet(), settings=settings))
        seconds = time.perf_counter() - start
    assert ended.progress.asks_done == sessions * ASKS
    return seconds


def bare(sessions: int) -> dict[str, float]:
    """Take the same turns in a plain asyncio loop that stores nothing."""

    async def run() -> float:
        places = asyncio.Semaphore(IN_FLIGHT)

        async def ask() -> None:
            async with places:
                await asyncio.sleep(LATENCY_S)

        async def session() -> None:
            for turn in (2, 2, 2, 1):
                await asyncio.gather(*[ask() for _ in range(turn)])

        start = time.perf_counter()
        await asyncio.gather(*[session() for _ in range(sessions)])
        return time.perf_counter() - start

    return {"seconds": asyncio.run(run())}


def measure(runs: int, *, quick: bool) -> Iterator[Result]:
    sessions = 20 if quick else 1_000
    asks = sessions * ASKS
    bares = [fresh("benchmarks.b2:bare", sessions=sessions)["seconds"] for _ in range(runs)]
    moots = [fresh("benchmarks.b2:moot", sessions=sessions)["seconds"] for _ in range(runs)]
    ideal = ideal_s(asks)
    yield Result(
        "b2",
        f"{sessions:,} debates of {ASKS} asks, {LATENCY_S * 1e3:g} ms an ask, "
        f"{IN_FLIGHT} in flight",
        f"moot: {SQLITE}; bare asyncio stores nothing",
        [
            Figure("bare asyncio, share of the ideal", "", [ideal / one for one in bares]),
            Figure(
                "moot, share of the ideal", "", [ideal / one for one in moots], 0.95, "at least"
            ),
            Figure("bare asyncio, an ask", "us", [one / asks * 1e6 for one in bares]),
            Figure("moot, an ask", "us", [one / asks * 1e6 for one in moots]),
        ],
        [
            f"ideal: {ideal / asks * 1e6:,.0f} us an ask, all places full from first to last;",
            "the last turns of the last sessions cannot fill them",
        ],
    )
