"""Simultaneous debate before a judge who cannot read what the debaters read.

Schedule: ``({A,B})*, J``. In every round both debaters speak at once, neither seeing what the
other says in it; after the last round the judge reads all closed rounds and decides, in one or
both answer orders. Debater A argues for option A of the question, B for option B.

Who sees what. Debaters: the passage, the closed rounds (their own speech before the opponent's),
never a letter or name of either side, so that the speeches read the same in both orders. Judge:
question, options and closed rounds, A before B, with every quotation marked as verified or not;
in the second order options, speeches and letters are exchanged and the reading is mapped back.

Sources: Khan et al. 2402.06782 (simultaneous debate, three rounds, verified quotes, hidden
thinking, both orders); Kenton et al. 2407.04622 (a weak judge of strong debaters). Departures: an
over-long speech is cut and never asked again; the judge samples as the roster says (the papers:
temperature 0); a debater's prompt says nothing about its persuasion style.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any, ClassVar, NamedTuple

from pydantic import Field

from protocols.asks import Ask, Seat
from protocols.ballots import failure_counts, session_boundary
from protocols.cast import Cast
from protocols.chance import Rng
from protocols.contract import CallBound, Protocol, Role, Session
from protocols.errors import Mistake
from protocols.judging import JudgeTie, Orders, judge_rule, judged_outcome
from protocols.messages import Message, Part
from protocols.outcome import Outcome, failed_outcome
from protocols.prompts import prompt
from protocols.question import Question
from protocols.quotes import FUZZY_THRESHOLD, QuoteMode
from protocols.replies import MISSING_BOUNDARIES, Boundary, Reply
from protocols.solving import reordered
from protocols.speeches import Speech, SpeechRules, take_speech

Round = tuple[Speech | None, Speech | None]
"""The speeches of A and B in a closed round; None where a debater gave none."""


class Debate(Protocol):
    """Two debaters argue for one option each; a judge who read only the debate decides."""

    kind: ClassVar[str] = "debate"
    version: ClassVar[int] = 1
    about: ClassVar[str] = "Two debaters argue for one option each before a judge."
    templates: ClassVar[tuple[str, ...]] = ("debate",)

    rounds: int = Field(3, ge=1)
    """Rounds of two speeches."""
    orders: Orders = 2
    """Answer orders in which the judge decides; with 2 its reading is the mean of both."""
    tie: JudgeTie = "half"
    """How an even distribution is scored."""
    words: int = Field(100, ge=1)
    """The length of a speech that the prompt asks for."""
    max_characters: int | None = Field(None, ge=1)
    """Where a longer speech is cut (an open quotation is closed); None accepts any length."""
    quotes: QuoteMode = "strict"
    """How quotations are compared with the passage."""
    fuzzy_threshold: float = Field(FUZZY_THRESHOLD, ge=0.0, le=100.0)
    """The least similarity of a fuzzy quotation, 0 to 100."""

    def roles(self) -> tuple[Role, ...]:
        """Return the roles: one or two debaters, and a judge."""
        return (
            Role(
                "debater",
                "argues for the option assigned to it; one expert argues both sides, two one each",
                many=True,
                reads_passage=True,
                draws=True,
            ),
            Role("judge", "decides after the last round", draws=self.orders == 2),
        )

    def check_question(self, question: Question) -> str | None:
        """Say why a question cannot be debated: it needs exactly two options."""
        if len(question.options) == 2:
            return None
        return (
            f"a debate needs two options, question {question.id!r} has {len(question.options)}; "
            "set 'pair:' in the workflow to make a pair of each question"
        )

    def calls(self, question: Question, cast: Cast) -> CallBound:
        """Return the bound: 2 asks a round and one for each order, fewer if data goes missing."""
        return CallBound(2, 2 * self.rounds + self.orders)

    def session(self, question: Question, cast: Cast, rng: Rng) -> Session[Outcome]:
        """Debate one question."""
        why = self.check_question(question)
        if why is not None:
            raise Mistake(why)
        seats = _debater_seats(cast, rng)
        rounds, lost, missing = yield from self._rounds(question, cast, seats)
        detail = _detail(seats, rounds)
        if missing is not None:
            return failed_outcome(
                missing,
                rule=judge_rule(self.orders),
                tie_rule=self.tie,
                failures=failure_counts(lost),
                detail=detail,
            )
        verdicts = yield _judge_asks(question, cast, rounds, self.orders)
        return judged_outcome(
            question, verdicts, tie=self.tie, earlier_failures=lost, detail=detail
        )

    def _rounds(
        self, question: Question, cast: Cast, seats: tuple[Seat, Seat]
    ) -> Session[_Debated]:
        """Let the debaters speak, round by round, until all rounds are closed or data is missing.

        A debater that refuses, or fails otherwise by its own doing, is silent in that round and
        the debate goes on; where data is missing (provider, timeout) it ends.
        """
        rules = SpeechRules(self.max_characters, self.quotes, self.fuzzy_threshold)
        script = _script(self.rounds, self.words, _passage_read(question, cast, "debater"))
        read_a, read_b = _debater_contexts(question, cast)
        rounds: list[Round] = []
        lost: list[Reply] = []
        for number in range(self.rounds):
            task = script.tasks[number]
            replies = yield (
                Ask(seats[0], _messages(script.system, (*read_a, task)), question=question.id),
                Ask(seats[1], _messages(script.system, (*read_b, task)), question=question.id),
            )
            lost += [reply for reply in replies if reply.failed]
            missing = session_boundary(replies)
            if missing in MISSING_BOUNDARIES:
                return _Debated(rounds, lost, missing)
            a, b = [take_speech(reply, question.passage, rules) for reply in replies]
            rounds.append((a, b))
            yours, theirs = script.yours[number], script.theirs[number]
            read_a = (*read_a, yours, _said(a), theirs, _said(b))
            read_b = (*read_b, yours, _said(b), theirs, _said(a))
        return _Debated(rounds, lost, None)


class _Debated(NamedTuple):
    """What the debaters did."""

    rounds: list[Round]
    lost: list[Reply]
    missing: Boundary | None


@dataclass(frozen=True, slots=True)
class _Script:
    """The fixed parts of the debaters' prompts, by round; the same for every question."""

    system: Message
    yours: tuple[Part, ...]
    theirs: tuple[Part, ...]
    tasks: tuple[Part, ...]


