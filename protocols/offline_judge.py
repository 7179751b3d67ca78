"""Offline judge: beliefs after each round of a conversation that is over.

Schedule: ``J prior, (J)*`` on closed rounds. Stepped, the judge reads one round after the other, in
a turn each, with its own earlier beliefs and comments, and may stop early; all at once, each of
its ``r + 1`` beliefs is asked for in the same turn, from as much of the transcript, and none
knows of the others.

The transcripts are the asset ``transcripts`` of the cast: a JSON object by question id, each with
``rounds``, a list of objects with what the sides said: ``{"A": "...", "B": "..."}``, or only one of
them (a consultancy). Quotations in them are verified against the question's passage before the
judge reads them, and hidden thinking is dropped.

The outcome is the judge's last belief, the mean over the answer orders; the path of beliefs stands
in the detail by order. Beliefs are clamped to [0.01, 0.99].

Price: ``r + 1`` for r recorded rounds, times the answer orders.

Source: Michael et al. 2311.08702 (offline judging, stepped and timed). Departures: both modes give
a path (the source's timed judges gave one belief, on the whole transcript); a belief that cannot
be read is none, and what the last reply holds is what counts. Exemplars and reasons are no
parameters: the judge reads finished rounds as they were, and states beliefs and comments in the
form of a live judge, so that the two compare. Answer orders are one by default, as in the source.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from protocols.asks import Ask
from protocols.beliefs import read_belief, read_decision
from protocols.cast import Cast
from protocols.chance import Rng
from protocols.contract import CallBound, Protocol, Replies, Role, Session
from protocols.errors import Mistake
from protocols.judging import (
    JudgeTie,
    Orders,
    answer_orders,
    judge_ask,
    judge_rule,
    judged_outcome,
    mapped_back,
    shown_in,
)
from protocols.messages import Part
from protocols.nyu_staging import TEMPLATE, belief_parts, judge_system
from protocols.outcome import Outcome
from protocols.question import Question
from protocols.quotes import FUZZY_THRESHOLD, QuoteMode
from protocols.replies import Reply
from protocols.speeches import Speech, SpeechRules, take_speech
from protocols.staging import JUDGE, Plan, reads
from protocols.transcript import SIDES, Party, Transcript, Words

TRANSCRIPTS = "transcripts"
"""The asset that holds finished conversations, by question id."""

Path = list[tuple[tuple[float, ...], ...]]


class OfflineJudge(Protocol):
    """A judge who was not there reads a finished conversation, round by round."""

    kind: ClassVar[str] = "offline_judge"
    about: ClassVar[str] = "A judge states its belief after each round of a finished transcript."
    templates: ClassVar[tuple[str, ...]] = (TEMPLATE,)

    mode: Literal["stepped", "all_at_once"] = "stepped"
    """Whether beliefs are asked for one after the other, each with the earlier ones, or at once."""
    min_rounds: int | None = Field(None, ge=1)
    """After this many rounds the judge may stop (``Decision: end`` in every order); stepped only.
    None: it reads all rounds."""
    orders: Orders = 1
    """Answer orders; with 2 the reading is the mean of both."""
    tie: JudgeTie = "half"
    """How an even belief is scored."""
    quotes: QuoteMode = "strict"
    """How quotations are compared with the passage."""
    fuzzy_threshold: float = Field(FUZZY_THRESHOLD, ge=0.0, le=100.0)
    """The least similarity of a fuzzy quotation, 0 to 100."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.min_rounds is not None and self.mode != "stepped":
            raise ValueError("min_rounds needs mode 'stepped'")
        return self

    def roles(self) -> tuple[Role, ...]:
        """Return the one role: the judge."""
        return (Role(JUDGE, "reads a finished conversation and states beliefs", draws=True),)

    def assets(self) -> tuple[str, ...]:
        """Return the asset that holds the conversations."""
        return (TRANSCRIPTS,)

    def check_question(self, question: Question) -> str | None:
        """Say why a question does not fit: it needs exactly two options."""
        if len(question.options) == 2:
            return None
        return (
            f"an offline judge needs two options, question {question.id!r} has "
            f"{len(question.options)}; set 'pair:' in the workflow to make a pair of each question"
        )

    def calls(self, question: Question, cast: Cast) -> CallBound:
        """Return the bound: a belief for each round and one before, fewer where it may stop.

        Data that is missing in the first turn ends a session too.
        """
        orders = len(answer_orders(self.orders, 2))
        most = orders * (len(recorded_rounds(question, cast)) + 1)
        return CallBound(most if self.mode == "all_at_once" else orders, most)

    def session(self, question: Question, cast: Cast, rng: Rng) -> Session[Outcome]:
        """Let a judge read the question's transcript.

        Raises:
            Mistake: the question does not fit, or the asset holds no transcript of it.
        """
        why = self.check_question(question)
        if why is not None:
            raise Mistake(why)
        reading = _Reading(self, question, cast)
        if self.mode == "stepped":
            replies = yield from reading.stepped(self.min_rounds)
        else:
            replies = yield from reading.at_once()
        return reading.concluded(replies, self.tie)


