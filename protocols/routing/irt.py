"""Item response theory: abilities of experts, difficulties of questions, both from one matrix."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from pydantic import Field, model_validator

from protocols.routing.measured import Measured, Task
from protocols.routing.rule import Rule
from protocols.routing.steps import Scores, scores_of

if TYPE_CHECKING:
    from typing import Self

    from protocols.routing.features import Ridge
    from protocols.routing.texts import Vector


class Responses(NamedTuple):
    """A fitted response model: P(right) = sigma(alpha . theta - beta)."""

    theta: Vector
    """Abilities; shape (experts, dimensions)."""
    alpha: Vector
    """Discriminations; shape (questions, dimensions); all 1 in a 1PL."""
    beta: Vector
    """Difficulties; shape (questions,)."""


class ItemResponse(Rule):
    """The experts most likely to be right by a response model, less the price of their cost.

    ``P(right) = sigma(alpha . theta - beta)``: theta the expert's ability, beta the question's
    difficulty, alpha its discrimination (1PL: all 1). Fitted by penalised maximum likelihood with
    alternating Newton steps. alpha and beta of a new question are predicted from its text and
    category by ridge regression on those of the evidence.

    With one ability and alpha > 0 the same expert is best for every question, whatever its
    difficulty: a 1PL can only pay through `cost_weight` (an easy question goes to a cheap
    expert). The 2PL has several abilities, so that its order depends on the question.

    Price: k asks. Source: item response theory (Rasch; Birnbaum) for routing, as in IRT-Router
    (arXiv 2506.01048). Departures: text features in place of an embedding model; point estimates;
    the penalties are ours (theta and beta: standard normal, alpha: around 1 in the first dimension
    and 0 in the others, with `spread`).
    """

    rule: Literal["irt"] = "irt"
    model: Literal["1pl", "2pl"] = "2pl"
    """One parameter a question, or discriminations too."""
    abilities: int = Field(default=3, ge=1)
    """Dimensions of theta; 1 in a 1PL (ours)."""
    spread: float = Field(default=0.5, gt=0.0, allow_inf_nan=False)
    """Prior standard deviation of alpha (ours)."""
    rounds: int = Field(default=30, ge=1)
    """Of alternating steps (ours)."""
    cost_weight: float = Field(default=0.0, ge=0.0, allow_inf_nan=False)
    """lambda: how much probability one mean answer's price is worth."""
    dimensions: int = Field(default=32, ge=0)
    """Directions of the texts (ours)."""
    penalty: float = Field(default=10.0, gt=0.0, allow_inf_nan=False)
    """Of the ridge regression (ours)."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.model == "1pl" and self.abilities != 1 and "abilities" in self.model_fields_set:
            raise ValueError("a 1pl has one ability; leave 'abilities' out, or use model: 2pl")
        return self

    def score(self, task: Task) -> Scores:
        """Return the probabilities of being right less the weighted cost."""
        import numpy as np

        from protocols.routing.features import features

        known = task.known
        if not len(known.evidence.questions):
            return scores_of(task.pool, known.accuracies)
        key = f"irt {self.model} {self.abilities} {self.spread} {self.rounds}"
        fit = known.fitted(key, self._fit)
        items = known.fitted(
            f"{key} {self.dimensions} {self.penalty}", lambda k: self._items(k, fit)
        )
        predicted = items.predict(features(known, self.dimensions).of(task.question))
        alpha, beta = predicted[:-1], predicted[-1]
        right = np.where(known.measured, sigmoid(fit.theta @ alpha - beta), 0.0)
        values = right - self.cost_weight * known.costs
        return scores_of(task.pool, values, weights=right, why={"difficulty": float(f"{beta:.6g}")})

    def _fit(self, known: Measured) -> Responses:
        size = 1 if self.model == "1pl" else min(self.abilities, len(known.pool))
        free = self.model == "2pl"
        return fit_responses(
            known.right, known.seen, size, free=free, spread=self.spread, rounds=self.rounds
        )

    def _items(self, known: Measured, fit: Responses) -> Ridge:
        """Return the predictor of a new question's alpha and beta."""
        import numpy as np

        from protocols.routing.features import Ridge, features

        targets = np.hstack([fit.alpha, fit.beta[:, None]])
        seen = np.repeat((known.seen.sum(axis=1) > 0)[:, None], targets.shape[1], axis=1)
        return Ridge(features(known, self.dimensions).rows, targets, seen * 1.0, self.penalty)


