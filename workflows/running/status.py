"""How a run is doing, read from its store while it goes on: progress, spend, drivers, experts.

Counts of sessions, asks and spend come from what is recorded; rates, queues and what is loaded
come from the drivers' signs of life, which each writes every few seconds.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from orchestrator.heartbeat import STALE_S, summed

if TYPE_CHECKING:
    from orchestrator.store import DriverRow, RunRow, Store

WANTED = ("pending", "finished", "failed")
"""The states of sessions that a run still asks for."""


@dataclass(frozen=True, slots=True)
class DriverState:
    """One driver, by its own last word."""

    name: str
    """``host:process``."""
    state: str
    """working; silent (no sign of life lately: killed, or cut off); or how it ended."""
    seen_s: float
    """Seconds since its last sign of life."""
    figures: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RunState:
    """A run at one moment."""

    id: int
    name: str
    store: str
    """For people: without a password."""
    status: str
    """running, finished or stopped; ``running`` without a working driver is ``abandoned``."""
    created_at: str
    sessions: int
    sessions_done: int
    sessions_failed: int
    """Of those done: protocols that raised."""
    asks: int
    """Asks answered, earlier calls included."""
    attempts: int
    failed: int
    """Accepted replies that hold a failure."""
    paid: float
    """US dollars paid."""
    rate: float
    """Asks a second, of the drivers that work."""
    left_s: float | None
    """Seconds left at the drivers' pace; None where nobody works or nothing is known."""
    in_flight: int
    queues: Mapping[str, int]
    """Asks that wait, by expert."""
    resident: Mapping[str, list[str]]
    """Loaded experts by worker."""
    loading: Mapping[str, str]
    """The expert that is just being loaded, by worker."""
    experts: Mapping[str, Mapping[str, Any]]
    """Meters by expert, of the drivers that work: asks, replies, loads, tokens, failures, spend."""
    drivers: tuple[DriverState, ...]
    """Those that work or fell silent; where there are none, those of the last call."""

    @property
    def is_live(self) -> bool:
        """Whether somebody works on it."""
        return any(driver.state == "working" for driver in self.drivers)

    def as_json(self) -> dict[str, Any]:
        """Return the state as a JSON object."""
        return asdict(self)


def run_state(store: Store, run: RunRow) -> RunState:
    """Return how a run is doing."""
    counts = store.session_counts(run.id)
    sessions = sum(counts.get(status, 0) for status in WANTED)
    done = sessions - counts.get("pending", 0)
    totals = store.totals(run.id).values()
    drivers = driver_states(store.drivers(run.id))
    working = [driver for driver in drivers if driver.state == "working"]
    live = summed([driver.figures for driver in working])
    return RunState(
        id=run.id,
        name=run.name,
        store=store.shown,
        status="abandoned" if run.status == "running" and not working else run.status,
        created_at=run.created_at,
        sessions=sessions,
        sessions_done=done,
        sessions_failed=counts.get("failed", 0),
        asks=sum(total["asks"] for total in totals),
        attempts=sum(total["attempts"] for total in totals),
        failed=store.failures(run.id),
        paid=sum(total["paid_price"] for total in totals),
        rate=live["rate"],
        left_s=time_left(live, sessions - done),
        in_flight=live["in_flight"],
        queues=live["queues"],
        resident=live["resident"],
        loading=live["loading"],
        experts=live["experts"],
        drivers=drivers,
    )


def time_left(live: Mapping[str, Any], left: int) -> float | None:
    """Return the seconds that `left` sessions take at the pace of the drivers so far."""
    seconds, done = live.get("seconds", 0.0), live["sessions_done"]
    if not left:
        return 0.0
    return round(left * seconds / done, 1) if done and seconds else None


def driver_states(rows: list[DriverRow]) -> tuple[DriverState, ...]:
    """Return the drivers that count: those that did not end, else the one that ended last.

    One that fell silent counts until another began after it: then its part was taken over.
    """
    from orchestrator.store.times import age_s

    def state(row: DriverRow) -> DriverState:
        seen_s = max(round(age_s(row.seen_at), 1), 0.0)
        how = row.ending if row.ended_at is not None else None
        how = how or ("silent" if seen_s > STALE_S else "working")
        return DriverState(row.name, how, seen_s, json.loads(row.progress_json))

    states = [(row, state(row)) for row in rows]
    last_start = max((row.started_at for row in rows), default="")
    current = [
        one
        for row, one in states
        if one.state == "working" or (one.state == "silent" and row.seen_at >= last_start)
    ]
    if current or not states:
        return tuple(current)
    last = max(states, key=lambda item: item[0].seen_at)[1]
    return (last,)


def run_states(store: Store) -> list[dict[str, Any]]:
    """Return the runs of a store with their state, newest first, as JSON objects."""
    found = []
    for run in reversed(store.runs()):
        counts = store.session_counts(run.id)
        sessions = sum(counts.get(status, 0) for status in WANTED)
        working = sum(one.state == "working" for one in driver_states(store.drivers(run.id)))
        found.append(
            {
                "id": run.id,
                "name": run.name,
                "status": "abandoned" if run.status == "running" and not working else run.status,
                "sessions": sessions,
                "sessions_done": sessions - counts.get("pending", 0),
                "drivers": working,
                "created_at": run.created_at,
                "finished_at": run.finished_at,
            }
        )
    return found
