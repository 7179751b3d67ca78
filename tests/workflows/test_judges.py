"""``moot judges`` from the command line: files of both kinds, stored runs, and what is wrong."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.workflows.making import DATA, read_packed, write_lines
from tests.workflows.terminal import ROOT, moot

LLMBAR = str(DATA / "llmbar.jsonl.gz")
PANDALM = str(DATA / "pandalm.jsonl.gz")
SESSIONS = str(DATA / "nyu_sessions.jsonl.gz")
RUN = """
questions: {path: q.jsonl}
experts:
  first: {model: scripted/voter, options: {answers: [A]}}
  right: {model: scripted/voter, options: {answers: [B]}}
  mute: {model: scripted/echo}
protocols:
  - {kind: direct_answer, name: place, orders: 2, cast: {judge: first}}
  - {kind: direct_answer, name: alone, cast: {judge: right}}
  - {kind: direct_answer, name: silent, orders: 2, cast: {judge: mute}}
  - {kind: plurality, cast: {solver: [first, right]}}
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def pair(number: int = 1, gold: str | None = "1", **votes: Any) -> dict[str, Any]:
    """A recorded pair: of the votes ``12``, 1 is in order ab and 2 in ba; ``1`` is ab alone."""
    words = {"1": "1", "2": "2", "t": "tie", "0": None}
    told = {
        judge: {"type": "llm", **{order: words[v] for order, v in zip(("ab", "ba"), given)}}  # noqa: B905
        for judge, given in votes.items()
    }
    return {"id": f"t/{number}", "item": f"i{number}", "gold": gold, "votes": told}


def judged(*rows: Any, extra: tuple[str, ...] = ()) -> Any:
    done = moot("judges", write_lines(Path("v.jsonl"), list(rows)), "--json", *extra)
    assert (done.code, done.err) == (0, "")
    return done.json["sets"][0]


def test_all_of_it_by_one_command() -> None:
    done = moot("judges", LLMBAR, PANDALM, "--sessions", SESSIONS)
    assert (done.code, done.err) == (0, "")
    for said in (
        "58 judges; rule: sum, a tie counts half",
        "One order was recorded: flips, first-position share and consistency cannot be computed",
        "Krippendorff's alpha of 3 people",
        "peer rank",
        "a tie is wrong",
        "temperature",
        "isotonic",
        "abstaining below",
        "No panel: no pair with a gold answer was judged by two of the judges.",
        "Self-preference cannot be computed",
    ):
        assert said in " ".join(done.out.split()), said


def test_json_is_the_same_every_time() -> None:
    first = moot("judges", PANDALM, SESSIONS, "--json")
    assert first.out == moot("judges", PANDALM, "--sessions", SESSIONS, "--json").out
    votes, sessions = first.json["sets"]
    assert votes["judges"][0]["flips"] is None
    assert votes["calibration"] == []
    assert {one["name"] for one in votes["panels"]["panels"]} >= {"equal", "log odds"}
    assert sessions["panels"] is None
    calibration = sessions["calibration"][0]
    assert calibration["name"] == "all"
    assert set(calibration["before"]) >= {"ece", "ece_if_calibrated", "brier", "log2_score"}
    assert set(calibration["temperature"]) == {"value", "how"}


def test_rules_and_ties(here) -> None:
    rows = [pair(1, j="1t"), pair(2, j="12"), pair(3, j="21")]
    accuracy = {
        how: judged(*rows, extra=("--rule", how))["judges"][0]["accuracy"]["mean"]
        for how in ("sum", "agree", "mean", "first")
    }
    assert accuracy == pytest.approx({"sum": 2 / 3, "agree": 0.5, "mean": 2 / 3, "first": 2 / 3})
    hard = judged(*rows, extra=("--tie", "wrong"))["judges"][0]["accuracy"]["mean"]
    assert hard == pytest.approx(1 / 3)


def test_one_judge_is_no_panel(here) -> None:
    found = judged(pair(1, j="11"), pair(2, j="22"))
    assert found["panels"] is None
    assert found["judges"][0]["accuracy"]["mean"] == 0.5


@pytest.mark.parametrize(("votes", "accuracy"), [("00", 0.0), ("tt", 0.5), ("0", 0.0)])
def test_judges_that_say_nothing(here, votes, accuracy) -> None:
    rows = [pair(n, j=votes, k=votes) for n in range(3)]
    found = judged(*rows)
    assert [one["accuracy"]["mean"] for one in found["judges"]] == [accuracy] * 2
    for one in found["panels"]["panels"]:
        assert one["accuracy"]["mean"] == accuracy or one["name"].startswith("exam")
    assert moot("judges", "v.jsonl").code == 0


def test_an_order_that_is_missing_in_places(here) -> None:
    found = judged(pair(1, j="11"), pair(2, j="1"), pair(3, k="12"))
    by_name = {one["judge"]: one for one in found["judges"]}
    assert (by_name["j"]["verdicts"], by_name["j"]["two_orders"]) == (2, 1)
    assert by_name["j"]["flips"]["n"] == 1
    assert by_name["k"]["flips"]["mean"] == 1.0
    told = judged({**pair(1), "votes": {"j": {"type": "llm"}}})["judges"][0]
    assert (told["missing"], told["accuracy"]["mean"]) == (1, None)


