"""The simulator: a world of made-up hardware that drives a planner as the driver would.

Theory. A discrete-event simulation. Sessions are traces (what is asked turn by turn, and how long
each reply is); a turn is released when the one before it is complete. The world hands every event
to a policy (``apply(event, now)``), asks it what to do (``plan(now) -> (actions, wake_at)``) and
performs the actions on simulated workers (``machines.py``); then it jumps to the next thing that
happens. The policy is the planner of the product, unchanged, or a baseline (``policies.py``).
Asks, seats and replies are those of the product, without words.

The world itself takes no time: no journal, no network. Only the policy's own processor time is
measured, and reported beside the simulated seconds.
"""

from __future__ import annotations

import heapq
import math
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from agents.engine import Throttled
from orchestrator.fleets.fleet import Action, Dispatch, FleetEvent, Results, WorkerJoined
from orchestrator.planner.lengths import Lengths
from orchestrator.planner.plan import AsksArrived, ExpertThrottled, PlanEvent
from orchestrator.simulator.endpoints import Endpoint
from orchestrator.simulator.machines import Gpu, GpuExpert, GpuWorker, Machine, PolicyBroke
from orchestrator.simulator.simulated import Report
from orchestrator.simulator.world import Call, Trace, World
from protocols.asks import Ask
from protocols.errors import Mistake
from protocols.messages import Place

__all__ = ["Call", "KnownLengths", "Policy", "Report", "Trace", "World", "simulate"]

_SPINS = 1_000
"""So often a policy may ask to be woken at once and then do nothing."""


class Policy(Protocol):
    """What decides: a planner or a baseline."""

    def apply(self, event: PlanEvent, now: float) -> None:
        """Take note of an event."""

    def plan(self, now: float) -> tuple[list[Action], float | None]:
        """Return what to do now, and when to ask again if nothing happens."""


class KnownLengths(Lengths):
    """A predictor that is told the truth: the best that a planner could do with predictions."""

    def __init__(self) -> None:
        super().__init__()
        self._known: dict[int, int] = {}

    def tell(self, ask: Ask, tokens: int) -> None:
        """Be told the length of the reply to an ask that is about to arrive."""
        self._known[id(ask)] = tokens

    def predict(self, ask: Ask) -> float:
        """Return the length of the reply."""
        return float(self._known[id(ask)])

    def learn(self, ask: Ask, tokens: int) -> None:
        """Forget an ask that is answered."""
        self._known.pop(id(ask), None)


class Item:
    """An ask that waits for its reply; what a planner queues."""

    __slots__ = ("ask", "session", "slot", "tokens")

    def __init__(self, session: _Open, slot: int, ask: Ask, tokens: int) -> None:
        self.session = session
        self.slot = slot
        self.ask = ask
        self.tokens = tokens

    @property
    def expert(self) -> str:
        """Who is asked."""
        return self.ask.seat.expert

    @property
    def group(self) -> object:
        """The session, of which one turn is asked at a time."""
        return self.session

    @property
    def due(self) -> float | None:
        """When its session should be over."""
        return self.session.trace.due


class _Open:
    """A session that has started."""

    __slots__ = ("missing", "trace", "turn")

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.turn = -1
        self.missing = 0

    def next_turn(self) -> list[Item]:
        """Release the next turn; empty when the session is over."""
        self.turn += 1
        if self.turn == len(self.trace.turns):
            return []
        calls = self.trace.turns[self.turn]
        self.missing = len(calls)
        question, turn = self.trace.question, self.turn
        return [
            Item(self, slot, Ask(call.seat, (), (), None, question, Place(turn, slot)), call.tokens)
            for slot, call in enumerate(calls)
        ]


@dataclass(slots=True)
class _Counts:
    """What is counted on the way."""

    asks: int = 0
    tokens: int = 0
    plans: int = 0
    operations: int = 0
    policy_s: float = 0.0
    session_s: list[float] = field(default_factory=list)


