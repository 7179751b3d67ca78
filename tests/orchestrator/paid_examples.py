"""Runs whose scripted experts have a price, as tests and as the command that crash tests kill.

Run as a module with a store's URL and a budget (``0``: none) it prints, one line each: ``began``,
``prepared``, the key of an ask for every call to an engine, and how it ended.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable, Sequence

from agents.counting import prompt_tokens
from agents.engine import Attempted, Engine
from agents.engines import identify, make_engine
from agents.roster import Expert, Price
from orchestrator.driver import DriverSettings, Ended
from orchestrator.fleets.local_fleet import LocalFleet
from orchestrator.limits.retry import RetryPolicy
from orchestrator.money.ledger import Budget
from orchestrator.run import execute, prepare
from orchestrator.spec import Entry, RunSpec
from orchestrator.store import Store
from protocols.asks import Ask, Sampling
from protocols.cast import Cast, Member
from protocols.debate import Debate
from protocols.question import Question

QUESTIONS = 30
CALLS = QUESTIONS * 6
"""Two rounds of two speeches, and the judge in two orders."""
PRICE = Price(prompt=1_000.0, completion=2_000.0)
"""So dear that a call costs about a dollar."""
MAX_TOKENS = 64
IN_FLIGHT = 16

EXPERTS = tuple(
    Expert(
        label=label,
        model="scripted/slow",
        options={"latency_s": 0.003, "inner": inner, "batch_limit": IN_FLIGHT // 2},
        price=PRICE,
    )
    for label, inner in (("speaker", "constant"), ("judge", "voter"))
)


def spec(*, questions: int = QUESTIONS, name: str = "paid") -> RunSpec:
    members = [
        Member(expert=e.label, model=identify(e), sampling=Sampling(max_tokens=MAX_TOKENS))
        for e in EXPERTS
    ]
    cast = Cast(members={"debater": (members[0],), "judge": (members[1],)})
    asked = [
        Question(id=f"q{i}", text=f"What about {i}?", options=(f"yes {i}", f"no {i}"))
        for i in range(questions)
    ]
    return RunSpec(
        name, (Entry("debate", Debate(rounds=2, orders=2), cast),), tuple(asked), EXPERTS
    )


def dearest_call(asks: Sequence[Ask]) -> float:
    """Return the US dollars that are reserved for the dearest of these asks."""
    prompts = [prompt_tokens(ask.messages) for ask in asks]
    return (max(prompts) * PRICE.prompt + MAX_TOKENS * PRICE.completion) / 1e6


class Told(Engine):
    """An engine that tells of every ask before it is called."""

    def __init__(self, inner: Engine, tell: Callable[[Ask], None]) -> None:
        self.batch_limit = inner.batch_limit
        self._inner = inner
        self._tell = tell

    async def stream(self, asks: Sequence[Ask]) -> AsyncIterator[tuple[int, Attempted]]:
        for ask in asks:
            self._tell(ask)
        async for item in self._inner.stream(asks):
            yield item


async def go(
    store: Store, wanted: RunSpec, budget: Budget, tell: Callable[[Ask], None]
) -> tuple[int, Ended]:
    """Run what is left; return the run's id and how it ended."""
    prepared = prepare(store, wanted)
    fleet = LocalFleet(factory=lambda expert: Told(make_engine(expert), tell))
    settings = DriverSettings(retry=RetryPolicy(first_wait_s=0.0), budget=budget)
    return prepared.run_id, await execute(store, prepared, wanted, fleet, settings=settings)


async def command(url: str, usd: float, tell: Callable[[str], None]) -> None:
    tell("began")
    with Store.open(url) as store:
        tell("prepared")
        budget = Budget(usd=usd or None)
        _, ended = await go(store, spec(), budget, lambda ask: tell(ask.key))
    tell(ended.ending)


def tell_parent(line: str) -> None:
    os.write(1, f"{line}\n".encode())


if __name__ == "__main__":
    asyncio.run(command(sys.argv[1], float(sys.argv[2]), tell_parent))
