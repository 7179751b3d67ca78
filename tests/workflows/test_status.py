"""moot status: runs that go on, that fell silent, that ended; lists; and the runs behind jobs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from orchestrator.journal import OutcomeRecord
from orchestrator.store import Store
from orchestrator.submit import JobResult
from protocols.errors import Mistake
from protocols.messages import Place
from protocols.replies import failed
from tests.orchestrator.store_drivers_contract import make_as_of
from tests.orchestrator.store_examples import an_ask, change, new_run, new_session, write
from tests.workflows.terminal import moot
from workflows.cli.cluster import run_name, shown_store
from workflows.cli.watching import _behind, last_line, lines
from workflows.running.status import RunState, run_state, run_states
from workflows.settings.configuration import load_workflow

FIGURES = {
    "sessions_done": 2,
    "asks": 20,
    "failed": 1,
    "in_flight": 8,
    "paid": 0.25,
    "seconds": 10.0,
    "rate": 12.5,
    "shards": 32,
    "queues": {"smith": 5, "jones": 9},
    "resident": {"gpu-1": ["smith"], "gpu-2": []},
}


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    monkeypatch.chdir(tmp_path)
    with Store.open("moot.db") as opened:
        yield opened


@pytest.fixture
def run(store: Store) -> int:
    """A run of eight sessions: two are over, one reply is a failure."""
    from orchestrator.journal import AskRecord, ReplyRecord

    run_id = store.create_run(new_run())
    ids = store.add_sessions(run_id, [new_session(n) for n in range(8)])
    place = Place(0, 0)
    asyncio.run(
        write(
            store,
            run_id,
            [AskRecord(ids[0], an_ask(place, "?"))],
            [ReplyRecord(ids[0], place, 0, True, failed("provider", "down"), 0.5, 0.5)],
            [OutcomeRecord(ids[0], "finished", "{}"), OutcomeRecord(ids[1], "failed", None, "x")],
        )
    )
    return run_id


def begin(store: Store, run_id: int, name: str, *, seen_s: float = 1.0, **figures: Any) -> int:
    """Add a driver that gave its last sign of life so many seconds ago."""
    driver = store.start_driver(run_id, name)
    then = (datetime.now(UTC) - timedelta(seconds=seen_s)).isoformat(timespec="milliseconds")
    change(
        "moot.db",
        "UPDATE driver SET seen_at = :then, started_at = :then, progress = :told WHERE id = :id",
        then=then,
        told=json.dumps({**FIGURES, **figures}),
        id=driver,
    )
    return driver


def state(store: Store) -> RunState:
    return run_state(store, store.runs()[0])


def test_a_run_that_two_drivers_work_on(store: Store, run: int) -> None:
    begin(store, run, "a:1")
    begin(store, run, "b:2", queues={"smith": 1}, resident={"gpu-2": ["jones"]}, rate=7.5)
    found = state(store)
    assert (found.status, found.is_live, found.rate, found.in_flight) == ("running", True, 20.0, 16)
    assert (found.sessions, found.sessions_done, found.sessions_failed) == (8, 2, 1)
    assert (found.asks, found.attempts, found.failed, found.paid) == (1, 1, 1, 0.5)
    assert found.queues == {"smith": 6, "jones": 9}
    assert found.resident == {"gpu-1": ["smith"], "gpu-2": ["jones"]}
    assert found.left_s == 15.0, "four sessions in ten seconds, six are left"
    text = list(lines(found))
    assert text[0] == "run demo (id 1) in moot.db: running"
    assert text[1] == (
        "2/8 sessions, 1 ask, 20/s, 1 failed, 1 session broken, $0.50, 16 in flight, 0:15 left"
    )
    assert text[2:5] == [
        "waiting: jones 9, smith 6",
        "worker gpu-1: smith",
        "worker gpu-2: jones",
    ]
    assert text[5].startswith("driver a:1: 2 sessions done, seen 0:01 ago")
    assert len(text) == 7


def test_a_driver_that_loads_says_so(store: Store, run: int) -> None:
    begin(store, run, "a:1", sessions_done=0, in_flight=0, loading={"gpu-1": "lee", "gpu-2": "po"})
    text = list(lines(state(store)))
    assert text[1].endswith("0 in flight, loading")
    assert text[3:5] == ["worker gpu-1: smith; loading lee", "worker gpu-2: loading po"]
    begin(store, run, "b:2", sessions_done=0, resident={"gpu-2": ["po"]})
    text = list(lines(state(store)))
    assert text[1].endswith("8 in flight, no session is over yet")


def test_nothing_is_loaded_where_nothing_loads(store: Store, run: int) -> None:
    begin(store, run, "a:1")
    assert "worker gpu-2: nothing loaded" in list(lines(state(store)))


def test_a_driver_without_a_sign_of_life(store: Store, run: int) -> None:
    begin(store, run, "a:1", seen_s=100.0)
    found = state(store)
    assert (found.status, found.is_live, found.rate, found.left_s) == ("abandoned", False, 0, None)
    text = list(lines(found))
    assert text[-2] == "driver a:1: no sign of life for 1:40; killed, or cut off"
    assert text[-1] == "nobody works on it; the same `moot run` goes on"
    begin(store, run, "b:2", seen_s=0.0)
    assert [driver.name for driver in state(store).drivers] == ["b:2"], (
        "it took the dead one's part"
    )


def test_one_of_two_fell_silent(store: Store, run: int) -> None:
    begin(store, run, "a:1", seen_s=1.0)
    driver = begin(store, run, "b:2", seen_s=60.0)
    started = "UPDATE driver SET started_at = :then"
    change("moot.db", started, then="2026-01-01T00:00:00.000+00:00")
    found = state(store)
    assert [one.state for one in found.drivers] == ["working", "silent"]
    assert found.status == "running"
    assert found.rate == 12.5, "the silent one does not count"
    store.end_driver(driver, "stopped", "{}")
    assert [one.name for one in state(store).drivers] == ["a:1"]


def test_a_run_that_ended(store: Store, run: int) -> None:
    driver = begin(store, run, "a:1")
    store.end_driver(driver, "stopped", json.dumps(FIGURES))
    store.settle(run)
    found = state(store)
    assert (found.status, found.is_live, found.in_flight) == ("stopped", False, 0)
    assert [one.state for one in found.drivers] == ["stopped"]
    assert list(lines(found))[-1] == "driver a:1: stopped 0:00 ago"


def test_a_run_without_drivers(store: Store, run: int) -> None:
    store.update_run(run, status="finished")
    found = state(store)
    assert (found.drivers, found.status, found.left_s) == ((), "finished", None)
    assert len(list(lines(found))) == 2


def test_a_run_with_more_than_a_screen_holds(store: Store, run: int) -> None:
    many = {f"w{n:03}": [f"e{m}" for m in range(20)] for n in range(30)}
    begin(store, run, "a:1", resident=many, queues={f"e{n}": n for n in range(50)})
    text = list(lines(state(store)))
    assert "and 18 more workers" in text
    assert any(line.endswith("and 8 more") for line in text)
    assert len(text) < 20


def test_all_runs_of_a_store(store: Store, run: int) -> None:
    begin(store, run, "a:1")
    store.create_run(new_run("second"))
    second, first = run_states(store)
    assert (first["name"], first["status"], first["drivers"]) == ("demo", "running", 1)
    assert (first["sessions_done"], first["sessions"]) == (2, 8)
    assert (second["name"], second["status"]) == ("second", "abandoned")
    done = moot("status")
    assert done.code == 0
    assert [line.split()[0] for line in done.out.splitlines()] == ["run", "second", "demo"]
    assert moot("status", "--json").json == [second, first]


def test_the_command(store: Store, run: int) -> None:
    begin(store, run, "a:1")
    done = moot("status", "demo")
    assert (done.code, done.err) == (0, "")
    assert "2/8 sessions" in done.out
    found = moot("status", "1", "--json").json
    assert (found["name"], found["drivers"][0]["name"]) == ("demo", "a:1")
    assert found["drivers"][0]["figures"]["shards"] == 32


def test_watching_ends_with_the_run(store: Store, run: int, monkeypatch) -> None:
    driver = begin(store, run, "a:1")

    def ends(seconds: float) -> None:
        store.end_driver(driver, "stopped", "{}")
        store.settle(run)

    monkeypatch.setattr("workflows.cli.watching.time.sleep", ends)
    done = moot("status", "demo", "--watch")
    assert done.out.count("run demo (id 1)") == 2
    assert "driver a:1: stopped" in done.out


def test_what_is_not_there(store: Store, run: int) -> None:
    assert "no run 'nope'; it holds demo" in moot("status", "nope").message
    assert "there is no store none.db" in moot("status", "--store", "none.db").message
    assert "belongs to a job" in moot("status", "--address", "http://127.0.0.1:1").message
    done = moot("status", "raysubmit_abc", "--address", "http://127.0.0.1:1")
    assert "no Ray cluster answers" in done.message


def test_a_store_without_runs(store: Store) -> None:
    assert moot("status").out == "moot.db holds no runs\n"
    assert moot("status", "--json").json == []


def test_a_store_of_the_previous_version(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    make_as_of("old.db", "0001")
    done = moot("status", "old", "--store", "old.db")
    assert (done.code, done.out.splitlines()[0]) == (0, "run old (id 1) in old.db: stopped")
    assert moot("status", "--store", "old.db").code == 0


# the runs behind jobs


def job(**metadata: str) -> JobResult:
    return JobResult("raysubmit_x", "RUNNING", metadata=metadata)


@pytest.fixture
def printed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the job has printed."""
    said: list[str] = []
    monkeypatch.setattr("orchestrator.submit.job_logs", lambda job, address: "\n".join(said))
    return said


