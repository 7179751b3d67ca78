"""ECE, Brier and log2 score against computations by hand and by other lines."""

from __future__ import annotations

from math import floor, log2

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import brier_score_loss

from workflows.statistics.calibration import (
    Forecast,
    brier_parts,
    brier_score,
    calibrated_ece,
    expected_calibration_error,
    log2_score,
    reliability_table,
)
from workflows.statistics.intervals import wilson


def pair(p: float, right: int = 0) -> Forecast:
    return Forecast((p, 1 - p), right)


@pytest.mark.parametrize(
    ("forecasts", "ece"),
    [
        ([pair(1.0)], 0.0),
        ([pair(1.0, 1)], 1.0),
        ([pair(0.5), pair(0.5, 1)], 0.0),
        ([pair(0.7), pair(0.7), pair(0.7, 1)], abs(2 / 3 - 0.7)),
        ([pair(0.6), pair(0.59, 1)], (0.4 + 0.59) / 2),
        ([pair(0.1 + 0.5), pair(0.65, 1)], abs(0.4 - 0.65) / 2),
        ([pair(0.95), pair(1.0, 1)], abs(0.05 - 1.0) / 2),
        ([pair(0.3, 1), pair(0.3)], abs(0.3 - 0.7) / 2),
        ([Forecast((0.4, 0.4, 0.2), 1)], abs(0.5 - 0.4)),
        ([Forecast((0.4, 0.4, 0.2), 2)], 0.4),
        ([pair(0.5 + 4e-7)], 0.0),
    ],
    ids=[
        *("sure and right", "sure and wrong", "ties count a half", "one bin", "an edge parts"),
        *("a float below its edge", "the last bin is closed", "confidence is the higher one"),
        *("three options tied", "three options wrong", "a tie after rounding"),
    ],
)
def test_ece_by_hand(forecasts, ece) -> None:
    assert expected_calibration_error(forecasts) == pytest.approx(ece, abs=1e-9)


@given(st.lists(st.tuples(st.floats(0, 1), st.integers(0, 1)), min_size=1, max_size=60))
def test_ece_equals_other_lines(drawn) -> None:
    bins: dict[int, list[tuple[float, float]]] = {}
    for p, right in drawn:
        first, second = round(p, 6), round(1 - p, 6)
        top = max(first, second)
        score = 0.5 if first == second else float((second > first) == bool(right))
        bins.setdefault(min(floor(round(top * 10, 5)), 9), []).append((top, score))
    gaps = [
        len(one) * abs(sum(c for c, _ in one) / len(one) - sum(s for _, s in one) / len(one))
        for one in bins.values()
    ]
    found = expected_calibration_error([pair(p, right) for p, right in drawn])
    assert found == pytest.approx(sum(gaps) / len(drawn), abs=1e-9)


def test_brier_and_log2_score() -> None:
    assert brier_score([pair(0.8), pair(0.8, 1)]) == pytest.approx((0.04 + 0.64) / 2)
    assert brier_score([Forecast((1.0, 0.0, 0.0), 1)]) == 1.0
    assert log2_score([pair(0.5)]) == -1.0
    assert log2_score([pair(1.0, 1), pair(1.0)]) == pytest.approx((log2(0.01) + log2(0.99)) / 2)


def test_nothing_has_no_figure() -> None:
    figures = (expected_calibration_error, brier_score, log2_score, calibrated_ece)
    assert [figure([]) for figure in figures] == [None] * 4


def test_a_calibrated_judge_shows_some_error_and_less_with_more_questions() -> None:
    few, many = (calibrated_ece([pair(0.7), pair(0.85, 1)] * n) for n in (5, 500))
    assert few is not None
    assert many is not None
    assert 0.0 < many < 0.05 < few
    assert calibrated_ece([pair(0.7), pair(0.85, 1)] * 5) == few
    assert calibrated_ece([pair(0.5), pair(1.0)]) == 0.0


@given(
    st.lists(
        st.tuples(st.lists(st.integers(0, 50), min_size=2, max_size=4), st.integers(0, 1)),
        min_size=1,
        max_size=40,
    )
)
def test_the_parts_of_the_brier_score_add_up(drawn) -> None:
    forecasts = [
        Forecast(tuple((v + 1) / (sum(values) + len(values)) for v in values), right)
        for values, right in drawn
    ]
    parts = brier_parts(forecasts)
    assert parts is not None
    assert parts.score == pytest.approx(brier_score(forecasts), abs=1e-9)
    total = parts.reliability - parts.resolution + parts.uncertainty + parts.within
    assert total == pytest.approx(parts.score, abs=1e-9)
    assert min(parts.reliability, parts.resolution, parts.uncertainty) >= 0.0


