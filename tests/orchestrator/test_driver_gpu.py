"""The driver with experts that must be loaded: many experts, little memory."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence

from agents.engine import Attempted, Engine
from agents.roster import Expert
from orchestrator.driver import Driver, DriverSettings, Ended
from orchestrator.fleets.fleet import Action, Dispatch, Inbox, Load, WorkerJoined
from orchestrator.fleets.local_fleet import LocalFleet
from orchestrator.journal import MemoryJournal, OutcomeRecord, ReplyRecord
from orchestrator.live import Job
from orchestrator.planner.plan import PlanSettings
from protocols.asks import Ask, Model
from protocols.cast import Cast, Member
from protocols.question import Question
from protocols.replies import Reply, Usage
from tests.orchestrator.test_driver import NO_WAIT, Ladder

LABELS = "abcdef"


class Card(Engine):
    """An engine that knows whether it is loaded."""

    def __init__(self, label: str, broken: str, events: list[str]) -> None:
        self.label = label
        self.broken = broken
        self.events = events
        self.ready = False

    async def load(self) -> None:
        if self.label in self.broken:
            raise RuntimeError(f"no weights of {self.label}")
        self.events.append(f"+{self.label}")
        self.ready = True

    async def unload(self) -> None:
        self.events.append(f"-{self.label}")
        self.ready = False

    async def stream(self, asks: Sequence[Ask]) -> AsyncIterator[tuple[int, Attempted]]:
        assert self.ready, "asked and not loaded"
        for index, _ in enumerate(asks):
            await asyncio.sleep(0)
            yield index, Reply(self.label, usage=Usage(completion_tokens=3))


class Watched(LocalFleet):
    """A local fleet of one GPU with room for two experts; may say that it has less."""

    def __init__(self, broken: str = "", memory_gb: float | None = None) -> None:
        self.events: list[str] = []
        self.actions: list[Action] = []
        self.memory_gb = memory_gb
        super().__init__(lambda e: Card(e.label, broken, self.events), gpus=1, gpu_gb=80.0)

    async def start(self, experts: Sequence[Expert], inbox: Inbox) -> None:
        await super().start(experts, inbox)
        if self.memory_gb is not None:
            for event in inbox.take():
                assert isinstance(event, WorkerJoined)
                sizes = event.sizes_gb
                inbox.put(WorkerJoined(event.worker, event.batch_limits, self.memory_gb, sizes))

    def perform(self, action: Action) -> None:
        self.actions.append(action)
        super().perform(action)


def jobs(count: int) -> list[Job]:
    """Return sessions of two turns, each with two of the experts."""
    made = []
    for number in range(count):
        pair = LABELS[number % 6], LABELS[(number * 5 + 1) % 6]
        members = tuple([Member(expert=label, model=Model("scripted/gpu")) for label in pair])
        question = Question(id=f"q{number}", text=f"What is {number}?", kind="text")
        made.append(Job(number, Ladder(), question, Cast(members={"solver": members})))
    return made


async def drive(fleet: Watched, count: int, plan: PlanSettings) -> tuple[Ended, MemoryJournal]:
    journal = MemoryJournal()
    experts = [Expert(label=label, model="scripted/gpu", gpu_gb=40.0) for label in LABELS]
    settings = DriverSettings(retry=NO_WAIT, plan=plan)
    driver = Driver(fleet, journal, experts, settings=settings)
    ended = await asyncio.wait_for(driver.run(jobs(count), total=count), 60)
    return ended, journal


def outcomes(journal: MemoryJournal) -> list[OutcomeRecord]:
    return [record for record in journal.records if isinstance(record, OutcomeRecord)]


async def test_many_experts_share_one_gpu() -> None:
    for mode in ("cycle", "wave"):
        fleet = Watched()
        ended, journal = await drive(fleet, 60, PlanSettings(mode=mode))
        assert ended.ending == "finished"
        assert {record.status for record in outcomes(journal)} == {"finished"}
        assert ended.progress.asks_done == 240
        loads = [action.expert for action in fleet.actions if isinstance(action, Load)]
        assert set(loads) == set(LABELS)
        batches = [action for action in fleet.actions if isinstance(action, Dispatch)]
        assert len(loads) < len(batches) or len(loads) <= 12
        resident: set[str] = set()
        for event in fleet.events:
            (resident.add if event[0] == "+" else resident.remove)(event[1:])
            assert len(resident) <= 2
        assert not resident, "closing unloads what is left"


async def test_an_expert_that_cannot_be_loaded_fails_its_asks_and_no_others() -> None:
    fleet = Watched(broken="c")
    ended, journal = await drive(fleet, 30, PlanSettings())
    assert ended.ending == "finished"
    assert len(outcomes(journal)) == 30
    failures: Counter[str] = Counter()
    for record in journal.records:
        if isinstance(record, ReplyRecord) and record.reply.failure is not None:
            failures[record.reply.failure.cause] += 1
            assert "no weights of c" in record.reply.failure.message
            assert record.accepted, "never asked again"
    asked = sum("c" in (LABELS[n % 6], LABELS[(n * 5 + 1) % 6]) for n in range(30))
    assert failures == {"load_failed": 2 * asked}, "later turns too"
    assert sum(isinstance(a, Load) and a.expert == "c" for a in fleet.actions) == 1


async def test_an_expert_that_fits_nowhere_fails_its_asks() -> None:
    ended, journal = await drive(Watched(memory_gb=39.0), 6, PlanSettings())
    assert ended.ending == "finished"
    messages = {
        record.reply.failure.message
        for record in journal.records
        if isinstance(record, ReplyRecord) and record.reply.failure is not None
    }
    assert len(messages) == 6
    assert "a needs 40 GB, and no GPU worker has more than 39 GB for it" in messages
