"""The planner: which asks go where, and when. A sans-IO state machine.

Theory. The driver tells the planner what happened (:meth:`Planner.apply`) and asks what to do now
(:meth:`Planner.plan`); the planner never waits, never calls and knows no clock but the `now` it is
handed (seconds, monotonic). It groups the pending asks of all sessions by expert, so that a batch
holds asks of many sessions and an expert that must be loaded serves all of them in one visit.

Rule: an expert's asks queue in order of arrival; whenever a worker has room for an expert (its
batch limit less what runs there), the worker with the most room takes as many as fit, at most
`max_batch` a dispatch. A throttled expert rests until its time has come. When a worker is lost,
what it had not finished goes back to the front of the queue.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol as Interface

from orchestrator.fleet import (
    Action,
    Dispatch,
    Loaded,
    LoadFailed,
    Results,
    WorkerJoined,
    WorkerLost,
)
from protocols.asks import Ask


class Item(Interface):
    """What the planner queues: anything that carries an ask."""

    @property
    def ask(self) -> Ask:
        """The ask to dispatch; its place says which turn it belongs to."""

    @property
    def group(self) -> object:
        """What the asks of one turn of one session have in common: hashable, compared by `==`."""

    @property
    def due(self) -> float | None:
        """When its session should be over (seconds, monotonic); None: whenever."""


@dataclass(frozen=True, slots=True)
class AsksArrived:
    """Asks, durable now, that wait to be dispatched."""

    items: Sequence[Item]


@dataclass(frozen=True, slots=True)
class ExpertThrottled:
    """An expert's provider turns requests away until a time (seconds, monotonic)."""

    expert: str
    until: float


@dataclass(frozen=True, slots=True)
class Cancelled:
    """Nothing more is to be dispatched; what runs may finish."""


PlanEvent = (
    AsksArrived
    | ExpertThrottled
    | Cancelled
    | WorkerJoined
    | WorkerLost
    | Loaded
    | LoadFailed
    | Results
)


@dataclass(slots=True)
class _Batch:
    """A dispatched batch: its items by index, until each is finished."""

    worker: str
    expert: str
    items: dict[int, Item]


@dataclass(slots=True)
class _Queue:
    """The pending items of one expert."""

    items: deque[Item] = field(default_factory=deque)
    rests_until: float = 0.0


class Planner:
    """See the module's theory. One planner serves one run."""

    def __init__(self, *, max_batch: int = 256) -> None:
        self.max_batch = max_batch
        self.cancelled = False
        self._queues: dict[str, _Queue] = {}
        self._limits: dict[str, dict[str, int]] = {}
        self._running: dict[tuple[str, str], int] = {}
        self._batches: dict[int, _Batch] = {}
        self._next_batch = 0
        self._busy: set[str] = set()

    @property
    def in_flight(self) -> int:
        """Asks that are dispatched and not finished."""
        return sum(self._running.values())

    @property
    def waiting(self) -> int:
        """Asks that are not dispatched yet."""
        return sum(len(queue.items) for queue in self._queues.values())

    @property
    def workers(self) -> tuple[str, ...]:
        """The workers that are there, by name."""
        return tuple(sorted(self._limits))

    def item(self, batch: int, index: int) -> Item | None:
        """Return what was dispatched at `index` of `batch`.

        None when it is finished already, or went back to the queue because its worker was lost:
        then this is the reply of a late twin.
        """
        found = self._batches.get(batch)
        return None if found is None else found.items.get(index)

    def apply(self, event: PlanEvent, now: float) -> None:
        """Take note of an event."""
        match event:
            case AsksArrived(items):
                self._arrive(items)
            case Results(batch, results):
                self._finish(batch, (index for index, _ in results))
            case ExpertThrottled(expert, until):
                queue = self._queue(expert)
                queue.rests_until = max(queue.rests_until, until)
                self._busy.add(expert)
            case WorkerJoined(worker, limits):
                self._limits[worker] = dict(limits)
                self._busy.update(self._queues)
            case WorkerLost(worker):
                self._lose(worker)
            case LoadFailed(worker, expert):
                self._limits.get(worker, {}).pop(expert, None)
            case Cancelled():
                self.cancelled = True
            case Loaded():
                self._busy.add(event.expert)

    def plan(self, now: float) -> tuple[list[Action], float | None]:
        """Return what to do now, and when to ask again if nothing happens (None: no need)."""
        actions: list[Action] = []
        wake_at: float | None = None
        if self.cancelled:
            return actions, None
        for expert in sorted(self._busy):
            queue = self._queue(expert)
            if queue.items and queue.rests_until > now:
                wake_at = queue.rests_until if wake_at is None else min(wake_at, queue.rests_until)
                continue
            while queue.items:
                dispatch = self._dispatch(expert, queue.items)
                if dispatch is None:
                    break
                actions.append(dispatch)
            self._busy.discard(expert)  # until something arrives or room is made
        return actions, wake_at

    def unservable(self, expert: str) -> bool:
        """Whether workers are there and none of them hosts `expert`."""
        return bool(self._limits) and all(expert not in limits for limits in self._limits.values())

    def drain(self, expert: str) -> list[Item]:
        """Take back everything that waits for `expert`."""
        queue = self._queue(expert)
        items = list(queue.items)
        queue.items.clear()
        return items

    def _queue(self, expert: str) -> _Queue:
        queue = self._queues.get(expert)
        if queue is None:
            queue = self._queues[expert] = _Queue()
        return queue

    def _arrive(self, items: Iterable[Item]) -> None:
        for item in items:
            expert = item.ask.seat.expert
            self._queue(expert).items.append(item)
            self._busy.add(expert)

    def _dispatch(self, expert: str, items: deque[Item]) -> Dispatch | None:
        """Take the next batch of an expert for the worker with the most room; None: no room."""
        room, worker = 0, ""
        for name in sorted(self._limits):
            limit = self._limits[name].get(expert, 0)
            free = limit - self._running.get((name, expert), 0)
            if free > room:
                room, worker = free, name
        if room == 0:
            return None
        count = min(room, self.max_batch, len(items))
        taken = [items.popleft() for _ in range(count)]
        batch = self._next_batch
        self._next_batch += 1
        self._batches[batch] = _Batch(worker, expert, dict(enumerate(taken)))
        self._running[worker, expert] = self._running.get((worker, expert), 0) + count
        return Dispatch(batch, worker, expert, tuple([item.ask for item in taken]))

    def _finish(self, number: int, indices: Iterable[int]) -> None:
        batch = self._batches.get(number)
        if batch is None:
            return
        finished = 0
        for index in indices:
            if batch.items.pop(index, None) is not None:
                finished += 1
        self._running[batch.worker, batch.expert] -= finished
        self._busy.add(batch.expert)
        if not batch.items:
            del self._batches[number]

    def _lose(self, worker: str) -> None:
        self._limits.pop(worker, None)
        for number in sorted(self._batches):
            batch = self._batches[number]
            if batch.worker != worker:
                continue
            queue = self._queue(batch.expert)
            queue.items.extendleft(reversed([batch.items[i] for i in sorted(batch.items)]))
            self._busy.add(batch.expert)
            del self._batches[number]
        for key in [key for key in self._running if key[0] == worker]:
            del self._running[key]
