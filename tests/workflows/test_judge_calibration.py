"""Calibration of judges: maps fitted on one part, measured on another, and their edges."""

from __future__ import annotations

from itertools import pairwise
from math import log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.workflows.making import DATA, read_packed
from workflows.judges.calibration import (
    COOLEST,
    HOTTEST,
    Temperature,
    calibrate,
    coverage_curve,
    fit_isotonic,
    fit_temperature,
    forecast_figures,
    split_by_cluster,
)
from workflows.judges.report import calibrations
from workflows.judges.sources import verdicts_of_file
from workflows.statistics.calibration import Forecast, brier_score, log2_score

percents = st.integers(0, 100)


def forecast(p: float, right: bool = True) -> Forecast:
    return Forecast((p, 1 - p), 0 if right else 1)


forecasts = st.lists(
    st.builds(lambda n, right: forecast(n / 100, right), percents, st.booleans()), max_size=20
)


def test_the_temperature_of_one_confidence_by_hand() -> None:
    # Says 0.9 and is right 3 times of 4: logit(0.9) / T = logit(0.75).
    known = [forecast(0.9)] * 3 + [forecast(0.9, False)]
    found = fit_temperature(known)
    assert found.how == "fitted"
    assert found.value == pytest.approx(log(9) / log(3), rel=1e-4)
    assert found((0.9, 0.1)) == pytest.approx((0.75, 0.25), abs=1e-4)
    assert fit_isotonic(known)((0.9, 0.1)) == pytest.approx((0.75, 0.25))


def test_violators_are_pooled() -> None:
    known = [forecast(0.6), forecast(0.7, False), forecast(0.8), forecast(0.9)]
    found = fit_isotonic(known)
    assert found.of(0.6) == found.of(0.7) == found.of(0.65) == 0.5
    assert found.of(0.3) == found.of(0.4) == 0.5
    assert found.of(0.8) == found.of(1.0) == 1.0
    assert found.of(0.75) == pytest.approx(0.75)


def test_fitted_on_nothing_a_map_changes_nothing() -> None:
    for fitted in (fit_temperature([]), fit_isotonic([])):
        assert fitted.how == "nothing"
        assert fitted((0.8, 0.2)) == (0.8, 0.2)


def test_even_forecasts_say_nothing_of_the_temperature() -> None:
    known = [forecast(0.5), forecast(0.5, False)]
    assert fit_temperature(known) == Temperature(1.0, "even")
    assert fit_isotonic(known)((0.9, 0.1)) == (0.5, 0.5)
    assert fit_isotonic(known).how == "even"


@pytest.mark.parametrize(("right", "bound"), [(True, COOLEST), (False, HOTTEST)])
def test_one_class_ends_at_a_bound(right: bool, bound: float) -> None:
    found = fit_temperature([forecast(0.7, right), forecast(0.8, right)])
    assert found.how == "bound"
    assert found.value == pytest.approx(bound)


def test_the_isotonic_map_of_one_class_is_certain() -> None:
    found = fit_isotonic([forecast(0.7), forecast(0.8)])
    assert found((0.75, 0.25)) == (1.0, 0.0)
    assert found((0.5, 0.5)) == (0.5, 0.5)


def test_nothing_left_is_shared_evenly() -> None:
    known = [Forecast((0.4, 0.3, 0.3), 0)] * 2
    assert fit_isotonic(known)((0.1, 0.1, 0.1)) == pytest.approx((1 / 3,) * 3)


@given(forecasts, st.lists(percents, min_size=2, max_size=4).filter(any))
def test_a_temperature_never_changes_the_likeliest(known, weights) -> None:
    distribution = [weight / sum(weights) for weight in weights]
    after = fit_temperature(known)(distribution)
    assert sum(after) == pytest.approx(1)
    best = max(range(len(after)), key=distribution.__getitem__)
    assert after[best] == max(after)


@given(forecasts, st.lists(percents, min_size=2, max_size=9))
def test_an_isotonic_map_never_falls(known, asked) -> None:
    found = fit_isotonic(known)
    worth = [found.of(p / 100) for p in sorted(asked)]
    assert all(a <= b + 1e-12 for a, b in pairwise(worth))
    assert all(-1e-9 <= value <= 1 + 1e-9 for value in worth)


@given(forecasts, percents)
def test_both_options_are_treated_alike(known, percent) -> None:
    p = percent / 100
    for fitted in (fit_temperature(known), fit_isotonic(known)):
        one, other = fitted((p, 1 - p)), fitted((1 - p, p))
        assert one == pytest.approx((other[1], other[0]), abs=1e-6)


