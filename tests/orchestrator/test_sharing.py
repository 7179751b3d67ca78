"""Sessions that differ only in the judge: one tape up to the judge's first turn."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from agents.engine import Attempted
from orchestrator.fork import Changes, fork_run, retry_failed
from orchestrator.replay import replay
from orchestrator.run import prepare
from orchestrator.sharing import sharing_entries
from orchestrator.spec import Entry
from orchestrator.store import Store
from protocols.asks import Ask
from protocols.canonical import sha256_hex
from protocols.cast import Cast
from protocols.contract import Protocol
from protocols.debate import Debate
from protocols.direct_answer import DirectAnswer
from protocols.messages import Place
from protocols.replies import Reply, failed
from tests.orchestrator.run_examples import (
    Done,
    Watched,
    a_cast,
    a_spec,
    drive,
    member,
    outcomes,
    run,
)
from tests.orchestrator.store_examples import ROOT

JUDGES, DEBATERS = ("judge", "other_judge"), ("speaker", "other_speaker")
SPEECHES, VERDICTS = 4, 2
QUESTIONS = 6


def grid(protocol: Protocol | None = None, judges: tuple[str, ...] = JUDGES) -> list[Entry]:
    """Return a debate under each judge with each debater."""
    debate = protocol or Debate(rounds=2, orders=2)
    return [
        Entry(
            f"debate[judge={judge},debater={debater}]", debate, a_cast(judge=judge, debater=debater)
        )
        for judge in judges
        for debater in DEBATERS
    ]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(str(tmp_path / "runs.db")) as store:
        yield store


def made(store: Store, run_id: int, role: str = "debater") -> Counter[str]:
    """Return the attempts that were really made, by question, debater and place."""
    rows = {row.id: row for row in store.sessions(run_id)}
    asks = {(a["session"], a["turn"], a["slot"]): a for a in store.ask_rows([*rows])}
    found: Counter[str] = Counter()
    for reply in store.reply_rows([*rows]):
        place = (reply["session"], reply["turn"], reply["slot"])
        ask = asks[place]
        if reply["source"] is None and ask["role"] == role:
            found[f"{rows[place[0]].question_id} {ask['expert']} {place[1:]}"] += 1
    return found


def speeches(store: Store, run_id: int) -> dict[tuple[str, str], set[str]]:
    """Return the different tapes up to the judge, by question and debater."""
    found: dict[tuple[str, str], set[str]] = {}
    rows = store.sessions(run_id, statuses=("finished",))
    for row, loaded in zip(rows, store.tapes([row.id for row in rows]), strict=True):
        debater = row.entry.partition("debater=")[2]
        told = sorted((p, one.key, one.reply.text) for p, one in loaded.tape.items() if p.turn < 2)
        assert len(told) == SPEECHES
        found.setdefault((row.question_id, debater), set()).add(sha256_hex(repr(told)))
    return found


def check_whole(store: Store, done: Done, entries: int = 4) -> None:
    """Check that a run is over, replays, and that each debater was asked once."""
    assert done.ended.ending == "finished"
    assert len(outcomes(store, done.run_id)) == entries * QUESTIONS
    attempts = made(store, done.run_id)
    assert len(attempts) == len(DEBATERS) * SPEECHES * QUESTIONS
    assert set(attempts.values()) == {1}
    assert {len(tapes) for tapes in speeches(store, done.run_id).values()} == {1}
    report = replay(store, done.run_id)
    assert (report.identical, report.diverged) == (report.sessions, 0)


async def test_debaters_are_asked_once_for_all_judges(store: Store) -> None:
    done = await run(store, a_spec(*grid()))
    check_whole(store, done)
    asked = QUESTIONS * (len(DEBATERS) * SPEECHES + 4 * VERDICTS)
    assert sum(done.calls.values()) == asked
    assert done.ended.progress.attempts == asked
    assert done.ended.progress.asks_done == QUESTIONS * 4 * (SPEECHES + VERDICTS)


async def test_judges_are_asked_for_every_session(store: Store) -> None:
    done = await run(store, a_spec(*grid()))
    assert sum(made(store, done.run_id, "judge").values()) == QUESTIONS * 4 * VERDICTS


async def test_outcomes_are_those_of_runs_apart(store: Store) -> None:
    together = await run(store, a_spec(*grid()))
    shared = outcomes(store, together.run_id)
    for entry in grid():
        alone = await run(store, a_spec(entry, name=entry.name))
        for place, outcome in outcomes(store, alone.run_id).items():
            assert shared[place] == outcome


async def test_identity_is_unchanged(store: Store) -> None:
    together = await run(store, a_spec(*grid()))
    keys = {(s.entry, s.question_id): s.key for s in store.sessions(together.run_id)}
    (entry, *_) = grid()
    alone = await run(store, a_spec(entry, name="alone"))
    for session in store.sessions(alone.run_id):
        assert keys[session.entry, session.question_id] == session.key


@pytest.mark.parametrize("calls", [1, 5, 17, 30, 52, 60, 80])
async def test_a_run_that_was_stopped_does_not_ask_twice(store: Store, calls: int) -> None:
    first = await run(store, a_spec(*grid()), calls=calls)
    assert first.ended.ending == "budget"
    then = await run(store, a_spec(*grid()))
    check_whole(store, then)
    assert max((first.calls + then.calls).values()) <= 2, "the key of two judges' asks may be equal"
    total = sum(first.calls.values()) + sum(then.calls.values())
    assert total == QUESTIONS * (len(DEBATERS) * SPEECHES + 4 * VERDICTS)


KILLED = """
import asyncio, os, signal, sys
from orchestrator.store import Store
from tests.orchestrator.run_examples import Watched, a_spec, run
from tests.orchestrator.test_sharing import grid

