"""NYU debate and NYU consultancy: a judge who states beliefs, comments, and ends it.

Schedule of the debate: ``J prior, {A,B}, J, (A>B, J)*``; of the consultancy: ``J prior, (C, J)*``.
The structure is data (``nyu_rules.py``): any opening, repeated part and closing of judge rounds,
speeches and votes on ending it. It ends when the judge ends it after a speech, when all parties
vote to end it, or at the cap.

Who sees what. Debaters and consultants: passage, their letter, closed rounds, the judge's beliefs
and comments, and as the second speaker of a sequential round the first one's speech. Judge:
question, options, closed rounds with every quotation marked, its own earlier beliefs. There is
one answer order: beliefs are about letters, and everybody reads them.

Beliefs are clamped to [0.01, 0.99]. The outcome is the judge's last belief; t, how often it
continued, stands in the detail as ``continues``, and the scores are functions of both
(``nyu_rules.judge_score``), computed when the key is joined. A session without a live judge ends
with its transcript, abstained: offline judges read it (``offline_judge.py``).

Quorum. As in ``staging.py``; a judge whose data is missing ends the session. A belief that cannot
be read is no belief and counts as unparsed; a decision that cannot be read does not end anything,
nor does a vote. What the judge's last reply holds is what counts: an earlier belief never stands
in for it.

Price: ``3t + 1`` for the debate and ``2t + 1`` for the consultancy, where t, at least 1, is at
most ``max_rounds``; a speech that is drafted, re-asked or refined counts with all its asks.

Source: Michael et al. 2311.08702 and its public code. Departures: a cap, as models do not tire
(ours: 8 rounds); the length of a speech is cut or re-asked instead of held by a form; votes on
ending are cast at once. There is no parameter for other answer orders, exemplars or the judge's
reasons, as the source's rules have none: the judge states beliefs about letters in a running
conversation, so another order would be another conversation, with other beliefs and another end;
its reasons are the comments that everybody reads; it is shown no settled cases.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Self

from pydantic import Field, PositiveInt, model_validator

from protocols.ballots import failure_counts
from protocols.cast import Cast
from protocols.chance import Rng
from protocols.compose import together
from protocols.consultancy import consultant_sides
from protocols.contract import CallBound, Protocol, Role, Session
from protocols.debate import debater_count, first_experts, pair_of_seats
from protocols.errors import Mistake
from protocols.judging import JudgeTie, judged_outcome
from protocols.nyu_rules import (
    CONSULTANCY_RULES,
    CONSULTANT_FACTOR,
    DEBATE_RULES,
    NyuRules,
)
from protocols.nyu_staging import TEMPLATE, NyuStaging
from protocols.outcome import Outcome, failed_outcome
from protocols.oversight import Sides
from protocols.question import Question
from protocols.quotes import FUZZY_THRESHOLD, QuoteMode
from protocols.speaking import TEMPLATE as SPEAKING
from protocols.speaking import Manner
from protocols.speeches import Overrun, SpeechRules
from protocols.staging import CRITIC, JUDGE, RATER, Plan, party
from protocols.transcript import SIDES, Party, Words

RULE = "last_belief"


class Nyu(Protocol):
    """What the debate and the consultancy share."""

    templates: ClassVar[tuple[str, ...]] = (TEMPLATE, SPEAKING)
    parties: ClassVar[int]
    """How many argue."""
    role: ClassVar[str]
    """The role of those who argue."""

    rules: NyuRules
    """The structure, the limits of a debater's speech, and the cost of continuing."""
    max_rounds: int = Field(8, ge=1)
    """The cap: the most rounds of speeches."""
    min_rounds: int = Field(1, ge=1)
    """The judge cannot end it before so many rounds of speeches."""
    tie: JudgeTie = "wrong"
    """How an even belief is scored."""
    words: int = Field(100, ge=1)
    """The length that is asked for where a speech is refined."""
    overrun: Overrun = "cut"
    """What becomes of a speech beyond the rules' limit: ``cut``, ``reask`` or ``accept``."""
    quotes: QuoteMode = "strict"
    """How quotations are compared with the passage."""
    fuzzy_threshold: float = Field(FUZZY_THRESHOLD, ge=0.0, le=100.0)
    """The least similarity of a fuzzy quotation, 0 to 100."""
    best_of: PositiveInt | tuple[PositiveInt, PositiveInt] = 1
    """Drafts of every speech, of which the best-rated is heard; a pair gives the number for the
    first and the second expert that is cast."""
    critiques: int = Field(0, ge=0)
    """Critiques of the best draft."""
    refinements: int = Field(0, ge=0)
    """Refinements by the best critique, of which the best-rated is heard."""
    sides: Sides = "random"
    """Who argues for what: drawn; both (each in a session part of its own, at twice the price); or
    A or B for the expert that is cast first. With one debater it changes nothing."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if (self.critiques > 0) != (self.refinements > 0):
            raise ValueError("critiques and refinements need each other: set both, or neither")
        return self

    def roles(self) -> tuple[Role, ...]:
        """Return the roles that rules and parameters need."""
        about = "argues for the option assigned to it and answers the judge"
        many = self.parties == 2
        roles = [Role(self.role, about, many=many, reads_passage=True, draws=True)]
        if "judge" in (*self.rules.opening, *self.rules.repeat, *self.rules.closing):
            roles.append(Role(JUDGE, "states beliefs, comments and ends the session", draws=True))
        if self.best_of not in (1, (1, 1)) or self.critiques > 1 or self.refinements > 1:
            roles.append(Role(RATER, "rates drafts, so that the best is heard", draws=True))
        if self.critiques:
            about = "criticises drafts; without one the speaker does"
            roles.append(Role(CRITIC, about, optional=True, reads_passage=True, draws=True))
        return tuple(roles)

    def check_question(self, question: Question) -> str | None:
        """Say why a question does not fit: it needs exactly two options."""
        if len(question.options) == 2:
            return None
        return (
            f"an NYU session needs two options, question {question.id!r} has "
            f"{len(question.options)}; set 'pair:' in the workflow to make a pair of each question"
        )

    def calls(self, question: Question, cast: Cast) -> CallBound:
        """Return the bound. The fewest: data that is missing in the first turn ends a session."""
        kinds = (*self.rules.schedule(self.max_rounds), *self.rules.closing)
        first = most = 0
        for experts in self._speakers(cast):
            manners = [self._manner(expert) for expert in experts]
            spoken = sum(manner.most for manner in manners)
            price = {"judge": 1, "negotiate_end": self.parties}
            most += sum(price.get(kind, spoken) for kind in kinds)
            opens = manners[:1] if kinds[0] == "sequential" else manners
            first += price.get(kinds[0], sum(manner.drafts for manner in opens))
        return CallBound(first, most)

    def session(self, question: Question, cast: Cast, rng: Rng) -> Session[Outcome]:
        """Run a session.

        Raises:
            Mistake: question or cast do not fit.
        """
        why = self.check_question(question)
        if why is not None:
            raise Mistake(why)
        rules = self._speech_rules()
        plan = Plan(Words(TEMPLATE, self.role), question, cast, self.max_rounds, rules)
        stagings = self._stagings(plan, rng)
        if len(stagings) == 1:
            yield from stagings[0].run()
        else:
            yield from together(*[staging.run() for staging in stagings])
        return self._concluded(question, stagings)

    @abstractmethod
    def _speakers(self, cast: Cast) -> tuple[tuple[int, ...], ...]:
        """Return, for each staging, which of the cast's experts argue in it, A before B."""

    @abstractmethod
    def _stagings(self, plan: Plan, rng: Rng) -> tuple[NyuStaging, ...]:
        """Return the stagings of a session."""

    def _staging(
        self, plan: Plan, parties: Sequence[Party], manners: Sequence[Manner], side: int
    ) -> NyuStaging:
        return NyuStaging(plan, self.rules, parties, manners, min_rounds=self.min_rounds, side=side)

    def _speech_rules(self) -> SpeechRules:
        factor = 1 if self.parties == 2 else CONSULTANT_FACTOR
        most, quoted = (
            None if limit is None else limit * factor
            for limit in (self.rules.max_characters, self.rules.max_quoted)
        )
        return SpeechRules(most, self.quotes, self.fuzzy_threshold, self.overrun, quoted)

    def _manner(self, expert: int) -> Manner:
        drafts = self.best_of if isinstance(self.best_of, int) else self.best_of[expert]
        return Manner(self._speech_rules(), self.words, drafts, self.critiques, self.refinements)

    def _concluded(self, question: Question, stagings: Sequence[NyuStaging]) -> Outcome:
        """Return the outcome: the judge's last beliefs, one for each staging."""
        lost = [reply for staging in stagings for reply in staging.lost]
        unparsed = sum(staging.unparsed for staging in stagings)
        detail = self._detail(stagings)
        verdicts = [staging.verdict for staging in stagings]
        given = [reply for reply in verdicts if reply is not None]
        missing = [staging.missing for staging in stagings if staging.missing is not None]
        fields: dict[str, Any] = {
            "rule": RULE,
            "tie_rule": self.tie,
            "unparsed": unparsed,
            "failures": failure_counts([*lost, *(reply for reply in given if reply.failed)]),
            "detail": detail,
        }
        if missing:
            return failed_outcome(missing[0], **fields)
        if not given:
            return Outcome(status="abstained", **fields)
        return judged_outcome(
            question,
            given,
            [staging.reading for staging in stagings if staging.verdict is not None],
            tie=self.tie,
            rule=RULE,
            earlier_failures=lost,
            earlier_unparsed=unparsed,
            stagings=len(stagings),
            stated="stated",
            detail=detail,
        )

    def _detail(self, stagings: Sequence[NyuStaging]) -> dict[str, Any]:
        """Tell what happened in each staging and, where sides matter, which reading is whose."""
        told: dict[str, Any] = {}
        if self.parties == 1 or len(stagings) > 1:
            told["sides"] = [
                {"side": SIDES[staging.side], "by": staging.by, "readings": [place]}
                for place, staging in enumerate(stagings)
            ]
        if len(stagings) == 1:
            return {**told, **stagings[0].detail()}
        return {**told, "stagings": [staging.detail() for staging in stagings]}


