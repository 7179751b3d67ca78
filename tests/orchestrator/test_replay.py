"""Replay of recorded runs: identical and for nothing; whatever was changed is found, alone."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from agents.engine import Attempted
from orchestrator.limits.retry import RetryPolicy
from orchestrator.replay import ReplayReport, replay
from orchestrator.spec import Entry
from orchestrator.store import Store
from protocols.asks import Ask
from protocols.debate import Debate
from protocols.errors import Mistake
from protocols.replies import failed
from tests.orchestrator.run_examples import (
    DEBATE,
    DIRECT,
    Troubled,
    Watched,
    a_cast,
    a_spec,
    run,
    session_of,
)
from tests.orchestrator.store_examples import ROOT, change, raw


@pytest.fixture
def url(tmp_path: Path) -> str:
    return str(tmp_path / "runs.db")


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    with Store.open(url) as store:
        yield store


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with one finished run of six debates."""
    path = tmp_path_factory.mktemp("recorded") / "runs.db"
    with Store.open(str(path)) as store:
        asyncio.run(run(store, a_spec()))
    return path


def found(report: ReplayReport) -> list[int]:
    """Return the sessions that diverged, having checked that the report agrees with itself."""
    assert report.model_calls == 0
    assert report.sessions == report.identical + report.diverged + report.stale
    assert [d.session for d in report.details if d.verdict == "diverged"] == (
        report.diverged_sessions
    )
    return report.diverged_sessions


async def test_a_run_replays_identically_without_a_call(store: Store) -> None:
    done = await run(store, a_spec(DEBATE, DIRECT))
    told: list[tuple[int, int]] = []
    report = replay(store, done.run_id, on_progress=lambda *step: told.append(step))
    assert found(report) == []
    assert (report.sessions, report.identical, report.incomplete, report.replies) == (12, 12, 0, 42)
    assert report.details == []
    assert told == [(12, 12)]
    assert json.loads(json.dumps(report.as_json()))["model_calls"] == 0


