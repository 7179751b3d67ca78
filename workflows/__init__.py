"""What users touch: workflows from Python, and the command ``moot``.

Names are imported when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from workflows.api import (
        Hooks,
        RunResult,
        compare,
        compare_async,
        compare_runs,
        replay,
        replay_async,
        run,
        run_async,
    )
    from workflows.branching import fork, fork_async, rejudge, rejudge_async
    from workflows.comparing.comparison import Comparison
    from workflows.comparing.table import Row
    from workflows.exports.frames import asks_df, replies_df, runs_df, sessions_df, verdicts_df
    from workflows.exports.inspect_solver import moot_solver
    from workflows.running.crossplay import Crossplay, read_crossplay, run_crossplay
    from workflows.running.stopping import run_until_decided
    from workflows.settings.configuration import Workflow, library_workflows, load_workflow
    from workflows.settings.schema import json_schema

__all__ = [
    "Comparison",
    "Crossplay",
    "Hooks",
    "Row",
    "RunResult",
    "Workflow",
    "asks_df",
    "compare",
    "compare_async",
    "compare_runs",
    "fork",
    "fork_async",
    "json_schema",
    "library_workflows",
    "load_workflow",
    "moot_solver",
    "read_crossplay",
    "rejudge",
    "rejudge_async",
    "replay",
    "replay_async",
    "replies_df",
    "run",
    "run_async",
    "run_crossplay",
    "run_until_decided",
    "runs_df",
    "sessions_df",
    "verdicts_df",
]

_HOMES = {
    "api": (
        *("Hooks", "RunResult", "compare", "compare_async", "compare_runs"),
        *("replay", "replay_async", "run", "run_async"),
    ),
    "comparing.comparison": ("Comparison",),
    "branching": ("fork", "fork_async", "rejudge", "rejudge_async"),
    "settings.configuration": ("Workflow", "library_workflows", "load_workflow"),
    "running.crossplay": ("Crossplay", "read_crossplay", "run_crossplay"),
    "exports.inspect_solver": ("moot_solver",),
    "exports.frames": ("asks_df", "replies_df", "runs_df", "sessions_df", "verdicts_df"),
    "settings.schema": ("json_schema",),
    "running.stopping": ("run_until_decided",),
    "comparing.table": ("Row",),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Import a public name from its module when it is first used."""
    if name not in _HOME:
        raise AttributeError(f"module 'workflows' has no attribute {name!r}")
    value = getattr(import_module(f"workflows.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
