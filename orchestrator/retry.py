"""The one retry policy: the driver's. Engines never retry.

Decisions are pure functions of what came back and of how many attempts were made; the waiting is
the driver's. Delays grow exponentially with jitter (tenacity's policy).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from agents.engine import Attempted, Throttled
from protocols.replies import PERMANENT_CAUSES, Reply, failed


class RetryPolicy(BaseModel):
    """When to try again, and how long to wait."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    attempts: int = Field(4, ge=1)
    """The most attempts at an ask that fails by provider or timeout; throttling does not count."""
    malformed_attempts: int = Field(2, ge=1)
    """The most attempts at an ask whose reply is malformed."""
    first_wait_s: float = Field(1.0, ge=0.0)
    longest_wait_s: float = Field(60.0, ge=0.0)

    @cached_property
    def _wait(self) -> Any:
        from tenacity import wait_random_exponential

        return wait_random_exponential(multiplier=self.first_wait_s, max=self.longest_wait_s)

    def wait_s(self, failures: int) -> float:
        """Return the seconds to wait after so many failed attempts (from 1), with jitter."""
        if self.first_wait_s == 0.0:
            return 0.0
        from tenacity import RetryCallState

        state = RetryCallState(retry_object=None, fn=None, args=(), kwargs={})  # type: ignore[arg-type]
        state.attempt_number = failures
        return float(self._wait(state))

    def decide(self, result: Attempted, failures: int) -> Accept | TryAgain:
        """Say what becomes of an attempt.

        Args:
            result: what the engine gave.
            failures: failed attempts at this ask so far, this one included where it failed.
        """
        if isinstance(result, Throttled):
            reply = failed("provider", result.message or "throttled", cause="throttled")
            return TryAgain(reply, max(result.wait_s, 0.0), throttled=True)
        failure = result.failure
        if failure is None or failure.cause in PERMANENT_CAUSES:
            return Accept(result)
        if failure.boundary == "malformed" and failures < self.malformed_attempts:
            return TryAgain(result, 0.0)
        if failure.missing and failures < self.attempts:
            return TryAgain(result, self.wait_s(failures))
        return Accept(result)


@dataclass(frozen=True, slots=True)
class Accept:
    """The attempt is the last; its reply goes into the session."""

    reply: Reply


@dataclass(frozen=True, slots=True)
class TryAgain:
    """The attempt is recorded but not accepted; ask again after a while."""

    reply: Reply
    wait_s: float
    throttled: bool = False
