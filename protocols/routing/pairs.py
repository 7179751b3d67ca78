"""Strong or weak: the dear expert only where it is likely to win (RouteLLM)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from pydantic import Field

from protocols.chance import Rng
from protocols.errors import Mistake
from protocols.routing.measured import Measured, Task
from protocols.routing.rule import Rule
from protocols.routing.steps import Scores, Selection, best, scores_of

if TYPE_CHECKING:
    from protocols.routing.texts import Vector


class Pair(NamedTuple):
    """A strong and a weak expert, by their places in the pool, and how the pair is decided."""

    strong: int
    weak: int
    wins: Vector
    """For each question 1 where the strong one alone was right, 0 where the weak one, else 0.5."""
    seen: Vector
    """1 where both answered."""
    bar: float
    """The score from which on the strong one is asked."""


class Threshold(Rule):
    """The strong expert where its predicted win rate reaches a calibrated bar, else the weak one.

    Score: the similarity-weighted Bradley-Terry strength of two players, which is
    ``sum(w_i * win_i) / sum(w_i)`` with ``w_i = base^(1 + s_i / max s)`` over the evidence, s the
    similarity to question i and win 1, 1/2 (both right or both wrong) or 0. Bar: the quantile of
    the evidence's own scores, each without itself, above which lies `strong_share` of them.
    PGR, APGR and CPT are read off runs at several shares.

    By default the strong expert is the most accurate one, and the weak one the cheapest of those
    with at least `good` of its accuracy (costs unknown: the least accurate of those); with no such
    expert the next best. The team is one expert, whatever k is; a pool of one is both.

    Price: 1 ask. Source: RouteLLM (arXiv 2406.18665), similarity-weighted ranking. Departures:
    TF-IDF similarity; wins are read off graded answers instead of votes of people; `good` is ours.
    """

    rule: Literal["threshold"] = "threshold"
    strong: str = ""
    """The strong expert; by default the best one."""
    weak: str = ""
    """The weak expert; by default the cheapest good one."""
    strong_share: float = Field(default=0.5, ge=0.0, le=1.0)
    """Share of the questions that go to the strong expert."""
    base: float = Field(default=10.0, gt=0.0, allow_inf_nan=False)
    """gamma: how sharply similar questions count more."""
    good: float = Field(default=0.8, ge=0.0, le=1.0)
    """Share of the best accuracy that makes an expert good (ours)."""

    def score(self, task: Task) -> Scores:
        """Return the win rate for the strong expert and the bar for the weak one."""
        known = task.known
        pair = known.fitted(f"pair {self.model_dump_json()}", self._pair)
        values = [0.0] * len(task.pool)
        score = pair.bar
        if pair.seen.any():
            score = _rates(known.similarities(task.question)[None, :], pair, self.base)[0]
        values[pair.weak] = pair.bar
        values[pair.strong] = score
        if score == pair.bar and pair.strong != pair.weak:
            values[pair.strong] += 1e-9  # at the bar the strong one is asked
        allowed = [place in (pair.strong, pair.weak) for place in range(len(task.pool))]
        why = {
            "strong": task.pool[pair.strong],
            "weak": task.pool[pair.weak],
            "win_rate": float(f"{score:.9g}"),
            "bar": pair.bar,
        }
        return scores_of(task.pool, values, weights=known.accuracies, allowed=allowed, why=why)

    def select(self, scores: Scores, k: int, rng: Rng) -> Selection:
        """Take the one that wins."""
        return best(scores, 1)

    def most(self, k: int) -> int:
        """One expert."""
        return 1

    def _pair(self, known: Measured) -> Pair:
        import numpy as np

        strong, weak = self._places(known)
        seen = known.seen[:, strong] * known.seen[:, weak]
        wins = (1.0 + known.right[:, strong] - known.right[:, weak]) / 2.0
        pair = Pair(strong, weak, wins, seen, 0.5)
        if seen.sum() < 2 or strong == weak:
            return pair
        near = known.texts.cosines.copy()
        np.fill_diagonal(near, -np.inf)
        scores = np.sort(np.round(_rates(near, pair, self.base), 12)[seen > 0])[::-1]
        asked = round(self.strong_share * len(scores))
        bar = scores[asked - 1] if asked else scores[0] + 1e-6
        return pair._replace(bar=float(bar))

    def _places(self, known: Measured) -> tuple[int, int]:
        """Return the places of the strong and the weak expert."""
        accuracy = [float(f"{value:.12g}") for value in known.accuracies]
        order = sorted(range(len(accuracy)), key=lambda i: (-accuracy[i], i))
        strong = _place(known, self.strong) if self.strong else order[0]
        if self.weak:
            return strong, _place(known, self.weak)
        rest = [i for i in order if i != strong]
        good = [i for i in rest if accuracy[i] >= self.good * accuracy[strong]] or rest[:1]
        cost = known.costs
        weak = min(good, key=lambda i: (cost[i], accuracy[i], i), default=strong)
        return strong, weak


def _place(known: Measured, expert: str) -> int:
    if expert not in known.pool:
        raise Mistake(f"the expert {expert!r} of rule 'threshold' is not in the pool; cast it")
    return known.pool.index(expert)


def _rates(near: Vector, pair: Pair, base: float) -> Vector:
    """Return the strong one's weighted win rate for rows of similarities; -inf counts nothing."""
    import numpy as np

    top = np.max(near, axis=1, keepdims=True)
    scaled = np.where(top > 0.0, near / np.where(top > 0.0, top, 1.0), np.minimum(near, 0.0))
    weights = np.where(np.isfinite(near), base ** (1.0 + np.maximum(scaled, 0.0)), 0.0) * pair.seen
    total = weights.sum(axis=1)
    rates = np.where(total > 0.0, weights @ pair.wins / np.where(total > 0.0, total, 1.0), 0.5)
    return np.asarray(np.round(rates, 12), dtype=np.float64)
