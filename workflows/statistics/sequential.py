"""Stopping a comparison early without spoiling its error: a test that holds at every moment.

Theory. Somebody bets against "the two are equal" on each cluster's mean difference d, rescaled to
x = (1 + d) / 2 in [0, 1], whose mean is then m = 1/2. A bet of l before x is known multiplies the
capital by 1 + l (x - m). Where the null is true no way of betting multiplies it by k with a
probability above 1 / k, at any time (Ville 1939), so that 1 / (highest capital so far) is a p value
that may be looked at after every cluster. The same for other m gives a confidence sequence.

Method: the hedged capital of Waudby-Smith and Ramdas (2010.09686; JRSS B 86, 2024), half of it on
"larger" and half on "smaller"; what counts is the larger one, max(K+ / 2, K- / 2), so that whoever
is decided on has a direction. The predictable plug-in is theirs by the approximate growth rate
(aGRAPA)::

    l = (mean - m) / (variance + (mean - m)**2), cut to [0, c / m] for K+, [-c / (1 - m), 0] for K-

with c = 1/2 and mean and variance of the clusters before, started as if one had been seen:
mean = (1/2 + sum x) / (t + 1), variance = (1/4 + sum (x - mean so far)**2) / (t + 1).

Over several pairs Holm's adjustment holds at every moment too, and who is decided stays so: the p
values only fall. Clusters must come in random order, which is what makes the first ones a fair
sample; a cluster in which a value is missing does not count for its pair, and is counted.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from math import exp, isfinite, log
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from workflows.statistics.intervals import Interval
from workflows.statistics.sign_flip import holm, holm_sizes

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

P = TypeVar("P", bound=Hashable)

CUT = 0.5
"""The share of the capital that may be lost by one bet: c in the theory above."""
GRID = 401
"""Means at which an interval is looked for, before its ends are refined."""
_HIGHEST = 700.0
"""Logarithm beyond which a capital is written as this one."""


@dataclass(frozen=True, slots=True)
class Standing(Generic[P]):
    """Where one pair stands."""

    pair: P
    clusters: int
    """Clusters that counted."""
    missing: int
    """Clusters in which a value was missing."""
    mean: float
    """Mean difference so far; 0 of nothing. After an early stop it is biased away from 0."""
    e_value: float
    """The highest capital so far, from 1."""
    p: float
    """1 / e-value, at most 1: valid whenever it is looked at."""
    p_holm: float
    """Adjusted over all pairs."""
    decided_after: int | None
    """Clusters added, missing ones included, when it was decided; None while it is not."""


class Saved(NamedTuple):
    """What stopping early leaves unasked."""

    asked: int
    """Clusters added."""
    planned: int

    @property
    def clusters(self) -> int:
        """Clusters that need not be asked."""
        return max(0, self.planned - self.asked)


class Decider(Generic[P]):
    """Decides pairs of protocols cluster by cluster; a pure object, in memory alone."""

    def __init__(
        self,
        pairs: Sequence[P],
        *,
        planned: int | None = None,
        error: float = 0.05,
        limit: float = 1.0,
    ) -> None:
        """Begin with nothing seen.

        Args:
            pairs: names of the pairs; all that are looked at, as the error is shared by them.
            planned: clusters that would be asked without stopping.
            error: the chance that any pair is decided wrongly, over all pairs and moments.
            limit: the most that a difference can be in size; 1 for shares of right answers.

        Raises:
            ValueError: no pairs, the same one twice, or an error or limit that cannot be.
        """
        import numpy as np

        if not pairs or len(set(pairs)) != len(pairs):
            raise ValueError("name every pair once, and at least one")
        if not (0 < error < 1 and limit > 0 and isfinite(limit)):
            raise ValueError(f"an error of {error} or a limit of {limit} cannot be")
        self._places = {pair: place for place, pair in enumerate(pairs)}
        self._error, self._limit, self._planned = error, limit, planned
        n = len(pairs)
        self._counts = np.zeros(n, dtype=int)
        self._sums, self._squares = np.zeros(n), np.zeros(n)
        self._up, self._down, self._highest = np.zeros(n), np.zeros(n), np.zeros(n)
        self._after: list[int | None] = [None] * n
        self._seen: list[Floats] = []
        self._clusters: set[str] = set()

    def add(self, cluster: str, differences: Mapping[P, float | None]) -> dict[P, bool]:
        """Take in a cluster, and return for every pair whether it is decided.

        Args:
            cluster: its name, for the check that each comes once.
            differences: the mean difference of every pair in it; None or no entry is missing.

        Raises:
            ValueError: the cluster was added before, a pair is not one of ours, or a difference
                is larger than the limit or not a number. Nothing is changed then.
        """
        import numpy as np

        if cluster in self._clusters:
            raise ValueError(f"cluster {cluster!r} was added before")
        row = np.full(len(self._places), np.nan)
        for pair, difference in differences.items():
            if pair not in self._places:
                raise ValueError(f"{pair!r} is none of the pairs")
            if difference is None:
                continue
            if not abs(difference) <= self._limit * (1 + 1e-9):
                raise ValueError(f"a difference of {difference} for {pair!r} cannot be")
            row[self._places[pair]] = min(1.0, max(0.0, (1 + difference / self._limit) / 2))
        self._clusters.add(cluster)
        self._seen.append(row)
        if self._bet(row):
            self._decide()
        return {pair: self._after[place] is not None for pair, place in self._places.items()}

    def _bet(self, row: Floats) -> bool:
        """Settle the bets on a cluster; return whether any capital reached a new height."""
        import numpy as np

        here = ~np.isnan(row)
        x = np.where(here, row, 0.5)  # a factor of 1
        bets = _bets(
            (0.5 + self._sums) / (self._counts + 1), (0.25 + self._squares) / (self._counts + 1)
        )
        self._up += np.log1p(bets.up * (x - 0.5))
        self._down += np.log1p(-bets.down * (x - 0.5))
        self._counts += here
        self._sums += np.where(here, x, 0.0)
        mean = (0.5 + self._sums) / (self._counts + 1)
        self._squares += np.where(here, (x - mean) ** 2, 0.0)
        capital = np.maximum(self._up, self._down) - log(2)
        rose = bool((capital > self._highest).any())
        np.maximum(self._highest, capital, out=self._highest)
        return rose

    def _decide(self) -> None:
        """Note down who is decided from now on."""
        import numpy as np

        # Nobody is decided while no pair reaches the first step of Holm's procedure, or more.
        if all(self._after) or self._highest.max() < log(1 / self._error):
            return
        for place, p in enumerate(holm(list(np.exp(-self._highest)))):
            if p <= self._error and self._after[place] is None:
                self._after[place] = len(self._seen)

    @property
    def all_decided(self) -> bool:
        """Whether nothing is left to be decided."""
        return all(after is not None for after in self._after)

    @property
    def saved(self) -> Saved | None:
        """What stopping now leaves unasked; None where it was not said how many are planned."""
        return None if self._planned is None else Saved(len(self._seen), self._planned)

    def standings(self) -> list[Standing[P]]:
        """Return where every pair stands, in the order in which they were named."""
        p_values = [exp(-highest) for highest in self._highest]
        adjusted = holm(p_values)
        return [
            Standing(
                pair=pair,
                clusters=(count := int(self._counts[place])),
                missing=len(self._seen) - count,
                mean=self._limit * (2 * float(self._sums[place]) / count - 1) if count else 0.0,
                e_value=exp(min(float(self._highest[place]), _HIGHEST)),
                p=p_values[place],
                p_holm=adjusted[place],
                decided_after=self._after[place],
            )
            for pair, place in self._places.items()
        ]

    def interval(self, pair: P) -> Interval:
        """Return the pair's confidence sequence by now, at the level at which Holm tests it.

        The smallest interval around all means that were never rejected, at any time so far.
        """
        import numpy as np

        place = self._places[pair]
        size = holm_sizes([exp(-highest) for highest in self._highest], self._error)[place]
        column = np.array([row[place] for row in self._seen])
        low, high = _kept(column[~np.isnan(column)], size)
        return Interval(self._limit * (2 * low - 1), self._limit * (2 * high - 1))


class _Bets(NamedTuple):
    """Bets on a larger and on a smaller value, both at least 0."""

    up: Floats
    down: Floats


def _bets(mean: Floats, variance: Floats, m: Floats | float = 0.5) -> _Bets:
    """Return the bets by the approximate growth rate against the mean m."""
    import numpy as np

    gap = mean - m
    best = gap / (variance + gap**2)
    return _Bets(np.clip(best, 0.0, CUT / np.asarray(m)), np.clip(-best, 0.0, CUT / (1 - m)))


def _kept(x: Floats, size: float) -> Interval:
    """Return the smallest interval around the means that the bets on `x` never rejected."""
    import numpy as np

    t = np.arange(x.size)
    means = (0.5 + np.cumsum(x)) / (t + 2)
    squares = np.concatenate(([0.25], 0.25 + np.cumsum((x - means) ** 2)))[:-1]
    before = np.concatenate(([0.5], means))[:-1]
    variances = squares / (t + 1)

    def rejected(m: float) -> bool:
        if not x.size:
            return False
        bets = _bets(before, variances, m)
        up = np.cumsum(np.log1p(bets.up * (x - m))).max()
        down = np.cumsum(np.log1p(-bets.down * (x - m))).max()
        return bool(max(up, down) - log(2) >= log(1 / size))

    def end(inner: float, outer: float) -> float:
        while abs(outer - inner) > 1e-9:
            middle = (inner + outer) / 2
            inner, outer = (inner, middle) if rejected(middle) else (middle, outer)
        return inner

    grid = [(k + 0.5) / GRID for k in range(GRID)]
    now = float(means[-1]) if x.size else 0.5
    kept = [m for m in (now, *grid) if not rejected(m)]
    if not kept:  # all was rejected at some time: the clusters are no fair sample of one mean
        return Interval(now, now)
    low, high = min(kept), max(kept)
    below = [m for m in grid if m < low]
    above = [m for m in grid if m > high]
    return Interval(end(low, below[-1]) if below else 0.0, end(high, above[0]) if above else 1.0)