def simulate(
    policy: Policy, world: World, traces: Sequence[Trace], *, lengths: KnownLengths | None = None
) -> Report:
    """Run sessions to their end under a policy.

    Args:
        policy: a fresh planner or baseline.
        world: the hardware.
        traces: the sessions.
        lengths: the policy's predictor, where it is to know all lengths beforehand.

    Raises:
        PolicyBroke: the policy asked for what cannot be, or left asks waiting for ever.
        Mistake: a trace asks an expert that the world lacks.
    """
    unknown = {c.seat.expert for t in traces for turn in t.turns for c in turn} - set(world.experts)
    if unknown:
        raise Mistake(f"the simulated world has no expert {', '.join(sorted(unknown))}")
    return _Simulation(policy, world, traces, lengths).run()


class _Simulation:
    """One run of :func:`simulate`."""

    def __init__(
        self,
        policy: Policy,
        world: World,
        traces: Sequence[Trace],
        lengths: KnownLengths | None,
    ) -> None:
        self.policy = policy
        self.lengths = lengths
        self.world = world
        self.traces: Iterator[Trace] = iter(sorted(traces, key=lambda trace: trace.arrives))
        self.coming: Trace | None = next(self.traces, None)
        self.now = 0.0
        self.live = 0
        self.counts = _Counts()
        self.items: dict[int, Item] = {}
        """What is not answered, by the identity of its ask, which lives as long."""
        self.batches: dict[int, dict[int, Item]] = {}
        """What is not answered of each batch, by index."""
        self.arriving: list[Item] = []
        self.due: list[tuple[float, int, Machine, int]] = []
        self.again: list[tuple[float, int, Item]] = []
        self.number = 0
        on_gpus = world.on_gpus
        self.gpus = [Gpu(place, _hosted_by(place, on_gpus)) for place in world.workers]
        self.endpoints = [Endpoint(f"hosted_{e}", e, f) for e, f in world.hosted.items()]
        self.machines: dict[str, Machine] = {m.name: m for m in [*self.gpus, *self.endpoints]}

    def run(self) -> Report:
        """Run to the end."""
        for event in self._joining():
            self._apply(event)
        self._admit()
        self._arrive()
        wake_at = self._plan()
        spins = 0
        while (moment := self._next_moment(wake_at)) is not None:
            spins = spins + 1 if moment <= self.now else 0
            if spins > _SPINS:
                raise PolicyBroke(f"the policy asks to be woken again and again at {self.now:g} s")
            self.now = max(moment, self.now)
            self._happen()
            self._admit()
            self._arrive()
            wake_at = self._plan()
        if self.live or self.coming:
            raise PolicyBroke(f"the policy leaves {len(self.items):,} asks waiting for ever")
        return self._report()

    def _joining(self) -> Iterator[WorkerJoined]:
        for gpu in self.gpus:
            experts = _hosted_by(gpu.place, self.world.on_gpus)
            yield WorkerJoined(
                gpu.name,
                {label: figures.batch_limit for label, figures in experts.items()},
                gpu.place.memory_gb,
                {label: figures.size_gb for label, figures in experts.items()},
            )
        for endpoint in self.endpoints:
            yield WorkerJoined(endpoint.name, {endpoint.expert: endpoint.figures.concurrency})

    def _next_moment(self, wake_at: float | None) -> float | None:
        """Return when something happens; None: never again."""
        while self.due and self.due[0][3] != self.due[0][2].version:
            heapq.heappop(self.due)
        times = [self._told_at(self.due[0][0])] if self.due else []
        if self.again:
            times.append(self.again[0][0])
        if self.coming is not None and not self._full():
            times.append(self.coming.arrives)
        if wake_at is not None and (self.live or times):
            times.append(wake_at)
        return min(times, default=None)

    def _told_at(self, moment: float) -> float:
        """Return when the policy hears of what happens at a moment."""
        report_s = self.world.report_s
        if report_s == 0.0:
            return moment
        return max(moment, math.ceil(moment / report_s - 1e-9) * report_s)

    def _happen(self) -> None:
        """Let everything happen that is due."""
        while self.due and self.due[0][0] <= self.now:
            _, _, machine, version = heapq.heappop(self.due)
            if version == machine.version:
                self._advance(machine)
        ready: list[Item] = []
        while self.again and self.again[0][0] <= self.now:
            ready.append(heapq.heappop(self.again)[2])
        if ready:
            self._apply(AsksArrived(ready))

    def _advance(self, machine: Machine) -> None:
        """Let a machine go on to the present, and tell what happened."""
        moment = machine.next_at()
        while moment is not None and moment <= self.now:
            for event in machine.advance(moment):
                self._on_event(event)
            moment = machine.next_at()
        self._expect(machine)

    def _expect(self, machine: Machine) -> None:
        """Note when the next thing happens at a machine that has changed."""
        machine.version += 1
        moment = machine.next_at()
        if moment is not None:
            self.number += 1
            heapq.heappush(self.due, (moment, self.number, machine, machine.version))

    def _on_event(self, event: FleetEvent) -> None:
        complete: list[_Open] = []
        if isinstance(event, Results):
            batch = self.batches[event.batch]
            for index, result in event.items:
                item = batch.pop(index)
                if isinstance(result, Throttled):
                    until = self.now + result.wait_s
                    self._apply(ExpertThrottled(item.ask.seat.expert, until))
                    self.number += 1
                    heapq.heappush(self.again, (until, self.number, item))
                    continue
                del self.items[id(item.ask)]
                self.counts.tokens += item.tokens
                item.session.missing -= 1
                if item.session.missing == 0:
                    complete.append(item.session)
            self.counts.operations += len(event.items)
            if not batch:
                del self.batches[event.batch]
        self._apply(event)
        for session in complete:
            self._release(session)

    def _release(self, session: _Open) -> None:
        """Go on with a session whose turn is complete."""
        items = session.next_turn()
        if not items:
            self.live -= 1
            self.counts.session_s.append(self.now - session.trace.arrives)
            return
        self.arriving += items

    def _arrive(self) -> None:
        """Hand over what was released at this moment."""
        items, self.arriving = self.arriving, []
        if not items:
            return
        self.counts.asks += len(items)
        self.counts.operations += len(items)
        for item in items:
            self.items[id(item.ask)] = item
            if self.lengths is not None:
                self.lengths.tell(item.ask, item.tokens)
        self._apply(AsksArrived(items))

    def _full(self) -> bool:
        return self.world.window is not None and self.live >= self.world.window

    def _admit(self) -> None:
        """Start the sessions that have arrived, within the window."""
        while self.coming is not None and self.coming.arrives <= self.now and not self._full():
            self.live += 1
            self._release(_Open(self.coming))
            self.coming = next(self.traces, None)

    def _apply(self, event: PlanEvent) -> None:
        start = time.thread_time()
        self.policy.apply(event, self.now)
        self.counts.policy_s += time.thread_time() - start

    def _plan(self) -> float | None:
        start = time.thread_time()
        actions, wake_at = self.policy.plan(self.now)
        self.counts.policy_s += time.thread_time() - start
        self.counts.plans += 1
        changed: dict[str, Machine] = {}
        for action in actions:
            machine = self.machines.get(action.worker)
            if machine is None:
                raise PolicyBroke(f"there is no worker {action.worker}")
            tokens: list[int] = []
            if isinstance(action, Dispatch):
                batch = [self.items[id(ask)] for ask in action.asks]
                tokens = [item.tokens for item in batch]
                self.batches[action.batch] = dict(enumerate(batch))
                self.counts.operations += len(batch)
            machine.perform(action, tokens, self.now)
            changed[machine.name] = machine
        for machine in changed.values():
            self._expect(machine)
        return wake_at

    def _report(self) -> Report:
        counts = self.counts
        loads: Counter[str] = Counter()
        for gpu in self.gpus:
            gpu.advance(self.now)
            loads.update(gpu.loads)
        return Report(
            makespan_s=self.now,
            sessions=len(counts.session_s),
            asks=counts.asks,
            tokens=counts.tokens,
            loads=loads,
            times={gpu.name: gpu.times for gpu in self.gpus},
            visits=tuple([visit for gpu in self.gpus for visit in gpu.visits]),
            session_s=tuple(sorted(counts.session_s)),
            throttled=sum(endpoint.throttled for endpoint in self.endpoints),
            plans=counts.plans,
            operations=counts.operations,
            policy_cpu_s=counts.policy_s,
        )


def _hosted_by(place: GpuWorker, experts: Mapping[str, GpuExpert]) -> dict[str, GpuExpert]:
    """Return the experts that a worker can host."""
    return {
        label: figures
        for label, figures in experts.items()
        if place.experts is None or label in place.experts
    }
