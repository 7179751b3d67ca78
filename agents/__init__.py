"""Experts: rosters, engines, recorded answers, skill profiles, and the worker that hosts engines.

This is moot's package. Another vendor's SDK has the same import name;
:func:`agents.worker.check_own_package` says which one was imported. Names are imported when they
are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agents.engine import Attempted, Capabilities, Engine, Throttled
    from agents.engines import capabilities_of, identify, make_engine, price_of
    from agents.grading import grade, graded_singles
    from agents.profiles import build_profile, profile_from_recorded
    from agents.recorded import RecordedEngine
    from agents.recorded_file import RecordedFile, read_recorded
    from agents.recorded_row import RecordedQuestion
    from agents.roster import Expert, Price, Roster, UnknownExpert
    from agents.scripted import ScriptedEngine
    from agents.worker import Worker, check_own_package

__all__ = [
    "Attempted",
    "Capabilities",
    "Engine",
    "Expert",
    "Price",
    "RecordedEngine",
    "RecordedFile",
    "RecordedQuestion",
    "Roster",
    "ScriptedEngine",
    "Throttled",
    "UnknownExpert",
    "Worker",
    "build_profile",
    "capabilities_of",
    "check_own_package",
    "grade",
    "graded_singles",
    "identify",
    "make_engine",
    "price_of",
    "profile_from_recorded",
    "read_recorded",
]

_HOMES = {
    "engine": ("Attempted", "Capabilities", "Engine", "Throttled"),
    "engines": ("capabilities_of", "identify", "make_engine", "price_of"),
    "grading": ("grade", "graded_singles"),
    "profiles": ("build_profile", "profile_from_recorded"),
    "recorded": ("RecordedEngine",),
    "recorded_file": ("RecordedFile", "read_recorded"),
    "recorded_row": ("RecordedQuestion",),
    "roster": ("Expert", "Price", "Roster", "UnknownExpert"),
    "scripted": ("ScriptedEngine",),
    "worker": ("Worker", "check_own_package"),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Import a public name from its module when it is first used."""
    if name not in _HOME:
        raise AttributeError(f"module 'agents' has no attribute {name!r}")
    value = getattr(import_module(f"agents.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
