"""run, compare and fork from the command line, on real data and a real store."""

from __future__ import annotations

import gzip
import json
import shutil
import sqlite3
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from orchestrator.driver import DriverSettings
from orchestrator.limits.retry import RetryPolicy
from tests.workflows.making import recorded_row, write_lines
from tests.workflows.terminal import ROOT, moot
from workflows.demo import QUICK

DATA = ROOT / "workflows" / "data"
DEBATES = [part for override in QUICK["oversight"] for part in ("--set", override)]
BASELINES = {"best_single", "random", "oracle"}
POOL = [
    "Mixtral-8x7B-Instruct-v0.1",
    "mathstral-7B",
    "Meta-Llama-3_1-8B-Instruct",
    "Phi-3-mini-4k-instruct",
    "Yi-34B",
    "Qwen1.5-72B-Chat",
    "jamba-1.5-large",
]
VOTES = """
questions: {path: questions.jsonl}
experts:
  one: {model: scripted/voter, options: {answers: [A]}}
  two: {model: scripted/voter, options: {answers: [B]}}
  three: {model: scripted/voter, options: {answers: [B]}}
protocols:
  - kind: plurality
  - kind: direct_answer
    cast: {judge: one}
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def questions(path: Path, count: int, gold: str = "B") -> None:
    rows = [
        {"id": f"{path.stem}/{n}", "text": f"Which, {n}?", "options": ["x", "y"], "gold": gold}
        for n in range(count)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


@pytest.fixture
def votes(here):
    questions(here / "questions.jsonl", 4)
    (here / "votes.yaml").write_text(VOTES, encoding="utf-8")
    return here


def rows_of(result: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in result["rows"]}


def packed(name: str) -> list[dict[str, Any]]:
    with gzip.open(DATA / f"{name}.jsonl.gz", "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def right(row: dict[str, Any], model: str) -> bool | None:
    """Whether a model's own answer is right: by the source's flag, else against gold."""
    if model not in row["answers"]:
        return None
    flag = (row.get("correct") or {}).get(model)
    return bool(row["answers"][model] == row["gold"] if flag is None else flag == 1)


def share(rows: list[dict[str, Any]], model: str) -> float:
    found = [value for row in rows if (value := right(row, model)) is not None]
    return sum(found) / len(found)


def voted(row: dict[str, Any], ranking: list[str]) -> str | None:
    """The plurality of the pool's answers; a tie goes to the best-ranked expert's answer."""
    answers = {model: row["answers"].get(model) for model in POOL}
    counts = Counter(answer for answer in answers.values() if answer is not None)
    top = [answer for answer, count in counts.items() if count == max(counts.values())]
    return next((answers[model] for model in ranking if answers[model] in top), None)


def test_the_rows_of_skills_are_what_the_packed_files_say(here) -> None:
    done = moot("run", "skills", "--store", "skills.db", "--json")
    assert done.code == 0, done.err
    rows = rows_of(done.json)
    assert {"symbolic_moe", "plurality", *BASELINES} <= set(rows)
    asked, profile = packed("mmlu_pro_questions"), packed("mmlu_pro_profile")
    ranking = sorted(POOL, key=lambda model: share(profile, model), reverse=True)

    n = len(asked)
    assert {row["n"] for row in rows.values()} == {n}
    best = [right(row, ranking[0]) for row in asked]
    assert rows["best_single"]["correct"] == sum(map(bool, best))
    assert rows["best_single"]["rule"] == f"single ({ranking[0]})"
    assert rows["best_single"]["calls"] == n
    oracle = sum(any(right(row, model) for model in POOL) for row in asked)
    assert rows["oracle"]["correct"] == oracle
    assert rows["oracle"]["calls"] == n * len(POOL)
    mean = sum(share(asked, model) for model in POOL) / len(POOL)
    assert rows["random"]["accuracy"] == pytest.approx(mean)
    assert rows["plurality"]["correct"] == sum(voted(row, ranking) == r for row, r in golds(asked))
    assert rows["plurality"]["calls"] == n * len(POOL)
    for row in rows.values():
        assert row["accuracy"] == pytest.approx(row["correct"] / row["n"])
        assert row["ci_low"] <= row["accuracy"] <= row["ci_high"]


def golds(rows: list[dict[str, Any]]) -> list[tuple[dict[str, Any], str]]:
    return [(row, row["gold"]) for row in rows]


def test_json_of_a_run_is_all_there_is_on_standard_output(votes) -> None:
    done = moot("run", "votes.yaml", "--json")
    result = done.json
    assert done.code == 0
    assert result["ending"] == "finished"
    assert result["difference"] == {"kept": 0, "added": 8, "superseded": 0, "stale": 0}
    rows = rows_of(result)
    assert rows["plurality"]["correct"] == 4
    assert rows["direct_answer"]["correct"] == 0
    wanted = {"name", "n", "correct", "accuracy", "ci_low", "ci_high", "calls", "failed"}
    assert wanted | {"unparsed"} <= set(rows["plurality"])


def test_the_same_command_resumes_and_asks_nothing(votes) -> None:
    first = moot("run", "votes.yaml", "--json").json
    again = moot("run", "votes.yaml", "--json")
    assert again.json["run_id"] == first["run_id"]
    assert again.json["resumed"]
    assert again.json["asks"] == 0
    assert again.json["rows"] == first["rows"]
    assert "is there already and complete: all 8 sessions are kept" in again.err


def test_new_starts_another_run(votes) -> None:
    first, second = (moot("run", "votes.yaml", "--new", "--json").json for _ in range(2))
    assert second["name"] == first["name"] + "-2"
    assert second["asks"] == first["asks"]


def test_an_edited_workflow_says_what_it_keeps_before_it_asks(votes) -> None:
    first = moot("run", "votes.yaml", "--json").json
    edited = VOTES.replace("cast: {judge: one}", "cast: {judge: two}")
    (votes / "votes.yaml").write_text(edited, encoding="utf-8")
    plan = moot("run", "votes.yaml", "--dry-run", "--json").json
    done = moot("run", "votes.yaml", "--json")
    assert done.json["run_id"] == first["run_id"]
    assert done.json["difference"] == {"kept": 4, "added": 4, "superseded": 4, "stale": 0}
    assert {key: plan[key] for key in ("kept", "added", "superseded")} == {
        "kept": 4,
        "added": 4,
        "superseded": 4,
    }
    assert done.json["asks"] == 4
    assert rows_of(done.json)["direct_answer"]["correct"] == 4
    said = done.err.splitlines()
    assert "4 kept, 4 new, 4 superseded" in said[-2]  # the line before the one at the end


def test_a_dry_run_writes_nothing(votes) -> None:
    done = moot("run", "votes.yaml", "--dry-run")
    assert done.code == 0
    assert "8 sessions of 4 questions and 2 protocols" in done.out
    assert not (votes / "moot.db").exists()


def test_two_question_files_are_two_runs(votes) -> None:
    questions(votes / "other.jsonl", 3)
    first = moot("run", "votes.yaml", "--json").json
    second = moot("run", "votes.yaml", "--set", "questions.path=other.jsonl", "--json").json
    assert first["run_id"] != second["run_id"]
    listed = moot("list", "runs", "--json").json
    assert [run["sessions"] for run in listed] == [8, 6]


def test_a_cast_on_the_command_line_takes_the_role_everywhere(votes) -> None:
    result = moot(
        "run", "votes.yaml", "--cast", "judge=two", "--cast", "solver=one,three", "--json"
    )
    rows = rows_of(result.json)
    assert rows["direct_answer"]["correct"] == 4
    assert rows["plurality"]["calls"] == 8


def test_a_spent_budget_ends_with_3_and_more_budget_goes_on(votes) -> None:
    spent = moot("run", "votes.yaml", "--set", "budget.calls=5", "--json")
    assert spent.code == 3
    assert spent.json["ending"] == "budget"
    asked = sum(one["calls"] for one in spent.json["rows"] if one["kind"] == "protocol")
    assert asked == spent.json["asks"] == 5, "an ask that was never sent is no call"
    other = moot("run", "votes.yaml", "--new", "--set", "budget.calls=1", "--json")
    assert f"--set name={other.json['name']} instead of --new" in other.err
    assert "raise budget.calls, and the same command goes on" in spent.err
    done = moot("run", "votes.yaml", "--json")
    assert done.code == 0
    assert "resuming" in done.err
    assert spent.json["asks"] + done.json["asks"] == 16


@pytest.fixture
def half(here):
    """Recorded answers of an expert that is there for the first of two questions only."""
    rows = [recorded_row(1), recorded_row(2, answers={"bad": "A"})]
    write_lines(here / "half.jsonl", rows)
    workflow = """
