"""Golden tapes replay to what they say, in other processes and under other hash seeds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from protocols.canonical import canonical_json
from protocols.registry import PROTOCOLS
from tests.protocols.examples import BY_NAME, EXAMPLES
from tests.protocols.tape_files import FOLDER, goldens, read, replay, tape_from_json, tape_to_json

FILES = sorted(FOLDER.glob("*.json"))
ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_golden_tape_replays_as_it_says(path):
    data = read(path)
    assert canonical_json(replay(data)) == canonical_json(data["replays_as"])
    wanted = {"complete": "outcome", "partial": "missing", "diverged": "diverged"}
    assert wanted[data["state"]] in data["replays_as"]
    assert tape_to_json(tape_from_json(data["slots"])) == data["slots"]


@pytest.mark.parametrize("hash_seed", ["1", "4242"])
def test_the_same_in_another_process_under_another_hash_seed(hash_seed):
    done = subprocess.run(
        [sys.executable, "-m", "tests.protocols.tape_files", "--replay"],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(done.stdout)
    assert found == {path.name: read(path)["replays_as"] for path in FILES}


def test_every_example_and_every_protocol_has_its_tapes():
    states = {(read(path)["example"], read(path)["state"]) for path in FILES}
    assert {(example.name, "complete") for example in EXAMPLES} <= states
    assert {state for _, state in states} == {"complete", "partial", "diverged"}
    assert {BY_NAME[name].protocol.kind for name, _ in states} == set(PROTOCOLS)


def test_written_afresh_they_would_be_the_same():
    assert sorted(goldens()) == [path.name for path in FILES]
    for name, data in goldens().items():
        assert data == read(FOLDER / name)


def test_another_format_is_refused(tmp_path):
    path = tmp_path / "new.json"
    path.write_text(json.dumps({"format": 99}))
    with pytest.raises(ValueError, match="format 99"):
        read(path)
