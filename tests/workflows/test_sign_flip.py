"""The sign-flip test, the interval that inverts it, and Holm's adjustment of both."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

from workflows.statistics.sign_flip import (
    holm,
    holm_adjusted,
    holm_sizes,
    sign_flip_interval,
    sign_flip_p,
)

THOUSANDTHS = st.integers(1, 1000).flatmap(lambda n: st.sampled_from([-n / 1000, n / 1000]))
DIFFERENCES = st.lists(st.sampled_from([-1, -0.5, -1 / 3, 0, 0.2, 0.7, 1]), max_size=9)


@given(st.integers(0, 20), st.integers(0, 20), st.integers(0, 200))
def test_on_single_outcomes_it_is_exact_mcnemar(wins: int, losses: int, same: int) -> None:
    if wins + losses > 20:
        losses = 20 - wins
    expected = mcnemar([[same, wins], [losses, 0]], exact=True).pvalue if wins + losses else 1.0
    found = sign_flip_p([1.0] * wins + [0.0] * same + [-1.0] * losses)
    assert found == pytest.approx(expected, abs=1e-9)


@given(st.integers(21, 80), st.integers(0, 400), st.integers(0, 9))
def test_many_single_outcomes_are_drawn_near_it(n: int, same: int, seed: int) -> None:
    wins = n * 2 // 3
    found = sign_flip_p([1.0] * wins + [-1.0] * (n - wins) + [0.0] * same, seed=seed)
    assert found == pytest.approx(stats.binomtest(wins, n).pvalue, abs=0.01)


def test_drawn_bits_and_drawn_counts_give_the_same_test() -> None:
    generator = np.random.default_rng(6)
    values = generator.normal(0.2, 1, 60)
    repeated = np.repeat([0.5, -0.25, 1.0], [40, 35, 3])
    for data in (values, repeated):
        signs = generator.choice([-1.0, 1.0], (200_000, data.size))
        expected = np.mean(np.abs(signs @ data) >= abs(data.sum()) - 1e-9)
        assert sign_flip_p(list(data)) == pytest.approx(expected, abs=0.006)


def p_of_mean(differences: list[float], mean: float) -> float:
    """The test of another mean than 0, by all patterns."""
    moved = [d - mean for d in differences]
    observed = abs(sum(moved))
    sums = [
        abs(sum(s * d for s, d in zip(signs, moved, strict=True)))
        for signs in itertools.product((1, -1), repeat=len(moved))
    ]
    return sum(total >= observed - 1e-9 for total in sums) / len(sums)


@given(
    st.lists(THOUSANDTHS, min_size=6, max_size=8),
    st.sampled_from([0.05, 0.1, 0.2]),
)
def test_the_interval_holds_the_means_that_are_not_rejected(differences, size) -> None:
    low, high = sign_flip_interval(differences, size, limit=math.inf)
    for end, outwards in ((low, -1), (high, 1)):
        if math.isinf(end):
            assert p_of_mean(differences, outwards * 1e3) > size
        else:
            if high - low > 1e-5:  # else all differences are the same
                assert p_of_mean(differences, end - outwards * 1e-6) > size
            assert p_of_mean(differences, end + outwards * 1e-5) <= size + 1e-9


@given(st.lists(THOUSANDTHS, min_size=6, max_size=7), st.sampled_from([0.05, 0.1, 0.2]))
def test_its_ends_are_where_the_test_of_a_mean_turns(differences, size) -> None:
    """By the p value between any two means at which a pattern begins or ends to be as extreme."""
    turns = {0.0}
    for signs in itertools.product((True, False), repeat=len(differences)):
        for side in (True, False):
            own = [d for d, sign in zip(differences, signs, strict=True) if sign is side]
            turns |= {sum(own) / len(own)} if own else set()
    ordered = sorted(turns)
    flips = np.array([*itertools.product((1, -1), repeat=len(differences))])
    between = [*itertools.pairwise([ordered[0] - 1, *ordered, ordered[-1] + 1])]
    moved = np.array(differences)[:, np.newaxis] - [(low + high) / 2 for low, high in between]
    p_values = (np.abs(flips @ moved) >= np.abs(moved.sum(axis=0)) - 1e-9).mean(axis=0)
    kept = [
        (low, high)
        for (low, high), p in zip(between, p_values, strict=True)
        if high - low > 1e-8 and p > size
    ]
    found = sign_flip_interval(differences, size, limit=math.inf)
    if kept and kept[0][0] >= ordered[0] and kept[-1][1] <= ordered[-1]:
        assert found == pytest.approx((kept[0][0], kept[-1][1]), abs=1e-8)
    elif kept:
        assert found == (-math.inf, math.inf)


@given(st.lists(THOUSANDTHS, max_size=40), st.randoms(use_true_random=False))
def test_neither_order_nor_which_is_first_matters(differences, shuffler) -> None:
    low, high = sign_flip_interval(differences, 0.2)
    again = shuffler.sample(differences, len(differences))
    assert sign_flip_p(again) == sign_flip_p(differences)
    assert sign_flip_interval(again, 0.2) == (low, high)
    turned = [-d for d in differences]
    assert sign_flip_p(turned) == sign_flip_p(differences)
    assert sign_flip_interval(turned, 0.2) == (-high, -low)


def test_drawn_patterns_are_those_of_plain_loops_with_the_same_draws() -> None:
    """Eight signs from each drawn byte, the lowest bit first; where it is 0 one is kept."""
    data = [float(d) for d in np.random.default_rng(2).normal(0.2, 1, 24)]
    assert sum(data) > 0
    ordered, draws = sorted(data), np.random.default_rng(6)
    sums = np.zeros(100_000)
    for start in range(0, 24, 8):
        drawn = draws.integers(0, 256, 100_000)
        for place, value in enumerate(ordered[start : start + 8]):
            sums += np.where(drawn >> place & 1, -value, value)
    hits = sum(abs(total) >= abs(sum(data)) - 1e-9 for total in sums.tolist())
    assert sign_flip_p(data, seed=6) == pytest.approx((1 + hits) / 100_001, abs=1e-9)


def test_zeros_count_for_every_mean_but_zero() -> None:
    differences = [1.0, 1.0, 1.0, -1.0, *[0.0] * 7]
    low, high = sign_flip_interval(differences, 0.1)
    for end, outwards in ((low, -1), (high, 1)):
        assert p_of_mean(differences, end - outwards * 0.02) > 0.1 - 0.01
        assert p_of_mean(differences, end + outwards * 0.02) < 0.1 + 0.01
    assert sign_flip_interval(differences, 0.1) == (low, high)


def test_with_many_clusters_it_is_near_students_t() -> None:
    data = list(np.random.default_rng(3).normal(0.3, 1.0, 400))
    expected = stats.ttest_1samp(data, 0).confidence_interval(0.95)
    found = sign_flip_interval(data, 0.05, limit=math.inf)
    assert found == pytest.approx((expected.low, expected.high), abs=0.01)
    binary = [1.0] * 60 + [-1.0] * 40 + [0.0] * 300
    expected = stats.ttest_1samp(binary, 0).confidence_interval(0.95)
    assert sign_flip_interval(binary) == pytest.approx((expected.low, expected.high), abs=0.005)


@given(DIFFERENCES, st.sampled_from([0.01, 0.05, 0.2, 0.25, 0.5]), st.integers(0, 3))
def test_an_interval_excludes_zero_exactly_where_the_test_rejects(differences, size, seed) -> None:
    low, high = sign_flip_interval(differences, size, seed=seed)
    assert (low > 0 or high < 0) == (sign_flip_p(differences, seed=seed) <= size)


@pytest.mark.parametrize("differences", [[], [0.4], [1.0] * 5, [0.0] * 60])
def test_too_few_clusters_exclude_nothing(differences) -> None:
    low, high = sign_flip_interval(differences)
    assert low <= 0 <= high
    if len(differences) < 60:
        assert (low, high) == (-1.0, 1.0)
        assert sign_flip_interval(differences, limit=math.inf) == (-math.inf, math.inf)
    with pytest.raises(ValueError, match="between 0 and 1"):
        sign_flip_interval(differences, 0.0)


P_VALUES = st.lists(st.floats(1e-6, 1).map(lambda v: round(v**3, 4)), min_size=1, max_size=12)


@given(P_VALUES)
def test_holm_is_statsmodels(p_values) -> None:
    reject, adjusted, _, _ = multipletests(p_values, alpha=0.05, method="holm")
    assert holm(p_values) == pytest.approx(list(adjusted), abs=1e-9)
    sizes = holm_sizes(p_values, 0.05)
    rejected = [p <= size * (1 + 1e-12) for p, size in zip(p_values, sizes, strict=True)]
    assert rejected == [bool(one) for one in reject]
    # A smaller p value is never tested at a larger size.
    ordered = [size for _, size in sorted(zip(p_values, sizes, strict=True))]
    assert ordered == sorted(ordered)
    assert ordered[0] == pytest.approx(0.05 / len(p_values))


@given(
    st.lists(
        st.tuples(st.integers(0, 14), st.integers(0, 14), st.integers(0, 40)),
        min_size=1,
        max_size=6,
    ),
    st.sampled_from([0.05, 0.2]),
)
def test_holms_intervals_exclude_zero_exactly_where_the_adjusted_p_rejects(counts, error) -> None:
    families = [[1.0] * w + [-1.0] * x + [0.0] * s for w, x, s in counts]
    for differences, one in zip(families, holm_adjusted(families, error=error), strict=True):
        excluded = one.interval.low > 0 or one.interval.high < 0
        assert excluded == (one.p <= error)
        if differences:
            assert one.interval.low - 1e-9 <= np.mean(differences) <= one.interval.high + 1e-9


def test_a_step_further_down_is_tested_at_a_larger_size() -> None:
    families = [[1.0] * 18, [1.0] * 12 + [-1.0], [1.0] * 3]
    first, second, third = holm_adjusted(families)
    assert [one.size for one in (first, second, third)] == pytest.approx([0.05 / 3, 0.025, 0.05])
    assert first.interval.low > 0
    assert second.interval.low > 0
    assert third.interval == (-1.0, 1.0)
    assert holm_adjusted([]) == []
