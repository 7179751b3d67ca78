"""A driver's signs of life: how far it is, written to the store every few seconds.

They go through the journal, where the writer thread puts them into its next commit; nothing waits
for them. ``moot status`` reads them.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from orchestrator.journal import ProgressRecord

if TYPE_CHECKING:
    from orchestrator.driver import Driver, Progress
    from orchestrator.money.leasing import Lease
    from orchestrator.store import StoreJournal

BEAT_S = 2.0
RATE_OVER_S = 5.0
COUNTS = ("sessions_done", "asks", "failed", "attempts", "in_flight", "paid", "shards", "rate")
"""Figures that add up over drivers."""
LARGEST = "largest_batch"
"""The only one of an expert's meters that does not add up."""
STALE_S = 20.0
"""After so many seconds without a sign of life a driver is taken for dead."""


def driver_name() -> str:
    """Return the name of this process: ``host:1234``."""
    return f"{socket.gethostname()}:{os.getpid()}"


def figures(
    progress: Progress,
    *,
    done_before: int = 0,
    paid_before: float = 0.0,
    driver: Driver | None = None,
    shards: int = 0,
) -> dict[str, Any]:
    """Return what a driver tells of itself, as JSON: counts of its own, and what it sees now.

    Args:
        progress: of the driver.
        done_before: sessions that were over before it began.
        paid_before: US dollars that were paid before.
        driver: where queues and resident experts are read.
        shards: how many shards it works on.
    """
    found: dict[str, Any] = {
        "sessions_done": progress.sessions_done - done_before,
        "asks": progress.asks_done,
        "failed": progress.replies_failed,
        "attempts": progress.attempts,
        "in_flight": progress.in_flight,
        "paid": round(progress.paid - paid_before, 6),
        "seconds": round(progress.elapsed_s, 3),
        "shards": shards,
    }
    if driver is not None:
        read = driver.meters.read(driver.planner, time.monotonic()).as_json()
        experts = read["experts"]
        queues = {label: meters["queue"] for label, meters in experts.items() if meters["queue"]}
        found.update(queues=queues, resident=read["resident"], experts=experts)
        found["loading"] = driver.planner.loading()
    return found


def summed(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the figures of several drivers together; of their seconds the longest."""
    total: dict[str, Any] = dict.fromkeys(COUNTS, 0)
    queues: Counter[str] = Counter()
    experts: dict[str, Counter[str]] = {}
    resident: dict[str, list[str]] = {}
    loading: dict[str, str] = {}
    for part in parts:
        for name in COUNTS:
            total[name] += part.get(name, 0)
        total["seconds"] = max(total.get("seconds", 0.0), part.get("seconds", 0.0))
        queues.update(part.get("queues", {}))
        for expert, meters in part.get("experts", {}).items():
            known = experts.setdefault(expert, Counter())
            largest = max(known[LARGEST], meters.get(LARGEST, 0))
            known.update(meters)
            known[LARGEST] = largest
        loading.update(part.get("loading", {}))
        for worker, names in part.get("resident", {}).items():
            there = resident.setdefault(worker, [])
            there += [name for name in names if name not in there]
    total["rate"] = round(total["rate"], 1)
    by_expert = {expert: dict(meters) for expert, meters in experts.items()}
    seen = {"queues": dict(queues), "resident": resident, "loading": loading}
    return {**total, **seen, "experts": by_expert}


class Rate:
    """Asks a second, lately."""

    def __init__(self, over_s: float = RATE_OVER_S) -> None:
        self._over_s = over_s
        self._points: deque[tuple[float, int]] = deque()

    def of(self, now: float, asks: int) -> float:
        """Take note of the asks done by now; return the rate over the last few seconds."""
        self._points.append((now, asks))
        while len(self._points) > 2 and self._points[1][0] <= now - self._over_s:
            self._points.popleft()
        (then, before), (now, asks) = self._points[0], self._points[-1]
        return (asks - before) / (now - then) if now > then else 0.0


class Heartbeat:
    """Writes a driver's progress into its journal."""

    def __init__(
        self, journal: StoreJournal, driver_id: int, *, done_before: int, paid_before: float
    ) -> None:
        self._journal = journal
        self.id = driver_id
        """The driver's id in the store."""
        self.lease: Lease | None = None
        """Its slice of the budget, where it has one."""
        self._done_before = done_before
        self._paid_before = paid_before
        self._last_s = float("-inf")
        self._rate = Rate()
        self.driver: Driver | None = None
        self.last: dict[str, Any] = {}
        """What was told last."""
        self.ending = "failed"
        """How the driver ended, once it did otherwise."""

    def hear(self, progress: Progress) -> None:
        """Take note of the progress; write it where it is time to."""
        now = time.monotonic()
        if self._journal.closed:  # the last one: the driver's end is written past the journal
            self._note(progress, now)
        elif now - self._last_s >= BEAT_S:
            self._last_s = now
            self._note(progress, now)
            self._journal.append((self._record(),))

    def _record(self) -> ProgressRecord:
        from orchestrator.store.leases import amounts_json

        left = None if self.lease is None else amounts_json(self.lease.left())
        return ProgressRecord(self.id, self.as_json(), left)

    def as_json(self) -> str:
        """Return what was told last, as JSON."""
        return json.dumps(self.last)

    def _note(self, progress: Progress, now: float) -> None:
        told = figures(
            progress,
            done_before=self._done_before,
            paid_before=self._paid_before,
            driver=self.driver,
            shards=len(self._journal.shards),
        )
        self.last = {**told, "rate": round(self._rate.of(now, progress.asks_done), 1)}
