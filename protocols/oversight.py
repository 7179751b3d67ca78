"""What all protocols share in which some argue and a judge who knows less decides.

:class:`Oversight` holds the parameters, runs the stagings of a session side by side and concludes
from the judge's readings: one for each staging and answer order, whose mean is the outcome's
distribution. Whose readings are whose stands in the outcome's detail as ``sides``: one entry for
each side that was given to (or chosen by) the one whose side matters, with the places of its
readings, so that honest and dishonest, right and wrong are told apart when the key is joined.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from functools import cached_property
from typing import Any, Literal, NamedTuple, Self

from pydantic import Field, PositiveInt, model_validator

from protocols.asks import Ask, Seat
from protocols.ballots import argmax_distribution, failure_counts
from protocols.cast import Cast
from protocols.chance import Rng
from protocols.compose import together
from protocols.contract import CallBound, Protocol, Role, Session
from protocols.errors import Mistake
from protocols.judging import (
    EXEMPLARS,
    SHOTS_TEMPLATE,
    JudgeTie,
    Order,
    Orders,
    Reasoning,
    answer_orders,
    judged_outcome,
    read_orders,
)
from protocols.messages import Message
from protocols.outcome import Outcome, failed_outcome
from protocols.parsing import option_distribution
from protocols.question import Question
from protocols.quotes import FUZZY_THRESHOLD, QuoteMode
from protocols.replies import Boundary, Reply
from protocols.speaking import TEMPLATE as SPEAKING
from protocols.speaking import Manner
from protocols.speeches import Overrun, SpeechRules
from protocols.staging import CRITIC, JUDGE, QUESTIONER, RATER, Interactive, Plan, Staging, reads
from protocols.transcript import SIDES, Words

Sides = Literal["random", "both", "A", "B"]
"""Which side: drawn, both (a staging each), or a given one."""

SHARED_TEMPLATES = (SHOTS_TEMPLATE, SPEAKING)


class Case(NamedTuple):
    """One assignment of sides, and the stagings in which it is played."""

    side: int | None
    """The side of the one whose side matters; None where nobody's does."""
    by: str
    """The expert on that side."""
    chosen: bool
    """Whether it chose the side itself."""
    stagings: tuple[Staging, ...]