class NyuDebate(Nyu):
    """Two debaters and a judge who states beliefs, comments, and ends it.

    Price: ``3t + 1``, where t, how often the judge continued, is at least 1 and at most
    ``max_rounds``.
    """

    kind: ClassVar[str] = "nyu_debate"
    about: ClassVar[str] = "A debate in which the judge states beliefs, comments, and ends it."
    parties: ClassVar[int] = 2
    role: ClassVar[str] = "debater"

    rules: NyuRules = DEBATE_RULES

    def _speakers(self, cast: Cast) -> tuple[tuple[int, ...], ...]:
        count = debater_count(cast, self.role)
        pair = (0, count - 1)
        return (pair, pair[::-1]) if self.sides == "both" and count == 2 else (pair,)

    def _stagings(self, plan: Plan, rng: Rng) -> tuple[NyuStaging, ...]:
        count = debater_count(plan.cast, self.role)
        stagings = []
        for number, first in enumerate(first_experts(self.sides, count, rng)):
            experts = (first, count - 1 - first)
            suffix = f"_{number + 1}" if number else ""
            seats = pair_of_seats(plan.cast, self.role, experts, suffix)
            parties = [party(plan, side, seat) for side, seat in enumerate(seats)]
            manners = [self._manner(expert) for expert in experts]
            side = 0 if first == 0 else 1
            stagings.append(
                NyuStaging(
                    plan, self.rules, parties, manners, min_rounds=self.min_rounds, side=side
                )
            )
        return tuple(stagings)


class NyuConsultancy(Nyu):
    """One consultant and a judge who states beliefs, comments, and ends it.

    Price: ``2t + 1``, where t, how often the judge continued, is at least 1 and at most
    ``max_rounds``.
    """

    kind: ClassVar[str] = "nyu_consultancy"
    about: ClassVar[str] = "A consultancy in which the judge states beliefs and ends it."
    parties: ClassVar[int] = 1
    role: ClassVar[str] = "consultant"

    rules: NyuRules = CONSULTANCY_RULES

    def _speakers(self, cast: Cast) -> tuple[tuple[int, ...], ...]:
        return ((0,), (0,)) if self.sides == "both" else ((0,),)

    def _stagings(self, plan: Plan, rng: Rng) -> tuple[NyuStaging, ...]:
        stagings = []
        for side in consultant_sides(self.sides, rng):
            seat = plan.cast.seat(self.role, name=f"{self.role}_{SIDES[side].lower()}")
            parties = [party(plan, side, seat)]
            stagings.append(
                NyuStaging(
                    plan,
                    self.rules,
                    parties,
                    [self._manner(0)],
                    min_rounds=self.min_rounds,
                    side=side,
                )
            )
        return tuple(stagings)
