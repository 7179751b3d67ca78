"""Events as JSON lines: what they hold, what they never hold, and a log that fails."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from agents.engine import Throttled
from orchestrator.events import EventLog, FleetEvents, open_events
from orchestrator.fleets.fleet import (
    Dispatch,
    FleetEvent,
    Inbox,
    Loaded,
    LoadFailed,
    Results,
    WorkerJoined,
    WorkerLost,
)
from orchestrator.fleets.local_fleet import LocalFleet
from protocols.errors import Mistake
from protocols.messages import Place
from protocols.replies import Reply
from tests.orchestrator.run_examples import EXPERTS
from tests.orchestrator.store_examples import an_ask


class Broken(io.StringIO):
    """A stream on a full disk."""

    def write(self, text: str) -> int:
        raise OSError(28, "No space left on device")


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_events_are_appended(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    for number in range(2):
        log = open_events(str(path))
        log.emit("progress", asks=number, name="é")
        log.close()
    first, second = read(path)
    assert (first["kind"], first["asks"], second["asks"], second["name"]) == ("progress", 0, 1, "é")
    assert first["time"] <= second["time"]


def test_a_log_on_standard_error_stays_open(capsys: pytest.CaptureFixture[str]) -> None:
    log = open_events("-")
    log.emit("ended")
    log.close()
    sys.stderr.write("still open\n")
    assert capsys.readouterr().err.count("\n") == 2


@pytest.mark.parametrize("name", ["none/events.jsonl", "."])
def test_a_log_that_cannot_be_opened_is_a_mistake(name: str, tmp_path: Path) -> None:
    with pytest.raises(Mistake, match=r"events cannot be written to .*; name another file"):
        open_events(str(tmp_path / name))


def test_a_log_that_fails_is_told_of_once() -> None:
    told: list[str] = []
    log = EventLog(Broken(), told.append)
    log.emit("progress")
    log.emit("progress")
    EventLog(Broken()).emit("progress")
    assert len(told) == 1
    assert "No space left" in told[0]


def events_of(*events: FleetEvent) -> list[tuple[str, dict[str, Any]]]:
    found: list[tuple[str, dict[str, Any]]] = []
    teller = FleetEvents(lambda kind, **figures: found.append((kind, figures)))
    for event in events:
        teller.hear(event)
    teller.flush()
    teller.flush()
    return found


def test_what_a_fleet_does_is_told() -> None:
    assert events_of(
        WorkerJoined("gpu-1", {"a": 8, "b": 8}, 80.0, {"a": 10.0, "b": 20.0}),
        Loaded("gpu-1", "a", 1.23456),
        LoadFailed("gpu-1", "b", "no\nroom " + "x" * 1_000),
        WorkerLost("gpu-1", "the node died", replaced=True),
    ) == [
        ("worker_joined", {"worker": "gpu-1", "experts": 2, "memory_gb": 80.0}),
        ("loaded", {"worker": "gpu-1", "expert": "a", "seconds": 1.235}),
        (
            "load_failed",
            {"worker": "gpu-1", "expert": "b", "message": ("no room " + "x" * 1_000)[:300]},
        ),
        ("worker_lost", {"worker": "gpu-1", "replaced": True, "message": "the node died"}),
    ]


def test_replies_are_not_told_and_throttled_ones_are_counted() -> None:
    secret = Reply("the secret answer")
    results = Results(1, ((0, secret), (1, Throttled(9.0)), (2, Throttled(9.0))))
    assert events_of(results, Results(2, ((0, Throttled(9.0)),))) == [("throttled", {"count": 3})]
    assert events_of(Results(1, ((0, secret),))) == []


async def test_a_fleet_that_is_listened_to_works_as_before() -> None:
    found: list[str] = []
    fleet = FleetEvents(lambda kind, **figures: found.append(kind)).tap(LocalFleet())
    inbox = Inbox()
    await fleet.start([EXPERTS["speaker"]], inbox)
    (joined,) = inbox.take()
    assert isinstance(joined, WorkerJoined)
    (speaker,) = joined.batch_limits
    fleet.perform(Dispatch(1, joined.worker, speaker, (an_ask(Place(0, 0), "hello"),)))
    await inbox.wait()
    (results,) = inbox.take()
    assert isinstance(results, Results)
    await fleet.close()
    await fleet.close()
    assert found == ["worker_joined"]
