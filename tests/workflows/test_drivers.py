"""A run by several driver processes: the same as by one, also when some of them are killed."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from orchestrator.crew import Crew, Line
from orchestrator.fleets.local_fleet import LocalFleet
from orchestrator.store import Store
from protocols.errors import Mistake
from tests import postgres
from tests.workflows.terminal import COMMAND, Done, environment, moot, process
from workflows.api import Hooks, run
from workflows.running.drivers import DriverFailed, _ending, be_driver
from workflows.running.places import network_file_system, store_notes
from workflows.settings.fleets import FleetSpec, Where

WORKFLOW = """
name: shared
questions: {path: questions.jsonl}
experts:
  slow: {model: scripted/slow, options: {latency_s: 0.02, batch_limit: 4, inner: voter}}
  flaky: {model: scripted/flaky, options: {inner: echo, fail_share: 0.1, batch_limit: 8}}
protocols:
  - kind: debate
    cast: {debater: flaky, judge: slow}
  - kind: direct_answer
    cast: {judge: slow}
"""
QUESTIONS = 40


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = [
        {"id": f"q/{n}", "text": f"Which, {n}?", "options": ["x", "y"], "gold": "B"}
        for n in range(QUESTIONS)
    ]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "questions.jsonl").write_text(text, encoding="utf-8")
    (tmp_path / "w.yaml").write_text(WORKFLOW, encoding="utf-8")
    return tmp_path


@pytest.fixture(
    params=["sqlite", pytest.param("postgresql", marks=[pytest.mark.postgres, pytest.mark.slow])]
)
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    if request.param == "sqlite":
        yield "shared.db"
    else:
        with postgres.database() as address:
            yield address


def recorded(url: str) -> tuple[dict[str, str | None], set[tuple[str, str, bytes]]]:
    """Return outcomes by session key, and (session key, ask key, digest) of accepted replies."""
    with Store.read(url) as store:
        (row,) = store.runs()
        sessions = store.sessions(row.id)
        replies = {
            (session.key, one.key, one.reply.digest)
            for session, loaded in zip(sessions, store.tapes([s.id for s in sessions]), strict=True)
            for one in loaded.tape.values()
        }
        assert sum(total["asks"] for total in store.totals(row.id).values()) == len(replies)
        return {session.key: session.outcome_json for session in sessions}, replies


def check_against_one_driver(url: str, folder: Path) -> None:
    run("w.yaml", overrides=["store=alone.db"])
    assert recorded(url) == recorded("alone.db")
    assert all(recorded(url)[0].values())


@contextmanager
def running(folder: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Start the command; it is killed in the end if it still runs."""
    with subprocess.Popen(
        [*COMMAND, *arguments],
        cwd=folder,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as command:
        try:
            yield command
        finally:
            command.kill()


def end(command: subprocess.Popen[str]) -> Done:
    out, err = command.communicate(timeout=120)
    return Done(command.returncode, out, err)


def until(url: str, ready: Callable[[Store, int], bool]) -> list[int]:
    """Wait until a run is as far as that; return the processes of its drivers."""
    while True:
        try:
            with Store.read(url) as store:
                for row in store.runs():
                    if ready(store, row.id):
                        return [int(one.name.rpartition(":")[2]) for one in store.drivers(row.id)]
        except Mistake:  # it is not there yet
            pass
        time.sleep(0.02)


def both_have_begun(store: Store, run_id: int) -> bool:
    counts = store.session_counts(run_id)
    return len(store.drivers(run_id)) == 2 and counts.get("finished", 0) > 5


def test_two_drivers_do_what_one_does(here: Path, url: str) -> None:
    notes: list[str] = []
    result = run("w.yaml", overrides=[f"store={url}"], drivers=2, hooks=Hooks(on_note=notes.append))
    assert (result.ending, result.progress.sessions_done) == ("finished", 2 * QUESTIONS)
    assert result.progress.asks_done == len(recorded(url)[1])
    check_against_one_driver(url, here)
    assert {"direct_answer", "debate"} <= {row.name for row in result.rows}
    with Store.read(url) as store:
        drivers = store.drivers(result.run_id)
        assert [one.ending for one in drivers[:2]] == ["finished", "finished"]
        assert len({one.name for one in drivers}) == 2
        assert store.runs()[0].status == "finished"
    said = [note for note in notes if "this machine's own disk" in note]
    assert len(said) == (0 if "://" in url else 1)


@pytest.mark.slow
def test_a_driver_that_is_killed_is_replaced_by_the_other(here: Path, url: str) -> None:
    arguments = ("run", "w.yaml", "--store", url, "--drivers", "2", "--events", "events.jsonl")
    with running(here, *arguments) as command:
        victim, _ = until(url, both_have_begun)
        os.kill(victim, signal.SIGKILL)
        done = end(command)
    assert done.code == 0, done.err
    assert "died (killed by SIGKILL); its sessions are taken by the others" in done.err
    check_against_one_driver(url, here)
    lines = Path("events.jsonl").read_text(encoding="utf-8").splitlines()
    events: list[dict[str, Any]] = [json.loads(line) for line in lines]
    kinds = [event["kind"] for event in events]
    assert (kinds[0], kinds[-1]) == ("prepared", "ended")
    assert {"progress", "worker_joined", "driver_lost"} <= set(kinds)
    assert events[-1]["sessions_done"] == 2 * QUESTIONS
    assert "Which, 1?" not in "".join(lines)


@pytest.mark.slow
def test_a_command_that_is_killed_goes_on_where_it_was(here: Path, url: str) -> None:
    arguments = ("run", "w.yaml", "--store", url, "--drivers", "2")
    with running(here, *arguments) as command:
        drivers = until(url, both_have_begun)
        for driver in drivers:
            os.kill(driver, signal.SIGKILL)
        command.kill()
    done = process(*arguments, cwd=here)
    assert done.code == 0, done.err
    assert "resuming run" in done.err
    check_against_one_driver(url, here)


@pytest.mark.slow
def test_a_second_command_helps_and_leaves_what_is_held(here: Path, url: str) -> None:
    one_call = ("run", "w.yaml", "--store", url, "--set", "budget.calls=1")
    assert process(*one_call, cwd=here).code == 3
    with Store.open(url) as store:
        (row,) = store.runs()
        held = sorted(store.pending_by_shard(row.id))[:5]
        left = sum(store.pending_by_shard(row.id)[shard] for shard in held)
        with store.journal(row.id, shards=held):
            done = process("run", "w.yaml", "--store", url, cwd=here)
            assert done.code == 0, done.err
            assert f"{left} of {2 * QUESTIONS} sessions are left to other drivers" in done.err
            refused = process("run", "w.yaml", "--store", url, cwd=here)
            assert refused.code == 2
            assert "is being worked on by another process" in refused.err.splitlines()[-1]
    assert process("run", "w.yaml", "--store", url, cwd=here).code == 0
    check_against_one_driver(url, here)


@pytest.mark.slow
def test_ctrl_c_lets_all_drivers_finish_what_runs(here: Path) -> None:
    arguments = ("run", "w.yaml", "--store", "shared.db", "--drivers", "2")
    with running(here, *arguments) as command:
        drivers = until("shared.db", both_have_begun)
        command.send_signal(signal.SIGINT)
        done = end(command)
    assert done.code == 1, done.err
    assert "stopping: what is in flight is finished and kept" in done.err
    assert "the same command goes on" in done.err
    with Store.read("shared.db") as store:
        assert [one.ending for one in store.drivers(1)][:2] == ["stopped", "stopped"]
        assert store.runs()[0].status == "stopped"
    for driver in drivers:
        with pytest.raises(ProcessLookupError):
            os.kill(driver, 0)
    assert process(*arguments, cwd=here).code == 0
    check_against_one_driver("shared.db", here)


def test_drivers_split_the_budget(here: Path) -> None:
    overrides = ["store=shared.db", "budget.calls=51"]
    result = run("w.yaml", overrides=overrides, drivers=2)
    assert (result.ending, result.progress.attempts) == ("budget", 51)


def test_a_driver_that_cannot_go_on_says_why(here: Path) -> None:
    said = io.StringIO()
    be_driver({"store": "none.db"}, Line(said))
    assert json.loads(said.getvalue()) == {
        "error": "there is no store none.db; name an existing one"
    }


async def test_how_a_run_with_several_drivers_ends() -> None:
    crew = Crew("tests.orchestrator.crew_examples:trouble", lambda number, said: None)
    await crew.run([{"how": "well"}, {"how": "says so"}])
    assert _ending(crew, 0) == "finished", "others did what one could not"
    with pytest.raises(DriverFailed, match="driver 2: no such engine"):
        _ending(crew, 3)
    lost = Crew("tests.orchestrator.crew_examples:trouble", lambda number, said: None)
    await lost.run([{"how": "killed"}, {"how": "well"}])
    assert _ending(lost, 3) == "stopped"


@pytest.mark.parametrize("drivers", [0, 65])
def test_a_number_of_drivers_that_cannot_be(here: Path, drivers: int) -> None:
    done = moot("run", "w.yaml", "--drivers", str(drivers))
    assert (done.code, Path("moot.db").exists()) == (2, False)
    assert f"drivers: {drivers} is not between 1 and 64" in done.message


def test_a_fleet_object_serves_one_process() -> None:
    with pytest.raises(Mistake, match="a fleet by name"):
        Where(LocalFleet(), 2).check()


def test_events_that_cannot_be_written_stop_the_command_before_it_begins(here: Path) -> None:
    done = moot("run", "w.yaml", "--store", "shared.db", "--events", "none/events.jsonl")
    assert (done.code, Path("shared.db").exists()) == (2, False)
    assert "events cannot be written to none/events.jsonl" in done.message


def test_events_of_one_driver(here: Path) -> None:
    done = moot("run", "w.yaml", "--store", "shared.db", "--events", "-")
    assert done.code == 0
    events = [json.loads(line) for line in done.err.splitlines() if line.startswith("{")]
    kinds = [event["kind"] for event in events]
    assert (kinds[0], kinds[1], kinds[-1]) == ("prepared", "worker_joined", "ended")
    assert "progress" in kinds
    assert events[-1]["ending"] == "finished"
    assert events[-1]["asks"] == len(recorded("shared.db")[1])


# where the store lies

MOUNTS = """\
/dev/sda1 / ext4 rw 0 0
server:/data /data nfs4 rw 0 0
tmpfs /data/quick/here tmpfs rw 0 0
//pc/share /mnt/my\\040share cifs rw 0 0
overlay / overlay rw 0 0
odd line
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/srv/a.db", None),
        ("/data/quick/a.db", "nfs4"),
        ("/data/quick/here/a.db", None),
        ("/database/a.db", None),
        ("/mnt/my share/a.db", "cifs"),
    ],
)
def test_network_file_systems(tmp_path: Path, path: str, kind: str | None) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(MOUNTS, encoding="utf-8")
    assert network_file_system(Path(path), mounts) == kind
    assert network_file_system(Path(path), tmp_path / "none") is None


def test_what_is_said_of_a_store(monkeypatch: pytest.MonkeyPatch) -> None:
    ray = Where(FleetSpec(kind="ray"))
    assert store_notes("a.db", Where()) == ()
    assert store_notes("postgresql://me:hush@h/d", ray) == ()
    (note,) = store_notes("a.db", ray)
    assert "own disk" in note
    monkeypatch.setattr("workflows.running.places.network_file_system", lambda path: "nfs4")
    (note,) = store_notes("a.db", Where())
    assert "network file system (nfs4)" in note
