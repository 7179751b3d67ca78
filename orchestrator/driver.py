"""The driver: the only event loop. It steps sessions, records, and owns retries and the budget.

Theory. Every ask goes through five stations, and is in exactly one of them:

    yielded -> (ask row durable) -> planned -> running -> (reply row durable) -> sent in

The driver keeps at most a window of sessions live. In each pass of its loop it takes what
happened since the last one (records that became durable, results from the fleet, waits that are
over), lets each touch the sessions it concerns, hands everything that is to be recorded to the
journal in one append, and asks the planner what to start. Nothing else waits for anything.

Order of writes: the ask row is durable before the ask is dispatched; the reply row is durable
before the reply is sent into its session. So no reply that was paid for is lost to ``kill -9``,
and what is repeated after a crash is at most what was in flight.
"""

from __future__ import annotations

import asyncio
import heapq
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from agents.engine import Attempted
from agents.roster import Expert
from orchestrator.accounts import Accounts
from orchestrator.driver_settings import DriverSettings
from orchestrator.fleet import Dispatch, Fleet, FleetEvent, Inbox, Results, WorkerLost
from orchestrator.gates import Gates
from orchestrator.journal import AskRecord, Journal, JournalRecord, OutcomeRecord, ReplyRecord
from orchestrator.leasing import Lease, Want
from orchestrator.ledger import Ledger
from orchestrator.live import (
    Job,
    Open,
    Opened,
    Over,
    Pending,
    Price,
    free,
    open_session,
    outcome_json,
)
from orchestrator.metrics import Meters
from orchestrator.plan import AsksArrived, Cancelled, ExpertThrottled, Planner
from orchestrator.progress import Ended, Ending, Progress
from orchestrator.reply_cache import CacheKeys, LookUp, ReplyCache, cached_record
from orchestrator.retry import TryAgain
from orchestrator.routes import Routes
from orchestrator.tuning import quiet_garbage_collector
from protocols.errors import MootError
from protocols.replies import Reply
from protocols.tape import Finished, advance

if TYPE_CHECKING:
    from orchestrator.store import Hit

__all__ = ["AllWorkersLost", "Driver", "DriverSettings", "Ended", "Ending", "Progress"]

PROGRESS_EVERY_S = 0.1
ADMIT_FIRST, ADMIT_AT_ONCE = 64, 500
"""Sessions that are opened in one pass: few at first, so that the first asks leave soon."""


class AllWorkersLost(MootError):
    """No worker is left to run on; what is recorded is kept, and the same command resumes."""