def test_a_job_whose_store_is_read_from_here(store: Store, run: int, printed: list[str]) -> None:
    where = str(Path("moot.db").absolute())
    found, _ = _behind(job(run="demo", store=where), None, None)
    assert found is not None
    assert found.name == "demo"
    store.create_run(new_run("demo-2"))
    printed.append("run demo-2 (id 2): 8 sessions")
    found, _ = _behind(job(run="demo", store=where), None, None)
    assert found is not None
    assert found.name == "demo-2", "what --new called it is what the job printed"
    found, _ = _behind(job(run="demo"), None, where)
    assert found is not None


def test_a_job_whose_store_is_elsewhere(tmp_path: Path, printed: list[str]) -> None:
    printed += ["note: x", "10/80 sessions, 70 asks, 7/s, 0 failed, 0:10 left", "(raylet) warning"]
    metadata = {"run": "demo", "store": str(tmp_path / "none.db")}
    assert _behind(job(**metadata), None, None) == (None, printed[1])
    assert _behind(job(), None, None) == (None, printed[1])
    with pytest.raises(Mistake, match="there is no store"):
        _behind(job(**metadata), None, str(tmp_path / "other.db"))


def test_a_store_with_a_password_cannot_be_reached(printed: list[str], capsys) -> None:
    metadata = {"run": "demo", "store": "postgresql://me:***@127.0.0.1:1/moot"}
    assert _behind(job(**metadata), None, None) == (None, "")
    assert "may reach it" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("log", "line"),
    [
        ("", ""),
        ("nothing of interest\n", ""),
        ("a: 5 sessions\n3/5 sessions, 9 asks\nbye", "3/5 sessions, 9 asks"),
        ('{"kind": "prepared"}\n{broken', ""),
        (
            '{"kind": "progress", "sessions": 80, "sessions_done": 8, "asks": 1200, "failed": 1}\n',
            "8/80 sessions, 1,200 asks, 1 failed (progress)",
        ),
    ],
)
def test_the_last_word_of_a_log(log: str, line: str) -> None:
    assert last_line(log) == line


def test_what_goes_with_a_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert shown_store("postgresql://me:hush@h/d") == "postgresql://me:***@h/d"
    assert shown_store("a.db") == str(tmp_path / "a.db")
    assert run_name(load_workflow("skills", ["name=mine"])) == "mine"