@lru_cache(maxsize=64)
def _script(rounds: int, words: int, passage: bool) -> _Script:
    numbers = range(1, rounds + 1)
    return _Script(
        Message("system", (prompt("debate", "debater_system", passage=passage),)),
        tuple(prompt("debate", "yours", round=number) for number in numbers),
        tuple(prompt("debate", "theirs", round=number) for number in numbers),
        tuple(
            prompt("debate", "speech_task", round=number, rounds=rounds, words=words)
            for number in numbers
        ),
    )


def _debater_seats(cast: Cast, rng: Rng) -> tuple[Seat, Seat]:
    """Return the seats of A and B; which of two experts takes which side is drawn.

    Raises:
        Mistake: nobody, or more than two experts, are cast as debaters.
    """
    count = len(cast.role("debater"))
    if count > 2:
        raise Mistake(f"{count} experts are cast as 'debater'; cast one, or two")
    first = rng.child("sides").integer(2) if count == 2 else 0
    return (
        cast.seat("debater", first, name="debater_a"),
        cast.seat("debater", count - 1 - first, name="debater_b"),
    )


def _passage_read(question: Question, cast: Cast, role: str) -> bool:
    """Whether there is a passage and `role` may read it."""
    return cast.reads_passage(role) and bool(question.passage)


def _debater_contexts(question: Question, cast: Cast) -> tuple[tuple[Part, ...], tuple[Part, ...]]:
    """Return what A and B read first: passage, question, one's own answer, the other's."""
    passage = (question.passage_part,) if _passage_read(question, cast, "debater") else ()
    shared = (*passage, question.text_part)
    first, second = (" ".join(option.split()) for option in question.options)
    yours, theirs = prompt("debate", "assigned_heading"), prompt("debate", "opposed_heading")
    return (
        (*shared, yours, Part("assigned", first), theirs, Part("opposed", second)),
        (*shared, yours, Part("assigned", second), theirs, Part("opposed", first)),
    )


def _messages(system: Message, parts: tuple[Part, ...]) -> tuple[Message, ...]:
    return system, Message("user", parts)


def _said(speech: Speech | None) -> Part:
    """Return the speech as others read it; a debater that gave none is said to have given none."""
    return prompt("debate", "silence") if speech is None else speech.part


def _judge_asks(
    question: Question, cast: Cast, rounds: list[Round], orders: Orders
) -> tuple[Ask, ...]:
    """Return the judge's asks: the question's own order, then with both sides exchanged."""
    judge_reads = _passage_read(question, cast, "judge")
    system = _judge_system(_passage_read(question, cast, "debater"), judge_reads)
    passage = (question.passage_part,) if judge_reads else ()
    task = prompt("debate", "verdict_task")
    asks = []
    for order in range(orders):
        shown = question if order == 0 else reordered(question, (1, 0))
        parts = [*passage, shown.text_part, shown.options_part]
        for number, pair in enumerate(rounds, start=1):
            first, second = pair if order == 0 else pair[::-1]
            heading_a, heading_b = _judge_headings(number)
            parts += [heading_a, _said(first), heading_b, _said(second)]
        messages = _messages(system, (*parts, task))
        asks.append(Ask(cast.seat("judge"), messages, question.labels, question=question.id))
    return tuple(asks)


@cache
def _judge_system(debaters_read: bool, judge_reads: bool) -> Message:
    part = prompt("debate", "judge_system", debaters_read=debaters_read, judge_reads=judge_reads)
    return Message("system", (part,))


@lru_cache(maxsize=1024)
def _judge_headings(number: int) -> tuple[Part, Part]:
    return (
        prompt("debate", "debater_a", round=number),
        prompt("debate", "debater_b", round=number),
    )


def _detail(seats: tuple[Seat, Seat], rounds: list[Round]) -> dict[str, Any]:
    """Tell who argued for what and, by side and round, how the quotations fared."""
    return {
        "debaters": {"A": seats[0].expert, "B": seats[1].expert},
        "speeches": {
            side: [_speech_detail(pair[index]) for pair in rounds]
            for index, side in enumerate(("A", "B"))
        },
    }


def _speech_detail(speech: Speech | None) -> dict[str, Any] | None:
    if speech is None:
        return None
    verified = sum(quote.verified for quote in speech.quotes)
    return {
        "verified": verified,
        "unverified": len(speech.quotes) - verified,
        "cut": speech.cut,
    }
