"""Group protocols: what needs many questions at once.

A group protocol's session takes a tuple of questions in fixed order and returns one outcome for
each. Here is the one that recruiting needs: it settles the teams of all questions (trim, expert
choice) and asks nobody; its outcomes become the asset ``teams`` of the cast of the next stage.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

from protocols.cast import Asset, Cast
from protocols.chance import Rng
from protocols.contract import CallBound, Protocol, Session
from protocols.errors import ContractBroken, Mistake
from protocols.outcome import Outcome
from protocols.question import Question
from protocols.recruiting import SOLVER, Recruiting
from protocols.routing.group import (
    TEAMS,
    selection_from_json,
    selection_to_json,
    teams_asset,
    trim,
)
from protocols.routing.steps import Selection, plan
from protocols.routing.teams import ExpertChoice
from protocols.skills import skills_of
from protocols.tape import Finished, step


class GroupProtocol(BaseModel, ABC):
    """A procedure over many questions; pure, like a protocol."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: ClassVar[str]
    """Its name."""
    version: ClassVar[int] = 1
    """Raised whenever the same parameters would conclude something else."""

    @abstractmethod
    def session(
        self, questions: tuple[Question, ...], cast: Cast, rng: Rng
    ) -> Session[tuple[Outcome, ...]]:
        """Start a session; it returns one outcome for each question, in their order."""

    @abstractmethod
    def calls(self, questions: tuple[Question, ...], cast: Cast) -> CallBound:
        """Return the fewest and the most asks of a session."""


class SettledTeams(GroupProtocol):
    """Recruits for all questions, then trims; asks nobody.

    An outcome answers nothing, so it is an abstention; its detail holds the team and the whole
    selection. Price: no ask.
    """

    kind: ClassVar[str] = "settled_teams"

    protocol: Recruiting
    """Whose rule, number and trim count."""

    def calls(self, questions: tuple[Question, ...], cast: Cast) -> CallBound:
        """Nobody is asked."""
        return CallBound(0, 0)

    def session(
        self, questions: tuple[Question, ...], cast: Cast, rng: Rng
    ) -> Session[tuple[Outcome, ...]]:
        """Settle the teams; each question has a stream of its own, so its draws stay its own."""
        yield from ()
        pool = [member.expert for member in cast.role(SOLVER)]
        selections = self._selections(questions, cast, rng)
        if self.protocol.trim:
            size = self.protocol.size(len(set(pool)))
            again = any(max(s.draws) > 1 for s in selections) or _draws_again(self.protocol)
            selections = trim(
                selections, share=self.protocol.trim, k=size, rng=rng.child("trim"), again=again
            )
        return tuple(
            Outcome(
                status="abstained",
                rule=self.protocol.recruiter().name,
                detail={
                    "team": [recruit.as_json() for recruit in plan(selection, pool).team],
                    "selection": selection_to_json(selection),
                },
            )
            for selection in selections
        )

    def _selections(
        self, questions: Sequence[Question], cast: Cast, rng: Rng
    ) -> tuple[Selection, ...]:
        tasks = [self.protocol.task(q, cast, skills_of(q, cast)) for q in questions]
        rule = self.protocol.recruiter()
        if isinstance(rule, ExpertChoice):
            scores = tuple(rule.score(task) for task in tasks)
            return rule.select_all(scores, self.protocol.size(len(cast.role(SOLVER))))
        return tuple(self.protocol.select(task, rng.child(task.question.key)) for task in tasks)


def _draws_again(protocol: Recruiting) -> bool:
    """Whether the rule may draw an expert twice for a question."""
    return bool(getattr(protocol.recruiter(), "replacement", False))


def group_stage(protocol: Protocol, questions: Sequence[Question], cast: Cast, seed: int) -> Asset:
    """Settle the teams of all questions and return the asset ``teams`` of the next stage's cast.

    To be called where ``TEAMS in protocol.assets()``. Questions are taken in the order of their
    keys, so that the order of a file does not matter.

    Args:
        protocol: one that recruits, with its parameters.
        questions: all questions of the run.
        cast: the stage's cast, with the assets that the rule reads.
        seed: the run's seed; all repeats share the teams.

    Raises:
        Mistake: the protocol does not recruit.
    """
    if not isinstance(protocol, Recruiting):
        raise Mistake(f"{protocol.kind} recruits nobody, so there are no teams to settle")
    ordered = tuple(sorted(questions, key=lambda question: question.key))
    session = SettledTeams(protocol=protocol).session(ordered, cast, Rng("teams", seed))
    finished = step(session, None)
    if not isinstance(finished, Finished):
        raise ContractBroken("settling teams asks nobody")
    return teams_asset(
        {
            question.key: selection_from_json(outcome.detail["selection"])
            for question, outcome in zip(ordered, finished.outcome, strict=True)
        }
    )


def with_teams(protocol: Protocol, questions: Sequence[Question], cast: Cast, seed: int) -> Cast:
    """Return the cast with the teams of all questions; as it is where `protocol` needs none.

    Teams stand in it by the questions' ids: a team in a seat is asked its question in other words,
    but under the same id.

    Args:
        protocol: with its parameters.
        questions: all that are asked together; their ids differ.
        cast: with what the protocol's rule reads; teams that it holds already are settled anew.
        seed: of the run.
    """
    if TEAMS not in protocol.assets():
        return cast
    content: Any = group_stage(protocol, questions, cast, seed).content
    teams = Asset(kind=TEAMS, content={q.id: content[q.key] for q in questions})
    return Cast(members=cast.members, readers=cast.readers, assets={**cast.assets, TEAMS: teams})
