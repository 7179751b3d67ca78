"""Budgets of a workflow: whether they can be kept, and what was spent, for people."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING

from pydantic import Field, field_validator

from agents.engines import has_known_price, is_charged
from agents.roster import Expert
from agents.settings import suggestion
from orchestrator.money.ledger import RUN, Budget
from orchestrator.money.reply_cache import CachePolicy
from protocols.cast import Cast, Member, Team
from protocols.errors import Mistake
from protocols.registry import protocol_class
from workflows.comparing.wording import counted_of
from workflows.settings.sections import Section

if TYPE_CHECKING:
    from orchestrator.spec import RunSpec
    from orchestrator.store import RoleSpend

_AGE = re.compile(r"(\d+(?:\.\d+)?)\s*([smhdw])")
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0, "w": 604_800.0}


class CacheSpec(Section):
    """What may be taken from the response cache. A time, or ``true``, is short for it."""

    max_age: str | None = Field(None)
    """Replies that are older are asked again: ``30d``, ``12h``, ``45m``; by default none are."""

    @field_validator("max_age")
    @classmethod
    def _is_a_time(cls, text: str | None) -> str | None:
        if text is not None:
            age_s(text)
        return text

    def policy(self) -> CachePolicy:
        """Return what the driver is told."""
        return CachePolicy(None if self.max_age is None else age_s(self.max_age))


def age_s(text: str) -> float:
    """Return the seconds of a length of time such as ``30d``.

    Raises:
        ValueError: it is none.
    """
    found = _AGE.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{text!r} is no length of time; write for example 30d, 12h or 45m")
    return float(found[1]) * _SECONDS[found[2]]


def expanded_budget(data: object) -> object:
    """Return the budget of a workflow file in full: a number alone is US dollars."""
    return {"usd": data} if isinstance(data, int | float) and not isinstance(data, bool) else data


def expanded_cache(data: object) -> object:
    """Return the cache of a workflow file in full: a time alone, true or false are short forms."""
    if isinstance(data, bool):
        return {} if data else None
    return {"max_age": data} if isinstance(data, str) else data


def check_budget(spec: RunSpec, budget: Budget | None) -> list[str]:
    """Return what people should know of a budget: experts that it cannot count.

    Raises:
        Mistake: an expert has no known price and the budget is in dollars, or it names a role
            that nobody has.
    """
    return [] if budget is None else check_experts(spec.experts, roles_of(spec), budget)


def check_experts(experts: Collection[Expert], known: Collection[str], budget: Budget) -> list[str]:
    """Do the same for the experts and the roles that will be asked.

    Raises:
        Mistake: see :func:`check_budget`.
    """
    for role in budget.roles:
        if role not in known:
            raise Mistake(f"budget.roles.{role}: no such role; {suggestion(role, sorted(known))}")
    if not budget.counts_money:
        return []
    notes = []
    for expert in experts:
        if has_known_price(expert):
            continue
        if expert.price != "unknown":
            raise Mistake(
                f"experts.{expert.label}: no price is known of {expert.model}, and the budget is "
                "in dollars; write price: {prompt: 0.15, completion: 0.6} (for a million tokens), "
                "or price: unknown"
            )
        notes.append(f"the price of {expert.label} is unknown: what it costs is not in the budget")
    if not any(is_charged(expert) for expert in experts):
        notes.append("the budget is in dollars and no expert costs anything")
    return notes


def roles_of(spec: RunSpec) -> set[str]:
    """Return the roles that a run asks, those within teams included."""
    roles: set[str] = set()
    for entry in spec.entries:
        roles.update(role.name for role in entry.protocol.roles())
        roles.update(_team_roles(entry.cast))
    return roles


def labels_in(member: Member | Team) -> Iterator[str]:
    """Yield the labels of the experts that fill a seat, those of a team within it."""
    if isinstance(member, Member):
        yield member.expert
        return
    for members in member.cast.members.values():
        for one in members:
            yield from labels_in(one)


def _team_roles(cast: Cast) -> Iterator[str]:
    for members in cast.members.values():
        for member in members:
            if isinstance(member, Team):
                yield from (role.name for role in protocol_class(member.kind)().roles())
                yield from _team_roles(member.cast)


def spent_line(spent: Mapping[str, RoleSpend]) -> str:
    """Return what each role spent, in one line: ``judge $0.12, 40 calls, 31,000 tokens; ...``."""
    parts = []
    for role, one in spent.items():
        words = [counted_of(one.calls, "call"), counted_of(one.tokens, "token")]
        if one.paid or one.list_price:
            words.insert(0, dollars(one.paid))
        if one.unpriced:
            words.append(f"{one.unpriced:,} at a price that is not known")
        parts.append(f"{role} {', '.join(words)}")
    return "; ".join(parts) or "nothing"


def paid_line(spent: Mapping[str, RoleSpend]) -> str | None:
    """Return what was paid beside what it costs at list price; None where nothing has a price."""
    paid = sum(one.paid for one in spent.values())
    listed = sum(one.list_price for one in spent.values())
    if not paid and not listed:
        return None
    return f"paid {dollars(paid)}; at list price, as if alone: {dollars(listed)}"


def reached_line(reached: tuple[str, str] | None) -> str:
    """Return which limit was reached: ``the budget of the role judge in dollars``."""
    if reached is None:
        return "the budget"
    role, unit = reached
    words = {"usd": "dollars", "tokens": "tokens", "calls": "calls", "seconds": "seconds"}
    where = "the budget" if role == RUN else f"the budget of the role {role}"
    return f"{where} in {words[unit]}"


def key_of(reached: tuple[str, str] | None) -> str:
    """Return the key of a workflow that holds a limit: ``budget.roles.judge.usd``."""
    if reached is None:
        return "budget"
    role, unit = reached
    return f"budget.{unit}" if role == RUN else f"budget.roles.{role}.{unit}"


def dollars(amount: float) -> str:
    """Return US dollars for people; small sums keep two figures that count."""
    if amount and abs(amount) < 0.01:
        return f"${amount:.2g}" if amount >= 0.0001 else f"${amount:.1e}"
    return f"${amount:,.2f}"
