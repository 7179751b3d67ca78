"""What the children of the crew's tests do."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Mapping
from typing import Any

from orchestrator.crew import Line, on_stop


def count(task: Mapping[str, Any], line: Line) -> None:
    """Tell figures, print what must not get between the lines, and end well."""
    sys.stdout.write("a library prints this\n")
    line.say(figures={"asks": task["asks"], "rate": 1.0, "queues": {"e": 2}})
    line.say(event={"kind": "told", "path": sys.path[0]})
    line.say(ending="finished")


def trouble(task: Mapping[str, Any], line: Line) -> None:
    """Fail as the task says."""
    line.say(figures={"asks": 1})
    if task["how"] == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    elif task["how"] == "exits":
        os._exit(7)
    elif task["how"] == "raises":
        raise RuntimeError("out of order")
    elif task["how"] == "says so":
        line.say(error="no such engine")
    else:
        line.say(ending="finished")


def wait(task: Mapping[str, Any], line: Line) -> None:
    """Work until the parent says stop, or is gone; without end where the task says deaf."""
    told = threading.Event()
    on_stop(told.set)
    line.say(figures={"asks": 1, "pid": os.getpid()})
    told.wait()
    while task.get("deaf"):
        time.sleep(60)
    line.say(ending="stopped")
