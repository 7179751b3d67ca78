"""The books of a run as they are opened: what was spent, at which prices, found in which cache."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from agents.engines import price_of
from agents.roster import Expert
from orchestrator.live import Price
from orchestrator.money.ledger import Amount, Budget, Ledger
from orchestrator.money.reply_cache import CachePolicy, LookUp

if TYPE_CHECKING:
    from orchestrator.store import DriverRow, Store


def open_ledger(store: Store, run_id: int, budget: Budget) -> Ledger:
    """Return the ledger of a run, with what it spent so far."""
    spent = {
        role: Amount(one.paid, one.tokens, one.calls, one.seconds)
        for role, one in store.spent(run_id).items()
    }
    seconds = 0.0 if budget.seconds is None else worked_s(store.drivers(run_id))
    return Ledger(budget, spent, seconds=seconds)


def worked_s(drivers: Sequence[DriverRow]) -> float:
    """Return the seconds in which at least one driver worked, as far as they gave signs of life."""
    total, until = 0.0, None
    spans = [
        (
            datetime.fromisoformat(one.started_at),
            datetime.fromisoformat(one.ended_at or one.seen_at),
        )
        for one in drivers
    ]
    for start, end in sorted(spans):
        counted = start if until is None else max(start, until)
        total += max((end - counted).total_seconds(), 0.0)
        until = end if until is None else max(end, until)
    return total


def cache_of(store: Store, policy: CachePolicy | None) -> LookUp | None:
    """Return what looks replies up in a store; None where nothing is to be looked up."""
    if policy is None:
        return None
    max_age_s = policy.max_age_s
    return lambda keys: store.cached_replies(keys, max_age_s=max_age_s)


def list_prices(experts: Sequence[Expert]) -> Price:
    """Return the list price of an attempt by expert and usage."""
    known = {expert.label: expert for expert in experts}
    return lambda label, usage: price_of(known[label], usage)
