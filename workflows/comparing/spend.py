"""What protocols took by themselves, from the store: money, calls, tokens, seconds; judges apart.

Stand-alone means what a protocol would cost if nothing else were run: all attempts count, and a
reply that came out of a cache, or out of a tape that several sessions share, counts at its list
price. What was really paid is another figure. Both are of the sessions that are over.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args

from protocols.errors import Mistake
from workflows.comparing.draws import Draw, Seated, read_draws, seated_in
from workflows.comparing.table import Row
from workflows.statistics.frontier import Priced, price_of
from workflows.statistics.intervals import Interval

if TYPE_CHECKING:
    from orchestrator.store import RunRow, Store
    from orchestrator.store.spending import SpentRow

Unit = Literal["money", "tokens", "calls"]
UNITS: tuple[Unit, ...] = get_args(Unit)
NAMES: Mapping[Unit, str] = {"money": "US dollars", "tokens": "tokens", "calls": "calls"}
OVER = ("finished", "failed")
"""The states of sessions whose price is known to its end."""
JUDGE = "judge"


@dataclass(frozen=True, slots=True)
class Spend:
    """What something took, all attempts counted."""

    calls: float = 0
    """Asks that were answered."""
    attempts: float = 0
    prompt: float = 0
    """Tokens read."""
    output: float = 0
    """Tokens written, those of reasoning included."""
    reasoning: float = 0
    price: float | None = 0.0
    """US dollars at list prices; None where the price of an attempt is not known."""
    paid: float = 0.0
    """US dollars really paid, as far as that is known."""
    seconds: float = 0.0
    """With nothing else going on: turn by turn the slowest ask, as those of a turn run at once."""

    def __add__(self, other: Spend) -> Spend:
        return Spend(
            self.calls + other.calls,
            self.attempts + other.attempts,
            self.prompt + other.prompt,
            self.output + other.output,
            self.reasoning + other.reasoning,
            None if self.price is None or other.price is None else self.price + other.price,
            self.paid + other.paid,
            self.seconds + other.seconds,
        )

    def over(self, count: float) -> Spend:
        """Return its `count`-th part."""
        return Spend(
            self.calls / count,
            self.attempts / count,
            self.prompt / count,
            self.output / count,
            self.reasoning / count,
            None if self.price is None else self.price / count,
            self.paid / count,
            self.seconds / count,
        )

    def of(self, unit: Unit) -> float | None:
        """Return it in a unit; None where prices are not known."""
        if unit == "money":
            return self.price
        return self.prompt + self.output if unit == "tokens" else self.calls

    def as_json(self) -> dict[str, float | None]:
        """Return it as a JSON object."""
        return {
            "calls": self.calls,
            "attempts": self.attempts,
            "prompt_tokens": self.prompt,
            "output_tokens": self.output,
            "reasoning_tokens": self.reasoning,
            "list_price": self.price,
            "paid_price": self.paid,
            "seconds": self.seconds,
        }


@dataclass(frozen=True, slots=True)
class ProtocolSpend:
    """What a protocol took."""

    name: str
    whole: Spend
    """Of all its sessions that are over."""
    judge: Spend
    """Of that: what its judge took (without seconds)."""
    by_question: Mapping[str, Spend] = field(repr=False)
    """Question id -> what one session on it takes, the mean over repeats."""
    sessions: int
    """Sessions that are over."""

    @property
    def a_question(self) -> Spend | None:
        """What a question takes; None before a session is over."""
        found = list(self.by_question.values())
        return sum(found, Spend()).over(len(found)) if found else None

    def as_json(self) -> dict[str, Any]:
        """Return it as a JSON object, without single questions."""
        one = self.a_question
        return {
            "name": self.name,
            "sessions": self.sessions,
            "whole": self.whole.as_json(),
            "judge": self.judge.as_json(),
            "a_question": None if one is None else one.as_json(),
        }


@dataclass(frozen=True, slots=True)
class Spending:
    """What the protocols of a run took, and which answers single experts drew in it."""

    protocols: Mapping[str, ProtocolSpend]
    seated: Mapping[str, Seated] = field(default_factory=dict, repr=False)
    """Protocol -> who sits in it."""
    draws: tuple[Draw, ...] = field(default=(), repr=False)
    recorded: frozenset[str] = frozenset()
    """The experts that hold one recorded answer to each question."""


def read_spending(store: Store, run: RunRow) -> Spending:
    """Return what a stored run took."""
    sessions = store.sessions(run.id, statuses=OVER)
    rows, seconds = store.spent_by_role(run.id, statuses=OVER)
    counts = Counter((one.entry, one.question_id) for one in sessions)
    by_question, judges = _summed(rows, seconds)
    protocols = {}
    for entry in dict.fromkeys(one.entry for one in sessions):
        here = {q: by_question.get((entry, q), Spend()) for e, q in counts if e == entry}
        protocols[entry] = ProtocolSpend(
            name=entry,
            whole=sum(here.values(), Spend()),
            judge=judges.get(entry, Spend()),
            by_question={q: spent.over(counts[entry, q]) for q, spent in here.items()},
            sessions=sum(counts[entry, q] for q in here),
        )
    seated = seated_in(store, sessions)
    draws = read_draws(store, sessions, seated)
    return Spending(protocols, seated, draws, _recorded(run))


def _summed(
    rows: Sequence[SpentRow], seconds: Mapping[tuple[str, str], float]
) -> tuple[dict[tuple[str, str], Spend], dict[str, Spend]]:
    """Return sums by entry and question, and what judges took by entry."""
    found: dict[tuple[str, str], Spend] = defaultdict(Spend)
    judges: dict[str, Spend] = defaultdict(Spend)
    for row in rows:
        spent = Spend(
            row.asks,
            row.attempts,
            row.prompt_tokens,
            row.completion_tokens,
            row.reasoning_tokens,
            None if row.unpriced else float(row.list_price or 0.0),
            float(row.paid_price or 0.0),
        )
        found[row.entry, row.question] += spent
        if row.role == JUDGE:
            judges[row.entry] += spent
    for place, taken in seconds.items():
        found[place] += Spend(seconds=taken)
    return found, judges


def _recorded(run: RunRow) -> frozenset[str]:
    """Return the experts of a run's roster that cannot draw again, by label."""
    from agents.engines import capabilities_of
    from agents.roster import Expert

    found = set()
    for one in json.loads(run.config_json).get("roster", ()):
        try:
            if not capabilities_of(Expert.model_validate(one)).draws:
                found.add(one["label"])
        except (Mistake, ValueError):  # an expert that this version does not know
            continue
    return frozenset(found)


