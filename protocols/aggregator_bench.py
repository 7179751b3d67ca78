"""The aggregators' bench: who finds the right answer between two wrong ones.

Schedule: ``A``, the candidate. Price: 1 ask a question and candidate; with V questions and C
candidates V·C for the whole bench, which is paid once and belongs to the set-up of a run.

How it is used. :func:`bench_material` makes, from evidence, the asset ``bench``: for each question
of the evidence three recorded answers, one right and two wrong. One row of this protocol for each
candidate, over those questions, is an ordinary run: stored, resumed, priced. Its graded sessions
go to :meth:`protocols.aggregators.AggregatorScores.of`, and what comes of them is the asset
``aggregators`` that ``aggregate: chosen`` reads.

Who sees what. The candidate reads what an aggregator reads: the question and the three answers in
an order drawn for the session, without names. Neither the material nor the session says which one
is right; that is the answer key's to say, when the outcome is scored.

A candidate's own answer is the outcome; one that is not among the three is as wrong as any other.

Source: Symbolic-MoE (arXiv 2503.05641), section 3. Departures: the order of the answers is drawn,
so that a liking for one place does not choose; where raw texts were not recorded the bare answer
stands in their place.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from protocols.aggregators import AGGREGATE_TEMPLATE, AGGREGATOR, Solution, aggregator_ask
from protocols.ballots import Vote, tally, vote_outcome
from protocols.cast import Asset, Cast
from protocols.chance import Rng
from protocols.compose import ask_one
from protocols.contract import CallBound, Protocol, Role, Session
from protocols.deliberation import cleaned
from protocols.errors import Mistake
from protocols.evidence import MISSING, RIGHT, Evidence
from protocols.outcome import Outcome
from protocols.parsing import Parsed, read_answer
from protocols.question import Question
from protocols.replies import Reply
from protocols.solving import TEMPLATE

BENCH = "bench"
"""The name under which a cast holds the bench's answers, and the kind of such an asset."""
SHOWN = 3
"""Answers a question: one right, two wrong."""


class AggregatorBench(Protocol):
    """A candidate for aggregator reads one right and two wrong answers and gives its own."""

    kind: ClassVar[str] = "aggregator_bench"
    about: ClassVar[str] = "a candidate aggregator finds the right one of three recorded answers"
    templates: ClassVar[tuple[str, ...]] = (TEMPLATE, AGGREGATE_TEMPLATE)

    def roles(self) -> tuple[Role, ...]:
        """Return the one role: the candidate."""
        about = "reads three recorded answers and gives its own"
        return (Role(AGGREGATOR, about, reads_passage=True, draws=True),)

    def assets(self) -> tuple[str, ...]:
        """Return the bench's answers."""
        return (BENCH,)

    def calls(self, question: Question, cast: Cast) -> CallBound:
        """One ask."""
        return CallBound(1, 1)

    def session(self, question: Question, cast: Cast, rng: Rng) -> Session[Outcome]:
        """Show the three answers and read the candidate's."""
        shown = rng.child(BENCH).shuffled(bench_answers(question, cast))
        seat = cast.seat(AGGREGATOR)
        solutions = [Solution(Reply(text)) for text in shown]
        reply = cleaned((yield from ask_one(aggregator_ask(question, cast, solutions))))
        reading = read_answer(reply, question)
        votes = [Vote(reading.value, voter=seat.expert)] if isinstance(reading, Parsed) else []
        return vote_outcome(
            (reply,),
            (reading,),
            tally(votes),
            rule="single",
            answered_by=seat.expert,
            detail={"shown": _read_all(shown, question)},
        )


def _read_all(shown: list[str], question: Question) -> list[Any]:
    """Return the answers that were shown, in their order, as they are compared."""
    readings = [read_answer(cleaned(Reply(text)), question) for text in shown]
    return [reading.value if isinstance(reading, Parsed) else None for reading in readings]


def bench_answers(question: Question, cast: Cast) -> list[str]:
    """Return the three answers that the cast's asset holds to a question.

    Raises:
        Mistake: there are none, or they are not three texts.
    """
    asset = cast.assets.get(BENCH)
    content: Any = None if asset is None else asset.content
    shown = content.get(question.id) if isinstance(content, dict) else None
    fits = isinstance(shown, list) and len(shown) == SHOWN
    if not fits or not all(isinstance(text, str) and text for text in shown or ()):
        raise Mistake(
            f"the asset {BENCH!r} needs {SHOWN} answers to question {question.id!r}, as texts; "
            "leave the question out (moot experts bench --questions writes those that it holds), "
            "or make the asset from evidence that holds one right and two wrong answers to it"
        )
    return list(shown or ())


def bench_material(
    evidence: Evidence,
    texts: Mapping[str, Mapping[str, str]] | None = None,
    *,
    seed: int = 0,
) -> Asset:
    """Return the asset ``bench``: one right and two wrong recorded answers a question.

    A pure function. Experts are drawn by `seed` and the question's id alone; the two wrong answers
    differ where the evidence holds two different ones. The three stand in the order of their
    texts, so their places tell nothing. A question without a right and two wrong answers is left
    out.

    Args:
        evidence: graded answers, with what was answered.
        texts: expert -> question id -> the raw text that was recorded; the bare answer stands in
            the place of one that is not there.
        seed: which of several answers are taken.

    Raises:
        Mistake: no question has such answers.
    """
    content: dict[str, Any] = {}
    for number, question in enumerate(evidence.questions):
        drawn = _drawn(evidence, number, Rng("bench", seed, question.id))
        if drawn:
            found = texts or {}
            content[question.id] = sorted(
                found.get(expert, {}).get(question.id) or f"Answer: {answer}"
                for expert, answer in drawn
            )
    if not content:
        raise Mistake(
            "the evidence holds no question with one right and two wrong recorded answers; "
            "measure more experts on it, or name the aggregator"
        )
    return Asset(kind=BENCH, content=content)


def _drawn(evidence: Evidence, number: int, rng: Rng) -> list[tuple[str, str]]:
    """Return (expert, answer) of one right and two wrong answers; nothing where they lack."""
    right: list[tuple[str, str]] = []
    wrong: list[tuple[str, str]] = []
    for expert in sorted(evidence.answers):
        answer, flag = evidence.answers[expert][number], evidence.right[expert][number]
        if answer is not None and flag != MISSING:
            (right if flag == RIGHT else wrong).append((expert, answer))
    if not right or len(wrong) < SHOWN - 1:
        return []
    first, *others = rng.shuffled(wrong)
    second = next((one for one in others if one[1] != first[1]), others[0])
    return [rng.choice(right), first, second]
