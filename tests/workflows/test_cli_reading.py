"""replay, show, export and list from the command line."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
from pathlib import Path

import pytest

from tests.workflows.terminal import moot
from workflows.cli.screen import clean
from workflows.demo import QUICK

LIMIT = ("--set", "questions.limit=3")
DEBATES = [part for override in QUICK["oversight"] for part in ("--set", override)]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """A store with three debates and three direct answers, and six sessions of skills."""
    place = tmp_path_factory.mktemp("store") / "kept.db"
    for workflow, more in (("oversight", DEBATES), ("skills", [])):
        done = moot("run", workflow, *LIMIT, *more, "--store", str(place), "--json")
        assert done.code == 0, done.err
    return place


@pytest.fixture
def store(recorded, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copy(recorded, "kept.db")
    return "kept.db"


def change(store: str, statement: str, *values: object) -> int:
    """Change a store behind moot's back; return the session that the row belongs to."""
    with sqlite3.connect(store) as database:
        row = database.execute(statement, values).fetchone()
    database.close()
    return int(row[0])


def test_a_replay_is_identical_and_calls_no_model(store) -> None:
    done = moot("replay", "oversight", "--store", store, "--json")
    assert done.code == 0
    report = done.json
    assert report["sessions"] == report["identical"] == 6
    assert report["diverged"] == report["model_calls"] == 0
    assert report["diverged_sessions"] == []
    said = moot("replay", "oversight", "--store", store)
    assert said.out.startswith("Replayed 6 sessions: identical, 0 model calls, ")


CHANGE_A_REPLY = """
UPDATE reply SET text = text || ' '
WHERE rowid = (SELECT rowid FROM reply LIMIT 1 OFFSET 3) RETURNING session
"""
CHANGE_AN_OUTCOME = """
UPDATE session SET outcome = replace(outcome, '"status":"', '"status":"x')
WHERE id = (SELECT max(id) FROM session WHERE run = 1) RETURNING id
"""


@pytest.mark.parametrize(
    ("statement", "reason"),
    [(CHANGE_A_REPLY, "reply changed"), (CHANGE_AN_OUTCOME, "outcome changed")],
    ids=["reply", "outcome"],
)
def test_what_was_tampered_with_is_named_and_nothing_else(store, statement, reason) -> None:
    session = change(store, statement)
    done = moot("replay", "1", "--store", store, "--json")
    assert done.code == 4
    assert done.json["diverged_sessions"] == [session]
    assert done.json["identical"] == 5
    assert done.json["model_calls"] == 0
    said = moot("replay", "1", "--store", store)
    assert said.code == 4
    assert f"1 of 6 sessions diverged from the store: {session} ({reason})." in said.out
    assert len(said.out.splitlines()) == 1
    one = moot("replay", "1", "--store", store, "--session", str(session))
    assert one.out.startswith(f"session {session}: diverged: {reason}")
    assert moot("replay", "2", "--store", store).code == 0


def test_another_version_of_a_protocol_is_stale_not_diverged(store) -> None:
    session = change(
        store,
        "UPDATE session SET version = 99 WHERE id = (SELECT min(id) FROM session WHERE run = 1) "
        "RETURNING id",
    )
    done = moot("replay", "1", "--store", store, "--json")
    assert done.code == 4
    assert done.json["diverged_sessions"] == []
    assert done.json["stale_sessions"] == [session]
    assert "1 is stale" in moot("replay", "1", "--store", store).out


def test_a_transcript_shows_speeches_quotes_verdict_and_gold(store) -> None:
    listed = moot("show", "oversight", "--store", store, "--json").json["sessions"]
    debate = next(one for one in listed if one["protocol"] == "debate")
    text = moot("show", "oversight", str(debate["session"]), "--store", store).out
    assert "debate (3 rounds)" in text
    assert "round 3" in text
    assert "” ✓" in text
    assert "A first │" in text
    assert f"gold {debate['gold']}" in text
    assert ("✓ right" in text) == (debate["correct"] == 1.0)
    assert "8 asks" in text


def test_a_quotation_that_is_not_in_the_passage_is_marked(store) -> None:
    session = change(
        store,
        "UPDATE reply SET text = 'He said <quote>never in this book 77</quote>' WHERE rowid = "
        "(SELECT reply.rowid FROM reply JOIN ask USING (session, turn, slot) "
        "WHERE role = 'debater' LIMIT 1) RETURNING session",
    )
    text = moot("show", "oversight", str(session), "--store", store).out
    assert "“never in this book 77” ✗ not in the passage" in text


def test_what_models_write_cannot_command_a_terminal(store) -> None:
    session = change(
        store,
        "UPDATE reply SET text = 'clear' || char(27) || '[2J' || char(7) WHERE rowid = "
        "(SELECT rowid FROM reply LIMIT 1) RETURNING session",
    )
    text = moot("show", "1", str(session), "--store", store).out
    assert "\x1b" not in text
    assert "\x07" not in text
    assert "clear" in text
    assert clean("a\tb\nc\x9b1m\ud800") == "a\tb\nc\ufffd1m\ufffd"