class Oversight(Protocol):
    """Speakers argue in rounds; a judge decides."""

    rounds: int = Field(3, ge=1)
    """Rounds of speeches."""
    orders: Orders = 2
    """Answer orders in which the judge decides; with 2 its reading is the mean of both."""
    tie: JudgeTie = "half"
    """How an even distribution is scored."""
    words: int = Field(100, ge=1)
    """The length of a speech that the prompt asks for."""
    max_characters: int | None = Field(None, ge=1)
    """The longest speech; None accepts any length."""
    overrun: Overrun = "cut"
    """What becomes of a longer speech: ``cut`` (an open quotation is closed), ``reask`` (asked for
    once again, then cut) or ``accept``."""
    quotes: QuoteMode = "strict"
    """How quotations are compared with the passage."""
    fuzzy_threshold: float = Field(FUZZY_THRESHOLD, ge=0.0, le=100.0)
    """The least similarity of a fuzzy quotation, 0 to 100."""
    max_quoted: int | None = Field(None, ge=1)
    """The most quoted characters in a speech: quotations that do not fit are not verified."""
    best_of: PositiveInt | tuple[PositiveInt, PositiveInt] = 1
    """Drafts of every speech, of which the best-rated is heard; a pair gives the number for the
    first and the second expert that is cast."""
    critiques: int = Field(0, ge=0)
    """Critiques of the best draft."""
    refinements: int = Field(0, ge=0)
    """Refinements by the best critique, of which the best-rated is heard."""
    judge_every_round: bool = False
    """Whether the judge decides after every round; the last decision counts."""
    min_rounds: int | None = Field(None, ge=1)
    """After this many rounds the judge may end it (``Decision: end`` in every order); needs
    `judge_every_round`. None: it may not."""
    judge_reasoning: Reasoning = "before"
    """Whether the judge gives reasons before its answer."""
    judge_shots: int = Field(0, ge=0)
    """How many exemplars of the asset ``judge_exemplars`` the judge reads first."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.overrun == "reask" and self.max_characters is None:
            raise ValueError("overrun 'reask' needs max_characters")
        if (self.critiques > 0) != (self.refinements > 0):
            raise ValueError("critiques and refinements need each other: set both, or neither")
        if self.min_rounds is not None and not self.judge_every_round:
            raise ValueError("min_rounds needs judge_every_round: true")
        if self.min_rounds is not None and self.min_rounds > self.rounds:
            raise ValueError("min_rounds must not exceed rounds")
        return self

    def assets(self) -> tuple[str, ...]:
        """Return the asset of exemplars where the judge reads any."""
        return (EXEMPLARS,) if self.judge_shots else ()

    def check_question(self, question: Question) -> str | None:
        """Say why a question does not fit: it needs exactly two options."""
        if len(question.options) == 2:
            return None
        return (
            f"a {self.kind.replace('_', ' ')} needs two options, question {question.id!r} has "
            f"{len(question.options)}; set 'pair:' in the workflow to make a pair of each question"
        )

    def session(self, question: Question, cast: Cast, rng: Rng) -> Session[Outcome]:
        """Run a session.

        Raises:
            Mistake: question or cast do not fit.
        """
        why = self.check_question(question)
        if why is not None:
            raise Mistake(why)
        chosen: list[int | None] = []
        plan = self._plan(question, cast)
        choosers = self._choosers(cast, rng)
        if choosers:
            replies = yield tuple(_choice_ask(plan, seat) for seat in choosers)
            chosen = [_choice(reply, question) for reply in replies]
            if None in chosen:
                return self._no_choice(replies, question)
        cases = self._cases(plan, rng, [side for side in chosen if side is not None])
        stagings = [staging for case in cases for staging in case.stagings]
        if len(stagings) == 1:
            yield from stagings[0].run()
        else:
            yield from together(*[staging.run() for staging in stagings])
        return self._concluded(question, cases, stagings)

    def calls(self, question: Question, cast: Cast) -> CallBound:
        """Return the bound. The fewest: data that is missing in the first turn ends a session."""
        plan = self._plan(question, cast)
        speakers = self._speakers(cast)
        stagings = 1 if plan.swappable else len(self._orders)
        readings = len(self._orders) // stagings
        per_turn = (self.rounds if self.judge_every_round else 1) * readings
        asked = {"none": 0, "shared": 1, "each": 2}[plan.interactive] * (self.rounds - 1)
        first = most = 0
        for experts in speakers:
            spoken = sum(self._manners[index].most for index in experts)
            most += stagings * (self.rounds * spoken + asked + per_turn)
            first += stagings * sum(self._manners[index].drafts for index in experts)
        choices = len(speakers) if self._opens() else 0
        return CallBound(choices or first, choices + most)

    def role_calls(self, question: Question, cast: Cast) -> dict[str, CallBound]:
        """Return the bounds of those who argue and of the judge."""
        plan = self._plan(question, cast)
        whole = self.calls(question, cast)
        speakers = self._speakers(cast)
        stagings = 1 if plan.swappable else len(self._orders)
        spoken = sum(self._manners[index].most for experts in speakers for index in experts)
        choices = len(speakers) if self._opens() else 0
        speeches = choices + stagings * self.rounds * spoken
        judged = whole.most - speeches
        if cast.members.get(QUESTIONER) and plan.interactive != "none":
            questions = (2 if plan.interactive == "each" else 1) * (self.rounds - 1)
            judged -= len(speakers) * stagings * questions
        return {
            plan.words.role: CallBound(whole.fewest, speeches),
            JUDGE: CallBound(0, judged),
        }

    @abstractmethod
    def _speakers(self, cast: Cast) -> tuple[tuple[int, ...], ...]:
        """Return, for each case, which of the cast's experts speak in it."""

    @abstractmethod
    def _cases(self, plan: Plan, rng: Rng, chosen: Sequence[int]) -> tuple[Case, ...]:
        """Return the cases of a session; `chosen` are the sides that protagonists chose."""

    @abstractmethod
    def _plan(self, question: Question, cast: Cast) -> Plan:
        """Return what all stagings of a session share."""

    def _opens(self) -> bool:
        """Whether somebody chooses its side first."""
        return False

    def _choosers(self, cast: Cast, rng: Rng) -> tuple[Seat, ...]:
        """Return who chooses a side first, one for each case."""
        return ()

    def _planned(self, question: Question, cast: Cast, words: Words, **more: Any) -> Plan:
        """Return the plan that these parameters make."""
        return Plan(
            words,
            question,
            cast,
            self.rounds,
            self._rules,
            every_round=self.judge_every_round,
            min_rounds=self.min_rounds,
            reasoning=self.judge_reasoning,
            shots=self.judge_shots,
            opened=self._opens(),
            **more,
        )

    @cached_property
    def _rules(self) -> SpeechRules:
        return SpeechRules(
            self.max_characters, self.quotes, self.fuzzy_threshold, self.overrun, self.max_quoted
        )

    @cached_property
    def _manners(self) -> tuple[Manner, Manner]:
        """How the first and the second expert that is cast make their speeches."""
        drafts = (self.best_of, self.best_of) if isinstance(self.best_of, int) else self.best_of
        first, second = (
            Manner(self._rules, self.words, count, self.critiques, self.refinements)
            for count in drafts
        )
        return first, second

    @cached_property
    def _orders(self) -> tuple[Order, ...]:
        return answer_orders(self.orders, 2)

    def _stagings(
        self, plan: Plan, parties: Sequence[Any], manners: Sequence[Manner]
    ) -> tuple[Staging, ...]:
        """Return one staging for all orders, or one for each where the order makes a difference."""
        if plan.swappable:
            return (Staging(plan, parties, manners, self._orders),)
        return tuple(Staging(plan, parties, manners, (order,)) for order in self._orders)

    def _shared_roles(self, interactive: Interactive) -> tuple[Role, ...]:
        """Return the roles beside those who argue."""
        decides = "decides after every round" if self.judge_every_round else "decides at the end"
        uneven = self.overrun == "reask" or self._rates() or self.critiques > 0
        draws = self.orders != 1 or interactive != "none" or self.judge_every_round or uneven
        roles = [Role(JUDGE, decides, draws=draws)]
        if interactive != "none":
            about = "asks the speakers from round 2 on; without one the judge asks"
            roles.append(Role(QUESTIONER, about, optional=True, draws=True))
        if self._rates():
            about = "rates drafts, so that the best is heard; never the judge itself"
            roles.append(Role(RATER, about, draws=True))
        if self.critiques:
            about = "criticises drafts; without one the speaker does"
            roles.append(Role(CRITIC, about, optional=True, reads_passage=True, draws=True))
        return tuple(roles)

    def _rates(self) -> bool:
        return self.best_of not in (1, (1, 1)) or self.critiques > 1 or self.refinements > 1

    def _no_choice(self, replies: Sequence[Reply], question: Question) -> Outcome:
        """Conclude where a side was to be chosen and was not: nothing is drawn in its place."""
        fields: dict[str, Any] = {"tie_rule": self.tie, "failures": failure_counts(replies)}
        for reply in sorted(replies, key=lambda r: not (r.failure and r.failure.missing)):
            if reply.failure is not None:
                return failed_outcome(reply.failure.boundary, rule="choice", **fields)
        unread = sum(option_distribution(reply, question) is None for reply in replies)
        status: Literal["unparsed", "abstained"] = "unparsed" if unread else "abstained"
        return Outcome(status=status, rule="choice", unparsed=unread, **fields)

    def _concluded(
        self, question: Question, cases: Sequence[Case], stagings: Sequence[Staging]
    ) -> Outcome:
        """Return the outcome of a session whose stagings are over."""
        lost: list[Reply] = []
        replies: list[Reply] = []
        orders: list[Order] = []
        unparsed = 0
        missing: Boundary | None = None
        for staging in stagings:
            lost += staging.lost
            replies += staging.verdicts
            orders += staging.orders
            unparsed += staging.unparsed
            missing = missing or staging.missing
        rule = _rule(len(cases), len(self._orders))
        detail = _detail(cases, stagings)
        if missing is not None:
            return failed_outcome(
                missing,
                rule=rule,
                tie_rule=self.tie,
                unparsed=unparsed,
                failures=failure_counts([*lost, *replies]),
                detail=detail,
            )
        return judged_outcome(
            question,
            replies,
            read_orders(replies, question, orders),
            tie=self.tie,
            rule=rule,
            earlier_failures=lost,
            earlier_unparsed=unparsed,
            stagings=len(cases),
            detail=detail,
        )


