"""The steps of recruiting: score, select, trim, plan.

Each is pure and goes from one value to the next::

    score    a question and what is known of the pool  ->  Scores     (a rule does it)
    select   Scores, k and chance                      ->  Selection  (a rule does it)
    trim     many Selections                           ->  Selections (``group.py``)
    plan     Selection                                 ->  Recruitment (one ask for each expert)

Scores and selections hold the pool by name, so that no draw depends on the order in which a pool
was written down; the team of a recruitment stands in the order of the cast.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import JsonValue

from protocols.chance import Rng


def rounded(value: float, digits: int = 12) -> float:
    """Return 12 significant digits: the last ones of exp, pow and sums differ between machines."""
    return float(f"{value:.{digits}g}")


@dataclass(frozen=True, slots=True)
class Scores:
    """What each expert of a pool is worth on a question; every tuple is in the order of names."""

    experts: tuple[str, ...]
    """The pool, by name."""
    values: tuple[float, ...]
    """What the rule goes by: the higher the better, finite, rounded."""
    weights: tuple[float, ...]
    """How likely a draw is in proportion, and how much an answer counts in a weighted vote."""
    allowed: tuple[bool, ...] = ()
    """Who may be taken at all; empty where all may."""
    why: Mapping[str, Any] = field(default_factory=dict)
    """What the values stand on, as JSON, for people."""

    def may(self, place: int) -> bool:
        """Whether the expert at `place` may be taken."""
        return not self.allowed or self.allowed[place]

    @property
    def order(self) -> tuple[int, ...]:
        """The places of those who may be taken, best value first, equal ones by name."""
        places = [i for i in range(len(self.experts)) if self.may(i)]
        return tuple(sorted(places, key=lambda i: (-self.values[i], i)))

    @property
    def chances(self) -> tuple[float, ...]:
        """The chance of each in one draw; even among those who may, where no weight is positive."""
        weights = [w if self.may(i) else 0.0 for i, w in enumerate(self.weights)]
        total = math.fsum(weights)
        if total <= 0.0:
            weights = [float(self.may(i)) for i in range(len(self.experts))]
            total = math.fsum(weights)
        return tuple(weight / total for weight in weights)


def scores_of(
    experts: Sequence[str],
    values: Iterable[float],
    *,
    weights: Iterable[float] | None = None,
    allowed: Sequence[bool] = (),
    why: Mapping[str, Any] | None = None,
    digits: int = 9,
) -> Scores:
    """Return scores with rounded values; the weights are by default the positive values.

    Args:
        experts: the pool, by name.
        values: what the rule goes by.
        weights: chances in proportion.
        allowed: who may be taken; all where empty.
        why: what the values stand on.
        digits: significant ones kept; fits by linear algebra agree between machines in nine.
    """
    exact = tuple([rounded(float(value), digits) for value in values])
    given = exact
    if weights is not None:
        given = tuple([rounded(float(weight), digits) for weight in weights])
    return Scores(
        experts=tuple(experts),
        values=exact,
        weights=tuple(max(weight, 0.0) for weight in given),
        allowed=() if all(allowed) else tuple(allowed),
        why=why or {},
    )


@dataclass(frozen=True, slots=True)
class Selection:
    """How often each expert of the pool is taken for one question; tuples by name."""

    scores: Scores
    draws: tuple[int, ...]
    """How often each is taken; 0 for most."""
    odds: tuple[float, ...]
    """The probability of each to be in the team, by the rule's own chance."""
    settled: tuple[int, ...]
    """The places that the rule would have taken if nothing were left to chance."""

    @property
    def team(self) -> tuple[int, ...]:
        """The places that were taken."""
        return tuple(i for i, times in enumerate(self.draws) if times)


