"""How long replies are: predicted by quantile per expert and role, learned while running.

Theory. Asks of one expert in one role (a debater's speech, a judge's verdict) have replies of much
the same length, and nothing about a single one is known beforehand that would be worth its cost.
So a prediction is a quantile of the last lengths seen of that expert in that role; before enough
were seen, that of the role with any expert; before that, a prior. The quantile is two thirds:
lengths are nearly log-normal, and their mean lies near it.
"""

from __future__ import annotations

from protocols.asks import Ask

PRIOR_TOKENS = 400.0
"""The length of a reply before anything was learned."""
QUANTILE = 2 / 3
MEMORY = 128
"""Lengths that are remembered of each expert and role."""
ENOUGH = 8
"""Lengths that make a prediction; also how many come between two new ones."""


class _Seen:
    """The last lengths of one kind of ask, and their quantile."""

    __slots__ = ("at", "lengths", "quantile", "share")

    def __init__(self, share: float) -> None:
        self.share = share
        self.lengths: list[int] = []
        self.at = 0
        self.quantile: float | None = None

    def add(self, tokens: int) -> None:
        if len(self.lengths) < MEMORY:
            self.lengths.append(tokens)
        else:
            self.lengths[self.at % MEMORY] = tokens
        self.at += 1
        if self.at % ENOUGH == 0:
            ordered = sorted(self.lengths)
            self.quantile = float(ordered[int(self.share * len(ordered))])


class Lengths:
    """See the module's theory. Cheap: a prediction is two look-ups."""

    def __init__(self, prior: float = PRIOR_TOKENS, quantile: float = QUANTILE) -> None:
        self.prior = prior
        self.quantile = quantile
        self._seen: dict[tuple[str, str], _Seen] = {}
        self._roles: dict[str, _Seen] = {}

    def predict(self, ask: Ask) -> float:
        """Return the expected length of the reply to `ask`, in tokens; above 0."""
        seat = ask.seat
        seen = self._seen.get((seat.expert, seat.role))
        if seen is None or seen.quantile is None:
            seen = self._roles.get(seat.role)
        tokens = self.prior if seen is None or seen.quantile is None else seen.quantile
        most = seat.sampling.max_tokens
        return max(1.0, tokens if most is None else min(tokens, most))

    def learn(self, ask: Ask, tokens: int) -> None:
        """Take note of the length of a reply, in tokens; 0 says nothing."""
        if tokens <= 0:
            return
        seat = ask.seat
        key = seat.expert, seat.role
        seen = self._seen.get(key)
        if seen is None:
            seen = self._seen[key] = _Seen(self.quantile)
        seen.add(tokens)
        role = self._roles.get(seat.role)
        if role is None:
            role = self._roles[seat.role] = _Seen(self.quantile)
        role.add(tokens)
