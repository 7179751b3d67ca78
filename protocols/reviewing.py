"""Reviewing: what the protocols share in which a manuscript is judged.

The manuscript is the question's passage. The answer is a decision (two options, one that says
accept and one that says reject, in any order) or a number. Scores run from 1 to 10 and stand on a
line ``Score: X``; the last such line counts, quoted lines never do, and what is not a number from
1 to 10 stays unread.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from protocols.asks import Ask, Seat
from protocols.ballots import failure_counts, session_boundary
from protocols.canonical import clean_text
from protocols.cast import Cast
from protocols.deliberation import context_messages
from protocols.errors import Mistake
from protocols.messages import Part
from protocols.outcome import Outcome, failed_outcome
from protocols.parsing import Parsed, marked_text, parse_number, read_answer
from protocols.prompts import prompt
from protocols.question import Question
from protocols.replies import Reply
from protocols.solving import TEMPLATE as ANSWER_TEMPLATE

TEMPLATE = "reviewing"
"""The template file of what all reviews share."""
REVIEWER, AUTHOR, CHAIR = "reviewer", "author", "chair"
LOWEST, HIGHEST = 1.0, 10.0
_LONGEST = 40


def check_manuscript(question: Question) -> str | None:
    """Say in one line why `question` is not one about a manuscript, or return None."""
    if not question.passage or question.passage.isspace():
        return f"a review needs a manuscript; question {question.id!r} has no passage"
    if question.kind == "number" or accepting(question) is not None:
        return None
    return (
        f"a review ends in a number, or in one of two options, accept and reject; question "
        f"{question.id!r} has neither: give it such options"
    )


def require_manuscript(question: Question) -> None:
    """Raise where `question` cannot be reviewed.

    Raises:
        Mistake: see :func:`check_manuscript`.
    """
    why = check_manuscript(question)
    if why is not None:
        raise Mistake(why)


def accepting(question: Question) -> str | None:
    """Return the label of the option that accepts; None where there are no such two options."""
    words = [option.strip().casefold() for option in question.options]
    if len(words) != 2:
        return None
    for accept, reject in ((0, 1), (1, 0)):
        if words[accept].startswith("accept") and words[reject].startswith("reject"):
            return question.labels[accept]
    return None


def seat_count(cast: Cast, role: str, wanted: int | None) -> int:
    """Return how many seats a role has: one for each expert, or `wanted` seats of the only one.

    Raises:
        Mistake: `wanted` differs from the number of the several experts that are cast.
    """
    experts = len(cast.role(role))
    if wanted is None or wanted == experts:
        return experts
    if experts != 1:
        raise Mistake(
            f"{wanted} seats are wanted, but {experts} experts are cast as {role!r}; leave the "
            "number out, or cast one expert to fill all seats"
        )
    return wanted


def review_ask(
    question: Question, cast: Cast, seat: Seat, system: Part, said: Sequence[Part]
) -> Ask:
    """Return the ask that shows the manuscript (readers), the question and what was said."""
    passage = cast.reads_passage(seat.role)
    messages = context_messages(question, passage=passage, system=system, said=said)
    return Ask(seat, messages, question=question.id)


def decision_part(question: Question) -> Part:
    """Return the task part that asks for the answer line."""
    return prompt(ANSWER_TEMPLATE, "task", kind=question.kind, labels=question.labels)


def silent_part() -> Part:
    """Return the part that stands where somebody was asked and said nothing."""
    return prompt(TEMPLATE, "silence")


def read_score(text: str, marker: str = "score") -> float | None:
    """Return the score, from 1 to 10, on the last line that starts with `marker` and a colon.

    Read are ``7``, ``7.5``, ``7/10`` and ``7 out of 10``. An earlier line is never used in place
    of an unreadable last one.
    """
    written = marked_text(text, marker)
    if written is None or len(written) > _LONGEST:
        return None
    for ending in ("/10", "/ 10", "out of 10"):
        written = written.removesuffix(ending)
    number = None if "/" in written or "%" in written else parse_number(written)
    value = math.nan if number is None else float(number)
    return value if LOWEST <= value <= HIGHEST else None


def mean(values: Sequence[float | None]) -> float | None:
    """Return the mean of the values that there are, to nine places; None where there is none."""
    known = [value for value in values if value is not None]
    return round(math.fsum(known) / len(known), 9) if known else None


def decided(
    question: Question,
    decision: Reply | None,
    *,
    earlier: Sequence[Reply],
    reviews: Sequence[Reply],
    scores: Sequence[float | None],
    unparsed: int,
    detail: dict[str, object],
) -> Outcome:
    """Return the outcome of reviews: what the chair decides, with the mean score beside it.

    Args:
        question: what is decided.
        decision: the chair's reply; None where it was not asked, as there was no review.
        earlier: every reply before it.
        reviews: those among them that were to review.
        scores: the reviewers' scores, None where one could not be read.
        unparsed: how many earlier replies could not be read.
        detail: what the protocol tells beside it.
    """
    last = () if decision is None else (decision,)
    failures = failure_counts([*earlier, *last])
    boundary = session_boundary(reviews if decision is None else last)
    score = mean(scores)
    if boundary is not None and all(reply.failed for reply in last or reviews):
        return failed_outcome(
            boundary,
            rule=CHAIR,
            score=score,
            unparsed=unparsed,
            failures=failures,
            detail=detail,
        )
    answer = None
    if decision is not None:
        text, unfit = clean_text(decision.text)
        reading = read_answer(Reply(text) if unfit else decision, question)
        answer = reading.value if isinstance(reading, Parsed) else None
    return Outcome(
        status="unparsed" if answer is None else "answered",
        answer=answer,
        score=score,
        rule=CHAIR,
        unparsed=unparsed + int(answer is None and decision is not None),
        failures=failures,
        detail=detail,
    )
