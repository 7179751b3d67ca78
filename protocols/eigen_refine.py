"""Anchored refinement: each answer is repaired by its peers, then has to pass a quality gate.

Schedule: ``{1..n}, {1..n}, {assess}, ({revise}, {assess})*``. Price with at most R revisions: n
first answers, n repairs, n assessments, and in every further round one revision and one assessment
for each answer below the threshold: at most 3n + 2nR asks; n where nobody said anything.

Who sees what. Repair: the question, one's own answer as the anchor, and all others' as references.
Assessment (the critic): the question and one answer, without its author's name. Revision: the
question, one's own answer and what the critic said about it.

The gate. The critic scores logic, correctness and explanation from 0 to 5; the quality is
.2 logic + .6 correctness + .2 explanation, and an answer passes from `threshold` on. One that does
not is revised and assessed again, up to `revisions` times. An assessment that fails or cannot be
read gives no quality: that answer neither passes nor is revised.

Aggregation: plurality of the answers that passed; of all that stand where none did, which ``gate``
tells (``nobody passed``). Answers, failures and the quorum are as in ``deliberation.py``; a
revision that does not come leaves the answer, and its quality, as it was if the data is missing.

Source: Eigen-1 (arXiv 2509.21193): hierarchical solution refinement (each candidate in turn is the
anchor that the others repair) and quality-aware iterative reasoning (weights .2, .6 and .2,
threshold 3). Departures: no retrieval; an author repairs its own answer with the peers' in view;
the vote of those that passed stands in the place of a ranking model; `revisions` is ours.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

from pydantic import Field

from protocols.asks import Ask
from protocols.ballots import TOLERANCE, Ballot, Vote, tally
from protocols.cast import Cast
from protocols.chance import Rng
from protocols.contract import CallBound, Protocol, Role, Session
from protocols.deliberation import (
    PEERS,
    SOLVER,
    Deliberation,
    context_messages,
    names_of,
    said_part,
    silence,
    solver_count,
    solver_seats,
)
from protocols.messages import Part
from protocols.outcome import Outcome
from protocols.parsing import marked_text, parse_number
from protocols.profile import cast_profile
from protocols.prompts import prompt
from protocols.question import Question
from protocols.replies import Reply
from protocols.solving import TEMPLATE

CRITIC = "critic"
OWN_TEMPLATE = "eigen_refine"
WEIGHTS = {"Logic": 0.2, "Correctness": 0.6, "Explanation": 0.2}
"""What each score counts in the quality."""
HIGHEST = 5.0


class EigenRefine(Protocol):
    """Answers are repaired with the peers' in view and revised until they pass a quality gate."""

    kind: ClassVar[str] = "eigen_refine"
    about: ClassVar[str] = "each answer is repaired by its peers and passes a quality gate; vote"
    templates: ClassVar[tuple[str, ...]] = (TEMPLATE, PEERS, OWN_TEMPLATE)

    agents: int | None = Field(None, ge=1)
    """Solvers where one expert fills all seats. Null: one seat for each expert that is cast."""
    threshold: float = Field(3.0, ge=0.0, le=HIGHEST)
    """The quality from which an answer passes."""
    revisions: int = Field(2, ge=0)
    """R, how often an answer that does not pass is revised."""

    def roles(self) -> tuple[Role, ...]:
        """Return the solvers and the critic."""
        about = "answers, repairs and revises its answer"
        return (
            Role(SOLVER, about, many=True, reads_passage=True, draws=True),
            Role(CRITIC, "scores the quality of an answer", reads_passage=True, draws=True),
        )

    def calls(self, question: Question, cast: Cast) -> CallBound:
        """From the first answers alone to all revisions of all answers."""
        n = solver_count(cast, self.agents)
        return CallBound(n, 3 * n + 2 * n * self.revisions)

    def session(self, question: Question, cast: Cast, rng: Rng) -> Session[Outcome]:
        """Answer, repair, then assess and revise."""
        talk = Deliberation(question, cast, solver_seats(cast, self.agents))
        ballot = talk.take((yield talk.asks()))
        if talk.silent:
            return talk.outcome(ballot, rule="gated_plurality")
        everybody = range(len(talk.seats))
        repair = prompt(OWN_TEMPLATE, "repair")
        said = [
            [*talk.heard(place, [other for other in everybody if other != place]), repair]
            for place in everybody
        ]
        talk.take((yield talk.asks(said)))
        gate = _Gate(talk, cast, self.threshold)
        pending = [place for place in everybody if talk.said(place) is not None]
        for left in reversed(range(self.revisions + 1)):
            if not pending:
                break
            gate.take(pending, (yield gate.asks(pending)))
            failing = [place for place in pending if gate.fails(place)]
            if not left or not failing:
                break
            replies = yield tuple([gate.revision(place) for place in failing])
            pending = gate.revised(failing, replies)
        return gate.outcome()


