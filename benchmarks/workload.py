"""The workload of most benchmarks: debates of seven asks by scripted experts.

Three rounds of two speeches and one verdict, on a passage of about 10,000 characters that the
debaters read. No two speeches are equal, so transcripts take the room that real ones take.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

from agents.engines import identify
from agents.roster import Expert, Price
from benchmarks.measuring import Spent, clocks
from orchestrator.driver import Driver
from orchestrator.fleets.local_fleet import LocalFleet
from orchestrator.journal import MemoryJournal
from orchestrator.live import Job
from orchestrator.run import execute, prepare
from orchestrator.spec import Entry, RunSpec
from orchestrator.store import Store
from protocols.cast import Cast, Member
from protocols.debate import Debate
from protocols.question import Question

ROUNDS = 3
ASKS = 2 * ROUNDS + 1
PASSAGE = " ".join(f"The ship number {i} left the harbour before dawn." for i in range(200))
SPEECH = (
    "The passage leaves no doubt about it: nobody who waits for a fair wind leaves before dawn, "
    "and the harbour had been watched for weeks. What the other side calls trade is only the "
    "cargo that happened to be aboard. Consider the order of events and who gained by them. ({key})"
)
DEBATE = Debate(rounds=ROUNDS, orders=1)
PRICE = Price(prompt=0.15, completion=0.6)
SQLITE = "SQLite, WAL, synchronous=NORMAL"


def experts(latency_s: float = 0.0, batch_limit: int = 4096) -> tuple[Expert, Expert]:
    """Return a debater that never says the same and a judge that votes."""
    timing = {"latency_s": latency_s, "batch_limit": batch_limit}
    return (
        Expert(label="debater", model="scripted/script", options={"replies": [SPEECH], **timing}),
        Expert(label="judge", model="scripted/voter", options=timing),
    )


def cast_of(debater: Expert, judge: Expert) -> Cast:
    members: dict[str, tuple[Member, ...]] = {
        expert.label: (Member(expert=expert.label, model=identify(expert)),)
        for expert in (debater, judge)
    }
    return Cast(members=members, readers=frozenset({"debater"}))


def questions(count: int) -> tuple[Question, ...]:
    return tuple(
        Question(
            id=f"q{i}",
            text=f"Why did the ship number {i} leave before dawn?",
            options=("out of fear", "for trade"),
            passage=PASSAGE,
        )
        for i in range(count)
    )


def spec(
    sessions: int,
    latency_s: float = 0.0,
    batch_limit: int = 4096,
    *,
    price: Price | None = None,
) -> RunSpec:
    debater, judge = experts(latency_s, batch_limit)
    seated = tuple(one.model_copy(update={"price": price}) for one in (debater, judge))
    entry = Entry("debate", DEBATE, cast_of(*seated))
    return RunSpec("debates", (entry,), questions(sessions), seated)


WARM_UP = 20
"""Sessions that are run before the clocks start: what is imported and compiled at first use."""


def without_store(sessions: int) -> Spent:
    """Run the debates with nothing stored; time the driver."""
    _without_store(WARM_UP)
    return _without_store(sessions)


def _without_store(sessions: int) -> Spent:
    seated = experts()
    cast = cast_of(*seated)
    asked = questions(sessions)

    def jobs() -> Iterator[Job]:
        for number, question in enumerate(asked):
            yield Job(number, DEBATE, question, cast)

    async def drive() -> Spent:
        driver = Driver(LocalFleet(), MemoryJournal(keep=False), seated)
        with clocks() as spent:
            ended = await driver.run(jobs(), total=sessions)
        assert ended.progress.asks_done == sessions * ASKS
        return spent

    return asyncio.run(drive())


def in_store(path: Path, sessions: int, *, priced: bool = False) -> tuple[Spent, Spent]:
    """Run the debates in a new SQLite store; time preparing the run and executing it.

    Args:
        path: of the store.
        sessions: how many.
        priced: whether the experts have a price, so that attempts are recorded before they are
            made.
    """
    _in_store(path.with_suffix(".warm"), WARM_UP, priced=priced)
    return _in_store(path, sessions, priced=priced)


def _in_store(path: Path, sessions: int, *, priced: bool) -> tuple[Spent, Spent]:
    wanted = spec(sessions, price=PRICE if priced else None)
    with Store.open(str(path)) as store:
        with clocks() as preparing:
            prepared = prepare(store, wanted)
        with clocks() as executing:
            ended = asyncio.run(execute(store, prepared, wanted, LocalFleet()))
    assert ended.progress.asks_done == sessions * ASKS
    return preparing, executing
