"""The command that the crash tests kill: a run of slow, flaky scripted experts.

Run as a module with a store's URL. It prints what it does as it does it, one line each, written
straight to the pipe so that a kill loses none of it: ``began``, ``prepared``, the key of an ask
for every call to an engine, ``finished``.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable, Sequence

from agents.engine import Attempted, Engine
from agents.engines import identify, make_engine
from agents.roster import Expert
from orchestrator.driver import DriverSettings
from orchestrator.fleets.local_fleet import LocalFleet
from orchestrator.limits.retry import RetryPolicy
from orchestrator.run import execute, prepare
from orchestrator.spec import Entry, RunSpec
from orchestrator.store import Store
from protocols.asks import Ask
from protocols.cast import Cast, Member
from protocols.debate import Debate
from protocols.direct_answer import DirectAnswer
from protocols.question import Question

QUESTIONS = 40
CALLS = QUESTIONS * (2 * 2 + 2 + 1)
"""Asks of the run: two rounds of two speeches, a judge in two orders, and a direct answer."""

EXPERTS = (
    Expert(
        label="speaker",
        model="scripted/slow",
        options={"latency_s": 0.002, "inner": "echo", "batch_limit": 16},
    ),
    Expert(
        label="judge",
        model="scripted/flaky",
        options={"latency_s": 0.004, "inner": "voter", "fail_share": 0.2, "batch_limit": 8},
    ),
)


def spec() -> RunSpec:
    speaker, judge = (Member(expert=e.label, model=identify(e)) for e in EXPERTS)
    cast = Cast(members={"debater": (speaker,), "judge": (judge,)})
    questions = [
        Question(id=f"q{i}", text=f"What about {i}?", options=(f"yes {i}", f"no {i}"))
        for i in range(QUESTIONS)
    ]
    entries = (
        Entry("debate", Debate(rounds=2, orders=2), cast),
        Entry("direct", DirectAnswer(), cast),
    )
    return RunSpec("crash", entries, tuple(questions), EXPERTS)


class Told(Engine):
    """An engine that tells of every ask before it is called."""

    def __init__(self, inner: Engine, tell: Callable[[str], None]) -> None:
        self.batch_limit = inner.batch_limit
        self._inner = inner
        self._tell = tell

    async def stream(self, asks: Sequence[Ask]) -> AsyncIterator[tuple[int, Attempted]]:
        for ask in asks:
            self._tell(ask.key)
        async for item in self._inner.stream(asks):
            yield item


async def command(url: str, tell: Callable[[str], None]) -> None:
    """Run what is left of the run in the store at `url`."""
    tell("began")
    with Store.open(url) as store:
        wanted = spec()
        prepared = prepare(store, wanted)
        tell("prepared")
        fleet = LocalFleet(factory=lambda expert: Told(make_engine(expert), tell))
        settings = DriverSettings(retry=RetryPolicy(first_wait_s=0.0))
        await execute(store, prepared, wanted, fleet, settings=settings)
    tell("finished")


def tell_parent(line: str) -> None:
    os.write(1, f"{line}\n".encode())


if __name__ == "__main__":
    asyncio.run(command(sys.argv[1], tell_parent))
