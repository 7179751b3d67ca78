"""Simulated experts are named wherever their results appear, and nobody else is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agents.roster import Roster
from orchestrator.run import roster_json
from tests.workflows.making import recorded_row, write_lines
from tests.workflows.terminal import moot
from workflows.api import compare
from workflows.simulated import simulated_among, simulated_experts, simulated_line

LINE = (
    "simulated: ada, bob (offline/reviser): recorded first answers, revised by a rule, not by a "
    "model"
)
TALK = """
questions: {path: q.jsonl}
experts:
  bob: {model: offline/reviser, data: q.jsonl, options: {model: bad, rule: persuadable, p: 1.0}}
  ada: {model: offline/reviser, data: q.jsonl, options: {model: good, rule: stay}}
  zoe: {model: scripted/voter, options: {answers: [C]}}
pool: [bob, ada]
protocols:
  - {kind: multiagent_debate, rounds: 1}
  - {kind: direct_answer, cast: {judge: zoe}}
"""
PLAIN = """
questions: {path: q.jsonl}
pool: [good, bad]
protocols: [{kind: plurality}]
"""
SENTENCE = "multiagent_debate: 0.0 % by its first answers' majority, 100.0 % after 1 round"


@pytest.fixture
def talk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A finished run of two simulated peers and somebody who is not simulated."""
    monkeypatch.chdir(tmp_path)
    write_lines(tmp_path / "q.jsonl", [recorded_row(1), recorded_row(2)])
    (tmp_path / "talk.yaml").write_text(TALK, encoding="utf-8")
    done = moot("run", "talk.yaml", "--json")
    assert done.code == 0, done.err
    assert done.json["simulated"] == ["ada", "bob"]
    rows = {row["name"]: row for row in done.json["rows"]}
    assert rows["multiagent_debate"]["first_answers"] == {"n": 2, "correct": 0, "accuracy": 0}
    assert [one["correct"] for one in rows["multiagent_debate"]["by_round"]] == [0, 2]
    assert (rows["direct_answer"]["first_answers"], rows["direct_answer"]["by_round"]) == (None, [])
    return str(done.json["name"])


def flat(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.parametrize(
    "command",
    [("run", "talk.yaml"), ("compare", "talk.yaml"), ("report", "talk"), ("compare", "talk")],
    ids=" ".join,
)
def test_tables_name_them_and_tell_what_the_rounds_added(
    talk: str, command: tuple[str, ...]
) -> None:
    said = flat(moot(*command).out)
    assert said.count(LINE) == 1
    assert said.count(SENTENCE) == 1


def test_runs_side_by_side_name_them_run_by_run(talk: str) -> None:
    forked = moot("fork", talk, "--cast", "judge=ada", "--name", "other", "--json").json
    assert forked["simulated"] == ["ada", "bob"]
    said = flat(moot("compare", talk, "other").out)
    assert f"{talk}: {LINE}" in said
    assert f"other: {LINE}" in said
    assert f"{talk}: {SENTENCE}" in said
    runs = moot("compare", talk, "other", "--json").json["runs"]
    assert [run["simulated"] for run in runs] == [["ada", "bob"]] * 2
    assert moot("report", talk, "--json").json["simulated"] == ["ada", "bob"]


def test_lists_transcripts_and_exports_name_those_who_take_part(talk: str) -> None:
    listed = moot("show", talk, "--json").json
    assert listed["simulated"] == ["ada", "bob"]
    assert LINE in flat(moot("show", talk).out)
    records = [json.loads(line) for line in moot("export", talk).out.splitlines()]
    for record in records:
        talks = record["protocol"] == "multiagent_debate"
        assert record["simulated"] == (["ada", "bob"] if talks else [])
        text = flat(moot("show", talk, str(record["session"])).out)
        assert (LINE in text) == talks


def test_a_run_with_nobody_simulated_says_nothing(talk: str, tmp_path: Path) -> None:
    (tmp_path / "plain.yaml").write_text(PLAIN, encoding="utf-8")
    done = moot("run", "plain.yaml", "--json")
    assert done.code == 0, done.err
    assert done.json["simulated"] == []
    for command in (("run", "plain.yaml"), ("report", "plain"), ("show", "plain")):
        assert "simulated" not in moot(*command).out


def test_python_is_told_too(talk: str) -> None:
    expert = {"model": "offline/reviser", "data": "q.jsonl", "options": {"model": "good"}}
    result = compare(["direct_answer"], "q.jsonl", {"solo": expert}, cast={"judge": "solo"})
    assert result.simulated == ("solo",)


def test_only_revisers_are_simulated() -> None:
    roster = Roster.from_mapping(
        {"zoe": "offline/lexical-judge", "ada": "offline/reviser", "gpt": "openai/gpt-4o-mini"}
    )
    assert simulated_experts(roster_json(tuple(roster.values()))) == ("ada",)
    assert simulated_experts([]) == ()
    assert simulated_line(["ada", "bob"]) == LINE


def test_a_teams_members_take_part() -> None:
    turns = [[{"expert": "ada"}], [{"expert": "zoe"}]]
    labels = ("ada", "bob", "cy")
    assert simulated_among(labels, {"judge": ["team", "cy"]}, turns) == ["ada", "cy"]
    assert simulated_among((), {"judge": ["cy"]}, turns) == []
