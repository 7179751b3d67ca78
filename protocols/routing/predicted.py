"""Rules that predict each expert's quality on the question at hand from similar questions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from protocols.routing.measured import Measured, Task, shares
from protocols.routing.rule import Rule
from protocols.routing.steps import Scores, scores_of

if TYPE_CHECKING:
    from protocols.routing.features import Ridge
    from protocols.routing.texts import Vector


class PredictedQuality(Rule):
    """The experts with the least predicted loss plus penalties.

    argmin over experts of ``L(q, m) + cost_weight * cost(m)``; L is one minus the predicted
    probability of being right, cost the mean price of an answer over the pool's mean. The
    predictor is one ridge regression an expert on the question's features (``features.py``).

    Price: k asks. Source: Tryage (arXiv 2308.11601). Departures: a linear model on TF-IDF
    directions in place of a trained language model; `dimensions` and `penalty` are ours; of the
    penalties the price alone, as evidence holds no size or recency of a model.
    """

    rule: Literal["predicted_quality"] = "predicted_quality"
    cost_weight: float = Field(default=0.0, ge=0.0, allow_inf_nan=False)
    """lambda: how much accuracy one mean answer's price is worth."""
    dimensions: int = Field(default=32, ge=0)
    """Directions of the texts (ours)."""
    penalty: float = Field(default=10.0, gt=0.0, allow_inf_nan=False)
    """Of the ridge regression (ours)."""

    def score(self, task: Task) -> Scores:
        """Return predicted quality less the weighted cost."""
        name = f"predicted {self.cost_weight} {self.dimensions} {self.penalty}"
        return task.known.remembered(name, task.question, lambda: self._score(task))

    def _score(self, task: Task) -> Scores:
        known = task.known
        quality = predicted(task, self.dimensions, self.penalty)
        values = quality - self.cost_weight * known.costs
        return scores_of(task.pool, values, weights=quality)


def predicted(task: Task, dimensions: int, penalty: float) -> Vector:
    """Return the predicted probability that each expert is right, in [0, 1]; 0 if unmeasured."""
    import numpy as np

    from protocols.routing.features import features

    known = task.known
    if not len(known.evidence.questions):
        return known.accuracies
    model = known.fitted(f"ridge {dimensions} {penalty}", lambda k: _fit(k, dimensions, penalty))
    quality = model.predict(features(known, dimensions).of(task.question))
    return np.where(known.measured, np.clip(quality, 0.0, 1.0), 0.0)


def _fit(known: Measured, dimensions: int, penalty: float) -> Ridge:
    from protocols.routing.features import Ridge, features

    return Ridge(features(known, dimensions).rows, known.right, known.seen, penalty)


class Neighbours(Rule):
    """The experts that did best on the evidence's most similar questions.

    Value: the mean of right over the `n` nearest questions that the expert was asked, weighted by
    similarity^`sharpness` and drawn to its overall accuracy with weight `prior`.

    Price: k asks. Source: nearest-neighbour routing, for example in RouterBench
    (arXiv 2403.12031). Departures: TF-IDF in place of an embedding model; a question of the same
    category counts `same_category` more similar; all four constants are ours.
    """

    rule: Literal["neighbours"] = "neighbours"
    n: int = Field(default=40, ge=1)
    """How many questions (ours)."""
    sharpness: float = Field(default=1.0, ge=0.0, allow_inf_nan=False)
    """Power of the similarity; 0 is the plain mean (ours)."""
    prior: float = Field(default=1.0, ge=0.0, allow_inf_nan=False)
    """Weight of the overall accuracy, in units of the mean weight of a neighbour (ours)."""
    same_category: float = Field(default=0.2, ge=0.0, allow_inf_nan=False)
    """Added to the similarity of questions of the same category (ours)."""

    def score(self, task: Task) -> Scores:
        """Return the neighbours' mean scores."""
        import numpy as np

        known = task.known
        near = self._similarities(task)
        rows = np.argsort(-near, kind="stable")[: self.n]
        rows = rows[near[rows] > 0.0]
        if not len(rows):
            return scores_of(task.pool, known.accuracies, why={"neighbours": []})
        weights = near[rows] ** self.sharpness
        weights /= weights.mean()
        right, asked = weights @ known.right[rows], weights @ known.seen[rows]
        overall = known.accuracies
        values = shares(right + self.prior * overall, asked + self.prior, overall)
        values = np.where(known.measured, values, 0.0)
        nearest = [known.evidence.questions[row].id for row in rows[:3]]
        return scores_of(task.pool, values, why={"neighbours": [*nearest]})

    def _similarities(self, task: Task) -> Vector:
        near = task.known.similarities(task.question)
        rows = task.known.categories.get(task.question.category)
        if rows and self.same_category:
            near = near.copy()
            near[rows] += self.same_category
        return near


class Pilots(Rule):
    """The experts whose pilot vectors are nearest: what each was good at, as a few directions.

    Each question of the evidence is credited to its best expert: of those that had it right, the
    most accurate one. An expert has one pilot for each category: the mean embedding of what it is
    credited with there. Value: 1 plus the cosine of the question with the expert's nearest pilot,
    0 for an expert without any. Adding an expert needs no training, only its answers.

    Price: k asks. Source: RouterRetriever (arXiv 2409.02685). Departures: the source credits by a
    retrieval score, which is seldom tied; right and wrong are, so that accuracy decides.
    """

    rule: Literal["pilots"] = "pilots"
    dimensions: int = Field(default=64, ge=1)
    """Directions of the texts (ours)."""

    def score(self, task: Task) -> Scores:
        """Return the cosine with each expert's nearest pilot, plus 1."""
        import numpy as np

        from protocols.routing.texts import unit_rows

        known = task.known
        pilots = known.fitted(f"pilots {self.dimensions}", self._pilots)
        here = unit_rows(known.embedding(task.question, self.dimensions))
        values = [
            0.0 if not len(mine) else 1.0 + float(np.max(mine @ here)) for mine in pilots
        ]  # an expert without pilots comes last
        return scores_of(task.pool, values)

    def _pilots(self, known: Measured) -> list[Vector]:
        """Return each expert's pilots, one a row."""
        import numpy as np

        from protocols.routing.texts import unit_rows

        rows = unit_rows(known.texts.embedded(self.dimensions))
        groups = [*known.categories.values()] or [list(range(len(rows)))]
        credited = np.zeros(known.right.shape)
        free = np.ones(len(rows))
        for column in np.argsort(-np.round(known.accuracies, 12), kind="stable"):
            credited[:, column] = known.right[:, column] * free
            free -= credited[:, column]
        found: list[Vector] = []
        for share in credited.T:
            means = np.array([share[group] @ rows[group] for group in groups])
            kept = [i for i, group in enumerate(groups) if share[group].any()]
            found.append(unit_rows(means[kept]) if kept else np.zeros((0, rows.shape[1])))
        return found
