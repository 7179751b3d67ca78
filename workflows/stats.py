"""Statistics of a comparison: intervals, paired differences and power, as pure functions.

The unit is the cluster: what repeats together (the story where questions share one, else the
question). Orders, sides and repeats of one question lie inside it. A paired difference is the
mean over clusters of each cluster's mean difference; its interval and its test are about the same
figure. Values are shares of right answers in [0, 1]; None is missing, never wrong.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

RESAMPLES = 10_000
SIGN_FLIP_DRAWS = 100_000
EXACT_CLUSTERS = 20
FEW_CLUSTERS = 30
"""Below this many clusters the bootstrap's interval is too short, and t is used instead."""


class Interval(NamedTuple):
    """The two ends of an interval."""

    low: float
    high: float


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
        return Interval(0.0, 1.0)
    z = NormalDist().inv_cdf(0.5 + level / 2)
    share = correct / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    low = 0.0 if correct == 0 else max(0.0, centre - half)
    high = 1.0 if correct == n else min(1.0, centre + half)
    return Interval(low, high)


def smallest_detectable_difference(
    n: int, discordance: float, power: float = 0.8, level: float = 0.95
) -> float | None:
    """Return the smallest true difference that n pairs detect with probability `power`.

    Args:
        n: pairs, each one question answered by both.
        discordance: the share of pairs on which the two differ.
        power: the probability of detecting it.
        level: one less the size of the two-sided test.

    Returns:
        The difference of two accuracies; None where even a difference as large as the discordance
        (all that can differ) would be missed.

    Source: Connor (1987), Biometrics 43, equation 2.1, solved for the difference.
    """
    if n < 1 or not 0 < discordance <= 1:
        return None
    z_size = NormalDist().inv_cdf(0.5 + level / 2)
    z_power = NormalDist().inv_cdf(power)
    under_root = n + z_power**2 - z_size**2
    if under_root < 0:
        return None
    root = sqrt(n) * z_size + z_power * sqrt(under_root)
    difference = sqrt(discordance) * root / (n + z_power**2)
    return difference if difference <= discordance else None


def sign_flip_p(differences: Sequence[float], *, seed: int = 0) -> float:
    """Return the two-sided p value of the sign-flip permutation test that the mean is zero.

    Exact with up to 20 non-zero differences, else from 100,000 seeded draws (the observed one
    counted among them). With differences of -1, 0 and 1 the exact test is exact McNemar.
    """
    import numpy as np

    values = np.abs(np.asarray([d for d in differences if d != 0.0], dtype=float))
    if values.size == 0:
        return 1.0
    observed = abs(float(np.sum(np.asarray(differences, dtype=float))))
    # Sums of the same numbers in another order differ in their last bits; those are ties.
    threshold = observed - 1e-9 * float(np.sum(values))
    if values.size <= EXACT_CLUSTERS:
        return float(np.mean(np.abs(_all_sums(values)) >= threshold))
    hits = int(np.sum(np.abs(_drawn_sums(values, seed)) >= threshold))
    return (1 + hits) / (1 + SIGN_FLIP_DRAWS)


def _all_sums(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the sums of `values` under all 2**n choices of signs."""
    import numpy as np

    sums = np.zeros(1)
    for value in values:
        sums = np.concatenate((sums + value, sums - value))
    return sums


def _drawn_sums(values: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
    """Return sums under random signs; equal magnitudes are drawn together, as a binomial."""
    import numpy as np

    generator = np.random.default_rng(seed)
    sums = np.zeros(SIGN_FLIP_DRAWS)
    for magnitude, count in zip(*np.unique(values, return_counts=True), strict=True):
        sums += magnitude * (2 * generator.binomial(int(count), 0.5, SIGN_FLIP_DRAWS) - count)
    return sums


def mean_interval(
    values: Sequence[float], *, seed: int = 0, level: float = 0.95
) -> tuple[Interval, Literal["bootstrap", "t", "none"]]:
    """Return an interval for the mean of one value a cluster, and how it was made.

    From 30 clusters on the percentile bootstrap with 10,000 seeded resamples; with fewer, Student's
    t with clusters - 1 degrees of freedom; with fewer than two, none ([-1, 1]).
    """
    import numpy as np

    data = np.asarray(values, dtype=float)
    n = data.size
    if n < 2:
        return Interval(-1.0, 1.0), "none"
    mean = float(np.mean(data))
    if n < FEW_CLUSTERS:
        from scipy.special import stdtrit

        half = float(stdtrit(n - 1, 0.5 + level / 2)) * float(np.std(data, ddof=1)) / sqrt(n)
        return Interval(mean - half, mean + half), "t"
    means = _resampled_means(data, seed)
    low, high = np.quantile(means, [0.5 - level / 2, 0.5 + level / 2])
    return Interval(float(low), float(high)), "bootstrap"


def _resampled_means(data: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
    """Return the means of 10,000 resamples of `data`.

    How often each distinct value is drawn is multinomial; drawing that is the same bootstrap, and
    far less work where values are few (-1, 0 and 1 for single questions).
    """
    import numpy as np

    generator = np.random.default_rng(seed)
    distinct, counts = np.unique(data, return_counts=True)
    shares = counts / data.size
    rows = max(1, 2_000_000 // distinct.size)  # bounds the memory of one block
    blocks = [
        generator.multinomial(data.size, shares, size=min(rows, RESAMPLES - start)) @ distinct
        for start in range(0, RESAMPLES, rows)
    ]
    return np.concatenate(blocks) / data.size


def paired_difference(
    first: Mapping[str, float | None],
    second: Mapping[str, float | None],
    clusters: Mapping[str, str] | None = None,
    *,
    seed: int = 0,
    level: float = 0.95,
) -> PairedDifference:
    """Compare two protocols on the same questions, cluster by cluster.

    Args:
        first: question id -> share right in [0, 1]; None (or no entry) is missing.
        second: the same for the other protocol.
        clusters: question id -> cluster; by default each question is its own.
        seed: of the bootstrap and of the test's draws.
        level: of the interval.
    """
    ids = sorted(set(first) | set(second))
    groups: dict[str, list[str]] = defaultdict(list)
    for question in ids:
        groups[clusters.get(question, question) if clusters else question].append(question)
    both = {q: (first.get(q), second.get(q)) for q in ids}
    complete: list[list[float]] = []
    for name in sorted(groups):
        pairs = [both[q] for q in groups[name]]
        differences = [a - b for a, b in pairs if a is not None and b is not None]
        if len(differences) == len(pairs):
            complete.append(differences)
    means = [sum(values) / len(values) for values in complete]
    interval, method = mean_interval(means, seed=seed, level=level)
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
        bounds=_bounds(both, groups),
    )


def _bounds(
    both: Mapping[str, tuple[float | None, float | None]], groups: Mapping[str, Sequence[str]]
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

    return Interval(mean(0.0, 1.0), mean(1.0, 0.0))