def test_the_parts_by_other_lines() -> None:
    """numpy, over bins that hold one probability each: nothing is left within them."""
    drawn = [(0.85, 0), (0.85, 0), (0.85, 1), (0.65, 1), (0.65, 0), (0.25, 1), (0.25, 0)]
    parts = brier_parts([pair(p, right) for p, right in drawn])
    p = np.array([p for p, _ in drawn] + [1 - p for p, _ in drawn])
    came = np.array([right == 0 for _, right in drawn] + [right == 1 for _, right in drawn])
    reliability = resolution = 0.0
    for value in set(p.round(9)):
        here = np.isclose(p, value)
        reliability += here.mean() * (value - came[here].mean()) ** 2
        resolution += here.mean() * (came[here].mean() - 0.5) ** 2
    assert parts is not None
    assert parts.reliability == pytest.approx(reliability, abs=1e-9)
    assert parts.resolution == pytest.approx(resolution, abs=1e-9)
    assert parts.uncertainty == pytest.approx(0.25, abs=1e-12)
    assert parts.within == pytest.approx(0.0, abs=1e-12)
    assert parts.score == pytest.approx(brier_score_loss(came, p), abs=1e-9)


def test_no_part_hangs_on_which_option_stands_first() -> None:
    drawn = [(0.8, 0), (0.3, 1), (0.55, 1), (0.9, 1)]
    parts = brier_parts([pair(p, right) for p, right in drawn])
    swapped = brier_parts([pair(1 - p, 1 - right) for p, right in drawn])
    assert parts == pytest.approx(swapped, abs=1e-12)
    even = brier_parts([Forecast((0.25,) * 4, k % 4) for k in range(8)])
    assert even is not None
    assert even == pytest.approx((3 / 8, 0.0, 0.0, 3 / 8, 0.0))


def test_the_reliability_table_is_what_the_ece_sums() -> None:
    forecasts = [pair(0.72), pair(0.78, 1), pair(0.5), pair(0.95), pair(1.0, 1), pair(0.05)]
    table = reliability_table(forecasts)
    assert [(one.low, one.n) for one in table] == [(0.5, 1), (0.7, 2), (0.9, 3)]
    assert table[0].share_right == 0.5
    gaps = sum(one.n * abs(one.confidence - one.share_right) for one in table)
    assert gaps / len(forecasts) == pytest.approx(expected_calibration_error(forecasts), abs=1e-9)
    assert table[2].interval == wilson(1, 3)
    assert table[2].high == 1.0
    assert reliability_table([]) == ()
    assert brier_parts([]) is None


def test_the_calibrated_ece_is_that_of_plain_loops_with_the_same_draws() -> None:
    drawn = [(0.5, 0), (0.62, 1), (0.68, 0), (0.91, 0), (1.0, 1), (0.3, 0), (0.95, 0)]
    total = 0.0
    for row in np.random.default_rng(5).random((1_000, len(drawn))):
        gaps: dict[int, float] = {}
        for chance, (p, _) in zip(row, drawn, strict=True):
            sure = max(p, 1 - p)
            score = 0.5 if p == 0.5 else float(chance < sure)
            place = min(floor(round(sure * 10, 5)), 9)
            gaps[place] = gaps.get(place, 0.0) + score - sure
        total += sum(map(abs, gaps.values())) / len(drawn)
    found = calibrated_ece([pair(p, right) for p, right in drawn], seed=5)
    assert found == pytest.approx(total / 1_000, abs=1e-9)


@pytest.mark.parametrize("n", [1, 3, 40])
def test_the_calibrated_ece_is_its_expectation(n) -> None:
    """By all that can come out: in one bin, |sum of (right - p)| / n, right being binomial."""
    p = 0.72
    expected = sum(stats.binom.pmf(k, n, p) * abs(k - n * p) / n for k in range(n + 1))
    assert calibrated_ece([pair(p)] * n) == pytest.approx(expected, rel=0.1)
