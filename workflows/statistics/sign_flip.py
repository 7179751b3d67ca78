"""The sign-flip permutation test, the interval that inverts it, and Holm's adjustment of both.

Theory. Under "the mean is d", flipping the signs of the clusters' deviations from d changes
nothing. A pattern of flips is at least as extreme as what was seen exactly where d lies between the
mean of the flipped clusters and the mean of the others (Hartigan 1969). So one set of patterns
gives the p value of every d at once: the share of those ranges that hold d; it falls on either side
of the observed mean; and the values of d that are not rejected are an interval, whose ends are two
order statistics. It holds 0 exactly where the test does not reject 0, because both are read off the
same patterns.

Patterns are drawn for the differences in sorted order, with a sum that is not negative. So the
result hangs on the seed and on which differences there are: not on the order of the clusters, and
the second protocol less the first gives the same p value and the mirrored interval. That is also
why a result can be remembered.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import floor, inf
from typing import TYPE_CHECKING, NamedTuple

from workflows.statistics.intervals import Interval

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

SIGN_FLIP_DRAWS = 100_000
EXACT_CLUSTERS = 20
TOGETHER = 32
"""From this many equal magnitudes on, they are drawn together, as a binomial."""
REMEMBERED = 4096
"""Results that are kept: a table, its sentences and its page ask for the same ones."""
TINY = 1e-9
"""Of the sum of magnitudes: sums of the same numbers in another order differ in their last bits."""


class _Patterns(NamedTuple):
    """Sums over patterns of flips."""

    sums: Floats
    """Of the signed differences."""
    signs: Floats
    """Of the signs alone, zeros included; empty where not asked for."""
    drawn: bool
    """Drawn, and not all there are: what was observed then counts as one more."""


class HolmAdjusted(NamedTuple):
    """One test of a family."""

    p: float
    """The adjusted p value."""
    interval: Interval
    """Excludes 0 exactly where `p` is at most the family's error."""
    size: float
    """One less the level at which the interval was made."""


def sign_flip_p(differences: Sequence[float], *, seed: int = 0) -> float:
    """Return the two-sided p value of the sign-flip permutation test that the mean is zero.

    Exact with up to 20 non-zero differences, else from 100,000 seeded draws (the observed one
    counted among them). With differences of -1, 0 and 1 the exact test is exact McNemar.
    """
    return _p_of(_upright(differences)[0], seed)


@lru_cache(maxsize=REMEMBERED)
def _p_of(upright: bytes, seed: int) -> float:
    import numpy as np

    data = np.frombuffer(upright)
    if not np.any(data):
        return 1.0
    found = _patterns(data, seed, signs=False)
    hits = int(np.count_nonzero(_as_extreme(data, found.sums)))
    return (found.drawn + hits) / (found.drawn + found.sums.size)


def sign_flip_interval(
    differences: Sequence[float], size: float = 0.05, *, seed: int = 0, limit: float = 1.0
) -> Interval:
    """Return the means that the sign-flip test does not reject.

    It excludes 0 exactly where :func:`sign_flip_p` of the same differences and seed is at most
    `size`. Where the clusters are too few for any rejection it reaches from -`limit` to `limit`.

    Args:
        differences: the mean difference of every cluster.
        size: of the test, between 0 and 1; one less the interval's level.
        seed: of the draws.
        limit: the most that a mean can be in size; infinite for scores without bounds.
    """
    if not 0.0 < size < 1.0:
        raise ValueError(f"the size of a test is between 0 and 1, not {size}")
    upright, mirrored = _upright(differences)
    found = _interval_of(upright, size, seed, limit)
    return Interval(-found.high, -found.low) if mirrored else found