def taken(scores: Scores, places: Sequence[int]) -> Selection:
    """Return the selection that takes `places` once each, with certainty."""
    chosen = set(places)
    flags = [int(i in chosen) for i in range(len(scores.experts))]
    return Selection(scores, tuple(flags), tuple(map(float, flags)), tuple(sorted(chosen)))


def best(scores: Scores, k: int) -> Selection:
    """Take the k best by value once each, equal ones by name; fewer where fewer may be taken."""
    return taken(scores, scores.order[:k])


def drawn(scores: Scores, k: int, rng: Rng) -> Selection:
    """Draw k times with replacement, with chances in proportion to the weights.

    The chance p of one draw makes 1 - (1 - p)^k the odds of being in the team.
    """
    chances = scores.chances
    draws = [0] * len(chances)
    for _ in range(k):
        draws[rng.weighted(chances)] += 1
    odds = tuple(rounded(1.0 - (1.0 - chance) ** k) for chance in chances)
    likely = sorted((i for i, p in enumerate(chances) if p > 0.0), key=lambda i: (-chances[i], i))
    return Selection(scores, tuple(draws), odds, tuple(sorted(likely[:k])))


def sampled(scores: Scores, k: int, rng: Rng) -> Selection:
    """Take k different experts, all as likely; chance left out, the first by name."""
    places = sorted(scores.order)
    size = min(k, len(places))
    chosen = set(rng.sample(places, size))
    draws = tuple(int(i in chosen) for i in range(len(scores.experts)))
    share = rounded(size / len(places))
    odds = tuple(share if scores.may(i) else 0.0 for i in range(len(scores.experts)))
    return Selection(scores, draws, odds, tuple(places[:size]))


@dataclass(frozen=True, slots=True)
class Recruit:
    """One expert of a team."""

    expert: str
    """The label in the roster."""
    index: int
    """Its place in the cast's pool, from 0."""
    draws: int
    """How often it was drawn."""
    weight: float
    """Its weight by the rule."""
    odds: float
    """Its probability to be in the team."""

    def as_json(self) -> dict[str, JsonValue]:
        """Return the recruit as an outcome tells it."""
        return {
            "expert": self.expert,
            "draws": self.draws,
            "weight": self.weight,
            "odds": self.odds,
        }


@dataclass(frozen=True, slots=True)
class Recruitment:
    """The team for one question, and what it was chosen from."""

    team: tuple[Recruit, ...]
    """The distinct experts, in the order of the cast's pool."""
    selection: Selection
    """What was decided."""

    @property
    def scores(self) -> Scores:
        """What the selection stood on."""
        return self.selection.scores


def plan(selection: Selection, pool: Sequence[str]) -> Recruitment:
    """Return the team: one recruit for each distinct expert.

    Args:
        selection: who was taken.
        pool: the cast's pool, in slot order.
    """
    scores = selection.scores
    slots = {expert: slot for slot, expert in reversed(list(enumerate(pool)))}
    team = [
        Recruit(
            expert=scores.experts[i],
            index=slots[scores.experts[i]],
            draws=selection.draws[i],
            weight=scores.weights[i],
            odds=selection.odds[i],
        )
        for i in selection.team
    ]
    return Recruitment(tuple(sorted(team, key=lambda recruit: recruit.index)), selection)


def counterfactual(selection: Selection) -> dict[str, JsonValue]:
    """Return what would have been: who came next, by how much, and the team without chance.

    ``lead`` is by how much the value of the last one taken is above that of the next; it is
    negative where chance took a lower one.
    """
    scores, team = selection.scores, set(selection.team)
    rest = [i for i in scores.order if i not in team]
    last = min(selection.team, key=lambda i: (scores.values[i], -i), default=None)
    told: dict[str, JsonValue] = {
        "next": scores.experts[rest[0]] if rest else None,
        "lead": None,
        "without_chance": [scores.experts[i] for i in selection.settled],
    }
    if rest and last is not None:
        told["lead"] = rounded(scores.values[last] - scores.values[rest[0]])
    return told
