"""A run's events as JSON lines: what happened when, in figures.

::

    prepared        run, sessions, done, kept, added...
    worker_joined   worker, experts (how many it can host), memory_gb
    worker_lost     worker, replaced, message
    loaded          worker, expert, seconds
    load_failed     worker, expert, message
    throttled       count, since the last such event
    progress        once a second: sessions, done, rate, in flight, spend, failures, queues
    driver_lost     driver, message: a process of a run with several died
    circuit_open, circuit_closed, endpoint_given_up, endpoint_rests
                    endpoint, message: a hosted endpoint does not answer, or does again
    ended           how, and the figures of the whole call

Every line has ``time`` (UTC) and ``kind``; with several drivers a line of one of them has its
number as ``driver``. No line holds anything of a prompt, a reply or a key. Writing them never
stops a run: a log that fails is told of once and left alone.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

from agents.engine import Throttled
from agents.roster import Expert
from orchestrator.fleets.delivery import in_one_line
from orchestrator.fleets.fleet import (
    Action,
    Fleet,
    FleetEvent,
    Inbox,
    Loaded,
    LoadFailed,
    Results,
    WorkerJoined,
    WorkerLost,
)
from protocols.errors import Mistake

LONGEST_MESSAGE = 300
PROGRESS_EVERY_S = 1.0

Emit = Callable[..., None]
"""Takes an event: its kind, and its figures by name."""


class EventLog:
    """Writes events to a stream."""

    def __init__(self, stream: TextIO, on_failure: Callable[[str], None] | None = None) -> None:
        self._stream = stream
        self._on_failure = on_failure
        self._broken = False

    def emit(self, kind: str, **figures: Any) -> None:
        """Write one event."""
        if self._broken:
            return
        time = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = json.dumps({"time": time, "kind": kind, **figures}, ensure_ascii=False)
        try:
            self._stream.write(line + "\n")
            self._stream.flush()
        except (OSError, ValueError) as error:
            self._broken = True
            if self._on_failure:
                self._on_failure(f"no more events are written: {in_one_line(error)}")

    def close(self) -> None:
        """Close the stream, unless it is standard error."""
        if self._stream is not sys.stderr:
            try:
                self._stream.close()
            except OSError:  # what it still held is lost, and emit has told of the reason
                return


def open_events(path: str, on_failure: Callable[[str], None] | None = None) -> EventLog:
    """Return the log at `path`, to which events are appended; ``-`` is standard error.

    Args:
        path: a file.
        on_failure: told, once, when it cannot be written any more.

    Raises:
        Mistake: it cannot be opened.
    """
    if path == "-":
        return EventLog(sys.stderr, on_failure)
    try:
        return EventLog(Path(path).open("a", encoding="utf-8"), on_failure)
    except OSError as error:
        raise Mistake(
            f"events cannot be written to {path}: {error.strerror}; name another file"
        ) from None


class FleetEvents:
    """Tells of what a fleet does."""

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self._throttled = 0

    def tap(self, fleet: Fleet) -> Fleet:
        """Return the same fleet, listened to."""
        return _TappedFleet(fleet, self.hear)

    def hear(self, event: FleetEvent) -> None:
        """Tell of an event; throttled attempts are counted until `flush`."""
        if isinstance(event, Results):
            self._throttled += sum(isinstance(result, Throttled) for _, result in event.items)
        elif isinstance(event, WorkerJoined):
            self._emit(
                "worker_joined",
                worker=event.worker,
                experts=len(event.batch_limits),
                memory_gb=event.memory_gb,
            )
        elif isinstance(event, WorkerLost):
            self._emit(
                "worker_lost",
                worker=event.worker,
                replaced=event.replaced,
                message=_short(event.message),
            )
        elif isinstance(event, Loaded):
            seconds = round(event.seconds, 3)
            self._emit("loaded", worker=event.worker, expert=event.expert, seconds=seconds)
        elif isinstance(event, LoadFailed):
            message = _short(event.message)
            self._emit("load_failed", worker=event.worker, expert=event.expert, message=message)

    def flush(self) -> None:
        """Tell how many attempts were throttled since the last time, if any were."""
        if self._throttled:
            self._emit("throttled", count=self._throttled)
            self._throttled = 0


class _TappedFleet(Fleet):
    def __init__(self, fleet: Fleet, hear: Callable[[FleetEvent], None]) -> None:
        self._fleet = fleet
        self._hear = hear

    async def start(self, experts: Sequence[Expert], inbox: Inbox) -> None:
        await self._fleet.start(experts, _TappedInbox(inbox, self._hear))

    def perform(self, action: Action) -> None:
        self._fleet.perform(action)

    async def close(self) -> None:
        await self._fleet.close()


class _TappedInbox(Inbox):
    """Hands every event to a listener and then to the driver's inbox."""

    def __init__(self, inbox: Inbox, hear: Callable[[FleetEvent], None]) -> None:
        super().__init__()
        self._inbox = inbox
        self._hear = hear

    def put(self, event: FleetEvent) -> None:
        self._hear(event)
        self._inbox.put(event)

    def wake(self) -> None:
        self._inbox.wake()


def _short(message: str) -> str:
    return " ".join(message.split())[:LONGEST_MESSAGE]
