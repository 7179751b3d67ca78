"""What accuracy costs: which protocols are dominated, and how much of a gap one closes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt

from workflows.statistics.intervals import (
    SCORES,
    SHARES,
    Interval,
    MeanOutcome,
    mean_outcome,
    t_quantile,
)
from workflows.statistics.paired import paired_difference

EQUAL = 1e-12
"""Prices and accuracies this close (of their size) are equal."""


@dataclass(frozen=True, slots=True)
class Priced:
    """A protocol with what it is worth and what it costs."""

    name: str
    accuracy: float | None
    price: float | None
    """Stand-alone price of a question, in any one unit; None where it is not known."""
    accuracy_interval: Interval | None = None
    price_interval: Interval | None = None


@dataclass(frozen=True, slots=True)
class Placed:
    """Where a protocol stands among the others."""

    row: Priced
    dominated_by: tuple[str, ...]
    """Those that are at least as accurate and at most as dear, and better in one of the two."""
    clearly: tuple[str, ...]
    """Those of them whose intervals on both axes keep apart from this one's."""
    comparable: bool
    """Whether accuracy and price are known."""

    @property
    def on_frontier(self) -> bool:
        """Whether nothing dominates it."""
        return self.comparable and not self.dominated_by


@dataclass(frozen=True, slots=True)
class GapRecovered:
    """How much of the way from a judge alone to an informed one a protocol goes."""

    recovered: float | None
    """1 is all of it; None where the gap's own interval holds 0."""
    interval: Interval | None
    gap: float | None
    """Informed less alone; None without a cluster that is complete for all three."""
    gap_interval: Interval | None
    clusters: int
    missing: int
    """Questions whose cluster is not complete for all three."""


def price_of(
    prices: Mapping[str, float | None],
    clusters: Mapping[str, str] | None = None,
    *,
    seed: int = 0,
    level: float = 0.95,
) -> MeanOutcome:
    """Return the mean price of a question, with its interval over clusters.

    Args:
        prices: question -> stand-alone price, not negative; None is not known.
        clusters: question -> what repeats together.
        seed: of the bootstrap.
        level: of the interval.
    """
    return mean_outcome(prices, clusters, seed=seed, level=level, limits=Interval(0.0, SCORES.high))


def frontier(rows: Sequence[Priced]) -> list[Placed]:
    """Return where every protocol stands, in their order.

    Two that are equal in both do not dominate each other. One whose accuracy or price is not known
    neither dominates nor is dominated, and is not on the frontier.
    """
    placed = []
    for row in rows:
        over = [other for other in rows if other is not row and _dominates(other, row)]
        placed.append(
            Placed(
                row,
                tuple(other.name for other in over),
                tuple(other.name for other in over if _apart(other, row)),
                row.accuracy is not None and row.price is not None,
            )
        )
    return placed


def _dominates(one: Priced, other: Priced) -> bool:
    here, there = _known(one), _known(other)
    if here is None or there is None:
        return False
    better, cheaper = here[0] - there[0], there[1] - here[1]
    slack = EQUAL * max(abs(here[1]), abs(there[1]))
    return better >= -EQUAL and cheaper >= -slack and (better > EQUAL or cheaper > slack)


def _known(row: Priced) -> tuple[float, float] | None:
    """Return accuracy and price where both are known."""
    if row.accuracy is None or row.price is None:
        return None
    return row.accuracy, row.price


def _apart(one: Priced, other: Priced) -> bool:
    """Whether `one` is better and cheaper by both intervals; a known price is its own interval."""
    dear, cheap = _price_interval(one), _price_interval(other)
    if one.accuracy_interval is None or other.accuracy_interval is None or not (dear and cheap):
        return False
    return one.accuracy_interval.low > other.accuracy_interval.high and dear.high < cheap.low


def _price_interval(row: Priced) -> Interval | None:
    if row.price_interval is not None or row.price is None:
        return row.price_interval
    return Interval(row.price, row.price)


def gap_recovered(
    protocol: Mapping[str, float | None],
    alone: Mapping[str, float | None],
    informed: Mapping[str, float | None],
    clusters: Mapping[str, str] | None = None,
    *,
    seed: int = 0,
    level: float = 0.95,
    limits: Interval = SHARES,
) -> GapRecovered:
    """Return (protocol - alone) / (informed - alone), over the clusters complete for all three.

    The interval is Fieller's (1954), by t with clusters - 1 degrees of freedom on the clusters'
    mean differences; it is bounded exactly where the gap's own t interval excludes 0. None where
    that interval, or the gap's interval as a paired difference, holds 0.

    Args:
        protocol: question -> outcome; None or no entry is missing.
        alone: the same of the judge alone.
        informed: the same of the judge with the passage, or of the debater's own answers.
        clusters: question -> what repeats together.
        seed: of the bootstrap of the gap.
        level: of both intervals.
        limits: the least and the most that an outcome can be.
    """
    asked = sorted(set(protocol) | set(alone) | set(informed))
    unit = {q: (clusters or {}).get(q, q) for q in asked}
    broken = {unit[q] for q in asked if None in (protocol.get(q), alone.get(q), informed.get(q))}
    kept = [q for q in asked if unit[q] not in broken]
    columns = [{q: column[q] for q in kept} for column in (protocol, alone, informed)]
    above = paired_difference(columns[0], columns[1], unit, seed=seed, level=level, limits=limits)
    gap = paired_difference(columns[2], columns[1], unit, seed=seed, level=level, limits=limits)
    missing = len(asked) - len(kept)
    if not gap.clusters:
        return GapRecovered(None, None, None, None, 0, missing)
    interval = None
    if gap.method != "none" and not gap.interval.low <= 0.0 <= gap.interval.high:
        interval = fieller(above.means, gap.means, level=level)
    ratio = None if interval is None else above.mean / gap.mean
    return GapRecovered(ratio, interval, gap.mean, gap.interval, gap.clusters, missing)


def fieller(
    numerators: Sequence[float], denominators: Sequence[float], *, level: float = 0.95
) -> Interval | None:
    """Return Fieller's interval of a ratio of two means over the same units.

    The ratios r for which the mean of numerator - r x denominator does not differ from 0 by t; None
    where they are no bounded interval, as the denominator may be 0, or with fewer than two units.
    """
    import numpy as np

    n = len(numerators)
    if n < 2:
        return None
    top, bottom = np.mean(numerators), np.mean(denominators)
    (variance, shared), (_, of_bottom) = np.cov(numerators, denominators) / n
    t = t_quantile(n - 1, level)
    # (top - r bottom)^2 <= t^2 (variance - 2 r shared + r^2 of_bottom)
    a = bottom**2 - t**2 * of_bottom
    if a <= 0:
        return None
    b = top * bottom - t**2 * shared
    root = sqrt(max(0.0, b**2 - a * (top**2 - t**2 * variance)))
    return Interval(float((b - root) / a), float((b + root) / a))
