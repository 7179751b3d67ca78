"""What protocols that recruit for each question share: recruit, ask the team, join its answers.

Whoever recruits has the pool in the role ``solver``. The steps are in ``routing/``, the ways of
joining in ``aggregation.py``. A step over many questions (trim, expert choice) runs before the
stage, see :func:`group_stage`; its teams are the asset ``teams`` of the stage's cast.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar, Literal, NamedTuple

from pydantic import Field, JsonValue

from protocols.aggregation import (
    TEMPLATES,
    Aggregate,
    aggregate_asks,
    aggregate_assets,
    aggregator_name,
    aggregator_role,
    join,
    weigh,
)
from protocols.asks import Seat
from protocols.ballots import count_unparsed, failure_counts
from protocols.cast import Cast
from protocols.chance import Rng
from protocols.contract import CallBound, Protocol, Role, Session
from protocols.errors import Mistake
from protocols.evidence import cast_evidence
from protocols.outcome import Outcome
from protocols.parsing import Reading, read_answer
from protocols.profile import cast_profile
from protocols.question import Question
from protocols.recruitment import match_skills
from protocols.replies import BOUNDARIES, Reply
from protocols.routing.graph import recruitment_json
from protocols.routing.group import TEAMS, settled_selection
from protocols.routing.measured import Task, task_of
from protocols.routing.rule import Rule
from protocols.routing.steps import Recruit, Recruitment, Selection, counterfactual, plan
from protocols.similarity import cast_similarity
from protocols.solving import TEMPLATE, solver_asks

SOLVER = "solver"
RECRUITING_TEMPLATES = (TEMPLATE, *TEMPLATES)


class Place(NamedTuple):
    """One ask of a team."""

    seat: Seat
    recruit: Recruit
    draws: int
    """What its answer counts for: all draws of its expert, or one of them."""


class Recruiting(Protocol):
    """A protocol that recruits a team for each question and joins its answers.

    Quorum and ties are those of ``aggregation.py``: any readable answer is a quorum, and an ask
    that failed has no vote; nobody is recruited in its place.
    """

    templates: ClassVar[tuple[str, ...]] = RECRUITING_TEMPLATES

    aggregate: Aggregate = "vote"
    """How the team's answers become one; see ``aggregation.py``."""
    repeat_draws: Literal["weight", "ask"] = "weight"
    """An expert drawn twice answers once and counts twice (``weight``: right where it has one
    answer to give), or is asked for two draws (``ask``)."""
    trim: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Experts with a smaller share of all recruitments are redrawn from the rest (source: 0.05).
    It needs all questions at once: see :func:`protocols.grouping.group_stage`."""

    @abstractmethod
    def recruiter(self) -> Rule:
        """Return the rule that recruits."""

    @abstractmethod
    def size(self, experts: int) -> int:
        """Return how many experts are asked for, in a pool of `experts`."""

    def settles_first(self) -> bool:
        """Whether teams are settled over all questions, before their stage."""
        return self.trim > 0.0

    def roles(self) -> tuple[Role, ...]:
        """Return the pool and the aggregator, which only some ways of joining need."""
        about = "the pool to recruit from"
        again = self.repeat_draws == "ask"
        pool = Role(SOLVER, about, many=True, reads_passage=True, draws=again)
        return (pool, aggregator_role(self.aggregate))

    def assets(self) -> tuple[str, ...]:
        """Return what the rule and the aggregation read, and the teams settled before."""
        teams = (TEAMS,) if self.settles_first() else ()
        names = (*self.recruiter().assets(), *aggregate_assets(self.aggregate), *teams)
        return tuple(dict.fromkeys(names))

    def calls(self, question: Question, cast: Cast) -> CallBound:
        """From one recruited expert that fails to a full team and the aggregator."""
        pool = len(cast.role(SOLVER))
        k = self.size(pool)
        most = k if self.repeat_draws == "ask" else min(self.recruiter().most(k), pool)
        return CallBound(1, most + aggregate_asks(self.aggregate))

    def task(self, question: Question, cast: Cast, skills: Sequence[str]) -> Task:
        """Return what the rule may know about recruiting for a question."""
        profile, evidence = cast_profile(cast.assets), cast_evidence(cast.assets)
        pool = [member.expert for member in cast.role(SOLVER)]
        task = task_of(question, pool, skills=skills, evidence=evidence, profile=profile)
        if task.profile is None or not skills:
            return task
        return replace(task, similarity=cast_similarity(cast, task.profile.known_skills))

    def select(self, task: Task, rng: Rng) -> Selection:
        """Score and select for one question."""
        rule = self.recruiter()
        return rule.select(rule.score(task), self.size(len(task.pool)), rng)

    def recruit(self, task: Task, cast: Cast, rng: Rng) -> Recruitment:
        """Return the team: the one that was settled before the stage, or a new one."""
        pool = [member.expert for member in cast.role(SOLVER)]
        selection = settled_selection(cast.assets, task.question, pool)
        if selection is None:
            if self.settles_first():
                raise Mistake(
                    f"{self.kind} with these parameters needs teams settled over all questions; "
                    "give the asset 'teams' (protocols.grouping.group_stage)"
                )
            selection = self.select(task, rng)
        return plan(selection, pool)

    def places(self, cast: Cast, recruitment: Recruitment) -> list[Place]:
        """Return the asks of the team: one an expert, or one a draw."""
        found = []
        for recruit in recruitment.team:
            seat = cast.seat(SOLVER, recruit.index)
            if self.repeat_draws == "weight":
                found.append(Place(seat, recruit, recruit.draws))
                continue
            for draw in range(1, recruit.draws + 1):
                name = seat.name if draw == 1 else f"{seat.name}_draw_{draw}"
                found.append(Place(cast.seat(SOLVER, recruit.index, name=name), recruit, 1))
        return found

    def answered(self, task: Task, cast: Cast, recruitment: Recruitment) -> Session[Outcome]:
        """Ask the team in one turn and join its answers."""
        places = self.places(cast, recruitment)
        seats = tuple(place.seat for place in places)
        replies = yield solver_asks(task.question, cast, seats)
        return (yield from self.joined(task, cast, recruitment, places, replies))

    def joined(
        self,
        task: Task,
        cast: Cast,
        recruitment: Recruitment,
        places: Sequence[Place],
        replies: Sequence[Reply],
    ) -> Session[Outcome]:
        """Join answers that are there."""
        question = task.question
        return (
            yield from join(
                question,
                cast,
                [place.seat for place in places],
                replies,
                [read_answer(reply, question) for reply in replies],
                how=self.aggregate,
                draws=[place.draws for place in places],
                weights=[place.recruit.weight for place in places],
                detail=self.told(task, cast, recruitment),
            )
        )

    def told(self, task: Task, cast: Cast, recruitment: Recruitment) -> dict[str, JsonValue]:
        """Return what is told of a recruitment."""
        team, selection = recruitment.team, recruitment.selection
        scores = selection.scores
        matches = (
            ()
            if task.profile is None
            else match_skills(task.skills, task.profile.known_skills, task.similarity)
        )
        weighing = weigh(
            task.question,
            cast,
            [recruit.expert for recruit in team],
            how=self.aggregate,
            draws=[recruit.draws for recruit in team],
            weights=[recruit.weight for recruit in team],
        )
        graph = recruitment_json(
            task.question.id,
            team,
            matches=matches,
            profile=task.profile,
            aggregator=aggregator_name(task.question, cast, self.aggregate),
            vote_weights=weighing.weights,
        )
        return {
            "rule": self.recruiter().name,
            "team": [recruit.as_json() for recruit in team],
            "distinct": len(team),
            "scores": dict(zip(scores.experts, scores.values, strict=True)),
            "odds": {e: p for e, p in zip(scores.experts, selection.odds, strict=True) if p},
            "why": dict(scores.why),
            "counterfactual": counterfactual(selection),
            "skills": list(task.skills),
            "recruitment": graph,
        }


def with_counts(outcome: Outcome, replies: Sequence[Reply], readings: Sequence[Reading]) -> Outcome:
    """Return an outcome that also counts other replies of its session, which had no vote."""
    failures = failure_counts(replies)
    return outcome.model_copy(
        update={
            "unparsed": outcome.unparsed + count_unparsed(replies, readings),
            "failures": {
                boundary: failures.get(boundary, 0) + outcome.failures.get(boundary, 0)
                for boundary in BOUNDARIES
                if boundary in failures or boundary in outcome.failures
            },
        }
    )
