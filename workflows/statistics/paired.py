"""Statistics of a comparison: paired differences on the same questions, as pure functions.

The unit is the cluster: what repeats together (the story where questions share one, else the
question). Orders, sides and repeats of one question lie inside it. A paired difference is the
mean over clusters of each cluster's mean difference; its interval and its test are about the same
figure. Values are shares of right answers in [0, 1], or scores; None is missing, never wrong.

Beside this stand ``intervals.py`` (one protocol), ``sign_flip.py`` (the test, and Holm),
``unpaired.py`` (different questions; crossed units), ``power.py``, ``sequential.py`` (stopping
early), ``frontier.py`` (price, the gap recovered) and ``agreement.py`` (orders, experts, runs).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from workflows.statistics.intervals import (
    FEW_CLUSTERS,
    SHARES,
    Interval,
    checked,
    grouped,
    mean_interval,
    wilson,
)
from workflows.statistics.sign_flip import sign_flip_p

__all__ = [
    "FEW_CLUSTERS",
    "Interval",
    "PairedDifference",
    "mean_interval",
    "paired_difference",
    "sign_flip_p",
    "wilson",
]


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """How much better the first of two protocols is than the second, on the same questions."""

    mean: float
    """Mean over clusters of the cluster's mean difference."""
    interval: Interval
    """Its interval at the level asked for."""
    method: Literal["bootstrap", "t", "none"]
    """How the interval was made; none with fewer than two clusters."""
    p_value: float
    """Two-sided sign-flip permutation test over clusters."""
    questions: int
    """Questions in the clusters that count."""
    clusters: int
    """Clusters that are complete for both."""
    missing: int
    """Questions asked of either whose cluster does not count, as a value is missing in it."""
    discordance: float
    """Share of the counted questions on which the two differ."""
    bounds: Interval
    """The mean over all clusters with every missing value at its worst and at its best."""
    means: tuple[float, ...] = field(default=(), repr=False, compare=False)
    """The mean difference of every cluster that counts, for a test of a family of pairs."""


def paired_difference(
    first: Mapping[str, float | None],
    second: Mapping[str, float | None],
    clusters: Mapping[str, str] | None = None,
    *,
    seed: int = 0,
    level: float = 0.95,
    limits: Interval = SHARES,
) -> PairedDifference:
    """Compare two protocols on the same questions, cluster by cluster.

    Args:
        first: question id -> share right, or score; None (or no entry) is missing.
        second: the same for the other protocol.
        clusters: question id -> cluster; by default each question is its own.
        seed: of the bootstrap and of the test's draws.
        level: of the interval.
        limits: the least and the most that a value can be; `intervals.SCORES` for no bounds.

    Raises:
        ValueError: a value is outside `limits`, or not a number.
    """
    checked(first, limits)
    checked(second, limits)
    ids = sorted(set(first) | set(second))
    groups = grouped(ids, clusters)
    both = {q: (first.get(q), second.get(q)) for q in ids}
    complete: list[list[float]] = []
    for name in sorted(groups):
        pairs = [both[q] for q in groups[name]]
        differences = [a - b for a, b in pairs if a is not None and b is not None]
        if len(differences) == len(pairs):
            complete.append(differences)
    means = [sum(values) / len(values) for values in complete]
    interval, method = mean_interval(means, seed=seed, level=level, limit=limits.high - limits.low)
    each = [value for values in complete for value in values]
    return PairedDifference(
        mean=sum(means) / len(means) if means else 0.0,
        interval=interval,
        method=method,
        p_value=sign_flip_p(means, seed=seed),
        questions=len(each),
        clusters=len(means),
        missing=len(ids) - len(each),
        discordance=sum(value != 0.0 for value in each) / len(each) if each else 0.0,
        bounds=_bounds(both, groups, limits),
        means=tuple(means),
    )


def _bounds(
    both: Mapping[str, tuple[float | None, float | None]],
    groups: Mapping[str, Sequence[str]],
    limits: Interval,
) -> Interval:
    """Return the mean difference over all clusters, missing values at their worst and best."""

    def mean(if_first: float, if_second: float) -> float:
        total = 0.0
        for questions in groups.values():
            pairs = [both[q] for q in questions]
            sum_first = sum(if_first if a is None else a for a, _ in pairs)
            sum_second = sum(if_second if b is None else b for _, b in pairs)
            total += (sum_first - sum_second) / len(pairs)
        return total / len(groups) if groups else 0.0

    if all(a is not None and b is not None for a, b in both.values()):
        exact = mean(0.0, 0.0)
        return Interval(exact, exact)
    return Interval(mean(limits.low, limits.high), mean(limits.high, limits.low))
