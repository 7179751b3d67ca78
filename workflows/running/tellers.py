"""How far a run is, told to whoever listens: by its one driver, or by several together."""

from __future__ import annotations

import signal
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from orchestrator.crew import Crew, Member
from orchestrator.driver import Progress
from orchestrator.events import PROGRESS_EVERY_S
from orchestrator.heartbeat import Rate, figures
from orchestrator.limits.gates import Change
from orchestrator.run import Prepared

if TYPE_CHECKING:
    from orchestrator.driver import Driver
    from workflows.api import Hooks


class Teller:
    """Turns the progress of one driver into figures, every so often."""

    def __init__(self, prepared: Prepared, paid: float, every_s: float) -> None:
        self._prepared = prepared
        self._paid = paid
        self._every_s = every_s
        self._last_s = float("-inf")
        self._rate = Rate()
        self.driver: Driver | None = None

    def figures(self, progress: Progress, *, always: bool = False) -> dict[str, Any] | None:
        """Return the figures where it is time to."""
        now = time.monotonic()
        if now - self._last_s < self._every_s and not always:
            return None
        self._last_s = now
        told = figures(
            progress,
            done_before=self._prepared.done,
            paid_before=self._paid,
            driver=self.driver,
        )
        return {**told, "rate": round(self._rate.of(now, progress.asks_done), 1)}

    def changes(self) -> list[Change]:
        """Return what became of endpoints since the last call."""
        return self.driver.gates.take_changes() if self.driver else []


class CrewTeller:
    """Sums up what a crew's drivers tell, for the hooks of the run."""

    def __init__(self, crew: Crew, prepared: Prepared, paid: float, hooks: Hooks) -> None:
        self._crew = crew
        self._prepared = prepared
        self._paid = paid
        self._hooks = hooks
        self._last_s = float("-inf")
        self._lost: set[int] = set()

    def tell(self, elapsed_s: float) -> None:
        """Tell how far they are, and who is gone."""
        if self._hooks.on_progress:
            self._hooks.on_progress(self.progress(elapsed_s))
        for member in self._crew.members:
            if member.lost and member.number not in self._lost:
                self._lost.add(member.number)
                self._tell_lost(member)
        events = self._hooks.events
        if events is not None and elapsed_s - self._last_s >= PROGRESS_EVERY_S:
            self._last_s = elapsed_s
            events.emit("progress", **of_run(self._prepared, self._crew.figures()))

    def progress(self, elapsed_s: float) -> Progress:
        """Return the progress of all drivers together."""
        told = self._crew.figures()
        return Progress(
            sessions=self._prepared.sessions,
            sessions_done=self._prepared.done + told["sessions_done"],
            asks_done=told["asks"],
            replies_failed=told["failed"],
            attempts=told["attempts"],
            in_flight=told["in_flight"],
            paid=self._paid + told["paid"],
            elapsed_s=elapsed_s,
        )

    def _tell_lost(self, member: Member) -> None:
        code = member.process.returncode or 0
        how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        message = (
            f"driver {member.number} died ({how}); its sessions are taken by the others, "
            "or by the same command again"
        )
        if self._hooks.on_note:
            self._hooks.on_note(message)
        if self._hooks.events is not None:
            self._hooks.events.emit("driver_lost", driver=member.number, message=message)


def of_run(prepared: Prepared, told: Mapping[str, Any]) -> dict[str, Any]:
    """Return figures with the sessions of the whole run in the place of a driver's own."""
    done = prepared.done + told["sessions_done"]
    left = {name: value for name, value in told.items() if name != "shards"}
    return {"sessions": prepared.sessions, **left, "sessions_done": done}
