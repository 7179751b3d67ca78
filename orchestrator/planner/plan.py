"""The planner: which asks go where, and when. A sans-IO state machine.

Theory. The driver tells the planner what happened (:meth:`Planner.apply`) and asks what to do now
(:meth:`Planner.plan`); the planner never waits, never calls and knows no clock but the `now` it is
handed (seconds, monotonic). It groups the pending asks of all sessions by expert, so that a batch
holds asks of many sessions and an expert that must be loaded serves all of them in one visit.

An expert that some worker serves without loading it (behind an API, or small) is dispatched at
once: its asks queue in order of arrival; whenever a worker has room for it (its batch limit less
what runs there), the worker with the most room takes as many as fit, at most `max_batch` a
dispatch. An expert that only GPU workers host follows the rule of ``residency.py``. A throttled
expert rests until its time has come. When a worker is lost, what it had not finished goes back to
the front of the queue.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field

from agents.engine import Attempted, Throttled
from orchestrator.fleets.fleet import (
    Action,
    Dispatch,
    Loaded,
    LoadFailed,
    Results,
    WorkerJoined,
    WorkerLost,
)
from orchestrator.limits.gates import Gates
from orchestrator.planner.hosted import Hosted
from orchestrator.planner.lengths import PRIOR_TOKENS, Lengths
from orchestrator.planner.pace import Pace
from orchestrator.planner.queues import Entry, Item
from orchestrator.planner.residency import Mode, Residency

__all__ = [
    "AsksArrived",
    "Cancelled",
    "ExpertThrottled",
    "Item",
    "PlanEvent",
    "PlanSettings",
    "Planner",
]


class PlanSettings(BaseModel):
    """How to plan; none of it changes an outcome."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_batch: int = Field(256, ge=1)
    """The most asks of one dispatch."""
    mode: Mode = "cycle"
    """``wave`` also holds the asks of a turn until the queues of the turn before are empty: for
    one batch of one protocol."""
    prefetch: bool = True
    """Whether to load the next expert while another one runs, where memory allows."""
    replicate: bool = True
    """Whether several GPU workers may serve one expert at once, where that pays."""
    load_s: float = Field(10.0, ge=0.0)
    """Seconds that a load takes, before one was measured."""
    step_s: float = Field(0.01, gt=0.0)
    """Seconds of a step (a token for each running ask), whatever runs; before it was measured."""
    step_ask_s: float = Field(0.00005, ge=0.0)
    """Seconds of a step for each running ask, before they were measured."""
    tokens: float = Field(PRIOR_TOKENS, gt=0.0)
    """The length of a reply, before any was seen."""


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
    entries: dict[int, Entry] | None = None
    """The same, as a GPU worker's queue knows them; None for other workers."""


