"""Means of outcomes over clusters: the missing-data rule, and intervals against other lines."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from workflows.statistics.intervals import SCORES, Interval, mean_outcome, resampled_sums, wilson


def test_missing_is_not_wrong_and_is_bounded() -> None:
    found = mean_outcome({"a": 1.0, "b": 0.0, "c": 1.0, "d": None})
    assert found.mean == pytest.approx(2 / 3)
    assert (found.n, found.missing) == (3, 1)
    assert (found.interval, found.method) == (wilson(2, 3), "wilson")
    assert found.bounds == pytest.approx((2 / 4, 3 / 4))


def test_nothing_is_told_as_nothing() -> None:
    found = mean_outcome({"a": None})
    assert (found.mean, found.interval, found.bounds) == (None, None, (0.0, 1.0))
    assert mean_outcome({}).bounds is None
    one = mean_outcome({"a": 1.0, "b": 0.0}, {"a": "s", "b": "s"})
    assert (one.interval, one.method, one.clusters) == ((0.0, 1.0), "none", 1)


def test_few_clusters_take_t_on_the_linearised_ratio() -> None:
    values = {"a": 1.0, "b": 0.0, "c": 1.0, "d": 1.0, "e": 0.0, "f": 1.0}
    story = {"a": "x", "b": "x", "c": "x", "d": "y", "e": "z", "f": "z"}
    found = mean_outcome(values, story)
    mean = 4 / 6
    sums = [(2, 3), (1, 1), (1, 2)]
    error = math.sqrt(sum((s - c * mean) ** 2 for s, c in sums) * 3 / 2) / 6
    half = stats.t.ppf(0.975, 2) * error
    assert found.mean == pytest.approx(mean)
    assert (found.method, found.clusters) == ("t", 3)
    assert found.interval == pytest.approx((max(0, mean - half), min(1, mean + half)), abs=1e-9)


def quantile(drawn: list[float], share: float) -> float:
    """By linear interpolation between order statistics."""
    ordered, place = sorted(drawn), share * (len(drawn) - 1)
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])


@pytest.mark.parametrize("shares", [(0.0, 1.0), None], ids=["few distinct units", "all differ"])
def test_the_bootstrap_is_that_of_plain_loops_with_the_same_draws(shares) -> None:
    generator = random.Random(8)
    units = [
        [generator.choice(shares) if shares else generator.random() for _ in range(size)]
        for size in (generator.randint(1, 3) for _ in range(70))
    ]
    values = {f"{u:02}-{q}": v for u, unit in enumerate(units) for q, v in enumerate(unit)}
    found = mean_outcome(values, {name: name[:2] for name in values}, seed=4)
    draws = np.random.default_rng(4)
    sums = [(sum(unit), len(unit)) for unit in units]
    distinct = sorted(set(sums))
    if len(distinct) > 64:
        drawn = [[sums[place] for place in row] for row in draws.integers(0, 70, (10_000, 70))]
    else:
        often = [sums.count(one) / 70 for one in distinct]
        drawn = [
            [one for one, times in zip(distinct, row, strict=True) for _ in range(times)]
            for row in draws.multinomial(70, often, size=10_000)
        ]
    ratios = [sum(s for s, _ in row) / sum(c for _, c in row) for row in drawn]
    assert found.method == "bootstrap"
    assert found.interval == pytest.approx(
        (quantile(ratios, 0.025), quantile(ratios, 0.975)), abs=1e-9
    )


@pytest.mark.parametrize("units", [30, 12])
@pytest.mark.parametrize("share", [0.0, 1.0, 0.5])
def test_where_all_units_came_out_the_same_it_is_wilson_over_them(units, share) -> None:
    """Nothing right of 60 is no proof that nothing ever is."""
    inside = (1.0, 0.0) if share == 0.5 else (share, share)
    values = {f"{u}-{q}": inside[q] for u in range(units) for q in (0, 1)}
    found = mean_outcome(values, {name: name.partition("-")[0] for name in values})
    assert (found.mean, found.method) == (share, "wilson of units")
    assert found.interval == pytest.approx(wilson(share * units, units), abs=1e-9)
    alone = mean_outcome({f"{u}": 0.0 for u in range(30)})
    assert alone.method == "wilson"
    assert alone.interval is not None
    assert round(100 * alone.interval.high, 1) == 11.4


def test_many_clusters_are_resampled_whole() -> None:
    generator = random.Random(2)
    values, story = {}, {}
    for unit in range(40):
        easy = generator.random()
        for place in range(generator.randint(1, 5)):
            values[f"{unit}-{place}"] = float(generator.random() < easy)
            story[f"{unit}-{place}"] = str(unit)
    found = mean_outcome(values, story, seed=3)
    assert found.method == "bootstrap"
    assert found == mean_outcome(values, story, seed=3)
    groups: dict[str, list[float]] = {}
    for q, value in values.items():
        groups.setdefault(story[q], []).append(value)
    drawn = []
    for _ in range(10_000):
        chosen = generator.choices(list(groups.values()), k=len(groups))
        drawn.append(sum(map(sum, chosen)) / sum(map(len, chosen)))
    expected = np.quantile(drawn, [0.025, 0.975])
    assert found.interval == pytest.approx(tuple(expected), abs=0.01)
    assert found.interval is not None
    naive = wilson(sum(values.values()), len(values))
    assert found.interval.high - found.interval.low > naive.high - naive.low


@pytest.mark.parametrize("spread", [3, 500], ids=["few distinct rows", "many"])
def test_resamples_are_those_of_whole_rows(spread) -> None:
    generator = np.random.default_rng(1)
    rows = generator.integers(0, spread, (60, 2)).astype(float)
    drawn = resampled_sums(rows, 5)
    assert drawn.shape == (10_000, 2)
    assert np.array_equal(drawn, resampled_sums(rows, 5))
    # The sums of n draws have n times the mean and the variance of one.
    assert drawn.mean(axis=0) == pytest.approx(rows.sum(axis=0), rel=0.02)
    assert np.cov(drawn.T) == pytest.approx(60 * np.cov(rows.T, bias=True), rel=0.06, abs=60)


@given(st.lists(st.tuples(st.floats(0, 1), st.integers(0, 6)), min_size=1, max_size=30))
def test_an_interval_of_shares_lies_among_shares(drawn) -> None:
    values = {str(i): value for i, (value, _) in enumerate(drawn)}
    found = mean_outcome(values, {str(i): f"s{unit}" for i, (_, unit) in enumerate(drawn)})
    assert found.interval is not None
    assert found.mean is not None
    assert 0.0 <= found.interval.low <= found.mean + 1e-9
    assert found.mean - 1e-9 <= found.interval.high <= 1.0
    assert found.bounds == pytest.approx((found.mean, found.mean))


def test_scores_have_no_bounds() -> None:
    values = {"a": 40.0, "b": -3.0, "c": None}
    found = mean_outcome(values, limits=SCORES)
    expected = stats.ttest_1samp([40.0, -3.0], 0).confidence_interval(0.95)
    assert found.interval == pytest.approx((expected.low, expected.high), abs=1e-9)
    assert found.bounds == (-math.inf, math.inf)
    prices = mean_outcome({"a": 2.0, "b": 4.0}, limits=Interval(0.0, math.inf))
    assert prices.interval is not None
    assert prices.interval.low == 0.0
    with pytest.raises(ValueError, match="'a' is 40"):
        mean_outcome(values)
