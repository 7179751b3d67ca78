"""What every benchmark uses: processes of its own, clocks, figures, and their JSON."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from orchestrator.provenance import code_revision

ROOT = Path(__file__).resolve().parent.parent
RESULTS = Path(__file__).resolve().parent / "results"

Bound = Literal["at most", "at least"]


@dataclass(frozen=True)
class Figure:
    """One measured quantity, with its target if it has one."""

    name: str
    unit: str
    runs: list[float]
    target: float | None = None
    bound: Bound = "at most"

    @property
    def median(self) -> float:
        return statistics.median(self.runs)

    @property
    def met(self) -> bool | None:
        """Whether the median keeps the target; None where there is none."""
        if self.target is None:
            return None
        return self.median <= self.target if self.bound == "at most" else self.median >= self.target

    def as_json(self) -> dict[str, Any]:
        return {
            **asdict(self),
            "runs": [round(run, 4) for run in self.runs],
            "median": round(self.median, 4),
            "min": round(min(self.runs), 4),
            "max": round(max(self.runs), 4),
            "met": self.met,
        }


@dataclass(frozen=True)
class Result:
    """What a benchmark found."""

    name: str
    title: str
    persistence: str
    figures: list[Figure] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    tables: list[dict[str, Any]] = field(default_factory=list)
    """What is kept beside the figures."""

    def as_json(self, *, quick: bool) -> dict[str, Any]:
        tables = {"tables": self.tables} if self.tables else {}
        return {
            "benchmark": self.name,
            "title": self.title,
            "figures": [figure.as_json() for figure in self.figures],
            "persistence": self.persistence,
            "notes": self.notes,
            **tables,
            "quick": quick,
            "machine": machine(),
            "code_revision": code_revision(),
        }

    def write(self, folder: Path, *, quick: bool) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{self.name}.json"
        text = json.dumps(self.as_json(quick=quick), indent=2, ensure_ascii=False)
        path.write_text(text + "\n", encoding="utf-8")
        return path

    def table(self) -> str:
        """Return the figures as lines for people."""
        head = ("", "target", "median", "range", "runs", "met")
        rows = [head, *[_row(figure) for figure in self.figures]]
        widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
        lines = [f"{self.name.upper()}  {self.title}  [{self.persistence}]"]
        for row in rows:
            cells = [row[0].ljust(widths[0])]
            cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
            lines.append("  " + "  ".join(cells).rstrip())
        return "\n".join([*lines, *[f"  {note}" for note in self.notes]])


def _row(figure: Figure) -> tuple[str, ...]:
    sign = {"at most": "<=", "at least": ">="}[figure.bound]
    target = "" if figure.target is None else f"{sign} {_number(figure.target)}"
    low, high = min(figure.runs), max(figure.runs)
    return (
        f"{figure.name}, {figure.unit}" if figure.unit else figure.name,
        target,
        _number(figure.median),
        f"{_number(low)} - {_number(high)}",
        str(len(figure.runs)),
        {None: "", True: "yes", False: "NO"}[figure.met],
    )


def _number(value: float) -> str:
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    return f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:.3g}"


def machine() -> dict[str, Any]:
    """Describe this machine, without names of its own."""
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "platform": f"{platform.system()} {platform.machine()}",
    }


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


@dataclass
class Spent:
    """Seconds that passed, and seconds of processor time of this process, all threads."""

    wall: float = 0.0
    cpu: float = 0.0

    def per(self, count: int) -> dict[str, float]:
        """Return microseconds for each of `count`."""
        return {"wall": self.wall / count * 1e6, "cpu": self.cpu / count * 1e6}


@contextmanager
def clocks() -> Iterator[Spent]:
    """Time what is inside."""
    spent = Spent()
    wall, cpu = time.perf_counter(), time.process_time()
    try:
        yield spent
    finally:
        spent.wall, spent.cpu = time.perf_counter() - wall, time.process_time() - cpu


def fresh(function: str, **arguments: Any) -> dict[str, Any]:
    """Call ``module:function`` with JSON arguments in a process of its own; return its result."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.child", function, json.dumps(arguments)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def wall_and_cpu(
    name: str, unit: str, runs: Sequence[dict[str, float]], **more: Any
) -> Iterator[Figure]:
    """Yield two figures: by the clock on the wall, and in processor time."""
    for clock, words in (("wall", "wall clock"), ("cpu", "processor time")):
        yield Figure(f"{name} ({words})", unit, [run[clock] for run in runs], **more)