questions: {path: half.jsonl}
protocols: [{kind: direct_answer, cast: {judge: good}}]
"""
    (here / "half.yaml").write_text(workflow, encoding="utf-8")


def test_what_was_not_recorded_is_missing_and_not_repeated(half) -> None:
    done = moot("run", "half.yaml", "--json")
    assert done.code == 0, done.err
    row = rows_of(done.json)["direct_answer"]
    assert (row["n"], row["correct"], row["failed"]) == (1, 1, 1)
    assert "1 of 2 replies failed" in done.err
    again = moot("run", "half.yaml", "--retry-failed", "--json").json
    assert again["run_id"] == done.json["run_id"]
    assert again["asks"] == 0
    assert again["rows"] == done.json["rows"]


def test_what_a_provider_failed_is_repeated_when_wanted(votes, monkeypatch) -> None:
    no_waiting = DriverSettings(retry=RetryPolicy(first_wait_s=0.0)).retry
    settings = partial(DriverSettings, retry=no_waiting)
    monkeypatch.setattr("workflows.running.drivers.DriverSettings", settings)
    flaky = VOTES.replace("answers: [A]", "answers: [A], fail_share: 1.0")
    (votes / "flaky.yaml").write_text(flaky, encoding="utf-8")
    done = moot("run", "flaky.yaml", "--json")
    assert done.code == 0, done.err
    assert rows_of(done.json)["direct_answer"]["failed"] == 4
    assert rows_of(done.json)["direct_answer"]["accuracy"] is None
    assert "8 of 16 replies failed; the same command with --retry-failed" in done.err
    again = moot("run", "flaky.yaml", "--retry-failed", "--json").json
    assert again["run_id"] == done.json["run_id"]
    assert again["asks"] == 8  # the four direct answers, and the one failed vote of each plurality
    assert again["sessions"] == done.json["sessions"]
    assert moot("replay", "flaky").code == 0


def test_a_run_with_nothing_in_its_table_is_a_failure(here, monkeypatch) -> None:
    no_waiting = DriverSettings(retry=RetryPolicy(first_wait_s=0.0)).retry
    settings = partial(DriverSettings, retry=no_waiting)
    monkeypatch.setattr("workflows.running.drivers.DriverSettings", settings)
    (here / "one.jsonl").write_text('{"id": 1, "text": "Why?", "gold": "so"}', encoding="utf-8")
    workflow = """
