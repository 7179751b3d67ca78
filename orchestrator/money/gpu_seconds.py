"""The GPU time of attempts: what runs on a worker together shares its GPUs evenly.

Theory (processor sharing). Let k(t) attempts of an expert run on a worker at time t. Each of them
takes gpus / k(t) GPU seconds a second, so one that runs from s to e takes V(e) - V(s), where V is
the integral of gpus / k over the time in which k > 0. A batch needs to remember V(s) alone.
Loading and idle times are nobody's.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from agents.roster import Expert, Price
from orchestrator.fleets.fleet import Dispatch

Place = tuple[str, str]


@dataclass(slots=True)
class _Clock:
    """V of one expert on one worker."""

    gpus: int
    running: int = 0
    value: float = 0.0
    at: float = 0.0

    def advance(self, now: float) -> float:
        if self.running:
            self.value += (now - self.at) * self.gpus / self.running
        self.at = now
        return self.value


class GpuSeconds:
    """Prices attempts of the experts that are paid by the GPU second; ignores all others."""

    def __init__(self, experts: Iterable[Expert]) -> None:
        self._experts = {
            one.label: (one.gpus, one.price.gpu_second)
            for one in experts
            if isinstance(one.price, Price) and one.price.gpu_second
        }
        self._clocks: dict[Place, _Clock] = {}
        self._batches: dict[int, tuple[Place, float]] = {}
        """The place of a batch, and V when it began."""
        self._highest: dict[str, float] = {}

    def expected(self, expert: str) -> float:
        """Return what to reserve for an attempt, in US dollars: the most that one took so far.

        Before the first one is over, a second of all the expert's GPUs.
        """
        found = self._experts.get(expert)
        if found is None:
            return 0.0
        return self._highest.get(expert, found[0] * found[1])

    def start(self, action: Dispatch, now: float) -> None:
        """Take note of a batch that begins."""
        found = self._experts.get(action.expert)
        if found is None:
            return
        place = action.worker, action.expert
        clock = self._clocks.setdefault(place, _Clock(found[0]))
        self._batches[action.batch] = place, clock.advance(now)
        clock.running += len(action.asks)

    def price(self, batch: int, now: float) -> float:
        """Return the US dollars of each attempt of a batch that ends now; 0 where it is free."""
        found = self._batches.get(batch)
        if found is None:
            return 0.0
        place, began = found
        expert = place[1]
        dollars = (self._clocks[place].advance(now) - began) * self._experts[expert][1]
        self._highest[expert] = max(self._highest.get(expert, 0.0), dollars)
        return dollars

    def end(self, batch: int, count: int, *, over: bool) -> None:
        """Take note that so many attempts of a batch are over; `over`: the last ones."""
        found = self._batches.get(batch)
        if found is not None:
            self._clocks[found[0]].running -= count
            if over:
                del self._batches[batch]

    def lose(self, worker: str) -> None:
        """Forget a lost worker."""
        self._batches = {n: one for n, one in self._batches.items() if one[0][0] != worker}
        self._clocks = {place: one for place, one in self._clocks.items() if place[0] != worker}
