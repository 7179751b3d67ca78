"""B13: how long the command takes to start, and what it does not import."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator

from benchmarks.measuring import ROOT, Figure, Result

HEAVY = (
    *("alembic", "litellm", "numpy", "openai", "psycopg", "ray", "scipy", "sklearn"),
    *("sqlalchemy", "sqlmodel", "torch"),
)
COMMAND = "import sys; sys.argv = ['moot', *{words!r}]; from workflows.cli import main; main()"
STARTS = (
    ("python -c pass", "pass", None),
    ("import protocols", "import protocols", 0.25),
    ("every name of protocols", "from protocols import *", None),
    ("moot --help", COMMAND.format(words=["--help"]), 0.5),
    ("moot list protocols", COMMAND.format(words=["list", "protocols"]), 0.7),
)
AFTERWARDS = (
    "\nimport atexit, sys"
    "\natexit.register(lambda: print('\\nLOADED', *sorted(sys.modules), file=sys.stderr))\n"
)


def seconds(code: str) -> float:
    """Return how long a fresh interpreter takes to run `code`."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=True)
    return time.perf_counter() - start


def heavy_modules(code: str) -> list[str]:
    """Return the heavy libraries that a fresh interpreter has imported after running `code`."""
    done = subprocess.run(
        [sys.executable, "-c", AFTERWARDS + code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = {name.partition(".")[0] for name in done.stderr.rpartition("LOADED")[2].split()}
    return sorted(loaded.intersection(HEAVY))


def measure(runs: int, *, quick: bool) -> Iterator[Result]:
    figures, loaded = [], {}
    for name, code, target in STARTS:
        loaded[name] = heavy_modules(code)  # writes the byte code as well
        figures.append(Figure(name, "s", [seconds(code) for _ in range(runs)], target))
        if target is not None:
            count = float(len(loaded[name]))
            figures.append(Figure(f"heavy libraries imported by {name}", "", [count], 0.0))
    notes = [f"not imported by any of them is what should not be: {', '.join(HEAVY)}"]
    notes += [f"{name} imports {', '.join(found)}" for name, found in loaded.items() if found]
    if any(loaded.values()):
        notes = notes[1:]
    yield Result("b13", "start, with byte code", "no store", figures, notes)
