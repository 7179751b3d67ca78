"""Runs for the tests of run, replay and fork: small debates by scripted experts in a real store."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal

from agents.engine import Attempted, Engine
from agents.engines import identify, make_engine
from agents.roster import Expert
from orchestrator.driver import Driver, DriverSettings, Ended
from orchestrator.fleets.local_fleet import LocalFleet
from orchestrator.limits.retry import RetryPolicy
from orchestrator.money.ledger import Budget
from orchestrator.run import Prepared, execute, prepare
from orchestrator.spec import Entry, RunSpec
from orchestrator.store import SessionRow, Store
from protocols.asks import Ask
from protocols.cast import Cast, Member
from protocols.chance import Rng
from protocols.compose import ask_one
from protocols.contract import CallBound, Protocol, Role, Session
from protocols.debate import Debate
from protocols.direct_answer import DirectAnswer
from protocols.messages import Message
from protocols.outcome import Outcome
from protocols.question import Question

GOLD = "the gold answer of question"

EXPERTS = {
    label: Expert(label=label, model=model)
    for label, model in {
        "speaker": "scripted/echo",
        "other_speaker": "scripted/constant",
        "judge": "scripted/voter",
        "other_judge": "scripted/slow",
    }.items()
}


class Troubled(Protocol):
    """Asks once and then does what a protocol should not."""

    kind: ClassVar[str] = "troubled"
    about: ClassVar[str] = "raises, or ends with something odd"
    trouble: Literal["none", "raises", "no outcome", "no json", "raises at once"] = "none"
    only: str = ""
    """The id of the only question with which there is trouble; all by default."""

    def roles(self) -> tuple[Role, ...]:
        return (Role("judge", "answers"),)

    def calls(self, question: Question, cast: Cast) -> CallBound:
        return CallBound(0, 1)

    def session(self, question: Question, cast: Cast, rng: Rng) -> Session[Outcome]:
        trouble = self.trouble if self.only in ("", question.id) else "none"
        if trouble == "raises at once":
            raise RuntimeError("broken")
        message = Message("user", (question.text_part,))
        reply = yield from ask_one(Ask(cast.seat("judge"), (message,), options=("A", "B")))
        if trouble == "raises":
            raise RuntimeError("broken \x00 \ud800\n" + "x" * 10_000)
        if trouble == "no outcome":
            return None  # type: ignore[return-value]
        odd = object() if trouble == "no json" else None
        return Outcome(status="answered", answer=reply.text, rule="last", detail={"odd": odd})


def member(label: str) -> Member:
    return Member(expert=label, model=identify(EXPERTS[label]))


def a_cast(**roles: str) -> Cast:
    """Return a cast of one expert for each role."""
    roles = {"debater": "speaker", "judge": "judge", **roles}
    return Cast(members={role: (member(label),) for role, label in roles.items()})


def questions(*numbers: int) -> tuple[Question, ...]:
    return tuple(
        Question(id=f"q{i}", text=f"What about {i}?", options=(f"yes {i}", f"no {i}"))
        for i in numbers
    )


DEBATE = Entry("debate", Debate(rounds=2, orders=2), a_cast())
"""Six asks in three turns: two speeches, two speeches, the judge in two orders."""
DIRECT = Entry("direct", DirectAnswer(), a_cast())


def a_spec(*entries: Entry, name: str = "run", numbers: Sequence[int] = range(6)) -> RunSpec:
    return RunSpec(
        name,
        entries or (DEBATE,),
        questions(*numbers),
        tuple(EXPERTS.values()),
        config={"questions": [*numbers]},
        answer_key={f"q{i}": f"{GOLD} {i}" for i in numbers},
    )


@dataclass
class Watched:
    """A fleet of real scripted engines that counts calls and lets some of them go wrong."""

    calls: Counter[str] = field(default_factory=Counter)
    """Calls by ask key."""
    wrong: Callable[[Ask], Attempted | None] = lambda ask: None
    on_call: Callable[[Ask], None] = lambda ask: None

    @property
    def total(self) -> int:
        return sum(self.calls.values())

    def fleet(self) -> LocalFleet:
        return LocalFleet(factory=lambda expert: _WatchedEngine(make_engine(expert), self))


class _WatchedEngine(Engine):
    def __init__(self, inner: Engine, watched: Watched) -> None:
        self.batch_limit = 8
        self._inner = inner
        self._watched = watched

    async def stream(self, asks: Sequence[Ask]) -> AsyncIterator[tuple[int, Attempted]]:
        for ask in asks:
            self._watched.calls[ask.key] += 1
            self._watched.on_call(ask)
        async for index, result in self._inner.stream(asks):
            yield index, self._watched.wrong(asks[index]) or result


@dataclass
class Done:
    """What one command did."""

    prepared: Prepared
    ended: Ended
    calls: Counter[str]

    @property
    def run_id(self) -> int:
        return self.prepared.run_id


async def run(
    store: Store,
    spec: RunSpec,
    watched: Watched | None = None,
    *,
    new: bool = False,
    calls: int | None = None,
    on_driver: Callable[[Driver], None] | None = None,
) -> Done:
    """Do what a command does: prepare the run, or find it, and execute what is left.

    Args:
        store: an open store.
        spec: the run.
        watched: the experts; they behave by default.
        new: start another run under a fresh name.
        calls: the budget.
        on_driver: is handed the driver.
    """
    prepared = prepare(store, spec, new=new)
    return await drive(store, prepared, spec, watched, calls=calls, on_driver=on_driver)


async def drive(
    store: Store,
    prepared: Prepared,
    spec: RunSpec,
    watched: Watched | None = None,
    *,
    calls: int | None = None,
    on_driver: Callable[[Driver], None] | None = None,
) -> Done:
    watched = watched or Watched()
    settings = DriverSettings(
        retry=RetryPolicy(first_wait_s=0.0, attempts=1), budget=Budget(calls=calls)
    )
    ended = await execute(
        store, prepared, spec, watched.fleet(), settings=settings, on_driver=on_driver
    )
    return Done(prepared, ended, watched.calls)


def outcomes(store: Store, run_id: int) -> dict[tuple[str, str, int], str | None]:
    """Return the outcomes that a run asks for, by entry, question and repeat."""
    rows = store.sessions(run_id, statuses=("pending", "finished", "failed"))
    found = {(row.entry, row.question_id, row.repeat): row.outcome_json for row in rows}
    assert len(found) == len(rows), "a session stands twice"
    return found


def statuses(store: Store, run_id: int) -> Counter[str]:
    return Counter(row.status for row in store.sessions(run_id))


def session_of(store: Store, run_id: int, question: str, entry: str = "debate") -> SessionRow:
    """Return the session that stands for a question in a run."""
    rows = store.sessions(run_id, statuses=("pending", "finished", "failed"))
    (found,) = [row for row in rows if row.question_id == question and row.entry == entry]
    return found


def with_entry(entry: Entry, **changes: Any) -> Entry:
    return replace(entry, **changes)
