"""Mixture of agents: layers of proposals, each written with the layer before in view.

Schedule: ``{1..n}, ({1..n})*, Z``: proposers in every layer but the last, which is the aggregator.
Price with L layers: n(L-1) + 1 asks; n where nobody said anything in the first layer.

Who sees what. First layer: the question alone, as in every deliberation. Every later proposer, and
the aggregator: the question and all proposals of the layer before, its own among them, numbered,
not named. What is written in a layer is hidden until the layer is over.

Quorum: see ``deliberation.py``; any content of a layer is one. Who fails by its own doing in a
layer has no proposal there; whose data is missing keeps the proposal it had before. The
aggregator's answer decides and nothing stands in for it; the vote of the last proposals is told
beside it (``vote``).

Source: arXiv 2406.04692 (6 proposers and 3 layers, the last of which is one aggregator).
Departures: proposals are quoted; every layer has the same proposers.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from protocols.aggregators import AGGREGATE_TEMPLATE, AGGREGATOR, Solution, aggregator_ask
from protocols.asks import Seat
from protocols.cast import Cast
from protocols.chance import Rng
from protocols.compose import ask_one
from protocols.contract import CallBound, Protocol, Role, Session, Turn
from protocols.deliberation import SOLVER, Deliberation, solver_count, solver_seats
from protocols.outcome import Outcome
from protocols.question import Question
from protocols.solving import TEMPLATE


class MixtureOfAgents(Protocol):
    """Proposers write in layers, each reading the layer before; an aggregator has the last word."""

    kind: ClassVar[str] = "mixture_of_agents"
    about: ClassVar[str] = "layers of proposals, each reading the one before; an aggregator ends"
    templates: ClassVar[tuple[str, ...]] = (TEMPLATE, AGGREGATE_TEMPLATE)

    agents: int | None = Field(None, ge=1)
    """Proposers where one expert fills all seats. Null: one seat for each expert that is cast."""
    layers: int = Field(3, ge=2)
    """L, the layers, the aggregator's among them."""

    def roles(self) -> tuple[Role, ...]:
        """Return the proposers and the aggregator."""
        again = self.layers > 2
        return (
            Role(SOLVER, "proposes in every layer", many=True, reads_passage=True, draws=again),
            Role(
                AGGREGATOR, "reads the last proposals and answers", reads_passage=True, draws=True
            ),
        )

    def calls(self, question: Question, cast: Cast) -> CallBound:
        """From a silent first layer to all layers."""
        n = solver_count(cast, self.agents)
        return CallBound(n, n * (self.layers - 1) + 1)

    def session(self, question: Question, cast: Cast, rng: Rng) -> Session[Outcome]:
        """Propose layer by layer, then aggregate."""
        talk = Deliberation(question, cast, solver_seats(cast, self.agents))
        ballot = talk.take((yield talk.asks()))
        for _ in range(self.layers - 2):
            if talk.silent:
                break
            ballot = talk.take((yield _layer(talk, cast, talk.seats)))
        if talk.silent:
            return talk.decided(ballot, None, rule="aggregator")
        (ask,) = _layer(talk, cast, (cast.seat(AGGREGATOR),))
        final = yield from ask_one(ask)
        return talk.decided(ballot, final, rule="aggregator")


def _layer(talk: Deliberation, cast: Cast, seats: tuple[Seat, ...]) -> Turn:
    """Return the asks that show `seats` the proposals that stand."""
    shown = [
        Solution(stand.reply)
        for place, stand in enumerate(talk.stands)
        if stand is not None and talk.said(place) is not None
    ]
    return tuple([aggregator_ask(talk.question, cast, shown, seat=seat) for seat in seats])
