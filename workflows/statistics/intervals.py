"""Intervals for means of outcomes over clusters: Wilson, cluster bootstrap, and t where few.

The unit is the cluster: what repeats together. Everything is seeded, and None is missing, never
wrong.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import isfinite, sqrt
from statistics import NormalDist, fmean
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

RESAMPLES = 10_000
FEW_CLUSTERS = 30
"""Below this many clusters the bootstrap's interval is too short, and t is used instead."""
REMEMBERED = 4096
"""Intervals that are kept: a table, its sentences and its page ask for the same ones."""
FEW_DISTINCT = 64
"""Up to this many distinct clusters, how often each is drawn is cheaper than which are drawn."""

Made = Literal["wilson", "wilson of units", "bootstrap", "t", "none"]
"""How an interval was made; none with fewer than two clusters. Of units: Wilson's over the clusters
in the place of the questions, where all clusters came out the same and resampling them would give a
point."""


class Interval(NamedTuple):
    """The two ends of an interval."""

    low: float
    high: float


SHARES = Interval(0.0, 1.0)
"""The least and the most that a share of right answers can be."""
SCORES = Interval(float("-inf"), float("inf"))
"""The same of scores without bounds."""


@dataclass(frozen=True, slots=True)
class MeanOutcome:
    """The accuracy, or the mean score, of one protocol."""

    mean: float | None
    """Sum of the outcomes / n; None where all are missing."""
    n: int
    """Questions asked, less the missing ones."""
    missing: int
    clusters: int
    """Clusters with a question that is not missing."""
    interval: Interval | None
    """None where all are missing."""
    method: Made
    bounds: Interval | None
    """The mean over all questions asked with every missing one at its worst and at its best; None
    of nothing asked."""


def wilson(correct: float, n: int, level: float = 0.95) -> Interval:
    """Return Wilson's score interval for a proportion.

    Args:
        correct: how many of `n` are right; may be fractional, as a tie counts half.
        n: how many there are; with none the interval is [0, 1].
        level: the coverage, between 0 and 1.

    Source: Wilson (1927), without continuity correction.
    """
    if not 0 <= correct <= max(n, 0):
        raise ValueError(f"{correct} right out of {n} cannot be")
    if n == 0:
        return SHARES
    z = NormalDist().inv_cdf(0.5 + level / 2)
    share = correct / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    low = 0.0 if correct == 0 else max(0.0, centre - half)
    high = 1.0 if correct == n else min(1.0, centre + half)
    return Interval(low, high)


def mean_interval(
    values: Sequence[float], *, seed: int = 0, level: float = 0.95, limit: float = 1.0
) -> tuple[Interval, Literal["bootstrap", "t", "none"]]:
    """Return an interval for the mean of one value a cluster, and how it was made.

    From 30 clusters on the percentile bootstrap with 10,000 seeded resamples; with fewer, Student's
    t with clusters - 1 degrees of freedom, cut to what can be; with fewer than two, none (from
    -`limit` to `limit`, which is the most that a mean can be in size).
    """
    import numpy as np

    return _mean_interval(np.asarray(values, dtype=float).tobytes(), seed, level, limit)


@lru_cache(maxsize=REMEMBERED)
def _mean_interval(
    values: bytes, seed: int, level: float, limit: float
) -> tuple[Interval, Literal["bootstrap", "t", "none"]]:
    import numpy as np

    data = np.frombuffer(values)
    n = data.size
    if n < 2:
        return Interval(-limit, limit), "none"
    if n < FEW_CLUSTERS:
        half = t_quantile(n - 1, level) * float(np.std(data, ddof=1)) / sqrt(n)
        mean = float(np.mean(data))
        return Interval(max(-limit, mean - half), min(limit, mean + half)), "t"
    means = resampled_sums(data[:, np.newaxis], seed)[:, 0] / n
    return percentiles(means, level), "bootstrap"


def mean_outcome(
    values: Mapping[str, float | None],
    clusters: Mapping[str, str] | None = None,
    *,
    seed: int = 0,
    level: float = 0.95,
    limits: Interval = SHARES,
) -> MeanOutcome:
    """Return the accuracy of one protocol, or its mean score, by the missing-data rule.

    Right / (asked - missing). The interval is Wilson's where every question is its own cluster;
    else whole clusters are resampled and the ratio of sums is taken anew, or, with fewer than 30,
    t is used on the clusters' deviations from the mean (the linearised ratio). Where all clusters
    have the same share, as with nothing right at all, both would give a point: then it is Wilson's
    with the clusters as the observations.

    Args:
        values: every question asked -> its outcome; None is missing.
        clusters: question -> what repeats together; by default each question is its own.
        seed: of the bootstrap.
        level: of the interval.
        limits: the least and the most that an outcome can be; `SCORES` for no bounds.

    Raises:
        ValueError: an outcome is outside `limits`, or not a number.
    """
    checked(values, limits)
    present = {q: value for q, value in values.items() if value is not None}
    total, n, missing = sum(present.values()), len(present), len(values) - len(present)
    groups = grouped(present, clusters)
    if n == 0:
        return MeanOutcome(None, 0, missing, 0, None, "none", limits if missing else None)
    sums = tuple(
        (sum(present[q] for q in groups[name]), len(groups[name])) for name in sorted(groups)
    )
    interval, method = _ratio_interval(sums, seed=seed, level=level, limits=limits)
    return MeanOutcome(
        mean=total / n,
        n=n,
        missing=missing,
        clusters=len(groups),
        interval=interval,
        method=method,
        bounds=Interval(
            *((total + (missing * end if missing else 0.0)) / len(values) for end in limits)
        ),
    )


