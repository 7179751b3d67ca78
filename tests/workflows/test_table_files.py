"""``moot export`` into a folder: Parquet, JSON lines and CSV, and that they hold the same."""

from __future__ import annotations

import asyncio
import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pyarrow import parquet

from orchestrator.store import Store
from protocols.replies import Reply
from tests.workflows.played import store_sessions
from tests.workflows.recorded_sessions import PACKED
from tests.workflows.stored import HOSTILE, some_key, some_outcomes, store_outcomes, tried_twice
from tests.workflows.terminal import moot
from workflows.exports.columns import SCHEMA, TABLES, TableName
from workflows.nyu.importing import import_nyu

READERS: dict[str, Callable[[str], Any]] = {
    "json": json.loads,
    "integer": int,
    "number": float,
    "flag": "true".__eq__,
}
SECRET = "sk-not-a-real-key-4242"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)


def kept(*replies: list[Reply], key: bool = True, count: int = 60) -> None:
    """Store a run of some sessions as x.db; the first of them were asked and answered so."""
    outcomes = some_outcomes(count)
    answers = some_key(outcomes) if key else None
    with Store.open("x.db") as store:
        asyncio.run(store_outcomes(store, outcomes, answers, replies=dict(enumerate(replies))))


def from_parquet(table: TableName, folder: str = "out") -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = parquet.read_table(f"{folder}/{table}.parquet").to_pylist()
    nested = [one.name for one in TABLES[table] if one.kind == "json"]
    for row in rows:
        row.update({name: json.loads(row[name]) for name in nested if row[name] is not None})
    return rows


def from_lines(table: TableName, folder: str = "out") -> list[dict[str, Any]]:
    lines = Path(folder, f"{table}.jsonl").read_text("utf-8").split("\n")
    return [json.loads(line) for line in lines if line]


def from_csv(table: TableName, folder: str = "out") -> list[dict[str, Any]]:
    def read(kind: str, cell: str) -> Any:
        if cell == "" and kind != "text":
            return None
        readers: dict[str, Callable[[str], Any]] = {
            "json": json.loads,
            "integer": int,
            "number": float,
            "flag": "true".__eq__,
        }
        return readers[kind](cell) if kind in readers else cell

    csv.field_size_limit(2**31 - 1)
    with Path(folder, f"{table}.csv").open(encoding="utf-8", newline="") as file:
        return [
            {one.name: read(one.kind, row[one.name]) for one in TABLES[table]}
            for row in csv.DictReader(file)
        ]


def export(run: str, *more: str) -> None:
    """Write a run into ``out`` in each of the three formats."""
    for to in ("parquet", "jsonl", "csv"):
        done = moot("export", run, "out", "--to", to, "--store", "x.db", *more)
        assert done.code == 0, done.err
        assert done.message == "wrote 5 tables to out"
        assert not done.out


def assert_all_hold_the_same() -> None:
    for table, columns in TABLES.items():
        rows = from_lines(table)
        assert from_parquet(table) == rows
        empty = [
            {name: "" if value is None and texts[name] else value for name, value in row.items()}
            for texts in [{one.name: one.kind == "text" for one in columns}]
            for row in rows
        ]
        assert from_csv(table) == empty, table
    assert not list(Path("out").glob("*.part"))


def test_every_protocol_is_the_same_in_each_format() -> None:
    with Store.open("x.db") as store:
        asyncio.run(store_sessions(store))
    export("examples")
    assert_all_hold_the_same()
    lines = moot("export", "examples", "--store", "x.db").out.split("\n")
    whole = [json.loads(line) for line in lines if line]
    tables = from_parquet("sessions")
    assert [one["session"] for one in whole] == [row["session"] for row in tables]
    for one, row in zip(whole, tables, strict=True):
        assert one["outcome"]["answer"] == row["answer"]
        assert (one["gold"], one["correct"], one["cast"]) == (
            row["gold"],
            row["correct"],
            row["cast"],
        )
    asks = [ask for one in whole for turn in one["turns"] for ask in turn]
    assert [ask["key"] for ask in asks] == [row["key"] for row in from_parquet("asks")]
    said = [ask["reply"]["text"] for ask in asks]
    assert said == [row["text"] for row in from_parquet("replies")]


@pytest.mark.parametrize(
    "words",
    [HOSTILE, "", "long " * 1_000_000, "漢字\N{OWL}\u2028line\rbreak\n\n\"'"],
    ids=["hostile", "empty", "huge", "unicode"],
)
def test_any_text_comes_through(words: str) -> None:
    kept(tried_twice(words))
    export("r")
    assert from_parquet("replies") == from_lines("replies")
    assert from_parquet("replies")[1]["text"] == words
    assert from_csv("replies")[1]["text"] == words
    assert from_parquet("replies")[1]["characters"] == len(words)