class Planner:
    """See the module's theory. One planner serves one run."""

    def __init__(
        self,
        settings: PlanSettings | None = None,
        *,
        lengths: Lengths | None = None,
        pace: Pace | None = None,
        gates: Gates | None = None,
    ) -> None:
        """Make a planner.

        Args:
            settings: how to plan.
            lengths: predicts the lengths of replies; by default one that learns.
            pace: predicts loads and steps; by default one that learns.
            gates: of the experts' endpoints; by default there are none.
        """
        self.settings = wanted = settings or PlanSettings()
        self.cancelled = False
        self.in_flight = 0
        """Asks that are dispatched and not finished."""
        self._batches: dict[int, _Batch] = {}
        self._next_batch = 0
        self._refused: dict[str, str] = {}
        """Why an expert that nobody hosts cannot be hosted."""
        self._replacements = 0
        """Workers that will come in the place of lost ones."""
        self._loadable: set[str] = set()
        """Experts that must be loaded wherever they are hosted."""
        self._hosted = Hosted(wanted.max_batch, gates)
        self._gpus = Residency(
            lengths or Lengths(wanted.tokens),
            pace or Pace(load_s=wanted.load_s, step_s=wanted.step_s, step_ask_s=wanted.step_ask_s),
            max_batch=wanted.max_batch,
            mode=wanted.mode,
            prefetch=wanted.prefetch,
            replicate=wanted.replicate,
        )

    @property
    def waiting(self) -> int:
        """Asks that are not dispatched yet."""
        return sum(self.queue_lengths().values())

    @property
    def workers(self) -> tuple[str, ...]:
        """The workers that are there, by name."""
        return tuple(sorted([*self._hosted.limits, *self._gpus.board.gpus]))

    @property
    def loads(self) -> Counter[str]:
        """Loads begun, by expert."""
        return self._gpus.loads

    def resident(self) -> dict[str, tuple[str, ...]]:
        """Return the experts that are loaded, by GPU worker."""
        return {n: tuple(sorted(g.resident)) for n, g in sorted(self._gpus.board.gpus.items())}

    def loading(self) -> dict[str, str]:
        """Return the experts that are just being loaded, by GPU worker."""
        return {n: g.loading for n, g in sorted(self._gpus.board.gpus.items()) if g.loading}

    def queue_lengths(self) -> dict[str, int]:
        """Return how many asks are not dispatched yet, by expert."""
        lengths = {expert: len(queue.items) for expert, queue in self._hosted.queues.items()}
        for expert, lane in self._gpus.board.lanes.items():
            lengths[expert] = lengths.get(expert, 0) + len(lane.queue) + lane.held
        return lengths

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
                self._finish(batch, results, now)
            case ExpertThrottled(expert, until):
                self._hosted.rest(expert, until)
                if expert in self._loadable:
                    self._gpus.rest(expert, until)
            case WorkerJoined():
                self._join(event)
            case WorkerLost(worker, _, replaced):
                self._lose(worker, replaced=replaced)
            case LoadFailed(worker, expert, message):
                self._refused[expert] = message
                self._hosted.refuse(worker, expert)
                self._gpus.load_failed(worker, expert)
                self._rehost()
            case Loaded(worker, expert, seconds):
                self._gpus.loaded(worker, expert, seconds)
            case Cancelled():
                self.cancelled = True

    def settle(self, settled: bool) -> None:
        """Say whether every reply has led to all asks that it leads to; so it is by default.

        A driver that still records replies and steps their sessions says no, so that no expert is
        unloaded that is wanted again a moment later.
        """
        self._gpus.settled = settled

    def plan(self, now: float) -> tuple[list[Action], float | None]:
        """Return what to do now, and when to ask again if nothing happens (None: no need)."""
        actions: list[Action] = []
        wake_at: float | None = None
        if self.cancelled:
            return actions, None
        if self._loadable:
            actions, wake_at = self._gpus.plan(now, self._start_loaded)
        wake_at = self._hosted.plan(now, self._start, actions, wake_at)
        return actions, wake_at

    def unservable(self, expert: str) -> bool:
        """Whether workers are there and none of them hosts `expert`."""
        gpus = self._gpus.board.gpus
        if not self._hosted.limits and not gpus:
            return False
        return expert not in self._loadable and not self._hosted.hosts.get(expert)

    def stranded(self) -> list[tuple[str, str]]:
        """Return the experts that asks wait for and no worker can host, each with the reason.

        All workers that might have hosted them failed to load them or have too little memory, and
        none is about to come.
        """
        if not self._refused or self._replacements:
            return []
        lengths = self.queue_lengths()
        return [
            (expert, message)
            for expert, message in sorted(self._refused.items())
            if lengths.get(expert) and self.unservable(expert)
        ]

    def drain(self, expert: str) -> list[Item]:
        """Take back everything that waits for `expert`."""
        items = self._hosted.drain(expert)
        if self._gpus.counting:
            for item in items:
                self._gpus.answered(item)
        return items + self._gpus.drain(expert)

    def _arrive(self, items: Sequence[Item]) -> None:
        if self._gpus.counting:
            self._gpus.expect(items)
            self._divide(items)
        else:
            self._hosted.arrive(items)

    def _divide(self, items: Sequence[Item]) -> None:
        """Queue each ask where its expert is hosted."""
        loadable = self._loadable
        for item in items:
            if item.expert in loadable:
                self._gpus.push(item)
        self._hosted.arrive([item for item in items if item.expert not in loadable])

    def _start(self, worker: str, expert: str, items: list[Item]) -> Dispatch:
        batch = self._next_batch
        self._next_batch += 1
        self._batches[batch] = _Batch(worker, expert, dict(enumerate(items)))
        self.in_flight += len(items)
        return Dispatch(batch, worker, expert, tuple([item.ask for item in items]))

    def _start_loaded(self, worker: str, expert: str, entries: list[Entry]) -> Dispatch:
        dispatch = self._start(worker, expert, [entry.item for entry in entries])
        self._batches[dispatch.batch].entries = dict(enumerate(entries))
        return dispatch

    def _finish(self, number: int, results: Sequence[tuple[int, Attempted]], now: float) -> None:
        batch = self._batches.get(number)
        if batch is None:
            return
        items, entries = batch.items, batch.entries
        counting = self._gpus.counting
        before = len(items)
        for index, result in results:
            item = items.pop(index, None)
            if item is not None and entries is None:
                self._hosted.learn(batch.expert, item, result, now)
            if item is None or not counting:
                continue
            if entries is None:
                self._gpus.answered(item)
            else:
                tokens = 0 if isinstance(result, Throttled) else result.usage.completion_tokens
                self._gpus.finished(batch.worker, entries.pop(index), tokens, now)
        finished = before - len(items)
        self.in_flight -= finished
        if entries is None:
            self._hosted.finished(batch.worker, batch.expert, finished)
        if not items:
            del self._batches[number]

    def _join(self, event: WorkerJoined) -> None:
        """Take note of a worker; one whose name is known anew was lost in between."""
        if event.worker in self._hosted.limits or event.worker in self._gpus.board.gpus:
            self._lose(event.worker, replaced=True)
        self._replacements = max(self._replacements - 1, 0)
        if event.memory_gb is None:
            self._hosted.join(event.worker, event.batch_limits)
        else:
            self._count()
            for expert in self._gpus.join(event):
                gb = event.sizes_gb[expert]
                self._refused[expert] = (
                    f"{expert} needs {gb:g} GB, and no GPU worker has more than "
                    f"{event.memory_gb:g} GB for it"
                )
        self._rehost()

    def _lose(self, worker: str, *, replaced: bool) -> None:
        self._replacements = self._replacements + 1 if replaced else 0
        if worker in self._gpus.board.gpus:
            self._gpus.lose(worker)
        elif not self._hosted.lose(worker):
            return
        self._rehost()
        for number in sorted(self._batches, reverse=True):
            if self._batches[number].worker == worker:
                self._give_back(self._batches.pop(number))

    def _give_back(self, batch: _Batch) -> None:
        """Put what a lost batch had not finished to the front of its expert's queue."""
        self.in_flight -= len(batch.items)
        order = sorted(batch.items)
        if batch.entries is not None:
            self._gpus.give_back(batch.expert, [batch.entries[i] for i in order])
            if batch.expert not in self._loadable and self._hosted.hosts.get(batch.expert):
                self._move(batch.expert)
        elif batch.expert in self._loadable:
            for i in order:
                self._gpus.push(batch.items[i])
        else:
            self._hosted.give_back(batch.expert, [batch.items[i] for i in order])

    def _count(self) -> None:
        """Begin to count what is missing of each turn, with the first GPU worker."""
        if self._gpus.counting:
            return
        self._gpus.counting = True
        for queue in self._hosted.queues.values():
            self._gpus.expect(queue.items)
        for batch in self._batches.values():
            self._gpus.expect(batch.items.values())

    def _rehost(self) -> None:
        """Find anew what must be loaded, and move the queues of what changed."""
        hosted = self._hosted.hosts
        gpus = self._gpus.board.gpus.values()
        loadable = {expert for gpu in gpus for expert in gpu.limits if expert not in hosted}
        come, self._loadable = loadable - self._loadable, loadable
        for expert in sorted(come):
            for item in self._hosted.drain(expert):
                self._gpus.push(item)
            if until := self._hosted.rests_until(expert):
                self._gpus.rest(expert, until)
        for expert in sorted(self._gpus.board.lanes):  # also what waited while nobody hosted it
            if expert not in loadable and hosted.get(expert):
                self._move(expert)
        for expert in [e for e in self._refused if hosted.get(e) or e in loadable]:
            del self._refused[expert]

    def _move(self, expert: str) -> None:
        """Move a queue to the workers that need no loading."""
        items = self._gpus.drain(expert)
        self._gpus.expect(items)
        self._hosted.arrive(items)
