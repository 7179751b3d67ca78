"""Made-up workloads for the simulator: sessions of several kinds of protocol, seeded.

Sixteen experts, of which some are asked more than others: the k-th with weight ``1 / sqrt(k)``. A
session draws its experts without replacement, and the lengths of replies are log-normal.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist

from orchestrator.simulator.world import Call, Trace
from protocols.asks import Model, Seat
from protocols.chance import Rng

EXPERTS = 16
"""How many experts the workloads share."""
_NORMAL = NormalDist()
_STAGES = 3
_SPEECHES = 5
_CRITIQUES = 3


@dataclass(frozen=True, slots=True)
class Draws:
    """How long replies are: log-normal, with `spread` the deviation of the logarithm."""

    mean: float = 400.0
    spread: float = 0.57

    def tokens(self, rng: Rng) -> int:
        """Draw the length of a reply, in tokens."""
        normal = _NORMAL.inv_cdf(min(max(rng.random(), 1e-12), 1.0 - 1e-12))
        location = math.log(self.mean) - self.spread**2 / 2
        return max(1, round(math.exp(location + self.spread * normal)))


@lru_cache(maxsize=4096)
def seat(role: str, expert: str) -> Seat:
    """Return the shared seat of an expert in a role."""
    return Seat(role, role, expert, Model(f"simulated/{expert}"))


def labels(count: int = EXPERTS) -> tuple[str, ...]:
    """Return the experts of the workloads."""
    return tuple([f"expert_{number:02}" for number in range(count)])


class _Session:
    """What one session draws."""

    def __init__(self, rng: Rng, experts: tuple[str, ...], draws: Draws) -> None:
        self.rng = rng
        self.experts = experts
        self.draws = draws

    def some(self, count: int) -> list[str]:
        """Draw experts without replacement, the first ones more often."""
        left = list(self.experts)
        weights = [1.0 / math.sqrt(k + 1) for k in range(len(left))]
        drawn = []
        for _ in range(min(count, len(left))):
            index = self.rng.weighted(weights)
            weights.pop(index)
            drawn.append(left.pop(index))
        return drawn

    def turn(self, role: str, *experts: str) -> tuple[Call, ...]:
        """Ask some experts at once."""
        return tuple([Call(seat(role, e), self.draws.tokens(self.rng)) for e in experts])


def _symbolic_moe(session: _Session) -> tuple[tuple[Call, ...], ...]:
    """Three experts answer and the most popular one sums up: 4 asks in 2 turns."""
    solvers = session.turn("solver", *session.some(3))
    return (solvers, session.turn("aggregator", session.experts[0]))


def _debate(session: _Session) -> tuple[tuple[Call, ...], ...]:
    """Three experts answer in three rounds, without a judge: 9 asks in 3 turns."""
    experts = session.some(3)
    return tuple([session.turn("debater", *experts) for _ in range(_STAGES)])


def _judged_debate(session: _Session) -> tuple[tuple[Call, ...], ...]:
    """Two experts speak five times and a third judges: 11 asks in 6 turns."""
    one, other, judge = session.some(3)
    speeches = [session.turn("debater", one, other) for _ in range(_SPEECHES)]
    return (*speeches, session.turn("judge", judge))


def _review(session: _Session) -> tuple[tuple[Call, ...], ...]:
    """An expert writes and another criticises, three times: 6 asks in 6 turns."""
    author, critic = session.some(2)
    pairs = [
        (session.turn("author", author), session.turn("critic", critic)) for _ in range(_CRITIQUES)
    ]
    return tuple([turn for pair in pairs for turn in pair])


Kind = Callable[[_Session], tuple[tuple[Call, ...], ...]]

WORKLOADS: Mapping[str, tuple[Kind, ...]] = {
    "symbolic_moe": (_symbolic_moe,),
    "debate": (_debate,),
    "mixed": (_symbolic_moe, _debate, _judged_debate, _review),
}
"""By name: the kinds of session, in equal shares."""


def workload(
    name: str,
    sessions: int,
    *,
    experts: int = EXPERTS,
    draws: Draws = Draws(),
    seed: int = 0,
) -> list[Trace]:
    """Return the sessions of a workload, all there at the start.

    Args:
        name: one of WORKLOADS.
        sessions: how many.
        experts: how many there are to draw from, at least three.
        draws: the lengths of replies.
        seed: equal seeds give equal sessions, and the first ones of a longer workload.
    """
    kinds = WORKLOADS[name]
    names = labels(experts)
    traces = []
    for number in range(sessions):
        session = _Session(Rng("workload", name, seed, number), names, draws)
        traces.append(Trace(kinds[number % len(kinds)](session), question=f"q{number}"))
    return traces