def test_pairs_without_a_gold_answer(here) -> None:
    found = judged(pair(1, gold=None, j="11", k="12"))
    assert found["judges"][0]["accuracy"]["mean"] is None
    assert found["judges"][0]["consistent"]["n"] == 1
    assert found["notes"] == ["1 of 1 pairs have no gold answer and are not scored"]
    assert moot("judges", "v.jsonl").code == 0


def test_the_judges_of_a_run(here) -> None:
    rows = [
        {"id": f"q{n}", "text": "Which?", "options": ["x", "y"], "gold": "AB"[n % 2]}
        for n in range(6)
    ]
    write_lines(here / "q.jsonl", rows)
    (here / "w.yaml").write_text(RUN, encoding="utf-8")
    assert moot("run", "w.yaml", "--store", "s.db", "--json").code == 0
    done = moot("judges", "w", "--store", "s.db", "--json")
    assert (done.code, done.err) == (0, "")
    found = done.json["sets"][0]
    by_name = {one["judge"]: one for one in found["judges"]}
    place = by_name["place (first)"]
    assert (place["flips"]["mean"], place["first_position"]["mean"]) == (1.0, 1.0)
    assert place["accuracy"]["mean"] == 0.5
    alone = by_name["alone (right)"]
    assert (alone["flips"], alone["accuracy"]["mean"]) == (None, 0.5)
    silent = by_name["silent (mute)"]
    assert (silent["unread"], silent["two_orders"], silent["unread_votes"]) == (6, 6, 12)
    assert "6 of plurality" in found["notes"][0]
    assert {one["name"] for one in found["panels"]["panels"]} >= {"equal", "exam logit"}


def test_a_run_of_imported_sessions_is_the_file(here) -> None:
    assert moot("import", "nyu", SESSIONS, "--store", "s.db", "--name", "held").code == 0
    of_run = moot("judges", "held", "--store", "s.db", "--json").json["sets"][0]
    of_file = moot("judges", SESSIONS, "--json").json["sets"][0]
    assert of_run["calibration"] == of_file["calibration"]
    accuracy = {one["judge"]: one["accuracy"] for one in of_file["judges"]}
    assert {one["judge"]: one["accuracy"] for one in of_run["judges"]} == accuracy


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([], "v.jsonl: holds no question"),
        ([{"id": "x", "text": "t"}], "holds neither recorded votes nor recorded debate sessions"),
        ([pair(1)], "v.jsonl: holds no vote of any judge"),
        ([{**pair(1), "votes": []}], "v.jsonl:1: 'votes' is not an object of judges"),
        ([{**pair(1), "votes": {"j": "1"}}], "the votes of 'j' are not an object"),
        ([{**pair(1), "votes": {"j": {"ab": 1}}}], "v.jsonl:1: 'j' voted 1; a vote is"),
        ([{**pair(1), "votes": {"j": {"ab": ["1"]}}}], "voted ['1']; a vote is"),
        ([pair(1, gold="A", j="1")], "v.jsonl:1: gold 'A' is not '1', '2' or 'tie'"),
        ([pair(1, j="1"), pair(1, j="2")], "v.jsonl:2: the id 't/1' stands twice"),
        ([{**pair(1, j="1"), "id": None}], "v.jsonl:1: no 'id'"),
    ],
)
def test_files_that_cannot_be_used(here, rows, said) -> None:
    done = moot("judges", write_lines(here / "v.jsonl", rows).replace(str(here) + "/", ""))
    assert done.code == 2
    assert said in done.message


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "name a file of recorded votes or debate sessions, or a run"),
        (["gone.jsonl"], "gone.jsonl: no such file"),
        (["nothing"], "moot.db"),
        (["."], "is a directory"),
        ([LLMBAR, "--rule", "best"], "--rule 'best': there is sum, agree, mean, first"),
        ([LLMBAR, "--tie", "right"], "--tie 'right': a tie counts half, or is wrong"),
    ],
)
def test_commands_that_cannot_be_meant(here, arguments, said) -> None:
    done = moot("judges", *arguments)
    assert done.code == 2
    assert said in done.message


def test_sessions_of_no_published_figure_all_count(here) -> None:
    own = [{**one, "in_paper": False} for one in read_packed("nyu_sessions")]
    done = moot("judges", write_lines(here / "s.jsonl", own), "--json")
    live = sum(one["judge"] is not None for one in own)
    assert sum(one["verdicts"] for one in done.json["sets"][0]["judges"]) == live


def test_sessions_that_nobody_judged(here) -> None:
    unjudged = [one for one in read_packed("nyu_sessions") if one["judge"] is None]
    assert unjudged
    done = moot("judges", write_lines(here / "s.jsonl", unjudged))
    assert done.code == 2
    assert "no session had a live judge" in done.message


def test_the_page_shows_what_the_command_prints(monkeypatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("COLUMNS", "100")  # as where no terminal says how wide it is
    page = (ROOT / "docs" / "judging.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```(sh|text)\n(.*?)```", page, re.DOTALL)[1:]
    printed = ""
    shown = 0
    for kind, text in blocks:
        if kind == "sh":
            printed = moot(*text.split()[1:]).out
            continue
        for line in text.splitlines():
            assert line in printed, line
            shown += 1
    assert shown > 10
