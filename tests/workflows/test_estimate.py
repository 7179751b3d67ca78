"""``moot estimate``: calls by protocol and role, and the prediction for a fleet."""

from __future__ import annotations

import re

import pytest

from orchestrator.simulator.bounds import lower_bounds
from protocols.errors import Mistake
from tests.workflows.terminal import moot
from workflows.cli.estimating import duration
from workflows.forecast.estimate import estimate
from workflows.forecast.prediction import (
    WINDOW,
    FleetFigures,
    figures_of,
    measured_lengths,
    predict,
    run_mode,
    simulated_world,
)
from workflows.questions.data_files import load_inputs
from workflows.running.casting import run_spec
from workflows.settings.configuration import load_workflow
from workflows.settings.fleets import FleetSpec

WORKFLOW = """
name: tiny
store: tiny.db
questions: {path: q.jsonl}
experts:
  big: {model: scripted/voter, gpu_gb: 40}
  small: {model: scripted/voter, gpu_gb: 16}
  other: {model: scripted/voter, gpu_gb: 16}
  referee: {model: scripted/voter}
protocols:
  - kind: direct_answer
    cast: {judge: referee}
  - kind: plurality
    name: panel
    cast: {solver: [big, small, other]}
  - kind: debate
    rounds: 2
    cast: {debater: [big, small], judge: referee}
"""
ROW = '{"id": "%s", "text": "Which?", "options": ["x", "y"], "gold": "A"}\n'


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "q.jsonl").write_text("".join(ROW % n for n in range(30)), encoding="utf-8")
    (tmp_path / "w.yaml").write_text(WORKFLOW, encoding="utf-8")
    return tmp_path


def spec_of(path: str = "w.yaml", *overrides: str):
    workflow = load_workflow(path, list(overrides))
    return run_spec(workflow, load_inputs(workflow))


def test_calls_are_counted_by_protocol_and_role(here) -> None:
    done = moot("estimate", "w.yaml", "--json")
    assert done.code == 0
    found = done.json
    assert (found["sessions"], found["questions"], found["fleet"]) == (90, 30, None)
    direct, panel, debate = found["protocols"]
    assert (direct["fewest_calls"], direct["most_calls"]) == (30, 30)
    assert panel["roles"] == {"solver": {"fewest_calls": 90, "most_calls": 90}}
    assert (debate["fewest_calls"], debate["most_calls"]) == (60, 180)
    assert debate["roles"]["debater"] == {"fewest_calls": 60, "most_calls": 120}
    assert debate["roles"]["judge"] == {"fewest_calls": 0, "most_calls": 60}
    assert (found["fewest_calls"], found["most_calls"]) == (180, 300)
    assert not (here / "tiny.db").exists()


def test_the_table_for_people(here) -> None:
    done = moot("estimate", "w.yaml", "--set", "repeats=2")
    assert done.out.splitlines()[0] == "tiny: 180 sessions of 30 questions and 3 protocols"
    assert "  judge" in done.out
    assert done.out.splitlines()[-3].split() == ["all", "180", "360", "600"]
    assert done.out.splitlines()[-1] == "costs nothing: no expert has a price"
    assert done.err == ""


def test_a_fleet_is_simulated_in_both_modes(here) -> None:
    done = moot("estimate", "w.yaml", "--fleet", "--gpus", "2", "--gpu-gb", "48", "--json")
    fleet = done.json["fleet"]
    assert fleet["gpus"] == 2
    assert fleet["makespan_s"] == min(fleet["modes"].values())
    assert set(fleet["modes"]) == {"cycle", "wave"}
    assert fleet["makespan_s"] >= fleet["lower_bound_s"] > 0
    assert set(fleet["loads_by_expert"]) == {"big", "small", "other"}
    assert fleet["loads"] == sum(fleet["loads_by_expert"].values())
    assert fleet["lower_bound"] in ("work", "setup", "path", "hosted")
    assert 0 <= fleet["gpu_idle_share"] < 1
    assert fleet["sample"]["wave"]["asks"] == 300
    assert done.json["figures"]["gpu_gb"] == 48
    again = moot("estimate", "w.yaml", "--fleet", "--gpus", "2", "--gpu-gb", "48", "--json")
    assert again.json["fleet"]["modes"] == fleet["modes"]