def test_show_takes_the_newest_run_and_lists_its_sessions(store) -> None:
    done = moot("show", "--store", store)
    assert done.code == 0
    assert len(done.out.splitlines()) == 1 + 12
    assert "symbolic_moe" in done.out


def test_show_disagree_and_question(store) -> None:
    records = moot("show", "skills", "--disagree", "--store", store, "--json").json
    by_question: dict[str, set[str]] = {}
    for record in records:
        answer = str(record["outcome"]["answer"])
        by_question.setdefault(record["question"]["id"], set()).add(answer)
    assert all(len(answers) > 1 for answers in by_question.values())
    listed = moot("show", "skills", "--store", store, "--json").json["sessions"]
    question = listed[0]["question"]
    both = moot("show", "skills", "--question", question, "--store", store, "--json").json
    assert {record["name"] for record in both} == {
        *("symbolic_moe", "plurality", "trimmed", "three_best")
    }
    assert moot("show", "oversight", "--disagree", "--store", store).code == 0


def test_export_writes_whole_sessions(store) -> None:
    done = moot("export", "oversight", "--to", "jsonl", "--out", "o.jsonl", "--store", store)
    assert done.code == 0
    assert done.out == ""
    lines = Path("o.jsonl").read_text(encoding="utf-8").splitlines()
    records = [json.loads(line) for line in lines]
    assert len(records) == 6
    debate = next(record for record in records if record["protocol"] == "debate")
    asks = [ask for turn in debate["turns"] for ask in turn]
    assert len(asks) == 8
    assert all(ask["reply"]["accepted"] and ask["reply"]["text"] for ask in asks)
    assert debate["outcome"]["status"] in ("answered", "tied")
    assert debate["gold"] in ("A", "B")
    parts = [p for ask in asks for message in ask["messages"] for p in message["parts"]]
    passages = [part for part in parts if part["name"] == "passage"]
    assert passages
    assert all(part["same_as"] == "question.passage" for part in passages)
    assert moot("export", "oversight", "--store", store).out.splitlines() == lines


@pytest.mark.parametrize("what", ["engines", "experts", "protocols", "runs", "workflows"])
def test_lists(store, what) -> None:
    listed = moot("list", what, "--store", store, "--json")
    assert listed.code == 0
    assert listed.json
    shown = moot("list", what, "--store", store)
    assert len(shown.out.splitlines()) == 1 + len(listed.json)


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["replay", "nosuch"], "no run 'nosuch'; it holds oversight-"),
        (["replay", "skills", "--session", "99999"], "has no session 99999"),
        (["show", "skills", "99999"], "has no session '99999'"),
        (["show", "skills", "--question", "x"], "asks no question 'x'"),
        (["export", "skills", "--to", "xlsx"], "there are jsonl"),
        (["export", "skills", "--out", "no/such/file"], "cannot be written"),
        (["list", "run"], "did you mean 'runs'?"),
        (["fork", "skills"], "give --cast ROLE=EXPERT, --set or --turn"),
        (["fork", "oversight", "--cast", "jury=offline/lexical-judge"], "that asks a role 'jury'"),
        (["fork", "oversight", "--set", "rounds"], "is not an override"),
        (["fork", "oversight", "--set", "k=2"], "no finished session with the parameters k"),
        (["compare", "oversight", "nosuch"], "no run 'nosuch'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_mistakes_of_readers(store, command, said) -> None:
    done = moot(*command, *([] if command[0] == "list" else ["--store", store]))
    assert done.code == 2
    assert said in done.message
    assert done.out == ""


def test_a_store_that_is_not_there(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = moot("replay", "skills", "--store", "none.db")
    assert done.code == 2
    assert "there is no store none.db" in done.message
    assert not Path("none.db").exists()


def test_a_report_holds_its_pairs_and_what_each_could_have_shown(store, monkeypatch) -> None:
    found = moot("report", "skills", "--store", store, "--json").json
    compared = moot("compare", found["run"], "--store", store, "--json").json
    assert found["pairs"] == compared["pairs"]
    shown = " ".join(moot("report", "skills", "--store", store).out.split())
    assert "could show questions" in shown
    monkeypatch.setattr("workflows.cli.reporting.PAIRS", 3)
    named = " ".join(moot("report", "skills", "--store", store).out.split())
    assert "could show questions" not in named
    assert f"{len(found['pairs'])} pairs: the smallest true difference" in named
    assert "moot compare skills-" in named


def test_one_of_a_thing_is_one(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    only = ("questions.limit=1", "protocols=[{kind: plurality}]", "pool=[Yi-34B]")
    one = [word for setting in only for word in ("--set", setting)]
    first, again = moot("run", "skills", *one), moot("run", "skills", *one)
    report, status = moot("report", "skills"), moot("status", "skills")
    page = moot("report", "skills", "--md", "page.md")
    texts = [done.out + done.err for done in (first, again, report, status, page)]
    texts.append(Path("page.md").read_text(encoding="utf-8"))
    assert "1/1 session, 1 ask," in first.err
    assert "its session is kept" in again.err
    for text in texts:
        assert not re.search(r"(?<![\d,.])1 \w+s\b(?<!1 is)", text), text
