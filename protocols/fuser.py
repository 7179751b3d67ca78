"""Weights of votes: what an expert's vote is worth, from how it did on questions of its own.

Two rules, both fitted on :class:`~protocols.evidence.Evidence` (or, the first one, on a profile):

*Accuracy weights.* An expert that was right on a of n questions has the shrunk accuracy
p = (a + 1) / (n + 2) (Laplace's rule of succession), and its vote is worth ::

    w = log(p (K - 1) / (1 - p))

where K is the number of options; free answers count as K = 2. For two options these log-odds are
the weights under which a vote of independent experts is most often right (Nitzan and Paroush,
International Economic Review 23, 1982); for K options they are, where every wrong answer is as
likely as any other. Below 0 an expert is worse than chance, and its vote does not count.

*Fuser.* The weights are learned over recorded votes, so that experts who err together count less.
Among the distinct answers that were given to a question ::

    P(a) = exp(u(a)) / sum over answers b of exp(u(b)),  u(a) = sum of w_e over the e that gave a

is the chance that a is the right one (a conditional logit; McFadden 1974), and w maximises ::

    sum over questions of log P(right answer)  -  ridge / 2 * sum of (w_e - w0_e)**2

with the accuracy weights as w0 (ours): with little evidence the fuser votes as they do. It is
fitted by Newton's method, whose problem is concave, so there is one solution and no chance in it.
Only questions to which exactly one of two or more different answers is right teach anything.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median_low
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from protocols.evidence import MISSING, RIGHT, Evidence, cast_evidence
from protocols.profile import SkillProfile, cast_profile

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from protocols.cast import Asset

    Floats = NDArray[np.float64]

T = TypeVar("T")

RIDGE = 1.0
"""How strongly the fuser's weights are held to the accuracy weights (ours)."""
_DIGITS = 9
_STEPS = 50
_MOST_KEPT = 64


class Record(NamedTuple):
    """How often an expert was right."""

    right: int
    asked: int


def accuracy_weight(record: Record, options: int) -> float:
    """Return the log-odds weight of an expert with `record` among `options` answers."""
    accuracy = (record.right + 1) / (record.asked + 2)
    return round(math.log(accuracy * max(1, options - 1) / (1.0 - accuracy)), _DIGITS)


@dataclass(frozen=True, slots=True)
class Records:
    """How often every expert was right, and who goes first in a tie."""

    records: Mapping[str, Record]
    ranking: tuple[str, ...]
    """The experts, best accuracy first, equal ones by name, unmeasured ones last."""

    def weight(self, expert: str, options: int) -> float:
        """Return the accuracy weight of an expert; an unmeasured one is right half the time."""
        return accuracy_weight(self.records.get(expert, Record(0, 0)), options)


def cast_records(assets: Mapping[str, Asset]) -> Records | None:
    """Return the records that a cast's evidence holds, else its profile; None without either."""
    evidence = cast_evidence(assets)
    if evidence is not None:
        return evidence_records(evidence)
    profile = cast_profile(assets)
    return None if profile is None else profile_records(profile)


def profile_records(profile: SkillProfile) -> Records:
    """Return the records that a profile holds."""
    records = {
        expert: Record(profile.right.get(expert, 0), profile.asked.get(expert, 0))
        for expert in profile.experts
    }
    return Records(records, profile.ranking())


def evidence_records(evidence: Evidence) -> Records:
    """Return the records that evidence holds; counted once per content."""
    known = _RECORDS.get(evidence.digest)
    if known is not None:
        return known
    records = {
        expert: Record(flags.count(RIGHT), len(flags) - flags.count(MISSING))
        for expert, flags in sorted(evidence.right.items())
    }

    def place(expert: str) -> tuple[float, str]:
        right, asked = records[expert]
        return (-right / asked if asked else math.inf, expert)

    return _kept(_RECORDS, evidence.digest, Records(records, tuple(sorted(records, key=place))))


@dataclass(frozen=True, slots=True)
class Fuser:
    """Learned weights of votes."""

    weights: Mapping[str, float]
    """Expert -> w; that of an expert that never voted on the evidence is absent: 0."""
    questions: int
    """How many questions taught something."""
    lacks: str = ""
    """Why nothing could be learned; then there are no weights."""

    def shares(self, votes: Sequence[tuple[str, str]]) -> dict[str, float]:
        """Return the chance P of each answer to be right, given that one of them is.

        Args:
            votes: (expert, answer).
        """
        worth: dict[str, list[float]] = {}
        for expert, answer in votes:
            worth.setdefault(answer, []).append(self.weights.get(expert, 0.0))
        sums = {answer: math.fsum(parts) for answer, parts in worth.items()}
        top = max(sums.values(), default=0.0)
        powers = {answer: math.exp(value - top) for answer, value in sums.items()}
        total = math.fsum(powers.values())
        return {answer: _rounded(power / total) for answer, power in powers.items()}


