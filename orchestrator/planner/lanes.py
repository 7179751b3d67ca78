"""What the planner knows of experts that must be loaded, and of the GPU workers they run on."""

from __future__ import annotations

from dataclasses import dataclass, field

from orchestrator.planner.queues import Ordered

ALMOST = 1e-9
"""Gigabytes that sums of sizes may be wrong by."""


class Lane:
    """One expert: its pending asks and its place in the cycle."""

    __slots__ = (
        *("expert", "held", "homes", "last", "loading", "queue"),
        *("rests_until", "serving", "since", "visited"),
    )

    def __init__(self, expert: str, last: int) -> None:
        self.expert = expert
        self.queue = Ordered()
        self.held = 0
        """Asks that wait for their wave; they are not in the queue."""
        self.last = last
        """When it was last visited, in visits; before that, when its first ask came."""
        self.visited = -1
        """The last cycle in which its queue was emptied."""
        self.since = 0
        """The cycle in which its work began to wait."""
        self.rests_until = 0.0
        self.serving = 0
        """On how many workers it is the current expert."""
        self.loading = 0
        """On how many workers it is being loaded."""
        self.homes: set[str] = set()
        """The workers where it is resident."""


@dataclass(slots=True)
class Gpu:
    """One GPU worker."""

    name: str
    limits: dict[str, int]
    """The most asks of each expert at once; an expert that cannot be loaded is taken out."""
    memory: float
    sizes: dict[str, float]
    resident: dict[str, int] = field(default_factory=dict)
    """Loaded experts, and when each was last visited, in visits."""
    loading: str | None = None
    current: Lane | None = None
    """The expert that is visited."""
    visit: int = 0
    closed: bool = False
    """Whether the current expert takes no more asks in this visit."""
    running: int = 0
    older: int = 0
    """Running asks of the visit before, where a new one began without a pause."""
    settles: float = 0.0
    """Until when the turns that hang on its last older ask may still come."""
    tokens: float = 0.0
    """Predicted tokens of what runs."""
    starts: float = 0.0
    """The sum of the times at which what runs was dispatched."""
    dirty: bool = True
    wake: float | None = None
    """When to look again if nothing happens."""
    seen: int = -1
    """The version of the world in which `target` was chosen."""
    target: tuple[Lane, float] | None = None
    """What to load next, and the seconds of work that come before it after this visit."""

    def size(self, expert: str) -> float:
        """Return the room that an expert takes; one of unknown size takes all."""
        return self.sizes.get(expert, self.memory)

    def fits(self, expert: str) -> bool:
        """Whether an expert can be loaded here at all."""
        return self.size(expert) <= self.memory + ALMOST

    def room(self) -> float:
        """Return the free memory."""
        taken = sum([self.size(expert) for expert in self.resident])
        return self.memory - taken - (self.size(self.loading) if self.loading else 0.0)


class Board:
    """All lanes and GPU workers, and the clocks by which visits are ordered."""

    def __init__(self) -> None:
        self.lanes: dict[str, Lane] = {}
        self.gpus: dict[str, Gpu] = {}
        self.pending: dict[str, Lane] = {}
        """The lanes whose queue is not empty."""
        self.cycle = 0
        self.visits = 0
        """Visits that have ended."""
        self.version = 0
        """Counts what may change a choice: work for an idle expert, visits, loads, workers."""

    def lane(self, expert: str) -> Lane:
        """Return the lane of an expert, made at its first ask."""
        lane = self.lanes.get(expert)
        if lane is None:
            lane = self.lanes[expert] = Lane(expert, self.visits)
        return lane

    def unvisited(self, lane: Lane) -> bool:
        """Whether a lane's queue was not emptied in this cycle."""
        return lane.visited != self.cycle

    def filled(self, lane: Lane) -> None:
        """Take note of work in a lane."""
        if lane.expert not in self.pending:
            self.pending[lane.expert] = lane
            lane.since = self.cycle
            self.version += 1

    def emptied(self, lane: Lane) -> None:
        """Take note that a lane has no work."""
        self.pending.pop(lane.expert, None)

    def begin(self, gpu: Gpu, lane: Lane) -> None:
        """Begin a visit, or go on with the current expert in a new one."""
        if gpu.current is None:
            lane.serving += 1
        gpu.current = lane
        gpu.closed = False
        gpu.visit += 1
        gpu.older = gpu.running
        self.version += 1

    def close(self, gpu: Gpu, lane: Lane) -> None:
        """Take no more asks in this visit."""
        gpu.closed = True
        lane.visited = self.cycle
        self.version += 1

    def end(self, gpu: Gpu, lane: Lane) -> None:
        """End a visit of which nothing runs any more."""
        self.visits += 1
        lane.visited = self.cycle if not gpu.closed else lane.visited
        lane.last = self.visits
        lane.serving -= 1
        if lane.expert in gpu.resident:
            gpu.resident[lane.expert] = self.visits
        gpu.current = None
        self.version += 1

    def load(self, gpu: Gpu, lane: Lane, evict: tuple[str, ...]) -> None:
        """Begin a load."""
        for expert in evict:
            del gpu.resident[expert]
            self.lanes[expert].homes.discard(gpu.name)
        gpu.loading = lane.expert
        lane.loading += 1
        self.version += 1

    def loaded(self, gpu: Gpu, expert: str, *, resident: bool) -> None:
        """Take note of the end of a load, of which the expert may be resident or not."""
        lane = self.lane(expert)
        if gpu.loading == expert:
            gpu.loading = None
            lane.loading -= 1
        if resident:
            gpu.resident.setdefault(expert, lane.last)
            lane.homes.add(gpu.name)
        else:
            gpu.limits.pop(expert, None)
        self.version += 1

    def remove(self, gpu: Gpu) -> None:
        """Take out a lost worker."""
        del self.gpus[gpu.name]
        for expert in gpu.resident:
            self.lanes[expert].homes.discard(gpu.name)
        if gpu.current is not None:
            gpu.current.serving -= 1
        if gpu.loading is not None:
            self.lanes[gpu.loading].loading -= 1
        self.version += 1