def _rule(cases: int, orders: int) -> str:
    """Return the aggregation rule's name."""
    if cases > 1:
        return "mean_of_sides_and_orders" if orders > 1 else "mean_of_sides"
    return "mean_of_orders" if orders > 1 else "single"


def _detail(cases: Sequence[Case], stagings: Sequence[Staging]) -> dict[str, Any]:
    """Tell what happened; where there are several stagings, of each."""
    sides = []
    start = end = 0
    for case in cases:
        for staging in case.stagings:
            end += len(staging.orders)
        if case.side is not None:
            readings = list(range(start, end))
            entry = {"side": SIDES[case.side], "by": case.by, "readings": readings}
            sides.append({**entry, "chosen": True} if case.chosen else entry)
        start = end
    told: dict[str, Any] = {"sides": sides} if sides else {}
    if len(stagings) == 1:
        return {**told, **stagings[0].detail()}
    return {**told, "stagings": [staging.detail() for staging in stagings]}


def _choice_ask(plan: Plan, seat: Seat) -> Ask:
    """Return the ask by which one chooses the side that it will argue for."""
    question = plan.question
    passage = reads(plan, seat.role)
    read = (question.passage_part,) if passage else ()
    parts = (*read, question.text_part, question.options_part, plan.section("choice_task"))
    system = Message("system", (plan.section("choice_system", passage=passage),))
    messages = (system, Message("user", parts))
    return Ask(seat, messages, question.labels, question=question.id)


def _choice(reply: Reply, question: Question) -> int | None:
    """Return the side that a reply chooses; None where it chooses none."""
    stated = option_distribution(reply, question)
    return None if stated is None else argmax_distribution(stated)