class _Gate:
    """The quality of every answer, and what the critic said about it."""

    __slots__ = ("_cast", "_passage", "_remarks", "_threshold", "quality", "talk", "unread")

    def __init__(self, talk: Deliberation, cast: Cast, threshold: float) -> None:
        self.talk = talk
        self.quality: dict[int, float | None] = {}
        self.unread = 0
        self._cast = cast
        self._threshold = threshold
        self._passage = cast.reads_passage(CRITIC)
        self._remarks: dict[int, Part | None] = {}

    def asks(self, places: Sequence[int]) -> tuple[Ask, ...]:
        """Return the asks that have the answers of `places` assessed."""
        return tuple([self._assessment(place) for place in places])

    def _assessment(self, place: int) -> Ask:
        talk = self.talk
        said = (
            prompt(OWN_TEMPLATE, "solution"),
            talk.said(place) or silence(),
            prompt(OWN_TEMPLATE, "quality_task"),
        )
        system = prompt(OWN_TEMPLATE, "critic_system")
        messages = context_messages(talk.question, passage=self._passage, system=system, said=said)
        return Ask(self._cast.seat(CRITIC), messages, question=talk.question.id)

    def take(self, places: Sequence[int], replies: Sequence[Reply]) -> None:
        """Read the assessments of `places`."""
        self.talk.note(replies)
        for place, reply in zip(places, replies, strict=True):
            self.quality[place] = None if reply.failed else read_quality(reply.text)
            self._remarks[place] = said_part("assessment", reply)
            self.unread += not reply.failed and self.quality[place] is None

    def passes(self, place: int) -> bool:
        """Whether an answer has a quality that is high enough."""
        quality = self.quality.get(place)
        return quality is not None and quality >= self._threshold - TOLERANCE

    def fails(self, place: int) -> bool:
        """Whether an answer has a quality that is too low."""
        return self.quality.get(place) is not None and not self.passes(place)

    def revision(self, place: int) -> Ask:
        """Return the ask that has an answer revised by what the critic said."""
        remark = self._remarks.get(place)
        assert remark is not None
        said = [
            *self.talk.heard(place, ()),
            prompt(OWN_TEMPLATE, "assessed"),
            remark,
            prompt(OWN_TEMPLATE, "revise"),
        ]
        return self.talk.ask(place, said)

    def revised(self, places: Sequence[int], replies: Sequence[Reply]) -> list[int]:
        """Take revisions; return the places whose answers are to be assessed again."""
        talk = self.talk
        talk.hear(replies, places)
        talk.close()
        for place, reply in zip(places, replies, strict=True):
            if reply.failure is None or not reply.failure.missing:
                self.quality[place] = None
        return [
            place
            for place, reply in zip(places, replies, strict=True)
            if not reply.failed and talk.said(place) is not None
        ]

    def outcome(self) -> Outcome:
        """Return the vote of the answers that passed, or of all where none did."""
        talk = self.talk
        passed = [place for place in range(len(talk.seats)) if self.passes(place)]
        ballot = self._ballot(passed)
        told = "passed"
        if ballot.answer is None:
            ballot, told = self._ballot(range(len(talk.seats))), "nobody passed"
        names = names_of(talk.seats)
        detail: dict[str, Any] = {
            "gate": told,
            "passed": [names[place] for place in passed],
            "quality": {names[place]: value for place, value in sorted(self.quality.items())},
        }
        outcome = talk.outcome(ballot, rule="gated_plurality", **detail)
        return outcome.model_copy(update={"unparsed": outcome.unparsed + self.unread})

    def _ballot(self, places: Sequence[int]) -> Ballot:
        profile = cast_profile(self._cast.assets)
        votes = []
        for place in places:
            stand = self.talk.stands[place]
            if stand is not None and stand.answer is not None:
                votes.append(Vote(stand.answer, 1.0, self.talk.seats[place].expert, place))
        return tally(votes, precedence=None if profile is None else profile.ranking())


def read_quality(text: str) -> float | None:
    """Return the quality that an assessment gives, 0 to 5; None unless all three can be read."""
    parts = []
    for name, weight in WEIGHTS.items():
        written = marked_text(text, name)
        number = None
        if written is not None and "%" not in written:
            number = parse_number(written.removesuffix("/5"))
        value = math.nan if number is None else float(number)
        if not 0.0 <= value <= HIGHEST:
            return None
        parts.append(weight * value)
    return round(math.fsum(parts), 9)
