"""Unpaired and crossed comparisons against scipy, statsmodels and plain loops."""

from __future__ import annotations

import random
from collections import defaultdict

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.proportion import proportions_ztest

from workflows.statistics.unpaired import (
    Observed,
    clustered_difference,
    two_proportions,
    two_way_difference,
)


def crossed(seed: int, n: int = 90, judges: int = 9, stories: int = 14) -> list[Observed]:
    """Observations that share judges and stories, in unequal numbers."""
    generator = random.Random(seed)
    skill = [generator.random() for _ in range(judges)]
    easy = [generator.random() for _ in range(stories)]
    found = []
    for _ in range(n):
        judge = min(generator.randrange(judges), generator.randrange(judges))
        story = generator.randrange(stories)
        value = float(generator.random() < (skill[judge] + easy[story]) / 2)
        found.append(Observed(value, generator.random() < 0.6, f"j{judge}", f"s{story}"))
    return found


@given(st.integers(1, 80), st.integers(1, 80), st.floats(0, 1), st.floats(0, 1))
def test_two_proportions_are_those_of_the_libraries(n, m, share, other) -> None:
    right, wrong = round(share * n), round(other * m)
    found = two_proportions(right, n, wrong, m)
    table = [[right, n - right], [wrong, m - wrong]]
    assert found.difference == pytest.approx(right / n - wrong / m, abs=1e-12)
    if 0 < right + wrong < n + m:
        for p, yates in ((found.p, False), (found.p_yates, True)):
            assert p == pytest.approx(stats.chi2_contingency(table, correction=yates)[1], abs=1e-9)
        assert found.p == pytest.approx(proportions_ztest([right, wrong], [n, m])[1], abs=1e-9)
    else:
        assert (found.p, found.p_yates) == (1.0, 1.0)


@pytest.mark.parametrize("counts", [(1, 0, 1, 2), (3, 2, 1, 2), (0, 1, 1, 0), (-1, 2, 0, 1)])
def test_groups_that_cannot_be(counts) -> None:
    with pytest.raises(ValueError, match="cannot be compared"):
        two_proportions(*counts)


@pytest.mark.parametrize("seed", range(6))
def test_two_way_errors_are_statsmodels(seed) -> None:
    """Its covariance of two groups corrects each of the three parts by its own number."""
    observed = crossed(seed)
    values = np.array([one.value for one in observed])
    design = sm.add_constant(np.array([float(one.first) for one in observed]))
    codes = [
        np.unique([getattr(one, name) for one in observed], return_inverse=True)[1]
        for name in ("row", "column")
    ]
    fitted = sm.OLS(values, design).fit(
        cov_type="cluster", cov_kwds={"groups": np.stack(codes, axis=1), "use_correction": True}
    )
    found = two_way_difference(observed)
    assert found.difference == pytest.approx(fitted.params[1], abs=1e-9)
    assert found.error == pytest.approx(fitted.bse[1], abs=1e-9)
    assert not found.one_way
    degrees = min(len(set(codes[0])), len(set(codes[1]))) - 1
    half = stats.t.ppf(0.975, degrees) * fitted.bse[1]
    assert found.degrees == degrees
    assert found.interval == pytest.approx(
        (found.difference - half, found.difference + half), abs=1e-9
    )


def test_two_way_errors_by_plain_loops() -> None:
    """The sandwich of Cameron, Gelbach and Miller, written out."""
    observed = crossed(11)
    n, own = len(observed), sum(one.first for one in observed)
    mean = [
        sum(one.value for one in observed if one.first is side) / (own if side else n - own)
        for side in (False, True)
    ]
    bread = np.linalg.inv(np.array([[n, own], [own, own]], dtype=float))

    def part(name) -> np.ndarray:
        sums: dict[object, np.ndarray] = defaultdict(lambda: np.zeros(2))
        for one in observed:
            residual = one.value - mean[one.first]
            sums[name(one)] += residual * np.array([1.0, float(one.first)])
        meat = sum(np.outer(v, v) for v in sums.values())
        groups = len(sums)
        return groups / (groups - 1) * (n - 1) / (n - 2) * bread @ meat @ bread

    total = (
        part(lambda one: one.row)
        + part(lambda one: one.column)
        - part(lambda one: (one.row, one.column))
    )
    found = two_way_difference(observed)
    assert found.error == pytest.approx(total[1, 1] ** 0.5, abs=1e-9)


