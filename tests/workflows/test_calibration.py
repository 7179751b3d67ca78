"""ECE, Brier and log2 score against computations by hand and by other lines."""

from __future__ import annotations

from math import floor, log2

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workflows.calibration import (
    Forecast,
    brier_score,
    calibrated_ece,
    expected_calibration_error,
    log2_score,
)


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
