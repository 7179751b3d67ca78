"""How far a driver is, and how it ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Ending = Literal["finished", "stopped", "budget"]


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