def test_another_process_with_other_hashes_replays_a_store_it_may_only_read(
    store: Store, url: str
) -> None:
    own = Entry("own", Troubled(), a_cast())
    done = asyncio.run(run(store, a_spec(DEBATE, own)))
    code = (
        "import sys\n"
        "from orchestrator.replay import replay\n"
        "from orchestrator.store import Store\n"
        "with Store.read(sys.argv[1]) as store:\n"
        "    report = replay(store, int(sys.argv[2]))\n"
        "print(report.sessions, report.identical, report.model_calls)\n"
    )
    printed = subprocess.run(
        [sys.executable, "-c", code, url, str(done.run_id)],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": "4711"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert printed.split() == ["12", "12", "0"]


TAMPERED = [
    pytest.param("UPDATE reply SET text = text || ' ' WHERE {slot}", "reply changed", id="text"),
    pytest.param("UPDATE reply SET text = '' WHERE {slot}", "reply changed", id="no text"),
    pytest.param(
        "UPDATE reply SET failure_boundary = 'refused', failure_cause = '', failure_message = ''"
        " WHERE {slot}",
        "reply changed",
        id="failure",
    ),
    pytest.param(
        "UPDATE reply SET distribution = '[0.5,0.5]' WHERE {slot}",
        "reply changed",
        id="distribution",
    ),
    pytest.param(
        "UPDATE reply SET distribution = 'half' WHERE {slot}",
        "reply changed",
        id="unreadable distribution",
    ),
    pytest.param(
        "UPDATE ask SET messages = '[[' WHERE {slot}",
        "a part of an ask changed",
        id="unreadable messages",
    ),
    pytest.param(
        'UPDATE ask SET messages = \'[["user",[["question","x",null]]]]\' WHERE {slot}',
        "a part of an ask changed",
        id="odd messages",
    ),
    pytest.param(
        "UPDATE reply SET prompt_tokens = prompt_tokens + 1 WHERE {slot}",
        "reply changed",
        id="usage",
    ),
    pytest.param("UPDATE reply SET finish = 'length' WHERE {slot}", "reply changed", id="finish"),
    pytest.param("UPDATE reply SET digest = x'00' WHERE {slot}", "reply changed", id="digest"),
    pytest.param("DELETE FROM reply WHERE {slot}", "a reply is missing", id="reply gone"),
    pytest.param(
        "UPDATE reply SET accepted = 0 WHERE {slot}", "a reply is missing", id="not accepted"
    ),
    pytest.param("DELETE FROM ask WHERE {slot}", "a reply is missing", id="ask gone"),
    pytest.param(
        "UPDATE ask SET key = replace(key, substr(key, 1, 1), 'x') WHERE {slot}",
        "another ask",
        id="ask key",
    ),
    pytest.param(
        "UPDATE part SET body = body || '?' WHERE body = 'What about 3?'",
        "a part of an ask changed",
        id="part",
    ),
    pytest.param(
        "DELETE FROM part WHERE body = 'What about 3?'", "a part of an ask changed", id="part gone"
    ),
    pytest.param(
        'UPDATE session SET outcome = replace(outcome, \'"status":"\', \'"status":"x\')'
        " WHERE id = :session",
        "outcome changed",
        id="outcome",
    ),
    pytest.param(
        "UPDATE session SET outcome = NULL WHERE id = :session",
        "outcome changed",
        id="outcome gone",
    ),
    pytest.param(
        "UPDATE session SET status = 'failed', outcome = NULL WHERE id = :session",
        "outcome changed",
        id="status",
    ),
    pytest.param(
        "UPDATE session SET seed = seed + 1, question_key = 'x' WHERE id = :session",
        "question changed",
        id="question key",
    ),
    pytest.param(
        "UPDATE part SET body = replace(body, 'yes 3', 'yes 4') WHERE kind = 'document'",
        "question changed",
        id="question",
    ),
    pytest.param(
        "UPDATE part SET body = '{{' WHERE kind = 'document' AND body LIKE '%What about 3?%'"
        " AND body LIKE '{{\"category%'",
        "cannot be rebuilt",
        id="question unreadable",
    ),
    pytest.param(
        "UPDATE session SET question_part = 987654 WHERE id = :session",
        "cannot be rebuilt",
        id="question gone",
    ),
    pytest.param(
        "UPDATE session SET kind = 'tribunal' WHERE id = :session",
        "cannot be rebuilt",
        id="unknown protocol",
    ),
]


@pytest.mark.parametrize("turn", [0, 2], ids=["first turn", "last turn"])
@pytest.mark.parametrize(("statement", "reason"), TAMPERED)
def test_what_was_changed_is_found_as_exactly_that_session(
    recorded: Path, url: str, statement: str, reason: str, turn: int
) -> None:
    shutil.copy(recorded, url)
    with Store.read(url) as store:
        session = session_of(store, 1, "q3").id
    statement = statement.format(slot=f"session = :session AND turn = {turn} AND slot = 1")
    change(url, statement, **({"session": session} if ":session" in statement else {}))
    with Store.read(url) as store:
        report = replay(store, 1)
        assert found(report) == [session]
        (detail,) = report.details
        assert reason in detail.reason or detail.reason.startswith("a recorded reply that")
        assert "\n" not in detail.reason
        if reason == "reply changed":
            assert (detail.turn, detail.slot) == (turn, 1)
        assert found(replay(store, 1, sessions=[session])) == [session]
        others = [row.id for row in store.sessions(1) if row.id != session]
        assert replay(store, 1, sessions=others).identical == 5


async def test_several_changed_sessions_are_all_found(store: Store, url: str) -> None:
    done = await run(store, a_spec(DEBATE, DIRECT))
    first, second = session_of(store, done.run_id, "q1"), session_of(store, done.run_id, "q4")
    change(url, "UPDATE reply SET text = 'x' WHERE session = :s AND turn = 1", s=first.id)
    change(url, "UPDATE session SET outcome = '{}' WHERE id = :s", s=second.id)
    assert found(replay(store, done.run_id)) == [first.id, second.id]


async def test_a_changed_prompt_is_found_wherever_it_was_used(store: Store, url: str) -> None:
    done = await run(store, a_spec(DEBATE, DIRECT))
    with raw(url) as connection:
        system = connection.execute(
            text("SELECT id FROM part WHERE kind = 'text' AND body LIKE '%debate%' LIMIT 1")
        ).scalar_one()
    change(url, "UPDATE part SET body = body || '!' WHERE id = :part", part=system)
    debates = [row.id for row in store.sessions(done.run_id) if row.entry == "debate"]
    assert found(replay(store, done.run_id)) == debates


async def test_a_changed_attempt_is_found_though_the_session_never_saw_it(
    store: Store, url: str
) -> None:
    once: set[str] = set()

    def wrong(ask: Ask) -> Attempted | None:
        if ask.key in once:
            return None
        once.add(ask.key)
        return failed("malformed", "no JSON")

    done = await run(store, a_spec(DIRECT), Watched(wrong=wrong))
    assert done.calls.total() == 6 * RetryPolicy().malformed_attempts
    session = session_of(store, done.run_id, "q3", "direct").id
    assert found(replay(store, done.run_id)) == []
    change(url, "UPDATE reply SET text = 'x' WHERE session = :s AND attempt = 0", s=session)
    assert found(replay(store, done.run_id)) == [session]


async def test_a_protocol_that_raised_raises_the_same_again(store: Store, url: str) -> None:
    entries = [
        Entry(name, Troubled.model_validate({"trouble": name}), a_cast())
        for name in ("raises", "raises at once", "no outcome", "no json")
    ]
    done = await run(store, a_spec(*entries, numbers=range(2)))
    report = replay(store, done.run_id)
    assert found(report) == []
    assert (report.identical, report.incomplete) == (8, 0)
    told = session_of(store, done.run_id, "q0", "no outcome").id
    change(url, "UPDATE session SET message = 'fine' WHERE id = :s", s=told)
    lost = session_of(store, done.run_id, "q1", "raises").id
    change(url, "DELETE FROM reply WHERE session = :s", s=lost)
    assert sorted(found(replay(store, done.run_id))) == sorted([told, lost])


@pytest.mark.parametrize("calls", [0, 1, 13, 30])
async def test_an_unfinished_run_replays_as_far_as_it_is_recorded(
    store: Store, url: str, calls: int
) -> None:
    done = await run(store, a_spec(), calls=calls)
    report = replay(store, done.run_id)
    assert found(report) == []
    assert (report.identical, report.replies) == (6, calls)
    over = sum(row.outcome_json is not None for row in store.sessions(done.run_id))
    assert report.incomplete == 6 - over
    if calls:
        with raw(url) as connection:
            session = connection.execute(text("SELECT max(session) FROM reply")).scalar_one()
        change(url, "UPDATE reply SET text = text || 'x' WHERE session = :s", s=session)
        assert found(replay(store, done.run_id)) == [session]


async def test_what_was_superseded_is_replayed_too(store: Store) -> None:
    await run(store, a_spec())
    done = await run(store, a_spec(numbers=range(4)))
    assert replay(store, done.run_id).identical == 6


async def test_another_protocol_version_is_stale_and_not_diverged(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = await run(store, a_spec(DEBATE, DIRECT))
    monkeypatch.setattr(Debate, "version", Debate.version + 1)
    report = replay(store, done.run_id)
    assert found(report) == []
    assert (report.identical, report.stale) == (6, 6)
    assert report.stale_sessions == [row.id for row in store.sessions(done.run_id)][::2]
    assert report.details[0].reason == f"protocol version {Debate.version - 1} -> {Debate.version}"


async def test_a_long_run_is_replayed_chunk_by_chunk(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = await run(store, a_spec(DEBATE, DIRECT))
    monkeypatch.setattr("orchestrator.replay.CHUNK", 5)
    told: list[tuple[int, int]] = []
    report = replay(store, done.run_id, on_progress=lambda *step: told.append(step))
    assert report.identical == 12
    assert told == [(5, 12), (10, 12), (12, 12)]


async def test_a_run_or_session_that_is_not_there(store: Store) -> None:
    with pytest.raises(Mistake, match="no run 7"):
        replay(store, 7)
    done = await run(store, a_spec())
    with pytest.raises(Mistake, match=r"run 'run' has no session 99"):
        replay(store, done.run_id, sessions=[1, 99])
    assert replay(store, done.run_id, sessions=[]).sessions == 0
