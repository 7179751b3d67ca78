"""What experts were measured on: a recorded file, an exported profile, a stored run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agents.profile_file import Measured
from orchestrator.run import prepare_sessions
from orchestrator.store import Store
from protocols.errors import Mistake
from protocols.evidence import EVIDENCE
from protocols.profile import PROFILE
from protocols.question import Question
from protocols.skills import SKILLS
from tests.workflows.making import make, recorded_row, write_lines
from workflows.checking.checks import check_workflow, workflow_warnings
from workflows.recruiting.measuring import ProfileSource, profile_source
from workflows.recruiting.profiling import save_measured
from workflows.running.casting import Casting, run_spec
from workflows.settings.sections import ProfileSpec

MODELS = {"good": "good", "bad": "bad"}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_lines(tmp_path / "q.jsonl", [recorded_row(n) for n in range(4)])
    write_lines(tmp_path / "p.jsonl", [recorded_row(n, chars={"good": 7}) for n in range(10, 14)])


def source(store: str = "moot.db", **fields: Any) -> ProfileSource:
    return profile_source(ProfileSpec(**fields), store)


def measured(**fields: Any) -> Measured:
    evidence = source(path="p.jsonl").skilled(MODELS).evidence
    assert evidence is not None
    return Measured.of(evidence.model_copy(update=fields))


def exported(found: Measured, name: str = "profile.json") -> str:
    Path(name).write_text(json.dumps(found.as_json()), encoding="utf-8")
    return name


def stored(found: Measured, store: str = "moot.db") -> str:
    with Store.open(store) as opened:
        prepared = prepare_sessions(opened, "exam", [], config={}, answer_key=None)
        run = next(run for run in opened.runs() if run.id == prepared.run_id)
        save_measured(opened, run, found)
    return "exam"


def test_a_file_of_recorded_answers() -> None:
    found = source(path="p.jsonl")
    assert (found.name, found.experts) == ("p.jsonl", ("bad", "good", "mute"))
    assert not found.skills_by_expert
    skilled = found.skilled({"top": "good", "new": "nobody"})
    assert skilled.evidence is not None
    assert skilled.evidence.right == {"top": "1111"}
    assert skilled.evidence.cost == {"top": 7.0}
    assert skilled.profile.skills == {"top": {"c": 4.0, "s": 4.0}}
    assert skilled.text_skills is None


def test_key_phrases_of_a_recorded_file() -> None:
    skilled = source(path="p.jsonl", skills="text").skilled(MODELS)
    assert skilled.text_skills is not None
    assert set(skilled.profile.known_skills).isdisjoint({"c", "s"})


def test_an_exported_profile_and_a_stored_run_are_the_same() -> None:
    by_file = source(path=exported(measured()))
    by_run = source(run=stored(measured()))
    assert (by_file.name, by_run.name) == ("profile.json", "exam")
    assert by_file.digest == by_run.digest
    assert by_file.experts == by_run.experts == ("bad", "good")
    for found in (by_file, by_run):
        skilled = found.skilled({"top": "good"})
        assert skilled.evidence is not None
        assert skilled.evidence.right == {"top": "1111"}
        assert skilled.evidence.answers == {"top": ("B",) * 4}
        assert skilled.profile.accuracy("top") == 1.0


def test_a_profile_of_sums_alone() -> None:
    sums = measured().profile.model_dump(mode="json")
    Path("sums.json").write_text(json.dumps(sums), encoding="utf-8")
    found = source(path="sums.json")
    skilled = found.skilled({"top": "good", "new": "nobody"})
    assert skilled.evidence is None
    assert skilled.profile.skills == {"top": {"c": 4.0, "s": 4.0}}
    assert skilled.profile.right == {"top": 4}
    assert found.asks_any_of([Question(id="x", text="Which is 10?", kind="text")]) is None


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"path": "gone.jsonl"}, "gone.jsonl"),
        ({"path": "own.jsonl"}, "holds no recorded answers"),
        ({"run": "exam"}, "no"),
    ],
)
def test_what_is_no_profile(fields: dict[str, Any], says: str) -> None:
    write_lines(Path("own.jsonl"), [{"id": 1, "text": "x", "options": ["a", "b"], "gold": "A"}])
    with pytest.raises(Mistake, match=says):
        source(**fields)


def test_a_run_that_measured_nobody() -> None:
    with Store.open("moot.db") as opened:
        prepare_sessions(opened, "plain", [], config={}, answer_key=None)
    with pytest.raises(Mistake, match="measured no experts"):
        source(run="plain")


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({}, "name either a file (path) or a run (run)"),
        ({"path": "p.jsonl", "run": "exam"}, "name either a file (path) or a run (run)"),
        ({"path": "p.jsonl", "folds": 1}, "profile.folds"),
        ({"path": "p.jsonl", "skills": "magic"}, "profile.skills"),
    ],
)
def test_mistakes_in_the_section(fields: dict[str, Any], says: str) -> None:
    with pytest.raises(Mistake) as raised:
        make({**WORKFLOW, "profile": fields})
    assert says in str(raised.value)


WORKFLOW: dict[str, Any] = {
    "questions": {"path": "q.jsonl"},
    "pool": ["good", "bad"],
    "protocols": [{"kind": "routed", "rule": "best_single"}, {"kind": "symbolic_moe"}],
}


@pytest.mark.parametrize("kind", ["file", "export", "run"])
def test_casts_hold_what_their_protocol_reads(kind: str) -> None:
    profile = {"file": {"path": "p.jsonl"}, "export": {"path": "profile.json"},
               "run": {"run": "exam"}}[kind]  # fmt: skip
    exported(measured())
    stored(measured())
    workflow, inputs = make({**WORKFLOW, "profile": profile})
    assert check_workflow(workflow, inputs) == []
    assert workflow_warnings(workflow, inputs) == []
    routed, skills = run_spec(workflow, inputs).entries
    assert set(routed.cast.assets) == {PROFILE, EVIDENCE}  # ties go by the profile
    assert set(skills.cast.assets) == {PROFILE}
    assert Casting(workflow, inputs).answer_key.best_single == "good"


def test_key_phrases_of_the_runs_questions_are_an_asset() -> None:
    workflow, inputs = make({**WORKFLOW, "profile": {"path": "p.jsonl", "skills": "text"}})
    for entry in run_spec(workflow, inputs).entries:
        content: Any = entry.cast.assets[SKILLS].content
        assert set(content) == {question.key for question in inputs.questions.questions}


@pytest.mark.parametrize("kind", ["file", "export"])
def test_questions_that_the_profile_has_seen_are_warned_about(kind: str) -> None:
    write_lines(Path("p.jsonl"), [recorded_row(n) for n in (3, 20)])
    path = "p.jsonl" if kind == "file" else exported(measured())
    (warning,) = workflow_warnings(*make({**WORKFLOW, "profile": {"path": path}}))
    assert warning.startswith("profile: the experts were measured on questions of this run too")
    assert "'t/3'" in warning


def test_sums_alone_do_not_serve_rules_that_learn_from_single_questions() -> None:
    sums = measured().profile.model_dump(mode="json")
    Path("sums.json").write_text(json.dumps(sums), encoding="utf-8")
    (problem,) = check_workflow(*make({**WORKFLOW, "profile": {"path": "sums.json"}}))
    assert "protocols[0] (routed): learns from single questions" in problem
    assert "moot experts profile" in problem


def test_a_fuser_without_answers_is_warned_about() -> None:
    rows = [recorded_row(n, answers=None, correct={"good": 1, "bad": n % 2}) for n in range(10, 14)]
    write_lines(Path("p.jsonl"), rows)
    fused = {"kind": "routed", "rule": "best_single", "k": 2, "aggregate": "fuser"}
    data = {**WORKFLOW, "profile": {"path": "p.jsonl"}, "protocols": [fused]}
    (warning,) = workflow_warnings(*make(data))
    assert "holds no answers" in warning
    assert "accuracy" in warning


def test_skills_that_an_expert_named_must_be_named_for_the_run_too() -> None:
    found = Measured(skills_by="annotated", evidence=measured().evidence)
    data = {**WORKFLOW, "profile": {"path": exported(found)}}
    (warning,) = workflow_warnings(*make(data))
    assert "an expert named the skills of profile.json" in warning
    with_skills = {**data, "assets": {"skills": {"t/0": ["law"]}}}
    assert workflow_warnings(*make(with_skills)) == []


def test_an_annotator_must_be_cast_and_able_to_draw() -> None:
    annotated = {"kind": "symbolic_moe", "annotate": True}
    data = {**WORKFLOW, "profile": {"path": "p.jsonl"}, "protocols": [annotated]}
    (problem,) = check_workflow(*make(data))
    assert "nobody is cast as 'annotator'" in problem
    (problem,) = check_workflow(*make({**data, "cast": {"annotator": "good"}}))
    assert "'annotator' asks the same expert more than once" in problem
    able = {"model": "scripted/constant", "options": {"text": "Skills: law"}}
    data |= {"experts": {"namer": able}, "cast": {"annotator": "namer"}}
    assert check_workflow(*make(data)) == []


def test_experts_whose_engine_scores_no_prompts_are_refused() -> None:
    verdict: dict[str, Any] = {"kind": "speculative_verdict", "cast": {"verdict": "able"}}
    able = {"model": "scripted/voter", "options": {"answers": ["A"]}}
    data = {
        "questions": {"path": "q.jsonl"},
        "experts": {"able": able, "other": able, "third": able},
        "pool": ["able", "other", "openai/gpt-4o-mini"],
        "protocols": [verdict],
    }
    problems = check_workflow(*make(data))
    assert any("the engine of openai/gpt-4o-mini cannot" in problem for problem in problems)
    team = {"panel": {"kind": "plurality", "cast": {"solver": ["able", "other"]}}}
    seated = {**verdict, "cast": {**verdict["cast"], "solver": ["able", "panel", "third"]}}
    problems = check_workflow(*make({**data, "teams": team, "protocols": [seated]}))
    assert any("which no team can, nor 'panel'" in problem for problem in problems)
