"""What may be tuned of a driver; none of it changes an outcome."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from orchestrator.limits.limits import Limit
from orchestrator.limits.retry import RetryPolicy
from orchestrator.money.ledger import Budget
from orchestrator.money.reply_cache import CachePolicy
from orchestrator.planner.plan import PlanSettings


@dataclass(frozen=True, slots=True)
class DriverSettings:
    """What may be tuned; none of it changes an outcome."""

    window: int = 10_000
    """Sessions that are live at once."""
    retry: RetryPolicy = RetryPolicy()
    budget: Budget = Budget()
    cache: CachePolicy | None = None
    """None looks nothing up."""
    plan: PlanSettings = PlanSettings()
    limits: Mapping[str, Limit] = field(default_factory=dict)
    """What this driver may take of endpoints, by their names."""