def test_a_run_without_a_key_has_no_gold_and_no_score() -> None:
    kept(key=False)
    export("r")
    assert_all_hold_the_same()
    assert {(row["gold"], row["correct"]) for row in from_lines("sessions")} == {(None, None)}


def test_a_run_without_sessions_has_empty_tables() -> None:
    kept(count=0)
    export("r")
    assert_all_hold_the_same()
    assert [len(from_parquet(table)) for table in TABLES] == [1, 0, 0, 0, 0]


def test_an_imported_run_of_people_comes_through() -> None:
    found = import_nyu([PACKED], store="x.db")
    export(found.name)
    assert_all_hold_the_same()
    roles = {row["role"] for row in from_parquet("asks")}
    assert {"judge", "debater"} <= roles
    assert any(row["correct"] is None for row in from_parquet("sessions"))


def test_the_same_export_again_leaves_the_same_files() -> None:
    kept(tried_twice())
    export("r")
    first = {path.name: path.read_bytes() for path in Path("out").iterdir()}
    assert len(first) == 15
    export("r")
    assert {path.name: path.read_bytes() for path in Path("out").iterdir()} == first


def test_parquet_says_its_version_and_what_its_columns_hold() -> None:
    kept()
    export("r")
    schema = parquet.read_schema("out/sessions.parquet")
    assert schema.metadata[b"moot.schema"] == str(SCHEMA).encode()
    assert (schema.metadata[b"moot.table"], schema.metadata[b"moot.run"]) == (b"sessions", b"r")
    assert schema.field("latency_s").metadata[b"about"].startswith(b"seconds")


def test_json_names_every_file_and_its_rows() -> None:
    kept(tried_twice())
    done = moot("export", "r", "out", "--to", "parquet", "--store", "x.db", "--json")
    files = done.json["files"]
    assert {table: one["rows"] for table, one in files.items()} == {
        table: len(from_parquet(table)) for table in TABLES
    }
    assert all(Path(one["path"]).is_file() for one in files.values())
    one = moot("export", "r", "--out", "one.jsonl", "--store", "x.db", "--json")
    assert one.json["files"] == {"sessions": {"path": "one.jsonl", "rows": 60}}


def test_no_key_of_a_provider_is_in_any_file(monkeypatch) -> None:
    monkeypatch.setenv("SOME_API_KEY", SECRET)
    Path("q.jsonl").write_text(
        '{"id": "a", "question": "What?", "options": ["x", "y"], "gold": "A"}\n'
    )
    Path("w.yaml").write_text(
        "name: keyed\nstore: x.db\nquestions: {path: q.jsonl}\n"
        "experts: {one: {model: scripted/echo, key_env: SOME_API_KEY}}\n"
        "cast: {judge: one}\nprotocols: [{kind: direct_answer}]\n"
    )
    done = moot("run", "w.yaml")
    assert done.code == 0, done.err
    export("keyed")
    told = b"".join(path.read_bytes() for path in Path("out").iterdir())
    assert b"SOME_API_KEY" in told
    assert SECRET.encode() not in told


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--to", "parquet"], "say where: moot export RUN DIR --to parquet"),
        (["--to", "inspect"], "say where"),
        (["out", "--to", "questions"], "is one file: name it with --out"),
        (["out", "--out", "file"], "name one of them"),
        (["taken", "--to", "csv"], "taken is a file"),
        (["taken/below", "--to", "csv"], "cannot be written"),
        (["--json"], "name one with --out, or a folder"),
        (["out", "--to", "xlsx"], "there are jsonl"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(arguments: list[str], said: str) -> None:
    kept()
    Path("taken").write_text("mine")
    done = moot("export", "r", *arguments, "--store", "x.db")
    assert done.code == 2
    assert said in done.message
    assert Path("taken").read_text() == "mine"


def test_an_export_that_fails_leaves_the_files_that_were_there(monkeypatch) -> None:
    kept(tried_twice())
    export("r")
    before = {path.name: path.read_bytes() for path in Path("out").iterdir()}
    assert len(before) == 15

    def full(*arguments: Any, **more: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Store, "reply_rows", full)
    done = moot("export", "r", "out", "--to", "csv", "--store", "x.db")
    assert done.code == 2
    assert "No space left on device" in done.message
    assert {path.name: path.read_bytes() for path in Path("out").iterdir()} == before
