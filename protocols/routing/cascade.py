"""A frugal cascade: the next expert only while it is expected to pay (FrugalGPT, FoE)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

from pydantic import Field

from protocols.chance import Rng
from protocols.routing.measured import Task
from protocols.routing.predicted import PredictedQuality
from protocols.routing.rule import EVERYBODY, Rule
from protocols.routing.scoring import ScoringRule
from protocols.routing.steps import Scores, Selection, rounded, taken

_LEAST, _MOST = 0.02, 0.98
"""No expert counts as surely wrong or right (ours)."""
UNSEEN = ""
"""Stands for any one answer that nobody gave yet."""


class Cascade(Rule):
    """One expert after the other, cheapest first, until the next is not expected to pay.

    How sure the session is follows from evidence and agreement: an expert is right with the
    probability p that the rule below predicts, and else gives any other answer, all as likely.
    The posterior over answers is ``prod over experts of p if it said a, else (1 - p)/(L - 1)``.
    The expected gain of asking further experts is the expected rise of the largest posterior,
    looking up to `ahead` experts ahead (one more can rarely outvote a better one); the next is
    asked while the best gain of a look ahead is above `price` times its cost.

    Price: 1 to k asks, each in a turn of its own. Source: Fusing of Experts (arXiv 2310.01542),
    FrugalGPT-like cascade. Departures: the source fits a fuser's confidence; here it is the
    posterior above; `ahead`, `options` and the bounds 0.02 and 0.98 on p are ours.
    """

    rule: Literal["cascade"] = "cascade"
    usual = EVERYBODY
    over: ScoringRule = PredictedQuality()
    """The rule whose weights are the predicted probabilities of being right."""
    price: float = Field(default=0.02, ge=0.0, allow_inf_nan=False)
    """lambda: the gain in probability that one mean answer's price must bring."""
    order: Literal["cost", "quality"] = "cost"
    """Who comes first: the cheapest, or the best; equal ones by the other, then by name."""
    ahead: int = Field(default=2, ge=1, le=3)
    """How many further experts are looked at together (ours)."""
    options: int = Field(default=5, ge=2)
    """L where the question has no options (ours)."""

    def assets(self) -> tuple[str, ...]:
        """Return what the rule below reads."""
        return self.over.assets()

    def score(self, task: Task) -> Scores:
        """Return the scores of the rule below."""
        return self.over.score(task)

    def select(self, scores: Scores, k: int, rng: Rng) -> Selection:
        """Return who would be asked if all were; the session asks one after the other."""
        return taken(scores, scores.order[:k])

    def queue(self, task: Task, scores: Scores, k: int) -> tuple[int, ...]:
        """Return the places of who may be asked, in the order in which they are."""
        costs = [float(cost) for cost in task.known.costs]
        best = {place: rank for rank, place in enumerate(scores.order)}
        if self.order == "cost":
            order = sorted(best, key=lambda i: (rounded(costs[i]), best[i]))
        else:
            order = sorted(best, key=lambda i: (-scores.values[i], rounded(costs[i]), i))
        return tuple(order[:k])

    def pays(
        self,
        said: Sequence[tuple[float, str]],
        rest: Sequence[tuple[float, float]],
        options: int,
    ) -> bool:
        """Whether the next expert is expected to pay.

        Args:
            said: (probability of being right, answer) of those who answered.
            rest: (probability, cost) of those not asked yet, in the order of the queue.
            options: L, at least 2.
        """
        sure = max(posterior(said, options).values())
        cost = 0.0
        for look in range(1, min(self.ahead, len(rest)) + 1):
            cost += rest[look - 1][1]
            gain = expected_top(said, [p for p, _ in rest[:look]], options) - sure
            if rounded(gain) > rounded(self.price * cost):
                return True
        return False


def bounded(probability: float) -> float:
    """Return a probability that is neither surely wrong nor surely right."""
    return min(max(probability, _LEAST), _MOST)


def posterior(said: Sequence[tuple[float, str]], options: int) -> dict[str, float]:
    """Return the probability of each answer given, and of one that nobody gave (``UNSEEN``).

    Args:
        said: (probability of being right, answer).
        options: how many answers there are.
    """
    seen = sorted({answer for _, answer in said})
    places = [*seen, UNSEEN] if options > len(seen) else seen
    weights = {
        place: math.prod(
            bounded(p) if answer == place else (1.0 - bounded(p)) / (options - 1)
            for p, answer in said
        )
        for place in places
    }
    unseen = max(options - len(seen), 0)
    total = math.fsum(
        weight * (unseen if place == UNSEEN else 1) for place, weight in weights.items()
    )
    return {place: weight / total for place, weight in weights.items()}


def expected_top(
    said: Sequence[tuple[float, str]], further: Sequence[float], options: int
) -> float:
    """Return the expected largest posterior once further experts have answered as well.

    Each of the further answers is one that was given, or one of those that nobody gave, which are
    all alike: they are counted together.
    """
    if not further:
        return max(posterior(said, options).values())
    now, (first, *others) = posterior(said, options), further
    p = bounded(first)
    seen = [answer for answer in now if answer != UNSEEN]
    unseen = max(options - len(seen), 0)
    total = 0.0
    for answer, times in [*((answer, 1) for answer in seen), (f"new {len(seen)}", unseen)]:
        if not times:
            continue
        here = now[answer] if answer in now else now[UNSEEN]
        chance = here * p + (1.0 - here) * (1.0 - p) / (options - 1)
        total += times * chance * expected_top([*said, (first, answer)], others, options)
    return total


def as_json(values: Mapping[str, float]) -> dict[str, float]:
    """Return probabilities for people: rounded, without the unseen answer."""
    return {answer: rounded(value) for answer, value in values.items() if answer != UNSEEN}
