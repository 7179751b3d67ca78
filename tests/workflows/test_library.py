"""The library: every workflow that comes with moot is valid, runs offline and replays."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from protocols.registry import PROTOCOLS
from tests.workflows.terminal import moot
from workflows.cli.application import VERBS
from workflows.cli.running import load
from workflows.settings.configuration import library_workflows, load_workflow

pytestmark = pytest.mark.slow

LIBRARY = library_workflows()
FEW = ["--set", "questions.limit=3", "--store", "few.db"]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", LIBRARY)
def test_it_runs_and_replays(name: str) -> None:
    assert moot("validate", name, *FEW[:2]).code == 0
    done = moot("run", name, *FEW, "--json")
    assert done.code == 0, done.err
    assert done.json["ending"] == "finished"
    rows = [row for row in done.json["rows"] if row["kind"] == "protocol"]
    assert [row["name"] for row in rows] == [
        spec.name or spec.kind for spec in load_workflow(name).protocols
    ]
    for row in rows:
        assert (row["n"], row["failed"]) == (3, 0)
        assert row["calls"] > 0
    replayed = moot("replay", done.json["name"], "--store", "few.db", "--json")
    assert replayed.code == 0
    assert replayed.json["identical"] == done.json["sessions"]
    assert replayed.json["model_calls"] == 0


@pytest.mark.parametrize("name", LIBRARY)
def test_the_commands_in_its_head_can_be_typed(name: str) -> None:
    lines = LIBRARY[name].read_text(encoding="utf-8").splitlines()
    commands = [line.removeprefix("#   ") for line in lines if line.startswith("#   moot ")]
    assert commands or name == "starter"
    for command in commands:
        _, verb, workflow, *flags = shlex.split(command)
        assert any(verb in verbs for verbs in VERBS.values())
        given = list(zip(flags[::2], flags[1::2], strict=True))
        settings = [value for flag, value in given if flag == "--set"]
        casts = [value for flag, value in given if flag == "--cast"]
        assert len(settings) + len(casts) == len(given)
        assert load(workflow, settings, casts, None).stem == name


def test_the_overviews_compare_what_they_promise() -> None:
    kinds = {name: {spec.kind for spec in load_workflow(name).protocols} for name in LIBRARY}
    assert {"direct_answer", "consultancy", "double_consultancy", "debate"} <= kinds["oversight"]
    forms = [(one.kind, one.parameters) for one in load_workflow("oversight").protocols]
    for kind in ("consultancy", "debate"):
        own = [parameters for found, parameters in forms if found == kind]
        assert {one["open"] for one in own} == {False, True}
        assert any(one["sides"] == "both" for one in own)  # swapped
        assert {one["orders"] for one in own} == {2}
    assert kinds["deliberation"] >= {
        "plurality",
        "self_refine",
        "multiagent_debate",
        "reconcile",
        "peer_review",
        "moderated_debate",
    }
    assert set().union(*kinds.values()) <= set(PROTOCOLS)


def test_peers_start_from_the_same_recorded_answers() -> None:
    """Variants of one family share their first answers: those that were recorded."""
    moot("run", "deliberation", *FEW)
    exported = moot("export", "deliberation", "--store", "few.db").out
    first: dict[tuple[str, str], set[str]] = {}
    for line in exported.splitlines():
        record = json.loads(line)
        for ask in record["turns"][0]:
            if ask["role"] == "solver":
                said = first.setdefault((record["question"]["id"], ask["expert"]), set())
                said.add(ask["key"])
                assert ask["reply"]["text"].startswith("[simulated]")
    assert len(first) == 3 * 5
    with_confidence = 2  # ReConcile asks for a confidence beside the first answer
    assert all(len(keys) <= with_confidence for keys in first.values())