watched = Watched()

def on_call(ask):
    if watched.total == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)

watched.on_call = on_call
with Store.open(sys.argv[1]) as store:
    asyncio.run(run(store, a_spec(*grid()), watched))
"""


@pytest.mark.parametrize("calls", [30, 45, 70])
def test_a_run_that_was_killed_does_not_ask_what_is_recorded(tmp_path: Path, calls: int) -> None:
    url = str(tmp_path / "killed.db")
    command = [sys.executable, "-c", KILLED, url, str(calls)]
    assert subprocess.run(command, cwd=ROOT, check=False).returncode == -signal.SIGKILL
    with Store.open(url) as store:
        (killed,) = store.runs()
        before = made(store, killed.id)
        assert before
        then = asyncio.run(run(store, a_spec(*grid())))
        check_whole(store, then)
        recorded = sum(before.values())
        asked = sum(count for count in then.calls.values())
        judged = sum(made(store, killed.id, "judge").values())
        assert asked <= QUESTIONS * len(DEBATERS) * SPEECHES - recorded + judged


async def test_a_judge_that_comes_later_hears_what_was_said(store: Store) -> None:
    first = await run(store, a_spec(*grid(judges=JUDGES[:1])))
    then = await run(store, a_spec(*grid()))
    assert then.run_id == first.run_id
    assert sum(then.calls.values()) == QUESTIONS * len(DEBATERS) * VERDICTS
    check_whole(store, then)


async def test_list_prices_are_those_of_a_run_alone(store: Store) -> None:
    done = await run(store, a_spec(*grid()))
    by_entry: Counter[str] = Counter()
    for row in store.spent_by_role(done.run_id)[0]:
        by_entry[row.entry] += row.prompt_tokens + row.completion_tokens
    for entry in grid():
        alone = await run(store, a_spec(entry, name=entry.name))
        rows, _ = store.spent_by_role(alone.run_id)
        assert by_entry[entry.name] == sum(r.prompt_tokens + r.completion_tokens for r in rows)


async def test_nothing_is_shared_where_more_than_the_judge_differs(store: Store) -> None:
    two = [
        Entry("two", Debate(rounds=2, orders=2), a_cast()),
        Entry("one order", Debate(rounds=2, orders=1), a_cast(judge="other_judge")),
        Entry("other", Debate(rounds=2, orders=2), a_cast(debater="other_speaker")),
    ]
    done = await run(store, a_spec(*two))
    assert sum(made(store, done.run_id).values()) == 3 * SPEECHES * QUESTIONS


async def test_what_the_judge_may_read_is_the_judge_s(store: Store) -> None:
    plain = a_cast()
    reads = Cast(members=plain.members, readers=frozenset({"judge"}))
    debate = Debate(rounds=2, orders=2)
    done = await run(store, a_spec(Entry("a", debate, plain), Entry("b", debate, reads)))
    assert sum(made(store, done.run_id).values()) == SPEECHES * QUESTIONS


async def test_repeats_are_draws_of_their_own(store: Store) -> None:
    from dataclasses import replace

    spec = replace(a_spec(*grid()), repeats=2)
    done = await run(store, spec)
    assert sum(made(store, done.run_id).values()) == 2 * len(DEBATERS) * SPEECHES * QUESTIONS


async def test_after_the_judge_spoke_every_session_goes_its_own_way(store: Store) -> None:
    """A judge who speaks after every round: only the first round is one tape."""
    protocol = Debate(rounds=2, orders=2, judge_every_round=True)
    done = await run(store, a_spec(*grid(protocol)))
    first = {key: n for key, n in made(store, done.run_id).items() if "(0," in key}
    later = {key: n for key, n in made(store, done.run_id).items() if "(0," not in key}
    assert set(first.values()) == {1}
    assert set(later.values()) == {2}
    report = replay(store, done.run_id)
    assert (report.identical, report.diverged) == (report.sessions, 0)


async def test_a_protocol_that_begins_with_the_judge_shares_nothing(store: Store) -> None:
    entries = [Entry(judge, DirectAnswer(), a_cast(judge=judge)) for judge in JUDGES]
    done = await run(store, a_spec(*entries))
    assert sum(made(store, done.run_id, "judge").values()) == 2 * QUESTIONS


async def test_a_failure_is_shared_and_repeated_once(store: Store) -> None:
    down = failed("provider", "down")

    def wrong(ask: Ask) -> Attempted | None:
        first = ask.place == Place(1, 0)
        return down if first and ask.seat.role == "debater" and ask.question == "q0" else None

    spec = a_spec(*grid())
    await run(store, spec, Watched(wrong=wrong))
    prepared = prepare(store, spec)
    assert retry_failed(store, prepared.run_id) == 4
    again = await drive(store, prepared, spec)
    speeches_again = made(store, prepared.run_id)
    assert speeches_again["q0 speaker (1, 0)"] == 2, "one that failed and one that did not"
    assert speeches_again["q0 speaker (1, 1)"] == 1, "one that did not fail is kept"
    assert speeches_again["q1 speaker (1, 0)"] == 1
    assert {len(tapes) for tapes in speeches(store, again.run_id).values()} == {1}
    assert all(outcomes(store, again.run_id).values())


async def test_a_branch_of_a_grid_inherits_what_is_shared(store: Store) -> None:
    parent = await run(store, a_spec(*grid()))
    row = store.find_run(str(parent.run_id))
    assert row is not None
    changes = Changes({"debater": (member("speaker"),)}, {"rounds": 1})
    prepared = fork_run(store, row, "fork", changes, turn=0, config={})
    spec = a_spec(*grid(), name="fork")
    done = await drive(store, prepared, spec)
    attempts = made(store, done.run_id)
    assert set(attempts.values()) == {1}
    assert len(attempts) == 2 * QUESTIONS


async def test_replies_may_differ_and_still_be_one_tape(store: Store) -> None:
    """Draws that would differ from call to call are one draw for all judges."""
    calls: Counter[str] = Counter()

    def drawn(ask: Ask) -> Attempted | None:
        if ask.seat.role != "debater":
            return None
        calls[ask.key] += 1
        return Reply(text=f"draw {sum(calls.values())}")

    done = await run(store, a_spec(*grid()), Watched(wrong=drawn))
    check_whole(store, done)


def test_who_shares_is_known_before() -> None:
    alone = Entry("alone", Debate(rounds=1, orders=2), a_cast())
    direct = [Entry(judge, DirectAnswer(), a_cast(judge=judge)) for judge in JUDGES]
    entries = [*grid(), alone, *direct]
    assert sorted(sharing_entries(entries)) == sorted(entry.name for entry in grid())
    assert sharing_entries([alone]) == []
