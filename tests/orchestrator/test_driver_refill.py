"""The driver fills free places first, and loses nothing that came back where it is interrupted."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence

import pytest

from agents.roster import Expert
from orchestrator.driver import AllWorkersLost, Driver, DriverSettings
from orchestrator.fleets.fleet import (
    Action,
    Dispatch,
    Fleet,
    Inbox,
    Results,
    WorkerJoined,
    WorkerLost,
)
from orchestrator.journal import AskRecord, JournalRecord, MemoryJournal, ReplyRecord
from orchestrator.limits.limits import Limit
from orchestrator.live import Job
from orchestrator.tuning import AT_ONCE
from protocols.asks import Ask
from protocols.cast import Cast
from protocols.chance import Rng
from protocols.contract import Session
from protocols.messages import Message, Part
from protocols.outcome import Outcome
from protocols.question import Question
from protocols.replies import Reply
from tests.orchestrator.test_driver import Ladder, a_job

EXPERT = Expert(label="x", model="scripted/echo")
PLACES = 4


class Watched(MemoryJournal):
    """A journal that also keeps in which order things were recorded and dispatched."""

    def __init__(self) -> None:
        super().__init__()
        self.log: list[str] = []

    def append(self, records: Sequence[JournalRecord], token: object = None) -> None:
        for one in records:
            if isinstance(one, AskRecord | ReplyRecord):
                self.log.append(type(one).__name__)
        super().append(records, token)


class Held(Fleet):
    """A fleet that answers nothing by itself."""

    def __init__(self, journal: Watched) -> None:
        self.running: list[Dispatch] = []
        self.inbox = Inbox()
        self._journal = journal
        self.dispatched = asyncio.Event()

    async def start(self, experts: Sequence[Expert], inbox: Inbox) -> None:
        self.inbox = inbox
        inbox.put(WorkerJoined("w", {EXPERT.label: 256}))

    def perform(self, action: Action) -> None:
        assert isinstance(action, Dispatch)
        self._journal.log += ["dispatch"] * len(action.asks)
        self.running.append(action)
        self.dispatched.set()

    async def wait(self, batches: int) -> None:
        while len(self.running) < batches:
            self.dispatched.clear()
            await self.dispatched.wait()

    def answer(self, dispatch: Dispatch) -> None:
        items = tuple((i, Reply(ask.key)) for i, ask in enumerate(dispatch.asks))
        self.inbox.put(Results(dispatch.batch, items))

    async def close(self) -> None:
        return


class Stand:
    """A driver on a held fleet, running."""

    def __init__(self) -> None:
        self.journal = Watched()
        self.fleet = Held(self.journal)
        limits = {"scripted": Limit(concurrency=PLACES)}
        self.driver = Driver(
            self.fleet, self.journal, [EXPERT], settings=DriverSettings(limits=limits)
        )
        jobs = [a_job(i) for i in range(20)]
        self.running = asyncio.create_task(self.driver.run(jobs, total=len(jobs)))

    @property
    def replies(self) -> int:
        return sum(isinstance(one, ReplyRecord) for one in self.journal.records)


async def test_free_places_are_filled_before_what_came_back_is_recorded() -> None:
    stand = Stand()
    await stand.fleet.wait(1)
    before = len(stand.journal.log)
    stand.fleet.answer(stand.fleet.running[0])
    await stand.fleet.wait(2)
    while not stand.replies:  # noqa: ASYNC110 - turns of the loop, not time
        await asyncio.sleep(0)
    log = stand.journal.log[before:]
    assert log.index("dispatch") < log.index("ReplyRecord")
    assert log[:PLACES] == ["dispatch"] * PLACES
    stand.driver.stop()
    for dispatch in stand.fleet.running[1:]:
        stand.fleet.answer(dispatch)
    ended = await stand.running
    assert ended.ending == "stopped"
    assert stand.replies == sum(len(one.asks) for one in stand.fleet.running)


async def test_what_came_back_is_kept_where_the_run_is_cancelled_meanwhile() -> None:
    """Cancelled while the refill gets on its way, and with more in the inbox."""
    stand = Stand()
    await stand.fleet.wait(1)
    stand.fleet.answer(stand.fleet.running[0])
    await stand.fleet.wait(2)
    assert not stand.replies, "it is just being refilled"
    stand.fleet.answer(stand.fleet.running[1])
    stand.running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stand.running
    assert stand.replies == 2 * PLACES


async def test_what_came_back_is_kept_where_the_last_worker_is_lost_with_it() -> None:
    stand = Stand()
    await stand.fleet.wait(1)
    stand.fleet.answer(stand.fleet.running[0])
    stand.fleet.inbox.put(WorkerLost("w", "it burnt down"))
    with pytest.raises(AllWorkersLost, match="it burnt down"):
        await stand.running
    assert stand.replies == PLACES


class Slow(Watched):
    """A journal whose commits take many turns of the event loop."""

    def append(self, records: Sequence[JournalRecord], token: object = None) -> None:
        super().append(records)
        if token is not None:
            self._later(token, 100)

    def _later(self, token: object, turns: int) -> None:
        loop = asyncio.get_running_loop()
        if turns:
            loop.call_soon(self._later, token, turns - 1)
        else:
            self._on_durable((token,))


async def test_the_first_asks_leave_before_many_sessions_are_opened() -> None:
    opened: list[int] = []

    def jobs() -> Iterator[Job]:
        for number in range(1_000):
            opened.append(number)
            yield a_job(number)

    journal = Slow()
    fleet = Held(journal)
    driver = Driver(fleet, journal, [EXPERT])
    running = asyncio.create_task(driver.run(jobs(), total=1_000))
    await fleet.wait(1)
    assert len(opened) == AT_ONCE
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_what_comes_back_does_not_wait_until_many_sessions_are_opened() -> None:
    opened: list[int] = []
    refilled_at: list[int] = []

    class Noting(Held):
        def perform(self, action: Action) -> None:
            super().perform(action)
            refilled_at.append(len(opened))

    fleet = Noting(Watched())

    def jobs() -> Iterator[Job]:
        for number in range(1_000):
            opened.append(number)
            if number == 500:
                fleet.answer(fleet.running[0])
            yield a_job(number)

    limits = {"scripted": Limit(concurrency=PLACES)}
    settings = DriverSettings(limits=limits)
    driver = Driver(fleet, MemoryJournal(), [EXPERT], settings=settings)
    running = asyncio.create_task(driver.run(jobs(), total=1_000))
    await fleet.wait(2)
    assert 500 < refilled_at[1] <= 500 + AT_ONCE
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_what_comes_back_does_not_wait_until_many_sessions_are_stepped() -> None:
    steps: list[int] = []
    refilled_at: list[int] = []

    class Noting(Held):
        def perform(self, action: Action) -> None:
            super().perform(action)
            refilled_at.append(len(steps))

    fleet = Noting(Watched())

    class Stepped(Ladder):
        def session(self, question: Question, cast: Cast, rng: Rng) -> Session[Outcome]:
            seat = cast.seat("solver")
            yield (Ask(seat, (Message("user", (question.text_part,)),)),)
            steps.append(len(steps))
            if len(steps) == 5:
                fleet.answer(fleet.running[0])
            yield (Ask(seat, (Message("user", (Part("again", question.text),)),)),)
            return Outcome(status="answered", answer="x", rule="last")

    protocol, places = Stepped(), 200
    settings = DriverSettings(limits={"scripted": Limit(concurrency=places)})
    driver = Driver(fleet, MemoryJournal(), [EXPERT], settings=settings)
    jobs = [a_job(i, protocol) for i in range(1_000)]
    running = asyncio.create_task(driver.run(jobs, total=len(jobs)))
    while sum(len(one.asks) for one in fleet.running) < places:
        await fleet.wait(len(fleet.running) + 1)
    for dispatch in fleet.running[1:]:
        fleet.answer(dispatch)
    while max(refilled_at) < 5:
        await fleet.wait(len(fleet.running) + 1)
    assert 5 <= max(refilled_at) < 5 + AT_ONCE
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
