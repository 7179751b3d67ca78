"""The SQL views on SQLite and PostgreSQL: the rows that frames hold, the queries of the guide."""

from __future__ import annotations

import json
import re
import sqlite3
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, create_engine, text

from orchestrator.store import Store
from orchestrator.store.sql_views import STAMP, VIEWS
from protocols.outcome import Outcome
from protocols.replies import Reply
from tests import postgres
from tests.workflows.played import store_sessions
from tests.workflows.stored import some_key, some_outcomes, store_outcomes, tried_twice
from workflows.comparing.results import run_rows
from workflows.exports.columns import TABLES, TableName
from workflows.exports.frame_rows import table_rows

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "data.md"
QUERIES: dict[str, str] = dict(
    re.findall(r"^### \d+\. (.+?)$.*?```sql\n(.*?)```", GUIDE.read_text("utf-8"), re.S | re.M)
)


@pytest.fixture(
    params=[
        "sqlite",
        pytest.param("postgresql", marks=[pytest.mark.postgres, pytest.mark.slow]),
    ]
)
def url(request, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'x.db'}"
        return
    with postgres.database() as found:
        yield found


def connect(url: str) -> Connection:
    driver = url.replace("postgresql://", "postgresql+psycopg://")
    return create_engine(driver).connect()


def ask(url: str, query: str) -> list[dict[str, Any]]:
    """Return what a query gives any client of the database."""
    connection = connect(url)
    try:
        rows = connection.execute(text(query.replace(":", r"\:"))).mappings().all()
        return [dict(row) for row in rows]
    finally:
        connection.close()
        connection.engine.dispose()


def as_told(table: TableName, row: dict[str, Any]) -> dict[str, Any]:
    """Return a row in types that all databases share."""
    told: dict[str, Any] = {}
    for column in TABLES[table]:
        value = row.get(column.name)
        if not column.in_view:
            continue
        if value is not None and column.kind == "json":
            value = json.loads(value)
        elif value is not None and column.kind in ("flag", "integer"):
            value = int(value)
        elif value is not None and column.kind == "number":
            value = pytest.approx(float(value), abs=1e-12)
        told[column.name] = value
    return told