questions: {path: one.jsonl}
experts: {gone: {model: scripted/flaky, options: {fail_share: 1.0, boundary: timeout}}}
protocols: [{kind: direct_answer, cast: {judge: gone}}]
"""
    (here / "gone.yaml").write_text(workflow, encoding="utf-8")
    done = moot("run", "gone.yaml", "--json")
    assert done.code == 1
    assert rows_of(done.json)["direct_answer"]["n"] == 0
    assert "1 of 1 reply failed" in done.err


def test_baselines_alone_are_a_result(half) -> None:
    done = moot("run", "half.yaml", "--set", "questions.ids=[t/2]", "--json")
    assert done.code == 0
    assert rows_of(done.json)["direct_answer"]["n"] == 0
    assert rows_of(done.json)["oracle"]["n"] == 1


def test_a_fork_may_cast_an_expert_that_its_workflow_only_names(votes) -> None:
    text = (votes / "votes.yaml").read_text(encoding="utf-8")
    spare = "experts:\n  spare: {model: scripted/constant, options: {text: 'Answer: B'}}\n"
    (votes / "votes.yaml").write_text(text.replace("experts:\n", spare, 1), encoding="utf-8")
    assert moot("run", "votes.yaml", "--json").code == 0
    forked = moot("fork", "votes", "--cast", "judge=spare", "--json")
    assert forked.code == 0, forked.err
    assert rows_of(forked.json)["direct_answer"]["correct"] == 4


def test_a_table_for_people(votes) -> None:
    done = moot("run", "votes.yaml")
    header = done.out.splitlines()[0].split("  ")
    assert [name.strip() for name in header if name][:5] == [
        "protocol",
        "n",
        "accuracy",
        "95 % interval",
        "calls",
    ]
    assert "plurality" in done.out
    assert "n = 4 questions" in done.out
    assert "kept in moot.db as run votes-" in done.err
    assert all(line == line.rstrip() for line in done.out.splitlines())


def test_a_pipe_cuts_no_column(votes, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    (votes / "a_workflow_with_quite_a_long_name.yaml").write_text(VOTES, encoding="utf-8")
    moot("run", "a_workflow_with_quite_a_long_name.yaml")
    listed = moot("list", "runs").out.splitlines()
    assert len(listed) == 2
    assert "a_workflow_with_quite_a_long_name-" in listed[1]


def test_compare_runs_a_workflow_and_pairs_its_protocols(votes) -> None:
    done = moot("compare", "votes.yaml", "--json")
    assert done.code == 0
    pair = next(
        pair
        for pair in done.json["pairs"]
        if {pair["first"], pair["second"]} == {"plurality", "direct_answer"}
    )
    assert abs(pair["difference"]) == 1.0
    assert pair["questions"] == 4
    shown = moot("compare", "votes.yaml")
    assert "less second" in shown.out


def test_compare_puts_runs_side_by_side(votes) -> None:
    first = moot("run", "votes.yaml", "--json").json["name"]
    second = moot("fork", first, "--cast", "judge=two", "--json").json["name"]
    done = moot("compare", first, second, "--json").json
    assert [run["name"] for run in done["runs"]] == [first, second]
    pairs = {(p["first"], p["second"]): p["difference"] for p in done["pairs"]}
    assert pairs[f"{first}: direct_answer", f"{second}: direct_answer"] == -1.0
    shown = moot("compare", first, second)
    assert shown.code == 0
    assert second in shown.out


def test_a_fork_asks_only_what_comes_after_it(here) -> None:
    limit = ("--set", "questions.limit=3")
    parent = moot("run", "oversight", *limit, *DEBATES, "--json", "--store", "f.db")
    name = parent.json["name"]
    fork = moot("fork", name, "--cast", "judge=offline/lexical-judge", "--store", "f.db", "--json")
    assert fork.code == 0, fork.err
    assert fork.json["asks"] == 3 + 2 * 3  # one judge ask a direct answer, two a debate
    ours, theirs = rows_of(fork.json), rows_of(parent.json)
    assert {k: r["correct"] for k, r in ours.items()} == {
        k: r["correct"] for k, r in theirs.items()
    }
    again = moot("fork", name, "--cast", "judge=offline/lexical-judge", "--store", "f.db", "--json")
    assert again.json["run_id"] == fork.json["run_id"]
    assert again.json["asks"] == 0
    assert moot("replay", fork.json["name"], "--store", "f.db").code == 0
    # the beginning of the parent's name still means the parent
    assert moot("replay", "oversight", "--store", "f.db", "--json").json["name"] == name


def test_a_fork_with_a_parameter_takes_the_protocols_that_have_it(here) -> None:
    moot("run", "oversight", "--set", "questions.limit=2", *DEBATES, "--store", "f.db")
    fork = moot(
        "fork", "oversight", "--set", "rounds=1", "--name", "short", "--store", "f.db", "--json"
    )
    assert fork.code == 0, fork.err
    assert fork.json["name"] == "short"
    assert [row["name"] for row in fork.json["rows"] if row["kind"] == "protocol"] == ["debate"]
    assert fork.json["asks"] == 2 * 4


def test_a_read_only_store_is_refused_and_can_still_be_replayed(votes) -> None:
    moot("run", "votes.yaml", "--store", "v.db")
    shutil.copy("v.db", "before.db")
    Path("v.db").chmod(0o400)
    refused = moot("run", "votes.yaml", "--store", "v.db", "--json")
    assert refused.code == 2
    assert "read-only" in refused.message
    assert moot("replay", "votes", "--store", "v.db").code == 0
    assert Path("v.db").read_bytes() == Path("before.db").read_bytes()


def test_a_store_of_a_newer_version_is_refused_and_left_alone(votes) -> None:
    moot("run", "votes.yaml", "--store", "v.db")
    with sqlite3.connect("v.db") as database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
    database.close()
    before = Path("v.db").read_bytes()
    for command in (["run", "votes.yaml"], ["replay", "votes"], ["show"]):
        done = moot(*command, "--store", "v.db")
        assert done.code in (1, 2)
        assert "newer moot" in done.message
    assert Path("v.db").read_bytes() == before
