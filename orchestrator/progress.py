"""How far a driver is, and how it ended."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from protocols.errors import MootError

Ending = Literal["finished", "stopped", "budget"]
EVERY_S = 0.1
"""How often it is told how far a driver is, while something happens."""
AT_LEAST_EVERY_S = 1.0


class AllWorkersLost(MootError):
    """No worker is left to run on; what is recorded is kept, and the same command resumes."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is."""

    sessions: int
    """Sessions to do, those done before included."""
    sessions_done: int
    asks_done: int
    """Asks answered in this call."""
    replies_failed: int
    """Accepted replies that hold a failure."""
    attempts: int
    """Attempts that came back in this call, accepted or not."""
    in_flight: int
    paid: float
    """US dollars paid, earlier calls of the same run included."""
    elapsed_s: float


@dataclass(frozen=True, slots=True)
class Ended:
    """How a call of the driver ended."""

    ending: Ending
    progress: Progress
    reached: tuple[str, str] | None = None
    """Which limit of the budget was reached: the role ("" for the run's own) and the unit."""


class Tally:
    """Counts what a driver does, and tells it every so often; times are seconds, monotonic."""

    __slots__ = ("_hear", "_told_at", "asks", "attempts", "began", "done", "failed", "total")

    def __init__(self, hear: Callable[[Progress], None] | None) -> None:
        self.total = self.done = 0
        """Sessions."""
        self.asks = self.failed = self.attempts = 0
        self.began = self._told_at = 0.0
        self._hear = hear

    def begin(self, now: float, *, total: int, done: int) -> None:
        """Start the clock, with so many sessions of which so many are done."""
        self.began, self.total, self.done = now, total, done

    def progress(self, now: float, *, in_flight: int, paid: float) -> Progress:
        """Return how far the driver is."""
        return Progress(
            sessions=self.total,
            sessions_done=self.done,
            asks_done=self.asks,
            replies_failed=self.failed,
            attempts=self.attempts,
            in_flight=in_flight,
            paid=paid,
            elapsed_s=now - self.began,
        )

    def tell(self, now: float, progress: Callable[[float], Progress]) -> None:
        """Tell how far the driver is, where it is time to."""
        if now - self._told_at >= EVERY_S:
            self._told_at = now
            self.report(progress(now))

    def report(self, progress: Progress) -> None:
        """Tell this."""
        if self._hear:
            self._hear(progress)

    def due(self, *, watched: bool) -> float | None:
        """Return when it is to be told again, whatever happens; None where nobody listens."""
        return self._told_at + AT_LEAST_EVERY_S if watched or self._hear else None
