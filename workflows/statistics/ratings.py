"""Ratings from who beat whom: Bradley-Terry strengths and their intervals, as pure functions.

Theory. In the model of Bradley and Terry player i beats player j with probability
``p_i / (p_i + p_j)``. The most likely strengths are the fixed point of Newman's iteration::

    p_i <- sum_j(w_ij p_j / (p_i + p_j)) / sum_j(w_ji / (p_i + p_j))

where ``w_ij`` counts the wins of i against j. Wins may be fractions: a judge's probability is a
win of that size and a loss of the rest. Only ratios of strengths matter, so they are scaled to a
geometric mean of 1, and shown on the scale of Elo: 400 points for odds of ten to one, mean 0.

Some results have no most likely strengths. Whoever was never beaten would be infinitely strong,
and so would a group of which nobody was ever beaten by anybody outside it. Everybody in such a
group, and everybody in a group that never won against the rest, is given one virtual win and one
virtual loss, against an opponent that has no other games. Who was stands beside the strengths and
is to be said wherever they are shown. Players that are not connected by games, through others
either, cannot be rated together at all: the strengths are None.

Sources: Bradley and Terry (1952); Newman 2207.00076 (the iteration, one player after the other,
and virtual games). Departure: there everybody has the virtual games, here only those who need
them, so that ordinary results keep their plain maximum likelihood.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log10
from typing import TYPE_CHECKING, NamedTuple

from workflows.statistics.paired import FEW_CLUSTERS, Interval

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Flags = NDArray[np.bool_]

RATING_RESAMPLES = 1_000
SWEEPS = 10_000
TOLERANCE = 1e-10
"""The change of the logarithm of a strength below which the iteration has arrived."""
NOTHING = 1e-9
"""Fractions of a win below this are none."""


class Strengths(NamedTuple):
    """Strengths of players, in the order of the matrix."""

    values: tuple[float, ...]
    """Their geometric mean is 1."""
    virtual: tuple[int, ...]
    """The players that were given a virtual win and a virtual loss."""


@dataclass(frozen=True, slots=True)
class RatingIntervals:
    """Intervals of ratings, from resampled clusters."""

    intervals: tuple[Interval | None, ...]
    """By player, on the scale of Elo; None with fewer than two clusters."""
    clusters: int
    """How many there are."""
    left_out: int
    """Resamples in which the players were not connected by games."""

    @property
    def few(self) -> bool:
        """Whether there are so few clusters that the intervals are too short."""
        return self.clusters < FEW_CLUSTERS


def bradley_terry(wins: Sequence[Sequence[float]]) -> Strengths | None:
    """Return the most likely strengths.

    Args:
        wins: ``wins[i][j]``, how often i beat j, not negative; the diagonal is not used.

    Returns:
        None where the players are not connected by games; see :func:`connected_groups`.

    Raises:
        ValueError: the matrix is empty, not square, or holds what is no count.
    """
    import numpy as np

    matrix = _checked(wins)
    values, virtual, connected = _strengths(matrix[np.newaxis])
    if not connected[0]:
        return None
    players = tuple(int(player) for player in np.flatnonzero(virtual[0]))
    return Strengths(tuple(map(float, values[0])), players)


def elo(strength: float) -> float:
    """Return a strength on the scale of Elo: 0 for 1, 400 points for odds of ten to one."""
    return 400.0 * log10(strength)


def connected_groups(wins: Sequence[Sequence[float]]) -> list[tuple[int, ...]]:
    """Return the groups of players that are connected by games, each and all sorted.

    Raises:
        ValueError: see :func:`bradley_terry`.
    """
    import numpy as np

    matrix = _checked(wins)
    met = _reachable(((matrix + matrix.T) > NOTHING)[np.newaxis])[0]
    return sorted({tuple(int(other) for other in np.flatnonzero(row)) for row in met})


def rating_intervals(
    wins_by_cluster: Mapping[str, Sequence[Sequence[float]]],
    *,
    seed: int = 0,
    level: float = 0.95,
) -> RatingIntervals:
    """Return percentile intervals of ratings from resampled clusters.

    Every resample draws as many clusters as there are, with replacement, adds up their wins and is
    rated anew. Below :data:`~workflows.statistics.paired.FEW_CLUSTERS` clusters such intervals are
    too short.

    Args:
        wins_by_cluster: what repeats together -> its matrix of wins, all of one size.
        seed: of the draws.
        level: the coverage, between 0 and 1.

    Raises:
        ValueError: see :func:`bradley_terry`; or there is no cluster.
    """
    import numpy as np

    names = sorted(wins_by_cluster)
    if not names:
        raise ValueError("there is no cluster to draw from")
    matrices = np.stack([_checked(wins_by_cluster[name]) for name in names])
    count, players = matrices.shape[0], matrices.shape[1]
    if count < 2:
        return RatingIntervals((None,) * players, count, 0)
    generator = np.random.default_rng(seed)
    drawn = generator.multinomial(count, np.full(count, 1 / count), size=RATING_RESAMPLES)
    resampled = np.tensordot(drawn.astype(np.float64), matrices, axes=1)
    values, _, connected = _strengths(resampled)
    left_out = int(np.sum(~connected))
    if left_out == RATING_RESAMPLES:
        return RatingIntervals((None,) * players, count, left_out)
    ratings = 400.0 * np.log10(values[connected])
    low, high = np.quantile(ratings, [0.5 - level / 2, 0.5 + level / 2], axis=0)
    found = tuple(Interval(float(a), float(b)) for a, b in zip(low, high, strict=True))
    return RatingIntervals(found, count, left_out)


def _checked(wins: Sequence[Sequence[float]]) -> Floats:
    """Return wins as a square matrix without a diagonal."""
    import numpy as np

    matrix = np.array(wins, dtype=np.float64)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not matrix.size:
        raise ValueError(f"wins must be a square matrix, not one of shape {matrix.shape}")
    if not np.all(np.isfinite(matrix)) or np.any(matrix < 0):
        raise ValueError("wins must be finite and not negative")
    np.fill_diagonal(matrix, 0.0)
    return matrix


def _strengths(wins: Floats) -> tuple[Floats, Flags, Flags]:
    """Rate many matrices at once.

    Args:
        wins: shape (matrices, players, players), without diagonals.

    Returns:
        Strengths (matrices, players), who was given virtual games (the same shape), and which
        matrices are connected (matrices,); the strengths of the others mean nothing.
    """
    import numpy as np

    won = np.where(wins > NOTHING, wins, 0.0)
    beats = _reachable(won > 0.0)
    connected = np.all(_reachable((won + won.transpose(0, 2, 1)) > 0.0), axis=(1, 2))
    back = beats.transpose(0, 2, 1)
    unbeaten = np.all(~back | beats, axis=2)
    winless = np.all(~beats | back, axis=2)
    whole = np.all(beats, axis=(1, 2))
    virtual = (unbeaten | winless) & ~whole[:, np.newaxis]
    count, players = virtual.shape
    games = np.zeros((count, players + 1, players + 1))
    games[:, :players, :players] = won
    games[:, :players, players] = virtual
    games[:, players, :players] = virtual
    values = _iterated(games)[:, :players]
    return _scaled(values), virtual, connected


def _iterated(games: Floats) -> Floats:
    """Return the fixed point of Newman's iteration for each matrix; who has no game keeps 1."""
    import numpy as np

    count, players, _ = games.shape
    values = np.ones((count, players))
    lost = games.transpose(0, 2, 1)
    for _ in range(SWEEPS):
        before = values.copy()
        for player in range(players):
            sums = values[:, [player]] + values
            up = np.sum(games[:, player] * values / sums, axis=1)
            down = np.sum(lost[:, player] / sums, axis=1)
            rated = (up > 0.0) & (down > 0.0)
            values[:, player] = np.where(rated, up / np.where(rated, down, 1.0), 1.0)
        values = _scaled(values)
        if np.max(np.abs(np.log(values) - np.log(before))) < TOLERANCE:
            break
    return values


def _scaled(values: Floats) -> Floats:
    """Return strengths with a geometric mean of 1."""
    import numpy as np

    scaled: Floats = values / np.exp(np.mean(np.log(values), axis=1, keepdims=True))
    return scaled


def _reachable(steps: Flags) -> Flags:
    """Return who reaches whom in any number of steps, for many graphs; everybody itself."""
    import numpy as np

    players = steps.shape[1]
    reached: Flags = steps | np.eye(players, dtype=bool)
    for _ in range(max(players - 1, 1).bit_length()):
        reached = np.matmul(reached, reached)
    return reached
