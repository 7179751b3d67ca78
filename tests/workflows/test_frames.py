"""Frames of a store: their columns and types, what is joined, and what they refuse."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars
import pytest

import workflows
from orchestrator.store import Store
from protocols.errors import Mistake
from protocols.outcome import Outcome
from tests.workflows.played import store_sessions
from tests.workflows.stored import HOSTILE, some_key, some_outcomes, store_outcomes, tried_twice
from tests.workflows.terminal import moot
from workflows import asks_df, replies_df, run, runs_df, sessions_df, verdicts_df
from workflows.comparing.results import run_rows
from workflows.exports.columns import TABLES, TableName
from workflows.exports.frame_rows import SESSIONS_AT_ONCE

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "data.md"
MAKERS: dict[TableName, Callable[..., polars.DataFrame]] = {
    "runs": runs_df,
    "sessions": sessions_df,
    "asks": asks_df,
    "replies": replies_df,
    "verdicts": verdicts_df,
}
POLARS = {
    "text": polars.String,
    "json": polars.String,
    "integer": polars.Int64,
    "number": polars.Float64,
    "flag": polars.Boolean,
}
PANDAS = {"text": "str", "json": "str", "integer": "Int64", "number": "float64", "flag": "boolean"}


@pytest.fixture
async def store(tmp_path: Path) -> str:
    path = str(tmp_path / "x.db")
    outcomes = some_outcomes(60)
    replies = {number: tried_twice() for number in range(5)}
    with Store.open(path) as opened:
        await store_sessions(opened)
        await store_outcomes(opened, [*outcomes, None], some_key(outcomes), replies=replies)
    return path


@pytest.mark.parametrize("table", MAKERS)
async def test_columns_and_types_are_those_of_the_guide(store: str, table: TableName) -> None:
    columns = [one for one in TABLES[table] if one.name != "messages"]
    frame = MAKERS[table](store)
    assert dict(frame.schema) == {one.name: POLARS[one.kind] for one in columns}
    other: Any = MAKERS[table](store, backend="pandas")
    assert {name: str(kind) for name, kind in other.dtypes.items()} == {
        one.name: PANDAS[one.kind] for one in columns
    }
    assert len(other) == len(frame) > 0
    section = GUIDE.read_text("utf-8").split(f"### {table}\n")[1].split("###")[0]
    told = re.findall(r"^\| `(\w+)`( ¹)? \| (\w+) \| (.*) \|$", section, re.M)
    assert told == [
        (one.name, "" if one.in_view else " ¹", one.kind, one.about) for one in TABLES[table]
    ]


@pytest.mark.parametrize("table", MAKERS)
async def test_a_store_without_runs_gives_empty_frames_of_the_same_form(
    store: str, table: TableName, tmp_path: Path
) -> None:
    path = str(tmp_path / "empty.db")
    Store.open(path).close()
    empty = MAKERS[table](path)
    assert len(empty) == 0
    assert empty.schema == MAKERS[table](store).schema


async def test_sessions_count_as_in_the_table_of_the_run(store: str) -> None:
    with Store.read(store) as opened:
        frame = sessions_df(opened, "examples")
        [run] = [one for one in opened.runs() if one.name == "examples"]
        rows = {row.name: row for row in run_rows(opened, run)}
    means = frame.group_by("protocol").agg(polars.col("correct").mean()).iter_rows()
    for name, accuracy in means:
        if name not in rows:  # it answers nothing
            assert accuracy in (None, 0.0)
            continue
        assert accuracy == (
            None if rows[name].accuracy is None else pytest.approx(rows[name].accuracy)
        )
    assert frame["session"].is_unique().all()
    assert (frame["ordinal"].diff().drop_nulls() > 0).all()


async def test_attempts_are_all_there_with_both_prices(store: str) -> None:
    sessions = sessions_df(store, "r")
    spent = sessions.filter(polars.col("attempts") > 0).select(
        "asks", "attempts", "list_price", "paid_price", "unpriced", "latency_s", "cached_tokens"
    )
    assert spent.unique().rows() == [(1, 2, 0.25, 0.125, 1, 61.5, 6)]
    silent = sessions.filter(polars.col("attempts") == 0)
    assert silent["list_price"].null_count() == len(silent) == 56
    [run] = runs_df(store, "r").rows(named=True)
    assert (run["list_price"], run["paid_price"], run["unpriced"]) == (1.25, 0.625, 5)
    assert (run["sessions"], run["finished"], run["failed"]) == (61, 60, 0)
    replies = replies_df(store, "r")
    assert replies.filter(polars.col("accepted"))["text"].unique().to_list() == [HOSTILE]
    assert replies.filter(~polars.col("accepted"))["failure_cause"].to_list() == ["deadline"] * 5


async def test_what_is_missing_is_null_and_what_was_not_read_is_not(store: str) -> None:
    frame = sessions_df(store, "r")
    assert frame.filter(polars.col("ended").is_null())["correct"].to_list() == [None]
    unread = frame.filter(polars.col("ended") == "unparsed").filter(
        polars.col("gold").is_not_null()
    )
    assert 0.0 in unread["correct"].to_list()
    without = frame.filter(polars.col("gold").is_null() & (polars.col("rule") == "plurality"))
    assert without.filter(~polars.col("missing"))["correct"].null_count() > 0


async def test_prompts_are_there_on_request(store: str) -> None:
    assert "messages" not in asks_df(store, "r").columns
    first = asks_df(store, "r", messages=True)["messages"][0]
    parts = [part for message in json.loads(first) for part in message["parts"]]
    assert {part["name"]: part["text"] for part in parts}["passage"] == "Once."
    assert HOSTILE in parts[1]["text"]


async def test_verdicts_are_each_order_and_each_answer_of_a_vote(tmp_path: Path) -> None:
    path = str(tmp_path / "v.db")
    swayed = Outcome(
        status="tied",
        rule="mean_of_orders",
        tie_rule="half",
        readings=((0.9, 0.1), (0.1, 0.9)),
        distribution=(0.5, 0.5),
        votes={"B": 1.0, "A": 2.0},
    )
    plain = Outcome(status="answered", answer="B", rule="single", distribution=(0.25, 0.75))
    with Store.open(path) as opened:
        key = some_key([swayed, plain]).model_copy(update={"gold": {"q0": "A", "q1": "B"}})
        await store_outcomes(opened, [swayed, plain], key)
    frame = verdicts_df(path).select(
        "question_id", "source", "number", "answer", "weight", "correct", "p_gold"
    )
    assert frame.rows() == [
        ("q0", "reading", 0, "A", 0.9, 1.0, 0.9),
        ("q0", "reading", 1, "B", 0.9, 0.0, 0.1),
        ("q0", "vote", 0, "A", 2.0, 1.0, None),
        ("q0", "vote", 1, "B", 1.0, 0.0, None),
        ("q1", "distribution", 0, "B", 0.75, 1.0, 0.75),
    ]
    assert sessions_df(path)["correct"].to_list() == [0.5, 1.0]


async def test_outcomes_of_a_group_stand_whole_in_the_detail(tmp_path: Path) -> None:
    from orchestrator.journal import OutcomeRecord

    path = str(tmp_path / "g.db")
    both = "[" + ",".join(one.as_json() for one in some_outcomes(2)) + "]"
    with Store.open(path) as opened:
        run = await store_outcomes(opened, [None])
        [session] = opened.sessions(run.id)
        with opened.journal(run.id) as journal:
            journal.start(lambda tokens: None)
            journal.append([OutcomeRecord(session.id, "finished", both)])
            await journal.close()
    [row] = sessions_df(path).rows(named=True)
    assert (row["status"], row["ended"], row["correct"]) == ("finished", None, None)
    assert row["detail"] == both
    assert len(verdicts_df(path)) == 0


async def test_a_run_is_read_page_by_page(store: str) -> None:
    with Store.read(store) as opened:
        whole = [row for run in opened.runs() for row in opened.sessions(run.id)]
        for at_once in (1, 7, SESSIONS_AT_ONCE):
            pages = [
                page
                for run in opened.runs()
                for page in opened.session_pages(run.id, at_once=at_once)
            ]
            assert max(map(len, pages)) <= at_once
            assert [row for page in pages for row in page] == whole


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"store": "no.db"}, "there is no store"),
        ({"run": "nobody"}, "no run 'nobody'"),
        ({"backend": "r"}, "backend='r'"),
    ],
)
async def test_mistakes_are_told_in_one_line(store: str, arguments, said: str) -> None:
    with pytest.raises(Mistake, match=said) as found:
        sessions_df(**{"store": store, **arguments})
    assert "\n" not in str(found.value)


@pytest.mark.parametrize("library", ["polars", "pandas", "pyarrow"])
async def test_a_library_that_is_missing_is_named(store: str, library: str, monkeypatch) -> None:
    import importlib

    real = importlib.import_module

    def without(name: str, package: str | None = None):
        if name == library:
            raise ImportError(name)
        return real(name, package)

    monkeypatch.setattr(importlib, "import_module", without)
    with pytest.raises(Mistake, match=f"{library} is not installed: pip install"):
        sessions_df(store, backend="pandas" if library == "pandas" else "polars")


def test_frames_are_public_names() -> None:
    names = {f"{table}_df" for table in TABLES}
    assert names <= set(workflows.__all__)
    assert names <= set(dir(workflows))


def test_what_was_not_asked_again_says_so(tmp_path: Path) -> None:
    path = str(tmp_path / "f.db")
    run("oversight", overrides=[f"store={path}", "questions.limit=2"])
    branch = moot("fork", "oversight", "--cast", "judge=scripted/voter", "--store", path, "--json")
    assert branch.code == 0, branch.err
    assert set(replies_df(path, "oversight")["source"]) == {None}
    replies = replies_df(path, branch.json["name"])
    sources = dict(replies.group_by("role").agg(polars.col("source").unique()).iter_rows())
    assert sources["debater"] == ["inherited"]
    assert sources["judge"] == [None]
    assert replies.filter(polars.col("source") == "inherited")["paid_price"].sum() == 0
    assert replies["served_by"].null_count() == len(replies)
