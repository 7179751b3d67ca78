"""The budget ledger: reserve before an attempt, settle after it.

Counts calls and dollars really paid. A reservation that would pass a limit is refused; what runs
finishes, and the run stops cleanly.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class Budget(BaseModel):
    """Limits of a run; None is no limit."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    calls: int | None = Field(None, ge=0)
    """Attempts, earlier ones of the same run included."""


class Ledger:
    """What a run has spent, and what its running attempts may still spend."""

    def __init__(self, budget: Budget, *, calls: int = 0, paid: float = 0.0) -> None:
        self.budget = budget
        self.calls = calls
        """Attempts, running ones included."""
        self.paid = paid
        """US dollars paid for finished attempts."""
        self.exhausted = False
        """Whether a reservation was refused."""

    def reserve(self) -> bool:
        """Count one attempt in advance; False when it would pass a limit."""
        if self.budget.calls is not None and self.calls >= self.budget.calls:
            self.exhausted = True
            return False
        self.calls += 1
        return True

    def settle(self, paid: float) -> None:
        """Book what an attempt has cost."""
        self.paid += paid

    def release(self) -> None:
        """Take back the reservation of an attempt that was never made."""
        self.calls -= 1
