"""Fleets: where engines live. The driver's side of the interface.

A fleet hosts workers, and workers host engines. The driver tells the fleet what to do with
:meth:`Fleet.perform` (it never waits) and hears what happened from the :class:`Inbox`. Both fleets,
``LocalFleet`` and ``RayFleet``, run the same :class:`agents.worker.Worker` and pass one contract
suite (``tests/orchestrator/fleet_contract.py``).
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field

from agents.engine import Attempted
from agents.roster import Expert
from protocols.asks import Ask


@dataclass(frozen=True, slots=True)
class Dispatch:
    """Send a batch of asks of one expert to a worker."""

    batch: int
    """The batch's number, unique in the run."""
    worker: str
    expert: str
    asks: tuple[Ask, ...]


@dataclass(frozen=True, slots=True)
class Load:
    """Load an expert on a worker, after unloading those whose room it needs."""

    worker: str
    expert: str
    evict: tuple[str, ...] = ()
    """Unloaded first, in this order; they are gone whether the load succeeds or not."""


@dataclass(frozen=True, slots=True)
class Unload:
    """Unload an expert from a worker."""

    worker: str
    expert: str


Action = Dispatch | Load | Unload


@dataclass(frozen=True, slots=True)
class WorkerJoined:
    """A worker is ready; it can host the experts named, at most `batch_limits` asks of each."""

    worker: str
    batch_limits: dict[str, int]
    memory_gb: float | None = None
    """What its loaded experts may take together, in gigabytes (a GPU worker: nothing is served
    that a Load did not make resident). None: it serves all its experts, and none needs loading."""
    sizes_gb: dict[str, float] = field(default_factory=dict)
    """What each of its experts takes, where `memory_gb` is set."""


@dataclass(frozen=True, slots=True)
class WorkerLost:
    """A worker is gone, and with it every batch that was not finished."""

    worker: str
    message: str
    replaced: bool = False
    """Whether another worker will join in its place."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """An expert is ready on a worker."""

    worker: str
    expert: str
    seconds: float


@dataclass(frozen=True, slots=True)
class LoadFailed:
    """An expert could not be loaded on a worker."""

    worker: str
    expert: str
    message: str


@dataclass(frozen=True, slots=True)
class Results:
    """Some asks of a batch are finished: (index into the batch, result)."""

    batch: int
    items: tuple[tuple[int, Attempted], ...]


FleetEvent = WorkerJoined | WorkerLost | Loaded | LoadFailed | Results


class Inbox:
    """Where a fleet puts its events and the driver finds them; used from one event loop."""

    def __init__(self) -> None:
        self._events: list[FleetEvent] = []
        self._filled = asyncio.Event()

    def put(self, event: FleetEvent) -> None:
        """Add an event and wake the driver."""
        self._events.append(event)
        self._filled.set()

    def wake(self) -> None:
        """Wake the driver without an event."""
        self._filled.set()

    async def wait(self, timeout: float | None = None) -> None:
        """Return when there is an event, when woken, or after `timeout` seconds."""
        if timeout is None:
            await self._filled.wait()
            return
        try:
            # not wait_for, which in Python 3.11 loses a cancellation that comes with a wake-up
            async with asyncio.timeout(timeout):
                await self._filled.wait()
        except TimeoutError:
            return

    def take(self) -> list[FleetEvent]:
        """Return all events since the last call."""
        events, self._events = self._events, []
        self._filled.clear()
        return events


class Fleet(ABC):
    """Places engines and runs batches on them."""

    @abstractmethod
    async def start(self, experts: Sequence[Expert], inbox: Inbox) -> None:
        """Start the workers for `experts`; each puts a WorkerJoined into `inbox`."""

    @abstractmethod
    def perform(self, action: Action) -> None:
        """Begin an action and return at once; what comes of it arrives in the inbox.

        For a Dispatch every index arrives exactly once in a Results, unless its worker is lost.
        """

    @abstractmethod
    async def close(self) -> None:
        """Stop all workers, also when batches still run. May be called twice."""
