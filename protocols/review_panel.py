"""Review panel: reviewers with different points of view, one rebuttal, a meta-review.

Schedule: literature summary, ``{1..m}`` personas, rebuttal, meta-review. Price: m + 3 asks; 1 + m
where no review was written, as there is then nothing to answer or decide on.

Who sees what. The librarian: the manuscript. A persona: the manuscript and the literature summary,
not the other reviews. The author: the manuscript and all reviews. The chair: summary, reviews and
rebuttal. Reviews are numbered for the others, without the personas' names. Only roles that read
the passage see the manuscript.

Outcome: the chair's decision; ``score`` is the mean of the readable scores. ``detail["personas"]``
tells for each persona its score, its recommendation and two biases: its score minus the mean score
of the others, and its acceptance (0 or 1) minus the share of the others that accept; over many
sessions they show who is lenient and who is strict. ``detail["vote"]`` is the plurality of the
recommendations, the baseline of the meta-review. Failures: whoever fails is left out and counted;
a missing summary or rebuttal is told as such; without the chair's decision the session failed.

Source: arXiv 2510.08867 (ReviewerToo). Departures: the literature summary comes from the
librarian's knowledge (cast a retriever for a real search); the default personas are three of our
own; reviews are not rated by a judge.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, field_validator

from protocols.asks import Seat
from protocols.ballots import Vote, tally
from protocols.cast import Cast
from protocols.chance import Rng
from protocols.compose import ask_one
from protocols.contract import CallBound, Protocol, Role, Session
from protocols.deliberation import said_part
from protocols.messages import Part
from protocols.outcome import Outcome
from protocols.parsing import Parsed, read_answer
from protocols.prompts import prompt
from protocols.question import Question
from protocols.replies import Reply
from protocols.reviewing import (
    AUTHOR,
    CHAIR,
    REVIEWER,
    accepting,
    check_manuscript,
    decided,
    decision_part,
    mean,
    read_score,
    require_manuscript,
    review_ask,
    silent_part,
)
from protocols.reviewing import TEMPLATE as REVIEWING
from protocols.solving import TEMPLATE

LIBRARIAN = "librarian"
OWN_TEMPLATE = "review_panel"


class Persona(BaseModel):
    """A point of view from which a manuscript is reviewed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    """Its name in tables and in seats; the panel never reads it."""
    view: str = Field(min_length=1)
    """What it looks for, as its prompt says it."""


PERSONAS = (
    Persona(
        name="empiricist",
        view="what counts is evidence: fair comparisons, enough data, honest uncertainty, and "
        "results that another could repeat.",
    ),
    Persona(
        name="theorist",
        view="what counts is the argument: clear assumptions, sound steps, and claims no wider "
        "than what was shown.",
    ),
    Persona(
        name="pragmatist",
        view="what counts is use: a question that matters, a gain that lasts outside the paper, "
        "and a text from which others can work.",
    ),
)
"""The default personas (ours)."""


