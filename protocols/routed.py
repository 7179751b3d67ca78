"""Routing: a rule recruits experts for each question; their answers are joined.

Schedule: ``{1..k}`` of the recruited (a cascade: ``1 > 2 > ... > k``), then, where a model joins
the answers, the aggregator. Price: see the rule; 1 more with ``aggregate: model`` or ``chosen``.
Set-up price: the evidence, that is |V| asks of every expert for |V| questions of its own; rules
fit to it without any ask.

Sources: stand with the rules in ``routing/``. Departures: theirs. No rule sees an answer key, and
evidence is never of the questions at hand.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Self

from pydantic import Field, model_validator

from protocols.aggregation import aggregate_asks
from protocols.cast import Cast
from protocols.chance import Rng
from protocols.contract import CallBound, Role, Session
from protocols.outcome import Outcome
from protocols.parsing import Parsed, read_answer
from protocols.question import Question
from protocols.rated import JUDGE, RATING_TEMPLATE, rated_and_joined
from protocols.recruiting import RECRUITING_TEMPLATES, SOLVER, Place, Recruiting
from protocols.replies import Reply
from protocols.routing.baselines import BestSingle
from protocols.routing.cascade import Cascade, as_json, posterior
from protocols.routing.measured import Task
from protocols.routing.rules import AnyRule, Rules
from protocols.routing.steps import Recruit, Recruitment, Scores, Selection
from protocols.routing.teams import AdaptiveBar, ExpertChoice
from protocols.skills import skills_of
from protocols.solving import solver_asks


class Routed(Recruiting):
    """The rule's team answers; its answers are joined by `aggregate`.

    Where nothing decides (no evidence on anybody, all experts equal) experts go by name. An
    expert that fails is not replaced, but in a cascade the next one is asked. An expert that the
    evidence does not know comes last.
    """

    kind: ClassVar[str] = "routed"
    about: ClassVar[str] = "a rule recruits experts for each question; their answers are joined"

    templates: ClassVar[tuple[str, ...]] = (*RECRUITING_TEMPLATES, RATING_TEMPLATE)

    rule: AnyRule = BestSingle()
    """The rule, or its name for the rule with its defaults; by default the common baseline."""
    k: int | None = Field(default=None, ge=1)
    """How many experts (or draws) a question; by default what is usual for the rule. The whole
    pool where it is smaller."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.trim and isinstance(self.rule, (AdaptiveBar, Cascade)):
            raise ValueError(
                f"rule {self.rule.name!r} decides while answers come in, so there is nothing to "
                "trim before; leave 'trim' out"
            )
        return self

    def recruiter(self) -> Rules:
        """Return the rule."""
        return self.rule

    def size(self, experts: int) -> int:
        """Return k, or the rule's usual number."""
        return min(self.rule.usual, experts) if self.k is None else self.k

    def settles_first(self) -> bool:
        """Trim and expert choice need all questions at once."""
        return self.trim > 0.0 or isinstance(self.rule, ExpertChoice)

    def roles(self) -> tuple[Role, ...]:
        """Return the pool and the aggregator, and the judge where the bar is adaptive."""
        if not isinstance(self.rule, AdaptiveBar):
            return super().roles()
        about = "rates each answer; without it the bar is on predicted quality"
        judge = Role(JUDGE, about, optional=True, reads_passage=True, draws=True)
        return (*super().roles(), judge)

    def calls(self, question: Question, cast: Cast) -> CallBound:
        """From one expert to a full team and the aggregator; with a judge, the pool twice."""
        if not isinstance(self.rule, AdaptiveBar) or not cast.members.get(JUDGE):
            return super().calls(question, cast)
        pool = len(cast.role(SOLVER))
        return CallBound(pool, 2 * pool + aggregate_asks(self.aggregate))

    def session(self, question: Question, cast: Cast, rng: Rng) -> Session[Outcome]:
        """Recruit, ask, and join."""
        task = self.task(question, cast, skills_of(question, cast))
        if isinstance(self.rule, AdaptiveBar) and cast.members.get(JUDGE):
            return (yield from rated_and_joined(self, self.rule, task, cast))
        if isinstance(self.rule, Cascade):
            return (yield from self._cascaded(self.rule, task, cast))
        return (yield from self.answered(task, cast, self.recruit(task, cast, rng)))

    def _cascaded(self, rule: Cascade, task: Task, cast: Cast) -> Session[Outcome]:
        """Ask one after the other while the next is expected to pay."""
        scores = rule.score(task)
        queue = rule.queue(task, scores, self.size(len(task.pool)))
        options = max(len(task.question.options) or rule.options, 2)
        slots = {m.expert: i for i, m in reversed(list(enumerate(cast.role(SOLVER))))}
        costs = [float(cost) for cost in task.known.costs]
        asked: list[Place] = []
        replies: list[Reply] = []
        said: list[tuple[float, str]] = []
        for number, place in enumerate(queue):
            rest = [(scores.weights[i], costs[i]) for i in queue[number:]]
            if said and not rule.pays(said, rest, options):
                break
            slot = slots[task.pool[place]]
            recruit = Recruit(task.pool[place], slot, 1, scores.weights[place], 1.0)
            seat = cast.seat(SOLVER, slot)
            (reply,) = yield solver_asks(task.question, cast, (seat,))
            asked.append(Place(seat, recruit, 1))
            replies.append(reply)
            reading = read_answer(reply, task.question)
            if isinstance(reading, Parsed):
                said.append((scores.weights[place], reading.value))
        recruitment = _recruitment(scores, queue, [place.recruit for place in asked])
        outcome = yield from self.joined(task, cast, recruitment, asked, replies)
        sure = as_json(posterior(said, options)) if said else {}
        return outcome.model_copy(update={"detail": {**outcome.detail, "posterior": sure}})


def _recruitment(scores: Scores, queue: Sequence[int], team: Sequence[Recruit]) -> Recruitment:
    """Return the recruitment of those who were asked, in the order in which they were."""
    names = {recruit.expert for recruit in team}
    draws = tuple(int(expert in names) for expert in scores.experts)
    settled = tuple(sorted(queue[: len(team)]))
    return Recruitment(tuple(team), Selection(scores, draws, tuple(map(float, draws)), settled))
