"""A circuit for each endpoint: who does not answer is left alone for a while.

::

    closed --(n failures, no answer between)--> open --(its wait is over)--> probing
    probing --(an answer)--> closed        probing --(a failure)--> open, twice as long

Where many requests are under way, failures come back before answers do (a cut connection is quicker
than a reply), so n is then half as many as there are. While it is open nothing is sent. One probe
then decides. An answer is whatever shows that somebody
is there: a reply, a refusal, also being throttled.
"""

from __future__ import annotations

import math
from typing import Literal

FAILURES = 10
"""Failures one after another that open a circuit, at least."""
UNDER_WAY = 0.5
"""Of the requests under way: so many failures it takes where that is more."""
WAIT_S = 15.0
"""How long it stays open at first."""
LONGEST_WAIT_S = 240.0

State = Literal["closed", "open", "probing"]


class Circuit:
    """See the module's theory; times are seconds, monotonic."""

    __slots__ = ("_failures", "_longest_s", "_most", "_until", "_wait_s", "first_wait_s", "state")

    def __init__(
        self,
        failures: int = FAILURES,
        wait_s: float = WAIT_S,
        longest_wait_s: float = LONGEST_WAIT_S,
    ) -> None:
        self.state: State = "closed"
        self.first_wait_s = wait_s
        self._wait_s = wait_s
        self._longest_s = longest_wait_s
        self._most = failures
        self._failures = 0
        self._until = -math.inf

    def next_at(self) -> float:
        """Return when something may be sent; infinite while a probe runs."""
        if self.state == "closed":
            return -math.inf
        return self._until if self.state == "open" else math.inf

    def sent(self) -> None:
        """Take note of a request; the first one of an open circuit is its probe."""
        if self.state == "open":
            self.state = "probing"

    def failed(self, now: float, running: int = 0) -> bool:
        """Take note of a failure; True where the circuit opens by it, or opens again.

        Args:
            now: seconds, monotonic.
            running: requests that are still under way.
        """
        self._failures += 1
        most = max(self._most, UNDER_WAY * running)
        if self.state == "open" or (self.state == "closed" and self._failures < most):
            return False
        if self.state == "probing":
            self._wait_s = min(2 * self._wait_s, self._longest_s)
        self.state, self._until = "open", now + self._wait_s
        return True

    def answered(self) -> bool:
        """Take note of an answer; True where the circuit closes by it."""
        closes = self.state != "closed"
        self.state, self._failures, self._wait_s = "closed", 0, self.first_wait_s
        return closes

    def forgotten(self) -> None:
        """Take note that nobody will know what became of the probe: another one may go."""
        if self.state == "probing":
            self.state = "open"