def test_the_fleet_of_the_workflow_is_the_default(here) -> None:
    fleet = ["--set", "fleet={kind: ray, gpus: 3, gpu_gb: 48}"]
    done = moot("estimate", "w.yaml", "--fleet", "--json", *fleet)
    assert (done.json["figures"]["gpus"], done.json["figures"]["gpu_gb"]) == (3, 48)
    given = moot("estimate", "w.yaml", "--fleet", "--json", "--gpus", "2", *fleet)
    assert (given.json["figures"]["gpus"], given.json["figures"]["gpu_gb"]) == (2, 48)


def test_a_run_takes_the_better_mode(here) -> None:
    spec = spec_of()
    fleet = FleetSpec(gpus=1, gpu_gb=48)
    assert run_mode(spec, fleet) == predict(spec, figures_of(fleet)).choice.mode
    assert run_mode(spec, FleetSpec(mode="wave")) == "wave"
    hosted = spec_of("w.yaml", "protocols=[{kind: direct_answer, cast: {judge: referee}}]")
    assert run_mode(hosted, FleetSpec()) == "cycle"
    with pytest.raises(Mistake, match="asks for 1 GPU with 40 GB"):
        run_mode(spec, FleetSpec(gpu_gb=20))


def test_what_is_supposed_is_said(here) -> None:
    done = moot("estimate", "w.yaml", "--fleet", "--slots", "1")
    assert "fleet: 1 GPU of 40 GB, 3 experts; loads of 8\N{EN DASH}20 s" in done.out
    assert "never loaded: referee" in done.out
    assert "replies of 400 tokens" in done.out
    assert "90 of 90 sessions simulated" in done.out
    assert "predicted: " in done.out
    assert "no scheduling does it in less than" in done.out
    assert done.message == "simulating 90 sessions"


def test_without_gpus_nothing_is_loaded(here) -> None:
    only = ["--set", "protocols=[{kind: direct_answer, cast: {judge: referee}}]"]
    done = moot("estimate", "w.yaml", "--fleet", *only)
    assert "predicted: nothing here takes time" in done.out
    assert "--expert-gb" in done.out
    supposed = moot("estimate", "w.yaml", "--fleet", "--expert-gb", "10", *only, "--json")
    assert supposed.json["fleet"]["loads_by_expert"] == {"referee": 1}


def test_hosted_experts_are_bound_by_their_rate(here) -> None:
    hosted = ["--set", "protocols=[{kind: direct_answer, cast: {judge: openai/gpt-4o-mini}}]"]
    done = moot("estimate", "w.yaml", "--fleet", "--requests-per-minute", "6", *hosted, "--json")
    fleet = done.json["fleet"]
    assert fleet["lower_bound"] == "hosted"
    assert fleet["makespan_s"] >= 290
    assert fleet["gpu_idle_share"] is None


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nothing.yaml"], "nothing.yaml"),
        (["w.yaml", "--fleet", "--gpu-gb", "20"], "big asks for 1 GPU with 40 GB"),
        (["w.yaml", "--fleet", "--gpus", "0"], "gpus"),
        (["w.yaml", "--fleet", "--tokens", "0"], "tokens"),
        (["w.yaml", "--fleet", "--sample", "0"], "--sample"),
    ],
)
def test_mistakes_are_one_line(here, arguments, said) -> None:
    done = moot("estimate", *arguments)
    assert done.code == 2
    assert said in done.err.splitlines()[-1]
    assert "Traceback" not in done.err


