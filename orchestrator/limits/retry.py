"""The one retry policy: the driver's. Engines never retry.

Decisions are pure functions of what came back, of how many attempts were made and of how long they
took; the waiting is the driver's. Delays grow exponentially with jitter (tenacity's policy). A
provider that asks for a delay is given it. Delays after throttling do not grow: it is the endpoint
that has to be left alone then, not the ask (``gates.py``).

Two things end it: the number of failed attempts, and the time spent on the ask, attempts and waits
together. The time ends throttling as well, which is no failure: an account without quota would
otherwise be asked for ever.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
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
    """The upper end of the first wait; each further one is twice as long, and a random part of it
    is waited."""
    longest_wait_s: float = Field(60.0, ge=0.0)
    """The longest of these waits; a provider may ask for more."""
    longest_total_s: float = Field(600.0, gt=0.0)
    """How long to go on with one ask, its attempts and waits together, also when it is throttled;
    and with an endpoint that gives no answer at all."""

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

    def decide(
        self, result: Attempted, failures: int, *, throttles: int = 0, spent_s: float = 0.0
    ) -> Accept | TryAgain:
        """Say what becomes of an attempt.

        Args:
            result: what the engine gave.
            failures: failed attempts at this ask so far, this one included where it failed.
            throttles: attempts at this ask that were throttled, this one included where it was.
            spent_s: seconds of attempts at this ask and of the waits between them, so far.
        """
        if isinstance(result, Throttled):
            reply = failed("provider", result.message or "throttled", cause="throttled")
            wait_s = max(result.wait_s, self.wait_s(1) if throttles > 1 else 0.0)
            return self._again(reply, wait_s, spent_s, throttled=True)
        failure = result.failure
        if failure is None or failure.cause in PERMANENT_CAUSES:
            return Accept(result)
        if failure.boundary == "malformed" and failures < self.malformed_attempts:
            return TryAgain(result, 0.0)
        if failure.missing and failures < self.attempts:
            return self._again(result, self.wait_s(failures), spent_s)
        return Accept(result)

    def _again(
        self, reply: Reply, wait_s: float, spent_s: float, *, throttled: bool = False
    ) -> Accept | TryAgain:
        """Try again, unless that would take too long in all."""
        if spent_s + wait_s > self.longest_total_s:
            return Accept(_too_long(reply, wait_s) if throttled else reply)
        return TryAgain(reply, wait_s, throttled)


def _too_long(reply: Reply, wait_s: float) -> Reply:
    """Return the reply of an ask that is not made again, which says what it would have waited."""
    assert reply.failure is not None
    said = f"{reply.failure.message} (to wait {wait_s:,.0f} s more passes retry.longest_total_s)"
    return replace(reply, failure=replace(reply.failure, message=said))


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
    expert: str | None = None
    """The fallback that is asked next; None: the same expert again."""
