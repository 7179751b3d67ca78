"""Simulated GPUs, which load experts and generate in steps; what hosted experts are like.

Theory. A GPU serves each expert by continuous batching: in one step every running request of the
expert gets one token, and a step with b requests takes ``t0 + t1 * b`` seconds. Experts that run
side by side on one GPU take turns, so a *round* (one step of each) costs the sum of their steps.
A request that arrives in the middle of a round joins at the next. Nothing between two changes of
the batch is of interest, so a GPU jumps from one completion to the next: it counts rounds, and
every running request knows the round in which it ends.

Loads run beside generation, one after the other on a GPU: they share its link. What a load evicts
is free at once. A policy that asks for what cannot be raises :class:`PolicyBroke`.
"""

from __future__ import annotations

import heapq
import math
from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from agents.engine import Attempted
from orchestrator.fleets.fleet import Action, Dispatch, FleetEvent, Load, Loaded, Results, Unload
from protocols.errors import MootError
from protocols.replies import Reply, Usage

_ALMOST = 1e-9
"""Of a round: what rounding may add up to."""


class PolicyBroke(MootError):
    """A policy asked for something that the simulated hardware cannot do."""


class GpuExpert(BaseModel):
    """What it takes to load an expert and to run it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    load_s: float = Field(10.0, ge=0.0)
    """Seconds to load it."""
    t0_s: float = Field(0.010, ge=0.0)
    """Seconds of a step, whatever the batch."""
    t1_s: float = Field(0.00005, ge=0.0)
    """Seconds that each running request adds to a step."""
    batch_limit: int = Field(256, ge=1)
    """The most requests that run at once."""
    size_gb: float = Field(1.0, gt=0.0)
    """What it takes of a worker's memory."""

    @model_validator(mode="after")
    def _takes_time(self) -> Self:
        if self.t0_s + self.t1_s == 0.0:
            raise ValueError("t0_s and t1_s are both 0; a step takes some time")
        return self

    def step_s(self, running: int) -> float:
        """Return the seconds of a step with `running` requests."""
        return self.t0_s + self.t1_s * running

    @property
    def token_s(self) -> float:
        """Seconds of GPU time that a token takes at least, in a full batch."""
        return self.step_s(self.batch_limit) / self.batch_limit


class HostedExpert(BaseModel):
    """What a provider's server does."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    latency_s: float = Field(1.0, ge=0.0)
    """Seconds from a request to its reply, however long."""
    token_s: float = Field(0.0, ge=0.0)
    """Seconds that each token of the reply adds."""
    concurrency: int = Field(128, ge=1)
    """The most requests that are open at once."""
    requests_per_minute: float | None = Field(None, gt=0.0)
    tokens_per_minute: float | None = Field(None, gt=0.0)
    """Of replies; a request is taken while any are left."""
    burst_s: float = Field(1.0, gt=0.0)
    """How many seconds' worth of both may be used at once after a rest."""


class GpuWorker(BaseModel):
    """A GPU, or a group of them that one expert spreads over."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    memory_gb: float = Field(gt=0.0)
    """What its resident experts may take together."""
    experts: tuple[str, ...] | None = None
    """Those that it can host; None: all that run on GPUs."""
    gpus: int = Field(1, ge=1)
    """How many GPUs it stands for."""


@dataclass(slots=True)
class Times:
    """How a worker spent its time, in seconds."""

    busy: float = 0.0
    """At least one request ran."""
    loading: float = 0.0
    """Something was loaded and nothing ran."""
    idle: float = 0.0


@dataclass(slots=True)
class Visit:
    """A time in which a worker served one expert before it turned to another."""

    worker: str
    expert: str
    asks: int = 0
    loaded: bool = False
    """Whether the expert had to be loaded for it."""


class _Running(NamedTuple):
    """A request that runs or waits for its place; ordered by the round in which it ends."""

    ends: int
    number: int
    batch: int
    slot: int
    expert: str
    tokens: int


def answer(tokens: int) -> Reply:
    """Return the reply of a simulated expert: no words, only their number."""
    return Reply(usage=Usage(completion_tokens=tokens))


class Machine(ABC):
    """A simulated worker."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.version = 0
        """Counts changes: what was expected of an earlier version does not happen."""

    @abstractmethod
    def next_at(self) -> float | None:
        """Return when something happens by itself; None: never."""

    @abstractmethod
    def advance(self, now: float) -> list[FleetEvent]:
        """Go on to `now`, at most `next_at`, and return what happened."""

    @abstractmethod
    def perform(self, action: Action, tokens: Iterable[int], now: float) -> None:
        """Begin an action; `tokens` are the lengths of the replies to a dispatch."""


@dataclass(slots=True)
class _Engine:
    """An expert on a GPU."""

    figures: GpuExpert
    running: int = 0
    waiting: deque[_Running] = field(default_factory=deque)
    fresh: bool = False
    """Loaded since it was last visited."""


