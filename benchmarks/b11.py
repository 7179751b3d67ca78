"""B11: how many rows of asks and replies a store takes in a second."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks import workload
from benchmarks.measuring import Figure, Result, clocks, fresh
from orchestrator.journal import AskRecord, JournalRecord, ReplyRecord
from orchestrator.store import NewRun, NewSession, Store
from protocols.asks import Ask, Model, Seat
from protocols.messages import Message, Part, Place
from protocols.replies import Reply, Usage

BYTES = 1_500
TURNS = 10
AT_ONCE = 256
"""Pairs in one append: what the driver hands over when a batch of replies is in."""

SEAT = Seat("debater_a", "debater", "smith", Model("scripted/smith", "r1"))
SYSTEM = Part("system", "You are a debater.")


def text(*numbers: int) -> str:
    """Return 1,500 characters that begin like no others."""
    return f"{numbers} ".ljust(BYTES, "The harbour had been watched for weeks. "[numbers[0] % 7])


def records(sessions: list[int]) -> list[list[JournalRecord]]:
    """Return batches of asks, each with a prompt of its own, and their replies."""
    pairs: list[list[JournalRecord]] = []
    for turn in range(TURNS):
        for session in sessions:
            place = Place(turn, 0)
            messages = (
                Message("system", (SYSTEM,)),
                Message("user", (Part("speech", text(session, turn, 0)),)),
            )
            ask = Ask(SEAT, messages, question=f"q{session}", place=place)
            _ = ask.key
            reply = Reply(text(session, turn, 1), usage=Usage(300, 300), place=place)
            pairs.append([AskRecord(session, ask), ReplyRecord(session, place, 0, True, reply)])
    return [
        [record for pair in pairs[start : start + AT_ONCE] for record in pair]
        for start in range(0, len(pairs), AT_ONCE)
    ]


def written(url: str, sessions: int) -> dict[str, float]:
    """Write asks and replies; return rows a second, by the clock and by processor time."""
    with Store.open(url) as store:
        run = store.create_run(NewRun("b11", "{}", "0" * 64, "", {}))
        ids = store.add_sessions(run, [_session(ordinal) for ordinal in range(sessions)])
        batches = records(ids)
        rows = sum(len(batch) for batch in batches)

        async def write() -> None:
            durable: list[int] = []
            with store.journal(run) as journal:
                journal.start(durable.extend)
                for number, batch in enumerate(batches):
                    journal.append(batch, number)
                await journal.close()

        with clocks() as spent:
            asyncio.run(write())
    return {"wall": rows / spent.wall, "cpu": rows / spent.cpu}


def _session(ordinal: int) -> NewSession:
    key = f"{ordinal:064x}"
    return NewSession(
        ordinal=ordinal,
        shard=0,
        key=key,
        entry="direct",
        kind="direct_answer",
        version=1,
        parameters_json="{}",
        question_id=f"q{ordinal}",
        question_key=key,
        question_json="{}",
        cast_json="{}",
    )


def in_sqlite(sessions: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory(prefix="moot-bench-") as folder:
        return written(str(Path(folder) / "b11.db"), sessions)


@contextmanager
def postgres() -> Iterator[Any]:
    """Give a function that makes fresh databases; None where there is no server."""
    import pytest

    from tests.postgres import database

    try:
        with database():
            pass
    except (pytest.skip.Exception, pytest.fail.Exception):
        yield None
        return
    yield database


def measure(runs: int, *, quick: bool) -> Iterator[Result]:
    sessions = 10 if quick else 2_000
    arguments = {"sessions": sessions}
    figures = _figures(
        "SQLite", [fresh("benchmarks.b11:in_sqlite", **arguments) for _ in range(runs)]
    )
    notes = ["PostgreSQL: a server of the benchmark's own, fsync off, on a local socket"]
    with postgres() as database:
        if database is None:
            notes = ["PostgreSQL is not installed here and was not measured"]
        else:
            found = []
            for _ in range(runs):
                with database() as url:
                    found.append(fresh("benchmarks.b11:written", url=url, **arguments))
            figures += _figures("PostgreSQL", found)
    yield Result(
        "b11",
        f"rows of {BYTES:,} bytes a second, {2 * sessions * TURNS:,} of them, group commit",
        f"{workload.SQLITE}; PostgreSQL",
        figures,
        [*notes, "every ask brings a part of its own, which is another row and not counted"],
    )


def _figures(name: str, found: list[dict[str, float]]) -> list[Figure]:
    wall, cpu = ([run[clock] for run in found] for clock in ("wall", "cpu"))
    return [
        Figure(f"{name} (wall clock)", "rows/s", wall, 20_000.0, "at least"),
        Figure(f"{name} (processor time of the client)", "rows/s", cpu),
    ]
