"""Features of a question, and ridge regression on them: what a rule predicts from.

Features: the embedding of its text (``texts.py``) and, where the evidence knows its category, the
category's indicator. The regression shrinks towards the mean of the target, so that a question
that resembles nothing gets what the evidence says overall.
"""

from __future__ import annotations

import numpy as np

from protocols.question import Question
from protocols.routing.measured import Measured
from protocols.routing.texts import Vector


class Features:
    """The features of an evidence's questions; of new ones on demand."""

    def __init__(self, known: Measured, dimensions: int) -> None:
        self._known = known
        self._dimensions = dimensions
        self._columns = {category: i for i, category in enumerate(known.categories)}
        texts = known.texts.embedded(dimensions)
        filed = np.zeros((len(known.evidence.questions), len(self._columns)))
        for category, rows in known.categories.items():
            filed[rows, self._columns[category]] = 1.0
        self.rows: Vector = np.hstack([texts, filed])

    def of(self, question: Question) -> Vector:
        """Return the features of a question; shape (features,)."""
        filed = np.zeros(len(self._columns))
        if question.category in self._columns:
            filed[self._columns[question.category]] = 1.0
        return np.concatenate([self._known.embedding(question, self._dimensions), filed])


class Ridge:
    """Linear predictors of several targets, by penalised least squares.

    ``min_w sum_i s_i (y_i - mean - w . (x_i - x_mean))^2 + penalty * |w|^2``, where s_i is 1 for
    rows that were seen. A target that was never seen is predicted as 0.
    """

    def __init__(self, rows: Vector, targets: Vector, seen: Vector, penalty: float) -> None:
        size = rows.shape[1]
        self._weights = np.zeros((size, targets.shape[1]))
        self._means = np.zeros(targets.shape[1])
        self._centres = np.zeros((targets.shape[1], size))
        for column in range(targets.shape[1]):
            here = seen[:, column] > 0
            if not here.any():
                continue
            x, y = rows[here], targets[here, column]
            self._centres[column] = x.mean(axis=0)
            self._means[column] = y.mean()
            x = x - self._centres[column]
            gram = x.T @ x + penalty * np.eye(size)
            self._weights[:, column] = np.linalg.solve(gram, x.T @ (y - self._means[column]))
        self._offsets = self._means - np.einsum("mf,fm->m", self._centres, self._weights)

    def predict(self, features: Vector) -> Vector:
        """Return the prediction of each target; shape (..., targets)."""
        predicted: Vector = features @ self._weights + self._offsets
        return predicted


def features(known: Measured, dimensions: int) -> Features:
    """Return the features of a pool's evidence, made once."""
    return known.fitted(f"features {dimensions}", lambda known: Features(known, dimensions))