def fit_fuser(evidence: Evidence, *, ridge: float = RIDGE) -> Fuser:
    """Learn a fuser's weights; see the module's docstring. Fitted once per content.

    Evidence without answers, or in which no question tells its answers apart, teaches nothing.
    """
    key = f"{evidence.digest} {ridge!r}"
    known = _FITTED.get(key)
    return _kept(_FITTED, key, _fit(evidence, ridge)) if known is None else known


def _fit(evidence: Evidence, ridge: float) -> Fuser:
    experts = tuple(sorted(evidence.answers))
    if not experts:
        return Fuser({}, 0, "the evidence holds no answers")
    votes, starts, right = _votes(evidence, experts)
    if not starts:
        return Fuser({}, 0, "no question of the evidence has one right and another wrong answer")
    records = evidence_records(evidence)
    options = median_low([len(question.options) or 2 for question in evidence.questions])
    prior = [records.weight(expert, options) for expert in experts]
    weights = _newton(votes, starts, right, prior, ridge)
    named = zip(experts, weights, strict=True)
    return Fuser({expert: round(float(w), _DIGITS) for expert, w in named}, len(starts))


def _votes(
    evidence: Evidence, experts: Sequence[str]
) -> tuple[list[list[float]], list[int], list[int]]:
    """Return who gave which answer, where each question's answers begin, and the right rows.

    A row is one distinct answer to one question: 1 for each expert that gave it, else 0.
    """
    rows: list[list[float]] = []
    starts: list[int] = []
    right: list[int] = []
    columns = list(enumerate(experts))
    for number in range(len(evidence.questions)):
        given: dict[str, list[float]] = {}
        correct: set[str] = set()
        for column, expert in columns:
            answer, flag = evidence.answers[expert][number], evidence.right[expert][number]
            if answer is not None and flag != MISSING:
                given.setdefault(answer, [0.0] * len(experts))[column] = 1.0
                if flag == RIGHT:
                    correct.add(answer)
        if len(correct) == 1 and len(given) > 1:
            answers = sorted(given)
            starts.append(len(rows))
            right.append(len(rows) + answers.index(min(correct)))
            rows += [given[answer] for answer in answers]
    return rows, starts, right


def _newton(
    votes: Sequence[Sequence[float]],
    starts: Sequence[int],
    right: Sequence[int],
    prior: Sequence[float],
    ridge: float,
) -> Floats:
    """Return the weights of largest penalised likelihood, by damped Newton steps."""
    import numpy as np

    x = np.array(votes, dtype=np.float64)
    sizes = np.diff([*starts, len(votes)])
    w0 = np.array(prior, dtype=np.float64)
    chosen = x[list(right)].sum(axis=0)

    def state(w: Floats) -> tuple[float, Floats]:
        """Return the objective and the probability of every row."""
        utility = x @ w
        utility -= np.repeat(np.maximum.reduceat(utility, starts), sizes)
        powers = np.exp(utility)
        p: Floats = powers / np.repeat(np.add.reduceat(powers, starts), sizes)
        likelihood = float(np.log(np.maximum(p[list(right)], 1e-300)).sum())
        return likelihood - ridge / 2.0 * float(((w - w0) ** 2).sum()), p

    w = w0.copy()
    value, p = state(w)
    for _ in range(_STEPS):
        weighted = x * p[:, None]
        means = np.add.reduceat(weighted, starts, axis=0)
        slope = chosen - weighted.sum(axis=0) - ridge * (w - w0)
        curve = x.T @ weighted - means.T @ means + ridge * np.eye(len(w0))
        step = np.linalg.solve(curve, slope)
        scale = 1.0
        fresh, fresh_p = state(w + step)
        while fresh < value - 1e-12 and scale > 1e-6:
            scale /= 2.0
            fresh, fresh_p = state(w + scale * step)
        w = w + scale * step
        value, p = fresh, fresh_p
        if float(np.abs(step).max()) < 1e-11:
            break
    return w


_RECORDS: dict[str, Records] = {}
_FITTED: dict[str, Fuser] = {}
# What follows from evidence, by its digest, as thousands of sessions of a run read the same.


def _kept(kept: dict[str, T], key: str, value: T) -> T:
    if len(kept) >= _MOST_KEPT:
        kept.clear()
    kept[key] = value
    return value


def _rounded(value: float) -> float:
    """Return 12 significant digits: the last ones of exp and log differ between machines."""
    return float(f"{value:.12g}")
