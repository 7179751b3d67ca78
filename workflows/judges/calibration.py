"""Calibration of a judge's probabilities, fitted on one part of its verdicts, measured on another.

A map is fitted by maximum likelihood (temperature) or by least squares under monotony (isotonic),
on the verdicts of some clusters; what it is worth is said on the others, which it never saw.

* Temperature: p_i becomes p_i^(1/T) / sum_j p_j^(1/T), one T for all, probabilities clamped to
  [0.01, 0.99] first. It never changes which option is likeliest (Guo et al. 1706.04599).
* Isotonic: every option's probability goes through one step-wise linear function that never
  falls, fitted by pooling adjacent violators over all options of all forecasts; then they are
  scaled to 1. With two options it treats both alike. It may make a tie of what was none.

Results at the edges, on purpose: fitted on nothing both leave everything as it is. Where every
forecast is even, T is 1, as the likelihood does not depend on it. Where every likeliest option was
right, or every one wrong, no finite T is best: it ends at its bound, and says so. The isotonic map
of one such class is 0 and 1: it promises certainty, and pays for the first error on new verdicts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import exp, log
from statistics import fmean
from typing import Literal, NamedTuple

from workflows.statistics.calibration import (
    LEAST,
    MOST,
    Forecast,
    brier_score,
    calibrated_ece,
    expected_calibration_error,
    log2_score,
)
from workflows.statistics.intervals import MeanOutcome, mean_outcome
from workflows.statistics.paired import PairedDifference, paired_difference

COOLEST, HOTTEST = 0.05, 20.0
"""The bounds of a temperature: below the first every forecast is certain, above the second even."""
THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
DIGITS = 6
"""To which probabilities are rounded before they are ordered: 1 - 0.7 is not above 0.3."""
SHARE = 0.5
"""Of the clusters on which maps are fitted."""

Fitted = Literal["fitted", "nothing", "even", "bound"]


class Temperature(NamedTuple):
    """A fitted temperature; above 1 the judge was too sure of itself."""

    value: float
    how: Fitted
    """``nothing``: there was nothing to fit on; ``even``: every forecast was; ``bound``: the
    likeliest options were all right, or too often wrong, so that no inner value is best."""

    def __call__(self, distribution: Sequence[float]) -> tuple[float, ...]:
        """Return a distribution at this temperature."""
        if self.value == 1.0:
            return tuple(distribution)
        logs = [log(min(max(p, LEAST), MOST)) / self.value for p in distribution]
        top = max(logs)
        powers = [exp(value - top) for value in logs]
        return tuple(power / sum(powers) for power in powers)


class Isotonic(NamedTuple):
    """A fitted function that never falls: its knots, between which it is linear."""

    places: tuple[float, ...]
    values: tuple[float, ...]
    how: Fitted

    def of(self, probability: float) -> float:
        """Return what a stated probability is worth; the ends hold beyond the knots."""
        if not self.places:
            return probability
        probability = round(probability, DIGITS)
        if probability <= self.places[0]:
            return self.values[0]
        for (x0, x1), (y0, y1) in zip(pairwise(self.places), pairwise(self.values), strict=True):
            if probability <= x1:
                return y0 + (y1 - y0) * (probability - x0) / (x1 - x0)
        return self.values[-1]

    def __call__(self, distribution: Sequence[float]) -> tuple[float, ...]:
        """Return a distribution with every probability mapped, scaled to 1."""
        if not self.places:
            return tuple(distribution)
        mapped = [self.of(p) for p in distribution]
        total = sum(mapped)
        if total <= 0.0:
            return (1 / len(mapped),) * len(mapped)
        return tuple(value / total for value in mapped)


@dataclass(frozen=True, slots=True)
class ForecastFigures:
    """How good forecasts are."""

    n: int
    accuracy: float
    """Of two options that are equally likely the right one counts a half."""
    mean_p_right: float
    brier: float
    log2_score: float
    ece: float
    ece_if_calibrated: float
    """What a calibrated judge with the same forecasts would show."""


@dataclass(frozen=True, slots=True)
class After:
    """Forecasts after a map."""

    figures: ForecastFigures
    brier_difference: PairedDifference
    """Brier after less before, on the same verdicts: negative is better."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What is left where a judge abstains below a threshold of its confidence."""

    threshold: float
    kept: int
    coverage: float
    """kept / all."""
    accuracy: MeanOutcome | None
    """Of the kept; None of none."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """Forecasts before and after calibration, on verdicts that the maps never saw."""

    name: str
    fitted_on: int
    fitted_clusters: int
    measured_clusters: int
    temperature: Temperature
    isotonic: Isotonic
    before: ForecastFigures
    after_temperature: After
    after_isotonic: After
    curve: tuple[Kept, ...]
    """Before calibration, on the same verdicts."""


def fit_temperature(forecasts: Iterable[Forecast]) -> Temperature:
    """Return the temperature that makes the right options most likely."""
    from scipy.optimize import minimize_scalar

    known = list(forecasts)
    if not known:
        return Temperature(1.0, "nothing")
    if all(max(one.distribution) - min(one.distribution) < 1e-9 for one in known):
        return Temperature(1.0, "even")

    def loss(inverse: float) -> float:
        total = 0.0
        for one in known:
            logs = [inverse * log(min(max(p, LEAST), MOST)) for p in one.distribution]
            top = max(logs)
            total += top + log(sum(exp(value - top) for value in logs)) - logs[one.right]
        return total / len(known)

    # In 1 / T the loss is convex, so that the least one found is the least there is.
    bounds = (1 / HOTTEST, 1 / COOLEST)
    found = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-7})
    inverse = min((*bounds, float(found.x)), key=loss)
    at_bound = min(abs(inverse - bound) for bound in bounds) < 1e-4
    return Temperature(1 / inverse, "bound" if at_bound else "fitted")


def fit_isotonic(forecasts: Iterable[Forecast]) -> Isotonic:
    """Return the function that never falls and is nearest to what was right."""
    from sklearn.isotonic import IsotonicRegression

    known = list(forecasts)
    if not known:
        return Isotonic((), (), "nothing")
    stated = [round(p, DIGITS) for one in known for p in one.distribution]
    right = [float(place == one.right) for one in known for place in range(len(one.distribution))]
    found = IsotonicRegression(y_min=0.0, y_max=1.0).fit(stated, right)
    places = tuple(map(float, found.X_thresholds_))
    values = tuple(map(float, found.y_thresholds_))
    return Isotonic(places, values, "fitted" if len(places) > 1 else "even")


def forecast_figures(forecasts: Mapping[str, Forecast], *, seed: int = 0) -> ForecastFigures:
    """Return the figures of at least one forecast.

    Raises:
        ValueError: there is none.
    """
    known = [forecasts[item] for item in sorted(forecasts)]
    if not known:
        raise ValueError("there are no figures of no forecasts")
    return ForecastFigures(
        n=len(known),
        accuracy=fmean(one.score for one in known),
        mean_p_right=fmean(one.p_right for one in known),
        brier=brier_score(known) or 0.0,
        log2_score=log2_score(known) or 0.0,
        ece=expected_calibration_error(known) or 0.0,
        ece_if_calibrated=calibrated_ece(known, seed=seed) or 0.0,
    )


def split_by_cluster(
    items: Iterable[str], clusters: Mapping[str, str], *, seed: int = 0, share: float = SHARE
) -> tuple[list[str], list[str]]:
    """Return two parts of `items`, no cluster in both: to fit on, and to measure on.

    Args:
        items: what is divided.
        clusters: item -> what repeats together.
        seed: of the division.
        share: of the clusters in the first part, rounded down, but at least one of two.
    """
    import numpy as np

    names = sorted(items)
    units = sorted({clusters.get(item, item) for item in names})
    drawn = np.random.default_rng(seed).permutation(len(units))
    count = max(int(len(units) * share), 1) if len(units) > 1 else 0
    fit = {units[place] for place in drawn[:count]}
    first = [item for item in names if clusters.get(item, item) in fit]
    return first, [item for item in names if clusters.get(item, item) not in fit]


def calibrate(
    name: str,
    forecasts: Mapping[str, Forecast],
    clusters: Mapping[str, str],
    *,
    seed: int = 0,
    thresholds: Sequence[float] = THRESHOLDS,
) -> Calibration | None:
    """Fit both maps on half of the clusters and measure them on the rest; None of no forecast.

    With a single cluster there is nothing to fit on that is not measured: the maps change nothing.
    """
    if not forecasts:
        return None
    fit, rest = split_by_cluster(forecasts, clusters, seed=seed)
    temperature = fit_temperature(forecasts[item] for item in fit)
    isotonic = fit_isotonic(forecasts[item] for item in fit)
    before = {item: forecasts[item] for item in rest}
    return Calibration(
        name=name,
        fitted_on=len(fit),
        fitted_clusters=len({clusters.get(item, item) for item in fit}),
        measured_clusters=len({clusters.get(item, item) for item in rest}),
        temperature=temperature,
        isotonic=isotonic,
        before=forecast_figures(before, seed=seed),
        after_temperature=_after(before, temperature, clusters, seed),
        after_isotonic=_after(before, isotonic, clusters, seed),
        curve=coverage_curve(before, clusters, thresholds=thresholds, seed=seed),
    )


def _after(
    before: Mapping[str, Forecast],
    fitted: Temperature | Isotonic,
    clusters: Mapping[str, str],
    seed: int,
) -> After:
    mapped = {i: Forecast(fitted(one.distribution), one.right) for i, one in before.items()}
    return After(
        forecast_figures(mapped, seed=seed),
        paired_difference(
            {item: brier_score([one]) for item, one in mapped.items()},
            {item: brier_score([one]) for item, one in before.items()},
            clusters,
            seed=seed,
        ),
    )


def abstains(forecast: Forecast, threshold: float) -> bool:
    """Whether a judge that decides from a confidence on would leave this undecided."""
    return forecast.confidence < threshold


def coverage_curve(
    forecasts: Mapping[str, Forecast],
    clusters: Mapping[str, str],
    *,
    thresholds: Sequence[float] = THRESHOLDS,
    seed: int = 0,
) -> tuple[Kept, ...]:
    """Return how much is kept, and how right it is, at every threshold of confidence."""
    curve = []
    for threshold in thresholds:
        kept: dict[str, float | None] = {
            item: one.score for item, one in forecasts.items() if not abstains(one, threshold)
        }
        curve.append(
            Kept(
                threshold,
                len(kept),
                len(kept) / len(forecasts) if forecasts else 0.0,
                mean_outcome(kept, clusters, seed=seed) if kept else None,
            )
        )
    return tuple(curve)
