"""Baselines: simpler policies than the planner, for comparison in the simulator.

All speak the planner's interface (``apply``, ``plan``), evict the least recently used expert,
load one expert at a time on a GPU and start no load while something runs there. Hosted experts are
asked at once, in order of arrival, within their concurrency.

===================  ========================================================================
``per_session``      One session after the other on each GPU, one ask at a time: what a loop over
                     questions does.
``fifo``             Asks in the order in which they arrived, whatever they need: neighbours of
                     the same expert share a batch, the first that needs another waits for it.
``fifo_batch``       The oldest ask's expert takes a batch of what waits for it and runs it to
                     its end; nothing joins.
``barrier``          Group and barrier, as in Symbolic-MoE: all first turns, grouped by expert,
                     each expert loaded once; when all sessions have finished the turn, all second
                     turns; and so on. Batches are refilled in order of arrival.
``longest_queue``    The expert with the most asks waiting is next, and is served until nothing
                     waits for it.
===================  ========================================================================
"""

from __future__ import annotations

from abc import abstractmethod
from collections import deque
from collections.abc import Callable, Mapping
from itertools import islice

from orchestrator.fleets.fleet import Action, Load
from orchestrator.planner.plan import Item
from orchestrator.simulator.baseline import Baseline, GpuView


class _Visits(Baseline):
    """Baselines that serve one expert at a time on a GPU, until its visit is over."""

    def serve(self, gpu: GpuView) -> list[Action]:
        """Go on with the present visit, or begin the next."""
        if gpu.loading:
            return []
        if gpu.current is not None:
            actions = self.refill(gpu, gpu.current)
            if actions or not gpu.quiet:
                return actions
        gpu.current = None
        expert = self.next_expert(gpu)
        if expert is None:
            return []
        actions = self.turn_to(gpu, expert)
        return actions or self.refill(gpu, expert)

    def refill(self, gpu: GpuView, expert: str) -> list[Action]:
        """Return what joins the batch that runs."""
        return self.dispatch(gpu, expert)

    def candidates(self, gpu: GpuView) -> list[str]:
        """Return the experts with work that this GPU may take, by name."""
        return [
            expert
            for expert in sorted(self.queues)
            if self.queues[expert] and expert in gpu.limits and not self.taken(expert, gpu)
        ]

    @abstractmethod
    def next_expert(self, gpu: GpuView) -> str | None:
        """Return the expert of the next visit."""


class LongestQueue(_Visits):
    """The expert with the most asks waiting is next."""

    def next_expert(self, gpu: GpuView) -> str | None:
        """Return the expert with the longest queue."""
        experts = self.candidates(gpu)
        return max(experts, key=lambda expert: len(self.queues[expert]), default=None)


class FifoBatch(_Visits):
    """The oldest ask's expert runs one batch to its end."""

    def refill(self, gpu: GpuView, expert: str) -> list[Action]:
        """Nothing joins a batch that runs."""
        return self.dispatch(gpu, expert) if gpu.taken == 0 else []

    def serve(self, gpu: GpuView) -> list[Action]:
        """Begin the next batch where the last is over."""
        if gpu.current is not None and gpu.quiet and gpu.taken:
            gpu.current = None
        return super().serve(gpu)

    def next_expert(self, gpu: GpuView) -> str | None:
        """Return the expert of the oldest ask."""
        return min(self.candidates(gpu), key=lambda e: self.queues[e][0][0], default=None)


