"""Moderated debate: one side defends a first answer, the other opposes it, a moderator may end it.

Schedule: ``S``, then up to r times ``Aff > Neg > M``, until the moderator M declares the question
settled; where it never does, the judge lists the candidate answers and then chooses: ``J, J``.
Price: 1 + 3t for a debate settled in round t, 1 + 3r + 2 for one that is not.

Who sees what. Both sides: the proposed first answer, and all that both said so far; the negative
side hears the affirmative's current speech. Moderator: the same, whole rounds only. Judge: the
first answer, every speech and every remark of the moderator, and its own list when it chooses.
The sides do not hear the moderator. Which of two experts takes which side is drawn.

A moderator settles by ``Verdict: settled`` with a readable answer; anything else lets the debate
go on. The outcome's ``rule`` says who decided: ``moderator`` or ``judge``. The detail tells what
everybody answered after the first answer and after every round.

Quorum: the first answer, and one speech a round. A speech, remark or list that does not come,
whatever the reason, is said to be missing and the debate goes on; without the first answer, in a
round in which both sides fail, or where the judge's choice fails, the session fails.

Source: arXiv 2305.19118. Departures: the source's judge read the openings only, ours reads all;
the degree to which the sides disagree is not a parameter (the prompt is the source's middle one);
the first answer is asked for like that of every deliberation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from pydantic import Field

from protocols.asks import Ask, Seat
from protocols.ballots import failure_counts, session_boundary
from protocols.cast import Cast
from protocols.chance import Rng
from protocols.compose import ask_one
from protocols.contract import CallBound, Protocol, Role, Session
from protocols.deliberation import SOLVER, cleaned, context_messages, said_part
from protocols.errors import Mistake
from protocols.messages import Message, Part
from protocols.outcome import Outcome
from protocols.parsing import Parsed, marked_text, read_answer
from protocols.prompts import prompt
from protocols.question import Question
from protocols.replies import Boundary, Reply
from protocols.solving import TEMPLATE, solver_asks, solver_messages

DEBATER = "debater"
MODERATOR = "moderator"
JUDGE = "judge"
OWN_TEMPLATE = "moderated_debate"

SIDES: tuple[Literal["affirmative"], Literal["negative"]] = ("affirmative", "negative")
SETTLED, OPEN = "settled", "open"


class ModeratedDebate(Protocol):
    """Two sides debate a first answer; the moderator ends it, or else a judge chooses."""

    kind: ClassVar[str] = "moderated_debate"
    about: ClassVar[str] = "two sides debate a first answer; a moderator or a judge decides"
    templates: ClassVar[tuple[str, ...]] = (TEMPLATE, OWN_TEMPLATE)

    rounds: int = Field(3, ge=1)
    """r, the most rounds; fewer where the moderator finds the question settled."""

    def roles(self) -> tuple[Role, ...]:
        """Return the solver of the first answer, the debaters, the moderator and the judge."""
        about = "takes a side; one expert argues both, of two each takes one by lot"
        return (
            Role(SOLVER, "gives the first answer", reads_passage=True),
            Role(DEBATER, about, many=True, reads_passage=True, draws=True),
            Role(MODERATOR, "settles the question, or lets it go on", draws=True),
            Role(JUDGE, "chooses where the moderator never did", draws=True),
        )

    def calls(self, question: Question, cast: Cast) -> CallBound:
        """From a first answer that failed to all rounds and the judge's two asks.

        Raises:
            Mistake: more than two experts are cast as debaters.
        """
        _debater_count(cast)
        return CallBound(1, 1 + 3 * self.rounds + 2)

    def session(self, question: Question, cast: Cast, rng: Rng) -> Session[Outcome]:
        """Answer, debate, decide."""
        floor = _Floor(question, cast, self.rounds, _debater_seats(cast, rng))
        floor.open((yield solver_asks(question, cast, (cast.seat(SOLVER),)))[0])
        lost: Boundary | None = session_boundary(floor.lost)
        settled = False
        for number in range(1, self.rounds + 1):
            if lost is not None or settled:
                break
            first = yield from ask_one(floor.speech_ask(0, number))
            floor.speak(0, first, number)
            second = yield from ask_one(floor.speech_ask(1, number))
            floor.speak(1, second, number)
            if first.failed and second.failed:
                lost = session_boundary((first, second))
            else:
                settled = floor.moderate((yield from ask_one(floor.moderator_ask(number))), number)
        if lost is not None or settled:
            return floor.outcome(MODERATOR, lost, floor.favoured)
        candidates = yield from ask_one(floor.judge_ask())
        listed = floor.listed(candidates)
        choice = yield from ask_one(floor.judge_ask(listed))
        answer = floor.read(choice)
        return floor.outcome(
            JUDGE, None if choice.failure is None else choice.failure.boundary, answer
        )


class _Floor:
    """All that was said in one session, and how each reads it."""

    __slots__ = (
        "_answers",
        "_cast",
        "_heard",
        "_question",
        "_record",
        "_rounds",
        "_seats",
        "_told",
        "_unparsed",
        "favoured",
        "lost",
    )

    def __init__(
        self, question: Question, cast: Cast, rounds: int, seats: tuple[Seat, Seat]
    ) -> None:
        self._question = question
        self._cast = cast
        self._rounds = rounds
        self._seats = seats
        self._heard: tuple[list[Part], list[Part]] = ([], [])
        """What each side reads: the proposal and all speeches so far."""
        self._record: list[Part] = []
        """What the judge reads: the proposal, all speeches and all remarks of the moderator."""
        self._answers: dict[str, str | None] = {}
        self._told: list[dict[str, Any]] = []
        self._unparsed = 0
        self.favoured: str | None = None
        """The answer that the moderator gave last."""
        self.lost: list[Reply] = []
        """Every reply that failed."""

    def open(self, reply: Reply) -> None:
        """Take the first answer."""
        answer = self.read(reply)
        said = (prompt(OWN_TEMPLATE, "proposal"), self._said("answer", reply))
        for reading in (*self._heard, self._record):
            reading.extend(said)
        self._told.append({"answers": {SOLVER: answer}, "answer": answer})

    def speak(self, side: int, reply: Reply, number: int) -> None:
        """Take a speech of round `number`."""
        self._answers[SIDES[side]] = self.read(reply)
        speech = self._said("speech", reply)
        self._record += (prompt(OWN_TEMPLATE, SIDES[side], round=number), speech)
        for reader, heard in enumerate(self._heard):
            whose = "yours" if reader == side else "theirs"
            heard.extend((prompt(OWN_TEMPLATE, whose, round=number), speech))

    def moderate(self, reply: Reply, number: int) -> bool:
        """Take the moderator's remark, close the round, and say whether the debate is over."""
        answer = self.read(reply)
        verdict = _verdict(reply)
        if reply.failure is None and verdict is None and answer is not None:
            self._unparsed += 1
        self.favoured = answer
        self._answers[MODERATOR] = answer
        self._record += (
            prompt(OWN_TEMPLATE, "moderator", round=number),
            self._said("remark", reply),
        )
        self._told.append({"answers": self._answers, "answer": answer, "verdict": verdict})
        self._answers = {}
        return verdict == SETTLED and answer is not None

    def listed(self, reply: Reply) -> Part:
        """Take the judge's list of candidates."""
        if reply.failure is not None:
            self.lost.append(reply)
        return self._said("candidates_list", reply)

    def read(self, reply: Reply) -> str | None:
        """Return the answer in a reply, None where nothing can be read; count what went wrong."""
        reading = read_answer(cleaned(reply), self._question)
        if reply.failure is not None:
            self.lost.append(reply)
        elif not isinstance(reading, Parsed):
            self._unparsed += 1
        return reading.value if isinstance(reading, Parsed) else None

    def speech_ask(self, side: int, number: int) -> Ask:
        """Return the ask for a side's speech in round `number`."""
        affirmative = side == 0
        task = prompt(
            OWN_TEMPLATE, "speech_task", round=number, rounds=self._rounds, affirmative=affirmative
        )
        system = prompt(OWN_TEMPLATE, "debater_system", affirmative=affirmative)
        return self._ask(self._seats[side], system, (*self._heard[side], task))

    def moderator_ask(self, number: int) -> Ask:
        """Return the ask for the moderator's remark after round `number`.

        Its own earlier remarks are left out: it weighs the debate afresh.
        """
        said = [part for part in self._record if part.name not in ("moderator", "remark")]
        task = prompt(OWN_TEMPLATE, "moderate", round=number, rounds=self._rounds)
        system = prompt(OWN_TEMPLATE, "moderator_system")
        return self._ask(self._cast.seat(MODERATOR), system, (*said, task))

    def judge_ask(self, listed: Part | None = None) -> Ask:
        """Return the ask for the judge's list or, with that, for its choice."""
        seat, system = self._cast.seat(JUDGE), prompt(OWN_TEMPLATE, "judge_system")
        if listed is not None:
            heading, task = (
                prompt(OWN_TEMPLATE, "candidates_heading"),
                prompt(OWN_TEMPLATE, "choose"),
            )
            return self._ask(seat, system, (*self._record, heading, listed, task))
        messages = context_messages(
            self._question,
            passage=self._cast.reads_passage(JUDGE),
            system=system,
            said=(*self._record, prompt(OWN_TEMPLATE, "candidates")),
        )
        return Ask(seat, messages, question=self._question.id)

    def outcome(self, rule: str, lost: Boundary | None, answer: str | None) -> Outcome:
        """Return the outcome: what the moderator or the judge decided, and nothing in its place."""
        answer = None if lost is not None else answer
        return Outcome(
            status="failed" if lost else "unparsed" if answer is None else "answered",
            answer=answer,
            answered_by=self._cast.seat(rule).expert if answer is not None else None,
            rule=rule,
            unparsed=self._unparsed,
            failures=failure_counts(self.lost),
            boundary=lost,
            detail={
                "first_plurality": self._told[0]["answer"],
                "rounds": self._told,
                "debaters": {
                    side: seat.expert for side, seat in zip(SIDES, self._seats, strict=True)
                },
            },
        )

    def _ask(self, seat: Seat, system: Part, said: Sequence[Part]) -> Ask:
        messages: tuple[Message, ...] = solver_messages(
            self._question,
            passage=self._cast.reads_passage(seat.role),
            said=said,
            system=system,
        )
        return Ask(seat, messages, question=self._question.id)

    def _said(self, name: str, reply: Reply) -> Part:
        return said_part(name, reply) or prompt(OWN_TEMPLATE, "silence")


def _verdict(reply: Reply) -> str | None:
    """Return the moderator's verdict, None where it gives none that can be read."""
    if reply.failure is not None:
        return None
    written = (marked_text(reply.text, "verdict") or "").strip().strip("*_`.").strip().lower()
    return written if written in (SETTLED, OPEN) else None


def _debater_count(cast: Cast) -> int:
    """Return how many experts debate: one or two.

    Raises:
        Mistake: there are more.
    """
    count = len(cast.role(DEBATER))
    if count > 2:
        raise Mistake(f"{count} experts are cast as {DEBATER!r}; cast one, or two")
    return count


def _debater_seats(cast: Cast, rng: Rng) -> tuple[Seat, Seat]:
    """Return the seats of both sides; which of two experts takes which is drawn."""
    count = _debater_count(cast)
    first = rng.child("sides").integer(2) if count == 2 else 0
    return (
        cast.seat(DEBATER, first, name=SIDES[0]),
        cast.seat(DEBATER, count - 1 - first, name=SIDES[1]),
    )
