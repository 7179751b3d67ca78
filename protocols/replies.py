"""Replies: what came back for an ask. Failure is data.

Only what an expert did enters a session: content, or a :class:`Failure`. Throttling, a lost
worker or a stopped budget are attempts that are never accepted; a session never sees them.
A reply's digest covers all that a session may read of it; ``latency_s`` and ``model_served`` are
recorded beside it, ``outside_mass`` and ``rate_hint`` are for whoever made the ask, and no
protocol may read any of the four (``tests/test_layering.py`` holds this).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from protocols.canonical import canonical_json, json_string, sha256
from protocols.messages import Place

Boundary = Literal["refused", "overlong", "malformed", "provider", "timeout"]
BOUNDARIES: tuple[Boundary, ...] = ("refused", "overlong", "malformed", "provider", "timeout")
MISSING_BOUNDARIES: tuple[Boundary, ...] = ("provider", "timeout")

PERMANENT_CAUSES = frozenset(
    {"authentication", "bad_request", "context", "load_failed", "not_found", "not_recorded"}
)
"""Causes that another attempt cannot cure."""

DistributionSource = Literal["logprobs", "probe", "samples", "stated", "exact", "score"]
_LEAST_SHARE = 1e-300
Finish = Literal["stop", "length", "content_filter", "failure"]


@dataclass(frozen=True, slots=True)
class Failure:
    """An expert did not deliver; attributed once, to the boundary it crossed."""

    boundary: Boundary
    """refused, overlong, malformed (the expert's own doing), provider, timeout (missing data)."""
    message: str
    """What happened, for people."""
    cause: str = ""
    """The finer cause, where one is known: ``not_recorded``, ``authentication``, ``context``,
    ``unavailable``... Attempts at what cannot change are not repeated (PERMANENT_CAUSES)."""

    @property
    def missing(self) -> bool:
        """Whether the data is missing rather than wrong (provider and timeout)."""
        return self.boundary in MISSING_BOUNDARIES


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one attempt. Engines without a tokenizer count words and say so in their docs."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    reasoning_tokens: int = 0
    cached_tokens: int = 0


@dataclass(frozen=True, slots=True)
class RateHint:
    """What a provider said about its limits beside an answer; None is what it did not say."""

    requests_limit: int | None = None
    """Requests in a window (a minute, where the provider says nothing else)."""
    requests_left: int | None = None
    """Requests that are left in it."""
    requests_reset_s: float | None = None
    """Seconds until all of them are back."""
    tokens_limit: int | None = None
    tokens_left: int | None = None
    tokens_reset_s: float | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back for one ask."""

    text: str = ""
    """The content; empty where the ask failed."""
    failure: Failure | None = None
    """Why there is no content."""
    distribution: tuple[float, ...] | None = None
    """Probabilities over the ask's options, in their order, summing to 1; of an ask that wants a
    score one number, the geometric mean of the tokens' probabilities."""
    distribution_source: DistributionSource | None = None
    """Where the distribution comes from; different sources are not comparable. ``logprobs``: the
    probabilities where the reply states its answer; ``probe``: those behind a line ``Answer:`` that
    was put behind a reply which states none. ``score`` marks what :attr:`score` reads."""
    usage: Usage = Usage()
    """Tokens."""
    finish: Finish = "stop"
    """Why generation ended."""
    repaired: bool = False
    """The text is not as it came: NUL or lone surrogates were replaced by U+FFFD, or the JSON
    that the ask's schema wants was mended."""
    place: Place | None = None
    """Turn and slot of the ask; set when the reply is recorded."""
    latency_s: float = 0.0
    """Seconds from dispatch to reply. Recorded, never read by a protocol."""
    model_served: str | None = None
    """The model that the provider says served it. Recorded, never read by a protocol."""
    outside_mass: float | None = None
    """The probability (or share of draws) that was on none of the options, before the distribution
    was made to sum to 1. Neither recorded nor read by a protocol."""
    rate_hint: RateHint | None = None
    """What the provider said about its limits. Neither recorded nor read by a protocol."""
    _digest: bytes | None = field(default=None, init=False, repr=False, compare=False)

    @property
    def failed(self) -> bool:
        """Whether there is a failure instead of content."""
        return self.failure is not None

    @property
    def score(self) -> float | None:
        """The mean log-likelihood of a token of the text that was to be scored; 0 or less.

        It is minus the logarithm of the text's perplexity. None where nothing was scored. It is
        kept as a probability, so that it has a place in every store and tape that there is.
        """
        share = self.distribution
        if self.failed or self.distribution_source != "score" or share is None:
            return None
        return math.log(share[0]) if len(share) == 1 and 0.0 < share[0] <= 1.0 else None

    @property
    def seen_json(self) -> str:
        """All that a session may read, as canonical JSON; assembled by hand for speed."""
        failure, spread, source = self.failure, self.distribution, self.distribution_source
        told = None if failure is None else [failure.boundary, failure.cause, failure.message]
        usage = self.usage
        return (
            f'{{"distribution":{"null" if spread is None else canonical_json(list(spread))},'
            f'"distribution_source":{"null" if source is None else json_string(source)},'
            f'"failure":{"null" if told is None else canonical_json(told)},'
            f'"finish":{json_string(self.finish)},'
            f'"repaired":{"true" if self.repaired else "false"},'
            f'"text":{json_string(self.text)},'
            f'"usage":[{usage.prompt_tokens},{usage.completion_tokens},'
            f"{usage.reasoning_tokens},{usage.cached_tokens}]}}"
        )

    @property
    def digest(self) -> bytes:
        """SHA-256 (32 bytes) over all that a session may read of the reply."""
        if self._digest is None:
            object.__setattr__(self, "_digest", sha256(self.seen_json))
        digest = self._digest
        assert digest is not None
        return digest

    def at(self, place: Place) -> Reply:
        """Return this reply at a place in its session."""
        if self.place == place:
            return self
        return Reply(
            self.text,
            self.failure,
            self.distribution,
            self.distribution_source,
            self.usage,
            self.finish,
            self.repaired,
            place,
            self.latency_s,
            self.model_served,
            self.outside_mass,
            self.rate_hint,
        )


def scored(log_likelihood: float, *, usage: Usage = Usage(), latency_s: float = 0.0) -> Reply:
    """Return the reply to an ask that wants a score.

    Args:
        log_likelihood: the mean over the tokens of the scored text, 0 or less.
        usage: tokens; what is scored counts as prompt.
        latency_s: seconds from dispatch to reply.
    """
    share = math.exp(min(0.0, log_likelihood))
    return Reply(
        distribution=(max(share, _LEAST_SHARE),),
        distribution_source="score",
        usage=usage,
        latency_s=latency_s,
    )


def failed(boundary: Boundary, message: str, *, cause: str = "", latency_s: float = 0.0) -> Reply:
    """Return a reply that holds a failure."""
    return Reply(failure=Failure(boundary, message, cause), finish="failure", latency_s=latency_s)
