"""Baselines that every rule has to beat, and the category map.

In all of them, and in every rule that goes by accuracy, an expert without evidence has value 0
and so comes last; with no evidence at all the pool is taken in the order of names. Equal experts
go by name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from protocols.chance import Rng
from protocols.routing.measured import Measured, Task, shares
from protocols.routing.rule import Rule
from protocols.routing.steps import Scores, Selection, sampled, scores_of

if TYPE_CHECKING:
    from protocols.routing.texts import Vector

Filing = Literal["category", "subject"]


class BestSingle(Rule):
    """The experts with the highest accuracy on the evidence, the same ones for every question.

    Value: right / asked. Price: k asks. Source: the common baseline. Departures: none.
    """

    rule: Literal["best_single"] = "best_single"

    def score(self, task: Task) -> Scores:
        """Return accuracies."""
        return scores_of(task.pool, task.known.accuracies)


class TaskBest(Rule):
    """The experts with the highest accuracy on the question's category or subject.

    Value: (right_c + prior * accuracy) / (asked_c + prior). A category with fewer than `least`
    questions, or one that the evidence does not know, counts as all questions together.
    Price: k asks. Source: the common baseline. Departures: `prior` and `least` are ours; prior 0
    is the plain rule.
    """

    rule: Literal["task_best"] = "task_best"
    by: Filing = "category"
    """What a task is."""
    prior: float = Field(default=0.0, ge=0.0, allow_inf_nan=False)
    """How many questions the overall accuracy counts for (ours)."""
    least: int = Field(default=5, ge=1)
    """The fewest questions of a task that decide alone (ours)."""

    def score(self, task: Task) -> Scores:
        """Return accuracies on the task."""
        known = task.known
        filed = known.categories if self.by == "category" else known.subjects
        name = getattr(task.question, self.by)
        rows = filed.get(name, [])
        if len(rows) < self.least:
            return scores_of(task.pool, known.accuracies, why={"task": None})
        values = known.fitted(
            f"{self.by} {self.prior} {name}", lambda known: _smoothed(known, rows, self.prior)
        )
        return scores_of(task.pool, values, why={"task": name})


def _smoothed(known: Measured, rows: list[int], prior: float) -> Vector:
    """Return accuracies on some rows, drawn to the overall ones."""
    right, asked = known.right[rows].sum(axis=0), known.seen[rows].sum(axis=0)
    overall = known.accuracies
    return shares(right + prior * overall, asked + prior, overall)


class RandomTeam(Rule):
    """k different experts, all as likely. What any rule must beat.

    Price: k asks. Source: the common baseline. Departures: none.
    """

    rule: Literal["random"] = "random"
    needs = ()

    def score(self, task: Task) -> Scores:
        """Return the same for all."""
        return scores_of(task.pool, [1.0] * len(task.pool))

    def select(self, scores: Scores, k: int, rng: Rng) -> Selection:
        """Draw without replacement."""
        return sampled(scores, k, rng)


class CategoryMap(Rule):
    """A map from category to expert, made once under a budget; unsure questions go to the general.

    M[c] = argmax over experts of the mean quality in c, subject to a mean price of an answer over
    the evidence of at most `budget`; solved by a price lambda on cost, the smallest at which the
    map keeps to the budget. The general expert is the same over all questions. A question without
    a known category is classified: the categories of its `neighbours` nearest texts vote with
    their similarity, and the winner must have the share `sure` of it.

    Price: k asks. Source: Composition of Experts (arXiv 2412.01868). Departures: the budget is on
    the price of answers, not on parameters in memory; the classifier reads TF-IDF neighbours
    instead of being trained; `neighbours` and `sure` are ours.
    """

    rule: Literal["category_map"] = "category_map"
    budget: float | None = Field(default=None, gt=0.0, allow_inf_nan=False)
    """Most that an answer may cost in the mean, in units of the pool's mean; none: no limit."""
    neighbours: int = Field(default=10, ge=1)
    """Texts that classify (ours)."""
    sure: float = Field(default=0.4, ge=0.0, le=1.0)
    """Share of the neighbours' similarity that a category needs (ours)."""

    def score(self, task: Task) -> Scores:
        """Return mean quality in the category less the price of its cost."""
        known = task.known
        category = task.question.category
        if category not in known.categories:
            category = category_of(task, neighbours=self.neighbours, sure=self.sure) or ""
        values = known.fitted(f"map {self.budget}", self._mapped)
        return scores_of(
            task.pool,
            values[category],
            weights=known.accuracies,
            why={"category": category or None},
        )

    def _mapped(self, known: Measured) -> dict[str, Vector]:
        """Return the values by category; ``""`` is the general one."""
        quality = {"": known.accuracies}
        for category, rows in known.categories.items():
            quality[category] = _smoothed(known, rows, 0.0)
        sizes = {category: len(rows) for category, rows in known.categories.items()}
        sizes[""] = len(known.evidence.questions) - sum(sizes.values())
        price = 0.0 if self.budget is None else _price(quality, known.costs, sizes, self.budget)
        return {category: value - price * known.costs for category, value in quality.items()}


def _price(
    quality: dict[str, Vector], costs: Vector, sizes: dict[str, int], budget: float
) -> float:
    """Return the smallest price on cost (to within 1e-6) at which the map keeps to the budget."""
    import numpy as np

    def mean_cost(price: float) -> float:
        chosen = [(costs[np.argmax(np.round(v - price * costs, 12))], sizes[c]) for c, v in
                  quality.items()]  # fmt: skip
        return float(sum(cost * size for cost, size in chosen)) / max(1, sum(sizes.values()))

    low, high = 0.0, 1.0
    if mean_cost(low) <= budget:
        return low
    while mean_cost(high) > budget and high < 1e9:
        high *= 2.0
    while high - low > 1e-6 * max(1.0, high):
        middle = (low + high) / 2.0
        low, high = (low, middle) if mean_cost(middle) <= budget else (middle, high)
    return high


def category_of(task: Task, *, neighbours: int, sure: float) -> str | None:
    """Return the category of a question by its nearest texts; None where they disagree."""
    import numpy as np

    near = task.known.similarities(task.question)
    order = np.argsort(-near, kind="stable")[:neighbours]
    votes: dict[str, float] = {}
    for row in order:
        category = task.known.evidence.questions[row].category
        if near[row] > 0.0:
            votes[category] = votes.get(category, 0.0) + float(near[row])
    if not votes:
        return None
    top = min(votes, key=lambda category: (-round(votes[category], 12), category))
    return top if top and votes[top] >= sure * sum(votes.values()) else None
