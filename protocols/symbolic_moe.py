"""Symbolic-MoE: experts are recruited for each question by their measured skills.

Schedule: ``{1..k}`` of the recruited, then, where a model joins the answers, the aggregator. Price:
1 to k asks, as an expert drawn twice answers once; 1 more with ``aggregate: model``.

Source: arXiv 2503.05641. The steps are in ``recruitment.py``. Departures: a question's skills are
its category and subject instead of keywords that a model annotated; experts that are hardly ever
recruited are not redrawn, as that takes many questions at once; the plain vote, the source's
baseline, is the default aggregation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from pydantic import Field, JsonValue

from protocols.asks import Ask
from protocols.ballots import (
    Ballot,
    Vote,
    count_unparsed,
    failure_counts,
    session_boundary,
    tally,
    vote_outcome,
)
from protocols.cast import Cast
from protocols.chance import Rng
from protocols.compose import ask_one
from protocols.contract import CallBound, Protocol, Replies, Role, Session
from protocols.errors import Mistake
from protocols.lineage import graph_to_json
from protocols.messages import Part
from protocols.outcome import Outcome
from protocols.parsing import Parsed, Reading, read_answer
from protocols.plurality import answers_by_expert
from protocols.profile import PROFILE, SkillProfile, cast_profile, question_skills
from protocols.prompts import headed, prompt
from protocols.question import Question
from protocols.quoting import quoted
from protocols.recruitment import (
    Recruitment,
    Variant,
    match_skills,
    plan,
    recruitment_graph,
    score,
    select,
)
from protocols.replies import Reply
from protocols.solving import TEMPLATE, solver_asks, solver_messages

SOLVER = "solver"
AGGREGATOR = "aggregator"
AGGREGATE_TEMPLATE = "aggregate"
RULES = {"vote": "plurality", "weighted": "weighted_plurality", "model": "aggregator"}


class SymbolicMoE(Protocol):
    """k draws from the pool by skill; each distinct expert answers once; the answers are joined.

    Ties go to the tied answer of the expert best on the profile. With an aggregator, its own
    answer decides and nothing stands in for it; the vote is then told in ``detail`` beside it.
    """

    kind: ClassVar[str] = "symbolic_moe"
    about: ClassVar[str] = "experts recruited by measured skill answer; a vote or a model joins"
    templates: ClassVar[tuple[str, ...]] = (TEMPLATE, AGGREGATE_TEMPLATE)

    k: int = Field(default=3, ge=1)
    """Draws from the pool."""
    temperature: float = Field(default=0.5, gt=0.0, allow_inf_nan=False)
    """T of the competency and of the softmax."""
    variant: Variant = "source"
    """Weights S * G (``source``), or their softmax."""
    replacement: bool = True
    """Draw with replacement (``source``), or take the k best by weight."""
    aggregate: Literal["vote", "weighted", "model"] = "vote"
    """Vote by number of draws; by skill weight times draws; or one expert writes the answer."""

    def roles(self) -> tuple[Role, ...]:
        """Return the pool and the aggregator, which only ``aggregate: model`` needs."""
        return (
            Role(SOLVER, "the pool to recruit from", many=True, reads_passage=True),
            Role(
                AGGREGATOR,
                "reads the team's answers and gives the final one",
                optional=self.aggregate != "model",
                reads_passage=True,
                draws=True,  # it answers what the others wrote: no answer recorded alone will do
            ),
        )

    def assets(self) -> tuple[str, ...]:
        """Return the skill profile."""
        return (PROFILE,)

    def calls(self, question: Question, cast: Cast) -> CallBound:
        """From one recruited expert that fails to a full team and the aggregator."""
        most = min(self.k, len(cast.role(SOLVER)))
        return CallBound(1, most + int(self.aggregate == "model"))

    def session(self, question: Question, cast: Cast, rng: Rng) -> Session[Outcome]:
        """Recruit, ask the team, and join its answers."""
        profile = cast_profile(cast.assets)
        if profile is None:
            raise Mistake("symbolic_moe needs a skill profile; name one as the asset 'profile'")
        recruitment = self._recruit(profile, question, cast, rng)
        team = recruitment.team
        seats = tuple(cast.seat(SOLVER, recruit.index) for recruit in team)
        replies = yield solver_asks(question, cast, seats)
        readings = [read_answer(reply, question) for reply in replies]
        weights = self._vote_weights(recruitment)
        ballot = tally(
            (
                Vote(reading.value, weights[slot], seats[slot].expert, slot)
                for slot, reading in enumerate(readings)
                if isinstance(reading, Parsed)
            ),
            precedence=profile.ranking(),
        )
        detail = self._detail(question, cast, recruitment, profile, weights=weights)
        detail["answers"] = answers_by_expert(seats, replies, readings)
        if self.aggregate != "model":
            return vote_outcome(
                replies,
                readings,
                ballot,
                rule=RULES[self.aggregate],
                answered_by=seats[0].expert if len(seats) == 1 else None,
                detail=detail,
            )
        detail["vote"] = ballot.answer
        if not all(reply.failed for reply in replies):
            final = yield from ask_one(_aggregator_ask(question, cast, recruitment, replies))
            replies = (*replies, final)
            readings.append(read_answer(final, question))
        return _aggregated(replies, readings, ballot, detail)

    def _recruit(
        self, profile: SkillProfile, question: Question, cast: Cast, rng: Rng
    ) -> Recruitment:
        """Score, select, plan; a step over many selections would stand before the plan."""
        pool = tuple(member.expert for member in cast.role(SOLVER))
        matches = match_skills(question_skills(question), profile.known_skills)
        scores = score(
            profile,
            [match.known for match in matches],
            pool,
            temperature=self.temperature,
            variant=self.variant,
        )
        return plan(select(scores, self.k, rng, replacement=self.replacement), matches)

    def _vote_weights(self, recruitment: Recruitment) -> list[float]:
        """Return the weight of each team member: its draws, times its skill weight if wanted."""
        if self.aggregate == "weighted":
            return [recruit.draws * recruit.weight for recruit in recruitment.team]
        return [float(recruit.draws) for recruit in recruitment.team]

    def _detail(
        self,
        question: Question,
        cast: Cast,
        recruitment: Recruitment,
        profile: SkillProfile,
        *,
        weights: list[float],
    ) -> dict[str, JsonValue]:
        """Return what is told of the recruitment."""
        rule = RULES[self.aggregate]
        graph = recruitment_graph(
            question.id,
            recruitment,
            profile,
            aggregator=cast.seat(AGGREGATOR).expert if self.aggregate == "model" else rule,
            vote_weights=weights,
        )
        return {
            "recruitment": graph_to_json(graph),
            "team": [
                {"expert": r.expert, "draws": r.draws, "weight": r.weight, "odds": r.odds}
                for r in recruitment.team
            ],
            "distinct": len(recruitment.team),
        }


def _aggregator_ask(
    question: Question, cast: Cast, recruitment: Recruitment, replies: Replies
) -> Ask:
    """Return the ask that shows the aggregator every answer that came, numbered, not named."""
    came = [
        (recruit.draws, reply)
        for recruit, reply in zip(recruitment.team, replies, strict=True)
        if not reply.failed
    ]
    said = [
        headed(_heading(number, draws), "answer", quoted(reply.text), reply.place)
        for number, (draws, reply) in enumerate(came, start=1)
    ]
    messages = solver_messages(
        question,
        passage=cast.reads_passage(AGGREGATOR),
        said=(*said, prompt(AGGREGATE_TEMPLATE, "review")),
        system=prompt(AGGREGATE_TEMPLATE, "system"),
    )
    return Ask(cast.seat(AGGREGATOR), messages, question=question.id)


def _heading(number: int, draws: int) -> Part:
    return prompt(AGGREGATE_TEMPLATE, "solution", number=number, weight=draws)


def _aggregated(
    replies: Sequence[Reply],
    readings: Sequence[Reading],
    ballot: Ballot,
    detail: dict[str, JsonValue],
) -> Outcome:
    """Conclude from the aggregator's reply, the last one; no other answer stands in for it.

    Where the whole team failed, the aggregator was not asked and the session failed.
    """
    last, reading = replies[-1], readings[-1]
    boundary = session_boundary(replies) if all(r.failed for r in replies) else None
    if last.failure is not None:
        boundary = boundary or last.failure.boundary
    answer = reading.value if isinstance(reading, Parsed) else None
    return Outcome(
        status="failed" if boundary else "unparsed" if answer is None else "answered",
        answer=answer,
        votes=ballot.votes,
        rule=RULES["model"],
        unparsed=count_unparsed(replies, readings),
        failures=failure_counts(replies),
        boundary=boundary,
        detail=detail,
    )
