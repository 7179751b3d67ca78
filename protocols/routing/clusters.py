"""Cluster ranks (Avengers): who is best among questions of the same kind, found without labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from pydantic import Field

from protocols.chance import Rng
from protocols.routing.measured import Measured, Task
from protocols.routing.rule import Rule
from protocols.routing.steps import Scores, scores_of

if TYPE_CHECKING:
    from protocols.routing.texts import Vector


class Clusters(NamedTuple):
    """Centres of unit length, and what each rank in each of them is worth."""

    centres: Vector
    """Shape (clusters, dimensions)."""
    worth: Vector
    """1 / (rank + 0.1), ranks from 0; 0 for experts not measured there; (clusters, experts)."""


class ClusterRanks(Rule):
    """The experts that rank best in the clusters nearest to the question.

    ``score(m) = sum over the nearest clusters c of softmax(-beta * d_c) / (rank_c(m) + 0.1)``,
    d the cosine distance to the centre, ranks from 0 by accuracy in the cluster (equal ones by
    overall accuracy, then by name). Clusters: k-means on unit embeddings, started by k-means++
    with a stream of its own seeded by `seed`.

    Price: k asks. Source: The Avengers (arXiv 2505.19797) and its code. Departures: TF-IDF
    directions in place of an embedding model; fewer clusters (the source: 64), as evidence here
    is smaller; `clusters`, `nearest`, `dimensions` and `rounds` are ours.
    """

    rule: Literal["cluster_ranks"] = "cluster_ranks"
    usual = 3
    clusters: int = Field(default=16, ge=1)
    """How many clusters, at most one a question (ours)."""
    nearest: int = Field(default=4, ge=1)
    """How many of them count (ours)."""
    beta: float = Field(default=9.0, ge=0.0, allow_inf_nan=False)
    """Sharpness of the softmax over distances."""
    offset: float = Field(default=0.1, gt=0.0, allow_inf_nan=False)
    """Added to ranks."""
    dimensions: int = Field(default=64, ge=1)
    """Directions of the texts (ours)."""
    rounds: int = Field(default=50, ge=1)
    """Most rounds of k-means (ours)."""
    seed: int = 0
    """Of the start of k-means."""

    def score(self, task: Task) -> Scores:
        """Return the weighted inverse ranks."""
        import numpy as np

        from protocols.routing.texts import unit_rows

        known = task.known
        fit = known.fitted(f"clusters {self.model_dump_json()}", self._fit)
        if not len(fit.centres):
            return scores_of(task.pool, known.accuracies, why={"clusters": []})
        here = unit_rows(known.embedding(task.question, self.dimensions))
        apart = np.round(1.0 - fit.centres @ here, 12)
        near = np.argsort(apart, kind="stable")[: self.nearest]
        chances = np.exp(-self.beta * (apart[near] - apart[near[0]]))
        values = (chances / chances.sum()) @ fit.worth[near]
        return scores_of(task.pool, values, why={"clusters": [int(c) for c in near]})

    def _fit(self, known: Measured) -> Clusters:
        import numpy as np

        from protocols.routing.texts import unit_rows

        points = unit_rows(known.texts.embedded(self.dimensions))
        size = min(self.clusters, len(points))
        if not size:
            return Clusters(points, np.zeros((0, len(known.pool))))
        centres, member = k_means(points, size, Rng("clusters", self.seed), rounds=self.rounds)
        worth = np.zeros((len(centres), len(known.pool)))
        for cluster in range(len(centres)):
            rows = member == cluster
            asked = known.seen[rows].sum(axis=0)
            right = known.right[rows].sum(axis=0)
            present = [i for i in range(len(known.pool)) if asked[i] > 0]
            place = {i: (-right[i] / asked[i], -known.accuracies[i], i) for i in present}
            for rank, i in enumerate(sorted(present, key=place.__getitem__)):
                worth[cluster, i] = 1.0 / (rank + self.offset)
        return Clusters(centres, worth)


def k_means(points: Vector, size: int, rng: Rng, *, rounds: int) -> tuple[Vector, Vector]:
    """Return centres of unit length and the cluster of each point (Lloyd, k-means++ start).

    An empty cluster keeps its centre. Distances are rounded, so that ties go to the first centre
    on every machine.
    """
    import numpy as np

    from protocols.routing.texts import unit_rows

    chosen = [rng.integer(len(points))]
    while len(chosen) < size:
        apart = np.min(np.round(1.0 - points @ points[chosen].T, 9), axis=1).clip(min=0.0)
        if not apart.any():
            break  # fewer different points than clusters
        chosen.append(rng.weighted([float(value) for value in apart]))
    centres = points[chosen]
    member = np.argmin(np.round(1.0 - points @ centres.T, 9), axis=1)
    for _ in range(rounds):
        means = np.array(
            [
                points[member == c].mean(axis=0) if (member == c).any() else centres[c]
                for c in range(len(centres))
            ]
        )
        centres = unit_rows(means)
        moved = np.argmin(np.round(1.0 - points @ centres.T, 9), axis=1)
        if (moved == member).all():
            break
        member = moved
    return centres, member
