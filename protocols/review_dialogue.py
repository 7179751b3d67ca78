"""Review dialogue: each reviewer talks with the author and then scores; the chair decides.

Schedule: read, ``{1..m}`` reviews, ``{1..m}`` author's answers, ``{1..m}`` scores, chair: m threads
side by side, hidden from each other. Price: 1 + 3m + 1 asks; 1 + m where no review was written, as
there is then nothing to decide on. A reviewer whose review is missing has no thread.

Who sees what. The chair reads the manuscript first and notes what is to be checked. A reviewer
sees the manuscript and that note, later also its own review and the author's answer to it. The
author sees the manuscript and one review at a time. In the end the chair sees its note and every
thread. Only roles that read the passage see the manuscript.

Outcome: the chair's decision; ``score`` is the mean of the readable scores (1 to 10), which
``detail`` lists with the parse rate: the share of the scores and the decision that could be read
among those that came. Failures: whoever fails is left out and counted; a reviewer without an answer
of the author scores all the same; without the chair's decision the session failed.

Source: arXiv 2406.05688 (ReviewMT). Departures: the first reading is the chair's, whose note
serves all; the threads of a paper run side by side, as they do not hear each other; experts are
prompted, not fine-tuned.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from pydantic import Field

from protocols.asks import Ask, Seat
from protocols.cast import Cast
from protocols.chance import Rng
from protocols.compose import ask_one, together
from protocols.contract import CallBound, Protocol, Role, Session
from protocols.deliberation import said_part
from protocols.messages import Part
from protocols.outcome import Outcome
from protocols.prompts import prompt
from protocols.question import Question
from protocols.replies import Reply
from protocols.reviewing import (
    AUTHOR,
    CHAIR,
    REVIEWER,
    check_manuscript,
    decided,
    decision_part,
    read_score,
    require_manuscript,
    review_ask,
    seat_count,
    silent_part,
)
from protocols.reviewing import TEMPLATE as REVIEWING
from protocols.solving import TEMPLATE

OWN_TEMPLATE = "review_dialogue"

Thread = tuple[Reply, ...]
"""Review, author's answer and score; the review alone where it says nothing."""


class ReviewDialogue(Protocol):
    """Reviewers talk with the author one to one and score; the chair accepts or rejects."""

    kind: ClassVar[str] = "review_dialogue"
    about: ClassVar[str] = "reviewers talk with the author of a manuscript; a chair decides"
    templates: ClassVar[tuple[str, ...]] = (TEMPLATE, REVIEWING, OWN_TEMPLATE)

    reviewers: int | None = Field(None, ge=1)
    """m, the seats that one expert fills. Null: one for each expert."""

    def roles(self) -> tuple[Role, ...]:
        """Return the roles: reviewers, author, chair."""
        return (
            Role(REVIEWER, "reviews, then scores", many=True, reads_passage=True, draws=True),
            Role(AUTHOR, "answers each review", reads_passage=True, draws=True),
            Role(CHAIR, "reads first and decides last", reads_passage=True, draws=True),
        )

    def check_question(self, question: Question) -> str | None:
        """Say why a question is not one about a manuscript."""
        return check_manuscript(question)

    def calls(self, question: Question, cast: Cast) -> CallBound:
        """From a reading and reviews that say nothing to whole threads and the decision."""
        m = seat_count(cast, REVIEWER, self.reviewers)
        return CallBound(1 + m, 1 + 3 * m + 1)

    def session(self, question: Question, cast: Cast, rng: Rng) -> Session[Outcome]:
        """Read, review, answer, score, decide."""
        require_manuscript(question)
        m = seat_count(cast, REVIEWER, self.reviewers)
        seats = [cast.seat(REVIEWER, place) for place in range(m)]
        read = yield from ask_one(_chair_ask(question, cast, (prompt(OWN_TEMPLATE, "read_task"),)))
        note = said_part("note", read)
        threads = yield from together(*[_thread(question, cast, seat, note) for seat in seats])
        scores = [read_score(thread[2].text) if len(thread) == 3 else None for thread in threads]
        decision = None
        if any(len(thread) == 3 for thread in threads):
            said = (*_threads_said(note, threads), prompt(OWN_TEMPLATE, "decide"))
            decision = yield from ask_one(
                _chair_ask(question, cast, (*said, decision_part(question)))
            )
        unread = sum(
            len(thread) == 3 and not thread[2].failed and score is None
            for thread, score in zip(threads, scores, strict=True)
        )
        outcome = decided(
            question,
            decision,
            earlier=[read, *[reply for thread in threads for reply in thread]],
            reviews=[thread[0] for thread in threads],
            scores=scores,
            unparsed=unread,
            detail={"reviewers": [seat.expert for seat in seats], "scores": scores},
        )
        detail = {**outcome.detail, "parse_rate": _parse_rate(outcome, scores)}
        return outcome.model_copy(update={"detail": detail})


def _parse_rate(outcome: Outcome, scores: Sequence[float | None]) -> float | None:
    """Return the share that could be read of the scores and the decision that came."""
    read = sum(score is not None for score in scores) + int(outcome.answer is not None)
    came = read + outcome.unparsed
    return round(read / came, 9) if came else None


def _thread(question: Question, cast: Cast, seat: Seat, note: Part | None) -> Session[Thread]:
    """Have one reviewer talk with the author."""
    system = prompt(OWN_TEMPLATE, "reviewer_system")
    known = () if note is None else (prompt(OWN_TEMPLATE, "summary"), note)
    task = prompt(OWN_TEMPLATE, "review_task")
    review = yield from ask_one(review_ask(question, cast, seat, system, (*known, task)))
    said = said_part("review", review)
    if said is None:
        return (review,)
    answer = yield from ask_one(_author_ask(question, cast, said))
    parts = (
        *known,
        prompt(OWN_TEMPLATE, "own_review"),
        said,
        prompt(OWN_TEMPLATE, "answer"),
        said_part("reply", answer) or silent_part(),
        prompt(OWN_TEMPLATE, "score_task"),
        prompt(REVIEWING, "score"),
    )
    score = yield from ask_one(review_ask(question, cast, seat, system, parts))
    return (review, answer, score)


def _author_ask(question: Question, cast: Cast, review: Part) -> Ask:
    parts = (prompt(OWN_TEMPLATE, "review"), review, prompt(OWN_TEMPLATE, "answer_task"))
    return review_ask(
        question, cast, cast.seat(AUTHOR), prompt(OWN_TEMPLATE, "author_system"), parts
    )


def _chair_ask(question: Question, cast: Cast, said: Sequence[Part]) -> Ask:
    return review_ask(question, cast, cast.seat(CHAIR), prompt(OWN_TEMPLATE, "chair_system"), said)


def _threads_said(note: Part | None, threads: Sequence[Thread]) -> list[Part]:
    """Return what the chair reads in the end."""
    parts = [] if note is None else [prompt(OWN_TEMPLATE, "own_summary"), note]
    names = (("thread", "review"), ("thread_answer", "reply"), ("thread_score", "score"))
    for number, thread in enumerate(threads, start=1):
        if len(thread) < 3:
            continue
        for (heading, name), reply in zip(names, thread, strict=True):
            parts.append(prompt(OWN_TEMPLATE, heading, number=number))
            parts.append(said_part(name, reply) or silent_part())
    return parts
