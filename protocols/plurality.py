"""Plurality: several experts answer once each and the most frequent answer counts.

The baseline that a deliberation has to beat (often it does not).

Schedule: ``{1..n}``. Price: n asks, one for each expert.

Source: the common baseline, for example in arXiv 2311.08152. Departures: none; ties are broken by
a stated rule.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar

from pydantic import JsonValue

from protocols.asks import Seat
from protocols.ballots import Vote, tally, vote_outcome
from protocols.cast import Cast
from protocols.chance import Rng
from protocols.contract import CallBound, Protocol, Role, Session
from protocols.outcome import Outcome
from protocols.parsing import Parsed, Reading, read_answer
from protocols.profile import cast_profile
from protocols.question import Question
from protocols.replies import Reply
from protocols.solving import TEMPLATE, solver_asks

SOLVER = "solver"


class Plurality(Protocol):
    """Every expert of the pool answers once, all in one turn; any readable answer is a quorum.

    A tie goes to the tied answer of the expert best on the profile, where the cast holds one as
    its asset ``profile``, else to the tied answer that comes first in slot order.
    """

    kind: ClassVar[str] = "plurality"
    about: ClassVar[str] = "several experts answer once each; the most frequent answer counts"
    templates: ClassVar[tuple[str, ...]] = (TEMPLATE,)

    def roles(self) -> tuple[Role, ...]:
        """Return the one role: the solvers."""
        return (Role(SOLVER, "answers the question", many=True, reads_passage=True),)

    def calls(self, question: Question, cast: Cast) -> CallBound:
        """One ask for each expert."""
        experts = len(cast.role(SOLVER))
        return CallBound(experts, experts)

    def session(self, question: Question, cast: Cast, rng: Rng) -> Session[Outcome]:
        """Ask every expert and count the answers."""
        profile = cast_profile(cast.assets)
        seats = tuple(cast.seat(SOLVER, i) for i in range(len(cast.role(SOLVER))))
        replies = yield solver_asks(question, cast, seats)
        readings = [read_answer(reply, question) for reply in replies]
        ballot = tally(
            (
                Vote(reading.value, voter=seats[slot].expert, slot=slot)
                for slot, reading in enumerate(readings)
                if isinstance(reading, Parsed)
            ),
            precedence=None if profile is None else profile.ranking(),
        )
        return vote_outcome(
            replies,
            readings,
            ballot,
            rule="plurality",
            answered_by=seats[0].expert if len(seats) == 1 else None,
            detail={"answers": answers_by_expert(seats, replies, readings)},
        )


def answers_by_expert(
    seats: Sequence[Seat], replies: Sequence[Reply], readings: Iterable[Reading]
) -> dict[str, JsonValue]:
    """Return what each expert answered: None where nothing could be read, absent where missing.

    An expert that sits twice has its later places under their seats' names.
    """
    answers: dict[str, JsonValue] = {}
    for seat, reply, reading in zip(seats, replies, readings, strict=True):
        if reply.failure is not None and reply.failure.missing:
            continue
        name = seat.name if seat.expert in answers else seat.expert
        answers[name] = reading.value if isinstance(reading, Parsed) else None
    return answers
