"""Who is dominated, and how much of a gap is recovered."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize, stats

from workflows.statistics.frontier import Priced, fieller, frontier, gap_recovered, price_of
from workflows.statistics.intervals import Interval


def test_who_is_dominated() -> None:
    rows = [
        Priced("cheap", 0.6, 1.0, Interval(0.55, 0.65)),
        Priced("dear", 0.8, 5.0, Interval(0.75, 0.85), Interval(4.5, 5.5)),
        Priced("worse", 0.7, 6.0, Interval(0.65, 0.74), Interval(5.6, 6.4)),
        Priced("close", 0.79, 6.0, Interval(0.74, 0.84), Interval(5.0, 7.0)),
        Priced("twin", 0.6, 1.0 + 1e-15),
        Priced("unpriced", 0.9, None),
        Priced("unscored", None, 0.1),
    ]
    found = {one.row.name: one for one in frontier(rows)}
    assert [name for name, one in found.items() if one.on_frontier] == ["cheap", "dear", "twin"]
    assert found["worse"].dominated_by == ("dear", "close")
    assert found["worse"].clearly == ("dear",)
    assert (found["close"].dominated_by, found["close"].clearly) == (("dear",), ())
    assert not found["unpriced"].comparable
    assert not found["unscored"].on_frontier
    assert frontier([]) == []


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=8))
def test_the_frontier_is_who_nobody_beats(drawn) -> None:
    rows = [Priced(str(k), a / 5, float(p)) for k, (a, p) in enumerate(drawn)]
    for (a, p), one in zip(drawn, frontier(rows), strict=True):
        beaten = any(b >= a and q <= p and (b, q) != (a, p) for b, q in drawn)
        assert one.on_frontier == (not beaten)


def test_a_price_is_a_mean_with_an_interval() -> None:
    found = price_of({"a": 1.0, "b": 2.0, "c": 4.5, "d": None})
    expected = stats.ttest_1samp([1.0, 2.0, 4.5], 0).confidence_interval(0.95)
    assert (found.mean, found.missing) == (2.5, 1)
    assert found.interval == pytest.approx((max(0.0, expected.low), expected.high), abs=1e-9)
    with pytest.raises(ValueError, match="cannot be"):
        price_of({"a": -1.0})


def test_fieller_holds_the_ratios_that_t_does_not_reject() -> None:
    generator = np.random.default_rng(2)
    bottom = generator.normal(1.0, 0.8, 40)
    top = 0.6 * bottom + generator.normal(0, 0.4, 40)
    found = fieller(list(top), list(bottom))
    assert found is not None

    def excess(ratio: float) -> float:
        return float(stats.ttest_1samp(top - ratio * bottom, 0).pvalue - 0.05)

    centre = float(top.mean() / bottom.mean())
    low = optimize.brentq(excess, centre - 3, centre, xtol=1e-12)
    high = optimize.brentq(excess, centre, centre + 3, xtol=1e-12)
    assert found == pytest.approx((low, high), abs=1e-9)


@pytest.mark.parametrize("values", [[0.5], [1.0, -1.0, 0.5, -0.5]], ids=["one", "no gap"])
def test_no_ratio_without_a_denominator(values) -> None:
    assert fieller(values, values) is None


Column = dict[str, float | None]


def columns(n: int = 60) -> tuple[Column, Column, Column]:
    alone: Column = {f"q{k}": float(k % 2) for k in range(n)}
    informed: Column = dict.fromkeys(alone, 1.0)
    protocol: Column = {q: 1.0 if k % 4 else 0.0 for k, q in enumerate(alone)}
    return protocol, alone, informed


def test_half_of_the_gap_is_recovered() -> None:
    found = gap_recovered(*columns())
    assert (found.recovered, found.gap) == pytest.approx((0.5, 0.5))
    assert found.interval is not None
    assert found.interval.low < 0.5 < found.interval.high
    assert (found.clusters, found.missing) == (60, 0)


def test_nothing_is_recovered_of_no_gap() -> None:
    protocol, alone, _ = columns()
    found = gap_recovered(protocol, alone, alone)
    assert (found.recovered, found.interval, found.gap) == (None, None, 0.0)
    unsure = {**alone, "q0": 1.0}
    found = gap_recovered(protocol, alone, unsure)
    assert found.recovered is None
    assert found.gap_interval is not None
    assert found.gap_interval.low <= 0.0


def test_a_cluster_counts_where_it_is_complete_for_all_three() -> None:
    protocol, alone, informed = columns()
    protocol["q1"] = None
    del informed["q5"]
    stories = {q: f"s{int(q[1:]) // 2}" for q in alone}
    found = gap_recovered(protocol, alone, informed, stories)
    assert (found.clusters, found.missing) == (28, 4)
    nothing = gap_recovered({"a": None}, {"a": 1.0}, {"a": 1.0})
    assert (nothing.gap, nothing.clusters, nothing.missing) == (None, 0, 1)
    one = gap_recovered({"a": 1.0}, {"a": 0.0}, {"a": 1.0})
    assert (one.recovered, one.gap) == (None, 1.0)
    assert not math.isinf(one.gap_interval.low if one.gap_interval else 0.0)
