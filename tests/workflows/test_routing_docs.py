"""What docs/routing.md shows can be typed: its commands on small parts of the same data."""

from __future__ import annotations

import gzip
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from protocols.routing.rules import RULES
from tests.workflows.making import DATA
from tests.workflows.terminal import moot
from workflows.configuration import load_workflow

PAGE = Path(__file__).resolve().parents[2] / "docs" / "routing.md"
TEXT = PAGE.read_text(encoding="utf-8")
ROWS = [spec.name or spec.kind for spec in load_workflow("routing").protocols]
JUDGED = "questions.path=judge.jsonl"


def block(language: str) -> str:
    (found,) = re.findall(rf"^```{language}\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
    return str(found)


def commands() -> list[list[str]]:
    return [shlex.split(line)[1:] for line in block("sh").splitlines()]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def halve(source: str, salt: str = "") -> tuple[int, int]:
    """Write the two halves as the page does; returns their lengths."""
    Path("all.jsonl").write_bytes(gzip.decompress((DATA / f"{source}.jsonl.gz").read_bytes()))
    flags = [salt] if salt else []
    subprocess.run([sys.executable, "-c", block("python"), "all.jsonl", *flags], check=True)
    learn, judge = (
        Path(name).read_text(encoding="utf-8").splitlines()
        for name in ("learn.jsonl", "judge.jsonl")
    )
    assert sorted([*learn, *judge]) == sorted(
        Path("all.jsonl").read_text(encoding="utf-8").splitlines()
    )
    return len(learn), len(judge)


def test_the_library_and_the_page_name_every_rule_and_every_row() -> None:
    specs = load_workflow("routing").protocols
    rules = {getattr(getattr(spec.build(), "rule", None), "rule", spec.kind) for spec in specs}
    assert rules >= set(RULES)
    first, second, third = (re.findall(r"^\| (`[^|]*) \|", part, re.MULTILINE) for part in (
        TEXT.partition("## What each")[2].partition("## What they gain")[0],
        TEXT.partition("## What they gain")[2].partition("## What it takes")[0],
        TEXT.partition("## What it takes")[2],
    ))  # fmt: skip
    assert sorted(re.findall(r"`(\w+)`", " ".join(first))) == sorted(ROWS[1:])
    assert re.findall(r"`(\w+)`", " ".join(second)) == [*ROWS, "best_single", "random", "oracle"]
    assert re.findall(r"`(\w+)`", " ".join(third)) == ROWS[1:]


@pytest.mark.parametrize(
    "source", ["gsm8k", *(pytest.param(s, marks=pytest.mark.slow) for s in ("bbh", "llmrouter9"))]
)
def test_the_commands_on_small_halves(here: Path, source: str) -> None:
    learned, judged = halve(source)
    assert min(learned, judged) > 10
    assert halve(source, "1") != (0, 40)
    halve(source)
    small = ["--store", "small.db"]
    (run,) = (one for one in commands() if JUDGED in one)
    done = moot(*run, *small, "--json")
    assert done.code == 0, done.err
    rows = {row["name"]: row for row in done.json["rows"]}
    assert list(rows) == [*ROWS, "best_single", "random", "oracle"]
    assert sum(row["selected"] for row in rows.values()) == 1
    (selected,) = (row for row in rows.values() if row["selected"])
    assert selected["n"] == judged
    assert rows["best_expert"]["accuracy"] == rows["best_single"]["accuracy"]
    assert rows["best_expert"]["diff_best_single"]["mean"] == 0.0
    assert rows["random_expert"]["cross_validated"] is None
    if source == "llmrouter9":  # correctness alone: there is nothing to vote on
        assert {rows[name]["n"] for name in ("plurality", "best_three", "cascade")} == {0}
        assert rows["plurality"]["failed"] == judged
    else:
        assert all(row["failed"] == 0 for row in rows.values())
        assert rows["best_single"]["diff_plurality"] is not None
    for command in commands():
        if command[0] in ("report", "show"):
            assert moot(*command, *small).code == 0
    assert Path("recruited.png").stat().st_size > 1000


@pytest.mark.slow
def test_the_packed_run_selects_a_rule_that_beats_the_best_single_expert(here: Path) -> None:
    done = moot(*commands()[0], "--store", "packed.db", "--json")
    assert done.code == 0, done.err
    (selected,) = (row for row in done.json["rows"] if row["selected"])
    assert selected["diff_best_single"]["ci_low"] > 0.0
