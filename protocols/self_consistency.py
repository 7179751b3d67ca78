"""Self-consistency: one expert draws several answers and the most frequent one counts.

The cheapest strong baseline of every deliberation.

Schedule: ``{1..n}``, all of one expert. Price: n asks.

Source: arXiv 2203.11171. Departure: options may be shuffled for every draw, which the source does
not do, as models favour positions.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from protocols.asks import Sampling
from protocols.ballots import Vote, tally, vote_outcome
from protocols.cast import Cast
from protocols.chance import Rng
from protocols.contract import CallBound, Protocol, Role, Session
from protocols.outcome import Outcome
from protocols.parsing import Parsed, Reading, Unparsed, read_answer
from protocols.question import Question
from protocols.solving import TEMPLATE, reordered, solver_asks

SOLVER = "solver"


class SelfConsistency(Protocol):
    """Plurality over n draws of one expert, all in one turn. Any readable draw is a quorum.

    A tie goes to the tied answer that was drawn first (slot order).
    """

    kind: ClassVar[str] = "self_consistency"
    about: ClassVar[str] = "one expert draws several answers; the most frequent one counts"
    templates: ClassVar[tuple[str, ...]] = (TEMPLATE,)

    n: int = Field(default=5, ge=1)
    """Draws."""
    temperature: float | None = Field(default=0.7, ge=0.0)
    """Temperature of the draws; null leaves the expert's own."""
    shuffle_options: bool = False
    """Whether every draw sees the options in an order of its own."""

    def roles(self) -> tuple[Role, ...]:
        """Return the one role: the solver."""
        return (Role(SOLVER, "answers the question n times", reads_passage=True, draws=True),)

    def calls(self, question: Question, cast: Cast) -> CallBound:
        """One ask for each draw."""
        return CallBound(self.n, self.n)

    def session(self, question: Question, cast: Cast, rng: Rng) -> Session[Outcome]:
        """Draw n answers and count them."""
        seat = cast.seat(SOLVER, sampling=Sampling(temperature=self.temperature))
        orders = [self._order(question, rng) for _ in range(self.n)]
        if self.shuffle_options and question.options:
            shown = [reordered(question, order) for order in orders]
            replies = yield tuple([solver_asks(one, cast, (seat,))[0] for one in shown])
        else:
            replies = yield solver_asks(question, cast, (seat,) * self.n)
        readings = [
            _mapped_back(read_answer(reply, question), question, order)
            for reply, order in zip(replies, orders, strict=True)
        ]
        ballot = tally(
            Vote(reading.value, voter=seat.expert, slot=slot)
            for slot, reading in enumerate(readings)
            if isinstance(reading, Parsed)
        )
        answers = [r.value if isinstance(r, Parsed) else None for r in readings]
        return vote_outcome(
            replies,
            readings,
            ballot,
            rule="plurality",
            answered_by=seat.expert if self.n == 1 else None,
            detail={"answers": list(answers)},
        )

    def _order(self, question: Question, rng: Rng) -> list[int]:
        """Return the order of the options in one draw; empty for the question's own."""
        if not self.shuffle_options:
            return []
        return rng.shuffled(range(len(question.options)))


def _mapped_back(reading: Reading, question: Question, order: list[int]) -> Parsed | Unparsed:
    """Return an answer to a reordered question as an answer to the question."""
    if not order or isinstance(reading, Unparsed):
        return reading
    return Parsed(question.labels[order[question.labels.index(reading.value)]])
