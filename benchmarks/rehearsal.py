"""Sessions of simulated experts, run for real on a fleet and foretold by the simulator.

The experts are ``scripted/gpu``: they take the time of a model on a GPU, in real seconds, and say
the same each time. So the sessions are known beforehand, turn by turn with the length of every
reply, and the simulator can be handed exactly what the fleet will run.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from agents.engines import identify
from agents.roster import Expert
from agents.scripted_gpu import ScriptedGpuEngine
from orchestrator.driver import Driver, DriverSettings
from orchestrator.fleets.fleet import Action, Fleet, Inbox
from orchestrator.journal import MemoryJournal
from orchestrator.live import Job, Opened, open_session
from orchestrator.planner.plan import Planner, PlanSettings
from orchestrator.simulator.machines import GpuExpert, GpuWorker
from orchestrator.simulator.simulate import simulate
from orchestrator.simulator.simulated import Report
from orchestrator.simulator.world import Call, Trace, World
from protocols.cast import Cast, Member
from protocols.debate import Debate
from protocols.question import Question
from protocols.replies import Reply
from protocols.tape import Finished, advance


@dataclass(frozen=True)
class Rehearsal:
    """What is run and foretold."""

    experts: int
    sessions: int
    gpus: int = 1
    slots: int = 1
    """Experts that fit on a GPU together."""
    load_s: float = 1.0
    batch_limit: int = 16
    tokens: float = 60.0
    plan: PlanSettings = PlanSettings()

    @property
    def gpu_gb(self) -> float:
        """The memory of each GPU; an expert takes 10 GB."""
        return 10.0 * self.slots

    def roster(self) -> list[Expert]:
        """Return the experts; no two have the same lengths."""
        return [
            Expert(
                label=f"e{i}",
                model="scripted/gpu",
                gpu_gb=10.0,
                options={
                    "load_s": self.load_s,
                    "t0_s": 0.010,
                    "t1_s": 0.000_2,
                    "batch_limit": self.batch_limit,
                    "mean_tokens": self.tokens,
                    "sigma": 0.6,
                    "seed": i,
                },
            )
            for i in range(self.experts)
        ]

    def jobs(self) -> list[Job]:
        """Return debates, each of two experts before a third."""
        roster = self.roster()
        members = [Member(expert=expert.label, model=identify(expert)) for expert in roster]
        count = len(members)
        return [
            Job(
                i,
                Debate(rounds=1, orders=1),
                Question(id=f"q{i}", text=f"Is {i} even?", options=("yes", "no"), passage="No."),
                Cast(
                    members={
                        "debater": (members[i % count],),
                        "judge": (members[(i // count + i + 1) % count],),
                    },
                    readers=frozenset({"debater"}),
                ),
            )
            for i in range(self.sessions)
        ]

    def world(self) -> World:
        """Return the fleet's hardware, as the simulator takes it."""
        return World(
            experts={
                expert.label: GpuExpert(
                    load_s=self.load_s,
                    t0_s=0.010,
                    t1_s=0.000_2,
                    batch_limit=self.batch_limit,
                    size_gb=10.0,
                )
                for expert in self.roster()
            },
            workers=tuple(
                GpuWorker(name=f"gpu-{i}", memory_gb=self.gpu_gb) for i in range(self.gpus)
            ),
        )


@dataclass(frozen=True)
class Seen:
    """What came of a run on a fleet."""

    seconds: float
    """From when its workers were there until all sessions were over."""
    loads: int
    asks: int
    failed: int


class Timed(Fleet):
    """A fleet that notes when its workers are there and when it is no longer needed."""

    def __init__(self, inner: Fleet) -> None:
        self.inner = inner
        self.began = self.ended = 0.0

    async def start(self, experts: Sequence[Expert], inbox: Inbox) -> None:
        await self.inner.start(experts, inbox)
        self.began = time.monotonic()

    def perform(self, action: Action) -> None:
        self.inner.perform(action)

    async def close(self) -> None:
        self.ended = self.ended or time.monotonic()
        await self.inner.close()


async def run(rehearsal: Rehearsal, fleet: Fleet) -> Seen:
    """Run the sessions on a fleet, in real time."""
    timed = Timed(fleet)
    settings = DriverSettings(plan=rehearsal.plan)
    driver = Driver(timed, MemoryJournal(keep=False), rehearsal.roster(), settings=settings)
    ended = await driver.run(rehearsal.jobs(), total=rehearsal.sessions)
    return Seen(
        seconds=timed.ended - timed.began,
        loads=sum(driver.planner.loads.values()),
        asks=ended.progress.asks_done,
        failed=ended.progress.replies_failed,
    )


def foretell(rehearsal: Rehearsal) -> Report:
    """Say what the simulator expects of the same sessions under the same planner."""
    engines = {expert.label: ScriptedGpuEngine(expert) for expert in rehearsal.roster()}
    traces = [_trace(job, engines) for job in rehearsal.jobs()]
    return simulate(Planner(rehearsal.plan), rehearsal.world(), traces)


def _trace(job: Job, engines: dict[str, ScriptedGpuEngine]) -> Trace:
    """Play a session and return what it asks, with the length of every reply."""
    opened = open_session(job)
    assert isinstance(opened, Opened)
    asks = opened.session.asks
    turns = []
    while True:
        replies = []
        for ask in asks:
            reply = engines[ask.seat.expert].say(ask)
            assert isinstance(reply, Reply)
            assert ask.place is not None
            replies.append(reply.at(ask.place))
        pairs = zip(asks, replies, strict=True)
        turns.append(tuple(Call(ask.seat, said.usage.completion_tokens) for ask, said in pairs))
        step = advance(opened.session.live, tuple(replies))
        if isinstance(step, Finished):
            return Trace(tuple(turns), question=job.question.id)
        asks = step
