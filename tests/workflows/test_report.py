"""``moot import`` and ``moot report`` from the command line, figures against independent lines."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.workflows.making import DATA, read_packed, write_lines
from tests.workflows.recorded_sessions import END, PRIOR, SIM, judge, session, speeches, votes
from tests.workflows.terminal import moot

PACKED = str(DATA / "nyu_sessions.jsonl.gz")
CONSULTANCY = {
    "opening": ["JudgeFeedbackRound"],
    "repeat": ["SequentialSpeechesRound", "JudgeFeedbackRound"],
}
JUDGES = """
questions: {path: q.jsonl}
experts:
  sure: {model: scripted/voter, options: {answers: [A]}}
protocols:
  - {kind: direct_answer, cast: {judge: sure}}
  - {kind: direct_answer, name: twice, orders: 2, cast: {judge: sure}}
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def reported(*lines: Any) -> dict[str, Any]:
    """Import sessions and return their report."""
    from pathlib import Path

    path = write_lines(Path("s.jsonl"), list(lines))
    assert moot("import", "nyu", path, "--store", "s.db", "--name", "r").code == 0
    done = moot("report", "r", "--store", "s.db", "--json")
    assert done.code == 0
    found: dict[str, Any] = done.json
    return found


def expected(lines: list[dict[str, Any]], setting: str) -> dict[str, Any]:
    """The figures of a setting, from nothing but what the file says of each session."""
    chosen = [s for s in lines if s["setting"] == setting and s["in_paper"] and s["final_probs"]]
    n, bins = len(chosen), [[0.0, 0.0] for _ in range(10)]
    for line in chosen:
        p = round(max(line["final_probs"]), 6)
        mine = bins[min(int(f"{p:.6f}".replace(".", "")) // 100_000, 9)]
        mine[0] += p
        mine[1] += 0.5 if p == 0.5 else line["correct"]
    correct = sum(line["correct"] for line in chosen)
    figures: dict[str, Any] = {
        "setting": setting,
        "n": n,
        "correct": correct,
        "accuracy": correct / n,
        "mean_continues": sum(line["num_continues"] for line in chosen) / n,
        "mean_reward": sum(line["judge_reward"] for line in chosen) / n,
        "ece": sum(abs(p - right) for p, right in bins) / n,
    }
    if "consultancy" in setting:
        for name, honest in (("honest", True), ("dishonest", False)):
            own = [s for s in chosen if ("AB"[s["gold"]] in s["debaters"]) == honest]
            figures[name] = {"n": len(own), "correct": sum(line["correct"] for line in own)}
    return figures


def test_the_figures_are_those_of_the_file(here) -> None:
    lines = read_packed("nyu_sessions")
    done = moot("import", "nyu", PACKED, "--store", "s.db", "--json")
    assert done.json["sessions"] == len(lines)
    assert done.err == ""
    found = moot("report", done.json["name"], "--store", "s.db", "--json").json
    names = ["human_debate", "human_consultancy", "ai_debate", "ai_consultancy"]
    assert [one["setting"] for one in found["settings"]] == names
    for one in found["settings"]:
        wanted = expected(lines, one["setting"])
        assert set(one) - {"ece_if_calibrated"} == set(wanted)
        assert 0.0 <= one["ece_if_calibrated"] < 0.5
        for name, value in wanted.items():
            assert one[name] == (
                value
                if name in ("honest", "dishonest", "setting")
                else (pytest.approx(value, abs=1e-6))
            )
    assert found["compared"] == sum(line["judge_reward"] is not None for line in lines)
    assert found["unequal"] == []


def test_a_tie_is_wrong_and_only_the_paper_counts(here) -> None:
    tie, right = [PRIOR, SIM, {**END, "probs": [0.5, 0.5]}], [PRIOR, SIM, END]
    found = reported(
        session(tie, id="tie"),
        session(right, id="right"),
        session(right, id="out", in_paper=False),
        session([SIM, votes(True, True)], id="agreed", judge=None),
        session(right, id="other", setting="own_setting", in_paper=False),
    )
    first, own = found["settings"]
    assert (first["n"], first["correct"], first["accuracy"]) == (2, 1, 0.5)
    assert first["mean_continues"] == 1.0
    assert first["ece"] == pytest.approx(abs(0.8 - 1.0) / 2)
    assert "honest" not in first
    assert (own["setting"], own["n"], own["accuracy"], own["ece"]) == ("own_setting", 0, None, None)
    assert (found["sessions"], found["without_judge"]) == (5, 1)
    assert list(found["off_rules"]) == ["agreed"]


def test_consultants_are_honest_or_not(here) -> None:
    rounds = [PRIOR, speeches("sequential", "B"), judge(0.2, end=True)]
    fields = {"setting": "ai_consultancy", "debaters": {"B": "AI:X"}, "rules": CONSULTANCY}
    found = reported(
        session(rounds, id="honest", gold=1, **fields),
        session(rounds, id="dishonest", gold=0, **fields),
        session(rounds, id="dishonest 2", gold=0, **fields),
    )
    (one,) = found["settings"]
    assert (one["honest"], one["dishonest"]) == ({"n": 1, "correct": 1}, {"n": 2, "correct": 0})
    assert found["off_rules"] == {}


def test_what_the_source_recorded_otherwise_is_told(here) -> None:
    found = reported(
        session(id="same", final_probs=[0.8, 0.2], num_continues=2, correct=1),
        session(id="other", final_probs=[0.8, 0.2], num_continues=3, correct=1, judge_reward=-0.1),
    )
    told = {(one["session"], one["figure"]) for one in found["unequal"]}
    assert told == {("other", "num_continues"), ("other", "judge_reward")}
    assert found["compared"] == 1
    said = moot("report", "r", "--store", "s.db").out
    assert "other: num_continues recorded 3.0000, recomputed 2.0000" in said


def test_people_read_a_table(here) -> None:
    done = moot("import", "nyu", PACKED, PACKED, "--store", "s.db")
    assert done.code == 0
    assert "keep the rules that they declare" in done.out
    assert "12 new" in done.message
    said = moot("report", "nyu", "--store", "s.db").out
    assert "human_consultancy" in said
    assert "honest" in said
    assert "all equal" in said
    shown = moot("show", "nyu", "--store", "s.db", "--json").json["sessions"]
    unjudged = {line["id"] for line in read_packed("nyu_sessions") if line["judge"] is None}
    assert {one["question"] for one in shown if one["correct"] is None} == unjudged
    assert moot("replay", "nyu", "--store", "s.db").code == 0


def test_any_run_has_a_report(here) -> None:
    rows = [
        {"id": f"{n}", "text": f"Which, {n}?", "options": ["x", "y"], "gold": gold}
        for n, gold in enumerate("AAB")
    ]
    write_lines(here / "q.jsonl", rows)
    (here / "w.yaml").write_text(JUDGES, encoding="utf-8")
    ran = moot("run", "w.yaml", "--store", "s.db", "--json").json
    found = moot("report", ran["name"], "--store", "s.db", "--json").json
    assert found["rows"] == ran["rows"]
    assert "settings" not in found
    one, two = found["quality"]
    assert (one["name"], one["n"], one["accuracy"]) == ("direct_answer", 3, pytest.approx(2 / 3))
    assert one["brier"] == pytest.approx(1 / 3)
    assert one["ece"] == pytest.approx(1 / 3)
    assert one["ece_if_calibrated"] == 0.0
    assert (two["brier"], two["log2_score"], two["ece"]) == (0.25, -1.0, 0.0)
    said = moot("report", ran["name"], "--store", "s.db").out
    assert "Brier" in said
    assert "direct_answer" in said


def test_a_run_without_probabilities_has_a_table_only(here) -> None:
    rows = [{"id": "1", "text": "How many?", "gold": "4"}]
    write_lines(here / "q.jsonl", rows)
    (here / "w.yaml").write_text(JUDGES.partition("  - {kind: direct_answer, name")[0], "utf-8")
    ran = moot("run", "w.yaml", "--store", "s.db", "--json").json
    found = moot("report", ran["name"], "--store", "s.db", "--json").json
    assert found["quality"] == []
    assert "Brier" not in moot("report", ran["name"], "--store", "s.db").out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["import"], "Missing argument"),
        (["import", "nyu"], "Missing argument"),
        (["import", "oxford", PACKED], "cannot import 'oxford'; there is nyu"),
        (["import", "nyu", "gone.jsonl"], "gone.jsonl: no such file"),
        (["import", "nyu", str(DATA / "bbh.jsonl.gz")], "not a file of recorded debate sessions"),
        (["import", "nyu", "broken.jsonl"], "broken.jsonl:2: malformed line"),
        (["report", "nothing", "--store", "gone.db"], "gone.db"),
    ],
    ids=lambda value: " ".join(value)[-30:] if isinstance(value, list) else "",
)
def test_mistakes_are_one_line(here, arguments, said) -> None:
    (here / "broken.jsonl").write_text(json.dumps(session()) + "\n{\n", encoding="utf-8")
    done = moot(*arguments)
    assert done.code == 2
    assert said in done.message
    assert done.out == ""
    assert not (here / "moot.db").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["gone.jsonl"], "gone.jsonl: no such file; check the path"),
        ([PACKED, "--passages", "gone.jsonl"], "gone.jsonl: no such file; check the path"),
        (["."], ".: is a directory; name a file in it"),
    ],
    ids=["sessions", "passages", "directory"],
)
def test_an_import_knows_of_no_workflow(here, arguments, said) -> None:
    done = moot("import", "nyu", *arguments)
    assert done.code == 2
    assert done.message.endswith(said)
