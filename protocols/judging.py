"""The judge's turn: how it is asked, in which answer orders, and what follows from its readings.

Whoever favours the first position, or the letter A, favours it in every order; so the second
order shows the same speeches with positions and letters exchanged, and its reading is mapped back
to the question's own order. The outcome's distribution is the mean of the readings.

Exemplars (many-shot judging) stand in the system message, so that all questions share them as a
prefix. They are the asset ``judge_exemplars``: a JSON list of objects with ``question``,
``options`` (a list), ``answer`` (a label) and, if wanted, ``transcript`` and ``reasoning``.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Literal

from protocols.asks import Ask, Seat
from protocols.ballots import (
    argmax_distribution,
    failure_counts,
    mean_distribution,
    session_boundary,
)
from protocols.canonical import clean_text
from protocols.cast import Cast
from protocols.errors import Mistake
from protocols.messages import Message, Part
from protocols.outcome import Outcome, failed_outcome
from protocols.parsing import option_distribution
from protocols.prompts import prompt
from protocols.question import LABELS, Question
from protocols.quoting import quoted
from protocols.replies import MISSING_BOUNDARIES, Reply
from protocols.solving import reordered

Orders = Literal[1, 2, "rotate"]
"""1: the question's own order; 2: also with both sides exchanged; rotate: every option once in
every position (of two options the same as 2)."""
JudgeTie = Literal["half", "wrong"]
Reasoning = Literal["none", "before"]

Order = tuple[int, ...]
"""``order[i]`` is the place, in the question, of the option that is shown at i."""

EXEMPLARS = "judge_exemplars"
"""The asset that holds exemplars for a judge."""
SHOTS_TEMPLATE = "judge"


@lru_cache(maxsize=128)
def answer_orders(orders: Orders, options: int) -> tuple[Order, ...]:
    """Return the orders in which a question with so many options is shown, its own first."""
    count = max(options, 1) if orders == "rotate" else orders
    places = range(options)
    return tuple(tuple((place + shift) % options for place in places) for shift in range(count))


def shown_in(question: Question, order: Order) -> Question:
    """Return `question` with its options in `order`; itself in its own order."""
    return question if list(order) == sorted(order) else reordered(question, order)


def mapped_back(reading: Sequence[float], order: Order) -> tuple[float, ...]:
    """Return a distribution over the options as shown as one over the question's own."""
    return tuple([reading[order.index(place)] for place in range(len(reading))])


def judge_ask(
    seat: Seat,
    question: Question,
    *,
    passage: bool,
    system: Message,
    said: Sequence[Part],
    task: Part,
) -> Ask:
    """Return the ask that puts a question and what was said on it to a judge.

    Args:
        seat: the judge.
        question: as shown in this order.
        passage: whether the judge reads the passage.
        system: its system message, with exemplars.
        said: what it has heard.
        task: what it is to do now.
    """
    read = (question.passage_part,) if passage else ()
    parts = (*read, question.text_part, question.options_part, *said, task)
    return Ask(seat, (system, Message("user", parts)), question.labels, question=question.id)


def exemplar_parts(cast: Cast, shots: int) -> tuple[Part, ...]:
    """Return the first `shots` exemplars of the cast as parts of a system message.

    Raises:
        Mistake: the asset is missing, too short, or an exemplar is not made as it should be.
    """
    if not shots:
        return ()
    asset = cast.assets.get(EXEMPLARS)
    content = None if asset is None else asset.content
    if not isinstance(content, list) or len(content) < shots:
        raise Mistake(
            f"judge_shots={shots} needs the asset {EXEMPLARS!r}, a list of at least {shots} "
            "exemplars; give it to the cast or set judge_shots to 0"
        )
    parts: list[Part] = []
    for number, exemplar in enumerate(content[:shots], start=1):
        heading = prompt(SHOTS_TEMPLATE, "exemplar_heading", number=number, shots=shots)
        parts += [heading, Part("exemplar", quoted(_exemplar_text(exemplar, number)))]
    return (*parts, prompt(SHOTS_TEMPLATE, "exemplars_end"))


def _exemplar_text(exemplar: Any, number: int) -> str:
    """Return one exemplar as text: question, options, transcript, reasoning, answer."""
    try:
        options = [str(option) for option in exemplar["options"]]
        answer = str(exemplar["answer"])
        question = str(exemplar["question"])
    except (KeyError, TypeError) as error:
        raise Mistake(
            f"exemplar {number} of {EXEMPLARS!r} needs 'question', 'options' and 'answer'"
        ) from error
    if answer not in LABELS[: len(options)]:
        raise Mistake(f"exemplar {number} of {EXEMPLARS!r}: {answer!r} is not one of its labels")
    lines = [f"{label}. {option}" for label, option in zip(LABELS, options, strict=False)]
    told = [str(exemplar[name]) for name in ("transcript", "reasoning") if exemplar.get(name)]
    return clean_text("\n".join([question, *lines, *told, f"Answer: {answer}"]))[0]


