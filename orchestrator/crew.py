"""A crew: several driver processes of one command.

The parent starts each child with the interpreter and the import path of its own, and hands it its
task as one line on standard input: nothing of it stands on a command line. Children answer with
JSON lines. A child that finds its standard input closed stops as on Ctrl-C, so that none outlives
its parent; what it holds is unlocked when it is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from threading import Thread
from typing import Any, TextIO

from orchestrator.heartbeat import summed

BOOT = (
    "import json, sys; task = json.loads(sys.stdin.readline()); sys.path[:] = task['path']; "
    "from orchestrator.crew import be_child; be_child(task)"
)
STOP = "stop\n"
LONGEST_LINE = 16 * 2**20
"""Bytes of a child's line: progress with thousands of experts fits."""


@dataclass(slots=True)
class Member:
    """A child, as its parent knows it."""

    number: int
    """From 1."""
    process: asyncio.subprocess.Process
    figures: dict[str, Any] = field(default_factory=dict)
    """Its last progress."""
    ending: str | None = None
    """How it ended, as it says itself; None where it died or failed."""
    error: str = ""
    """What it says went wrong."""

    @property
    def lost(self) -> bool:
        """Whether it is gone without a word."""
        return self.process.returncode is not None and self.ending is None and not self.error


class Crew:
    """Runs one child for each task and listens to them all.

    Args:
        entry: ``module:function``, called in a child with its task and its :class:`Line`.
        on_line: hears what a child says that the crew does not know: its number, and the line.
    """

    def __init__(self, entry: str, on_line: Callable[[int, dict[str, Any]], None]) -> None:
        self._entry = entry
        self._on_line = on_line
        self._stopping = False
        self.members: list[Member] = []

    async def run(self, tasks: Sequence[Mapping[str, Any]]) -> None:
        """Start a child for each task, and wait until all are gone; kills them if cancelled."""
        try:
            for number, task in enumerate(tasks, 1):
                self.members.append(await self._start(number, task))
            if self._stopping:
                self.stop()
            await asyncio.gather(*[self._listen(member) for member in self.members])
        finally:
            for member in self.members:
                if member.process.returncode is None:
                    with contextlib.suppress(ProcessLookupError):
                        member.process.kill()
                    await member.process.wait()

    def stop(self) -> None:
        """Let each child finish what is in flight and end."""
        self._stopping = True
        for member in self.members:
            pipe = member.process.stdin
            if pipe is not None and not pipe.is_closing():
                pipe.write(STOP.encode())

    def figures(self) -> dict[str, Any]:
        """Return the progress of all children together."""
        return summed([member.figures for member in self.members])

    async def _start(self, number: int, task: Mapping[str, Any]) -> Member:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            "-c",
            BOOT,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=LONGEST_LINE,
        )
        assert process.stdin is not None
        line = json.dumps({"path": sys.path, "entry": self._entry, "task": dict(task)})
        with contextlib.suppress(ConnectionError):  # it died already, which its listener finds
            process.stdin.write(line.encode() + b"\n")
            await process.stdin.drain()
        return Member(number, process)

    async def _listen(self, member: Member) -> None:
        assert member.process.stdout is not None
        async for raw in member.process.stdout:
            said = json.loads(raw)
            if "figures" in said:
                member.figures = said["figures"]
            if "ending" in said:
                member.ending = said["ending"]
            elif "error" in said:
                member.error = said["error"]
            self._on_line(member.number, said)
        await member.process.wait()


class Line:
    """A child's line to its parent."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def say(self, **said: Any) -> None:
        """Send a line; a parent that is gone hears nothing."""
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(json.dumps(said) + "\n")
            self._stream.flush()


def be_child(task: Mapping[str, Any]) -> None:
    """Do a task as a child process: what `BOOT` calls."""
    line = Line(os.fdopen(os.dup(1), "w", encoding="utf-8"))
    os.dup2(2, 1)  # what libraries print must not come between the lines
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal sends it to all; the parent tells
    module, _, name = task["entry"].partition(":")
    getattr(import_module(module), name)(task["task"], line)


def on_stop(stop: Callable[[], None]) -> None:
    """Have `stop` called, in a thread of its own, when the parent says so or is gone."""

    def listen() -> None:
        sys.stdin.readline()
        stop()

    Thread(target=listen, name="moot-parent", daemon=True).start()
