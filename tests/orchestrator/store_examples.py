"""Makes what the tests of the store put into it, and looks at its tables from outside.

Run as a module with a store's URL, a run and a session, this is also the process that the tests
kill: it writes asks and replies without end and prints the number of each that is durable.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.engine import URL, make_url

from orchestrator.journal import AskRecord, JournalRecord, ReplyRecord
from orchestrator.store import NewRun, NewSession, Store
from protocols.asks import Ask, Model, Sampling, Seat
from protocols.messages import Message, Part, Place
from protocols.replies import Reply

ROOT = Path(__file__).resolve().parents[2]
SEAT = Seat("judge", "judge", "smith", Model("scripted/smith", "r1"), Sampling(temperature=0.5))
SYSTEM = Part("system", "You are a judge.")
HOSTILE = 'it\'s "quoted"; DROP TABLE reply; -- %s %(x)s :y ? \\ \n\r\t 🦉 ß 漢字 \u2028 \ufffd'


def new_run(name: str = "demo", **more: Any) -> NewRun:
    return NewRun(
        name=name,
        config_json='{"seed":1}',
        config_hash="c" * 64,
        code_revision="abc",
        packages={"pydantic": "2"},
        **more,
    )


def new_session(ordinal: int, **more: Any) -> NewSession:
    fields: dict[str, Any] = {
        "ordinal": ordinal,
        "shard": 0,
        "key": f"{ordinal:064x}",
        "entry": "direct",
        "kind": "direct_answer",
        "version": 1,
        "parameters_json": "{}",
        "question_id": f"q/{ordinal}",
        "question_key": f"{ordinal:064x}",
        "question_json": json.dumps({"id": f"q/{ordinal}"}),
        "cast_json": '{"members":{}}',
        "seed": 2**40,
    }
    return NewSession(**{**fields, **more})


def an_ask(place: Place, *pieces: str, **more: Any) -> Ask:
    parts = [Part("question", piece) for piece in pieces]
    messages = (Message("system", (SYSTEM,)), Message("user", tuple(parts)))
    return Ask(SEAT, messages, question="q/1", place=place, **more)


def pair(session: int, place: Place, answer: str = "Answer: A") -> list[JournalRecord]:
    """Return an ask with its accepted reply."""
    ask = an_ask(place, f"question {session} {place}")
    return [
        AskRecord(session, ask),
        ReplyRecord(session, place, 0, accepted=True, reply=Reply(answer)),
    ]


async def write(store: Store, run: int, *batches: Sequence[JournalRecord]) -> list[Any]:
    """Append each batch with its number as token; return the tokens that were reported."""
    reported: list[Any] = []
    with store.journal(run) as journal:
        journal.start(reported.extend)
        for token, records in enumerate(batches):
            journal.append(records, token)
        await journal.close()
    return reported


def raw(url: str) -> Connection:
    """Return a connection of the test's own, past the store."""
    name = make_url(url) if "://" in url else URL.create("sqlite", database=url)
    if name.drivername == "postgresql":
        name = name.set(drivername="postgresql+psycopg")
    engine = create_engine(name)
    connection = engine.connect()
    connection.detach()
    return connection


def change(url: str, statement: str, **values: Any) -> None:
    with raw(url) as connection:
        connection.execute(text(statement), values)
        connection.commit()


class OneStore:
    """An open store with a run and three sessions; subclasses give the fixture `url`."""

    @pytest.fixture
    def store(self, url: str) -> Iterator[Store]:
        with Store.open(url) as store:
            yield store

    @pytest.fixture
    def run(self, store: Store) -> int:
        return store.create_run(new_run())

    @pytest.fixture
    def sessions(self, store: Store, run: int) -> list[int]:
        return store.add_sessions(run, [new_session(i) for i in range(3)])


def found(store: Store, name: str) -> int | None:
    row = store.find_run(name)
    return None if row is None else row.id


async def write_without_end(url: str, run: int, session: int) -> None:
    """Write pairs, a few at a time, and print the number of each that is durable."""
    more = asyncio.Event()

    def on_durable(tokens: Sequence[int]) -> None:
        for token in tokens:
            sys.stdout.write(f"{token}\n")
        sys.stdout.flush()
        more.set()

    with Store.open(url) as store, store.journal(run) as journal:
        journal.start(on_durable)
        number = 0
        while True:
            for _ in range(7):
                journal.append(pair(session, Place(number, 0), "x" * 1_500), number)
                number += 1
            await more.wait()
            more.clear()


if __name__ == "__main__":
    asyncio.run(write_without_end(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
