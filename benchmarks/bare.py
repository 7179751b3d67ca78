"""What somebody would write without moot: the same debates in a bare asyncio loop.

The journal of the second form is as strict as moot's and writes as many bytes: a row for every
ask before it is called, a row for every reply before it is used, group commit. It knows one run,
keeps no parts, hashes nothing, and cannot resume.
"""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import nullcontext
from pathlib import Path

from benchmarks.measuring import Spent, clocks
from benchmarks.workload import ASKS, PASSAGE, ROUNDS, SPEECH
from orchestrator.tuning import quiet_garbage_collector


async def model(prompt: list[str], number: int) -> str:
    """A model that answers at once."""
    await asyncio.sleep(0)
    return SPEECH.replace("{key}", f"{number:064d}")


class Journal:
    """Rows that wait for the next commit, and who waits for them."""

    def __init__(self, path: Path, ask_bytes: int, reply_bytes: int) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None)
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA synchronous=NORMAL")
        for table in ("ask", "reply"):
            self._connection.execute(
                f"CREATE TABLE {table} (session INTEGER, turn INTEGER, slot INTEGER, body TEXT, "
                "PRIMARY KEY (session, turn, slot))"
            )
        self._fill = {"ask": "x" * ask_bytes, "reply": "x" * reply_bytes}
        self._rows: dict[str, list[tuple[int, int, int, str]]] = {"ask": [], "reply": []}
        self._committed = asyncio.Event()
        self._writer: asyncio.Task[None] | None = None

    async def write(self, table: str, session: int, turn: int, slot: int, said: str) -> None:
        """Return when the row is durable."""
        fill = self._fill[table]
        body = said + fill[len(said) :]
        self._rows[table].append((session, turn, slot, body))
        if self._writer is None:
            self._writer = asyncio.create_task(self._commit())
        await self._committed.wait()

    async def _commit(self) -> None:
        await asyncio.sleep(0)  # let everybody who is ready add a row
        rows, self._rows = self._rows, {"ask": [], "reply": []}
        committed, self._committed, self._writer = self._committed, asyncio.Event(), None
        self._connection.execute("BEGIN IMMEDIATE")
        for table, new in rows.items():
            self._connection.executemany(f"INSERT INTO {table} VALUES (?, ?, ?, ?)", new)
        self._connection.execute("COMMIT")
        committed.set()

    def close(self) -> None:
        self._connection.close()


async def _ask(journal: Journal | None, place: tuple[int, int, int], prompt: list[str]) -> str:
    number = place[0] * ASKS + place[1] * 2 + place[2]
    if journal is None:
        return await model(prompt, number)
    await journal.write("ask", *place, prompt[-1])
    said = await model(prompt, number)
    await journal.write("reply", *place, said)
    return said


async def _debate(journal: Journal | None, session: int) -> str:
    question = f"Why did the ship number {session} leave before dawn?"
    shared = [PASSAGE, question]
    heard: list[str] = []
    for turn in range(ROUNDS):
        heard += await asyncio.gather(
            *(_ask(journal, (session, turn, slot), [*shared, *heard]) for slot in range(2))
        )
    return await _ask(journal, (session, ROUNDS, 0), [question, *heard])


def run(
    sessions: int, journal: tuple[Path, int, int] | None = None, *, tuned: bool = True
) -> Spent:
    """Run the debates, all at once; time them.

    Args:
        sessions: how many.
        journal: where to keep them, with the bytes of an ask and of a reply; nowhere by default.
        tuned: whether the garbage collector is set as moot sets it, or left as it comes.
    """

    async def everything() -> Spent:
        kept = None if journal is None else Journal(*journal)
        with clocks() as spent, quiet_garbage_collector() if tuned else nullcontext():
            await asyncio.gather(*(_debate(kept, session) for session in range(sessions)))
        if kept is not None:
            kept.close()
        return spent

    return asyncio.run(everything())
