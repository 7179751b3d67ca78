"""Gates: one for each endpoint. They say when a request may go, and learn from what comes back.

Theory. All experts of an endpoint share its gate, so its limits hold for them together. A request
reserves its tokens by estimate (its prompt, and the reply's length as it is learned), which are
corrected when its usage is known.

Limits also adapt, whether or not any were named. Being throttled (429) lets the endpoint rest for
as long as it asks for; and, where that happens to more than a tenth of the last requests, it cuts
what is sent, once for all requests that were under way: the rates by a tenth, which comes back
within seconds. Where no rate is known, the one at which answers came lately takes its place, and
grows from there, slowly at first, until it is cut anew; and before any came, the requests at once
are cut by a third, and grow by one with every round of answers. An endpoint of which nothing is
known is sent a few requests at first, and one more with every answer. Where the provider says its
limits in its headers (``hints.py``), they make buckets where none were named, and what is said to
be left of a minute is never exceeded.

An endpoint that gave no answer for all of a run's patience is given up: what waits for it ends as
a failure, and one request at a time still finds out when it is back.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

from agents.counting import prompt_tokens
from agents.engine import Attempted, Throttled
from agents.engines import does_network_io
from agents.roster import Expert
from orchestrator.limits.circuit import Circuit
from orchestrator.limits.hints import MINUTE_S, Said, hold, said_of
from orchestrator.limits.limits import Bucket, Limit, endpoint_of, limit_of
from orchestrator.planner.lengths import Lengths
from orchestrator.planner.queues import Item
from protocols.asks import Ask
from protocols.replies import PERMANENT_CAUSES, Failure, RateHint, Reply, failed

RATE_CUT = 0.9
RATE_GROWTH, FAST_GROWTH = 0.02, 0.15
"""Of a rate that was cut: how much more of it is used each second; faster `SLOW_S` after a cut."""
SLOW_S = 5.0
TOLERATED = 0.1
LAST = 50
"""Requests of which so large a share may be throttled before anything is cut."""
LEAST_RATE = 0.02
"""Of a rate: what is left of it however often it is cut."""
WINDOW_CUT = 2 / 3
FIRST_WINDOW = 64.0
"""Requests at once to an endpoint of which nothing is known."""
LATELY_S = 10.0
SHORTEST_S = 0.1
ENOUGH = 4
"""Answers that make a rate."""
PATIENCE_S = 600.0
TOLD_S = 10.0
"""From how long on people are told that an endpoint rests."""

ChangeKind = Literal["circuit_open", "circuit_closed", "endpoint_given_up", "endpoint_rests"]


@dataclass(frozen=True, slots=True)
class Change:
    """Something about an endpoint that people are told."""

    kind: ChangeKind
    endpoint: str
    message: str


class _Open(NamedTuple):
    """A request that is under way."""

    ask: Ask
    at: float
    tokens: float
    """Reserved, where tokens are limited."""


class Gate:
    """The gate of one endpoint; times are seconds, monotonic."""

    def __init__(
        self,
        endpoint: str,
        limit: Limit | None,
        lengths: Lengths,
        *,
        circuit: Circuit | None = None,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self.endpoint = endpoint
        self.limit = limit or Limit()
        self.circuit = circuit or Circuit()
        self.changes: list[Change] = []
        """What people are to be told; whoever tells them empties it."""
        self.rests_until = -math.inf
        self.share = 1.0
        """What of the rates is used at present."""
        self.window = FIRST_WINDOW if self.limit == Limit() else math.inf
        """Requests at once, where no rate is known."""
        self.last = ""
        """The expert that was served last."""
        self._patience_s = patience_s
        self._lengths = lengths
        self._requests: Bucket | None = None
        self._tokens: Bucket | None = None
        self._found: Bucket | None = None
        """The rate of requests that was found out, where none is known."""
        self._answers: deque[float] = deque(maxlen=10_000)
        """When answers came, where no rate is known."""
        self._started = False
        self._open: dict[int, _Open] = {}
        self._last: deque[bool] = deque(maxlen=LAST)
        """Of the last requests: whether they were throttled."""
        self._cut_at = -math.inf
        self._grown_at = 0.0
        self._silent_since: float | None = None
        self._given_up = False
        self._why = Failure("provider", "")

    @property
    def running(self) -> int:
        """Requests that are under way."""
        return len(self._open)

    @property
    def per_minute(self) -> tuple[float | None, float | None]:
        """Requests and tokens a minute that are kept to, named by the user or by the provider."""
        buckets = (self._requests, self._tokens)
        requests, tokens = [None if one is None else one.rate * MINUTE_S for one in buckets]
        return requests, tokens

    def next_at(self, ask: Ask, now: float) -> float:
        """Return when a request may go: `now` or earlier: now; infinite: not before one ends."""
        if not self._started:
            self._start(now)
        most = min(self.limit.concurrency or math.inf, self.window)
        if self.running >= max(most, 1.0):
            return math.inf
        at = max(self.rests_until, self.circuit.next_at())
        if self._found is not None:
            at = max(at, self._found.next_at(1.0, now))
        if self._requests is not None:
            at = max(at, self._requests.next_at(1.0, now, self.share))
        if self._tokens is not None:
            at = max(at, self._tokens.next_at(self._estimate(ask), now, self.share))
        return at

    def send(self, item: Item, now: float) -> None:
        """Take note that a request goes."""
        tokens = 0.0 if self._tokens is None else self._estimate(item.ask)
        self._open[id(item)] = _Open(item.ask, now, tokens)
        self.circuit.sent()
        if self._found is not None:
            self._found.take(1.0)
        if self._requests is not None:
            self._requests.take(1.0)
        if self._tokens is not None:
            self._tokens.take(tokens)

    def forget(self, item: Item) -> None:
        """Take note that nobody knows what became of a request; its tokens count as used."""
        if self._open.pop(id(item), None) is not None and not self._open:
            self.circuit.forgotten()

    def end(self, item: Item, result: Attempted, now: float) -> None:
        """Learn from what came back."""
        request = self._open.pop(id(item), None)
        if request is None:
            return
        if isinstance(result, Throttled):
            self._throttled(request, result, now)
        elif result.failure is not None and _says_nothing(result.failure):
            self._failed(result.failure, now)
        else:
            self._answered(request, item.ask, result, now)
        self._heed(result.rate_hint, now - request.at, now)

    def given_up(self, now: float) -> Reply | None:
        """Return what becomes of everything that waits, where it is given up; else None."""
        since = self._silent_since
        if since is None or now - since < self._patience_s:
            return None
        if not self._open and max(self.rests_until, self.circuit.next_at()) <= now:
            return None  # one of those that wait finds out whether it is back
        why = f"{self.endpoint}: given up after {self._patience_s:g} s: {self._why.message}"
        if not self._given_up:
            self._given_up = True
            self.changes.append(Change("endpoint_given_up", self.endpoint, why))
        return failed(self._why.boundary, why, cause=self._why.cause)

    def due(self, now: float) -> float | None:
        """Return when it will be given up unless it answers; None where it does, or is."""
        since = self._silent_since
        at = None if since is None else since + self._patience_s
        return None if at is None or at <= now else at

    def _start(self, now: float) -> None:
        """Fill the buckets, as the first request is about to go."""
        self._started, self._grown_at = True, now
        if self.limit.requests_per_minute is not None:
            self._requests = Bucket(self.limit.requests_per_minute, now)
        if self.limit.tokens_per_minute is not None:
            self._tokens = Bucket(self.limit.tokens_per_minute, now)

    def _estimate(self, ask: Ask) -> float:
        return prompt_tokens(ask.messages) + self._lengths.predict(ask)

    def _throttled(self, request: _Open, result: Throttled, now: float) -> None:
        self._why = Failure("provider", result.message or "throttled", "throttled")
        if self.circuit.answered():
            self._tell_closed()
        if self._silent_since is None:
            self._silent_since = now
        if result.wait_s >= TOLD_S and now + result.wait_s > self.rests_until + TOLD_S:
            why = f"{self.endpoint}: asks to be left alone for {result.wait_s:,.0f} s"
            message = f"{why}: {self._why.message}"
            self.changes.append(Change("endpoint_rests", self.endpoint, message))
        self.rests_until = max(self.rests_until, now + result.wait_s)
        if self._tokens is not None:
            self._tokens.give(request.tokens)
        self._last.append(True)
        if request.at <= self._cut_at or sum(self._last) <= TOLERATED * len(self._last):
            return  # where it went before the last cut, that was for it as well
        before, self._cut_at = self._cut_at, now
        if self._requests is None and self._tokens is None:
            self._find_rate(now, before)
        else:
            self._grow(now)
            self.share = max(self.share * RATE_CUT, LEAST_RATE)

    def _find_rate(self, now: float, cut_before: float) -> None:
        """Take the rate at which answers came lately, and a little less, for the one allowed."""
        while self._answers and self._answers[0] < now - LATELY_S:
            self._answers.popleft()
        if len(self._answers) < ENOUGH:
            self.window = max(1.0, (self.running + 1) * WINDOW_CUT)
            return
        self.window = math.inf
        rate = RATE_CUT * len(self._answers) / max(now - self._answers[0], SHORTEST_S)
        if self._found is not None and now - cut_before < LATELY_S:
            rate = min(rate, self._found.rate * RATE_CUT)
        self._found = Bucket(rate * MINUTE_S, now)
        self._found.hold(0.0)

    def _failed(self, failure: Failure, now: float) -> None:
        if self.circuit.failed(now, self.running):
            if self._silent_since is None:
                self._silent_since = now
            self._why = failure
            wait_s = self.circuit.next_at() - now
            message = f"{self.endpoint}: no answer, left alone for {wait_s:g} s: {failure.message}"
            self.changes.append(Change("circuit_open", self.endpoint, message))

    def _answered(self, request: _Open, ask: Ask, reply: Reply, now: float) -> None:
        self._silent_since = None
        self._given_up = False
        if self.circuit.answered():
            self._tell_closed()
        usage = reply.usage
        used = usage.prompt_tokens + usage.completion_tokens
        if used and self._tokens is not None:
            self._tokens.give(request.tokens - used)
        self._lengths.learn(ask, usage.completion_tokens)
        if self._requests is None and self._tokens is None:
            self._answers.append(now)
        self._last.append(False)
        self._grow(now)
        self.window += 1.0 if self._cut_at == -math.inf else 1.0 / self.window

    def _grow(self, now: float) -> None:
        growth = RATE_GROWTH if now - self._cut_at < SLOW_S else FAST_GROWTH
        factor = (1.0 + growth) ** min(now - self._grown_at, MINUTE_S)
        self._grown_at = now
        self.share = min(1.0, self.share * factor)
        if self._found is not None:
            self._found.grow(factor)

    def _heed(self, hint: RateHint | None, age_s: float, now: float) -> None:
        """Take note of limits in a provider's headers: what is left, and of how much.

        Args:
            hint: what the headers said, or None.
            age_s: how long ago the provider may have said it.
            now: seconds, monotonic.
        """
        if hint is None:
            return
        said = said_of(hint.requests_limit, hint.requests_left, hint.requests_reset_s)
        if said is not None:
            if self.limit.requests_per_minute is None:
                self._requests = self._said_bucket(self._requests, said, self.running, now)
            if self._requests is not None:
                hold(self._requests, said, age_s)
        said = said_of(hint.tokens_limit, hint.tokens_left, hint.tokens_reset_s)
        if said is not None:
            if self.limit.tokens_per_minute is None:
                reserved = sum(self._estimate(one.ask) for one in self._open.values())
                self._tokens = self._said_bucket(self._tokens, said, reserved, now)
            if self._tokens is not None:
                hold(self._tokens, said, age_s)

    def _said_bucket(
        self, bucket: Bucket | None, said: Said, under_way: float, now: float
    ) -> Bucket:
        """Return the bucket of a limit that no user named: as large as the provider says."""
        if bucket is not None and abs(bucket.rate * MINUTE_S - said.limit) < 1.0:
            return bucket
        self.window, self._found = math.inf, None
        new = Bucket(said.limit, now, said.limit)
        new.hold(said.left - under_way)
        return new

    def _tell_closed(self) -> None:
        message = f"{self.endpoint}: it answers again"
        self.changes.append(Change("circuit_closed", self.endpoint, message))


def _says_nothing(failure: Failure) -> bool:
    """Whether a failure leaves open that anybody is there."""
    return failure.missing and failure.cause not in PERMANENT_CAUSES


class Gates:
    """The gates of a run's endpoints, by expert.

    Experts that run in this process have none, unless a limit names their provider.
    """

    def __init__(
        self,
        experts: Iterable[Expert] = (),
        limits: Mapping[str, Limit] | None = None,
        *,
        patience_s: float = PATIENCE_S,
        circuit: Callable[[], Circuit] = Circuit,
    ) -> None:
        """Make the gates.

        Args:
            experts: who may be asked.
            limits: by endpoint, as :func:`~orchestrator.limits.limits.endpoint_of` names them.
            patience_s: how long an endpoint may give no answer before it is given up.
            circuit: makes the circuit of each.
        """
        self.by_endpoint: dict[str, Gate] = {}
        self._gates: dict[str, Gate] = {}
        lengths = Lengths()
        for expert in experts:
            endpoint = endpoint_of(expert)
            limit = limit_of(endpoint, limits or {})
            if limit is None and not does_network_io(expert):
                continue
            gate = self.by_endpoint.get(endpoint)
            if gate is None:
                gate = Gate(endpoint, limit, lengths, circuit=circuit(), patience_s=patience_s)
                self.by_endpoint[endpoint] = gate
            self._gates[expert.label] = gate

    def of(self, expert: str) -> Gate | None:
        """Return the gate of an expert, where it has one."""
        return self._gates.get(expert)

    def is_shut(self, expert: str, now: float) -> bool:
        """Whether an expert's endpoint does not answer and is left alone."""
        gate = self._gates.get(expert)
        return gate is not None and gate.circuit.state == "open" and gate.circuit.next_at() > now

    def shut(self, now: float) -> list[str]:
        """Return the experts whose endpoints do not answer and are left alone."""
        return [expert for expert in self._gates if self.is_shut(expert, now)]

    def take_changes(self) -> list[Change]:
        """Return what people are to be told since the last call."""
        found = [change for gate in self.by_endpoint.values() for change in gate.changes]
        for gate in self.by_endpoint.values():
            gate.changes.clear()
        return found

    def given_up(self, now: float) -> list[tuple[str, Reply]]:
        """Return the experts whose endpoints are given up, with what becomes of their asks."""
        found = []
        for expert, gate in self._gates.items():
            reply = gate.given_up(now)
            if reply is not None:
                found.append((expert, reply))
        return found

    def due(self, now: float) -> float | None:
        """Return when the next silent endpoint will be given up; None: none is silent."""
        times = [at for gate in self.by_endpoint.values() if (at := gate.due(now)) is not None]
        return min(times, default=None)