def sorted_rows(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    names = ("run_id", "session", "turn", "slot", "attempt", "source", "number")
    return sorted(rows, key=lambda row: [str(row.get(name)).zfill(9) for name in names])


def assert_views_are_frames(url: str) -> None:
    """Every view holds the rows and columns that frames and files have."""
    with Store.read(url) as store:
        for table, columns in TABLES.items():
            framed = [row for some in table_rows(store, store.runs(), table) for row in some]
            viewed = ask(url, f"SELECT * FROM {table}")
            assert viewed
            assert list(viewed[0]) == [one.name for one in columns if one.in_view]
            assert len(viewed) == len(framed)
            for left, right in zip(sorted_rows(framed), sorted_rows(viewed), strict=True):
                assert as_told(table, left) == as_told(table, right)


async def test_views_hold_what_frames_hold_of_every_protocol(url: str) -> None:
    with Store.open(url) as store:
        await store_sessions(store)
    assert_views_are_frames(url)


async def test_views_count_any_outcome_as_the_answer_key_does(url: str) -> None:
    """Every status, tie rule and form; flags of the source, no gold, no judge, and no reply."""
    outcomes: list[Outcome | None] = [*some_outcomes(600), None]
    with Store.open(url) as store:
        key = some_key([one for one in outcomes if one])
        replies = {0: tried_twice(), 1: [Reply("")]}
        await store_outcomes(store, outcomes, key, replies=replies)
        await store_outcomes(store, outcomes[:20], None, name="without a key")
    assert_views_are_frames(url)
    values = {row["correct"] for row in ask(url, "SELECT DISTINCT correct FROM sessions")}
    assert {None, 0.0, 0.5, 1.0} < values


def test_the_guide_has_its_queries() -> None:
    assert len(QUERIES) >= 10


def query(word: str) -> str:
    return next(statement for title, statement in QUERIES.items() if word in title)


async def test_every_query_of_the_guide_runs_and_counts_right(url: str) -> None:
    with Store.open(url) as store:
        await store_sessions(store)
        outcomes = some_outcomes(40)
        attempts = {number: tried_twice() for number in range(5)}
        await store_outcomes(store, outcomes, some_key(outcomes), replies=attempts)
    for title, statement in QUERIES.items():
        assert ask(url, statement), title
    assert_accuracies(url)
    assert_counts(url)


def assert_accuracies(url: str) -> None:
    """The accuracy of each protocol is that of its row in the run's own table."""
    with Store.read(url) as store:
        for run in store.runs():
            rows = {row.name: row for row in run_rows(store, run)}
            found = [one for one in ask(url, query("Accuracy")) if one["run"] == run.name]
            assert found
            for one in found:
                if one["protocol"] not in rows:  # it answers nothing
                    continue
                accuracy = rows[one["protocol"]].accuracy
                told = None if one["accuracy"] is None else float(one["accuracy"])
                assert told == (None if accuracy is None else pytest.approx(accuracy))


def assert_counts(url: str) -> None:
    """Prices, failures, attempts and models are what is counted in Python."""
    with Store.read(url) as store:
        replies = [row for some in table_rows(store, store.runs(), "replies") for row in some]
        sessions = [row for some in table_rows(store, store.runs(), "sessions") for row in some]
    counted: Counter[Any] = Counter()
    for row in replies:
        counted[row["run"], row["expert"]] += row["attempt"] > 0
    beyond = ask(url, query("Attempts beyond"))
    assert {(row["run"], row["expert"]): row["beyond_the_first"] for row in beyond} == counted
    assert sum(counted.values()) == 5
    mine = [row for row in ask(url, query("Failures")) if row["run"] == "r"]
    assert [(row["failure_cause"], row["attempts"]) for row in mine] == [("deadline", 5)]
    spent = next(row for row in ask(url, query("Price")) if row["run"] == "r")
    assert (float(spent["list_price"]), float(spent["paid_price"])) == (1.25, 0.625)
    assert spent["unpriced"] == 5
    served = [row for row in ask(url, query("served")) if row["run"] == "r"]
    assert [(row["served"], row["replies"]) for row in served] == [("some-2026", 5)]
    longest = ask(url, query("Longest"))[0]
    tokens = {row["session"]: row["prompt_tokens"] + row["completion_tokens"] for row in sessions}
    assert longest["tokens"] == max(tokens.values()) == tokens[longest["session"]]
    pairs: dict[Any, set[Any]] = {}
    for row in sessions:
        if row["answer"] is not None:
            pairs.setdefault((row["run"], row["question_id"]), set()).add(row["answer"])
    disagreed = {place for place, answers in pairs.items() if len(answers) > 1}
    found = ask(url, query("Disagreement"))
    assert {(row["run"], row["question_id"]) for row in found} == disagreed != set()


def made(store: str) -> dict[str, str]:
    with sqlite3.connect(store) as database:
        cursor = database.execute("SELECT name, sql FROM sqlite_master WHERE type = 'view'")
        found = dict(cursor.fetchall())
    database.close()
    return found


def test_a_store_of_another_moot_gets_the_views_when_it_is_written(tmp_path: Path) -> None:
    path = str(tmp_path / "x.db")
    Store.open(path).close()
    right = made(path)
    assert set(right) == {*VIEWS, STAMP}
    with sqlite3.connect(path) as database:
        database.execute("DROP VIEW verdicts")
        database.execute(f"DROP VIEW {STAMP}")
        database.execute(f"CREATE VIEW {STAMP} AS SELECT 'another' AS stamp")
    database.close()
    Store.read(path).close()
    assert set(made(path)) == {*VIEWS, STAMP} - {"verdicts"}
    Store.open(path).close()
    assert made(path) == right


def test_views_that_are_right_are_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    Store.open(str(path)).close()
    with sqlite3.connect(path) as database:
        before = database.execute("PRAGMA schema_version").fetchone()
    Store.open(str(path)).close()
    with sqlite3.connect(path) as after:
        assert after.execute("PRAGMA schema_version").fetchone() == before
    database.close()
    after.close()
