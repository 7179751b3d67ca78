"""Rules on how many experts to ask, and which of them to keep at all; each over a scoring rule."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from protocols.chance import Rng
from protocols.routing.measured import Measured, Task
from protocols.routing.predicted import PredictedQuality
from protocols.routing.rule import EVERYBODY, Rule
from protocols.routing.scoring import ScoringRule
from protocols.routing.steps import Scores, Selection, best, rounded, scores_of, taken

if TYPE_CHECKING:
    from protocols.routing.texts import Vector


class _Over(Rule):
    """A rule that goes by the scores of another one."""

    over: ScoringRule = PredictedQuality()
    """The rule whose scores count."""

    def assets(self) -> tuple[str, ...]:
        """Return what the rule below reads."""
        return self.over.assets()

    def score(self, task: Task) -> Scores:
        """Return the scores of the rule below."""
        return self.over.score(task)


class TopP(_Over):
    """As many experts as it takes to hold the probability p: few on easy, more on hard questions.

    Probabilities are ``softmax(value / temperature)`` over the pool. Taken is the smallest prefix
    in their order whose sum is above p, at most k.

    Price: 1 to k asks. Source: arXiv 2403.07652 (p = 0.4), there over the router of a network.
    Departures: the probabilities come from a rule of recruitment; `temperature` is ours.
    """

    rule: Literal["top_p"] = "top_p"
    usual = EVERYBODY
    p: float = Field(default=0.4, ge=0.0, lt=1.0)
    """The probability to exceed."""
    temperature: float = Field(default=0.05, gt=0.0, allow_inf_nan=False)
    """Of the softmax (ours)."""

    def select(self, scores: Scores, k: int, rng: Rng) -> Selection:
        """Take the smallest prefix above p."""
        order = scores.order
        return taken(scores, order[: min(k, self._prefix(scores, order))])

    def _prefix(self, scores: Scores, order: tuple[int, ...]) -> int:
        top = scores.values[order[0]]
        shares = [math.exp((scores.values[i] - top) / self.temperature) for i in order]
        total, held = math.fsum(shares), 0.0
        for size, share in enumerate(shares, start=1):
            held += share / total
            if rounded(held) > self.p:
                return size
        return len(order)


class AdaptiveBar(_Over):
    """All experts above a bar that moves with the scores: r >= mean - n * sigma, best first.

    With an expert cast as ``judge`` r is its rating of the answers of the whole pool, which is
    asked first, see ``rated.py``; without, it is the value of the rule below.

    Price: 1 to k asks; with a judge up to twice the pool. Source: MAIN-RAG (arXiv 2501.00332),
    there for documents scored by a judge. Departures: experts or their answers take the place of
    documents; without a judge nothing is rated, only predicted.
    """

    rule: Literal["adaptive_bar"] = "adaptive_bar"
    usual = EVERYBODY
    n: float = Field(default=0.0, allow_inf_nan=False)
    """How many standard deviations below the mean the bar lies."""

    def select(self, scores: Scores, k: int, rng: Rng) -> Selection:
        """Keep those above the bar; the best one always."""
        order = scores.order
        bar = self.bar([scores.values[i] for i in order])
        kept = [i for i in order if scores.values[i] >= bar] or [order[0]]
        return taken(scores, kept[:k])

    def bar(self, values: list[float]) -> float:
        """Return mean - n * sigma."""
        mean = math.fsum(values) / len(values)
        sigma = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / len(values))
        return rounded(mean - self.n * sigma)


class Subset(_Over):
    """Few experts are kept for all questions, inside limits; the rule below routes among them.

    The quality of a subset is what a perfect router by category would get on the evidence:
    ``sum_c n_c max over m in S of quality[c][m] / N``. It never falls when an expert is added, so
    a greedy choice is a bound and branch and bound finds the best subset: a branch is left when
    even all that it may still add cannot beat the best so far. Equal subsets: the cheaper, then
    the smaller, then by name.

    Price: k asks, of at most `size` experts that must be at hand. Source: MoE2 (arXiv 2501.09410).
    Departures: limits are on the number of experts and on the sum of their mean prices (evidence
    holds neither latency nor memory); quality is read off categories.
    """

    rule: Literal["subset"] = "subset"
    size: int = Field(default=3, ge=1)
    """Most experts kept."""
    budget: float | None = Field(default=None, gt=0.0, allow_inf_nan=False)
    """Most that one answer of each of them may cost together, in units of the pool's mean."""

    def score(self, task: Task) -> Scores:
        """Return the scores of the rule below; only the subset may be taken."""
        found = self.over.score(task)
        kept = task.known.fitted(f"subset {self.size} {self.budget}", self._kept)
        why = {**found.why, "subset": [task.pool[i] for i in kept]}
        allowed = [i in kept and found.may(i) for i in range(len(task.pool))]
        if not any(allowed):
            allowed = [i in kept for i in range(len(task.pool))]
        return scores_of(task.pool, found.values, weights=found.weights, allowed=allowed, why=why)

    def select(self, scores: Scores, k: int, rng: Rng) -> Selection:
        """Take the k best of the subset."""
        return best(scores, k)

    def _kept(self, known: Measured) -> tuple[int, ...]:
        import numpy as np

        from protocols.routing.measured import shares

        groups = [*known.categories.values()] or [list(range(len(known.evidence.questions)))]
        quality = np.array(
            [
                len(rows) * shares(known.right[rows].sum(0), known.seen[rows].sum(0), 0.0)
                for rows in groups
            ]
        ).reshape(len(groups), len(known.pool))
        return best_subset(quality, known.costs, size=self.size, budget=self.budget)