def test_a_variance_that_is_not_positive_is_told() -> None:
    square = [
        Observed(value, first, row, column)
        for value, first, row, column in (
            *((1.0, True, "a", "x"), (0.0, True, "a", "y")),
            *((0.0, True, "b", "x"), (1.0, True, "b", "y")),
            *((1.0, False, "a", "x"), (0.0, False, "a", "y")),
            *((0.0, False, "b", "x"), (1.0, False, "b", "y")),
        )
    ]
    found = two_way_difference(square)
    assert found.one_way
    assert (found.error, found.degrees) == (0.0, 1)


def test_one_judge_has_no_interval() -> None:
    observed = [Observed(float(k % 2), k < 3, "j", f"s{k}") for k in range(6)]
    assert two_way_difference(observed).interval is None
    assert clustered_difference(observed).interval is None
    with pytest.raises(ValueError, match="observations of both"):
        clustered_difference(observed[:3])
    with pytest.raises(ValueError, match="observations of both"):
        two_way_difference(observed[3:])


def test_judges_are_resampled_whole() -> None:
    observed = crossed(3)
    found = clustered_difference(observed, seed=9)
    assert found == clustered_difference(observed, seed=9)
    assert found.interval != clustered_difference(observed, seed=10).interval
    assert (found.clusters, found.few, found.left_out) == (9, True, 0)
    by_judge: dict[str, list[Observed]] = defaultdict(list)
    for one in observed:
        by_judge[one.row].append(one)
    generator, drawn = random.Random(1), []
    for _ in range(10_000):
        chosen = [o for j in generator.choices(list(by_judge), k=9) for o in by_judge[j]]
        sides = [[o.value for o in chosen if o.first is side] for side in (True, False)]
        if all(sides):
            drawn.append(sum(sides[0]) / len(sides[0]) - sum(sides[1]) / len(sides[1]))
    expected = np.quantile(drawn, [0.025, 0.975])
    assert found.interval == pytest.approx(tuple(expected), abs=0.015)


def test_judges_are_resampled_as_in_plain_loops_with_the_same_draws() -> None:
    observed = crossed(3)
    judges = sorted({one.row for one in observed})
    sums = sorted(
        tuple(
            total
            for side in (True, False)
            for own in ([o.value for o in observed if o.row == judge and o.first is side],)
            for total in (sum(own), float(len(own)))
        )
        for judge in judges
    )
    distinct = sorted(set(sums))
    often = [sums.count(one) / len(judges) for one in distinct]
    drawn = []
    for row in np.random.default_rng(9).multinomial(len(judges), often, size=10_000):
        totals = [0.0] * 4
        for one, times in zip(distinct, row, strict=True):
            totals = [total + times * value for total, value in zip(totals, one, strict=True)]
        if totals[1] and totals[3]:
            drawn.append(totals[0] / totals[1] - totals[2] / totals[3])
    found = clustered_difference(observed, seed=9)
    expected = np.quantile(drawn, [0.025, 0.975])
    assert found.interval == pytest.approx(tuple(expected), abs=1e-9)


def test_resamples_without_one_of_the_two_are_counted() -> None:
    observed = [Observed(1.0, True, "a", "s"), *[Observed(0.0, False, f"{k}", "s") for k in "bc"]]
    found = clustered_difference(observed)
    # A resample of three judges lacks a with (2/3)**3 and has nobody else with (1/3)**3.
    assert found.left_out == pytest.approx(10_000 * (8 / 27 + 1 / 27), rel=0.05)
    assert found.interval == pytest.approx((1.0, 1.0))
