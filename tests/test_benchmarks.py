"""The benchmarks run and write what they promise; how fast they are is not tested here."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.__main__ import NAMES, main
from benchmarks.b13 import heavy_modules
from benchmarks.measuring import RESULTS, Figure, Result


def check(path: Path, name: str, *, quick: bool) -> None:
    """Check one result file."""
    found = json.loads(path.read_text(encoding="utf-8"))
    assert (found["benchmark"], found["quick"]) == (name, quick)
    assert found["title"]
    assert found["persistence"]
    assert set(found["machine"]) == {"cpu", "cores", "python", "platform"}
    assert isinstance(found["code_revision"], str)
    assert any(figure["target"] is not None for figure in found["figures"])
    for figure in found["figures"]:
        assert figure["runs"], figure["name"]
        assert figure["min"] <= figure["median"] <= figure["max"]
        assert (figure["met"] is None) == (figure["target"] is None)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_quick_run_writes_its_json(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main([name, "--quick", "--out", str(tmp_path)])
    assert [file.name for file in tmp_path.iterdir()] == [f"{name}.json"]
    check(tmp_path / f"{name}.json", name, quick=True)
    assert name.upper() in capsys.readouterr().out


@pytest.mark.parametrize("path", sorted(RESULTS.glob("*.json")), ids=lambda path: path.stem)
def test_the_results_that_are_kept_are_whole(path: Path) -> None:
    check(path, path.stem, quick=False)


def test_a_missed_target_is_stated() -> None:
    figures = [
        Figure("cost", "us", [1.0, 9.0, 2.0], target=2.0),
        Figure("rate", "rows/s", [30_000.0, 10_000.0], target=20_001.0, bound="at least"),
        Figure("just so", "", [1.0]),
    ]
    assert [figure.met for figure in figures] == [True, False, None]
    assert figures[0].as_json() == {
        "name": "cost",
        "unit": "us",
        "runs": [1.0, 9.0, 2.0],
        "target": 2.0,
        "bound": "at most",
        "median": 2.0,
        "min": 1.0,
        "max": 9.0,
        "met": True,
    }
    table = Result("b0", "nothing", "no store", figures, ["a note"]).table().splitlines()
    assert table[0] == "B0  nothing  [no store]"
    assert table[2].split() == ["cost,", "us", "<=", "2", "2", "1", "-", "9", "3", "yes"]
    assert table[3].endswith("NO")
    assert table[4].split()[-1] == "1"
    assert table[5] == "  a note"


def test_heavy_libraries_are_seen() -> None:
    assert heavy_modules("import numpy") == ["numpy"]
    assert heavy_modules("import sys, json") == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(["b99"], "unknown: b99"), (["--runs", "0"], "--runs must be"), (["--quick"], "--out")],
)
def test_wrong_arguments_are_refused(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(arguments)
    assert said in capsys.readouterr().err
