"""What an endpoint allows: the limits a user names, and the buckets that keep them.

Theory. A token bucket of rate r and capacity c lets at most ``r t + c`` through in any t seconds.
What is larger than the capacity waits for a full bucket and leaves a debt, so nothing starves and
the bound becomes ``r t + max(c, largest)``. The capacity is one second of the rate: enough that an
event loop which is late loses nothing, little enough that no window of a provider is overrun.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pydantic import BaseModel, ConfigDict, Field

from agents.engines import does_network_io
from agents.roster import Expert
from agents.settings import suggestion
from protocols.errors import Mistake

BURST_S = 1.0
"""Seconds of its rate that a bucket holds."""
_ALMOST = 1e-6
"""Of a unit: what rounding may add up to."""


class Limit(BaseModel):
    """What an endpoint allows; None is no limit."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    requests_per_minute: float | None = Field(None, gt=0.0)
    tokens_per_minute: float | None = Field(None, gt=0.0)
    """Of prompts and replies together."""
    concurrency: int | None = Field(None, ge=1)
    """Requests that run at once."""

    def part(self, place: int, parts: int) -> Limit:
        """Return the share of one of several drivers; all shares together are the whole.

        Each driver keeps at least one request at once, however many they are.

        Args:
            place: which of them, from 0.
            parts: how many there are.
        """
        if parts == 1:
            return self
        most = self.concurrency
        return Limit(
            requests_per_minute=_divided(self.requests_per_minute, parts),
            tokens_per_minute=_divided(self.tokens_per_minute, parts),
            concurrency=None if most is None else max(1, (most + parts - 1 - place) // parts),
        )


def _divided(rate: float | None, parts: int) -> float | None:
    return None if rate is None else rate / parts


def endpoint_of(expert: Expert) -> str:
    """Return what an expert shares its limits with: the server, else the provider's account.

    ``http://127.0.0.1:8000/v1`` where a `base_url` is named, ``openai:MY_KEY`` where a `key_env`
    is, else ``openai``.
    """
    if expert.base_url is not None:
        return expert.base_url.rstrip("/")
    return f"{expert.provider}:{expert.key_env}" if expert.key_env else expert.provider


def limit_of(endpoint: str, limits: Mapping[str, Limit]) -> Limit | None:
    """Return the limit of an endpoint; a provider's holds for each of its accounts by itself."""
    found = {name.rstrip("/"): limit for name, limit in limits.items()}
    if endpoint in found:
        return found[endpoint]
    return None if "://" in endpoint else found.get(endpoint.partition(":")[0])


def check_limits(limits: Mapping[str, Limit], experts: Iterable[Expert]) -> None:
    """Refuse a limit that would hold for nobody.

    Raises:
        Mistake: no expert has that endpoint.
    """
    names = {endpoint_of(one) for one in experts if does_network_io(one)}
    names |= {one.provider for one in experts if one.base_url is None}
    for name in limits:
        if name.rstrip("/") not in names:
            raise Mistake(
                f"limits.{name}: no expert of this run has that endpoint; "
                f"{suggestion(name, sorted(names))}"
            )


class Bucket:
    """A token bucket: full at the start, refilled by the clock it is told."""

    __slots__ = ("_at", "capacity", "level", "rate")

    def __init__(self, per_minute: float, now: float, capacity: float | None = None) -> None:
        """Fill a bucket.

        Args:
            per_minute: units that flow in, each minute.
            now: seconds, monotonic.
            capacity: units that it holds; by default `BURST_S` of its rate, and at least one.
        """
        self.rate = per_minute / 60.0
        """Units a second."""
        self.capacity = max(self.rate * BURST_S if capacity is None else capacity, 1.0)
        self.level = self.capacity
        self._at = now

    def next_at(self, amount: float, now: float, share: float = 1.0) -> float:
        """Return when `amount` may be taken: `now`, or later.

        Args:
            amount: units; more than the capacity waits for a full bucket.
            now: seconds, monotonic; never earlier than before.
            share: what of the rate flows in at present, above 0.
        """
        rate = self.rate * share
        self.level = min(self.capacity, self.level + (now - self._at) * rate)
        self._at = now
        missing = min(amount, self.capacity) - self.level
        return now if missing <= _ALMOST else now + missing / rate

    def take(self, amount: float) -> None:
        """Take units, which may leave a debt."""
        self.level -= amount

    def give(self, amount: float) -> None:
        """Give back what was taken too much; less than 0 takes more."""
        self.level = min(self.capacity, self.level + amount)

    def grow(self, factor: float) -> None:
        """Let more flow in from now on."""
        self.rate *= factor
        self.capacity = max(self.rate * BURST_S, 1.0)

    def hold(self, most: float) -> None:
        """Take note that there is no more than so much."""
        self.level = min(self.level, most)
