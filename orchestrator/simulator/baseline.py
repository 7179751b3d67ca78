"""What the baselines of the simulator have in common; they are in ``policies.py``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from orchestrator.fleets.fleet import Action, Dispatch, Load, Loaded, Results, WorkerJoined
from orchestrator.planner.plan import AsksArrived, ExpertThrottled, Item, PlanEvent


@dataclass(slots=True)
class GpuView:
    """A GPU worker as a baseline sees it."""

    name: str
    limits: Mapping[str, int]
    memory: float
    sizes: Mapping[str, float]
    resident: dict[str, None] = field(default_factory=dict)
    """The least recently used first."""
    loading: str | None = None
    current: str | None = None
    """The expert that it serves."""
    running: Counter[str] = field(default_factory=Counter)
    taken: int = 0
    """Asks that the present visit was given."""

    @property
    def quiet(self) -> bool:
        """Whether nothing runs and nothing is loaded."""
        return self.loading is None and not any(self.running.values())

    def use(self, expert: str) -> None:
        """Turn to an expert."""
        if self.current != expert:
            self.current, self.taken = expert, 0
        if expert in self.resident:
            del self.resident[expert]
            self.resident[expert] = None

    def make_room(self, expert: str) -> tuple[str, ...]:
        """Forget the least recently used until `expert` fits; return what is to be evicted."""
        evicted = []
        used = sum(self.sizes[label] for label in self.resident)
        for label in list(self.resident):
            if used + self.sizes[expert] <= self.memory + 1e-9:
                break
            used -= self.sizes[label]
            del self.resident[label]
            evicted.append(label)
        return tuple(evicted)


@dataclass(slots=True)
class ApiView:
    """A worker that needs no loads."""

    name: str
    limits: Mapping[str, int]
    running: Counter[str] = field(default_factory=Counter)


class Baseline(ABC):
    """What the baselines have in common."""

    def __init__(self) -> None:
        self.gpus: dict[str, GpuView] = {}
        self.queues: dict[str, deque[tuple[int, Item]]] = {}
        """Asks that wait for an expert on a GPU, with the number of their arrival."""
        self._apis: dict[str, ApiView] = {}
        self._hosted: dict[str, deque[Item]] = {}
        self._batches: dict[int, tuple[str, str, int]] = {}
        self._rests: dict[str, float] = {}
        self._arrivals = 0
        self._next_batch = 0

    def apply(self, event: PlanEvent, now: float) -> None:
        """Take note of an event."""
        match event:
            case AsksArrived(items):
                self._arrive(items)
            case Results(batch, results):
                self._finish(batch, len(results))
            case Loaded(worker, expert):
                self.gpus[worker].loading = None
            case WorkerJoined(worker, limits, memory, sizes):
                if memory is None:
                    self._apis[worker] = ApiView(worker, limits)
                    self._hosted.update({expert: deque() for expert in limits})
                else:
                    self.gpus[worker] = GpuView(worker, limits, memory, sizes)
            case ExpertThrottled(expert, until):
                self._rests[expert] = max(self._rests.get(expert, 0.0), until)
            case _:
                raise NotImplementedError(f"baselines know no {type(event).__name__}")

    def plan(self, now: float) -> tuple[list[Action], float | None]:
        """Return what to do now."""
        actions: list[Action] = []
        wakes: list[float] = []
        for api in self._apis.values():
            for expert, limit in api.limits.items():
                queue, rests = self._hosted[expert], self._rests.get(expert, 0.0)
                if queue and rests > now:
                    wakes.append(rests)
                    continue
                count = min(limit - api.running[expert], len(queue))
                if count > 0:
                    api.running[expert] += count
                    items = [queue.popleft() for _ in range(count)]
                    actions.append(self._batch(api.name, expert, items))
        for gpu in self.gpus.values():
            actions += self.serve(gpu)
        return actions, min(wakes, default=None)

    @abstractmethod
    def serve(self, gpu: GpuView) -> list[Action]:
        """Return what a GPU is to do now."""

    def arrived(self, item: Item) -> None:
        """Queue an ask for an expert on a GPU."""
        self._arrivals += 1
        expert = item.ask.seat.expert
        self.queues.setdefault(expert, deque()).append((self._arrivals, item))

    def finished(self, gpu: GpuView) -> None:
        """Take note that an ask of a GPU is answered."""

    def taken(self, expert: str, by: GpuView) -> bool:
        """Whether another GPU serves or loads an expert."""
        return any(
            gpu is not by and expert in (gpu.current, gpu.loading) for gpu in self.gpus.values()
        )

    def turn_to(self, gpu: GpuView, expert: str) -> list[Action]:
        """Make an expert the one that a GPU serves; load it where it is not resident."""
        if expert in gpu.resident:
            gpu.use(expert)
            return []
        evicted = gpu.make_room(expert)
        gpu.resident[expert] = None
        gpu.use(expert)
        gpu.loading = expert
        return [Load(gpu.name, expert, evicted)]

    def dispatch(self, gpu: GpuView, expert: str, most: int | None = None) -> list[Action]:
        """Give a GPU what waits for an expert, as far as there is room."""
        queue = self.queues.get(expert)
        room = gpu.limits[expert] - gpu.running[expert]
        count = min(room, len(queue or ()), room if most is None else most)
        if queue is None or count <= 0:
            return []
        items = [queue.popleft()[1] for _ in range(count)]
        gpu.running[expert] += count
        gpu.taken += count
        return [self._batch(gpu.name, expert, items)]

    def _batch(self, worker: str, expert: str, items: list[Item]) -> Dispatch:
        number = self._next_batch
        self._next_batch += 1
        self._batches[number] = (worker, expert, len(items))
        return Dispatch(number, worker, expert, tuple([item.ask for item in items]))

    def _arrive(self, items: Iterable[Item]) -> None:
        for item in items:
            hosted = self._hosted.get(item.ask.seat.expert)
            if hosted is None:
                self.arrived(item)
            else:
                hosted.append(item)

    def _finish(self, number: int, count: int) -> None:
        worker, expert, left = self._batches[number]
        if left == count:
            del self._batches[number]
        else:
            self._batches[number] = (worker, expert, left - count)
        gpu = self.gpus.get(worker)
        if gpu is None:
            self._apis[worker].running[expert] -= count
            return
        gpu.running[expert] -= count
        for _ in range(count):
            self.finished(gpu)