class Driver:
    """Runs jobs on a fleet and records them in a journal. Use one driver for one call."""

    def __init__(
        self,
        fleet: Fleet,
        journal: Journal,
        experts: Sequence[Expert],
        *,
        settings: DriverSettings | None = None,
        price: Price = free,
        ledger: Ledger | None = None,
        on_progress: Callable[[Progress], None] | None = None,
        meters: Meters | None = None,
        look_up: LookUp | None = None,
        lease: Lease | None = None,
    ) -> None:
        self.settings = settings or DriverSettings()
        self.meters = meters or Meters()
        self.ledger = ledger or Ledger(self.settings.budget)
        retry = self.settings.retry
        self.gates = Gates(experts, self.settings.limits, patience_s=retry.longest_total_s)
        self.planner = Planner(self.settings.plan, gates=self.gates)
        self._routes = Routes(experts, retry, self.gates)
        self.accounts = Accounts(self.ledger, experts, price, item=self.planner.item)
        self._fleet = fleet
        self._journal = journal
        self._experts = experts
        self._on_progress = on_progress
        self._inbox = Inbox()
        self._lease = lease
        self._keys = CacheKeys(experts)
        self._cache = ReplyCache(self._keys, look_up, self._inbox.wake) if look_up else None
        self._durable: list[Any] = []
        self._records: list[JournalRecord] = []
        self._tokens: list[Any] = []
        self._waits: list[tuple[float, int, Pending]] = []
        self._live = 0
        self._in_journal = 0
        self._total = 0
        self._done = 0
        self._counts = {"asks": 0, "failed": 0, "attempts": 0}
        self._stopping = False
        self._began = 0.0
        self._reported = 0.0

    def stop(self) -> None:
        """Start nothing more; what runs is finished and recorded, then :meth:`run` returns."""
        self._stopping = True
        self._inbox.wake()

    async def run(self, jobs: Iterable[Job], *, total: int, done: int = 0) -> Ended:
        """Run `jobs` to their outcomes.

        Args:
            jobs: taken one by one as the window has room.
            total: how many sessions the run has, for progress.
            done: how many of them were done before.

        Raises:
            AllWorkersLost: no worker is left.
        """
        self._began = time.monotonic()
        self._total, self._done = total, done
        self._journal.start(self._on_durable)
        try:
            with quiet_garbage_collector():
                await self._fleet.start(self._experts, self._inbox)
                await self._loop(iter(jobs))
        finally:
            self.meters.close(self.planner, time.monotonic())
            await self._fleet.close()
            for helper in (self._cache, self._lease):
                if helper:
                    await helper.close()
            await self._journal.close()
        progress = self._progress(time.monotonic())
        self._report(progress)
        if self.ledger.exhausted:
            return Ended("budget", progress, self.ledger.reached)
        return Ended("stopped" if self._stopping else "finished", progress)

    async def _loop(self, jobs: Any) -> None:
        more = True
        while True:
            now = time.monotonic()
            more = more and self._may_start() and self._admit(jobs)
            if self.ledger.tick(now - self._began) and not self.planner.cancelled:
                self.planner.apply(Cancelled(), now)
            for event in self._inbox.take():
                self._on_event(event, now)
            durable, self._durable = self._durable, []
            for tokens in durable:
                self._on_tokens(tokens)
            if self._cache:
                self._on_looked_up(self._cache.take())
            self._end_waits(now)
            wake_at = self._plan(now)
            self.meters.flush(self.planner, now)
            self._flush()
            if now - self._reported >= PROGRESS_EVERY_S:
                self._reported = now
                self._report(self._progress(now))
            if self._is_over(more):
                return
            if self._durable or (more and self._live < self.settings.window):
                await asyncio.sleep(0)  # there is more to do; let the fleet's tasks run first
                continue
            await self._inbox.wait(self._timeout(wake_at, now))

    def _may_start(self) -> bool:
        return not self._stopping and not self.ledger.exhausted

    def _is_over(self, more: bool) -> bool:
        if self._in_journal or self._durable or self._records or self.planner.in_flight:
            return False
        if self._stopping or self.planner.cancelled:
            return True
        if self.ledger.exhausted:
            return self.planner.waiting == 0
        return not more and self._live == 0

    def _admit(self, jobs: Any) -> bool:
        """Open sessions while the window has room; False when there are no more jobs."""
        most = min(ADMIT_AT_ONCE, max(self._live, ADMIT_FIRST))
        for _ in range(min(self.settings.window - self._live, most)):
            job = next(jobs, None)
            if job is None:
                return False
            self._open(job)
        return True

    def _open(self, job: Job) -> None:
        opened = open_session(job, self.accounts.price)
        self._records.extend(opened.records)
        if isinstance(opened, Over):
            self._end(opened.record)
            return
        self._live += 1
        self._ask(opened)

    def _ask(self, opened: Opened) -> None:
        """Record the asks of a turn; they are planned once they are durable."""
        for pending in opened.pending:
            self._records.append(AskRecord(pending.session.job.session, pending.ask))
            self._tokens.append(pending)

    def _on_durable(self, tokens: Sequence[Any]) -> None:
        self._durable.extend(tokens)
        self._inbox.wake()

    def _on_tokens(self, tokens: Sequence[Any]) -> None:
        """Go on with what has just become durable."""
        self._in_journal -= 1
        arrived: list[Pending] = []
        for token in tokens:
            if isinstance(token, Pending):
                arrived.append(token)
            elif isinstance(token, Open):
                self._advance(token)
            elif isinstance(token, Want) and self._lease:
                self._lease.begin(token, self._inbox.wake)
            elif self.planner.item(token.batch, 0) is not None:  # its worker may be lost meanwhile
                self._fleet.perform(token)
        self._hand_over(self._cache.hold(arrived) if self._cache else arrived)

    def _on_looked_up(self, looked_up: Sequence[tuple[Pending, Hit | None]]) -> None:
        """Take what the cache holds as replies, and ask the rest."""
        for pending, hit in looked_up:
            place = pending.ask.place
            if hit is not None and place is not None:
                self._counts["asks"] += 1
                self._records.append(cached_record(pending, place, hit))
                if pending.session.put(pending.slot, hit.reply):
                    self._tokens.append(pending.session)
        self._hand_over([pending for pending, hit in looked_up if hit is None])

    def _hand_over(self, items: list[Pending]) -> None:
        """Give asks to the planner, as far as the budget allows; the others stay missing."""
        affordable = self.accounts.admit(self._routes.route(items, time.monotonic()))
        if affordable:
            self.planner.apply(AsksArrived(affordable), 0.0)

    def _advance(self, session: Open) -> None:
        """Send a complete turn into its session."""
        replies = session.take_replies()
        try:
            step = advance(session.live, replies)
        except Exception as error:  # noqa: BLE001 - a defect of one protocol; siblings live
            step = Finished(error)
        if isinstance(step, Finished):
            self._live -= 1
            self._end(outcome_json(session.job.session, step.outcome))
        else:
            session.ask(step)
            self._ask(Opened(session, session.pending(range(len(step)))))

    def _end(self, record: OutcomeRecord) -> None:
        self._records.append(record)
        self._done += 1

    def _on_event(self, event: FleetEvent, now: float) -> None:
        if isinstance(event, Results):
            gpu_price = self.accounts.gpus.price(event.batch, now)
            for index, result in event.items:
                pending = self.planner.item(event.batch, index)
                if isinstance(pending, Pending):
                    self._on_result(pending, result, now, gpu_price)
            self.accounts.ended(event.batch, len(event.items))
        else:
            self.meters.on_event(event)
            if isinstance(event, WorkerLost):
                self._records.extend(self.accounts.lost(event.worker))
        self.planner.apply(event, now)
        if isinstance(event, WorkerLost) and not event.replaced and not self.planner.workers:
            raise AllWorkersLost(f"the last worker is gone: {event.message}")

    def _on_result(
        self,
        pending: Pending,
        result: Attempted,
        now: float,
        gpu_price: float = 0.0,
        *,
        final: bool = False,
    ) -> None:
        """Decide on an attempt, record it, and send it in once it is durable."""
        decision = self._routes.decide(pending, result, final=final)
        again = isinstance(decision, TryAgain)
        self._record(pending, decision.reply, gpu_price, accepted=not again)
        pending.attempt += 1
        if isinstance(decision, TryAgain):
            if decision.throttled:
                until = now + decision.wait_s
                self.planner.apply(ExpertThrottled(pending.expert, until), now)
            pending.turn_to(decision.expert)
            heapq.heappush(self._waits, (now + decision.wait_s, id(pending), pending))
        elif pending.session.put(pending.slot, decision.reply):
            self._tokens.append(pending.session)

    def _record(self, pending: Pending, reply: Reply, gpu_price: float, *, accepted: bool) -> None:
        price = self.accounts.settle(pending, reply, gpu_price=gpu_price)
        self.meters.on_reply(pending.expert, reply, price)
        self._counts["attempts"] += 1
        if accepted:
            self._counts["asks"] += 1
            self._counts["failed"] += reply.failed
        place = pending.ask.place
        assert place is not None
        session, attempt = pending.session.job.session, pending.attempt
        key = self._keys.for_reply(pending, reply) if accepted else None
        record = ReplyRecord(session, place, attempt, accepted, reply, price, price, cache_key=key)
        self._records.append(self._routes.signed(pending, record))

    def _end_waits(self, now: float) -> None:
        ready: list[Pending] = []
        while self._waits and self._waits[0][0] <= now:
            ready.append(heapq.heappop(self._waits)[2])
        self._hand_over(ready)
        if self.accounts.parked and (freed := self.accounts.unpark()):
            self.planner.apply(AsksArrived(freed), now)
        if self._lease and (want := self._lease.want(self.accounts.first_parked())):
            self._tokens.append(want)

    def _plan(self, now: float) -> float | None:
        """Start what the planner wants started; fail what no worker can ever host."""
        if self._stopping and not self.planner.cancelled:
            self.planner.apply(Cancelled(), now)
        self._routes.reroute(self.planner, now)
        for expert, reply in self._routes.hopeless(self.planner, now):
            for item in self.planner.drain(expert):
                if isinstance(item, Pending):
                    self._on_result(item, reply, now, final=True)
        self.planner.settle(not (self._in_journal or self._durable or self._tokens))
        actions, wake_at = self.planner.plan(now)
        for action in actions:
            if isinstance(action, Dispatch):
                self.meters.on_dispatch(action.expert, len(action.asks))
                if records := self.accounts.dispatched(action, now):
                    self._records.extend(records)  # durable before it is made
                    self._tokens.append(action)
                    continue
            self._fleet.perform(action)
        return wake_at

    def _flush(self) -> None:
        """Hand everything that is to be recorded to the journal, with what waits for it."""
        if not self._records and not self._tokens:
            self._journal.append(())  # raises where writing has failed, so that nobody waits
            return
        records, self._records = self._records, []
        tokens, self._tokens = self._tokens, []
        self._in_journal += 1
        self._journal.append(records, tokens)

    def _timeout(self, wake_at: float | None, now: float) -> float | None:
        """Seconds until something is due by itself."""
        shown = self._on_progress is not None or self.meters.sinks
        times = [self._reported + 1.0] if shown else []
        if wake_at is not None:
            times.append(wake_at)
        if self._waits and not self._stopping:
            times.append(self._waits[0][0])
        if (left_s := self.ledger.left_s) is not None:
            times.append(now + left_s)
        if (silent_until := self.gates.due(now)) is not None and not self._stopping:
            times.append(silent_until)
        return max(min(times) - now, 0.0) if times else None

    def _progress(self, now: float) -> Progress:
        return Progress(
            sessions=self._total,
            sessions_done=self._done,
            asks_done=self._counts["asks"],
            replies_failed=self._counts["failed"],
            attempts=self._counts["attempts"],
            in_flight=self.planner.in_flight,
            paid=self.ledger.paid,
            elapsed_s=now - self._began,
        )

    def _report(self, progress: Progress) -> None:
        if self._on_progress:
            self._on_progress(progress)
