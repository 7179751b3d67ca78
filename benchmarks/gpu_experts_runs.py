"""Sessions on real workers under a policy, and what the simulator says of the same sessions.

No driver, no store, no protocol: a loop hands what happened to the policy and does what it says, as
the driver does. Sessions are the simulator's traces; an ask of a later turn quotes the replies of
the turn before, and every reply has the length that the trace says.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from agents.engine import Engine
from agents.roster import Expert
from orchestrator.fleets.fleet import (
    Action,
    Dispatch,
    FleetEvent,
    Inbox,
    Load,
    LoadFailed,
    Results,
    WorkerJoined,
)
from orchestrator.fleets.local_fleet import LocalFleet
from orchestrator.planner.lengths import Lengths
from orchestrator.planner.plan import AsksArrived, Planner, PlanSettings
from orchestrator.simulator.bounds import Bounds, lower_bounds
from orchestrator.simulator.machines import GpuExpert, GpuWorker
from orchestrator.simulator.policies import BASELINES
from orchestrator.simulator.simulate import Policy, simulate
from orchestrator.simulator.simulated import Report
from orchestrator.simulator.world import Trace, World
from protocols.asks import Ask, Model, Sampling, Seat
from protocols.messages import Message, Part, Place
from protocols.replies import Reply

STALLED_S = 120.0
"""So long nothing may happen."""


@dataclass(frozen=True)
class Pacing:
    """What a machine was measured to take."""

    load_s: float
    t0_s: float
    """Of a step, whatever runs."""
    t1_s: float
    """Of a step, for each that runs."""
    admit_s: float
    """Of a new ask: its prompt, and what goes with it."""

    def expert(self, batch_limit: int, mean_tokens: float, extra_load_s: float = 0.0) -> GpuExpert:
        """Return it as the simulator takes it: prompts as a part of every token."""
        return GpuExpert(
            load_s=self.load_s + extra_load_s,
            t0_s=self.t0_s,
            t1_s=self.t1_s + self.admit_s / mean_tokens,
            batch_limit=batch_limit,
            size_gb=1.0,
        )


@dataclass(frozen=True)
class Setting:
    """Where sessions run: experts, how they are served, and what that takes."""

    experts: Sequence[Expert]
    factory: Callable[[Expert], Engine]
    batch_limit: int
    size_gb: float
    """Of each expert."""
    slots: int = 3
    extra_load_s: float = 0.0
    """Seconds by which every load is slowed down."""
    pacing: Pacing | None = None
    busy_s: Callable[[], float] = lambda: 0.0
    """Tells for how long steps have run since the process began."""


@dataclass
class Outcome:
    """What came of a run."""

    seconds: float = 0.0
    cpu_s: float = 0.0
    """Processor seconds of this process, all threads."""
    loads: int = 0
    asks: int = 0
    tokens: int = 0
    scheduler_s: float = 0.0
    """Processor seconds of the policy."""
    busy_s: float = 0.0
    """Seconds in which a step ran."""
    texts: dict[tuple[str, int, int], str] = field(default_factory=dict)
    """By question, turn and slot."""

    @property
    def scheduler_share(self) -> float:
        return self.scheduler_s / self.seconds if self.seconds else 0.0

    @property
    def idle_share(self) -> float:
        return max(0.0, 1.0 - self.busy_s / self.seconds) if self.seconds else 0.0


class Unhinted(Lengths):
    """Predicts from what was seen alone: the limit of a forced length would tell it."""

    def __init__(self, prior: float) -> None:
        super().__init__(prior)
        self._plain: dict[tuple[str, str], Ask] = {}

    def predict(self, ask: Ask) -> float:
        key = ask.seat.expert, ask.seat.role
        plain = self._plain.get(key)
        if plain is None:
            seat = replace(ask.seat, sampling=Sampling())
            plain = self._plain[key] = Ask(seat, ())
        return super().predict(plain)


def policy_named(name: str, setting: Setting, mean_tokens: float) -> Policy:
    """Return a fresh policy: a baseline, or the planner as it is set for one batch of sessions."""
    if name in BASELINES:
        return BASELINES[name]()
    pacing = setting.pacing or Pacing(1.0, 0.01, 0.0001, 0.0)
    settings = PlanSettings(
        mode="wave" if name == "planner, wave" else "cycle",
        load_s=pacing.load_s + setting.extra_load_s,
        step_s=max(pacing.t0_s, 1e-6),
        step_ask_s=pacing.t1_s,
        tokens=mean_tokens,
    )
    return Planner(settings, lengths=Unhinted(mean_tokens))


def world_of(setting: Setting, mean_tokens: float) -> World:
    """Return the setting as the simulator takes it."""
    assert setting.pacing is not None
    figures = setting.pacing.expert(setting.batch_limit, mean_tokens, setting.extra_load_s)
    return World(
        experts={expert.label: figures for expert in setting.experts},
        workers=(GpuWorker(name="gpu-0", memory_gb=float(setting.slots)),),
    )


def mean_tokens_of(traces: Sequence[Trace]) -> float:
    """Return how long replies are on the average."""
    lengths = [call.tokens for trace in traces for turn in trace.turns for call in turn]
    return sum(lengths) / len(lengths)


def foretell(name: str, setting: Setting, traces: Sequence[Trace]) -> Report:
    """Return what the simulator expects of sessions under a policy."""
    mean = mean_tokens_of(traces)
    return simulate(policy_named(name, setting, mean), world_of(setting, mean), traces)


def bounds_of(setting: Setting, traces: Sequence[Trace]) -> Bounds:
    """Return what no policy can beat."""
    return lower_bounds(world_of(setting, mean_tokens_of(traces)), traces)


class Words:
    """The words of prompts."""

    def __init__(self, vocabulary: int, prompt: int, passage: int = 0, shared_by: int = 1) -> None:
        self._vocabulary = vocabulary
        self._prompt = prompt
        self._passage = passage
        self._shared_by = shared_by
        self.least = prompt + passage
        """How many tokens a prompt has at least."""

    def messages(self, number: int, said: Sequence[Part]) -> tuple[Message, ...]:
        """Return the prompt of a session: what many share first, then what is its own."""
        parts: list[Part] = []
        if self._passage:
            group = number // self._shared_by
            parts.append(Part("passage", self._some(7_919 * group + 1, self._passage)))
        parts.append(Part("question", self._some(31 * number + 5, self._prompt)))
        system = Message("system", (Part("system", "w1 w2 w3"),))
        return (system, Message("user", (*parts, *said, Part("task", "w4 w5 w6"))))

    def _some(self, start: int, count: int) -> str:
        return " ".join(f"w{(start + 17 * i * i) % self._vocabulary}" for i in range(count))


class Item:
    """An ask that waits for its reply."""

    __slots__ = ("ask", "session", "slot")
    due: float | None = None

    def __init__(self, session: Session, slot: int, ask: Ask) -> None:
        self.session = session
        self.slot = slot
        self.ask = ask

    @property
    def expert(self) -> str:
        return self.ask.seat.expert

    @property
    def group(self) -> object:
        return self.session


class Session:
    """A trace that is run."""

    def __init__(
        self, number: int, trace: Trace, words: Words, models: Mapping[str, Model]
    ) -> None:
        self.number = number
        self.trace = trace
        self.words = words
        self._models = models
        self._turn = -1
        self.said: list[list[str]] = []
        self.missing = 0

    def next_turn(self) -> list[Item]:
        """Return the asks of the next turn; empty when the session is over."""
        self._turn += 1
        if self._turn == len(self.trace.turns):
            return []
        turn, calls = self._turn, self.trace.turns[self._turn]
        before = self.said[-1] if self.said else []
        speeches = [
            Part("speech", text, origin=Place(turn - 1, i)) for i, text in enumerate(before)
        ]
        messages = self.words.messages(self.number, speeches)
        self.said.append([""] * len(calls))
        self.missing = len(calls)
        items = []
        for slot, call in enumerate(calls):
            sampling = Sampling(temperature=0.0, max_tokens=call.tokens)
            seat = Seat(
                f"{call.seat.role}_{slot}",
                call.seat.role,
                call.seat.expert,
                self._models[call.seat.expert],
                sampling,
            )
            ask = Ask(seat, messages, question=self.trace.question, place=Place(turn, slot))
            items.append(Item(self, slot, ask))
        return items

    def answer(self, item: Item, text: str) -> list[Item]:
        """Take a reply; return the asks of the next turn where it was the last of this one."""
        self.said[-1][item.slot] = text
        self.missing -= 1
        return self.next_turn() if self.missing == 0 else []


async def run(name: str, setting: Setting, traces: Sequence[Trace], words: Words) -> Outcome:
    """Run sessions to their end under a policy, on a worker with real engines."""
    fleet = LocalFleet(setting.factory, gpus=1, gpu_gb=setting.size_gb * (setting.slots + 0.5))
    inbox = Inbox()
    await fleet.start(setting.experts, inbox)
    try:
        runner = _Runner(policy_named(name, setting, mean_tokens_of(traces)), fleet, inbox)
        models = {expert.label: Model(expert.model) for expert in setting.experts}
        sessions = [Session(i, trace, words, models) for i, trace in enumerate(traces)]
        began = setting.busy_s()
        outcome = await runner.run(sessions)
        outcome.busy_s = setting.busy_s() - began
        return outcome
    finally:
        await fleet.close()


class _Runner:
    """One run: the driver's part."""

    def __init__(self, policy: Policy, fleet: LocalFleet, inbox: Inbox) -> None:
        self._policy = policy
        self._fleet = fleet
        self._inbox = inbox
        self._batches: dict[int, dict[int, Item]] = {}
        self._items: dict[int, Item] = {}
        self._outcome = Outcome()
        self.loads: Counter[str] = Counter()

    async def run(self, sessions: Sequence[Session]) -> Outcome:
        start, cpu = time.perf_counter(), time.process_time()
        for event in self._inbox.take():
            assert isinstance(event, WorkerJoined)
            self._apply(event)
        self._arrive([item for session in sessions for item in session.next_turn()])
        while self._items:
            wake_at = self._plan()
            if not self._items:
                break
            timeout = STALLED_S
            if wake_at is not None:
                timeout = min(timeout, max(0.0, wake_at - time.monotonic()))
            await self._inbox.wait(timeout)
            events = self._inbox.take()
            if not events and timeout == STALLED_S:
                raise RuntimeError(f"nothing came for {STALLED_S:g} s")
            for event in events:
                self._hear(event)
        self._outcome.seconds = time.perf_counter() - start
        self._outcome.cpu_s = time.process_time() - cpu
        self._outcome.loads = sum(self.loads.values())
        return self._outcome

    def _hear(self, event: FleetEvent) -> None:
        if isinstance(event, LoadFailed):
            raise RuntimeError(f"{event.expert} could not be loaded: {event.message}")
        coming: list[Item] = []
        if isinstance(event, Results):
            batch = self._batches[event.batch]
            for index, result in event.items:
                coming += self._take(batch.pop(index), result)
        self._apply(event)
        self._arrive(coming)

    def _take(self, item: Item, result: Any) -> list[Item]:
        if not isinstance(result, Reply) or result.failure is not None:
            raise RuntimeError(f"{item.expert} failed: {result}")
        del self._items[id(item.ask)]
        place = item.ask.place
        assert place is not None
        wanted, read = item.ask.seat.sampling.max_tokens, result.usage.prompt_tokens
        if read < item.session.words.least:
            raise RuntimeError(f"{item.expert} read {read} tokens of a longer prompt")
        if result.usage.completion_tokens != wanted:
            said = result.usage.completion_tokens
            raise RuntimeError(f"{item.expert} gave {said} tokens where {wanted} were due")
        self._outcome.asks += 1
        self._outcome.tokens += result.usage.completion_tokens
        self._outcome.texts[item.ask.question, place.turn, place.slot] = result.text
        return item.session.answer(item, result.text)

    def _arrive(self, items: list[Item]) -> None:
        if items:
            self._items.update((id(item.ask), item) for item in items)
            self._apply(AsksArrived(items))

    def _apply(self, event: Any) -> None:
        start = time.thread_time()
        self._policy.apply(event, time.monotonic())
        self._outcome.scheduler_s += time.thread_time() - start

    def _plan(self) -> float | None:
        start = time.thread_time()
        actions, wake_at = self._policy.plan(time.monotonic())
        self._outcome.scheduler_s += time.thread_time() - start
        for action in actions:
            self._perform(action)
        return wake_at

    def _perform(self, action: Action) -> None:
        if isinstance(action, Dispatch):
            items = [self._items[id(ask)] for ask in action.asks]
            self._batches[action.batch] = dict(enumerate(items))
        elif isinstance(action, Load):
            self.loads[action.expert] += 1
        self._fleet.perform(action)


def run_now(
    name: str,
    setting: Setting,
    traces: Sequence[Trace],
    words: Words,
    limit_s: float | None = None,
) -> Outcome:
    """Run sessions in an event loop of their own.

    Raises:
        TimeoutError: they took longer than `limit_s`; everything is stopped.
    """

    async def limited() -> Outcome:
        async with asyncio.timeout(limit_s):
            return await run(name, setting, traces, words)

    return asyncio.run(limited())
