"""What travels to a cluster with a submitted workflow; the jobs themselves need a cluster."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.workflows.making import recorded_row, write_lines
from tests.workflows.terminal import moot
from workflows.cli.cluster import _printed_json, packing_list
from workflows.questions.data_files import load_inputs
from workflows.running.casting import run_spec
from workflows.settings.configuration import load_workflow

WORKFLOW = """
questions: {path: data/q.jsonl, ids: [t/1]}
profile: {path: data/p.jsonl}
experts:
  other: {model: recorded/t/bad, data: data/q.jsonl}
protocols:
  - kind: plurality
    cast: {solver: [good, other]}
store: kept.db
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("data").mkdir()
    write_lines(Path("data/q.jsonl"), [recorded_row(1), recorded_row(2)])
    write_lines(Path("data/p.jsonl"), [recorded_row(3)])
    Path("w.yaml").write_text(WORKFLOW, encoding="utf-8")
    return tmp_path


def test_a_packed_workflow_is_the_same_run_elsewhere(here) -> None:
    loaded = load_workflow("w.yaml", ["seed=3"])
    scratch = here / "scratch"
    scratch.mkdir()
    name, files = packing_list(loaded, scratch)
    assert name == "w.yaml"
    assert sorted(files) == ["data/0-q.jsonl", "data/1-p.jsonl", "w.yaml"]
    job = here / "job"
    for target, source in files.items():
        (job / target).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, job / target)
    Path("data").rename("gone")

    packed = load_workflow(job / name)
    spec = run_spec(packed, load_inputs(packed))
    Path("gone").rename("data")
    original = run_spec(loaded, load_inputs(loaded))
    assert spec.name == original.name
    assert [entry.cast.digest for entry in spec.entries] == [
        entry.cast.digest for entry in original.entries
    ]
    assert spec.seed == 3
    assert packed.store == str(here / "kept.db")


def test_data_that_comes_with_moot_does_not_travel(here) -> None:
    _, files = packing_list(load_workflow("skills"), here)
    assert list(files) == ["skills.yaml"]


def test_the_result_is_found_among_what_a_job_prints() -> None:
    lines = ["(some worker) {", "note: x", *json.dumps({"a": {"b": 1}}, indent=2).splitlines(), "}"]
    assert _printed_json(lines) == {"a": {"b": 1}}
    assert _printed_json(["nothing"]) is None


@pytest.mark.parametrize(
    "command",
    [["submit", "skills"], ["status", "j"], ["logs", "j"], ["cancel", "j"]],
    ids=lambda command: command[0],
)
def test_no_cluster_is_one_line(here, command) -> None:
    done = moot(*command, "--address", "http://127.0.0.1:1")
    assert done.code == 2
    assert "no Ray cluster answers at 127.0.0.1:1" in done.message


def test_keys_are_looked_for_where_experts_are_called(here, monkeypatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    command = ["run", "w.yaml", "--set", "protocols=[{kind: direct_answer}]"]
    command += ["--cast", "judge=openai/gpt-4o-mini"]
    assert "OPENAI_API_KEY is not set" in moot(*command).message
    on_ray = moot(*command, "--fleet", "ray", "--address", "127.0.0.1:1")
    assert "no Ray cluster answers at 127.0.0.1:1" in on_ray.err