def read_orders(
    replies: Sequence[Reply], question: Question, orders: Sequence[Order]
) -> tuple[tuple[float, ...], ...]:
    """Return one distribution for each reply and its order, over the question's own options.

    An order that gave nothing readable is an empty tuple: it keeps its place, has no part in the
    mean and counts as not correct.
    """
    return tuple(
        [
            mapped_back(option_distribution(reply, question) or (), order)
            for reply, order in zip(replies, orders, strict=True)
        ]
    )


def judged_outcome(
    question: Question,
    replies: Sequence[Reply],
    readings: Sequence[tuple[float, ...]],
    *,
    tie: JudgeTie,
    rule: str | None = None,
    earlier_failures: Sequence[Reply] = (),
    earlier_unparsed: int = 0,
    stagings: int = 1,
    stated: str = "answer",
    detail: dict[str, Any],
) -> Outcome:
    """Return the outcome of a session from its judge's replies, one for each reading.

    An order whose data is missing (provider, timeout) fails the session, and so does a judge that
    failed in every order. Where it failed, or wrote nothing readable, in some of the orders, the
    outcome is what the others say, with an empty reading in the place of a lost one: scored as
    not correct, so that such a session is right by half at most. An even mean stays a tie.

    Args:
        question: a question with options.
        replies: the judge's replies.
        readings: what was read from each of them, see :func:`read_orders`.
        tie: how an even distribution is scored.
        rule: the aggregation rule's name, where it is more than a mean over orders.
        earlier_failures: replies that failed before the judge's turn, and did not end the session.
        earlier_unparsed: replies before it from which nothing could be read.
        stagings: how many different conversations the readings are about.
        stated: the source of a reading whose reply brought no distribution.
        detail: what the protocol tells beside it.
    """
    fields: dict[str, Any] = {
        "rule": rule or judge_rule(len(replies)),
        "tie_rule": tie,
        "failures": failure_counts([*earlier_failures, *replies]),
    }
    lost = session_boundary(replies)
    if lost is not None and (lost in MISSING_BOUNDARIES or all(r.failed for r in replies)):
        return failed_outcome(lost, unparsed=earlier_unparsed, detail=detail, **fields)
    return Outcome(
        unparsed=earlier_unparsed + count_unread(replies, readings),
        detail={**detail, **_judge_detail(replies, readings, stagings, stated)},
        **_decided(question, readings),
        **fields,
    )


def _decided(question: Question, readings: Sequence[tuple[float, ...]]) -> dict[str, Any]:
    """Return the fields of an outcome that say what was decided: the mean of all readings."""
    readable = [reading for reading in readings if reading]
    if not readable:
        return {"status": "unparsed"}
    mean = mean_distribution(readable)
    best = argmax_distribution(mean)
    told: dict[str, Any] = {"distribution": mean, "readings": tuple(readings)}
    if best is None:
        return {"status": "tied", **told}
    return {"status": "answered", "answer": question.labels[best], **told}


def judge_rule(orders: int) -> str:
    """Return the name of the rule by which the readings of so many answer orders become one."""
    return "mean_of_orders" if orders > 1 else "single"


def count_unread(replies: Sequence[Reply], readings: Sequence[tuple[float, ...]]) -> int:
    """Return how many replies hold content of which nothing could be read."""
    count = 0
    for reply, reading in zip(replies, readings, strict=True):
        count += not reading and not reply.failed
    return count


def consistent(readings: Sequence[tuple[float, ...]]) -> bool | None:
    """Whether all readable orders chose the same option; None with fewer than two of them."""
    chosen = [argmax_distribution(reading) for reading in readings if reading]
    return len(set(chosen)) == 1 if len(chosen) > 1 else None


def _judge_detail(
    replies: Sequence[Reply],
    readings: Sequence[tuple[float, ...]],
    stagings: int,
    stated: str,
) -> dict[str, Any]:
    """Tell where the distributions come from and whether all orders chose the same option."""
    told: dict[str, Any] = {
        "distribution_sources": [
            (reply.distribution_source or stated) if reading else None
            for reply, reading in zip(replies, readings, strict=True)
        ]
    }
    same = consistent(readings) if stagings == 1 and len(readings) > 1 else None
    return told if same is None else {**told, "consistent": same}
