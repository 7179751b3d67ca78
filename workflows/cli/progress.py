"""How far a run is, and how to stop it.

On a terminal a bar on standard error; elsewhere plain lines, every few seconds and one at the end.
The first Ctrl-C (or SIGTERM) lets the driver finish what is in flight; the second one aborts, and
what is recorded is kept all the same.
"""

from __future__ import annotations

import signal
import sys
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import typer

from workflows.cli.screen import say
from workflows.comparing.wording import are, counted_of

if TYPE_CHECKING:
    import asyncio

    from orchestrator.driver import Progress
    from orchestrator.events import EventLog
    from orchestrator.run import Prepared
    from workflows.api import Hooks
    from workflows.running.drivers import Stoppable

LINE_EVERY_S = 5.0
SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Watch:
    """Shows one run. A context manager: leaving it takes the bar away.

    Args:
        events: the file that its events are appended to, ``-`` for standard error.

    Raises:
        Mistake: that file cannot be written.
    """

    def __init__(self, events: str | None = None) -> None:
        self.prepared: Prepared | None = None
        self._events = _open_events(events)
        self._driver: Stoppable | None = None
        self._task: asyncio.Task[Any] | None = None
        self._stops = 0
        self._bar: Any = None
        self._last_line_s = 0.0
        self._notes: list[str] = []
        self._first: Progress | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._close()
        if self._events is not None:
            self._events.close()
        if self._stops > 1 and kind is not None:
            raise typer.Abort from None  # the cancelled task, told as what the user did

    def hooks(self) -> Hooks:
        """Return what the run is to call."""
        from workflows.api import Hooks

        return Hooks(
            on_prepared=self._on_prepared,
            on_progress=self._on_progress,
            on_driver=self._on_driver,
            on_note=self._on_note,
            events=self._events,
        )

    def _on_note(self, note: str) -> None:
        if self.prepared is None:
            self._notes.append(note)  # kept back, so that an error stands alone
        else:
            self._close()
            say(f"note: {note}")

    def _on_prepared(self, prepared: Prepared) -> None:
        import asyncio

        self._task = asyncio.current_task()
        loop = asyncio.get_running_loop()
        for number in SIGNALS:
            loop.add_signal_handler(number, self._on_signal)
        self.prepared = prepared
        for note in self._notes:
            say(f"note: {note}")
        say(introduction(prepared))

    def _on_driver(self, driver: Stoppable) -> None:
        self._driver = driver
        if self._stops:
            driver.stop()

    def _on_signal(self) -> None:
        self._stops += 1
        self._close()
        if self._stops == 1:
            say("stopping: what is in flight is finished and kept; once more aborts")
            if self._driver is not None:
                self._driver.stop()
        elif self._task is not None:
            self._task.cancel()

    def _on_progress(self, progress: Progress) -> None:
        self._first = self._first or progress
        if self._stops:
            return
        if sys.stderr.isatty():
            self._show_bar(progress)
        elif progress.elapsed_s - self._last_line_s >= LINE_EVERY_S:
            self._last_line_s = progress.elapsed_s
            say(
                f"{progress.sessions_done:,}/{counted_of(progress.sessions, 'session')}, "
                f"{self._text(progress)}"
            )

    def finish(self, progress: Progress) -> None:
        """Take the bar away and say how it ended."""
        self._close()
        if not progress.asks_done and not progress.attempts:
            return
        say(
            f"{progress.sessions_done:,}/{counted_of(progress.sessions, 'session')}, "
            f"{self._text(progress, left=False)}, {progress.elapsed_s:.1f} s"
        )

    def _text(self, progress: Progress, *, left: bool = True) -> str:
        """Return the figures beside the bar."""
        rate = progress.asks_done / progress.elapsed_s if progress.elapsed_s else 0.0
        words = [
            counted_of(progress.asks_done, "ask"),
            f"{rate:,.0f}/s",
            f"{progress.replies_failed:,} failed",
        ]
        done_before = self.prepared.done if self.prepared else 0
        if progress.paid:
            paid_before = self._first.paid if self._first else 0.0
            words.append(spend(progress, done_before, paid_before, predict=left))
        if left:
            words.append(time_left(progress, done_before))
        return ", ".join(words)

    def _show_bar(self, progress: Progress) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn
        from rich.progress import Progress as Bar

        count = f"{progress.sessions_done:,}/{progress.sessions:,}"
        text = self._text(progress)
        if self._bar is None:
            self._bar = Bar(
                BarColumn(bar_width=None),
                TextColumn("{task.fields[count]} sessions, {task.fields[text]}"),
                console=Console(stderr=True),
                transient=True,
                auto_refresh=False,
                expand=True,
            )
            self._bar.add_task("", total=progress.sessions, count=count, text=text)
            self._bar.start()
        self._bar.update(
            self._bar.task_ids[0],
            completed=progress.sessions_done,
            count=count,
            text=text,
            refresh=True,
        )

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def introduction(prepared: Prepared) -> str:
    """Say what a run keeps and what is new, before anything is spent."""
    difference = prepared.difference
    left = prepared.sessions - prepared.done
    name = f"run {prepared.name} (id {prepared.run_id})"
    if not prepared.resumed:
        return f"{name}: {counted_of(prepared.sessions, 'session')}"
    changed = difference.added or difference.superseded or difference.stale or difference.revived
    if changed:
        return (
            f"{name} is there already and the workflow changed: {difference.describe()}; "
            f"{counted_of(left, 'session')} to run"
        )
    if not left:
        every = counted_of(prepared.sessions, "session")
        whole = f"all {every} are" if prepared.sessions != 1 else "its session is"
        return f"{name} is there already and complete: {whole} kept"
    every = f"{counted_of(prepared.sessions, 'session')} {are(prepared.sessions)}"
    return f"resuming {name}: {prepared.done:,} of {every} done"


def spend(progress: Progress, done_before: int, paid_before: float, *, predict: bool) -> str:
    """Return what is spent, and what the whole run may cost: ``$0.31 of about $1.20``."""
    paid = f"${progress.paid:.2f}"
    done = progress.sessions_done - done_before
    if not predict or done <= 0 or progress.sessions_done >= progress.sessions:
        return paid
    each = (progress.paid - paid_before) / done
    whole = progress.paid + each * (progress.sessions - progress.sessions_done)
    return f"{paid} of about ${whole:.2f}"


def _open_events(path: str | None) -> EventLog | None:
    if path is None:
        return None
    from orchestrator.events import open_events

    return open_events(path, on_failure=lambda message: say(f"note: {message}"))


def time_left(progress: Progress, done_before: int) -> str:
    """Return the time left at the present rate: ``1:05 left``."""
    done = progress.sessions_done - done_before
    if done <= 0 or progress.elapsed_s <= 0:
        return "? left"
    left = progress.sessions - progress.sessions_done
    return f"{clock(left * progress.elapsed_s / done)} left"


def clock(seconds: float) -> str:
    """Return a length of time: ``1:05``, or ``2:01:05`` with hours."""
    hours, rest = divmod(round(seconds), 3600)
    minutes, rest = divmod(rest, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
