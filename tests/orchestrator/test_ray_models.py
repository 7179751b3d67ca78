"""A worker with real models is killed in the middle of a visit, and nobody can tell afterwards."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Sequence
from typing import Any

import pytest

import tests.agents.torch_here  # noqa: F401 - skips where torch is absent
from agents.engines import identify
from agents.roster import Expert
from orchestrator.driver import Driver, DriverSettings
from orchestrator.fleets.fleet import (
    Action,
    Dispatch,
    Fleet,
    FleetEvent,
    Inbox,
    Loaded,
    Results,
    WorkerJoined,
    WorkerLost,
)
from orchestrator.fleets.local_fleet import LocalFleet
from orchestrator.fleets.ray_fleet import RayFleet
from orchestrator.journal import MemoryJournal, ReplyRecord
from orchestrator.live import Job
from protocols.asks import Sampling
from protocols.cast import Cast, Member
from protocols.debate import Debate
from protocols.question import Question
from protocols.replies import Reply
from tests.agents.tiny_models import make_model
from tests.orchestrator.test_driver import NO_WAIT

pytestmark = [pytest.mark.ray, pytest.mark.torch]

SESSIONS = 8
TOKENS = 24


@pytest.fixture(scope="module")
def roster(tmp_path_factory: pytest.TempPathFactory) -> list[Expert]:
    """Return three models, of which two fit beside each other."""
    folder = tmp_path_factory.mktemp("models")
    return [
        Expert(
            label=f"m{i}",
            model=f"transformers/{make_model(folder / f'm{i}', seed=i)}",
            gpu_gb=40.0,
            options={"device": "cpu", "dtype": "float32", "batch_limit": 3, "min_tokens": TOKENS},
        )
        for i in range(3)
    ]


def debates(roster: Sequence[Expert]) -> list[Job]:
    """Return debates between two of the experts, with a third as the judge."""
    sampling = Sampling(temperature=0.0, max_tokens=TOKENS)
    members = [
        Member(expert=expert.label, model=identify(expert), sampling=sampling) for expert in roster
    ]
    return [
        Job(
            i,
            Debate(rounds=2, orders=1),
            Question(id=f"q{i}", text=f"Is {i} even?", options=("yes", "no"), passage="No."),
            Cast(
                members={"debater": (members[i % 3],), "judge": (members[(i + 1) % 3],)},
                readers=frozenset({"debater"}),
            ),
        )
        for i in range(SESSIONS)
    ]


class Watched(Fleet):
    """A fleet whose first worker may be killed when its first reply has come."""

    def __init__(self, inner: Fleet, *, killed: bool) -> None:
        self.inner = inner
        self.killed = killed
        self.events: list[FleetEvent] = []
        self.open: dict[tuple[int, int], str] = {}
        """What was dispatched and not answered: (batch, index) to worker."""
        self.cut_off = 0
        """Asks that ran on the worker when it was killed."""
        self._pids: dict[str, int] = {}
        """Of workers, asked for when they join: a kill must not wait for a busy worker's answer."""
        self._asking: list[asyncio.Task[None]] = []

    async def start(self, experts: Sequence[Expert], inbox: Inbox) -> None:
        await self.inner.start(experts, _Tap(self, inbox))

    def perform(self, action: Action) -> None:
        if isinstance(action, Dispatch):
            self.open |= {(action.batch, i): action.worker for i in range(len(action.asks))}
        self.inner.perform(action)

    async def close(self) -> None:
        await self.inner.close()

    def hear(self, event: FleetEvent) -> None:
        self.events.append(event)
        if self.killed and isinstance(event, WorkerJoined):
            self._asking.append(asyncio.ensure_future(self._ask(event.worker)))
        if not isinstance(event, Results):
            return
        worker = self.open[event.batch, event.items[0][0]]
        for index, _ in event.items:
            del self.open[event.batch, index]
        left = sum(one == worker for one in self.open.values())
        if self.killed and not self.cut_off and left and worker in self._pids:
            self.cut_off = left
            os.kill(self._pids[worker], signal.SIGKILL)

    async def _ask(self, worker: str) -> None:
        assert isinstance(self.inner, RayFleet)
        assert self.inner._keepers is not None
        method: Any = self.inner._keepers.actors[worker].__ray_call__
        self._pids[worker] = await method.remote(lambda _: os.getpid())


class _Tap(Inbox):
    def __init__(self, fleet: Watched, inbox: Inbox) -> None:
        super().__init__()
        self._fleet = fleet
        self._inbox = inbox

    def put(self, event: FleetEvent) -> None:
        self._fleet.hear(event)
        self._inbox.put(event)

    def wake(self) -> None:
        self._inbox.wake()


async def texts(fleet: Watched, roster: Sequence[Expert]) -> dict[tuple[int, int, int], str]:
    """Run the debates and return what was said, by session, turn and slot."""
    journal = MemoryJournal()
    driver = Driver(fleet, journal, roster, settings=DriverSettings(retry=NO_WAIT))
    ended = await asyncio.wait_for(driver.run(debates(roster), total=SESSIONS), 200)
    assert ended.ending == "finished"
    assert ended.progress.replies_failed == 0
    said: dict[tuple[int, int, int], str] = {}
    for record in journal.records:
        if isinstance(record, ReplyRecord) and record.accepted:
            assert isinstance(record.reply, Reply)
            assert record.reply.usage.completion_tokens == TOKENS
            key = (record.session, *record.place)
            assert key not in said, "no reply is accepted twice"
            said[key] = record.reply.text
    return said


@pytest.mark.usefixtures("ray_cluster")
async def test_a_worker_killed_in_the_middle_of_a_visit_changes_no_text(
    roster: list[Expert],
) -> None:
    alone = await texts(Watched(LocalFleet(gpus=1, gpu_gb=80.0), killed=False), roster)
    assert len(set(alone.values())) > SESSIONS
    fleet = Watched(RayFleet(gpus=1, gpu_gb=80.0), killed=True)
    assert await texts(fleet, roster) == alone
    assert fleet.cut_off > 0
    lost = [event for event in fleet.events if isinstance(event, WorkerLost)]
    assert [event.replaced for event in lost] == [True], lost
    after = fleet.events[fleet.events.index(lost[0]) :]
    assert {event.worker for event in after if isinstance(event, Loaded)} - {lost[0].worker}
    assert fleet.open  # what was cut off was never answered there, but asked again
