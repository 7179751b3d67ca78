"""Fallbacks, circuits and giving up, in a driver with scripted experts that fail on purpose."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence

import pytest

from agents.engine import Attempted, Throttled
from agents.roster import Expert, Price
from orchestrator.driver import Driver, DriverSettings, Ended
from orchestrator.fleets.local_fleet import LocalFleet
from orchestrator.journal import AskRecord, MemoryJournal, OutcomeRecord, ReplyRecord
from orchestrator.limits.gates import Gates
from orchestrator.limits.limits import Limit
from orchestrator.limits.retry import Accept, RetryPolicy, TryAgain
from orchestrator.limits.routes import Routes
from orchestrator.live import Job, Open, Pending
from protocols.asks import Ask
from protocols.outcome import Outcome
from protocols.replies import Reply, Usage, failed
from tests.orchestrator.plan_examples import Thing
from tests.orchestrator.test_driver import Ladder, Puppet, a_job

POLICY = RetryPolicy(attempts=2, first_wait_s=0.0)
DOWN = failed("provider", "connection refused", cause="connection")

Decide = Callable[[Ask, int], Attempted]


def roster(*labels: str, fallbacks: Sequence[str] = ("y", "z")) -> list[Expert]:
    return [
        Expert(
            label=label,
            model=f"openai/{label}",
            base_url=f"http://127.0.0.1:1/{label}",
            fallbacks=tuple(fallbacks) if label == "x" else (),
            price=Price(prompt=1.0, completion=ord(label)),
        )
        for label in labels
    ]


class Bench:
    """Drives jobs whose experts are puppets, each behind an endpoint of its own."""

    def __init__(self, decide: dict[str, Decide], **settings: object) -> None:
        self.experts = roster(*decide)
        self.engines = {label: Puppet(one) for label, one in decide.items()}
        self.journal = MemoryJournal()
        wanted = {"retry": POLICY, **settings}
        self.driver = Driver(
            LocalFleet(factory=lambda expert: self.engines[expert.label]),
            self.journal,
            self.experts,
            settings=DriverSettings(**wanted),  # type: ignore[arg-type]
            price=lambda expert, usage: usage.completion_tokens * float(ord(expert)),
        )

    async def run(self, jobs: Iterable[Job]) -> Ended:
        given = list(jobs)
        return await asyncio.wait_for(self.driver.run(given, total=len(given)), 30)

    @property
    def replies(self) -> list[ReplyRecord]:
        return [r for r in self.journal.records if isinstance(r, ReplyRecord)]

    @property
    def answers(self) -> set[object]:
        ended = [r for r in self.journal.records if isinstance(r, OutcomeRecord)]
        return {Outcome.from_json(record.outcome or "").answer for record in ended}


def down(ask: Ask, attempt: int) -> Attempted:
    return DOWN


def says(text: str) -> Decide:
    return lambda ask, attempt: Reply(text, usage=Usage(1, 2))


async def test_fallbacks_take_over_in_their_order_when_attempts_are_spent() -> None:
    bench = Bench({"x": down, "y": down, "z": says("z")})
    await bench.run([a_job(1, Ladder(rounds=1))])
    assert bench.answers == {"z z"}
    by_slot = [r for r in bench.replies if r.place.slot == 0]
    assert [r.served_by for r in by_slot] == [None, None, "y", "y", "z"]
    assert [r.attempt for r in by_slot] == [0, 1, 2, 3, 4], "one row for every attempt"
    assert [r.accepted for r in by_slot] == [False, False, False, False, True]
    assert by_slot[-1].reply.model_served == "openai/z"
    assert by_slot[-1].list_price == 2 * ord("z"), "at the price of who served it"


async def test_the_ask_stays_that_of_the_expert_that_was_cast() -> None:
    cast, fallen = Bench({"x": says("x")}), Bench({"x": down, "y": says("y")})
    keys = []
    for bench in (cast, fallen):
        await bench.run([a_job(1, Ladder(rounds=1))])
        asks = [r.ask for r in bench.journal.records if isinstance(r, AskRecord)]
        keys.append([ask.key for ask in asks])
        assert {ask.seat.expert for ask in asks} == {"x"}
    assert keys[0] == keys[1]
    accepted = [r for r in fallen.replies if r.accepted]
    assert {r.served_by for r in accepted} == {"y"}
    assert {r.cache_key for r in accepted} == {None}, "a fallback's reply is never found again"
    assert None not in {r.cache_key for r in cast.replies}


async def test_what_the_last_fallback_gives_is_the_reply() -> None:
    bench = Bench({"x": down, "y": down, "z": down})
    await bench.run([a_job(1, Ladder(rounds=1))])
    assert bench.answers == {"provider provider"}
    (last,) = [r for r in bench.replies if r.accepted and r.place.slot == 0]
    assert (last.served_by, last.attempt) == ("z", 5)


@pytest.mark.parametrize(
    ("reply", "fallen"),
    [
        (failed("provider", "no such model", cause="not_found"), True),
        (failed("timeout", "too slow"), True),
        (failed("refused", "no"), False),
        (failed("overlong", "too long"), False),
        (failed("malformed", "no JSON"), False),
        (Throttled(1e6, "no quota"), True),
    ],
)
async def test_what_an_expert_says_itself_is_no_reason_to_ask_another(
    reply: Attempted, fallen: bool
) -> None:
    bench = Bench({"x": lambda ask, attempt: reply, "y": says("y")})
    await bench.run([a_job(1, Ladder(rounds=1))])
    assert {r.served_by for r in bench.replies if r.accepted} == {"y" if fallen else None}


async def test_a_fallback_has_attempts_of_its_own() -> None:
    def once_down(ask: Ask, attempt: int) -> Attempted:
        return DOWN if attempt == 0 else Reply("late")

    bench = Bench({"x": down, "y": once_down})
    await bench.run([a_job(1, Ladder(rounds=1))])
    assert bench.answers == {"late late"}


async def test_asks_leave_an_endpoint_whose_circuit_is_open_without_an_attempt() -> None:
    bench = Bench({"x": down, "y": says("y")}, retry=RetryPolicy(attempts=1, first_wait_s=0.0))
    bench.engines["x"].batch_limit = 10
    await bench.run([a_job(i, Ladder(rounds=1)) for i in range(200)])
    assert bench.answers == {"y y"}
    assert sum(bench.engines["x"].attempts.values()) < 40, "ten failures shut it"
    assert [one.kind for one in bench.driver.gates.take_changes()] == ["circuit_open"]
    shut = bench.driver.gates.of("x")
    assert shut is not None
    assert shut.circuit.state == "open"
    made = sum(sum(engine.attempts.values()) for engine in bench.engines.values())
    assert made == len(bench.replies), "every attempt is recorded, and nothing else"


async def test_without_a_fallback_the_run_waits_for_the_endpoint_and_gives_up_by_time() -> None:
    policy = RetryPolicy(attempts=2, first_wait_s=0.0, longest_total_s=0.2)
    bench = Bench({"x": down}, retry=policy)
    ended = await bench.run([a_job(i, Ladder(rounds=2)) for i in range(60)])
    assert ended.ending == "finished"
    assert bench.answers == {"provider provider"}
    given_up = [r.reply.failure for r in bench.replies if r.accepted and r.reply.failure]
    assert {failure.cause for failure in given_up} == {"connection"}
    assert any("given up after 0.2 s" in failure.message for failure in given_up)
    kinds = [one.kind for one in bench.driver.gates.take_changes()]
    assert kinds == ["circuit_open", "endpoint_given_up"]


async def test_throttling_without_end_ends_as_a_provider_failure() -> None:
    def broke(ask: Ask, attempt: int) -> Attempted:
        return Throttled(0.02, "You exceeded your current quota")

    policy = RetryPolicy(first_wait_s=0.0, longest_total_s=0.15)
    bench = Bench({"x": broke}, retry=policy)
    ended = await bench.run([a_job(i, Ladder(rounds=1)) for i in range(20)])
    assert ended.ending == "finished"
    accepted = [r.reply.failure for r in bench.replies if r.accepted]
    assert len(accepted) == 40
    assert {failure.cause for failure in accepted if failure} == {"throttled"}
    assert all(failure and "exceeded your current quota" in failure.message for failure in accepted)


async def test_a_circuit_lets_a_probe_through_and_goes_on_when_it_is_answered() -> None:
    def back(ask: Ask, attempt: int) -> Attempted:
        gone = sum(bench.engines["x"].attempts.values())
        return DOWN if gone <= 10 else Reply("back")

    bench = Bench({"x": back}, retry=RetryPolicy(attempts=9, first_wait_s=0.0))
    gate = bench.driver.gates.of("x")
    assert gate is not None
    gate.circuit.first_wait_s = gate.circuit._wait_s = 0.05
    bench.engines["x"].batch_limit = 1
    await bench.run([a_job(i, Ladder(rounds=1)) for i in range(30)])
    assert bench.answers == {"back back"}
    kinds = [one.kind for one in bench.driver.gates.take_changes()]
    assert kinds == ["circuit_open", "circuit_closed"]


async def test_a_limit_holds_in_the_driver() -> None:
    running: list[int] = []

    def count(ask: Ask, attempt: int) -> Attempted:
        gate = bench.driver.gates.of("x")
        assert gate is not None
        running.append(gate.running)
        return Reply("ok")

    limits = {"http://127.0.0.1:1/x": Limit(concurrency=3)}
    bench = Bench({"x": count}, limits=limits)
    await bench.run([a_job(i) for i in range(20)])
    assert max(running) == 3
    assert len(running) == 80


def test_a_decision_is_counted_once_and_a_fallback_starts_anew() -> None:
    experts = roster("x", "y")
    routes = Routes(experts, POLICY, Gates(experts))
    job = a_job(1)
    session = Open(job, None)  # type: ignore[arg-type]
    pending = Pending(session, 0, Thing("x").ask, 0)
    first = routes.decide(pending, DOWN)
    assert isinstance(first, TryAgain)
    assert first.expert is None
    second = routes.decide(pending, DOWN)
    assert isinstance(second, TryAgain)
    assert second.expert == "y"
    pending.turn_to(second.expert)
    assert (pending.failures, pending.fell_back) == (0, True)
    assert isinstance(routes.decide(pending, DOWN), TryAgain)
    assert isinstance(routes.decide(pending, DOWN), Accept)
    assert isinstance(routes.decide(pending, Reply("fine")), Accept)


def test_a_fallback_that_is_not_in_the_run_is_passed_over() -> None:
    experts = roster("x", "z")
    routes = Routes(experts, RetryPolicy(attempts=1), Gates(experts))
    pending = Pending(Open(a_job(1), None), 0, Thing("x").ask, 0)  # type: ignore[arg-type]
    decision = routes.decide(pending, DOWN)
    assert isinstance(decision, TryAgain)
    assert decision.expert == "z"
