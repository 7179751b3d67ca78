"""B1: what a message costs beside a bare asyncio loop, without a store and with the journal."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from benchmarks import bare, workload
from benchmarks.measuring import Figure, Result, fresh, wall_and_cpu
from benchmarks.workload import ASKS

Costs = dict[str, float]


def moot_bare(sessions: int) -> Costs:
    return workload.without_store(sessions).per(sessions * ASKS)


def asyncio_bare(sessions: int) -> Costs:
    return bare.run(sessions).per(sessions * ASKS)


def moot_priced(sessions: int) -> Costs:
    """Return the costs of executing with experts that have a price."""
    with tempfile.TemporaryDirectory(prefix="moot-bench-") as folder:
        _, executing = workload.in_store(Path(folder) / "b1.db", sessions, priced=True)
        return executing.per(sessions * ASKS)


def moot_stored(sessions: int) -> dict[str, Costs | list[int]]:
    """Return the costs of executing and of preparing, and the bytes of an ask and a reply."""
    with tempfile.TemporaryDirectory(prefix="moot-bench-") as folder:
        path = Path(folder) / "b1.db"
        preparing, executing = workload.in_store(path, sessions)
        return {
            "execute": executing.per(sessions * ASKS),
            "prepare": preparing.per(sessions * ASKS),
            "bytes": stored_bytes(path),
        }


def asyncio_stored(sessions: int, ask_bytes: int, reply_bytes: int, tuned: bool) -> Costs:
    with tempfile.TemporaryDirectory(prefix="moot-bench-") as folder:
        journal = (Path(folder) / "bare.db", ask_bytes, reply_bytes)
        return bare.run(sessions, journal, tuned=tuned).per(sessions * ASKS)


def stored_bytes(path: Path) -> list[int]:
    """Return the bytes that the journal stored for an ask (parts included) and for a reply."""
    with closing(sqlite3.connect(path)) as connection:
        asks = connection.execute("SELECT count(*) FROM ask").fetchone()[0]

        def total(table: str, where: str = "") -> int:
            columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
            lengths = " + ".join(f"coalesce(length(CAST({c} AS BLOB)), 0)" for c in columns)
            found = connection.execute(f"SELECT sum({lengths}) FROM {table} {where}").fetchone()[0]
            return int(found)

        outcomes = connection.execute("SELECT sum(length(outcome)) FROM session").fetchone()[0]
        asked = total("ask") + total("part", "WHERE kind != 'document'")
        return [round(asked / asks), round((total("reply") + outcomes) / asks)]


def measure(runs: int, *, quick: bool) -> Iterator[Result]:
    sessions = 50 if quick else 10_000
    floors, frees, stored, priced = [], [], [], []
    bares: dict[bool, list[Costs]] = {False: [], True: []}
    for _ in range(runs):
        floors.append(fresh("benchmarks.b1:asyncio_bare", sessions=sessions))
        frees.append(fresh("benchmarks.b1:moot_bare", sessions=sessions))
        stored.append(fresh("benchmarks.b1:moot_stored", sessions=sessions))
        priced.append(fresh("benchmarks.b1:moot_priced", sessions=sessions))
        ask, reply = stored[-1]["bytes"]
        size = {"sessions": sessions, "ask_bytes": ask, "reply_bytes": reply}
        for tuned, found in bares.items():
            found.append(fresh("benchmarks.b1:asyncio_stored", **size, tuned=tuned))
    executed = [run["execute"] for run in stored]
    over = [{c: run[c] - floor[c] for c in run} for run, floor in zip(frees, floors, strict=True)]
    yield Result(
        "b1",
        f"overhead a message: debates of 7 asks, {sessions:,} sessions live, no latency",
        f"first three pairs of rows: nothing stored; the others: {workload.SQLITE}",
        [
            *wall_and_cpu("bare asyncio", "us", floors),
            *wall_and_cpu("moot", "us", frees),
            *wall_and_cpu("moot over bare asyncio", "us", over, target=50.0),
            *wall_and_cpu("bare asyncio with a journal", "us", bares[False]),
            *wall_and_cpu("the same, collector tuned", "us", bares[True]),
            *wall_and_cpu("moot with its journal", "us", executed),
            *wall_and_cpu("the same, experts that have a price", "us", priced),
            *wall_and_cpu("ratio", "", _ratio(executed, bares[False]), target=2.0),
            *wall_and_cpu("ratio, collector tuned", "", _ratio(executed, bares[True]), target=2.0),
            Figure("preparing the run (wall clock)", "us", [r["prepare"]["wall"] for r in stored]),
        ],
        [
            f"both journals write {ask} bytes an ask, its parts included, and {reply} a reply,",
            "both make a row durable before it is used; only moot's can resume, replay and fork",
            "bare asyncio without a journal runs with the garbage collector tuned as moot tunes it",
        ],
    )


def _ratio(moot: list[Costs], other: list[Costs]) -> list[Costs]:
    return [{c: run[c] / o[c] for c in run} for run, o in zip(moot, other, strict=True)]
