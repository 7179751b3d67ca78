"""The driver: the only event loop. It steps sessions, records, and owns retries and the budget.

Theory. Every ask goes through five stations, and is in exactly one of them:

    yielded -> (ask row durable) -> planned -> running -> (reply row durable) -> sent in

The driver keeps at most a window of sessions live. In each pass of its loop it takes what
happened since the last one (results from the fleet, records that became durable, waits that are
over). Places that became free are filled at once from what waits; only then does it step some of
the sessions that may go on, asks the planner anew, opens more sessions, and hands everything that
is to be recorded to the journal. Nothing else waits for anything.

Order of writes: the ask row is durable before the ask is dispatched; the reply row is durable
before the reply is sent into its session. So no reply that was paid for is lost to ``kill -9``,
and what is repeated after a crash is at most what was in flight.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from agents.roster import Expert
from orchestrator.driver_settings import DriverSettings
from orchestrator.fleets.fleet import (
    Action,
    Dispatch,
    Fleet,
    FleetEvent,
    Inbox,
    Results,
    WorkerLost,
)
from orchestrator.journal import AskRecord, Journal, OutcomeRecord, ReplyRecord
from orchestrator.limits.gates import Gates
from orchestrator.limits.retry import TryAgain
from orchestrator.limits.routes import Routes
from orchestrator.limits.waits import Waits
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
from orchestrator.money.accounts import Accounts, Came
from orchestrator.money.leasing import Lease, Want
from orchestrator.money.ledger import Ledger
from orchestrator.money.reply_cache import CacheKeys, LookUp, ReplyCache, cached_record
from orchestrator.outbox import Outbox
from orchestrator.planner.plan import AsksArrived, Cancelled, ExpertThrottled, Planner
from orchestrator.progress import AllWorkersLost, Ended, Ending, Progress, Tally
from orchestrator.sharing import take_over
from orchestrator.tuning import AT_ONCE, TOGETHER, let_others_run, quiet_garbage_collector
from protocols.errors import MootError
from protocols.replies import Reply
from protocols.tape import Finished, advance

if TYPE_CHECKING:
    from orchestrator.store import Hit

__all__ = ["AllWorkersLost", "Driver", "DriverSettings", "Ended", "Ending", "Progress"]


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
        self._experts = experts
        self._inbox = Inbox()
        self._lease = lease
        self._keys = CacheKeys(experts)
        self._cache = ReplyCache(self._keys, look_up, self._inbox.wake) if look_up else None
        self._came: list[Came] = []
        self._out = Outbox(journal, self._inbox.wake)
        self._waits = Waits()
        self._live = 0
        self._tally = Tally(on_progress)
        self._stopping = False

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
        self._tally.begin(time.monotonic(), total=total, done=done)
        self._out.start()
        try:
            with quiet_garbage_collector():
                await self._fleet.start(self._experts, self._inbox)
                await self._loop(iter(jobs))
        except BaseException:
            with suppress(MootError):  # of a journal that fails: that is told already
                self._keep_what_came()
            raise
        finally:
            self.meters.close(self.planner, time.monotonic())
            await self._fleet.close()
            for helper in (self._cache, self._lease):
                if helper:
                    await helper.close()
            await self._out.close()
        progress = self._progress(time.monotonic())
        self._tally.report(progress)
        if self.ledger.exhausted:
            return Ended("budget", progress, self.ledger.reached)
        return Ended("stopped" if self._stopping else "finished", progress)

    async def _loop(self, jobs: Any) -> None:
        more = True
        while True:
            now = time.monotonic()
            if self.ledger.tick(now - self._tally.began) and not self.planner.cancelled:
                self.planner.apply(Cancelled(), now)
            for event in self._inbox.take():
                self._on_event(event, now)
            if self._came:
                await self._refill(now)
                self._record_came(now)
            self._go_on()
            if self._cache:
                self._on_looked_up(self._cache.take())
            self._end_waits(now)
            actions, wake_at = self._plan(now)
            await self._perform(actions, now)
            starts = not self._stopping and not self.ledger.exhausted
            more = more and starts and self._admit(jobs)
            self.meters.flush(self.planner, now)
            if not self._has_more(more) or len(self._out.records) >= min(TOGETHER, self._live):
                self._out.flush()
            self._tally.tell(now, self._progress)
            if self._is_over(more):
                return
            if self._has_more(more):
                await let_others_run()  # there is more to do, and more comes back
                continue
            await self._inbox.wait(self._timeout(wake_at, now))

    def _is_over(self, more: bool) -> bool:
        if self._out.waiting or self._out.records or self.planner.in_flight:
            return False
        if self._stopping or self.planner.cancelled:
            return True
        if self.ledger.exhausted:
            return self.planner.waiting == 0
        return not more and self._live == 0

    def _has_more(self, more: bool) -> bool:
        """Whether there is more to do at once; the first asks of all get on their way before."""
        begun = self.planner.in_flight + self._tally.attempts + self._tally.asks > 0
        return bool(self._out.durable) or (more and begun and self._live < self.settings.window)

    def _admit(self, jobs: Any) -> bool:
        """Open sessions while the window has room; False when there are no more jobs."""
        for _ in range(min(self.settings.window - self._live, AT_ONCE)):
            job = next(jobs, None)
            if job is None:
                return False
            self._open(job)
        return True

    def _open(self, job: Job) -> None:
        opened = open_session(job, self.accounts.price)
        self._out.records.extend(opened.records)
        if isinstance(opened, Over):
            self._end(opened.record)
        else:
            self._live += 1
            self._ask(opened)

    def _ask(self, opened: Opened) -> None:
        """Record the asks of a turn; they are planned once they are durable."""
        for pending in opened.pending:
            self._out.records.append(AskRecord(pending.session.job.session, pending.ask))
            self._out.tokens.append(pending)

    def _go_on(self) -> None:
        """Go on with what has become durable, as far as it takes few steps of sessions."""
        arrived: list[Pending] = []
        stepped = 0
        while self._out.durable and stepped < AT_ONCE:
            token = self._out.durable.popleft()
            if isinstance(token, Pending):
                arrived.append(token)
            elif isinstance(token, Open):
                self._advance(token)
                stepped += 1
            elif isinstance(token, Want) and self._lease:
                self._lease.begin(token, self._inbox.wake)
            elif self.planner.item(token.batch, 0) is not None:  # its worker may be lost meanwhile
                self._fleet.perform(token)
        arrived = take_over(arrived, self._take_over)
        self._hand_over(self._cache.hold(arrived) if self._cache else arrived)

    def _on_looked_up(self, looked_up: Sequence[tuple[Pending, Hit | None]]) -> None:
        """Take what the cache holds as replies, and ask the rest."""
        for pending, hit in looked_up:
            place = pending.ask.place
            if hit is not None and place is not None:
                self._take_over(pending, cached_record(pending, place, hit))
        self._hand_over([pending for pending, hit in looked_up if hit is None])

    def _take_over(self, pending: Pending, record: ReplyRecord) -> None:
        """Take a reply for which no call was made."""
        self._tally.asks += 1
        self._keep(pending, record)
        if pending.session.put(pending.slot, record.reply):
            self._out.tokens.append(pending.session)

    def _keep(self, pending: Pending, record: ReplyRecord) -> None:
        """Record an attempt; hand an accepted reply on to the sessions that share it."""
        self._out.records.append(record)
        if record.accepted and (shared := pending.session.job.shared):
            for other, taken in shared.give(pending, record):
                self._take_over(other, taken)

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
        self._out.records.append(record)
        self._tally.done += 1

    def _on_event(self, event: FleetEvent, now: float) -> None:
        """Tell the planner, and keep what came back until it is decided on."""
        if isinstance(event, Results):
            self._came += self.accounts.came_back(event, now)
        else:
            self.meters.on_event(event)
            if isinstance(event, WorkerLost):
                self._out.records.extend(self.accounts.lost(event.worker))
        self.planner.apply(event, now)
        if isinstance(event, WorkerLost) and not event.replaced and not self.planner.workers:
            raise AllWorkersLost(f"the last worker is gone: {event.message}")

    async def _refill(self, now: float) -> None:
        """Fill the places that became free, before what came back is recorded."""
        if not self._stopping:
            self.planner.settle(False)
            await self._perform(self.planner.plan(now)[0], now)
            if self._out.tokens:
                self._out.flush()

    def _record_came(self, now: float) -> None:
        came, self._came = self._came, []
        for item in came:
            self._on_result(item, now)

    def _keep_what_came(self) -> None:
        """Record what came back before an error or a cancellation ended the loop."""
        now = time.monotonic()
        for event in self._inbox.take():
            if isinstance(event, Results):
                self._came += self.accounts.came_back(event, now)
        self._record_came(now)
        self._out.flush()

    def _on_result(self, came: Came, now: float, *, final: bool = False) -> None:
        """Decide on an attempt, record it, and send it in once it is durable."""
        pending, result, gpu_price = came
        decision = self._routes.decide(pending, result, final=final)
        again = isinstance(decision, TryAgain)
        self._record(pending, decision.reply, gpu_price, accepted=not again)
        pending.attempt += 1
        if isinstance(decision, TryAgain):
            if decision.throttled:
                until = now + decision.wait_s
                self.planner.apply(ExpertThrottled(pending.expert, until), now)
            pending.turn_to(decision.expert)
            self._waits.put(now + decision.wait_s, pending)
        elif pending.session.put(pending.slot, decision.reply):
            self._out.tokens.append(pending.session)

    def _record(self, pending: Pending, reply: Reply, gpu_price: float, *, accepted: bool) -> None:
        price = self.accounts.settle(pending, reply, gpu_price=gpu_price)
        self.meters.on_reply(pending.expert, reply, price)
        self._tally.attempts += 1
        if accepted:
            self._tally.asks += 1
            self._tally.failed += reply.failed
        place = pending.ask.place
        assert place is not None
        session, attempt = pending.session.job.session, pending.attempt
        key = self._keys.for_reply(pending, reply) if accepted else None
        record = ReplyRecord(session, place, attempt, accepted, reply, price, price, cache_key=key)
        self._keep(pending, self._routes.signed(pending, record))

    def _end_waits(self, now: float) -> None:
        self._hand_over(self._waits.take(now))
        if self.accounts.parked and (freed := self.accounts.unpark()):
            self.planner.apply(AsksArrived(freed), now)
        if self._lease and (want := self._lease.want(self.accounts.first_parked())):
            self._out.tokens.append(want)

    def _plan(self, now: float) -> tuple[list[Action], float | None]:
        """Start what the planner wants started; fail what no worker can ever host."""
        if self._stopping and not self.planner.cancelled:
            self.planner.apply(Cancelled(), now)
        self._routes.reroute(self.planner, now)
        for expert, reply in self._routes.hopeless(self.planner, now):
            for item in self.planner.drain(expert):
                if isinstance(item, Pending):
                    self._on_result((item, reply, 0.0), now, final=True)
        self.planner.settle(not self._out.waiting)
        return self.planner.plan(now)

    async def _perform(self, actions: Sequence[Action], now: float) -> None:
        """Begin what the planner wants, and let it get on its way before anything else is done."""
        for action in actions:
            if isinstance(action, Dispatch):
                self.meters.on_dispatch(action.expert, len(action.asks))
                if records := self.accounts.dispatched(action, now):
                    self._out.records.extend(records)  # durable before it is made
                    self._out.tokens.append(action)
                    continue
            self._fleet.perform(action)
        if actions:
            await let_others_run()

    def _timeout(self, wake_at: float | None, now: float) -> float | None:
        """Seconds until something is due by itself."""
        times = [self._tally.due(watched=bool(self.meters.sinks)), wake_at]
        if not self._stopping:
            times += [self._waits.next_at, self.gates.due(now)]
        if (left_s := self.ledger.left_s) is not None:
            times.append(now + left_s)
        at = min([one for one in times if one is not None], default=None)
        return None if at is None else max(at - now, 0.0)

    def _progress(self, now: float) -> Progress:
        return self._tally.progress(now, in_flight=self.planner.in_flight, paid=self.ledger.paid)
