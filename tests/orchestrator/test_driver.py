"""The driver: asks in order, records before use, failures as data, clean stops."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from typing import Any, ClassVar, Literal

import pytest

from agents.engine import Attempted, Engine, Throttled
from agents.roster import Expert
from orchestrator.driver import Driver, DriverSettings, Ended, Progress
from orchestrator.fleets.local_fleet import LocalFleet
from orchestrator.journal import (
    AskRecord,
    JournalRecord,
    MemoryJournal,
    OutcomeRecord,
    ReplyRecord,
)
from orchestrator.limits.retry import RetryPolicy
from orchestrator.live import Job, forked, repeated
from orchestrator.money.ledger import Budget
from protocols.asks import Ask, Model
from protocols.cast import Cast, Member
from protocols.chance import Rng
from protocols.contract import CallBound, Protocol, Role, Session
from protocols.messages import Message, Part, Place
from protocols.outcome import Outcome
from protocols.question import Question
from protocols.replies import Reply, failed
from protocols.tape import Recorded

NO_WAIT = RetryPolicy(first_wait_s=0.0)


class Ladder(Protocol):
    """Asks two seats a turn, `rounds` times; each turn quotes the last replies."""

    kind: ClassVar[str] = "ladder"
    about: ClassVar[str] = "two seats, some rounds"
    rounds: int = 2
    breaks: Literal["never", "start", "end"] = "never"

    def roles(self) -> tuple[Role, ...]:
        return (Role("solver", "answers"),)

    def session(self, question: Question, cast: Cast, rng: Rng) -> Session[Outcome]:
        if self.breaks == "start":
            raise RuntimeError("broken at the start")
        said = ""
        replies: tuple[Reply, ...] = ()
        for _ in range(self.rounds):
            parts = (question.text_part, Part("said", said))
            asks = tuple(
                Ask(cast.seat("solver", i), (Message("user", (*parts, Part("seat", str(i)))),))
                for i in range(2)
            )
            replies = yield asks
            said = " ".join(r.failure.boundary if r.failure else r.text[:8] for r in replies)
        if self.breaks == "end":
            raise RuntimeError("broken at the end")
        return Outcome(status="answered", answer=said, rule="last")

    def calls(self, question: Question, cast: Cast) -> CallBound:
        return CallBound(2 * self.rounds, 2 * self.rounds)


class Puppet(Engine):
    """An engine whose results are decided by a function of (ask, attempt)."""

    def __init__(self, decide: Any, batch_limit: int = 256) -> None:
        self.batch_limit = batch_limit
        self.decide = decide
        self.attempts: Counter[str] = Counter()
        self.most_at_once = 0

    async def stream(self, asks: Sequence[Ask]) -> AsyncIterator[tuple[int, Attempted]]:
        self.most_at_once = max(self.most_at_once, len(asks))
        for index, ask in enumerate(asks):
            attempt = self.attempts[ask.key]
            self.attempts[ask.key] += 1
            await asyncio.sleep(0)
            yield index, self.decide(ask, attempt)


def fine(ask: Ask, attempt: int) -> Attempted:
    return Reply(ask.key)


CAST = Cast(members={"solver": (Member(expert="x", model=Model("scripted/echo")),)})


def a_job(session: int, protocol: Protocol | None = None, **fields: Any) -> Job:
    question = Question(id=f"q{session}", text=f"What is {session}?", kind="text")
    return Job(session, protocol or Ladder(), question, CAST, **fields)


class Bench:
    """Drives jobs on a puppet engine and keeps what was recorded."""

    def __init__(self, decide: Any = fine, batch_limit: int = 256, **settings: Any) -> None:
        self.engine = Puppet(decide, batch_limit)
        settings.setdefault("retry", NO_WAIT)
        self.settings = DriverSettings(**settings)
        self.journal = MemoryJournal()
        self.progress: list[Progress] = []
        fleet = LocalFleet(factory=lambda expert: self.engine)
        self.driver = Driver(
            fleet,
            self.journal,
            [Expert(label="x", model="scripted/echo")],
            settings=self.settings,
            on_progress=self.progress.append,
        )

    async def run(self, jobs: Sequence[Job]) -> Ended:
        return await self.driver.run(jobs, total=len(jobs))

    @property
    def outcomes(self) -> dict[int, OutcomeRecord]:
        found = [r for r in self.journal.records if isinstance(r, OutcomeRecord)]
        assert len({r.session for r in found}) == len(found), "one outcome a session"
        return {record.session: record for record in found}

    def accepted(self) -> dict[int, dict[Place, Recorded]]:
        keys = {
            (r.session, r.ask.place): r.ask.key
            for r in self.journal.records
            if isinstance(r, AskRecord)
        }
        tapes: dict[int, dict[Place, Recorded]] = {}
        for record in self.journal.records:
            if isinstance(record, ReplyRecord) and record.accepted:
                tape = tapes.setdefault(record.session, {})
                assert record.place not in tape, "one accepted reply a slot"
                tape[record.place] = Recorded(keys[record.session, record.place], record.reply)
        return tapes


async def test_many_sessions_share_batches_and_all_end() -> None:
    bench = Bench(window=30)
    ended = await bench.run([a_job(i) for i in range(100)])
    assert ended.ending == "finished"
    assert len(bench.outcomes) == 100
    assert {record.status for record in bench.outcomes.values()} == {"finished"}
    assert bench.engine.most_at_once > 2, "asks of several sessions go out together"
    assert sum(bench.engine.attempts.values()) == 400
    assert ended.progress.sessions_done == 100
    assert ended.progress.asks_done == 400


async def test_every_ask_is_recorded_before_it_is_dispatched_and_every_reply_before_use() -> None:
    seen: list[str] = []
    bench = Bench()

    def decide(ask: Ask, attempt: int) -> Attempted:
        recorded = {r.ask.key for r in bench.journal.records if isinstance(r, AskRecord)}
        assert ask.key in recorded
        assert ask.place is not None
        if ask.place.turn > 0:
            earlier = [
                r
                for r in bench.journal.records
                if isinstance(r, ReplyRecord) and r.place.turn == ask.place.turn - 1
            ]
            assert len(earlier) >= 2
        seen.append(ask.key)
        return Reply("ok")

    bench.engine.decide = decide
    await bench.run([a_job(1)])
    assert len(seen) == 4


async def test_failures_are_retried_then_handed_to_the_session_as_data() -> None:
    def decide(ask: Ask, attempt: int) -> Attempted:
        assert ask.place is not None
        if ask.place.slot == 0:
            return failed("provider", "connection reset")
        return failed("malformed", "no JSON") if attempt == 0 else Reply("fixed")

    bench = Bench(decide, retry=RetryPolicy(first_wait_s=0.0, attempts=3))
    await bench.run([a_job(1, Ladder(rounds=1))])
    replies = [r for r in bench.journal.records if isinstance(r, ReplyRecord)]
    by_slot = {
        slot: [(r.attempt, r.accepted) for r in replies if r.place.slot == slot] for slot in (0, 1)
    }
    assert by_slot[0] == [(0, False), (1, False), (2, True)]
    assert by_slot[1] == [(0, False), (1, True)]
    assert Outcome.from_json(bench.outcomes[1].outcome or "").answer == "provider fixed"


async def test_a_permanent_failure_is_not_repeated() -> None:
    bench = Bench(lambda ask, attempt: failed("provider", "not here", cause="not_recorded"))
    await bench.run([a_job(1, Ladder(rounds=1))])
    assert set(bench.engine.attempts.values()) == {1}


async def test_being_throttled_is_never_a_failure() -> None:
    def decide(ask: Ask, attempt: int) -> Attempted:
        return Throttled(0.0, "slow down") if attempt < 7 else Reply("at last")

    bench = Bench(decide, retry=RetryPolicy(first_wait_s=0.0, attempts=1))
    await bench.run([a_job(1, Ladder(rounds=1))])
    assert Outcome.from_json(bench.outcomes[1].outcome or "").answer == "at last at last"
    attempts = [r for r in bench.journal.records if isinstance(r, ReplyRecord)]
    assert len(attempts) == 16
    assert sum(r.accepted for r in attempts) == 2


@pytest.mark.parametrize("breaks", ["start", "end"])
async def test_a_protocol_that_raises_does_not_take_its_siblings_with_it(breaks: Any) -> None:
    bench = Bench()
    jobs = [a_job(i, Ladder(breaks=breaks if i == 3 else "never")) for i in range(6)]
    ended = await bench.run(jobs)
    assert ended.ending == "finished"
    statuses = {i: record.status for i, record in bench.outcomes.items()}
    assert statuses == {i: "failed" if i == 3 else "finished" for i in range(6)}
    assert bench.outcomes[3].message == f"RuntimeError: broken at the {breaks}"


async def test_a_partly_recorded_session_asks_only_what_is_missing() -> None:
    whole = Bench()
    await whole.run([a_job(1)])
    tape = whole.accepted()[1]
    for gone in tape:
        kept = {
            place: one
            for place, one in tape.items()
            if place.turn < gone.turn or (place.turn == gone.turn and place.slot != gone.slot)
        }
        rest = Bench()
        await rest.run([a_job(1, tape=kept, attempts={gone: 2})])
        assert rest.outcomes[1].outcome == whole.outcomes[1].outcome
        assert set(rest.engine.attempts) == {
            one.key for place, one in tape.items() if place not in kept
        }
        first = next(r for r in rest.journal.records if isinstance(r, ReplyRecord))
        assert (first.place, first.attempt) == (gone, 2), "attempts go on counting"


async def test_a_finished_tape_needs_no_call() -> None:
    whole = Bench()
    await whole.run([a_job(1)])
    again = Bench()
    await again.run([a_job(1, tape=whole.accepted()[1])])
    assert not again.engine.attempts
    assert again.outcomes == whole.outcomes


async def test_a_tape_of_another_question_is_a_failed_session_not_new_calls() -> None:
    whole = Bench()
    await whole.run([a_job(1)])
    other = Bench()
    await other.run([a_job(2, tape=whole.accepted()[1])])
    assert not other.engine.attempts
    assert other.outcomes[2].status == "failed"
    assert other.outcomes[2].message.startswith("ReplayDiverged: turn 0, slot 0: another ask")


async def test_a_budget_stops_cleanly_and_more_budget_goes_on() -> None:
    bench = Bench(budget=Budget(calls=30))
    jobs = [a_job(i) for i in range(20)]
    ended = await bench.run(jobs)
    assert ended.ending == "budget"
    assert sum(bench.engine.attempts.values()) == 30
    rest = Bench()
    tapes = bench.accepted()
    open_jobs = [a_job(i, tape=tapes.get(i, {})) for i in range(20) if i not in bench.outcomes]
    await rest.run(open_jobs)
    assert sum(rest.engine.attempts.values()) == 50
    assert set(rest.outcomes) | set(bench.outcomes) == set(range(20))


async def test_stopping_finishes_what_runs_and_keeps_it() -> None:
    bench = Bench(batch_limit=4)

    def decide(ask: Ask, attempt: int) -> Attempted:
        if sum(bench.engine.attempts.values()) == 10:
            bench.driver.stop()
        return Reply("ok")

    bench.engine.decide = decide
    ended = await bench.run([a_job(i) for i in range(50)])
    assert ended.ending == "stopped"
    made = sum(bench.engine.attempts.values())
    assert 10 <= made < 20
    recorded = sum(len(tape) for tape in bench.accepted().values())
    assert recorded == made, "no reply that was made is lost"


async def test_a_fork_pays_only_its_later_turns() -> None:
    whole = Bench()
    await whole.run([a_job(1, Ladder(rounds=3))])
    tape = whole.accepted()[1]
    branch = Bench(lambda ask, attempt: Reply("branch"))
    await branch.run([a_job(7, Ladder(rounds=3), branch=forked(tape, 2))])
    assert sum(branch.engine.attempts.values()) == 2
    fed = branch.accepted()[7]
    assert all(fed[place].reply.text == tape[place].reply.text for place in fed if place.turn < 2)
    assert Outcome.from_json(branch.outcomes[7].outcome or "").answer == "branch branch"


async def test_repeating_a_failure_keeps_what_did_not_fail() -> None:
    def decide(ask: Ask, attempt: int) -> Attempted:
        assert ask.place is not None
        return failed("timeout", "too slow") if ask.place == Place(1, 0) else Reply("ok")

    bench = Bench(decide, retry=RetryPolicy(first_wait_s=0.0, attempts=1))
    await bench.run([a_job(1)])
    again = Bench(lambda ask, attempt: Reply("new"))
    await again.run([a_job(2, branch=repeated(bench.accepted()[1], 1))])
    assert again.outcomes[2].status == "finished"
    # the questions of jobs 1 and 2 differ, so no reply of the failed turn may be taken over
    assert sum(again.engine.attempts.values()) == 2
    same = Bench(lambda ask, attempt: Reply("new"))
    job = a_job(1, branch=repeated(bench.accepted()[1], 1))
    await same.run([job])
    assert list(same.engine.attempts) == [bench.accepted()[1][Place(1, 0)].key]


class FullDisk(MemoryJournal):
    """A journal whose writer fails at a commit, as one on a full disk does."""

    def __init__(self, good: int) -> None:
        super().__init__()
        self.good = good
        self.loop = asyncio.get_running_loop()

    def append(self, records: Sequence[JournalRecord], token: Any = None) -> None:
        if self.good < 0:
            raise OSError("no space left")
        if records and self.good == 0:
            self.good = -1
            self.loop.call_soon(self._on_durable, ())  # as the writer wakes the loop
            return
        self.good -= bool(records)
        super().append(records, token)


@pytest.mark.parametrize("good", [0, 1, 2, 3])
async def test_a_failing_store_ends_the_run_instead_of_hanging_it(good: int) -> None:
    bench = Bench()
    bench.driver = Driver(
        LocalFleet(factory=lambda expert: bench.engine),
        FullDisk(good),
        [Expert(label="x", model="scripted/echo")],
    )
    with pytest.raises(OSError, match="no space left"):
        await asyncio.wait_for(bench.run([a_job(i) for i in range(3)]), 30)


async def test_nothing_to_do_is_done() -> None:
    bench = Bench()
    ended = await bench.run([])
    assert ended.ending == "finished"
    records: list[JournalRecord] = bench.journal.records
    assert records == []


async def test_progress_is_told_at_the_end() -> None:
    bench = Bench()
    await bench.run([a_job(i) for i in range(3)])
    last = bench.progress[-1]
    assert (last.sessions, last.sessions_done, last.asks_done, last.in_flight) == (3, 3, 12, 0)
