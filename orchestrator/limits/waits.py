"""Asks that are to be made again after a while."""

from __future__ import annotations

import heapq

from orchestrator.live import Pending


class Waits:
    """Asks by the time at which they are due (seconds, monotonic)."""

    __slots__ = ("_heap",)

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Pending]] = []

    def put(self, at: float, pending: Pending) -> None:
        """Let an ask wait until a time."""
        heapq.heappush(self._heap, (at, id(pending), pending))

    def take(self, now: float) -> list[Pending]:
        """Return those whose wait is over, in the order of their times."""
        ready: list[Pending] = []
        while self._heap and self._heap[0][0] <= now:
            ready.append(heapq.heappop(self._heap)[2])
        return ready

    @property
    def next_at(self) -> float | None:
        """When the next wait is over; None where nothing waits."""
        return self._heap[0][0] if self._heap else None
