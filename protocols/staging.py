"""One conversation before a judge: who speaks when, what is asked, what the judge then reads.

A :class:`Staging` is one run of a schedule: with one party (a consultancy) or two (a debate, or a
double consultancy), that hear each other or not, at once or one after the other, with or without
questions in between. A session holds one staging or several side by side.

Quorum. Whoever argues is needed: where its data is missing (provider, timeout) the staging ends
and the session is missing; where it fails by its own doing it is silent in that round and the
others go on. A questioner, critic or rater that fails is left out. What follows from a judge's
failures stands in ``judging.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from protocols.asks import Ask, Seat
from protocols.beliefs import read_decision
from protocols.cast import Cast
from protocols.contract import Replies, Session
from protocols.judging import (
    Order,
    count_unread,
    exemplar_parts,
    judge_ask,
    read_orders,
    shown_in,
)
from protocols.messages import Message, Part
from protocols.prompts import prompt
from protocols.question import Question
from protocols.quotes import numbered
from protocols.replies import Boundary, Reply
from protocols.speaking import Coach, Manner, Speaker, SpeechTurn, Spoken, speak, speak_at_once
from protocols.speeches import Speech, SpeechRules, take_speech
from protocols.transcript import SIDES, Party, Transcript, Words

Interactive = Literal["none", "shared", "each"]
"""Whether questions are put from round 2 on: none; one to all; one to each side."""

JUDGE, QUESTIONER, RATER, CRITIC = "judge", "questioner", "rater", "critic"


@dataclass(frozen=True, slots=True)
class Plan:
    """What is fixed for all stagings of a session."""

    words: Words
    question: Question
    cast: Cast
    rounds: int
    rules: SpeechRules
    interactive: Interactive = "none"
    sequential: bool = False
    hear: bool = True
    """Whether two parties hear each other."""
    every_round: bool = False
    """Whether the judge is asked after every round."""
    min_rounds: int | None = None
    """After how many rounds the judge may end it; None: it may not."""
    reasoning: str = "before"
    shots: int = 0
    opened: bool = False
    """Whether a side was chosen, not assigned."""

    @property
    def swappable(self) -> bool:
        """Whether what is said does not depend on which side stands first.

        Then one staging is read in all orders; else there is one for each order.
        """
        return not self.sequential and (self.interactive == "none" or self.words.role != "debater")

    def section(self, name: str, **arguments: Any) -> Part:
        """Return a section of this conversation's template."""
        return prompt(self.words.template, name, **arguments)


def party(plan: Plan, side: int, seat: Seat) -> Party:
    """Return the party that argues for the option at `side`, with what it reads first."""
    question = plan.question
    first: tuple[Part, ...] = ()
    if reads(plan, seat.role):
        first = (question.passage_part,)
        if plan.rules.quotes == "span":
            first = (_numbered_part(question.passage or ""),)
    yours, theirs = _answer_headings(plan.words, side)
    assigned = Part("assigned", " ".join(question.options[side].split()))
    opposed = Part("opposed", " ".join(question.options[1 - side].split()))
    return Party(side, seat, (*first, question.text_part, yours, assigned, theirs, opposed))


@lru_cache(maxsize=64)
def _answer_headings(words: Words, side: int) -> tuple[Part, Part]:
    """Return what stands before one's own answer and before the other one."""
    own = prompt(words.template, "assigned_heading", letter=SIDES[side])
    return own, prompt(words.template, "opposed_heading", letter=SIDES[1 - side])


@lru_cache(maxsize=256)
def _numbered_part(passage: str) -> Part:
    return Part("passage", numbered(passage))


def reads(plan: Plan, role: str) -> bool:
    """Whether there is a passage and `role` may read it."""
    return plan.cast.reads_passage(role) and bool(plan.question.passage)


def fallback_role(cast: Cast, role: str, otherwise: str) -> str:
    """Return `role` if somebody is cast in it, else the role that does its work."""
    return role if cast.members.get(role) else otherwise


def coach_for(
    plan: Plan, transcript: Transcript, speaker: Party, number: int, *, rates: bool
) -> Coach:
    """Return who helps a speaker with its speech in round `number`.

    Raises:
        Mistake: something is to be rated and nobody is cast as rater.
    """
    cast = plan.cast
    critic_role = fallback_role(cast, CRITIC, speaker.seat.role)
    return Coach(
        rater=cast.seat(RATER) if rates else None,
        rater_reads=reads(plan, RATER),
        critic=cast.seat(CRITIC) if critic_role == CRITIC else speaker.seat,
        critic_reads=reads(plan, critic_role),
        view=transcript.views[speaker.side],
        own_heading=transcript.heading(0, number),
        opposed_heading=transcript.heading(1, number) if transcript.two_sided else None,
    )


def speaker_system(plan: Plan, role: str) -> Message:
    """Return the system message of those who argue."""
    return _speaker_system(plan.words, reads(plan, role), plan.rules.quotes == "span")


