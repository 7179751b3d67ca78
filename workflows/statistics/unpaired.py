"""Two protocols on different questions: tests of two proportions, and intervals for crossed units.

Not what a comparison should rest on: :func:`workflows.statistics.paired.paired_difference` is. This
is for sessions that were collected otherwise, where a judge saw many stories and a story many
judges.
Every observation is an outcome with the units that it shares with others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import erfc, sqrt
from typing import TYPE_CHECKING, NamedTuple

from workflows.statistics.intervals import (
    FEW_CLUSTERS,
    RESAMPLES,
    Interval,
    percentiles,
    resampled_sums,
    t_interval,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

CORRECTION = "G / (G - 1) x (N - 1) / (N - K) for each of the three parts"
"""The small-sample correction of :func:`two_way_difference`."""


class Observed(NamedTuple):
    """One outcome, and what it shares with others."""

    value: float
    first: bool
    """Whether it belongs to the first of the two protocols."""
    row: str
    """One unit, such as the judge."""
    column: str
    """The unit that is crossed with it, such as the story."""


@dataclass(frozen=True, slots=True)
class Proportions:
    """The two-sided test that two independent proportions are equal, pooled under the null."""

    difference: float
    p: float
    """Without continuity correction."""
    p_yates: float
    """With Yates' correction."""


@dataclass(frozen=True, slots=True)
class ClusteredDifference:
    """A difference of two means, with an interval from resampled clusters."""

    difference: float
    interval: Interval | None
    """None with fewer than two clusters, or where too few resamples hold both protocols."""
    clusters: int
    left_out: int
    """Resamples without an observation of one of the two."""
    seed: int

    @property
    def few(self) -> bool:
        """Whether there are so few clusters that the interval is too short."""
        return self.clusters < FEW_CLUSTERS


@dataclass(frozen=True, slots=True)
class TwoWayDifference:
    """A difference of two means, with errors that allow for two crossed units."""

    difference: float
    error: float
    """The standard error."""
    interval: Interval | None
    """None where one of the units has a single member."""
    degrees: int
    """Of freedom: the smaller number of units less one."""
    rows: int
    columns: int
    one_way: bool
    """The variance was not positive, and the larger one-way variance stands in."""
    correction: str = CORRECTION


def two_proportions(right: int, n: int, other_right: int, other_n: int) -> Proportions:
    """Return the difference of two proportions and its tests, each group independent.

    Args:
        right: how many of `n` are right.
        n: observations of the first, at least one.
        other_right: how many of `other_n` are right.
        other_n: observations of the second, at least one.

    Source: Pearson's chi-squared of the 2 x 2 table; Yates (1934), whose correction never goes
    beyond the difference itself.

    Raises:
        ValueError: a group is empty, or has more right than there are.
    """
    if not (0 <= right <= n and 0 <= other_right <= other_n and n and other_n):
        raise ValueError(f"{right} of {n} and {other_right} of {other_n} cannot be compared")
    difference = right / n - other_right / other_n
    pooled = (right + other_right) / (n + other_n)
    error = sqrt(pooled * (1 - pooled) * (1 / n + 1 / other_n))
    if error == 0.0:
        return Proportions(difference, 1.0, 1.0)
    size = abs(difference)
    corrected = max(0.0, size - (1 / n + 1 / other_n) / 2)
    return Proportions(difference, _two_sided(size / error), _two_sided(corrected / error))


def clustered_difference(
    observed: Sequence[Observed], *, seed: int = 0, level: float = 0.95
) -> ClusteredDifference:
    """Return the difference of two means, with the percentile interval of resampled rows.

    Whole rows (judges) are drawn with replacement, with all that they did of both protocols; 10,000
    times, seeded. No correction is made for few rows.

    Raises:
        ValueError: one of the two has no observation.
    """
    import numpy as np

    difference = _difference(observed)
    names = {name: place for place, name in enumerate(sorted({one.row for one in observed}))}
    sums = np.zeros((len(names), 4))
    for one in observed:
        start = 0 if one.first else 2
        sums[names[one.row], start : start + 2] += (one.value, 1.0)
    drawn = resampled_sums(sums, seed)
    drawn = drawn[(drawn[:, 1] > 0) & (drawn[:, 3] > 0)]
    interval = None
    if len(names) > 1 and len(drawn) > RESAMPLES // 2:
        ratios = drawn[:, 0] / drawn[:, 1] - drawn[:, 2] / drawn[:, 3]
        interval = percentiles(ratios, level)
    return ClusteredDifference(difference, interval, len(names), RESAMPLES - len(drawn), seed)


def two_way_difference(observed: Sequence[Observed], *, level: float = 0.95) -> TwoWayDifference:
    """Return the difference of two means with two-way cluster-robust errors.

    The least-squares slope of the outcome on which protocol it is. Its variance is the one
    clustered by rows, plus the one by columns, less the one by their crossing, each with its own
    small-sample correction (`CORRECTION`; K = 2 coefficients). Student's t with the smaller number
    of units less one degrees of freedom.

    Source: Cameron, Gelbach and Miller (2011), Journal of Business & Economic Statistics 29. Where
    the sum is not positive, which they note can happen, the larger one-way variance stands in.

    Raises:
        ValueError: one of the two has no observation.
    """
    import numpy as np

    difference = _difference(observed)
    values = np.array([one.value for one in observed], dtype=float)
    first = np.array([one.first for one in observed])
    n, own = len(observed), int(first.sum())
    means = np.where(first, values[first].mean(), values[~first].mean())
    # What an observation's residual adds to the slope.
    moved = (values - means) * np.where(first, 1 / own, -1 / (n - own))
    rows, columns = [one.row for one in observed], [one.column for one in observed]
    by_row, by_column = _variance(moved, rows), _variance(moved, columns)
    crossing = _variance(moved, list(zip(rows, columns, strict=True)))
    counts = len(set(rows)), len(set(columns))
    degrees = min(counts) - 1
    variance = by_row + by_column - crossing
    one_way = variance <= 0.0
    error = sqrt(max(by_row, by_column) if one_way else variance)
    return TwoWayDifference(
        difference=difference,
        error=error,
        interval=t_interval(difference, error, degrees, level) if degrees > 0 and n > 2 else None,
        degrees=degrees,
        rows=counts[0],
        columns=counts[1],
        one_way=one_way,
    )


def _variance(moved: Floats, units: Sequence[object]) -> float:
    """Return the variance of the slope clustered by `units`, corrected for their number."""
    import numpy as np

    places = {name: place for place, name in enumerate(dict.fromkeys(units))}
    groups, n = len(places), len(units)
    if groups < 2 or n < 3:
        return 0.0
    sums = np.bincount([places[name] for name in units], weights=moved)
    correction = groups / (groups - 1) * (n - 1) / (n - 2)
    return float(correction * (sums @ sums))


def _difference(observed: Sequence[Observed]) -> float:
    first = [one.value for one in observed if one.first]
    other = [one.value for one in observed if not one.first]
    if not first or not other:
        raise ValueError("a difference needs observations of both")
    return sum(first) / len(first) - sum(other) / len(other)


def _two_sided(z: float) -> float:
    """Return the probability that a standard normal is at least `z` in size."""
    return erfc(z / sqrt(2))