class Barrier(_Visits):
    """Group and barrier: the turns of all sessions in step, each expert loaded once a turn."""

    def __init__(self) -> None:
        super().__init__()
        self._held: dict[int, list[Item]] = {}
        self._turn = 0
        self._missing = 0

    def arrived(self, item: Item) -> None:
        """Hold what belongs to a later turn."""
        place = item.ask.place
        turn = place.turn if place else 0
        if turn > self._turn:
            self._held.setdefault(turn, []).append(item)
            return
        self._missing += 1
        super().arrived(item)

    def finished(self, gpu: GpuView) -> None:
        """Count what the present turn still lacks."""
        self._missing -= 1

    def plan(self, now: float) -> tuple[list[Action], float | None]:
        """Open the next turn when the present one is complete."""
        if self._missing == 0 and self._held:
            self._turn = min(self._held)
            for item in self._held.pop(self._turn):
                self.arrived(item)
        return super().plan(now)

    def next_expert(self, gpu: GpuView) -> str | None:
        """Return a resident expert with work, else the first by name."""
        experts = self.candidates(gpu)
        resident = [expert for expert in experts if expert in gpu.resident]
        return next(iter(resident or experts), None)


class Fifo(Baseline):
    """Asks strictly in order of arrival."""

    def __init__(self) -> None:
        super().__init__()
        self._line: deque[Item] = deque()

    def arrived(self, item: Item) -> None:
        """Put an ask at the end of the one line."""
        self._line.append(item)

    def plan(self, now: float) -> tuple[list[Action], float | None]:
        """Start what stands first, as long as it can start."""
        actions, wake_at = super().plan(now)
        while self._line:
            more = self._first(self._line[0].ask.seat.expert)
            actions += more
            if not more or isinstance(more[0], Load):
                break
        return actions, wake_at

    def serve(self, gpu: GpuView) -> list[Action]:
        """Nothing is served out of the order of the line."""
        return []

    def _first(self, expert: str) -> list[Action]:
        """Start the first ask of the line, or load its expert; empty: it has to wait."""
        hosts = [gpu for gpu in self.gpus.values() if expert in gpu.resident]
        for gpu in hosts:
            if gpu.loading != expert and gpu.running[expert] < gpu.limits[expert]:
                return self._send(gpu, expert)
        if hosts:
            return []
        for gpu in self.gpus.values():
            if expert in gpu.limits and gpu.quiet:
                return self.turn_to(gpu, expert)
        return []

    def _send(self, gpu: GpuView, expert: str) -> list[Action]:
        """Send all that stands first in the line and needs the same expert."""
        room = gpu.limits[expert] - gpu.running[expert]
        count = 0
        for item in islice(self._line, room):
            if item.ask.seat.expert != expert:
                break
            count += 1
        gpu.use(expert)
        gpu.running[expert] += count
        return [self._batch(gpu.name, expert, [self._line.popleft() for _ in range(count)])]


class PerSession(Baseline):
    """One session at a time on each GPU, one ask after the other."""

    def __init__(self) -> None:
        super().__init__()
        self._sessions: dict[object, deque[Item]] = {}
        self._at: dict[str, object] = {}

    def arrived(self, item: Item) -> None:
        """Queue an ask behind those of its session."""
        self._sessions.setdefault(item.group, deque()).append(item)

    def serve(self, gpu: GpuView) -> list[Action]:
        """Start the next ask of the session that the GPU works at."""
        if not gpu.quiet:
            return []
        group = self._at.get(gpu.name)
        if group is None or group not in self._sessions:
            busy = set(map(id, self._at.values()))
            group = next((g for g in self._sessions if id(g) not in busy), None)
            if group is None:
                self._at.pop(gpu.name, None)
                return []
            self._at[gpu.name] = group
        expert = self._sessions[group][0].ask.seat.expert
        actions = self.turn_to(gpu, expert)
        if actions:
            return actions
        item = self._sessions[group].popleft()
        if not self._sessions[group]:
            del self._sessions[group]
        gpu.running[expert] += 1
        return [self._batch(gpu.name, expert, [item])]


BASELINES: Mapping[str, Callable[[], Baseline]] = {
    "per_session": PerSession,
    "fifo": Fifo,
    "fifo_batch": FifoBatch,
    "barrier": Barrier,
    "longest_queue": LongestQueue,
}
"""By name, from the simplest on."""
