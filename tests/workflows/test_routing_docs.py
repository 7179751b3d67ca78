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
from workflows.settings.configuration import load_workflow

PAGE = Path(__file__).resolve().parents[2] / "docs" / "routing.md"
TEXT = PAGE.read_text(encoding="utf-8")
ROWS = [spec.name or spec.kind for spec in load_workflow("routing").protocols]
JUDGED = "questions.path=judge.jsonl"
_POINTS = "[+\N{MINUS SIGN}][0-9.]+"
CELL = re.compile(
    "\N{EN DASH}|\\([0-9.]+, n = [0-9]+\\)|(\\*\\*)?[0-9.]+(\\*\\*)?"
    rf"( {_POINTS} \[{_POINTS}, {_POINTS}\])?"
)
"""A figure of the table of gains: none, few questions alone, or accuracy and difference."""


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
        TEXT.partition("## What they gain")[2].partition("## Selection")[0],
        TEXT.partition("## What it takes")[2].partition("**Strong and weak**")[0],
    ))  # fmt: skip
    assert sorted(re.findall(r"`(\w+)`", " ".join(first))) == sorted(ROWS[1:])
    assert re.findall(r"`(\w+)`", " ".join(second)) == [*ROWS, "best_single", "random", "oracle"]
    assert re.findall(r"`(\w+)`", " ".join(third)) == ROWS[1:]


def cells(heading: str, until: str) -> list[list[str]]:
    """Return the rows of the first table of a section, its header first."""
    part = TEXT.partition(heading)[2].partition(until)[0]
    lines = [line for line in part.splitlines() if line.startswith("|")]
    found = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert all(len(row) == len(found[0]) for row in found), heading
    return [row for row in found if not set(row[0]) <= {"-"}]


def test_what_the_page_says_of_a_rule_is_what_the_workflow_does() -> None:
    header, *lines = cells("## What each", "## What they gain")
    assert header == ["row", "rule", "experts a question", "goes by", "needs"]
    told = {line[0].strip("`"): line[1:] for line in lines}
    assert len(told) == len(lines)
    for spec in load_workflow("routing").protocols[1:]:
        rule, experts, _, needs = told[spec.name or spec.kind]
        built = spec.build()
        assert rule.strip("`") == getattr(getattr(built, "rule", None), "rule", built.kind)
        reads = {"evidence", "profile"} & {*built.assets()}
        assert {name for name in ("evidence", "profile") if name in needs} == reads, spec.name
        assert ("all questions at once" in needs) == ("teams" in built.assets()), spec.name
        most = built.parameters()["k"]
        if most is not None:
            assert experts.split()[-1] in (str(most), "mean"), spec.name


def numbers(cell: str) -> list[float]:
    return [float(n.replace(",", "")) for n in re.findall(r"\d[\d,]*\.?\d*", cell)]


def test_the_tables_of_figures_agree_with_one_another() -> None:
    """The same figure stands in several places: in short, by rule, by data."""
    header, *lines = cells("## What they gain", "What this says")
    assert len(header) == 6
    gains = {line[0].strip("`"): line[1:] for line in lines}
    for number, line in enumerate(cells("## In short", "## What each")[1:]):
        single, one, several, vote = line[1:5]
        assert numbers(single) == numbers(gains["best_single"][number])
        assert numbers(vote)[:1] == numbers(gains["plurality"][number])[:1]
        for cell in (one, several):
            for name, value in re.findall(r"`(\w+)` ([\d.]+)", cell):
                assert numbers(gains[name][number])[0] == float(value), name
    for line in lines:
        for cell in line[1:]:
            assert CELL.fullmatch(cell), cell
    assert [sum("**" in line[n] for line in lines) for n in range(1, 6)] == [1] * 5


def test_every_command_and_option_that_the_page_shows_is_there() -> None:
    shown = [shlex.split(line)[1:] for line in block("bash").splitlines()]
    assert len(shown) == 4
    for words in [*shown, *commands()]:
        verb = words[:2] if words[0] == "experts" else words[:1]
        told = moot(*verb, "--help")
        assert told.code == 0, words
        for flag in (word for word in words if word.startswith("--")):
            assert flag in told.out, words


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
    figures = moot("report", "routing", *small, "--json").json["routing"]
    header = cells("## What it takes", "**Strong and weak**")[0]
    keys = ["name", "calls", "price", "evenness", "picks_right"]
    assert header == [
        *("row", "calls", "characters", "evenness of the load"),
        "picks a right expert where there is one",
    ]
    assert all(key in rule for rule in figures["rules"] for key in keys)
    assert [rule["name"] for rule in figures["rules"]] == ROWS[1:]
    assert Path("recruited.png").stat().st_size > 1000


@pytest.mark.slow
def test_the_packed_run_selects_a_rule_that_beats_the_best_single_expert(here: Path) -> None:
    done = moot(*commands()[0], "--store", "packed.db", "--json")
    assert done.code == 0, done.err
    (selected,) = (row for row in done.json["rows"] if row["selected"])
    assert selected["diff_best_single"]["ci_low"] > 0.0
