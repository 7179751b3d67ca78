"""What a run would cost before anything is spent: calls, lengths and prices.

Theory. The fewest and the most calls of each role are bounds that the protocols state. What a call
costs is its expert's price for the tokens of its prompt and its reply. Both lengths are those of an
earlier run of that name, where the store has one (means by protocol, role and expert); else a few
sessions are rehearsed with made-up replies, every quoted reply in a prompt is taken to be as long
as a reply is, and a reply is as long as ``max_tokens`` allows, or of a length that is stated.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Any

from agents.counting import estimated_tokens
from agents.engines import is_charged, price_of
from agents.roster import Expert
from orchestrator.spec import RunSpec, Wanted, wanted_sessions
from protocols.asks import Ask
from protocols.contract import CallBound
from protocols.replies import Usage
from workflows.forecast.estimate import Estimate
from workflows.forecast.rehearsal import rehearse_session

if TYPE_CHECKING:
    from orchestrator.store import Lengths

REPLY_TOKENS = 400.0
"""The length of a reply that nothing says anything about."""
SAMPLE = 20
"""Sessions of each protocol that are rehearsed."""

Kind = tuple[str, str]
"""Role and expert."""


@dataclass(frozen=True, slots=True)
class Span:
    """US dollars, at the fewest and at the most calls."""

    low: float = 0.0
    high: float = 0.0

    def plus(self, other: Span) -> Span:
        """Return both together."""
        return Span(self.low + other.low, self.high + other.high)

    def as_json(self) -> dict[str, float]:
        """Return the figures as a JSON object."""
        return {"low_usd": round(self.low, 6), "high_usd": round(self.high, 6)}


@dataclass(frozen=True, slots=True)
class EntryCost:
    """What one protocol of a run would cost."""

    name: str
    whole: Span
    by_role: Mapping[str, Span] = field(default_factory=dict)
    measured: bool = False
    """Whether its lengths are those of an earlier run."""

    def as_json(self) -> dict[str, Any]:
        """Return the figures as a JSON object."""
        roles = {role: span.as_json() for role, span in self.by_role.items()}
        lengths = "measured" if self.measured else "assumed"
        return {"name": self.name, **self.whole.as_json(), "roles": roles, "lengths": lengths}


@dataclass(frozen=True, slots=True)
class Cost:
    """What a run would cost at list prices; nothing that is recorded already is taken off."""

    entries: tuple[EntryCost, ...]
    unknown: tuple[str, ...]
    """The experts whose price is not known; they count nothing."""
    priced: tuple[str, ...]
    """The experts that cost something."""
    setup: Span = Span()
    """Before the first session: skills are read from recorded answers, which cost nothing."""
    reply_tokens: float = REPLY_TOKENS

    @property
    def whole(self) -> Span:
        """The sessions of all protocols."""
        total = Span()
        for entry in self.entries:
            total = total.plus(entry.whole)
        return total

    def as_json(self) -> dict[str, Any]:
        """Return the figures as a JSON object."""
        return {
            **self.whole.as_json(),
            "setup": self.setup.as_json(),
            "unknown_prices": list(self.unknown),
            "reply_tokens": self.reply_tokens,
            "protocols": [entry.as_json() for entry in self.entries],
        }


def cost(
    spec: RunSpec,
    counted: Estimate,
    *,
    measured: Sequence[Lengths] = (),
    reply_tokens: float | None = None,
) -> Cost:
    """Tell what a run would cost.

    Args:
        spec: the run.
        counted: its calls.
        measured: lengths of an earlier run.
        reply_tokens: the mean length of replies, in place of what was measured.

    Raises:
        Mistake: a session cannot be played.
    """
    experts = {expert.label: expert for expert in spec.experts}
    charged = [label for label, one in experts.items() if is_charged(one)]
    unknown = [one for one in charged if price_of(experts[one], Usage(1_000, 1_000)) is None]
    samples = _samples(spec) if charged else {}
    known = {} if reply_tokens else {(one.entry, one.role, one.expert): one for one in measured}
    entries = []
    for entry in counted.entries:
        calls = Calls(experts, reply_tokens or REPLY_TOKENS)
        for one in samples.get(entry.name, ()):
            calls.rehearse(one)
        lengths = {key[1:]: one for key, one in known.items() if key[0] == entry.name}
        entries.append(_entry_cost(entry.name, entry.by_role, entry.calls, calls, lengths))
    return Cost(
        tuple(entries), tuple(unknown), tuple(charged), reply_tokens=reply_tokens or REPLY_TOKENS
    )


class Calls:
    """Whom the sessions of a protocol ask, and how long prompts and replies are taken to be."""

    def __init__(self, experts: Mapping[str, Expert], reply_tokens: float) -> None:
        self._experts = experts
        self._reply_tokens = reply_tokens
        self.sessions = 0
        self.counts: Counter[Kind] = Counter()
        self._tokens: dict[Kind, tuple[float, float]] = {}

    def rehearse(self, one: Wanted) -> None:
        """Take note of what a session asks.

        Raises:
            Mistake: it cannot be played.
        """
        played = rehearse_session(one)
        self.sessions += 1
        for ask in chain.from_iterable(played.turns):
            kind = ask.seat.role, ask.seat.expert
            prompt, reply = self._tokens.get(kind, (0.0, 0.0))
            more = self._length(ask)
            self._tokens[kind] = prompt + self._prompt(ask), reply + more
            self.counts[kind] += 1

    def price(self, role: str, lengths: Mapping[Kind, Lengths]) -> float:
        """Return the US dollars of a call to a role: the mean over those who sit in it."""
        total, calls = 0.0, 0
        for (asked, label), count in self.counts.items():
            if asked == role:
                total += count * self._price(asked, label, lengths)
                calls += count
        return total / calls if calls else 0.0

    def _price(self, role: str, label: str, lengths: Mapping[Kind, Lengths]) -> float:
        found = lengths.get((role, label))
        count = self.counts[role, label]
        if found is not None:
            prompt, reply = found.prompt_tokens, found.completion_tokens
        else:
            prompt, reply = (tokens / count for tokens in self._tokens[role, label])
        return price_of(self._experts[label], Usage(round(prompt), round(reply))) or 0.0

    def _length(self, ask: Ask) -> float:
        most = ask.seat.sampling.max_tokens
        return self._reply_tokens if most is None else min(self._reply_tokens, most)

    def _prompt(self, ask: Ask) -> float:
        """Return the tokens of a prompt in which quoted replies are as long as replies are."""
        characters, quoted = 0, 0.0
        for message in ask.messages:
            for part in message.parts:
                if part.origin is not None:
                    quoted += self._reply_tokens
                elif part.kind == "text":
                    characters += len(part.text)
        return estimated_tokens(characters) + quoted


def _entry_cost(
    name: str,
    by_role: Mapping[str, CallBound],
    whole: CallBound,
    calls: Calls,
    lengths: Mapping[Kind, Lengths],
) -> EntryCost:
    bounds = dict(by_role)
    for role, _ in calls.counts:  # within teams, whose seats state no bounds of their own
        bounds.setdefault(role, CallBound(0, whole.most))
    prices = {role: calls.price(role, lengths) for role in bounds}
    spans = {
        role: Span(bound.fewest * prices[role], bound.most * prices[role])
        for role, bound in bounds.items()
    }
    low = sum(span.low for span in spans.values())
    high = sum(span.high for span in spans.values())
    asked = {role for role, _ in calls.counts}
    dearest = max((prices[role] for role in asked), default=0.0)
    cheapest = min((prices[role] for role in asked), default=0.0)
    span = Span(max(low, whole.fewest * cheapest), min(high, whole.most * dearest))
    return EntryCost(name, span, spans, measured=bool(lengths))


def _samples(spec: RunSpec) -> dict[str, list[Wanted]]:
    """Return a few sessions of each protocol."""
    samples: dict[str, list[Wanted]] = {entry.name: [] for entry in spec.entries}
    left = len(samples)
    for one in wanted_sessions(spec):
        sample = samples[one.entry.name]
        if len(sample) < SAMPLE:
            sample.append(one)
            left -= len(sample) == SAMPLE
            if not left:
                break
    return samples