def test_a_scripted_gpu_says_itself_how_fast_it_is(here) -> None:
    options = "{load_s: 3, t0_s: 0.02, t1_s: 0.001, batch_limit: 8, mean_tokens: 50}"
    spec = spec_of("w.yaml", f"experts.big={{model: scripted/gpu, gpu_gb: 10, options: {options}}}")
    prediction = predict(spec, FleetFigures(gpus=1))
    big = prediction.world.on_gpus["big"]
    assert (big.load_s, big.t0_s, big.t1_s, big.batch_limit) == (3.0, 0.02, 0.001, 8)
    assert prediction.choice.report.tokens < 300 * 400
    given = simulated_world(spec.experts, FleetFigures(load_s=7.0))
    assert {expert.load_s for expert in given.on_gpus.values()} == {7.0}


def test_a_larger_run_takes_longer_by_its_work(here) -> None:
    spec = spec_of()
    whole = predict(spec, FleetFigures())
    part = predict(spec, FleetFigures(), sample=45)
    assert (part.sampled, part.sessions) == (45, 90)
    assert part.makespan_s > part.choice.report.makespan_s
    assert part.makespan_s == pytest.approx(whole.makespan_s, rel=0.35)
    assert lower_bounds(whole.world, []).makespan_s == 0.0


def test_a_run_beyond_the_window_takes_as_many_windows(here) -> None:
    spec = spec_of("w.yaml", f"repeats={WINDOW // 30}")
    big = predict(spec, FleetFigures(slots=1), sample=60)
    assert big.sessions == 3 * 30 * (WINDOW // 30)
    assert sum(big.loads.values()) == 3 * big.choice.report.load_count
    one = predict(spec_of("w.yaml", f"repeats={WINDOW // 90}"), FleetFigures(slots=1), sample=60)
    assert one.makespan_s * 3 == pytest.approx(big.makespan_s, rel=0.01)


def test_lengths_are_those_of_an_earlier_run(here) -> None:
    assert measured_lengths("tiny.db", "tiny") == {}
    plain = re.sub(r", gpu_gb: [0-9]+", "", WORKFLOW)
    (here / "plain.yaml").write_text(plain, encoding="utf-8")
    assert moot("run", "plain.yaml", "--set", "questions.limit=3").code == 0
    measured = measured_lengths("tiny.db", "tiny")
    assert set(measured) == {"direct_answer", "panel", "debate"}
    assert all(1.0 <= length < 50.0 for length in measured.values())
    done = moot("estimate", "w.yaml", "--fleet")
    assert "as measured before: debate, direct_answer, panel" in done.out
    given = moot("estimate", "w.yaml", "--fleet", "--tokens", "300")
    assert "as measured before" not in given.out
    assert measured_lengths("tiny.db", "no such run") == {}
    elsewhere = moot("estimate", "w.yaml", "--fleet", "--store", "elsewhere.db")
    assert "as measured before" not in elsewhere.out
    assert not (here / "elsewhere.db").exists()


def test_an_empty_role_is_left_out(here) -> None:
    found = estimate(spec_of())
    assert found.calls.most == 300
    assert [set(entry.by_role) for entry in found.entries] == [
        {"judge"},
        {"solver"},
        {"debater", "judge"},
    ]


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0.0, "0.0 s"),
        (59.94, "59.9 s"),
        (59.99, "1 min 0 s"),
        (119.7, "2 min 0 s"),
        (3_599.9, "1 h 0 min"),
        (100_000.0, "27 h 46 min"),
    ],
)
def test_times_are_for_people(seconds, shown) -> None:
    assert duration(seconds) == shown


def test_what_a_scripted_gpu_declares_is_said(here) -> None:
    script = "{t0_s: 0.002, t1_s: 0.00001, batch_limit: 32}"
    expert = f"experts.scripted={{model: scripted/gpu, gpu_gb: 16, options: {script}}}"
    only = ["--set", "protocols=[{kind: direct_answer, cast: {judge: scripted}}]"]
    done = moot("estimate", "w.yaml", "--fleet", "--set", expert, *only)
    assert "steps of 2 ms and 0.01 ms an ask, batches of 32" in done.out
