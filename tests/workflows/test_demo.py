"""The demo: a real result from a clone, twice, and every command that it names works."""

from __future__ import annotations

import shlex

import pytest

from tests.workflows.terminal import moot
from workflows.demo import commands

pytestmark = pytest.mark.slow


def test_the_demo_and_what_it_says_to_try_next(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    first = moot("demo")
    assert first.code == 0, first.err
    for words in (
        "1/2  Skills",
        "symbolic_moe",
        "plurality",
        "best_single",
        "random",
        "oracle",
        "could have shown a difference of",
        "2/2  Oversight",
        "not language models",
        "chance",
        "Replayed 1,800 sessions: identical, 0 model calls,",
        "Everything is in demo.db. Try next:",
    ):
        assert words in first.out
    assert "run skills-" in first.err

    again = moot("demo")
    assert again.code == 0
    assert "is there already and complete: all 1,600 sessions are kept" in again.err
    tables = [out.partition("Replayed")[0] for out in (first.out, again.out)]
    assert tables[0] == tables[1]

    found = commands("demo.db")
    assert len(found) == 3
    for line, _ in found:
        assert line in first.out
        assert line.startswith("moot ")
        done = moot(*shlex.split(line)[1:])
        assert done.code == 0, done.err


def test_the_demo_as_json(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = moot("demo", "--store", "other.db", "--json")
    assert done.code == 0
    assert [run["sessions"] for run in done.json["runs"]] == [1600, 200]
    assert [replay["identical"] for replay in done.json["replays"]] == [1600, 200]
    assert done.json["store"] == "other.db"