@given(forecasts.filter(len))
def test_the_fit_is_no_worse_where_it_was_fitted(known) -> None:
    heated = fit_temperature(known)
    mapped = [Forecast(heated(one.distribution), one.right) for one in known]
    clamped = [Forecast(Temperature(1.0 + 1e-9, "fitted")(f.distribution), f.right) for f in known]
    before, after = log2_score(clamped), log2_score(mapped)
    assert before is not None
    assert after is not None
    # log2_score clamps at 0.99, which costs a colder judge nothing and may hide what it gained
    assert after >= before - 0.02


@given(st.dictionaries(st.text("abcdef", min_size=1, max_size=3), st.integers(0, 4)), percents)
def test_no_cluster_is_in_both_parts(placed, seed) -> None:
    clusters = {item: str(unit) for item, unit in placed.items()}
    fit, rest = split_by_cluster(placed, clusters, seed=seed)
    assert sorted([*fit, *rest]) == sorted(placed)
    assert {clusters[i] for i in fit}.isdisjoint({clusters[i] for i in rest})
    assert (fit, rest) == split_by_cluster(list(placed)[::-1], clusters, seed=seed)
    if len(set(clusters.values())) > 1:
        assert fit
        assert rest


def test_seeds_divide_otherwise() -> None:
    items = [f"i{n}" for n in range(30)]
    assert split_by_cluster(items, {}, seed=1) != split_by_cluster(items, {}, seed=2)


def test_a_single_cluster_is_measured_and_not_fitted() -> None:
    found = calibrate("t", {"a": forecast(0.9), "b": forecast(0.8)}, {"a": "c", "b": "c"})
    assert found is not None
    assert (found.fitted_on, found.before.n, found.temperature.how) == (0, 2, "nothing")
    assert found.after_temperature.figures == found.before
    assert found.after_isotonic.brier_difference.mean == 0.0
    assert calibrate("t", {}, {}) is None
    with pytest.raises(ValueError, match="no forecasts"):
        forecast_figures({})


def test_an_overconfident_judge_is_cooled_and_the_gain_is_measured_elsewhere() -> None:
    known = {f"i{n}": forecast(0.95 if n % 2 else 0.05, (n % 10 < 7) == n % 2) for n in range(400)}
    found = calibrate("t", known, {}, seed=3)
    assert found is not None
    assert found.fitted_on == found.before.n == 200
    assert found.temperature.value > 1
    assert found.after_temperature.figures.ece < found.before.ece
    assert found.after_temperature.figures.accuracy == found.before.accuracy
    assert found.after_temperature.brier_difference.interval.high < 0


def test_what_is_kept_at_every_threshold() -> None:
    known = {"a": forecast(0.95), "b": forecast(0.8, False), "c": forecast(0.7), "d": forecast(0.5)}
    curve = coverage_curve(known, {}, thresholds=(0.5, 0.7, 0.8, 0.99))
    assert [one.kept for one in curve] == [4, 3, 2, 0]
    assert [one.coverage for one in curve] == [1.0, 0.75, 0.5, 0.0]
    assert [one.accuracy and one.accuracy.mean for one in curve] == [
        pytest.approx(2.5 / 4),
        pytest.approx(2 / 3),
        pytest.approx(1 / 2),
        None,
    ]
    assert coverage_curve({}, {}, thresholds=(0.5,))[0].coverage == 0.0


def test_recorded_sessions_by_plain_loops() -> None:
    lines = [s for s in read_packed("nyu_sessions") if s["in_paper"] and s["final_probs"]]
    found = verdicts_of_file(str(DATA / "nyu_sessions.jsonl.gz"))
    assert {i for column in found.columns.values() for i in column} == {s["id"] for s in lines}
    for line in lines:
        one = found.columns[line["judge"]][line["id"]]
        assert one.distribution == pytest.approx(line["final_probs"])
        assert found.pairs[line["id"]].cluster == line["story_id"]
    first, *others = calibrations(found, seed=1)
    assert first.name == "all"
    assert {one.name for one in others} == {s["setting"] for s in lines}
    items = [s["id"] for s in lines]
    stories = {s["id"]: s["story_id"] for s in lines}
    _, rest = split_by_cluster(items, stories, seed=1)
    brier = [(1 - s["final_probs"][s["gold"]]) ** 2 for s in lines if s["id"] in rest]
    assert first.before.brier == pytest.approx(sum(brier) / len(brier))
    assert first.fitted_on + first.before.n == len(lines)
    heat = first.temperature.value
    after = []
    for line in lines:
        if line["id"] in rest:
            p = line["final_probs"][line["gold"]]
            odds = (p / (1 - p)) ** (1 / heat)
            after.append((1 - odds / (1 + odds)) ** 2)
    assert first.after_temperature.figures.brier == pytest.approx(sum(after) / len(after))
    assert brier_score([forecast(0.8)]) == pytest.approx(0.04)