class ReviewPanel(Protocol):
    """Personas review at once, the author answers them together, the chair decides."""

    kind: ClassVar[str] = "review_panel"
    about: ClassVar[str] = "personas review a manuscript; one rebuttal; a meta-review decides"
    templates: ClassVar[tuple[str, ...]] = (TEMPLATE, REVIEWING, OWN_TEMPLATE)

    personas: tuple[Persona, ...] = Field(PERSONAS, min_length=1)
    """m points of view; the experts cast as reviewers take turns in filling them."""

    @field_validator("personas")
    @classmethod
    def _different(cls, personas: tuple[Persona, ...]) -> tuple[Persona, ...]:
        names = [persona.name for persona in personas]
        if len(set(names)) != len(names):
            raise ValueError(f"personas must have different names, not {', '.join(names)}")
        return personas

    def roles(self) -> tuple[Role, ...]:
        """Return the roles: librarian, reviewers, author, chair."""
        return (
            Role(LIBRARIAN, "sums up the literature", reads_passage=True, draws=True),
            Role(REVIEWER, "reviews as a persona", many=True, reads_passage=True, draws=True),
            Role(AUTHOR, "writes one rebuttal", reads_passage=True, draws=True),
            Role(CHAIR, "writes the meta-review and decides", reads_passage=True, draws=True),
        )

    def check_question(self, question: Question) -> str | None:
        """Say why a question is not one about a manuscript."""
        return check_manuscript(question)

    def calls(self, question: Question, cast: Cast) -> CallBound:
        """From a summary and reviews that say nothing to rebuttal and meta-review."""
        m = len(self.personas)
        return CallBound(1 + m, m + 3)

    def session(self, question: Question, cast: Cast, rng: Rng) -> Session[Outcome]:
        """Brief, review, answer, decide."""
        require_manuscript(question)
        desk = _Desk(question, cast)
        summary = yield from desk.ask(LIBRARIAN, (prompt(OWN_TEMPLATE, "literature_task"),))
        brief = (
            prompt(OWN_TEMPLATE, "literature"),
            said_part("literature_summary", summary) or silent_part(),
        )
        seats = self._seats(cast)
        parts = (
            *brief,
            prompt(OWN_TEMPLATE, "review_task"),
            prompt(REVIEWING, "score"),
            decision_part(question),
        )
        reviews = yield tuple(
            [
                review_ask(question, cast, seat, _view(persona), parts)
                for seat, persona in zip(seats, self.personas, strict=True)
            ]
        )
        earlier, decision = [summary, *reviews], None
        said = _numbered(reviews)
        if said:
            rebuttal = yield from desk.ask(AUTHOR, (*said, prompt(OWN_TEMPLATE, "rebuttal_task")))
            earlier.append(rebuttal)
            answered = said_part("reply", rebuttal) or silent_part()
            said = [*brief, *said, prompt(OWN_TEMPLATE, "rebuttal"), answered]
            task = (prompt(OWN_TEMPLATE, "decide"), decision_part(question))
            decision = yield from desk.ask(CHAIR, (*said, *task))
        scores = [read_score(reply.text) for reply in reviews]
        told, unread = _personas_detail(question, self.personas, seats, reviews, scores)
        return decided(
            question,
            decision,
            earlier=earlier,
            reviews=reviews,
            scores=scores,
            unparsed=unread,
            detail=told,
        )

    def _seats(self, cast: Cast) -> list[Seat]:
        """Return one seat for each persona."""
        experts = len(cast.role(REVIEWER))
        return [
            cast.seat(REVIEWER, i % experts, name=f"{REVIEWER}_{persona.name}")
            for i, persona in enumerate(self.personas)
        ]


class _Desk:
    """Asks one seat of a role after another about the same manuscript."""

    __slots__ = ("cast", "question")

    def __init__(self, question: Question, cast: Cast) -> None:
        self.question = question
        self.cast = cast

    def ask(self, role: str, said: Sequence[Part]) -> Session[Reply]:
        """Ask the seat of `role`."""
        system = prompt(OWN_TEMPLATE, f"{role}_system")
        reply = yield from ask_one(
            review_ask(self.question, self.cast, self.cast.seat(role), system, said)
        )
        return reply


def _view(persona: Persona) -> Part:
    return prompt(OWN_TEMPLATE, "reviewer_system", view=persona.view)


def _numbered(reviews: Sequence[Reply]) -> list[Part]:
    """Return the reviews that say something, each behind its number."""
    parts = []
    for number, reply in enumerate(reviews, start=1):
        said = said_part("review", reply)
        if said is not None:
            parts += [prompt(OWN_TEMPLATE, "review", number=number), said]
    return parts


def _personas_detail(
    question: Question,
    personas: Sequence[Persona],
    seats: Sequence[Seat],
    reviews: Sequence[Reply],
    scores: Sequence[float | None],
) -> tuple[dict[str, Any], int]:
    """Return what is told of the personas, and how many reviews hold no readable answer."""
    readings = [read_answer(reply, question) for reply in reviews]
    answers = [reading.value if isinstance(reading, Parsed) else None for reading in readings]
    label = accepting(question)
    accepts = [
        None if label is None or answer is None else float(answer == label) for answer in answers
    ]
    votes = [
        Vote(answer, voter=seats[slot].expert, slot=slot)
        for slot, answer in enumerate(answers)
        if answer is not None
    ]
    told = [
        {
            "name": persona.name,
            "expert": seats[slot].expert,
            "score": scores[slot],
            "recommendation": answers[slot],
            "score_bias": _bias(scores, slot),
            "accept_bias": _bias(accepts, slot),
        }
        for slot, persona in enumerate(personas)
    ]
    unread = sum(
        not reply.failed and answer is None for reply, answer in zip(reviews, answers, strict=True)
    )
    return {"personas": told, "vote": tally(votes).answer}, unread


def _bias(values: Sequence[float | None], slot: int) -> float | None:
    """Return one value minus the mean of the others; None where either is unknown."""
    own, others = values[slot], mean([*values[:slot], *values[slot + 1 :]])
    return None if own is None or others is None else round(own - others, 9)