def chosen_unit(spends: Sequence[ProtocolSpend], unit: str | None = None) -> Unit:
    """Return the unit that prices are compared in.

    Without one that is named: money where all prices are known and some is above nothing, else
    tokens where everybody took some, else calls.

    Raises:
        Mistake: there is no such unit.
    """
    if unit is not None:
        if unit not in UNITS:
            raise Mistake(f"unit {unit!r}: there are {', '.join(UNITS)}")
        return unit
    whole = [one.whole for one in spends if one.sessions]
    if any(one.price for one in whole) and all(one.price is not None for one in whole):
        return "money"
    return "tokens" if whole and all(one.of("tokens") for one in whole) else "calls"


def priced(
    name: str, row: Row, spent: ProtocolSpend, unit: Unit, clusters: Mapping[str, str]
) -> Priced:
    """Return a row's accuracy and stand-alone price of a question, with intervals over clusters."""
    prices = {question: one.of(unit) for question, one in spent.by_question.items()}
    known = prices and None not in prices.values()
    found = price_of(prices, clusters) if known else None
    interval = None
    if row.ci_low is not None and row.ci_high is not None:
        interval = Interval(row.ci_low, row.ci_high)
    return Priced(
        name,
        row.accuracy,
        None if found is None else found.mean,
        interval,
        None if found is None or found.method == "none" else found.interval,
    )
