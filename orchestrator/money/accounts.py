"""What attempts cost: reserved before they are made, settled after, kept in mind where they fail.

The ledger decides and the driver acts; here lies what is between: how much an ask may cost, whose
attempts must be durable before they are made, and what becomes of them when their worker dies.

Experts that cost nothing (recorded, offline, scripted ones without a price) take a short way: an
ask is counted as a call, its tokens when it is over, and nothing more is written.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from agents.counting import prompt_tokens
from agents.engine import Attempted
from agents.engines import is_charged
from agents.roster import Expert
from orchestrator.fleets.fleet import Dispatch, Results
from orchestrator.journal import DispatchRecord, ReplyRecord
from orchestrator.live import Pending, Price
from orchestrator.money.gpu_seconds import GpuSeconds
from orchestrator.money.ledger import Amount, Ledger
from orchestrator.planner.lengths import Lengths
from protocols.messages import Place
from protocols.replies import Reply, Usage, failed

REPLY_TOKENS = 1_024
"""The length of a reply that is reserved where neither ``max_tokens`` nor experience limits it."""
UPPER = 0.95
"""The quantile of the lengths seen of an expert in a role that is reserved from then on."""
Came = tuple[Pending, Attempted, float]
"""An ask, what came of an attempt at it, and what that cost by the GPU second."""
LOST = "lost"
"""The cause of attempts of which nobody knows what became."""


class Accounts:
    """See the module's theory."""

    def __init__(
        self,
        ledger: Ledger,
        experts: Iterable[Expert],
        price: Price,
        *,
        item: Callable[[int, int], object],
    ) -> None:
        """Begin to account.

        Args:
            ledger: books and decides.
            experts: all that may be asked.
            price: the list price of an attempt.
            item: what runs at an index of a batch, or None.
        """
        known = list(experts)
        self.ledger = ledger
        self.charged = frozenset([one.label for one in known if is_charged(one)])
        """The experts whose attempts cost something, or may."""
        self.gpus = GpuSeconds(known)
        self.price = price
        self._item = item
        self._lengths = Lengths(REPLY_TOKENS, UPPER)
        self._learns = bool(self.charged) or ledger.limited
        self._parked: deque[Pending] = deque()
        self._running: dict[int, Dispatch] = {}
        self._left: dict[int, int] = {}
        """Attempts of a batch that are not over."""

    @property
    def parked(self) -> int:
        """Asks that wait until others have cost less than was reserved."""
        return 0 if self.ledger.exhausted else len(self._parked)

    def admit(self, items: Sequence[Pending]) -> Sequence[Pending]:
        """Reserve for these and return those that may be asked; the others wait, or stay missing.

        A budget that is exhausted lets nothing through.
        """
        if not self.ledger.limited:
            return items
        admitted: list[Pending] = []
        for pending in items:
            verdict = self._reserve(pending)
            if verdict == "granted":
                admitted.append(pending)
            elif verdict == "later":
                self._parked.append(pending)
        return admitted

    def unpark(self) -> list[Pending]:
        """Take out the waiting asks that fit by now, in their order."""
        ready: list[Pending] = []
        while self._parked and not self.ledger.exhausted:
            if self._reserve(self._parked[0]) != "granted":
                break
            ready.append(self._parked.popleft())
        return ready

    def first_parked(self) -> tuple[str, Amount] | None:
        """Return who waits for what, or None."""
        if not self._parked:
            return None
        pending = self._parked[0]
        return pending.ask.seat.role, self._need(pending)

    def dispatched(self, action: Dispatch, now: float) -> list[DispatchRecord]:
        """Return what must be durable before a batch is made; nothing where it is free."""
        if action.expert not in self.charged:
            return []
        self._running[action.batch] = action
        self._left[action.batch] = len(action.asks)
        self.gpus.start(action, now)
        records = []
        for index in range(len(action.asks)):
            pending = self._item(action.batch, index)
            assert isinstance(pending, Pending)
            assert pending.ask.place is not None
            usage = self._usage(pending)
            records.append(
                DispatchRecord(
                    pending.session.job.session,
                    pending.ask.place,
                    pending.attempt,
                    self._expected(action.expert, usage),
                    usage.prompt_tokens,
                    usage.completion_tokens,
                )
            )
        return records

    def settle(self, pending: Pending, reply: Reply, *, gpu_price: float = 0.0) -> float | None:
        """Book what an attempt has cost and return its list price in US dollars."""
        ask, usage = pending.ask, reply.usage
        price = self.price(pending.expert, usage)
        if gpu_price:
            price = (price or 0.0) + gpu_price
        tokens = usage.prompt_tokens + usage.completion_tokens
        cost = Amount(price or 0.0, tokens, 1, reply.latency_s)
        role = ask.seat.role
        if pending.reserved is None:
            self.ledger.book(role, cost)
        else:
            self.ledger.settle(role, pending.reserved, cost)
            pending.reserved = None
        if self._learns:
            self._lengths.learn(ask, usage.completion_tokens)
        return price

    def came_back(self, results: Results, now: float) -> list[Came]:
        """Take note that attempts are over; return those of asks that are still open."""
        price, item = self.gpus.price(results.batch, now), self._item
        came: list[Came] = []
        for index, result in results.items:
            pending = item(results.batch, index)
            if isinstance(pending, Pending):
                came.append((pending, result, price))
        self._ended(results.batch, len(results.items))
        return came

    def _ended(self, batch: int, count: int) -> None:
        left = self._left.get(batch)
        if left is None:
            return
        self.gpus.end(batch, count, over=left <= count)
        self._left[batch] = left - count
        if left <= count:
            del self._left[batch], self._running[batch]

    def lost(self, worker: str) -> list[ReplyRecord]:
        """Book the attempts that a lost worker was making at what was reserved for them.

        Nobody knows what became of them, so they count as made and are asked again, as further
        attempts, for which the same is reserved, whether that fits or not.
        """
        records = []
        self.gpus.lose(worker)
        for batch in [number for number, one in self._running.items() if one.worker == worker]:
            action = self._running.pop(batch)
            del self._left[batch]
            for index in range(len(action.asks)):
                pending = self._item(batch, index)
                if isinstance(pending, Pending):
                    records.append(self._book_lost(pending))
        return records

    def _book_lost(self, pending: Pending) -> ReplyRecord:
        place, role = pending.ask.place, pending.ask.seat.role
        assert place is not None
        usage = self._usage(pending)
        usd = self._expected(pending.expert, usage)
        session = pending.session.job.session
        record = lost_attempt(session, place, pending.attempt, usage, usd)
        cost = Amount(usd or 0.0, usage.prompt_tokens + usage.completion_tokens, 1)
        if pending.reserved is None:
            self.ledger.book(role, cost)
        else:
            self.ledger.settle(role, pending.reserved, cost)
            self.ledger.force(role, cost)
            pending.reserved = cost
        pending.attempt += 1
        return record

    def _reserve(self, pending: Pending) -> str:
        need = self._need(pending)
        verdict = self.ledger.reserve(pending.ask.seat.role, need)
        if verdict == "granted":
            pending.reserved = need
        return verdict

    def _need(self, pending: Pending) -> Amount:
        """Return what an attempt at an ask may cost; its seconds are not known before."""
        usage = self._usage(pending)
        expert = pending.expert
        usd = (self._expected(expert, usage) or 0.0) if expert in self.charged else 0.0
        return Amount(usd, usage.prompt_tokens + usage.completion_tokens, 1)

    def _expected(self, expert: str, usage: Usage) -> float | None:
        """Return the US dollars of an attempt before it is made; None where no price is known."""
        price, gpu = self.price(expert, usage), self.gpus.expected(expert)
        return (price or 0.0) + gpu if gpu else price

    def _usage(self, pending: Pending) -> Usage:
        """Return the tokens that an attempt may take."""
        ask = pending.ask
        most = ask.seat.sampling.max_tokens
        completion = round(self._lengths.predict(ask)) if most is None else most
        return Usage(prompt_tokens(ask.messages), completion)


def lost_attempt(
    session: int, place: Place, attempt: int, usage: Usage, usd: float | None
) -> ReplyRecord:
    """Return the record of an attempt of which nobody knows what became, at its reserved price."""
    told = "it was under way when its process died; counted at the price reserved for it"
    reply = replace(failed("provider", told, cause=LOST), usage=usage)
    return ReplyRecord(session, place, attempt, False, reply, usd, usd)
