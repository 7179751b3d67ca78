"""Experts that need no loading: their asks are dispatched at once, in order of arrival.

Whenever a worker has room for an expert (its batch limit less what runs there), the worker with
the most room takes as many as fit, at most `max_batch` a dispatch. A throttled expert rests until
its time has come.

Experts behind an endpoint share its gate (``limits/gates.py``), which says when the next ask may
go. They take turns, one ask each; the ask whose turn it is waits for its tokens and none overtakes
it, so a long one starves as little as an expert with few asks.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from agents.engine import Attempted
from orchestrator.fleets.fleet import Action, Dispatch
from orchestrator.limits.gates import Gate, Gates
from orchestrator.planner.queues import Item

Start = Callable[[str, str, list[Item]], Dispatch]
"""Makes the dispatch of (worker, expert, asks)."""


@dataclass(slots=True)
class Queue:
    """The pending items of one expert."""

    items: deque[Item] = field(default_factory=deque)
    rests_until: float = 0.0


class Hosted:
    """See the module's theory."""

    def __init__(self, max_batch: int, gates: Gates | None = None) -> None:
        self.gates = gates or Gates()
        self.queues: dict[str, Queue] = {}
        self.limits: dict[str, dict[str, int]] = {}
        """By worker: the most asks of each expert at once."""
        self.hosts: dict[str, list[str]] = {}
        """By expert: the workers that host it, by name."""
        self._max_batch = max_batch
        self._running: dict[tuple[str, str], int] = {}
        self._busy: set[str] = set()

    def join(self, worker: str, limits: Mapping[str, int]) -> None:
        """Take note of a worker."""
        self.limits[worker] = dict(limits)
        self._rehost()
        self._busy.update(self.queues)

    def lose(self, worker: str) -> bool:
        """Forget a worker; False when it is none of these."""
        if self.limits.pop(worker, None) is None:
            return False
        for key in [key for key in self._running if key[0] == worker]:
            del self._running[key]
        self._rehost()
        return True

    def refuse(self, worker: str, expert: str) -> None:
        """Take note that a worker cannot host an expert after all."""
        if self.limits.get(worker, {}).pop(expert, None) is not None:
            self._rehost()

    def arrive(self, items: Iterable[Item]) -> None:
        """Queue asks."""
        queues, busy = self.queues, self._busy
        for item in items:
            expert = item.expert
            queue = queues.get(expert)
            if queue is None:
                queue = queues[expert] = Queue()
            queue.items.append(item)
            busy.add(expert)

    def give_back(self, expert: str, items: list[Item]) -> None:
        """Put back what a lost worker had not finished, before everything else."""
        self._queue(expert).items.extendleft(reversed(items))
        self._busy.add(expert)
        gate = self.gates.of(expert)
        if gate is not None:
            for item in items:
                gate.forget(item)

    def finished(self, worker: str, expert: str, count: int) -> None:
        """Take note that asks run no more."""
        self._running[worker, expert] -= count
        self._busy.add(expert)

    def learn(self, expert: str, item: Item, result: Attempted, now: float) -> None:
        """Take note of what came of an ask."""
        gate = self.gates.of(expert)
        if gate is not None:
            gate.end(item, result, now)

    def rest(self, expert: str, until: float) -> None:
        """Let an expert rest until a time."""
        queue = self._queue(expert)
        queue.rests_until = max(queue.rests_until, until)
        self._busy.add(expert)

    def rests_until(self, expert: str) -> float:
        """Return the time until which an expert rests."""
        queue = self.queues.get(expert)
        return 0.0 if queue is None else queue.rests_until

    def drain(self, expert: str) -> list[Item]:
        """Take back everything that waits for an expert."""
        queue = self.queues.get(expert)
        if queue is None:
            return []
        items = list(queue.items)
        queue.items.clear()
        return items

    def plan(
        self, now: float, start: Start, actions: list[Action], wake_at: float | None
    ) -> float | None:
        """Append what to dispatch now to `actions`; return when to ask again."""
        gated: dict[Gate, list[str]] = {}
        for expert in sorted(self._busy):
            gate = self.gates.of(expert)
            if gate is not None:
                gated.setdefault(gate, []).append(expert)
                continue
            queue = self._queue(expert)
            if queue.items and queue.rests_until > now:
                wake_at = queue.rests_until if wake_at is None else min(wake_at, queue.rests_until)
                continue
            while queue.items:
                dispatch = self._dispatch(expert, queue.items, start)
                if dispatch is None:
                    break
                actions.append(dispatch)
            self._busy.discard(expert)  # until something arrives or room is made
        for gate, experts in gated.items():
            wake_at = _earlier(wake_at, self._plan_gate(gate, experts, now, start, actions))
        return wake_at

    def _plan_gate(
        self, gate: Gate, experts: list[str], now: float, start: Start, actions: list[Action]
    ) -> float:
        """Dispatch what an endpoint takes now; return when it will take more (never: infinite)."""
        turns = deque(sorted(experts, key=lambda expert: (expert <= gate.last, expert)))
        batches: dict[tuple[str, str], list[Item]] = {}
        wake_at = math.inf
        while turns:
            expert = turns[0]
            items = self._queue(expert).items
            worker = self._roomiest(expert)[1] if items else ""
            if not worker:
                self._busy.discard(turns.popleft())
                continue
            wake_at = gate.next_at(items[0].ask, now)
            if wake_at > now:
                break
            item = items.popleft()
            gate.send(item, now)
            gate.last = expert
            turns.rotate(-1)
            self._running[worker, expert] = self._running.get((worker, expert), 0) + 1
            batches.setdefault((worker, expert), []).append(item)
        for (worker, expert), taken in batches.items():
            for first in range(0, len(taken), self._max_batch):
                actions.append(start(worker, expert, taken[first : first + self._max_batch]))
        return wake_at if turns else math.inf

    def _queue(self, expert: str) -> Queue:
        queue = self.queues.get(expert)
        if queue is None:
            queue = self.queues[expert] = Queue()
        return queue

    def _dispatch(self, expert: str, items: deque[Item], start: Start) -> Dispatch | None:
        """Take the next batch of an expert for the worker with the most room; None: no room."""
        room, worker = self._roomiest(expert)
        if room == 0:
            return None
        count = min(room, self._max_batch, len(items))
        taken = [items.popleft() for _ in range(count)]
        self._running[worker, expert] = self._running.get((worker, expert), 0) + count
        return start(worker, expert, taken)

    def _roomiest(self, expert: str) -> tuple[int, str]:
        """Return how many asks of an expert the worker with the most room takes, and its name."""
        room, worker = 0, ""
        for name in self.hosts.get(expert, ()):
            free = self.limits[name][expert] - self._running.get((name, expert), 0)
            if free > room:
                room, worker = free, name
        return room, worker

    def _rehost(self) -> None:
        self.hosts = {}
        for worker in sorted(self.limits):
            for expert in self.limits[worker]:
                self.hosts.setdefault(expert, []).append(worker)


def _earlier(wake_at: float | None, at: float) -> float | None:
    if at == math.inf:
        return wake_at
    return at if wake_at is None else min(wake_at, at)
