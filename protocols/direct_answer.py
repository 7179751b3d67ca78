"""Direct answer: one expert answers alone.

The bottom line of every oversight experiment, and with the passage its top line.

Schedule: ``J``, in one or several answer orders at once. Price: 1 ask; 2 with both orders, one for
every option with ``orders: rotate``.

Sources: arXiv 2402.06782 and 2407.04622. Departures: none known; other orders, reasons and
exemplars are offered as for a judge, since whoever favours the first position, or does better with
reasons or examples, does so here too. Exemplars are shown as the asset holds them, with their
transcripts, so that oversight and its baseline can be given the same ones.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from protocols.asks import Ask
from protocols.ballots import failure_counts
from protocols.cast import Cast
from protocols.chance import Rng
from protocols.contract import CallBound, Protocol, Role, Session
from protocols.errors import Mistake
from protocols.judging import (
    EXEMPLARS,
    SHOTS_TEMPLATE,
    JudgeTie,
    Orders,
    Reasoning,
    answer_orders,
    exemplar_parts,
    judge_rule,
    judged_outcome,
    read_orders,
    shown_in,
)
from protocols.messages import Part
from protocols.outcome import Outcome, failed_outcome
from protocols.parsing import Parsed, read_answer
from protocols.prompts import prompt
from protocols.question import Question
from protocols.replies import Reply
from protocols.solving import TEMPLATE, solver_messages

JUDGE = "judge"
BARE_TEMPLATE = "direct_answer"
"""The template file of the prompt that asks for an answer without reasons."""


class DirectAnswer(Protocol):
    """One expert answers; if wanted in both orders of two options, or in all rotations.

    A distribution over the options that comes with the reply is the reading; without one, the
    answer that was read counts as certain. What follows from the readings, and what a lost order
    means, is the same as for the judge of a debate (``judging.py``), so that the two compare.
    """

    kind: ClassVar[str] = "direct_answer"
    about: ClassVar[str] = "one expert answers alone"
    templates: ClassVar[tuple[str, ...]] = (TEMPLATE, BARE_TEMPLATE, SHOTS_TEMPLATE)

    passage: bool = False
    """Whether the judge reads the passage (where the cast lets it)."""
    orders: Orders = 1
    """2 asks a second time with the two options swapped and takes the mean; ``rotate`` asks once
    for every option, which then stands first."""
    tie: JudgeTie = "half"
    """What an even distribution is worth when it is scored."""
    judge_reasoning: Reasoning = "before"
    """Whether the judge gives reasons before its answer; prose is answered in its own form."""
    judge_shots: int = Field(0, ge=0)
    """How many exemplars of the asset ``judge_exemplars`` the judge reads first."""

    def roles(self) -> tuple[Role, ...]:
        """Return the one role: the judge."""
        about = "answers the question"
        return (Role(JUDGE, about, reads_passage=self.passage, draws=self.orders != 1),)

    def assets(self) -> tuple[str, ...]:
        """Return the asset of exemplars where the judge reads any."""
        return (EXEMPLARS,) if self.judge_shots else ()

    def check_question(self, question: Question) -> str | None:
        """Refuse both orders where there are not two options, and rotation where there is none."""
        if self.orders == "rotate" and not question.options:
            return (
                f"direct_answer with orders='rotate' needs options, and question {question.id!r} "
                "has none; set orders to 1"
            )
        if self.orders == 2 and len(question.options) != 2:
            return (
                f"direct_answer with orders=2 needs two options, and question {question.id!r} "
                f"has {len(question.options)}; pair the options or set orders to 1"
            )
        return None

    def calls(self, question: Question, cast: Cast) -> CallBound:
        """One ask for each order."""
        count = len(answer_orders(self.orders, len(question.options)))
        return CallBound(count, count)

    def session(self, question: Question, cast: Cast, rng: Rng) -> Session[Outcome]:
        """Ask the judge, in all orders at once.

        Raises:
            Mistake: the question does not fit (see :meth:`check_question`), or the exemplars.
        """
        why = self.check_question(question)
        if why is not None:
            raise Mistake(why)
        seat = cast.seat(JUDGE)
        passage = self.passage and cast.reads_passage(JUDGE)
        orders = answer_orders(self.orders, len(question.options))
        system, task = self._wording(question)
        exemplars = exemplar_parts(cast, self.judge_shots)
        messages = [
            solver_messages(
                shown_in(question, order),
                passage=passage,
                system=system,
                exemplars=exemplars,
                task=task,
            )
            for order in orders
        ]
        replies = yield tuple(
            [Ask(seat, said, options=question.labels, question=question.id) for said in messages]
        )
        if question.options:
            readings = read_orders(replies, question, orders)
            outcome = judged_outcome(question, replies, readings, tie=self.tie, detail={})
        else:
            outcome = self._of_answer(question, replies[0])
        return outcome.model_copy(update={"answered_by": seat.expert})

    def _wording(self, question: Question) -> tuple[Part | None, Part | None]:
        """Return the system part and the task, where they are not the plain solver's."""
        if self.judge_reasoning == "before" or question.kind == "prose":
            return None, None
        task = prompt(BARE_TEMPLATE, "task", kind=question.kind, labels=question.labels)
        return prompt(BARE_TEMPLATE, "system"), task

    def _of_answer(self, question: Question, reply: Reply) -> Outcome:
        """Conclude from the one reply to a question without options."""
        rule = judge_rule(1)
        if reply.failure is not None:
            return failed_outcome(
                reply.failure.boundary,
                rule=rule,
                tie_rule=self.tie,
                failures=failure_counts([reply]),
            )
        reading = read_answer(reply, question)
        if not isinstance(reading, Parsed):
            return Outcome(status="unparsed", rule=rule, tie_rule=self.tie, unparsed=1)
        return Outcome(status="answered", answer=reading.value, rule=rule, tie_rule=self.tie)
