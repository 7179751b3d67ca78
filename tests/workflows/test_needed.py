"""How many questions a comparison needs, beside a computation of its own."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from scipy.stats import binom

from protocols.errors import Mistake
from protocols.question import Question
from tests.workflows.making import recorded_row, write_lines
from tests.workflows.terminal import moot
from workflows.comparing.findings import Pair
from workflows.forecast.needed import SUPPOSED, needed
from workflows.statistics.paired import paired_difference


def questions(count: int, unit: int = 1) -> list[Question]:
    return [
        Question(id=f"q{n}", text="?", options=("a", "b"), cluster=f"c{n // unit}")
        for n in range(count)
    ]


def naive_power(n: int, difference: float, discordance: float, alpha: float) -> float:
    """Power of the exact test by summing over all tables, with scipy's binomials alone."""
    favour = 0.5 + difference / (2 * discordance)
    power = 0.0
    for k in range(n + 1):
        rejecting = [c for c in range(k + 1) if 2 * c > k and 2 * binom.sf(c - 1, k, 0.5) <= alpha]
        if rejecting:
            power += binom.pmf(k, n, discordance) * binom.sf(min(rejecting) - 1, k, favour)
    return float(power)


@pytest.mark.parametrize(
    ("difference", "discordance", "compared"), [(0.2, 0.3, 2), (0.3, 0.5, 3), (0.25, 0.25, 4)]
)
def test_power_is_reached_and_with_fewer_by_one_is_not(
    difference: float, discordance: float, compared: int
) -> None:
    found = needed(difference, questions(5), compared, discordance=discordance)
    (one,) = found.needs
    assert found.pairs == compared * (compared - 1) / 2
    for count, alpha in ((one.one_pair, 0.05), (one.family, 0.05 / found.pairs)):
        assert count is not None
        assert naive_power(count, difference, discordance, alpha) >= 0.8
        assert naive_power(count - 1, difference, discordance, alpha) < 0.8


def test_without_anything_known_several_are_supposed() -> None:
    found = needed(0.15, questions(3), 2)
    assert [one.discordance for one in found.needs] == [d for d in SUPPOSED if d >= 0.15]
    assert found.source == "supposed"
    assert [one.discordance for one in needed(0.8, questions(3), 2).needs] == [0.8]


def test_an_earlier_run_tells_how_many_differ() -> None:
    def pair(first: str, values: Sequence[float]) -> Pair:
        given = {f"q{n}": value for n, value in enumerate(values)}
        return Pair(first, "b", paired_difference(given, dict.fromkeys(given, 0.0)), 1.0)

    earlier = [(pair("a", [1, 0, 0, 0]), 1.0), (pair("c", [1, 1, 0, 0]), 2.0)]
    found = needed(0.3, questions(4), 3, earlier=earlier)
    (one,) = found.needs
    assert (one.discordance, one.design_effect) == (0.5, 2.0)
    assert "c and b" in found.source
    (plain,) = needed(0.3, questions(4), 3, discordance=0.5).needs
    assert one.one_pair == 2 * (plain.one_pair or 0)


def test_units_are_told() -> None:
    found = needed(0.1, questions(12, unit=4), 2)
    assert (found.questions, found.clusters, found.worst_design_effect) == (12, 3, 4.0)
    assert json.loads(json.dumps(found.as_json()))["clusters"] == 3


def test_a_difference_that_cannot_be_has_no_number() -> None:
    (one,) = needed(0.2, questions(1), 2, discordance=0.1).needs
    assert one.one_pair is one.family is None


@pytest.mark.parametrize(
    ("figures", "message"),
    [
        ({"difference": 0.0}, "--difference 0: write a share"),
        ({"difference": 5.0}, "--difference 5"),
        ({"difference": 0.1, "discordance": -1.0}, "--discordance -1"),
        ({"difference": 0.1, "compared": 1}, "two protocols or more"),
    ],
)
def test_what_cannot_be_is_said(figures: dict[str, float], message: str) -> None:
    given: dict[str, Any] = {"compared": 2, **figures}
    difference, compared = given.pop("difference"), given.pop("compared")
    with pytest.raises(Mistake, match=message):
        needed(difference, questions(2), compared, **given)


def test_the_command_says_what_it_supposed(tmp_path: Path) -> None:
    file = write_lines(tmp_path / "q.jsonl", [recorded_row(n) for n in range(6)])
    cast = [{"kind": "direct_answer", "name": n, "cast": {"judge": n}} for n in ("good", "bad")]
    workflow = tmp_path / "w.yaml"
    store = str(tmp_path / "w.db")
    workflow.write_text(
        json.dumps({"questions": {"path": file}, "protocols": cast, "store": store})
    )
    told = moot("estimate", str(workflow), "--difference", "0.05")
    assert told.code == 0, told.err
    text = " ".join(told.out.split())
    assert "To show a difference of 5 points" in text
    assert "80 % power" in text
    assert "family of 1 pair " in text
    assert "is supposed" in text
    as_json = moot("estimate", str(workflow), "--difference", "0.05", "--json").json
    assert as_json["needed"]["pairs"] == 1
    assert moot("estimate", str(workflow), "--json").json["needed"] is None
    assert moot("run", str(workflow), "--json").code == 0
    measured = moot("estimate", str(workflow), "--difference", "0.05", "--json").json["needed"]
    assert measured["needs"][0]["discordance"] == 1.0
    assert measured["source"].startswith("measured")
    wrong = moot("estimate", str(workflow), "--discordance", "0.2")
    assert (wrong.code, "belongs to --difference" in wrong.message) == (2, True)
