"""Power of a paired comparison: what n questions can show, and how many a difference needs.

The test is the one that is made: exact McNemar, which the sign-flip test is on single questions.
Its power is computed, not approximated: of n pairs a binomial number differs, and of these a
binomial number is in favour; both are summed over. The usual formula (Connor 1987) is for the test
without continuity correction and promises between 1 and 2 times 1/difference pairs too few.

Where questions share a cluster, n questions are worth n / design effect single ones (Kish 1965).
That holds for many clusters; with fewer than some 30 a comparison needs more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import ceil, floor, sqrt
from statistics import NormalDist, fmean
from typing import TYPE_CHECKING

from workflows.comparing.wording import counted_of
from workflows.statistics.intervals import grouped

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

POWER = 0.8
LEVEL = 0.95
MOST = 1_000_000
"""Questions beyond which none are counted."""
_REACH = 9.0
"""Standard deviations of the number that differs which are summed over."""


@dataclass(frozen=True, slots=True)
class QuestionsNeeded:
    """How many questions a comparison needs to show a difference."""

    difference: float
    """Of two accuracies, which is to be found."""
    discordance: float
    """The share of questions on which the two differ."""
    questions: int | None
    """None where the difference cannot be: larger than the discordance, or beyond counting."""
    power: float = POWER
    """The probability of finding it."""
    level: float = LEVEL
    design_effect: float = 1.0
    """How many questions in clusters are worth one single question."""

    def more_than(self, n: int) -> int | None:
        """Return how many more are needed than there are; 0 if there are enough."""
        return None if self.questions is None else max(0, self.questions - n)

    @property
    def sentence(self) -> str:
        """Return it in a line for people."""
        what = f"a difference of {100 * self.difference:.1f} points"
        if self.discordance < self.difference:
            return (
                f"{what} cannot be where only {100 * self.discordance:.1f} % of the questions "
                "come out differently."
            )
        if self.questions is None:
            return f"{what} needs more than {MOST:,} questions."
        among = (
            ""
            if self.design_effect == 1.0
            else f", with a design effect of {self.design_effect:.1f} for what questions share"
        )
        return (
            f"{what} needs {counted_of(self.questions, 'question')} "
            f"({100 * self.power:.0f} % power, {100 * self.discordance:.0f} % of the questions "
            f"coming out differently{among})."
        )


def design_effect(cluster_size: float, correlation: float) -> float:
    """Return by how much clusters inflate the variance of a mean: 1 + (size - 1) * correlation.

    Args:
        cluster_size: questions a cluster; of unequal ones sum of squares / sum.
        correlation: of two questions of one cluster; at least 0.

    Source: Kish (1965), Survey Sampling, section 5.4.
    """
    if cluster_size < 1 or not 0 <= correlation <= 1:
        raise ValueError(f"{cluster_size} questions a cluster, correlated by {correlation}")
    return 1 + (cluster_size - 1) * correlation


def measured_design_effect(
    differences: Mapping[str, float], clusters: Mapping[str, str] | None
) -> float:
    """Return the design effect of paired differences that were measured.

    The correlation within clusters is the one-way analysis of variance's, at least 0 (Donner and
    Koval 1980); 1 where every cluster has one question, or there are fewer than two clusters.
    """
    groups = [
        [differences[q] for q in questions] for questions in grouped(differences, clusters).values()
    ]
    n, k = len(differences), len(groups)
    if k < 2 or n == k:
        return 1.0
    mean = fmean(differences.values())
    between = sum(len(g) * (fmean(g) - mean) ** 2 for g in groups) / (k - 1)
    within = sum((value - fmean(g)) ** 2 for g in groups for value in g) / (n - k)
    squares = sum(len(g) ** 2 for g in groups)
    size = (n - squares / n) / (k - 1)
    total = between + (size - 1) * within
    correlation = min(1.0, max(0.0, (between - within) / total)) if total > 0 else 0.0
    return design_effect(squares / n, correlation)


def paired_power(n: float, difference: float, discordance: float, *, level: float = LEVEL) -> float:
    """Return the probability that exact McNemar on n pairs shows a true difference.

    Args:
        n: pairs; of questions in clusters n / design effect.
        difference: of the two accuracies, in size at most the discordance.
        discordance: the share of pairs on which the two differ.
        level: one less the size of the two-sided test; only rejections on the right side count.
    """
    import numpy as np
    from scipy.special import gammaln, xlog1py, xlogy

    pairs = floor(n + 1e-9)
    if pairs < 1 or discordance <= 0:
        return 0.0
    favour = min(1.0, 0.5 + abs(difference) / (2 * discordance))
    spread = _REACH * sqrt(pairs * discordance * (1 - discordance)) + 1
    first = max(0, floor(pairs * discordance - spread))
    last = min(pairs, ceil(pairs * discordance + spread))
    k = np.arange(first, last + 1, dtype=float)
    ways = gammaln(pairs + 1) - gammaln(k + 1) - gammaln(pairs - k + 1)
    weights = np.exp(ways + xlogy(k, discordance) + xlog1py(pairs - k, -discordance))
    return float(min(1.0, weights @ _at_least(_critical(first, last, level), k, favour)))


def _at_least(c: Floats, k: Floats, p: float) -> Floats:
    """Return the probability that c or more of k come out in favour, each with probability p."""
    import numpy as np
    from scipy.special import betainc

    possible = (c > 0) & (c <= k)
    found: Floats = betainc(np.where(possible, c, 1), np.where(possible, k - c + 1, 1), p)
    return np.where(c <= 0, 1.0, np.where(possible, found, 0.0))


@lru_cache(maxsize=64)
def _critical(first: int, last: int, level: float) -> Floats:
    """Return for k = first..last the fewest of k in favour at which the exact test rejects."""
    import numpy as np

    k = np.arange(first, last + 1, dtype=float)
    tail = (1 - level) / 2
    z = NormalDist().inv_cdf(1 - tail)
    fewest: Floats = np.maximum(k // 2 + 1, np.floor(k / 2 + z * np.sqrt(k) / 2) - 3)
    while True:
        short = (fewest <= k) & (_at_least(fewest, k, 0.5) > tail * (1 + 1e-12))
        if not short.any():
            return fewest
        fewest = fewest + short


def questions_needed(
    difference: float,
    discordance: float,
    *,
    power: float = POWER,
    level: float = LEVEL,
    design_effect: float = 1.0,
) -> QuestionsNeeded:
    """Return how many questions show a difference with probability `power`.

    Args:
        difference: of the two accuracies, above 0.
        discordance: the share of questions on which the two differ. Two protocols of the accuracies
            a and b that have nothing in common differ on a (1 - b) + b (1 - a) of them.
        power: the probability of showing it, between 0 and 1.
        level: one less the size of the two-sided test.
        design_effect: how many questions in clusters are worth one single question.

    Raises:
        ValueError: one of them cannot be.
    """
    if not (0 < difference <= 1 and 0 < discordance <= 1 and 0 < power < 1 and 0 < level < 1):
        raise ValueError(
            f"a difference of {difference}, a discordance of {discordance}, a power of {power} or "
            f"a level of {level} is not between 0 and 1"
        )
    if design_effect < 1:
        raise ValueError(f"a design effect is at least 1, not {design_effect}")
    questions = None
    if difference <= discordance:
        single = _pairs_needed(difference, discordance, power, level)
        questions = None if single is None else ceil(single * design_effect - 1e-9)
    return QuestionsNeeded(difference, discordance, questions, power, level, design_effect)


def _pairs_needed(difference: float, discordance: float, power: float, level: float) -> int | None:
    """Return the pairs at which the power is reached, and with fewer by one is not."""

    def enough(n: int) -> bool:
        return paired_power(n, difference, discordance, level=level) >= power

    normal = NormalDist()
    z_size, z_power = normal.inv_cdf(0.5 + level / 2), normal.inv_cdf(power)
    root = z_size * sqrt(discordance) + z_power * sqrt(max(0.0, discordance - difference**2))
    low, high = 0, max(8, ceil((root / difference) ** 2))  # Connor (1987), without correction
    while not enough(high):
        low, high = high, high * 2
        if high > MOST:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


@lru_cache(maxsize=4096)  # a table and its page ask for the same ones
def smallest_difference(
    n: int,
    discordance: float,
    *,
    power: float = POWER,
    level: float = LEVEL,
    design_effect: float = 1.0,
) -> float | None:
    """Return the smallest true difference that n questions show with probability `power`.

    The inverse of :func:`questions_needed`; None where even a difference as large as the
    discordance (all that can differ) would be missed.
    """
    pairs = n / design_effect
    if n < 1 or not 0 < discordance <= 1:
        return None
    if paired_power(pairs, discordance, discordance, level=level) < power:
        return None
    low, high = 0.0, discordance
    while high - low > 1e-10:
        middle = (low + high) / 2
        reached = paired_power(pairs, middle, discordance, level=level) >= power
        low, high = (low, middle) if reached else (middle, high)
    return high
