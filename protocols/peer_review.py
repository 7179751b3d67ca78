"""Multi-agent peer review: peers answer, review one another's answers, and revise their own.

Schedule: ``{1..n}``, ``{i reviews j, i ≠ j}``, ``{1..n}``. Price: n + n(n-1) + n = n + n² asks. The
variants ``sharing`` (peers only read one another's answers) and ``self_correction`` (nobody hears
anybody) leave the reviews out: 2n asks. All start from the same first answers: the asks of the
first turn have the same keys in every variant, with confidence and without. The plurality of the
revised answers counts.

Who sees what. A reviewer: the question, its own answer and the answer under review. A reviser: the
question, its own answer and, of each other, the answer and its review of the reviser's own. Each
turn is hidden until it is over.

Quorum: see ``deliberation.py``. An answer that does not exist is not reviewed; who has none of its
own still reviews. A review that does not come is left out. Where nobody said anything, the session
ends after the first turn.

With ``confidence`` a reviewer states from 1 to 10 how sure it is of its review. As in the source
it is a line of the review's text, weighed by nobody but its readers; the detail tells the stated
ones as shares of 10 (``reviews``: reviewer, then author).

Source: arXiv 2311.08152. Departures: one's own earlier answer is quoted like the others'.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field

from protocols.asks import Ask
from protocols.cast import Cast
from protocols.chance import Rng
from protocols.confidence import read_confidence
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
from protocols.prompts import prompt
from protocols.question import Question
from protocols.replies import Reply
from protocols.solving import TEMPLATE

OWN_TEMPLATE = "peer_review"

Variant = Literal["feedback", "sharing", "self_correction"]
Pair = tuple[int, int]
"""Reviewer and author, by their places."""


class PeerReview(Protocol):
    """Peers answer, review one another's answers and revise; plurality of the revised answers."""

    kind: ClassVar[str] = "peer_review"
    about: ClassVar[str] = "peers review one another's answers and revise their own; plurality"
    templates: ClassVar[tuple[str, ...]] = (TEMPLATE, PEERS, OWN_TEMPLATE)

    agents: int | None = Field(None, ge=1)
    """Solvers where one expert fills all seats. Null: one seat for each expert that is cast."""
    variant: Variant = "feedback"
    """Reviews and answers are exchanged, answers alone (``sharing``), or nothing."""
    confidence: bool = True
    """Whether a review closes with a stated confidence from 1 to 10."""

    def roles(self) -> tuple[Role, ...]:
        """Return the one role: the solvers, who also review."""
        about = "answers, reviews the others and revises"
        return (Role(SOLVER, about, many=True, reads_passage=True, draws=True),)

    def calls(self, question: Question, cast: Cast) -> CallBound:
        """From the first answers alone to n + n² asks, or 2n without reviews."""
        n = solver_count(cast, self.agents)
        return CallBound(n, n + n * n if self.variant == "feedback" else 2 * n)

    def session(self, question: Question, cast: Cast, rng: Rng) -> Session[Outcome]:
        """Answer, review, revise, vote."""
        talk = Deliberation(question, cast, solver_seats(cast, self.agents))
        ballot = talk.take((yield talk.asks()))
        told: dict[str, Any] = {}
        if not talk.silent:
            reviews: dict[Pair, Part | None] = {}
            if self.variant == "feedback":
                replies = yield from self._reviews(talk, cast)
                reviews = {pair: said_part("review", reply) for pair, reply in replies.items()}
                told["reviews"] = _confidences(talk, replies)
            said = [self._said(talk, place, reviews) for place in range(len(talk.seats))]
            ballot = talk.take((yield talk.asks(said)))
        return talk.outcome(ballot, rule="plurality", **told)

    def _reviews(self, talk: Deliberation, cast: Cast) -> Session[dict[Pair, Reply]]:
        """Let everybody review every answer of the others that there is."""
        n = len(talk.seats)
        pairs = [(i, j) for i in range(n) for j in range(n) if i != j and talk.said(j)]
        if not pairs:
            return {}
        passage = cast.reads_passage(SOLVER)
        replies = yield tuple([self._review_ask(talk, pair, passage) for pair in pairs])
        talk.note(replies)
        return dict(zip(pairs, replies, strict=True))

    def _review_ask(self, talk: Deliberation, pair: Pair, passage: bool) -> Ask:
        reviewer, author = pair
        said = (
            *talk.heard(reviewer, ()),
            prompt(OWN_TEMPLATE, "solution"),
            talk.said(author) or silence(),
            prompt(OWN_TEMPLATE, "review_task", confidence=self.confidence),
        )
        messages = context_messages(
            talk.question, passage=passage, system=prompt(TEMPLATE, "system"), said=said
        )
        return Ask(talk.seats[reviewer], messages, question=talk.question.id)

    def _said(
        self, talk: Deliberation, place: int, reviews: Mapping[Pair, Part | None]
    ) -> list[Part]:
        """Return what a reviser reads, and what it is to do with it."""
        task = prompt(OWN_TEMPLATE, "revise", variant=self.variant)
        others = [other for other in range(len(talk.seats)) if other != place]
        if self.variant == "self_correction":
            return [*talk.heard(place, ()), task]
        if self.variant == "sharing":
            return [*talk.heard(place, others), task]
        parts = talk.heard(place, ())
        for other in others:
            parts += (prompt(PEERS, "theirs"), talk.said(other) or silence())
            review = reviews.get((other, place))
            if review is not None:
                parts += (prompt(OWN_TEMPLATE, "reviewed"), review)
        return [*parts, task]


def _confidences(
    talk: Deliberation, replies: Mapping[Pair, Reply]
) -> dict[str, dict[str, float | None]]:
    """Return the stated confidence of every review, None where none can be read."""
    names = names_of(talk.seats)
    told: dict[str, dict[str, float | None]] = {}
    for (reviewer, author), reply in replies.items():
        stated = read_confidence(reply.text, scale="ten")
        value = stated if isinstance(stated, float) else None
        told.setdefault(names[reviewer], {})[names[author]] = value
    return told
