"""Simulated providers: hosted experts behind their rate limits."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterable

from agents.engine import Attempted, Throttled
from orchestrator.fleets.fleet import Action, Dispatch, FleetEvent, Results
from orchestrator.simulator.machines import HostedExpert, Machine, answer

_ALMOST = 1e-9
"""Of a request: what rounding may add up to."""


class Endpoint(Machine):
    """A hosted expert: as many requests at once as it takes, within its rates."""

    def __init__(self, name: str, expert: str, figures: HostedExpert) -> None:
        super().__init__(name)
        self.expert = expert
        self.figures = figures
        self.throttled = 0
        """Requests that were turned away."""
        self._ends: list[tuple[float, int, int, int, Attempted]] = []
        self._count = 0
        self._waiting: deque[tuple[int, int, int]] = deque()
        self._open = 0
        self._requests = _Bucket(figures.requests_per_minute, figures.burst_s)
        self._tokens = _Bucket(figures.tokens_per_minute, figures.burst_s)

    def next_at(self) -> float | None:
        """Return the end of the request that ends first."""
        return self._ends[0][0] if self._ends else None

    def advance(self, now: float) -> list[FleetEvent]:
        """Return what ends at `now`; what waits for a place takes it."""
        events: list[FleetEvent] = []
        while self._ends and self._ends[0][0] <= now:
            _, _, batch, index, result = heapq.heappop(self._ends)
            self._open -= not isinstance(result, Throttled)
            events.append(Results(batch, ((index, result),)))
        self._take(now)
        return events

    def perform(self, action: Action, tokens: Iterable[int], now: float) -> None:
        """Begin a dispatch; there is nothing to load or unload."""
        if isinstance(action, Dispatch):
            self._waiting.extend((action.batch, i, length) for i, length in enumerate(tokens))
            self._take(now)

    def _take(self, now: float) -> None:
        while self._waiting and self._open < self.figures.concurrency:
            batch, index, tokens = self._waiting.popleft()
            wait = max(self._requests.wait(now), self._tokens.wait(now))
            self._count += 1
            if wait > 0.0:
                self.throttled += 1
                entry = (now, self._count, batch, index, Throttled(wait))
                heapq.heappush(self._ends, entry)
                continue
            self._requests.take(1.0)
            self._tokens.take(float(tokens))
            self._open += 1
            ends = now + self.figures.latency_s + self.figures.token_s * tokens
            heapq.heappush(self._ends, (ends, self._count, batch, index, answer(tokens)))


class _Bucket:
    """A token bucket that may be overdrawn once; full at the start."""

    def __init__(self, per_minute: float | None, burst_s: float) -> None:
        self.rate = None if per_minute is None else per_minute / 60.0
        self.most = max((self.rate or 0.0) * burst_s, 1.0)
        self.level = self.most
        self.at = 0.0

    def wait(self, now: float) -> float:
        """Return the seconds until something may be taken; 0: now."""
        if self.rate is None:
            return 0.0
        self.level = min(self.most, self.level + (now - self.at) * self.rate)
        self.at = now
        return 0.0 if self.level >= 1.0 - _ALMOST else (1.0 - self.level) / self.rate

    def take(self, amount: float) -> None:
        """Take what may leave a debt."""
        if self.rate is not None:
            self.level -= amount
