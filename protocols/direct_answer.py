"""Direct answer: one expert answers alone.

The bottom line of every oversight experiment, and with the passage its top line (arXiv 2402.06782,
2407.04622).
"""

from __future__ import annotations

from typing import ClassVar

from protocols.asks import Ask
from protocols.ballots import failure_counts
from protocols.cast import Cast
from protocols.chance import Rng
from protocols.contract import CallBound, Protocol, Role, Session
from protocols.errors import Mistake
from protocols.judging import JudgeTie, Orders, judge_rule, judged_outcome
from protocols.outcome import Outcome, failed_outcome
from protocols.parsing import Parsed, read_answer
from protocols.question import Question
from protocols.replies import Reply
from protocols.solving import TEMPLATE, reordered, solver_messages

JUDGE = "judge"


class DirectAnswer(Protocol):
    """One expert answers; on two options, if wanted, in both orders.

    A distribution over the options that comes with the reply is the reading; without one, the
    answer that was read counts as certain. What follows from the readings, and what a lost order
    means, is the same as for the judge of a debate (``judging.py``), so that the two compare.
    """

    kind: ClassVar[str] = "direct_answer"
    about: ClassVar[str] = "one expert answers alone"
    templates: ClassVar[tuple[str, ...]] = (TEMPLATE,)

    passage: bool = False
    """Whether the judge reads the passage (where the cast lets it)."""
    orders: Orders = 1
    """2 asks a second time with the two options swapped and takes the mean."""
    tie: JudgeTie = "half"
    """What an even distribution is worth when it is scored."""

    def roles(self) -> tuple[Role, ...]:
        """Return the one role: the judge."""
        about = "answers the question"
        return (Role(JUDGE, about, reads_passage=self.passage, draws=self.orders == 2),)

    def check_question(self, question: Question) -> str | None:
        """Refuse both orders where there are not two options."""
        if self.orders == 2 and len(question.options) != 2:
            return (
                f"direct_answer with orders=2 needs two options, and question {question.id!r} "
                f"has {len(question.options)}; pair the options or set orders to 1"
            )
        return None

    def calls(self, question: Question, cast: Cast) -> CallBound:
        """One ask for each order."""
        return CallBound(self.orders, self.orders)

    def session(self, question: Question, cast: Cast, rng: Rng) -> Session[Outcome]:
        """Ask the judge, in all orders at once.

        Raises:
            Mistake: the question does not fit; see :meth:`check_question`.
        """
        why = self.check_question(question)
        if why is not None:
            raise Mistake(why)
        seat = cast.seat(JUDGE)
        passage = self.passage and cast.reads_passage(JUDGE)
        shown = [question]
        if self.orders == 2:
            shown.append(reordered(question, (1, 0)))
        replies = yield tuple(
            Ask(seat, solver_messages(q, passage=passage), options=q.labels, question=q.id)
            for q in shown
        )
        if question.options:
            outcome = judged_outcome(question, replies, tie=self.tie, detail={})
        else:
            outcome = self._of_answer(question, replies[0])
        return outcome.model_copy(update={"answered_by": seat.expert})

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
