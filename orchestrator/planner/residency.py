"""Which expert is loaded where, and what runs next: the cycle-wave rule for GPU workers.

Theory. Loading an expert costs seconds, so an expert that is loaded should serve everything that
waits for it: a *visit*. A worker visits one expert at a time; the visit is *closed* when its queue
is empty and its batch thin (until then a late ask only shares steps that have to be made anyway),
and what comes later waits for the next *cycle*, unless nothing else is pending. What still runs is
finished first: two experts that generate at once on one GPU share its time, so overlapping the end
of one visit with the next would gain nothing and keep memory occupied.

Next is the least recently visited unvisited expert with work that no other worker serves or loads;
ties: already resident, then most work. An expert counts as just visited when its first ask comes,
so that those whose work comes late (a judge) are not visited before it is there. A worker without
a current expert takes a resident unvisited one rather than wait for a load. With none left, the
largest queue of another worker is shared (replication) or a new cycle begins. If that is the
current expert's, its visit goes on without a pause, and stays open until all that ran before has
ended: that is what the next asks of these sessions wait for.

With memory to spare, Next is loaded when what comes before it is predicted to take no longer than
1.2 loads. Evicted is the resident idle expert whose next visit is farthest: without work before
with work, visited before unvisited, and among equals the one visited last; never one that comes
before the expert to be loaded, unless that one's deadline is near.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Literal

from orchestrator.fleets.fleet import Action, Dispatch, Load, WorkerJoined
from orchestrator.planner.choosing import AHEAD, Chooser
from orchestrator.planner.lanes import Board, Gpu, Lane
from orchestrator.planner.lengths import Lengths
from orchestrator.planner.pace import Pace
from orchestrator.planner.queues import RAISED, Entry, Item, Turns
from orchestrator.planner.waves import Waves

Mode = Literal["cycle", "wave"]
Start = Callable[[str, str, list[Entry]], Dispatch]
"""Makes the dispatch of (worker, expert, asks)."""

THIN = 0.25
"""The share of a batch below which a visit with an empty queue is closed."""
SETTLE_S = 0.15
"""How long a visit waits for what the driver is about to ask, after the last reply that others
may hang on; see ``Residency.settled``."""
SOON = 1e-3
"""Seconds for which it is not worth while to wait."""


class Residency:
    """See the module's theory."""

    def __init__(
        self,
        lengths: Lengths,
        pace: Pace,
        *,
        max_batch: int,
        mode: Mode = "cycle",
        prefetch: bool = True,
        replicate: bool = True,
    ) -> None:
        self.lengths = lengths
        self.pace = pace
        self.board = Board()
        self.loads: Counter[str] = Counter()
        """Loads begun, by expert."""
        self.counting = False
        """Whether what is missing of each turn is counted."""
        self.settled = True
        """Whether every reply has led to all asks that it leads to. While a driver still records
        replies and steps their sessions it has not, and a visit with an empty queue may yet get
        more."""
        self._choose = Chooser(self.board, pace, replicate=replicate)
        self._max_batch = max_batch
        self._waves = Waves() if mode == "wave" else None
        self._prefetch = prefetch
        self._turns = Turns()
        self._timed: dict[str, Lane] = {}
        self._resting: dict[str, Lane] = {}
        self._seen = -1

    def join(self, event: WorkerJoined) -> list[str]:
        """Take note of a GPU worker; return the experts that are too large for it."""
        limits = dict(event.batch_limits)
        gpu = Gpu(event.worker, limits, event.memory_gb or 0.0, dict(event.sizes_gb))
        large = [expert for expert in sorted(limits) if not gpu.fits(expert)]
        for expert in large:
            del limits[expert]
        self.board.gpus[event.worker] = gpu
        self.board.version += 1
        return large

    def lose(self, worker: str) -> None:
        """Take note of a lost worker; what ran on it is given back with :meth:`give_back`."""
        self.board.remove(self.board.gpus[worker])

    def loaded(self, worker: str, expert: str, seconds: float) -> None:
        """Take note of an expert that is ready."""
        gpu = self.board.gpus.get(worker)
        if gpu is not None:
            self.pace.learn_load(expert, seconds)
            self.board.loaded(gpu, expert, resident=True)

    def load_failed(self, worker: str, expert: str) -> None:
        """Take note of an expert that cannot be loaded on a worker."""
        gpu = self.board.gpus.get(worker)
        if gpu is not None:
            self.board.loaded(gpu, expert, resident=False)

    def rest(self, expert: str, until: float) -> None:
        """Let an expert rest until a time."""
        lane = self.board.lane(expert)
        lane.rests_until = max(lane.rests_until, until)
        self._resting[expert] = lane
        self.board.version += 1

    def expect(self, items: Iterable[Item]) -> None:
        """Take note of asks of any expert; before they are queued."""
        self._turns.expect(items)

    def answered(self, item: Item) -> None:
        """Take note of an answer of any expert."""
        last = self._turns.answered(item)
        if last is not None and self._waves is None:
            self.board.lanes[last.item.expert].queue.lift(last, RAISED)

    def push(self, item: Item) -> None:
        """Queue an ask."""
        entry = Entry(item, self.lengths.predict(item.ask))
        if self._turns.queued(entry) and self._waves is None:
            entry.rank = RAISED
        lane = self.board.lane(item.expert)
        if self._waves is not None and self._waves.hold(entry):
            lane.held += 1
            return
        self._enter(lane, entry)

    def give_back(self, expert: str, entries: Sequence[Entry]) -> None:
        """Queue again, before everything else, what a lost worker had not finished."""
        lane = self.board.lane(expert)
        lane.queue.push_front(entries)
        if self._waves is not None:
            self._waves.returned(len(entries))
            for entry in entries:
                self._waves.ended(entry)
        self.board.filled(lane)

    def finished(self, worker: str, entry: Entry, tokens: int, now: float) -> None:
        """Take note of a result and learn from it; `tokens` is the length of the reply."""
        gpu = self.board.gpus[worker]
        ask = entry.item.ask
        beside = (entry.running + gpu.running) / 2
        self.pace.learn_step(ask.seat.expert, beside, tokens, now - entry.began)
        self.lengths.learn(ask, tokens)
        gpu.running -= 1
        gpu.tokens -= entry.tokens
        gpu.starts -= entry.began
        gpu.dirty = True
        if entry.visit != gpu.visit:
            gpu.older -= 1
            gpu.settles = now + SETTLE_S
        if self._waves is not None:
            self._waves.ended(entry, now + SETTLE_S)
        self.answered(entry.item)

    def drain(self, expert: str) -> list[Item]:
        """Take back everything that waits for an expert."""
        lane = self.board.lanes.get(expert)
        if lane is None:
            return []
        entries = lane.queue.drain()
        if self._waves is not None:
            self._waves.left(len(entries))
            entries += self._waves.withdraw(expert)
            lane.held = 0
        self.board.emptied(lane)
        for entry in entries:
            self.answered(entry.item)
        return [entry.item for entry in entries]

    def plan(self, now: float, start: Start) -> tuple[list[Action], float | None]:
        """Return what to do now, and when to ask again if nothing happens."""
        actions: list[Action] = []
        while True:
            wake_at = self._watch(now)
            self._release()
            version = self.board.version
            everywhere = self._seen != version
            for name in sorted(self.board.gpus):
                gpu = self.board.gpus[name]
                due = gpu.wake is not None and (
                    gpu.wake <= now or (self.settled and self._settles(gpu) > now)
                )
                if everywhere or gpu.dirty or due:
                    gpu.dirty = False
                    gpu.wake = None
                    actions += self._serve(gpu, now, start)
                    actions += self._fetch(gpu, now)
            self._seen = version
            if self.board.version == version:
                break
        wakes = [gpu.wake for gpu in self.board.gpus.values() if gpu.wake is not None]
        return actions, min(wakes if wake_at is None else [*wakes, wake_at], default=None)

    def _enter(self, lane: Lane, entry: Entry) -> None:
        lane.queue.push(entry)
        if entry.item.due is not None:
            self._timed[lane.expert] = lane
        self.board.filled(lane)

    def _release(self) -> None:
        """Begin the next wave where the queues of the last are empty."""
        if self._waves is None:
            return
        for entry in self._waves.release():
            lane = self.board.lanes[entry.item.expert]
            lane.held -= 1
            self._enter(lane, entry)

    def _watch(self, now: float) -> float | None:
        """Lift what is due soon and end what rests; return when to do so next."""
        times: list[float] = []
        for expert, lane in sorted(self._timed.items()):
            due = lane.queue.earliest_due()
            if due is None:
                del self._timed[expert]
                continue
            margin = self._choose.margin(lane)
            if lane.queue.lift_due(now + margin + SOON):
                self.board.version += 1
            due = lane.queue.earliest_due()
            if due is not None:
                times.append(due - margin)
        for expert, lane in sorted(self._resting.items()):
            if lane.rests_until <= now:
                del self._resting[expert]
                self.board.version += 1
            elif lane.queue:
                times.append(lane.rests_until)
        return min(times, default=None)

    def _serve(self, gpu: Gpu, now: float, start: Start) -> list[Action]:
        """Begin, fill, close and end visits of a worker, as far as it goes now."""
        actions: list[Action] = []
        while True:
            lane = gpu.current
            if lane is None:
                lane = self._ready(gpu, now)
                if lane is None:
                    return actions
                self.board.begin(gpu, lane)
            actions += self._fill(gpu, lane, now, start)
            if gpu.closed and self._choose.goes_on(gpu, lane, now):
                self.board.begin(gpu, lane)
                continue
            if gpu.running or (gpu.wake is not None and not gpu.closed and not lane.queue):
                return actions
            self.board.end(gpu, lane)

    def _ready(self, gpu: Gpu, now: float) -> Lane | None:
        """Return the resident expert that an idle worker visits now."""
        order = self._choose.next_for(gpu, now)
        ready = next((lane for lane in order if lane.expert in gpu.resident), None)
        if ready is None or not (ready is order[0] or self._choose.comes_first(ready)):
            return None
        if self._choose.overrides(order[0]) and not self._choose.overrides(ready):
            return None  # what overrides the order is being loaded
        return ready

    def _fill(self, gpu: Gpu, lane: Lane, now: float, start: Start) -> list[Action]:
        """Fill the batch of the current expert; close its visit when its queue is empty."""
        actions: list[Action] = []
        if gpu.closed:
            return actions
        limit = gpu.limits.get(lane.expert, 0) if lane.rests_until <= now else 0
        while lane.queue and gpu.running < limit:
            entries = lane.queue.take(min(limit - gpu.running, self._max_batch))
            gpu.running += len(entries)
            for entry in entries:
                entry.began = now
                entry.running = gpu.running
                entry.visit = gpu.visit
                gpu.tokens += entry.tokens
                gpu.starts += now
                if self._waves is not None:
                    self._waves.started(entry)
            if self._waves is not None:
                self._waves.left(len(entries))
            actions.append(start(gpu.name, lane.expert, entries))
        if not lane.queue:
            self.board.emptied(lane)
            if self._is_over(gpu, limit, now):
                self.board.close(gpu, lane)
        return actions

    def _is_over(self, gpu: Gpu, limit: int, now: float) -> bool:
        """Whether a visit with an empty queue is to be closed."""
        if gpu.older or gpu.running > THIN * limit:
            return False
        if self._waves is not None and self._waves.trailing:
            return False
        until = self._settles(gpu)
        if until > now and not self.settled:
            gpu.wake = until
            return False
        return True

    def _settles(self, gpu: Gpu) -> float:
        """Return until when asks may still come that hang on replies which have."""
        return gpu.settles if self._waves is None else max(gpu.settles, self._waves.settles)

    def _fetch(self, gpu: Gpu, now: float) -> list[Action]:
        """Begin the load that a worker needs now or soon."""
        if gpu.loading is not None:
            return []
        if gpu.current is None:
            order = self._choose.next_for(gpu, now)
            wanted = next((lane for lane in order if lane.expert not in gpu.resident), None)
            return [] if wanted is None else self._load(gpu, wanted)
        if not self._prefetch:
            return []
        if gpu.seen != self.board.version:
            gpu.seen = self.board.version
            gpu.target = self._choose.target(gpu, now)
        if gpu.target is None:
            return []
        lane, ahead = gpu.target
        ahead += self._choose.rest(gpu, now) - AHEAD * self.pace.load_s(lane.expert)
        if ahead > SOON:
            gpu.wake = now + ahead
            return []
        return self._load(gpu, lane)

    def _load(self, gpu: Gpu, lane: Lane) -> list[Action]:
        evict = self._choose.evictions(gpu, lane)
        if evict is None:
            gpu.target = None  # until something changes
            return []
        self.board.load(gpu, lane, evict)
        self.loads[lane.expert] += 1
        return [Load(gpu.name, lane.expert, evict)]
