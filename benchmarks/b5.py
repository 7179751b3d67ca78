"""B5: killed with SIGKILL, then the same command again: what is lost, what is paid twice."""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from agents.engine import Attempted, Engine
from agents.engines import make_engine
from benchmarks.measuring import ROOT, Figure, Result
from benchmarks.workload import ASKS, SQLITE, spec
from orchestrator.fleets.local_fleet import LocalFleet
from orchestrator.run import execute, prepare
from orchestrator.store import Store
from protocols.asks import Ask

LATENCY_S = 0.02
BATCH_LIMIT = 64


class Told(Engine):
    """An engine that writes the key of every ask to the pipe before it is called."""

    def __init__(self, inner: Engine) -> None:
        self.batch_limit = inner.batch_limit
        self._inner = inner

    async def stream(self, asks: Sequence[Ask]) -> AsyncIterator[tuple[int, Attempted]]:
        for ask in asks:
            os.write(1, f"{ask.key}\n".encode())
        async for item in self._inner.stream(asks):
            yield item


def command(path: str, sessions: int) -> None:
    """Run what is left of the run."""
    wanted = spec(sessions, LATENCY_S, BATCH_LIMIT)
    fleet = LocalFleet(factory=lambda expert: Told(make_engine(expert)))
    with Store.open(path) as store:
        asyncio.run(execute(store, prepare(store, wanted), wanted, fleet))


def started(path: Path, sessions: int, calls: int | None) -> Counter[str]:
    """Start the command and kill it after so many calls (None: let it finish); return its calls."""
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.b5", str(path), str(sessions)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        keys = []
        if calls is not None:
            keys = [process.stdout.readline().strip() for _ in range(calls)]
            process.kill()
        keys += [line.strip() for line in process.stdout if line.endswith("\n")]
    if calls is None and process.returncode:
        raise RuntimeError("the command failed")
    return Counter(key for key in keys if key)


class Recorded(NamedTuple):
    """What a store holds."""

    replies: dict[tuple[int, int, int, int], bytes]
    """Digest by session, turn, slot and attempt."""
    answered: Counter[str]
    """Recorded attempts by ask key."""
    outcomes: dict[str, str | None]
    """By question."""


def recorded(path: Path) -> Recorded:
    with Store.open(str(path)) as store:
        rows = [row for run in store.runs() for row in store.sessions(run.id)]
        ids = [row.id for row in rows]
        keys = {(r["session"], r["turn"], r["slot"]): r["key"] for r in store.ask_rows(ids)}
        replies = {
            (r["session"], r["turn"], r["slot"], r["attempt"]): r["digest"]
            for r in store.reply_rows(ids)
        }
    answered = Counter(keys[slot[:3]] for slot in replies)
    return Recorded(replies, answered, {row.question_id: row.outcome_json for row in rows})


class Kills(NamedTuple):
    """What some kills of one run did."""

    lost: int
    """Replies that were recorded before a kill and are not there, unchanged, at the end."""
    repeated: int
    """Calls beyond the first of an ask."""
    in_flight: int
    """Calls that had not led to a recorded reply when the process was killed."""
    outcomes: int
    """Outcomes that are not those of an undisturbed run."""


def killed(moments: Sequence[int], sessions: int, expected: dict[str, str | None]) -> Kills:
    """Kill a run after so many calls each time, then let it finish."""
    with tempfile.TemporaryDirectory(prefix="moot-bench-") as folder:
        path = Path(folder) / "b5.db"
        calls: Counter[str] = Counter()
        kept: dict[tuple[int, int, int, int], bytes] = {}
        for moment in moments:
            calls += started(path, sessions, moment)
            kept.update(recorded(path).replies)
        in_flight = calls - recorded(path).answered
        calls += started(path, sessions, None)
        end = recorded(path)
    return Kills(
        lost=sum(end.replies.get(slot) != digest for slot, digest in kept.items()),
        repeated=calls.total() - len(calls),
        in_flight=in_flight.total(),
        outcomes=sum(end.outcomes[question] != expected[question] for question in expected),
    )


def undisturbed(sessions: int) -> dict[str, str | None]:
    with tempfile.TemporaryDirectory(prefix="moot-bench-") as folder:
        path = Path(folder) / "whole.db"
        started(path, sessions, None)
        return recorded(path).outcomes


def measure(runs: int, *, quick: bool) -> Iterator[Result]:
    sessions, kills = (10, 2) if quick else (200, 20)
    asks = sessions * ASKS
    expected = undisturbed(sessions)
    halves = [killed([asks // 2], sessions, expected) for _ in range(min(runs, 3))]
    draws = random.Random(5)
    moments = [draws.randint(1, 2 * asks // (kills + 1)) for _ in range(kills)]
    many = [killed(moments, sessions, expected)]
    figures = []
    for name, found in (("at 50 %", halves), (f"at {kills} random points", many)):
        figures += [
            Figure(f"recorded replies lost, killed {name}", "", [k.lost for k in found], 0),
            Figure(f"calls repeated, killed {name}", "", [k.repeated for k in found]),
            Figure(f"calls in flight, killed {name}", "", [k.in_flight for k in found]),
            Figure(
                f"calls repeated beyond those in flight, killed {name}",
                "",
                [max(0, k.repeated - k.in_flight) for k in found],
                0,
            ),
            Figure(f"other outcomes, killed {name}", "", [k.outcomes for k in found], 0),
        ]
    yield Result(
        "b5",
        f"kill -9 of {sessions} debates ({asks:,} asks of {LATENCY_S * 1e3:g} ms, "
        f"{BATCH_LIMIT} at once an expert), then the same command again",
        SQLITE,
        figures,
        ["20 random points: one run, killed 20 times one after another; its moments are seeded"],
    )


if __name__ == "__main__":
    command(sys.argv[1], int(sys.argv[2]))