@lru_cache(maxsize=64)
def _speaker_system(words: Words, passage: bool, spans: bool) -> Message:
    section = f"{words.role}_system"
    return Message("system", (prompt(words.template, section, passage=passage, spans=spans),))


@lru_cache(maxsize=256)
def _speech_tasks(
    words: Words,
    rules: SpeechRules,
    rounds: int,
    length: int,
    *,
    sequential: bool,
    questioned: bool,
) -> tuple[tuple[Part, ...], ...]:
    """Return what a speaker is told to do, round by round; the same for every question.

    Returns:
        The tasks of one that speaks at once with the other (or first), and, where one speaks
        after the other, of the second.
    """
    limits = {"limit": rules.stated_limit, "quoted": rules.max_quoted}
    return tuple(
        tuple(
            prompt(
                words.template,
                "speech_task",
                round=number,
                rounds=rounds,
                words=length,
                place=place,
                asked=questioned and number > 1,
                **limits,
            )
            for number in range(1, rounds + 1)
        )
        for place in (("first", "second") if sequential else ("",))
    )


class Staging:
    """One conversation; :meth:`run` lets it take place, and fills what stands here."""

    def __init__(
        self,
        plan: Plan,
        parties: Sequence[Party],
        manners: Sequence[Manner],
        orders: Sequence[Order],
    ) -> None:
        """Prepare it.

        Args:
            plan: what all stagings share.
            parties: those who argue, A before B.
            manners: how each makes its speeches.
            orders: the orders in which the judge reads it.
        """
        self.plan = plan
        self.parties = tuple(parties)
        self.orders = tuple(orders)
        asked = plan.interactive != "none"
        self.transcript = Transcript(plan.words, parties, hear=plan.hear, unlettered=asked)
        self.verdicts: Replies = ()
        """The judge's last replies, one for each order."""
        self.missing: Boundary | None = None
        """Why the staging ended without a verdict."""
        self.lost: list[Reply] = []
        """Failed replies, but for the last verdicts."""
        self.unparsed = 0
        """Unread replies, but for the last verdicts."""
        self.path: list[tuple[tuple[float, ...], ...]] = []
        """The judge's readings after every round, where it is asked then."""
        self.ratings: list[dict[str, Any]] = []
        self._manners = tuple(manners)
        self._system = speaker_system(plan, plan.words.role)
        self._tasks = [
            _speech_tasks(
                plan.words,
                plan.rules,
                plan.rounds,
                manner.words,
                sequential=plan.sequential,
                questioned=asked,
            )
            for manner in manners
        ]
        self._shown = [shown_in(plan.question, order) for order in orders]
        self._judge_system: Message | None = None

    def run(self) -> Session[None]:
        """Let the conversation take place."""
        plan = self.plan
        for number in range(1, plan.rounds + 1):
            if number > 1 and plan.interactive != "none":
                yield from self._inquire(number)
            yield from self._round(number)
            if self.missing is not None:
                return
            if plan.every_round or number == plan.rounds:
                may_end = plan.min_rounds is not None and plan.min_rounds <= number < plan.rounds
                yield from self._judge(may_end)
                if may_end and all(read_decision(reply) == "end" for reply in self.verdicts):
                    return

    def detail(self) -> dict[str, Any]:
        """Tell who argued for what, how quotations fared, and what else is worth telling."""
        role = self.plan.words.role
        told: dict[str, Any] = {
            f"{role}s": {SIDES[party.side]: party.seat.expert for party in self.parties},
            "speeches": self.transcript.speeches_detail(),
        }
        if self.plan.every_round:
            told["path"] = [[list(reading) for reading in readings] for readings in self.path]
        if any(manner.drafts > 1 or manner.critiques for manner in self._manners):
            told["ratings"] = self.ratings
        return told

    def _round(self, number: int) -> Session[None]:
        """Let everybody speak once, and close the round."""
        count = len(self.parties)
        if self.plan.sequential and number > 1 and count == 2:
            speeches: list[Speech | None] = [None, None]
            first = self.orders[0][0]
            for index in (first, 1 - first):
                current = None if index == first else (speeches[first],)
                spoken = yield from speak(*self._speaker(number, index, current))
                speeches[index] = self._taken(number, index, spoken)
                if self.missing is not None:
                    return
        else:
            at_once = [self._speaker(number, index, None) for index in range(count)]
            all_spoken = yield from speak_at_once(at_once)
            speeches = [self._taken(number, index, one) for index, one in enumerate(all_spoken)]
        if self.missing is None:
            self.transcript.close(number, speeches)

    def _taken(self, number: int, index: int, spoken: Spoken) -> Speech | None:
        """Book what a speech brought beside itself, and return it."""
        self.lost += spoken.lost
        self.unparsed += spoken.unparsed
        self.missing = self.missing or spoken.missing
        if spoken.ratings:
            side = SIDES[self.parties[index].side]
            self.ratings.append({"round": number, "side": side, **spoken.detail()})
        return spoken.speech

    def _speaker(self, number: int, index: int, current: tuple[Speech | None] | None) -> Speaker:
        """Return a party about to speak; `current`: what its opponent just said, if it hears it."""
        plan, speaker, manner = self.plan, self.parties[index], self._manners[index]
        read, tasks = self.transcript.heard[index], self._tasks[index]
        if current is not None:
            read += self.transcript.overheard(number, current[0])
        task = tasks[0 if current is None else 1][number - 1]
        turn = SpeechTurn(plan.question, speaker.side, speaker.seat, self._system, read, task)
        if manner.plain:
            return Speaker(turn, manner)
        coach = coach_for(plan, self.transcript, speaker, number, rates=manner.rates)
        return Speaker(turn, manner, coach)

    def _inquire(self, number: int) -> Session[None]:
        """Let the questioner ask before round `number`: once, or each side."""
        plan = self.plan
        role = fallback_role(plan.cast, QUESTIONER, JUDGE)
        seat = plan.cast.seat(role, name=QUESTIONER)
        places = (0, 1) if plan.interactive == "each" else (None,)
        replies = yield tuple(self._question_ask(seat, role, number, to) for to in places)
        self.lost += [reply for reply in replies if reply.failed]
        rules = plan.rules._replace(overrun="cut", max_quoted=None)
        order = self.orders[0]
        for to, reply in zip(places, replies, strict=True):
            taken = take_speech(reply, plan.question.passage, rules, name="inquiry")
            part = plan.section("no_question") if taken is None else taken.part
            yours, theirs = (plan.section(name, round=number) for name in _PUT)
            side = None if to is None else order[to]
            heard = [
                (yours if side in (None, party.side) else theirs, part) for party in self.parties
            ]
            letter = "" if to is None else SIDES[to]
            heading = plan.section("question_heading", round=number, to=letter)
            self.transcript.tell(heard, (heading, part))

    def _question_ask(self, seat: Seat, role: str, number: int, to: int | None) -> Ask:
        """Return the ask for a question: to all, or to the side that is shown as `to`."""
        plan = self.plan
        section = plan.section("questioner_system", passage=reads(plan, role))
        system = Message("system", (section,))
        letter = "" if to is None else SIDES[to]
        task = plan.section("question_task", round=number, to=letter)
        read = (plan.question.passage_part,) if reads(plan, role) else ()
        opening: tuple[Part, ...]
        if plan.words.role == "debater":
            shown = self._shown[0]
            opening = (shown.text_part, shown.options_part)
            said = self.transcript.views[self.orders[0][0]]
        else:  # no letter: what is said must not depend on the order in which it is read
            argued, other = (
                Part(name, " ".join(plan.question.options[place].split()))
                for name, place in zip(_ARGUED, self._argued(), strict=True)
            )
            headings = [plan.section(f"{name}_heading") for name in _ARGUED]
            opening = (plan.question.text_part, headings[0], argued, headings[1], other)
            said = self.transcript.unlettered
        messages = (system, Message("user", (*read, *opening, *said, task)))
        return Ask(seat, messages, question=plan.question.id)

    def _argued(self) -> tuple[int, int]:
        side = self.parties[0].side
        return side, 1 - side

    def _judge(self, may_end: bool) -> Session[None]:
        """Ask the judge, in all its orders; its earlier verdicts become part of the path."""
        plan = self.plan
        seat, passage = plan.cast.seat(JUDGE), reads(plan, JUDGE)
        if self.verdicts:
            self._book_verdicts()
        if self._judge_system is None:
            part = plan.section(
                "judge_system",
                speakers_read=reads(plan, plan.words.role),
                judge_reads=passage,
                parties=len(self.parties),
                opened=plan.opened,
            )
            self._judge_system = Message("system", (part, *exemplar_parts(plan.cast, plan.shots)))
        task = plan.section("verdict_task", reasoning=plan.reasoning, may_end=may_end)
        self.verdicts = yield tuple(
            [
                judge_ask(
                    seat,
                    shown,
                    passage=passage,
                    system=self._judge_system,
                    said=self.transcript.views[order[0]],
                    task=task,
                )
                for order, shown in zip(self.orders, self._shown, strict=True)
            ]
        )
        if plan.every_round:
            self.path.append(read_orders(self.verdicts, plan.question, self.orders))

    def _book_verdicts(self) -> None:
        """Count what was lost in verdicts that are not the last."""
        self.lost += [reply for reply in self.verdicts if reply.failed]
        self.unparsed += count_unread(self.verdicts, self.path[-1])


_PUT = ("put_to_you", "put_to_opponent")
_ARGUED = ("argued", "other")