@lru_cache(maxsize=REMEMBERED)
def _ratio_interval(
    sums: tuple[tuple[float, int], ...], *, seed: int, level: float, limits: Interval
) -> tuple[Interval, Made]:
    """Return the interval of sum / count over clusters of (sum, count)."""
    import numpy as np

    total, n = sum(one for one, _ in sums), sum(count for _, count in sums)
    if limits == SHARES and n == len(sums):
        return wilson(min(total, n), n, level), "wilson"
    if len(sums) < 2:
        return limits, "none"
    mean, size = total / n, n / len(sums)
    if limits == SHARES and all(abs(one - count * mean) <= 1e-9 * count for one, count in sums):
        return wilson(min(mean, 1.0) * len(sums), len(sums), level), "wilson of units"
    if len(sums) < FEW_CLUSTERS:
        deviations = [(one - count * mean) / size for one, count in sums]
        (low, high), _ = mean_interval(deviations, level=level, limit=limits.high - limits.low)
        return Interval(max(limits.low, mean + low), min(limits.high, mean + high)), "t"
    drawn = resampled_sums(np.asarray(sums, dtype=float), seed)
    return percentiles(drawn[:, 0] / drawn[:, 1], level), "bootstrap"


def resampled_sums(rows: Floats, seed: int) -> Floats:
    """Return the column sums of 10,000 resamples of `rows`, one row a cluster.

    Where rows repeat, how often each distinct one is drawn is multinomial: the same bootstrap, and
    far less work where they are few (-1, 0 and 1 for single questions).
    """
    import numpy as np

    generator = np.random.default_rng(seed)
    n = len(rows)
    distinct, counts = np.unique(rows, axis=0, return_counts=True)
    if len(distinct) <= FEW_DISTINCT:
        found: Floats = generator.multinomial(n, counts / n, size=RESAMPLES) @ distinct
        return found
    block = max(1, 2_000_000 // n)  # bounds the memory
    return np.concatenate(
        [
            rows[generator.integers(0, n, (min(block, RESAMPLES - start), n))].sum(axis=1)
            for start in range(0, RESAMPLES, block)
        ]
    )


def percentiles(drawn: Floats, level: float) -> Interval:
    """Return the percentile interval of what was drawn."""
    import numpy as np

    low, high = np.quantile(drawn, [0.5 - level / 2, 0.5 + level / 2])
    return Interval(float(low), float(high))


def t_quantile(degrees: int, level: float) -> float:
    """Return how many standard errors a two-sided interval of Student's t reaches."""
    from scipy.special import stdtrit

    return float(stdtrit(degrees, 0.5 + level / 2))


def t_interval(mean: float, error: float, degrees: int, level: float) -> Interval:
    """Return the interval of a mean with a standard error and its degrees of freedom."""
    half = t_quantile(degrees, level) * error
    return Interval(mean - half, mean + half)


def grouped(questions: Iterable[str], clusters: Mapping[str, str] | None) -> dict[str, list[str]]:
    """Return the questions of every cluster; one without a cluster is its own."""
    groups: dict[str, list[str]] = defaultdict(list)
    for question in questions:
        groups[clusters.get(question, question) if clusters else question].append(question)
    return dict(groups)


def checked(values: Mapping[str, float | None], limits: Interval) -> None:
    """Refuse outcomes that cannot be.

    Raises:
        ValueError: one is outside `limits`, or not a finite number.
    """
    for question, value in values.items():
        if value is not None and not (
            isfinite(value) and limits.low - 1e-9 <= value <= limits.high + 1e-9
        ):
            raise ValueError(f"the outcome of {question!r} is {value}, which cannot be")


def cluster_means(
    values: Mapping[str, float], clusters: Mapping[str, str] | None = None
) -> dict[str, float]:
    """Return the mean of every cluster, by its name, sorted."""
    groups = grouped(values, clusters)
    return {name: fmean(values[q] for q in groups[name]) for name in sorted(groups)}
