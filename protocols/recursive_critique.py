"""Recursive critique: responses, critiques of them, critiques of critiques, up to a depth.

Schedule: ``{responses} > {critiques} > {critiques of critiques}...``, one turn a level, then a
separate chooser where one is wanted. Price: the sum of the widths, 1 more with a chooser; with
``baseline`` there are as many independent responses in the first turn as all of these together.
It ends early at a level where nobody said anything.

Who sees what. Responses: the question alone. A critic of order l sees the question, all responses
and all critiques of lower orders, numbered, not named; those of one level are hidden from each
other. The chooser sees everything. Everybody ends with an answer.

Aggregation: plurality over the top level, or the chooser's answer, for which nothing stands in.
Beside every level stand, in ``detail["levels"]``, the plurality of the level itself (``answer``),
the naive vote over all answers of the levels below (``naive``: what counting would have given
without this level) and the cost-matched majority (``majority``): plurality over as many
independent responses as asks were ``spent`` up to and with this level. It is null where so many
were not drawn; ``baseline`` draws them, in the first turn, unseen by the critics.

Failures. Who failed or wrote nothing is left out, whatever the reason, and counted; who wrote
without a readable answer is read by the next level and has no vote. Any content is a quorum for
going on, one readable answer at the top for the vote.

Source: arXiv 2502.04675 (recursive self-critiquing; its majority and naive voting baselines).
Departures: a critic reads all responses instead of a pair of them; widths and the separate chooser
are parameters.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, NamedTuple

from pydantic import Field

from protocols.asks import Ask, Seat
from protocols.ballots import (
    Ballot,
    Vote,
    count_unparsed,
    failure_counts,
    tally,
    vote_outcome,
)
from protocols.cast import Cast
from protocols.chance import Rng
from protocols.contract import CallBound, Protocol, Role, Session
from protocols.deliberation import SOLVER, cleaned, said_part
from protocols.messages import Part
from protocols.outcome import Outcome
from protocols.parsing import Parsed, Reading, read_answer
from protocols.profile import cast_profile
from protocols.prompts import prompt
from protocols.question import Question
from protocols.replies import Reply
from protocols.solving import TEMPLATE, solver_asks, solver_messages

CRITIC, CHOOSER = "critic", "chooser"
OWN_TEMPLATE = "recursive_critique"


class RecursiveCritique(Protocol):
    """Each level judges the one below and answers; the top level, or a chooser, decides."""

    kind: ClassVar[str] = "recursive_critique"
    about: ClassVar[str] = "responses, critiques of them, critiques of critiques; the top decides"
    templates: ClassVar[tuple[str, ...]] = (TEMPLATE, OWN_TEMPLATE)

    widths: tuple[Annotated[int, Field(ge=1)], ...] = Field((3, 2, 1), min_length=2)
    """How many respond, how many criticise the responses, how many criticise those..."""
    chooser: bool = False
    """Whether a separate expert decides in the end, instead of a vote of the top level."""
    baseline: bool = False
    """Whether the responses of the cost-matched majority are drawn too."""

    def roles(self) -> tuple[Role, ...]:
        """Return the roles; the chooser sits only where one is wanted."""
        return (
            Role(SOLVER, "responds", many=True, reads_passage=True, draws=True),
            Role(CRITIC, "criticises the level below", many=True, reads_passage=True, draws=True),
            Role(
                CHOOSER,
                "reads everything and decides",
                optional=not self.chooser,
                reads_passage=True,
                draws=True,
            ),
        )

    def calls(self, question: Question, cast: Cast) -> CallBound:
        """From the first turn alone to all levels and the chooser."""
        first = self._responses
        return CallBound(first, first + sum(self.widths[1:]) + int(self.chooser))

    @property
    def _responses(self) -> int:
        """How many responses are asked for."""
        return sum(self.widths) + int(self.chooser) if self.baseline else self.widths[0]

    def session(self, question: Question, cast: Cast, rng: Rng) -> Session[Outcome]:
        """Respond, criticise level by level, conclude."""
        book = _Book(question, cast)
        seats = _seats(cast, SOLVER, self._responses)
        voices = book.take(seats, (yield solver_asks(question, cast, seats)))
        book.drawn = voices
        top = book.close(voices[: self.widths[0]])
        for level, width in enumerate(self.widths[1:], start=1):
            if not book.heard(top, level - 1):
                return self._outcome(book, top)
            seats = _seats(cast, CRITIC, width)
            replies = yield book.asks(cast, seats, prompt(OWN_TEMPLATE, "critique", level=level))
            top = book.close(book.take(seats, replies))
        if self.chooser and book.heard(top, len(self.widths) - 1):
            seats = (cast.seat(CHOOSER),)
            replies = yield book.asks(cast, seats, prompt(OWN_TEMPLATE, "choose"))
            top = book.close(book.take(seats, replies))
        return self._outcome(book, top)

    def _outcome(self, book: _Book, top: Sequence[_Voice]) -> Outcome:
        """Return what the level that was asked last concludes."""
        outcome = vote_outcome(
            [voice.reply for voice in top],
            [voice.reading for voice in top],
            book.count(top),
            rule="chooser" if self.chooser else "top_level_plurality",
        )
        replies = [voice.reply for voice in book.voices]
        readings = [voice.reading for voice in book.voices]
        return outcome.model_copy(
            update={
                "unparsed": count_unparsed(replies, readings),
                "failures": failure_counts(replies),
                "detail": {"levels": book.levels},
            }
        )


def _seats(cast: Cast, role: str, count: int) -> tuple[Seat, ...]:
    """Return `count` seats of `role`; its experts take turns in filling them."""
    experts = len(cast.role(role))
    return tuple(
        [cast.seat(role, i % experts, name=f"{role}_{i}" if i else role) for i in range(count)]
    )


class _Voice(NamedTuple):
    """A reply of the session."""

    reply: Reply
    reading: Reading
    vote: Vote | None


class _Book:
    """The account of one session: what was said, and the votes beside every level."""

    __slots__ = ("below", "drawn", "levels", "precedence", "question", "said", "voices")

    def __init__(self, question: Question, cast: Cast) -> None:
        profile = cast_profile(cast.assets)
        self.question = question
        self.precedence = None if profile is None else profile.ranking()
        self.voices: list[_Voice] = []
        """Every reply of the session."""
        self.drawn: Sequence[_Voice] = ()
        """The independent responses."""
        self.below: list[_Voice] = []
        """The replies of all closed levels."""
        self.said: list[Part] = []
        """What the next level reads."""
        self.levels: list[dict[str, Any]] = []
        """What is told of each closed level."""

    def take(self, seats: Sequence[Seat], replies: Sequence[Reply]) -> list[_Voice]:
        """Read and write down the replies of a turn."""
        voices = []
        for slot, (seat, reply) in enumerate(zip(seats, replies, strict=True), len(self.voices)):
            reading = read_answer(cleaned(reply), self.question)
            vote = None
            if isinstance(reading, Parsed):
                vote = Vote(reading.value, voter=seat.expert, slot=slot)
            voices.append(_Voice(reply, reading, vote))
        self.voices += voices
        return voices

    def close(self, voices: list[_Voice]) -> list[_Voice]:
        """Close a level: write down its vote and those that stand beside it."""
        spent = len(self.below) + len(voices)
        majority = self.count(self.drawn[:spent]).answer if spent <= len(self.drawn) else None
        self.levels.append(
            {
                "answers": [None if voice.vote is None else voice.vote.answer for voice in voices],
                "answer": self.count(voices).answer,
                "naive": self.count(self.below).answer,
                "majority": majority,
                "spent": spent,
            }
        )
        self.below += voices
        return voices

    def count(self, voices: Sequence[_Voice]) -> Ballot:
        """Return the plurality of what these answer."""
        votes = [voice.vote for voice in voices if voice.vote is not None]
        return tally(votes, precedence=self.precedence)

    def heard(self, voices: Sequence[_Voice], level: int) -> bool:
        """Add a closed level to what the next one reads; say whether it said anything."""
        before = len(self.said)
        for number, voice in enumerate(voices, start=1):
            part = said_part("critique" if level else "response", voice.reply)
            if part is not None:
                self.said += [prompt(OWN_TEMPLATE, "heading", level=level, number=number), part]
        return len(self.said) > before

    def asks(self, cast: Cast, seats: Sequence[Seat], task: Part) -> tuple[Ask, ...]:
        """Return the asks of a level, which all read the same."""
        messages = solver_messages(
            self.question,
            passage=cast.reads_passage(seats[0].role),
            said=(*self.said, task),
            system=prompt(OWN_TEMPLATE, "system"),
        )
        return tuple([Ask(seat, messages, question=self.question.id) for seat in seats])