def best_subset(
    quality: Vector, costs: Vector, *, size: int, budget: float | None
) -> tuple[int, ...]:
    """Return the subset of columns with the largest sum of row maxima inside the limits.

    Args:
        quality: a row a group of questions, a column an expert; not negative.
        costs: of each expert.
        size: most experts.
        budget: most that they may cost together; where nobody is within it, the cheapest is kept.
    """
    import numpy as np

    limit = math.inf if budget is None else budget
    columns = [i for i in range(quality.shape[1]) if costs[i] <= limit]
    if not columns:
        return (int(np.argmin(costs)),)
    columns.sort(key=lambda i: (-rounded(float(quality[:, i].sum())), costs[i], i))
    nothing = np.zeros(quality.shape[0])
    found: list[tuple[tuple[float, float, int, tuple[int, ...]], tuple[int, ...]]] = []

    def visit(start: int, kept: tuple[int, ...], level: Vector, cost: float) -> None:
        if kept:
            names = tuple(sorted(kept))
            rank = (-rounded(float(level.sum())), rounded(cost), len(kept), names)
            if not found or rank < found[0][0]:
                found[:] = [(rank, names)]
        if len(kept) == size or start == len(columns):
            return
        rest = [i for i in columns[start:] if cost + costs[i] <= limit + 1e-12]
        bound = np.maximum(level, quality[:, rest].max(axis=1)) if rest else level
        if found and rest and -rounded(float(bound.sum())) > found[0][0][0]:
            return
        for place in range(start, len(columns)):
            i = columns[place]
            if cost + costs[i] <= limit + 1e-12:
                visit(place + 1, (*kept, i), np.maximum(level, quality[:, i]), cost + costs[i])

    visit(0, (), nothing, 0.0)
    return found[0][1]


class ExpertChoice(_Over):
    """Experts choose questions: each takes its share of them, then nobody is left alone.

    Over n questions and e experts each expert takes its top ``n * c / e`` questions by
    ``softmax(value / temperature)`` over the experts of each question, c being k; a question that
    nobody took gets its best expert. So the load is even and the team sizes are not. It needs all
    questions at once: see ``group.py``; the cast of the questions' own stage holds the teams.

    Price: k asks a question in the mean, 1 to e for one. Source: expert choice (arXiv
    2202.09368), there for tokens in a network. Departures: the scores come from a rule of
    recruitment; `temperature` and the repair are ours.
    """

    rule: Literal["expert_choice"] = "expert_choice"
    usual = 3
    temperature: float = Field(default=0.05, gt=0.0, allow_inf_nan=False)
    """Of the softmax over experts (ours)."""

    def most(self, k: int) -> int:
        """Everybody may want the same question."""
        return EVERYBODY

    def select(self, scores: Scores, k: int, rng: Rng) -> Selection:
        """Choose for a single question; see :meth:`select_all`."""
        return self.select_all((scores,), k)[0]

    def select_all(self, many: tuple[Scores, ...], k: int) -> tuple[Selection, ...]:
        """Let the experts choose among many questions, all over the same pool."""
        if not many:
            return ()
        experts = len(many[0].experts)
        shares = [self._shares(scores) for scores in many]
        capacity = min(len(many), max(1, round(len(many) * min(k, experts) / experts)))
        taken_by: list[list[int]] = [[] for _ in many]
        for expert in range(experts):
            wanted = sorted(range(len(many)), key=lambda q: (-shares[q][expert], q))
            for question in wanted[:capacity]:
                if many[question].may(expert):
                    taken_by[question].append(expert)
        return tuple(
            taken(scores, places or scores.order[:1])
            for scores, places in zip(many, taken_by, strict=True)
        )

    def _shares(self, scores: Scores) -> list[float]:
        top = max(scores.values)
        powers = [math.exp((value - top) / self.temperature) for value in scores.values]
        total = math.fsum(powers)
        return [rounded(power / total) if scores.may(i) else -1.0 for i, power in enumerate(powers)]