class Gpu(Machine):
    """See the module's theory."""

    def __init__(self, place: GpuWorker, experts: Mapping[str, GpuExpert]) -> None:
        super().__init__(place.name)
        self.place = place
        self.times = Times()
        self.visits: list[Visit] = []
        self.loads: Counter[str] = Counter()
        self.tokens = 0
        self._experts = experts
        self._resident: dict[str, _Engine] = {}
        self._loads: deque[str] = deque()
        self._load_ends = math.inf
        self._heap: list[_Running] = []
        self._count = 0
        self._round = 0
        self._at = 0.0
        """When round `_round` starts or started."""
        self._cost = 0.0
        self._seen = 0.0

    def next_at(self) -> float | None:
        """Return the end of the load that runs or of the request that ends first."""
        ends = self._load_ends
        if self._heap:
            ends = min(ends, self._at + (self._heap[0].ends - self._round) * self._cost)
        return None if ends == math.inf else ends

    def advance(self, now: float) -> list[FleetEvent]:
        """Finish what ends at `now`."""
        self._account(now)
        events: list[FleetEvent] = []
        if self._load_ends <= now:
            events.append(self._end_load(now))
        if self._heap and self._at + (self._heap[0].ends - self._round) * self._cost <= now:
            events += self._end_requests(now)
        return events

    def perform(self, action: Action, tokens: Iterable[int], now: float) -> None:
        """Begin a dispatch, a load or an unload."""
        self._account(now)
        match action:
            case Dispatch(batch, _, expert):
                self._dispatch(batch, expert, tokens, now)
            case Load(_, expert, evict):
                for label in evict:
                    self._evict(label)
                self._load(expert, now)
            case Unload(_, expert):
                self._evict(expert)

    def _account(self, now: float) -> None:
        """Book the time since the last change."""
        passed, self._seen = now - self._seen, now
        if self._heap:
            self.times.busy += passed
        elif self._loads:
            self.times.loading += passed
        else:
            self.times.idle += passed

    def _dispatch(self, batch: int, expert: str, tokens: Iterable[int], now: float) -> None:
        engine = self._resident.get(expert)
        if engine is None or expert in self._loads:
            raise PolicyBroke(f"{self.name}: {expert} is asked and not loaded")
        self._go_on(now)
        for index, length in enumerate(tokens):
            self._count += 1
            engine.waiting.append(_Running(0, self._count, batch, index, expert, length))
        self._visit(expert, engine, index + 1)
        self._admit(engine)

    def _visit(self, expert: str, engine: _Engine, asks: int) -> None:
        last = self.visits[-1].expert if self.visits else None
        if last != expert and not engine.running:
            self.visits.append(Visit(self.name, expert, loaded=engine.fresh))
            engine.fresh = False
        for visit in reversed(self.visits):
            if visit.expert == expert:
                visit.asks += asks
                return

    def _go_on(self, now: float) -> None:
        """Move to the first start of a round that is not before `now`."""
        if not self._heap:
            self._at = now
        elif now > self._at:
            rounds = math.ceil((now - self._at) / self._cost - _ALMOST)
            self._round += rounds
            self._at += rounds * self._cost

    def _admit(self, engine: _Engine) -> None:
        """Fill the batch of an expert; it is the start of a round."""
        limit = engine.figures.batch_limit
        while engine.waiting and engine.running < limit:
            one = engine.waiting.popleft()
            heapq.heappush(self._heap, one._replace(ends=self._round + one.tokens))
            engine.running += 1
        self._cost = sum(e.figures.step_s(e.running) for e in self._resident.values() if e.running)

    def _end_requests(self, now: float) -> list[FleetEvent]:
        self._round, self._at = self._heap[0].ends, now
        batches: dict[int, list[tuple[int, Attempted]]] = {}
        experts: dict[str, None] = {}
        while self._heap and self._heap[0].ends == self._round:
            one = heapq.heappop(self._heap)
            self._resident[one.expert].running -= 1
            self.tokens += one.tokens
            experts[one.expert] = None
            batches.setdefault(one.batch, []).append((one.slot, answer(one.tokens)))
        for expert in experts:
            self._admit(self._resident[expert])
        return [Results(batch, tuple(items)) for batch, items in batches.items()]

    def _load(self, expert: str, now: float) -> None:
        figures = self._experts.get(expert)
        if figures is None:
            raise PolicyBroke(f"{self.name}: cannot host {expert}")
        if expert in self._resident:
            raise PolicyBroke(f"{self.name}: {expert} is loaded twice")
        taken = sum(engine.figures.size_gb for engine in self._resident.values())
        if taken + figures.size_gb > self.place.memory_gb + _ALMOST:
            raise PolicyBroke(f"{self.name}: there is no room for {expert}")
        self._resident[expert] = _Engine(figures, fresh=True)
        self._loads.append(expert)
        self.loads[expert] += 1
        if len(self._loads) == 1:
            self._load_ends = now + figures.load_s

    def _end_load(self, now: float) -> FleetEvent:
        expert = self._loads.popleft()
        ends = math.inf
        if self._loads:
            ends = now + self._experts[self._loads[0]].load_s
        self._load_ends = ends
        return Loaded(self.name, expert, self._experts[expert].load_s)

    def _evict(self, expert: str) -> None:
        engine = self._resident.pop(expert, None)
        if engine is None or expert in self._loads:
            raise PolicyBroke(f"{self.name}: {expert} is evicted and not loaded")
        if engine.running:
            raise PolicyBroke(f"{self.name}: {expert} is evicted while it runs")
