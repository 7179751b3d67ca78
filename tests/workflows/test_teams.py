"""Teams and prompts in workflow files: run, replayed, re-judged, and every mistake in one line."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from protocols.plurality import Plurality
from tests.workflows.terminal import moot
from workflows.questions.data_files import load_inputs
from workflows.running.casting import Casting
from workflows.settings.configuration import load_workflow

PANEL = "panel-judge"
FEW = ("--set", "questions.limit=3", "--store", "teams.db")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def rows(done: Any) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in done.json["rows"]}


def sessions(name: str, protocol: str) -> list[int]:
    listed = moot("show", name, "--store", "teams.db", "--json").json["sessions"]
    return [one["session"] for one in listed if one["protocol"] == protocol]


def test_a_panel_judges_and_its_run_resumes_replays_and_forks() -> None:
    done = moot("run", PANEL, *FEW, "--json")
    assert done.code == 0, done.err
    found = rows(done)
    assert (found["one judge"]["calls"], found["panel"]["calls"]) == (3 * 6, 3 * 10)
    name = done.json["name"]
    again = moot("run", PANEL, *FEW, "--json")
    assert again.json["name"] == name
    assert moot("replay", name, "--store", "teams.db").code == 0
    forked = moot("fork", name, "--cast", "judge=lexical", "--store", "teams.db", "--json")
    assert forked.code == 0, forked.err
    other = moot("show", f"{name}-fork", "--store", "teams.db", "--json").json["sessions"]
    assert len(other) == 6
    assert moot("replay", f"{name}-fork", "--store", "teams.db").code == 0


def test_a_team_debates_and_its_transcript_says_who_spoke() -> None:
    done = moot("run", "team-debater", *FEW, "--json")
    assert done.code == 0, done.err
    assert rows(done)["refiners"]["calls"] == 3 * (2 * (2 * (3 + 1)) + 4)
    session = sessions(done.json["name"], "refiners")[0]
    text = moot("show", done.json["name"], str(session), "--store", "teams.db").out
    assert "A solver   │" in text
    assert "round 1: critique" in text
    assert "round 2" in text
    assert re.search(r"B first +│ \(it read both sides", text)
    assert "debater refiners, writer" in " ".join(text.split())
    assert moot("replay", done.json["name"], "--store", "teams.db").code == 0


def test_a_panels_transcript_says_in_which_order_each_read() -> None:
    done = moot("run", PANEL, *FEW, "--json")
    session = sessions(done.json["name"], "panel")[0]
    text = moot("show", done.json["name"], str(session), "--store", "teams.db").out
    assert text.count("A first solver_1 │") == 1
    assert text.count("B first solver_1 │ (it read both sides") == 1


def test_a_session_is_stale_where_a_teams_protocol_has_another_version(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    name = moot("run", PANEL, *FEW, "--json").json["name"]
    monkeypatch.setattr(Plurality, "version", Plurality.version + 1)
    done = moot("replay", name, "--store", "teams.db", "--json")
    assert done.code == 4
    assert done.json["stale_sessions"] == sessions(name, "panel")
    assert done.json["diverged_sessions"] == []


def test_what_a_run_may_cost_counts_what_teams_ask() -> None:
    done = moot("run", PANEL, "--dry-run", *FEW, "--json")
    assert (done.json["fewest_asks"], done.json["most_asks"]) == (3 * 4, 3 * 6 + 3 * 10)


def test_a_team_may_take_a_role_from_the_command_line() -> None:
    done = moot("run", PANEL, "--cast", "judge=panel", "--set", "protocols=[{kind: debate}]", *FEW)
    assert done.code == 0, done.err


def test_the_experts_of_a_team_are_in_the_roster_and_teams_are_not() -> None:
    workflow = load_workflow(PANEL)
    casting = Casting(workflow, load_inputs(workflow))
    roster = casting.roster()
    assert set(roster) == {"lexical", "coin_one", "coin_two", "offline/quote-debater"}
    assert workflow.resolved()["teams"]["panel"]["kind"] == "plurality"
    again = type(workflow).from_mapping(workflow.resolved(), "again.yaml").resolved()
    assert {**again, "store": "moot.db"} == workflow.resolved()


def test_teams_may_sit_in_teams() -> None:
    council = "teams.council={kind: multiagent_debate, cast: {solver: [panel, lexical]}}"
    done = moot("run", PANEL, "--set", council, "--set", "protocols[1].cast.judge=council", *FEW)
    assert done.code == 0, done.err
    session = sessions("1", "panel")[0]
    shown = moot("show", "1", str(session), "--store", "teams.db", "--json").json[0]
    seats = {ask["seat"] for turn in shown["turns"] for ask in turn}
    assert {"judge.solver.solver_2", "judge(2).solver_1"} <= seats
    assert moot("replay", "1", "--store", "teams.db").code == 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["teams=5"], "teams: not a mapping"),
        (["teams.panel=5"], "teams.panel: is missing 'kind'"),
        (["teams.panel.kind=pluralty"], "teams.panel.kind: there is no protocol 'pluralty'"),
        (["teams.panel.rounds=2"], "teams.panel.rounds: no such parameter"),
        (["teams.panel.name=x"], "teams.panel.name: no such parameter; its name is 'panel'"),
        (["teams.panel.cast.solvr=lexical"], "plurality has no such role; did you mean 'solver'"),
        (["teams.panel.cast.solver=nobody"], "cast.solver: no expert 'nobody'"),
        (["teams.panel.cast.solver=panel"], "the team 'panel' sits in itself"),
        (["teams.lexical.kind=plurality"], "teams.lexical: names an expert too"),
        (["protocols[1].cast.judge=panl"], "did you mean 'panel'"),
        (["teams.panel={kind: debate, cast: {debater: lexical}}"], "nobody is cast as 'judge'"),
        (
            [
                "teams.panel={kind: self_consistency, shuffle_options: true}",
                "teams.panel.cast.solver=lexical",
            ],
            "the team 'panel' shows the options in another order",
        ),
        (
            [
                "teams.panel={kind: debate, cast: {debater: lexical, judge: lexical}}",
                "protocols[1].cast.debater=panel",
            ],
            "the team 'panel' cannot sit as 'debater': a debate needs two options",
        ),
        (["teams.panel.prompts={answer.tsk: x}"], "did you mean 'answer.task'"),
        (["protocols[0].prompts={debate.judge_system: '{{ who }}'}"], "has no variable 'who'"),
        (["protocols[0].prompts=no.md"], "no.md: no such file"),
    ],
)
def test_a_mistake_is_one_line(settings: list[str], message: str) -> None:
    done = moot("validate", PANEL, *(word for one in settings for word in ("--set", one)))
    assert done.code == 2
    assert message in done.out + done.err
    assert "Traceback" not in done.err


def test_a_recorded_expert_cannot_sit_in_a_team_that_is_asked_again(here: Path) -> None:
    (here / "w.yaml").write_text(
        "questions: {path: 'moot:mmlu_pro_questions', limit: 2}\n"
        "teams: {panel: {kind: plurality, cast: {solver: [Yi-34B, jamba-1.5-large]}}}\n"
        "protocols: [{kind: self_refine, cast: {solver: panel}}]\n"
    )
    done = moot("validate", "w.yaml")
    assert done.code == 2
    assert "asks the team 'panel' more than once" in done.out + done.err


def test_a_team_that_sits_nowhere_is_mentioned() -> None:
    done = moot("validate", PANEL, "--set", "teams.other={kind: plurality}")
    assert done.code == 0
    assert "teams.other: sits nowhere" in done.out + done.err


def test_prompts_come_from_the_file_or_from_a_file_beside_it(here: Path) -> None:
    text = "[[debate.judge_system]]\nYou are the referee.\n"
    (here / "words.md").write_text(text)
    (here / "w.yaml").write_text(
        "questions: {path: 'moot:nyu_passages', limit: 2}\n"
        "cast: {debater: offline/quote-debater, judge: offline/lexical-judge}\n"
        "protocols:\n"
        "  - kind: debate\n"
        "  - {kind: debate, name: file, prompts: words.md}\n"
        "  - {kind: debate, name: here, prompts: {debate.judge_system: Be brief.}}\n"
    )
    override = "protocols[2].prompts.debate.judge_system='Be very brief.'"
    done = moot("run", "w.yaml", "--store", "teams.db", "--set", override, "--json")
    assert done.code == 0, done.err
    said = {}
    for protocol in ("debate", "file", "here"):
        session = sessions(done.json["name"], protocol)[0]
        shown = moot("show", "1", str(session), "--store", "teams.db", "--json").json[0]
        said[protocol] = shown["turns"][-1][0]["messages"][0]["parts"][0]["text"]
    assert said["file"] == "You are the referee."
    assert said["here"] == "Be very brief."
    assert said["debate"].startswith("You are the judge")
    (here / "words.md").write_text(text.replace("referee", "umpire"))
    changed = moot("run", "w.yaml", "--store", "teams.db", "--set", override, "--dry-run", "--json")
    assert (changed.json["kept"], changed.json["added"], changed.json["superseded"]) == (4, 2, 2)
