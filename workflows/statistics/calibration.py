"""Calibration of judges: what probabilities are worth, as pure functions.

A forecast is a distribution over a question's options and the place of the right one. Figures of
forecasts from different sources (stated, log-probabilities, samples) are not comparable.

The parts of the Brier score are Murphy's (1973), with Stephenson, Coelho and Jolliffe's (2008) term
for forecasts that differ within a bin, so that they add up exactly. Every option of a question is
one forecast of "this is right", counted half: no part hangs on which option stands first, and the
uncertainty is the score of somebody who finds all options equally likely.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import log2
from statistics import fmean
from typing import NamedTuple

from workflows.statistics.intervals import Interval, wilson

BINS = 10
DRAWS = 1_000
"""Simulated sets of answers behind :func:`calibrated_ece`."""
LEAST, MOST = 0.01, 0.99
"""Where probabilities are clamped before a logarithm is taken (2311.08702)."""
_MILLION = 1_000_000


class Forecast(NamedTuple):
    """One distribution and what was right."""

    distribution: tuple[float, ...]
    right: int
    """The place of the right option."""

    @property
    def p_right(self) -> float:
        """The probability of the right option."""
        return self.distribution[self.right]

    @property
    def _rounded(self) -> tuple[int, ...]:
        """The probabilities in millionths: what a tie, and a bin's edge, are told by."""
        return tuple(round(value * _MILLION) for value in self.distribution)

    @property
    def confidence(self) -> float:
        """The highest probability, rounded to 1e-6."""
        return max(self._rounded) / _MILLION

    @property
    def score(self) -> float:
        """1 where the likeliest option is right, its share where several are, else 0."""
        rounded = self._rounded
        top = max(rounded)
        return 1 / rounded.count(top) if rounded[self.right] == top else 0.0


class BrierParts(NamedTuple):
    """The Brier score and what it is made of: reliability - resolution + uncertainty + within."""

    score: float
    reliability: float
    """How far forecasts are from what came true, bin by bin; 0 best."""
    resolution: float
    """How far what came true differs between bins; the more the better."""
    uncertainty: float
    """Of what was asked: a quarter with two options."""
    within: float
    """Of forecasts that differ within a bin; 0 where none do."""


class ReliabilityBin(NamedTuple):
    """The forecasts whose confidence lies in one bin."""

    low: float
    high: float
    """Not part of the bin, but of the last one."""
    n: int
    confidence: float
    """Their mean."""
    share_right: float
    """A tie counts its share."""
    interval: Interval
    """Wilson's, as if all forecasts were independent."""


def expected_calibration_error(forecasts: Sequence[Forecast]) -> float | None:
    """Return the ECE: how far confidence and the share right are apart, bin by bin.

    Ten left-closed bins of the confidence, [k/10, (k+1)/10), the last one closed, on probabilities
    rounded to 1e-6; of two options that are equally likely the right one counts a half. None
    without forecasts.

    Source: Michael et al. 2311.08702 (confidence max(p, 1 - p)); the rounding is ours: without it
    sums such as 0.1 + 0.5 fall below the edge of their bin.
    """
    return _error([one.confidence for one in forecasts], [one.score for one in forecasts])


def calibrated_ece(forecasts: Sequence[Forecast], *, seed: int = 0) -> float | None:
    """Return the ECE that a calibrated judge with the same forecasts would show on average.

    It is not 0, as a bin with few questions misses its confidence by chance. A mean over 1,000
    seeded draws, in each of which every likeliest option is right with its own probability; an
    even forecast of two options scores a half in any case.
    """
    import numpy as np

    if not forecasts:
        return None
    confidences = np.array([one.confidence for one in forecasts])
    groups = np.array([_bin(one.confidence) for one in forecasts])
    tied = np.array([one._rounded.count(max(one._rounded)) > 1 for one in forecasts])
    drawn = np.random.default_rng(seed).random((DRAWS, len(forecasts))) < confidences
    gaps = np.where(tied, 0.0, drawn - confidences)
    sums = np.stack([gaps[:, groups == k].sum(axis=1) for k in range(BINS)])
    return float(np.abs(sums).sum(axis=0).mean() / len(forecasts))


def brier_score(forecasts: Sequence[Forecast]) -> float | None:
    """Return the mean Brier score, 0 best: half the squared distance from what is right.

    With two options that is (1 - p)**2 for the probability p of the right one; None without
    forecasts. Source: Brier (1950), halved.
    """
    return fmean(_squared(one) / 2 for one in forecasts) if forecasts else None


def brier_parts(forecasts: Sequence[Forecast]) -> BrierParts | None:
    """Return the parts of the Brier score, over ten left-closed bins of the probability.

    The parts hang on the bins, their sum does not. None without forecasts.
    """
    if not forecasts:
        return None
    bins: dict[int, list[tuple[float, bool]]] = {}
    for one in forecasts:
        for place, p in enumerate(one.distribution):
            bins.setdefault(_bin(p), []).append((p, place == one.right))
    pairs = [pair for found in bins.values() for pair in found]
    rate = fmean(came for _, came in pairs)
    reliability = resolution = within = 0.0
    for found in bins.values():
        p, share = fmean(p for p, _ in found), fmean(came for _, came in found)
        reliability += len(found) * (p - share) ** 2
        resolution += len(found) * (share - rate) ** 2
        within += sum((q - p) ** 2 - 2 * (q - p) * (came - share) for q, came in found)
    half = 2 * len(forecasts)
    return BrierParts(
        score=sum((p - came) ** 2 for p, came in pairs) / half,
        reliability=reliability / half,
        resolution=resolution / half,
        uncertainty=len(pairs) * rate * (1 - rate) / half,
        within=within / half,
    )


def reliability_table(forecasts: Sequence[Forecast]) -> tuple[ReliabilityBin, ...]:
    """Return the bins of the ECE that hold a forecast, by confidence."""
    bins: dict[int, list[Forecast]] = {}
    for one in forecasts:
        bins.setdefault(_bin(one.confidence), []).append(one)
    rows = []
    for place, found in sorted(bins.items()):
        right = sum(one.score for one in found)
        rows.append(
            ReliabilityBin(
                low=place / BINS,
                high=(place + 1) / BINS,
                n=len(found),
                confidence=fmean(one.confidence for one in found),
                share_right=right / len(found),
                interval=wilson(min(right, len(found)), len(found)),
            )
        )
    return tuple(rows)


def log2_score(forecasts: Sequence[Forecast]) -> float | None:
    """Return the mean log2 of the right option's probability, clamped to [0.01, 0.99]; 0 best."""
    if not forecasts:
        return None
    return fmean(log2(min(max(one.p_right, LEAST), MOST)) for one in forecasts)


def mean(values: Sequence[float]) -> float | None:
    """Return the mean; None of nothing."""
    return fmean(values) if values else None


def _error(confidences: Sequence[float], scores: Sequence[float]) -> float | None:
    if not confidences:
        return None
    gaps = [0.0] * BINS
    for confidence, score in zip(confidences, scores, strict=True):
        gaps[_bin(confidence)] += score - confidence
    return sum(map(abs, gaps)) / len(confidences)


def _bin(confidence: float) -> int:
    return min(round(confidence * _MILLION) * BINS // _MILLION, BINS - 1)


def _squared(one: Forecast) -> float:
    return sum((value - (place == one.right)) ** 2 for place, value in enumerate(one.distribution))
