"""B4: memory of sessions that wait for their judge, with all speeches in their hands."""

from __future__ import annotations

import asyncio
import gc
import resource
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

from agents.engine import Attempted, Engine
from agents.engines import make_engine
from agents.roster import Expert
from benchmarks.measuring import Figure, Result, fresh
from benchmarks.workload import DEBATE, ROUNDS, cast_of, experts, questions
from orchestrator.driver import Driver, Progress
from orchestrator.fleets.local_fleet import LocalFleet
from orchestrator.journal import MemoryJournal
from orchestrator.live import Job
from protocols.asks import Ask


class Silent(Engine):
    """An expert that answers only when it is told to."""

    def __init__(self, told: asyncio.Event, inner: Engine) -> None:
        self.batch_limit = inner.batch_limit
        self._told = told
        self._inner = inner

    async def stream(self, asks: Sequence[Ask]) -> AsyncIterator[tuple[int, Attempted]]:
        await self._told.wait()
        async for item in self._inner.stream(asks):
            yield item


def resident_bytes() -> int:
    """Return the memory that this process holds."""
    fields = Path("/proc/self/statm").read_text(encoding="utf-8").split()
    return int(fields[1]) * resource.getpagesize()


def suspended(sessions: int) -> dict[str, float]:
    """Suspend all sessions before their verdict; return the bytes that each takes."""
    seated = experts()
    cast = cast_of(*seated)
    asked = questions(sessions)
    for question in asked:  # what is computed once and belongs to the question
        _ = question.key, question.text_part, question.options_part
    jobs = [Job(number, DEBATE, question, cast) for number, question in enumerate(asked)]
    told = asyncio.Event()
    found: dict[str, float] = {}

    def make(expert: Expert) -> Engine:
        engine = make_engine(expert)
        return Silent(told, engine) if expert.label == "judge" else engine

    def on_progress(progress: Progress) -> None:
        if progress.asks_done == sessions * 2 * ROUNDS and not told.is_set():
            gc.collect()
            found["bytes"] = (resident_bytes() - before) / sessions
            told.set()

    async def drive() -> None:
        driver = Driver(
            LocalFleet(factory=make), MemoryJournal(keep=False), seated, on_progress=on_progress
        )
        await driver.run(iter(jobs), total=sessions)

    gc.collect()
    before = resident_bytes()
    asyncio.run(drive())
    return found


def measure(runs: int, *, quick: bool) -> Iterator[Result]:
    sessions = 50 if quick else 10_000
    found = [
        fresh("benchmarks.b4:suspended", sessions=sessions)["bytes"] / 1e3 for _ in range(runs)
    ]
    yield Result(
        "b4",
        f"memory of {sessions:,} suspended sessions: growth of the process, transcripts included",
        "no store",
        [Figure("a session with its six speeches", "kB", found, target=20.0)],
    )