@lru_cache(maxsize=REMEMBERED)
def _interval_of(upright: bytes, size: float, seed: int, limit: float) -> Interval:
    import numpy as np

    data = np.frombuffer(upright)
    if data.size < 2:
        return Interval(-limit, limit)
    found = _patterns(data, seed, signs=True)
    lows, highs = _ranges(data, found)
    allowed = floor(size * (found.drawn + lows.size) * (1 + 1e-12)) - found.drawn
    if allowed < 0:
        return Interval(-limit, limit)
    low = float(np.partition(lows, allowed)[allowed])
    high = -float(np.partition(-highs, allowed)[allowed])
    return Interval(max(low, -limit), min(high, limit))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p values adjusted for their number. Source: Holm (1979)."""
    order = sorted(range(len(p_values)), key=lambda place: p_values[place])
    adjusted = [1.0] * len(p_values)
    highest = 0.0
    for rank, place in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = highest
    return adjusted


def holm_sizes(p_values: Sequence[float], error: float = 0.05) -> list[float]:
    """Return the size at which Holm's procedure tests each of `p_values`, in their order.

    The smallest of m is tested at error / m, the next at error / (m - 1) and so on; the first that
    is not rejected ends it, and all that follow keep its size.
    """
    m, sizes, step = len(p_values), [error] * len(p_values), 0
    for place in sorted(range(m), key=lambda place: p_values[place]):
        sizes[place] = error / (m - step)
        if _at_most(p_values[place], sizes[place]):
            step += 1
            continue
        rest = [other for other in range(m) if p_values[other] >= p_values[place]]
        for other in rest:
            sizes[other] = sizes[place]
        break
    return sizes


def holm_adjusted(
    families: Sequence[Sequence[float]],
    *,
    seed: int = 0,
    error: float = 0.05,
    limit: float = 1.0,
) -> list[HolmAdjusted]:
    """Return adjusted p values of several sign-flip tests with the intervals that agree with them.

    Each interval inverts the same test at the size at which Holm's step-down procedure tests it
    (:func:`holm_sizes`), so that it excludes 0 exactly where the adjusted p value is at most
    `error`. The chance that any of them wrongly excludes 0 is at most `error`; that all of them
    hold their true values at once is not promised.

    Args:
        families: for every test the mean difference of every cluster.
        seed: of the draws.
        error: the family's.
        limit: the most that a mean can be in size.
    """
    p_values = [sign_flip_p(differences, seed=seed) for differences in families]
    sizes = holm_sizes(p_values, error)
    return [
        HolmAdjusted(p, sign_flip_interval(differences, size, seed=seed, limit=limit), size)
        for differences, p, size in zip(families, holm(p_values), sizes, strict=True)
    ]


def _upright(differences: Sequence[float]) -> tuple[bytes, bool]:
    """Return the differences sorted, with a sum that is not negative, and whether they are turned.

    Of a sum that is 0 but for its last bits the way round is told by the differences themselves.
    """
    import numpy as np

    one = np.sort(np.asarray(differences, dtype=float)) + 0.0  # -0.0 is 0.0
    other = np.sort(-one) + 0.0
    even = abs(one.sum()) <= TINY * np.abs(one).sum()
    mirrored = list(other) > list(one) if even else bool(one.sum() < 0)
    return (other if mirrored else one).tobytes(), mirrored


def _at_most(p: float, size: float) -> bool:
    """Whether a test of this size rejects; equal but for the last bits is equal."""
    return p <= size * (1 + 1e-12)


def _as_extreme(data: Floats, sums: Floats) -> NDArray[np.bool_]:
    import numpy as np

    found: NDArray[np.bool_] = np.abs(sums) >= abs(data.sum()) - TINY * np.abs(data).sum()
    return found


def _ranges(data: Floats, found: _Patterns) -> tuple[Floats, Floats]:
    """Return both ends of the means for which each pattern is as extreme as what was seen."""
    import numpy as np

    sums, signs = found.sums, found.signs
    flipped, kept = data.size - signs, data.size + signs  # twice how many
    total = data.sum()
    one = np.divide(total - sums, flipped, out=np.full(sums.shape, -inf), where=flipped > 0)
    other = np.divide(total + sums, kept, out=np.full(sums.shape, inf), where=kept > 0)
    lows, highs = np.minimum(one, other), np.maximum(one, other)
    # All kept or all flipped: what was seen itself, which is as extreme under any mean.
    trivial = (flipped <= 0) | (kept <= 0)
    lows[trivial], highs[trivial] = -inf, inf
    at_zero = _as_extreme(data, sums)
    return np.where(at_zero, np.minimum(lows, 0.0), lows), np.where(
        at_zero, np.maximum(highs, 0.0), highs
    )


def _patterns(data: Floats, seed: int, *, signs: bool) -> _Patterns:
    """Return the patterns of flips: all of them, or drawn ones.

    The sums do not hang on `signs`: what only the signs need is drawn from a generator of its own.
    """
    import numpy as np

    values = data[data != 0.0]
    zeros = data.size - values.size
    own = np.random.default_rng((seed, 1))
    many = values.size > EXACT_CLUSTERS
    if many:
        sums, balance = _drawn(values, seed, own if signs else None)
    else:
        sums = _all_sums(values)
        balance = _all_sums(np.ones(values.size)) if signs else np.zeros(0)
        if signs and zeros:  # each pattern stands as often as any other, with other flips of zeros
            again = -(-SIGN_FLIP_DRAWS // sums.size)
            sums, balance = np.tile(sums, again), np.tile(balance, again)
    if signs and zeros:
        balance = balance + 2 * own.binomial(zeros, 0.5, sums.size) - zeros
    return _Patterns(sums, balance, drawn=many)


def _all_sums(values: Floats) -> Floats:
    """Return the sums of `values` under all 2**n choices of signs."""
    import numpy as np

    sums = np.zeros(1)
    for value in values:
        sums = np.concatenate((sums + value, sums - value))
    return sums


def _drawn(values: Floats, seed: int, own: np.random.Generator | None) -> tuple[Floats, Floats]:
    """Return sums under random signs, and with `own` the sums of the signs too.

    Many equal magnitudes are drawn together, as a binomial; how many of the upright ones were
    positive before is then hypergeometric. The rest is drawn bit by bit.
    """
    import numpy as np

    generator = np.random.default_rng(seed)
    sums, balance = np.zeros(SIGN_FLIP_DRAWS), np.zeros(SIGN_FLIP_DRAWS if own else 0)
    sizes = np.abs(values)
    magnitudes, counts = np.unique(sizes, return_counts=True)
    alone = np.ones(values.size, dtype=bool)
    for magnitude, count in zip(magnitudes, map(int, counts), strict=True):
        if count < TOGETHER:
            continue
        here = sizes == magnitude
        alone &= ~here
        upright = generator.binomial(count, 0.5, SIGN_FLIP_DRAWS)
        sums += magnitude * (2 * upright - count)
        if own is not None:
            positive = int(np.count_nonzero(values[here] > 0))
            both = own.hypergeometric(positive, count - positive, upright)
            balance += 2 * (2 * both - upright) + count - 2 * positive
    rest = values[alone]
    for start in range(0, rest.size, 8):
        eight = rest[start : start + 8]
        drawn = generator.integers(0, 2**eight.size, SIGN_FLIP_DRAWS)
        sums += _all_sums(eight)[drawn]
        if own is not None:
            balance += _all_sums(np.ones(eight.size))[drawn]
    return sums, balance
