"""The budget ledger: reserve before an attempt, settle after it.

Theory. Money, tokens, calls and seconds are counted for the whole run and for every role. Before an
attempt is made its price is reserved, by its prompt and the longest reply that is likely; what it
really cost takes the reservation's place when it is over. At every reservation, for every limit,

    spent + reserved <= limit

so a run overspends at most by what the attempts in flight cost beyond their reservations. A
reservation that does not fit may fit later, when others turn out cheaper; one that would not fit
even if nothing else were reserved exhausts the budget: nothing more is started, what runs
finishes, and the run stops cleanly.

Seconds of the run are the wall time of all its commands together, and are not reserved. Seconds of
a role are those that its attempts took, added up.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

Unit = Literal["usd", "tokens", "calls", "seconds"]
UNITS: tuple[Unit, ...] = ("usd", "tokens", "calls", "seconds")
RUN = ""
"""The name of the run's own account, beside those of its roles."""
Verdict = Literal["granted", "later", "refused"]
_ROUNDING = 1e-12
"""US dollars that sums of floats may be wrong by."""


class Limits(BaseModel):
    """The most that may be spent; None is no limit."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    usd: float | None = Field(None, ge=0.0)
    """US dollars."""
    tokens: int | None = Field(None, ge=0)
    """Of prompts and completions together."""
    calls: int | None = Field(None, ge=0)
    """Attempts, also those that fail."""
    seconds: float | None = Field(None, ge=0.0)
    """Wall time of the run; of a role the time that its attempts took, added up."""

    @property
    def some(self) -> bool:
        """Whether anything is limited."""
        return any(getattr(self, unit) is not None for unit in UNITS)


class Budget(Limits):
    """Limits of a run; what earlier commands spent on the same run counts."""

    roles: dict[str, Limits] = {}
    """Limits of single roles, by their name."""

    @property
    def limited(self) -> bool:
        """Whether anything is limited."""
        return self.some or any(limits.some for limits in self.roles.values())

    @property
    def counts_money(self) -> bool:
        """Whether there is a limit in US dollars."""
        return any(limits.usd is not None for limits in (self, *self.roles.values()))


class Amount(NamedTuple):
    """What attempts cost, or may cost."""

    usd: float = 0.0
    tokens: int = 0
    calls: int = 0
    seconds: float = 0.0

    def plus(self, other: Amount) -> Amount:
        """Return both together."""
        usd, tokens, calls, seconds = other
        return Amount(self[0] + usd, self[1] + tokens, self[2] + calls, self[3] + seconds)

    def less(self, other: Amount) -> Amount:
        """Return what is left of this without `other`, nothing below 0."""
        usd, tokens, calls, seconds = other
        return Amount(
            max(self[0] - usd, 0.0),
            max(self[1] - tokens, 0),
            max(self[2] - calls, 0),
            max(self[3] - seconds, 0.0),
        )


NOTHING = Amount()


@dataclass(slots=True)
class Account:
    """What the run, or one of its roles, may spend, has spent and has reserved."""

    limits: Limits
    spent: Amount = NOTHING
    reserved: Amount = NOTHING

    def fits(self, need: Amount) -> bool:
        """Whether `need` can be reserved beside what is reserved already."""
        return self.over(self.spent.plus(self.reserved), need) is None

    @property
    def left(self) -> Amount:
        """What may still be spent, reservations included; nothing of what is not limited."""
        most = self.limits
        allowed = Amount(most.usd or 0.0, most.tokens or 0, most.calls or 0, most.seconds or 0.0)
        return allowed.less(self.spent)

    def over(self, present: Amount, need: Amount) -> Unit | None:
        """Return the unit whose limit `need` beyond `present` would pass, or None."""
        limits = self.limits
        if limits.usd is not None and present.usd + need.usd > limits.usd + _ROUNDING:
            return "usd"
        if limits.tokens is not None and present.tokens + need.tokens > limits.tokens:
            return "tokens"
        if limits.calls is not None and present.calls + need.calls > limits.calls:
            return "calls"
        if limits.seconds is not None and present.seconds + need.seconds > limits.seconds:
            return "seconds"
        return None


def _moved(limits: Limits, by: Amount, since: Limits | None) -> Limits:
    """Return the limits `by` beyond those of `since` (None: beyond 0); what has none has none."""
    new = {
        unit: (getattr(since, unit) if since else 0) + getattr(by, unit)
        for unit in UNITS
        if getattr(limits, unit) is not None
    }
    return Limits(**new)


class Ledger:
    """See the module's theory. Pure: it has no clock, and is told how late it is."""

    def __init__(
        self, budget: Budget, spent: Mapping[str, Amount] | None = None, *, seconds: float = 0.0
    ) -> None:
        """Begin with what was spent before.

        Args:
            budget: the limits.
            spent: by role.
            seconds: wall time of the run's earlier commands.
        """
        self.budget = budget
        self.limited = budget.limited
        self.exhausted = False
        """Whether a limit is reached."""
        self.reached: tuple[str, Unit] | None = None
        """Which one: the role (RUN for the run's) and the unit."""
        self.seconds = seconds
        self._seconds_before = seconds
        self._outstanding = 0
        self._leased = False
        # the run's seconds are wall time, which no attempt adds to
        self._whole = Limits(usd=budget.usd, tokens=budget.tokens, calls=budget.calls)
        self._run = Account(self._whole)
        self._roles = {role: Account(limits) for role, limits in budget.roles.items()}
        for role, amount in (spent or {}).items():
            self.book(role, amount)

    @property
    def paid(self) -> float:
        """US dollars paid."""
        return self._run.spent.usd

    @property
    def calls(self) -> int:
        """Attempts that are over."""
        return self._run.spent.calls

    @property
    def outstanding(self) -> int:
        """Reservations that are neither settled nor released."""
        return self._outstanding

    def spent(self) -> dict[str, Amount]:
        """Return what was spent by each role that spent something."""
        return {role: one.spent for role, one in self._roles.items() if one.spent != NOTHING}

    def accounts(self) -> Iterable[tuple[str, Account]]:
        """Yield the accounts by role; the run's own is called RUN."""
        yield RUN, self._run
        yield from self._roles.items()

    def reserve(self, role: str, need: Amount) -> Verdict:
        """Set `need` aside for an attempt, where it fits."""
        if self.exhausted:
            return "refused"
        mine = self._account(role)
        if self._run.fits(need) and mine.fits(need):
            self.force(role, need)
            return "granted"
        for name, account in () if self._leased else ((RUN, self._run), (role, mine)):
            unit = account.over(account.spent, need)
            if unit is not None:
                self._exhaust(name, unit)
                return "refused"
        return "later"

    def force(self, role: str, need: Amount) -> None:
        """Set `need` aside, whether it fits or not: for what is under way already."""
        self._outstanding += 1
        for account in (self._run, self._account(role)):
            account.reserved = account.reserved.plus(need)

    def settle(self, role: str, need: Amount, cost: Amount) -> None:
        """Book what an attempt cost in place of what was reserved for it."""
        self.release(role, need)
        self.book(role, cost)

    def release(self, role: str, need: Amount) -> None:
        """Give back what was reserved for an attempt that is not made."""
        self._outstanding -= 1
        for account in (self._run, self._account(role)):
            # with nothing outstanding nothing is reserved, whatever floats have left over
            left = account.reserved.less(need) if self._outstanding else NOTHING
            account.reserved = left

    def book(self, role: str, cost: Amount) -> None:
        """Book what was not reserved."""
        for account in (self._run, self._account(role)):
            account.spent = account.spent.plus(cost)

    def lease(self) -> None:
        """Allow nothing beyond what is spent, until something is granted: the budget is shared.

        A reservation that does not fit waits from now on, and never exhausts the budget.
        """
        self._leased = True
        for _, account in self.accounts():
            account.limits = _moved(account.limits, account.spent, since=None)

    def grant(self, more: Mapping[str, Amount]) -> None:
        """Allow more, by role (RUN for the run's own account)."""
        for role, amount in more.items():
            account = self._run if role == RUN else self._account(role)
            account.limits = _moved(account.limits, amount, since=account.limits)

    def exhaust(self, role: str, need: Amount) -> None:
        """Take note that `need` cannot be had, since nobody leases more."""
        accounts = ((RUN, self._run), (role, self._account(role)))
        given = {RUN: self._whole, **self.budget.roles}
        whole = [(name, Account(given.get(name, Limits()), one.spent)) for name, one in accounts]
        for name, account in (*whole, *accounts):  # a limit that others have reached comes last
            unit = account.over(account.spent.plus(account.reserved), need)
            if unit is not None:
                self._exhaust(name, unit)
                return

    def tick(self, elapsed_s: float) -> bool:
        """Take note of the wall time of this command; True once the run's time is over."""
        self.seconds = self._seconds_before + elapsed_s
        limit = self.budget.seconds
        if limit is not None and self.seconds >= limit:
            self._exhaust(RUN, "seconds")
            return True
        return False

    @property
    def left_s(self) -> float | None:
        """Seconds until the run's time is over; None where it is not limited, or is over."""
        limit = self.budget.seconds
        return None if limit is None or self.exhausted else max(limit - self.seconds, 0.0)

    def _exhaust(self, role: str, unit: Unit) -> None:
        if not self.exhausted:
            self.exhausted, self.reached = True, (role, unit)

    def _account(self, role: str) -> Account:
        account = self._roles.get(role)
        if account is None:
            account = self._roles[role] = Account(Limits())
        return account