class _Reading:
    """One judge with one transcript."""

    def __init__(self, protocol: OfflineJudge, question: Question, cast: Cast) -> None:
        self.orders = answer_orders(protocol.orders, 2)
        self.path: Path = []
        self.lost: list[Reply] = []
        self.unparsed = 0
        self._rules = SpeechRules(None, protocol.quotes, protocol.fuzzy_threshold)
        self._rounds = recorded_rounds(question, cast)
        sides = [side for side, name in enumerate(SIDES) if name in self._rounds[0]]
        role = "debater" if len(sides) == 2 else "consultant"
        self._plan = Plan(Words(TEMPLATE, role), question, cast, len(self._rounds), self._rules)
        self._parties = [Party(side, cast.seat(JUDGE), ()) for side in sides]
        self._transcript = Transcript(self._plan.words, self._parties)
        self._shown = [shown_in(question, order) for order in self.orders]
        self._beliefs: list[tuple[Part, ...]] = [() for _ in self.orders]

    def stepped(self, min_rounds: int | None) -> Session[Replies]:
        """Ask after one round after the other; return the last replies."""
        said: list[tuple[Part, ...]] = [() for _ in self.orders]
        replies: Replies = ()
        count = len(self._rounds)
        for number in range(count + 1):
            if number:
                self._book(replies)
                before = list(self._transcript.views)
                self._close(number)
                for place, order in enumerate(self.orders):
                    view = self._transcript.views[order[0]][len(before[order[0]]) :]
                    said[place] += (*self._beliefs[place], *view)
            may_end = min_rounds is not None and min_rounds <= number < count
            replies = yield self._asks(number, said, may_end)
            self._believe(number, replies)
            missing = any(reply.failure and reply.failure.missing for reply in replies)
            if missing or (may_end and all(read_decision(r) == "end" for r in replies)):
                break
        return replies

    def at_once(self) -> Session[Replies]:
        """Ask for all beliefs in one turn; return the replies on the whole transcript."""
        asks: list[Ask] = []
        for number in range(len(self._rounds) + 1):
            if number:
                self._close(number)
            said = [self._transcript.views[order[0]] for order in self.orders]
            asks += self._asks(number, said, False)
        replies = yield tuple(asks)
        step = len(self.orders)
        for start in range(0, len(replies), step):
            if start:
                self._book(replies[start - step : start])
            self._believe(start // step, replies[start : start + step])
        return replies[-step:]

    def concluded(self, replies: Replies, tie: JudgeTie) -> Outcome:
        """Return the outcome: the last beliefs."""
        by_order = list(zip(*self.path, strict=True))
        path = [[list(belief) if belief else None for belief in one] for one in by_order]
        return judged_outcome(
            self._plan.question,
            replies,
            self.path[-1],
            tie=tie,
            rule=judge_rule(len(self.orders)),
            earlier_failures=self.lost,
            earlier_unparsed=self.unparsed,
            stated="stated",
            detail={"path": path},
        )

    def _asks(self, number: int, said: list[tuple[Part, ...]], may_end: bool) -> tuple[Ask, ...]:
        plan = self._plan
        last = number == len(self._rounds)
        task = plan.section("belief_task", round=number, may_end=may_end, last=last)
        return tuple(
            judge_ask(
                plan.cast.seat(JUDGE),
                shown,
                passage=reads(plan, JUDGE),
                system=judge_system(plan, len(self._parties), self._plan.words.role),
                said=heard,
                task=task,
            )
            for shown, heard in zip(self._shown, said, strict=True)
        )

    def _close(self, number: int) -> None:
        """Make one more round of the transcript known."""
        said = self._rounds[number - 1]
        self._transcript.close(number, [self._speech(said, p.side) for p in self._parties])

    def _speech(self, said: dict[str, str], side: int) -> Speech | None:
        reply = Reply(said.get(SIDES[side], ""))
        return take_speech(reply, self._plan.question.passage, self._rules)

    def _believe(self, number: int, replies: Replies) -> None:
        """Take in what was stated after a round."""
        stated = [
            read_belief(reply, shown) or ()
            for reply, shown in zip(replies, self._shown, strict=True)
        ]
        for place, reply in enumerate(replies):
            belief = stated[place]
            self._beliefs[place] = belief_parts(self._plan, number, reply, belief)[1]
        self.path.append(
            tuple(
                mapped_back(belief, order)
                for belief, order in zip(stated, self.orders, strict=True)
            )
        )

    def _book(self, replies: Replies) -> None:
        """Count what was lost in beliefs that are not the last."""
        for reply, belief in zip(replies, self.path[-1], strict=True):
            self.lost += [reply] if reply.failed else []
            self.unparsed += not reply.failed and not belief


def recorded_rounds(question: Question, cast: Cast) -> list[dict[str, str]]:
    """Return the rounds of a question's transcript: what each side said, by side.

    Raises:
        Mistake: there is no transcript of the question, or it is not made as it should be.
    """
    asset = cast.assets.get(TRANSCRIPTS)
    content: Any = None if asset is None else asset.content
    entry = content.get(question.id) if isinstance(content, dict) else None
    rounds = entry.get("rounds") if isinstance(entry, dict) else None
    if not isinstance(rounds, list) or not rounds:
        raise Mistake(
            f"the asset {TRANSCRIPTS!r} holds no transcript of question {question.id!r}; give it "
            "one by the question's id, with 'rounds'"
        )
    sides = {tuple(sorted(one)) if isinstance(one, dict) else () for one in rounds}
    wanted = {("A",), ("B",), ("A", "B")}
    if len(sides) != 1 or not sides <= wanted or not all(_texts(one) for one in rounds):
        raise Mistake(
            f"the transcript of question {question.id!r} needs in every round what the same sides "
            "said: 'A', 'B' or both, as text"
        )
    return rounds


def _texts(one: dict[str, Any]) -> bool:
    return all(isinstance(text, str) for text in one.values())