def sigmoid(values: Vector) -> Vector:
    """Return 1 / (1 + exp(-values)), without overflow."""
    import numpy as np

    found: Vector = np.exp(-np.logaddexp(0.0, -values))
    return found


def fit_responses(
    right: Vector, seen: Vector, size: int, *, free: bool, spread: float, rounds: int
) -> Responses:
    """Fit abilities and items to a response matrix by penalised maximum likelihood.

    Maximises ``sum seen * log P(right) - |theta|^2 / 2 - |beta|^2 / 2 - |alpha - alpha_0|^2 /
    (2 spread^2)`` by Newton steps, in turn over all items and all experts. Further dimensions
    start at the leading directions of what one difficulty a question leaves unexplained.

    Args:
        right: 1 right, 0 wrong or missing; shape (questions, experts).
        seen: 1 where there is an answer; same shape.
        size: dimensions of ability.
        free: whether alpha is fitted; else it stays at its mean.
        spread: prior standard deviation of alpha.
        rounds: how many rounds.
    """
    import numpy as np

    questions, experts = right.shape
    centre = np.zeros(size)
    centre[0] = 1.0
    alpha = np.tile(centre, (questions, 1))
    beta = np.zeros(questions)
    theta = _start(right, seen, size)
    for _ in range(rounds):
        if free:
            items = np.hstack([alpha, beta[:, None]])
            rows = np.hstack([theta, -np.ones((experts, 1))])
            prior = np.append(np.full(size, spread**-2), 1.0)
            items = _newton(items, rows, right, seen, prior=prior, centre=np.append(centre, 0.0))
            alpha, beta = items[:, :-1], items[:, -1]
        else:
            shift = (alpha @ theta.T).T
            level = beta[:, None]
            one = -np.ones((experts, 1))
            level = _newton(
                level, one, right, seen, prior=np.ones(1), centre=np.zeros(1), offset=shift
            )
            beta = level[:, 0]
        theta = _newton(
            theta, alpha, right.T, seen.T, prior=np.ones(size), centre=np.zeros(size),
            offset=np.repeat(-beta[:, None], experts, axis=1),
        )  # fmt: skip
    return Responses(theta, alpha, beta)


def _start(right: Vector, seen: Vector, size: int) -> Vector:
    """Return first abilities: logits of accuracy, then directions of the residuals."""
    import numpy as np

    asked = seen.sum(axis=0)
    rate = (right.sum(axis=0) + 0.5) / (asked + 1.0)
    theta = np.zeros((right.shape[1], size))
    theta[:, 0] = np.log(rate / (1.0 - rate))
    theta[:, 0] -= theta[:, 0].mean()
    if size > 1 and len(right):
        level = right.sum(axis=1, keepdims=True) / np.maximum(seen.sum(axis=1, keepdims=True), 1.0)
        residual = (right - level) * seen
        residual -= residual.mean(axis=0, keepdims=True)
        _, vectors = np.linalg.eigh(residual.T @ residual)
        lead = vectors[:, ::-1][:, : size - 1]
        peaks = np.argmax(np.round(np.abs(lead), 9), axis=0)
        signs = np.sign(lead[peaks, np.arange(lead.shape[1])])
        theta[:, 1 : 1 + lead.shape[1]] = lead * np.where(signs == 0.0, 1.0, signs)
    return theta


def _newton(
    values: Vector,
    rows: Vector,
    right: Vector,
    seen: Vector,
    *,
    prior: Vector,
    centre: Vector,
    offset: Vector | None = None,
) -> Vector:
    """Return one damped Newton step of many penalised logistic regressions with common rows.

    Args:
        values: the coefficients; shape (regressions, coefficients).
        rows: their common rows; shape (cases, coefficients).
        right: outcomes; shape (regressions, cases).
        seen: 1 where there is one.
        prior: precision of each coefficient around `centre`.
        centre: the coefficients' prior mean.
        offset: what is added to the linear predictor; shape (cases, regressions).
    """
    import numpy as np

    linear = values @ rows.T
    if offset is not None:
        linear = linear + offset.T
    chance = sigmoid(linear)
    gradient = (seen * (right - chance)) @ rows - prior * (values - centre)
    curvature = np.einsum("rc,ci,cj->rij", seen * chance * (1.0 - chance), rows, rows)
    step = np.linalg.solve(curvature + np.diag(prior), gradient[:, :, None])[:, :, 0]
    moved: Vector = values + np.clip(step, -2.0, 2.0)
    return moved
