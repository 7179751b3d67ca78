"""Meters: what a run shows of itself while it runs, by expert.

The driver tells :class:`Meters` what it dispatches, what comes back and what its fleet reports;
each call adds to a few numbers. About once a second :meth:`Meters.flush` joins them with what the
planner knows (queue lengths, resident experts) into a :class:`Reading` and hands it to the sinks.
Nothing here decides anything, and a sink that fails is put away: showing a run never stops it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any
from typing import Protocol as Interface

from orchestrator.fleets.fleet import FleetEvent, Loaded, LoadFailed, WorkerLost
from protocols.replies import Reply

FLUSH_EVERY_S = 1.0


class Planned(Interface):
    """What the meters read of a planner."""

    @property
    def in_flight(self) -> int:
        """Asks that are dispatched and not finished."""

    def queue_lengths(self) -> Mapping[str, int]:
        """Return the asks that wait, by expert."""

    def resident(self) -> Mapping[str, tuple[str, ...]]:
        """Return the experts that are loaded, by worker."""


@dataclass(slots=True)
class ExpertMeters:
    """One expert's counts since the run's call began."""

    queue: int = 0
    """Asks that wait to be dispatched, when read."""
    batches: int = 0
    asks: int = 0
    """Asks dispatched; divided by `batches` it is the mean batch."""
    largest_batch: int = 0
    loads: int = 0
    loads_failed: int = 0
    load_s: float = 0.0
    """Seconds that its loads took together, unloading others for them included."""
    replies: int = 0
    """Attempts that came back, throttled and failed ones included."""
    throttled: int = 0
    failures: int = 0
    """Attempts that came back with a failure, throttled ones left out."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    spend: float = 0.0
    """US dollars, as far as prices are known."""


@dataclass(frozen=True, slots=True)
class Reading:
    """All meters at one moment."""

    at: float
    """Seconds, on the clock that the driver reads (monotonic)."""
    elapsed_s: float
    """Since the first reading."""
    in_flight: int
    workers_lost: int
    resident: dict[str, tuple[str, ...]]
    """Loaded experts by worker; workers that need no loads are not there."""
    experts: dict[str, ExpertMeters]
    """By label, in alphabetical order."""
    load_times: tuple[tuple[str, float], ...] = ()
    """(expert, seconds) of each load since the flush before."""

    @property
    def loads(self) -> int:
        """Loads of all experts."""
        return sum(meters.loads for meters in self.experts.values())

    def as_json(self) -> dict[str, Any]:
        """Return what JSON can hold; clocks of this process left out."""
        return {
            "elapsed_s": round(self.elapsed_s, 3),
            "in_flight": self.in_flight,
            "workers_lost": self.workers_lost,
            "resident": {worker: list(experts) for worker, experts in self.resident.items()},
            "experts": {label: asdict(meters) for label, meters in self.experts.items()},
        }


class Sink(ABC):
    """Where readings go. Called from the driver's loop: it must return at once."""

    @abstractmethod
    def take(self, reading: Reading) -> None:
        """Take a reading; counts in it only ever grow."""

    def close(self) -> None:
        """The run's call is over; no reading follows."""
        return


class MemorySink(Sink):
    """Keeps the last readings: for whoever shows a run from within its process, and for tests."""

    def __init__(self, keep: int = 60) -> None:
        self.readings: deque[Reading] = deque(maxlen=keep)

    @property
    def last(self) -> Reading | None:
        """The latest reading, if there is one."""
        return self.readings[-1] if self.readings else None

    def take(self, reading: Reading) -> None:
        """Keep a reading; the oldest one goes where there are too many."""
        self.readings.append(reading)


@dataclass(slots=True)
class Meters:
    """Counts for one call of a driver.

    Args:
        sinks: where readings go.
        every_s: seconds between two readings.
    """

    sinks: list[Sink] = field(default_factory=list)
    every_s: float = FLUSH_EVERY_S
    broken: list[str] = field(default_factory=list, init=False)
    """What sinks that failed have said; they were put away."""
    _experts: dict[str, ExpertMeters] = field(default_factory=dict, init=False)
    _load_times: list[tuple[str, float]] = field(default_factory=list, init=False)
    _workers_lost: int = field(default=0, init=False)
    _began: float | None = field(default=None, init=False)
    _due: float = field(default=float("-inf"), init=False)

    def on_dispatch(self, expert: str, size: int) -> None:
        """Count a batch that is sent to a worker."""
        meters = self._of(expert)
        meters.batches += 1
        meters.asks += size
        meters.largest_batch = max(meters.largest_batch, size)

    def on_reply(self, expert: str, reply: Reply, price: float | None) -> None:
        """Count an attempt that came back, at its price in US dollars (None: not known)."""
        meters = self._experts.get(expert) or self._of(expert)
        meters.replies += 1
        failure = reply.failure
        if failure is not None:
            if failure.cause == "throttled":
                meters.throttled += 1
            else:
                meters.failures += 1
        usage = reply.usage
        meters.prompt_tokens += usage.prompt_tokens
        meters.completion_tokens += usage.completion_tokens
        if price:
            meters.spend += price

    def on_event(self, event: FleetEvent) -> None:
        """Count what a fleet reports: loads and losses; results come through :meth:`on_reply`."""
        match event:
            case Loaded(_, expert, seconds):
                meters = self._of(expert)
                meters.loads += 1
                meters.load_s += seconds
                self._load_times.append((expert, seconds))
            case LoadFailed():
                self._of(event.expert).loads_failed += 1
            case WorkerLost():
                self._workers_lost += 1

    def flush(self, planner: Planned, now: float) -> None:
        """Hand a reading to the sinks, where one is due (`now` in seconds, monotonic)."""
        if now < self._due:
            return
        self._due = now + self.every_s
        if self.sinks:
            reading = self.read(planner, now)
            self._load_times.clear()
            self._tell(lambda sink: sink.take(reading))

    def close(self, planner: Planned, now: float) -> None:
        """Hand out the last reading, due or not, and close the sinks."""
        self._due = now
        self.flush(planner, now)
        self._tell(lambda sink: sink.close())
        self.sinks.clear()

    def read(self, planner: Planned, now: float) -> Reading:
        """Return all meters as they are now."""
        self._began = now if self._began is None else self._began
        queues: Counter[str] = Counter(planner.queue_lengths())
        for expert in queues:
            self._of(expert)
        for expert, meters in self._experts.items():
            meters.queue = queues[expert]
        return Reading(
            at=now,
            elapsed_s=now - self._began,
            in_flight=planner.in_flight,
            workers_lost=self._workers_lost,
            resident=dict(planner.resident()),
            experts={label: replace(self._experts[label]) for label in sorted(self._experts)},
            load_times=tuple(self._load_times),
        )

    def _of(self, expert: str) -> ExpertMeters:
        found = self._experts.get(expert)
        if found is None:
            found = self._experts[expert] = ExpertMeters()
        return found

    def _tell(self, call: Callable[[Sink], None]) -> None:
        """Call something on every sink; one that raises is put away."""
        kept: list[Sink] = []
        for sink in self.sinks:
            try:
                call(sink)
            except Exception as error:  # noqa: BLE001 - showing a run never stops it
                name = type(sink).__name__
                self.broken.append(f"{name}: {' '.join(str(error).split())}"[:500])
            else:
                kept.append(sink)
        self.sinks[:] = kept
