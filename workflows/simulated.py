"""Experts that are simulated, and the words that say so wherever their results are shown."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orchestrator.store import RunRow


def simulated_experts(roster: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    """Return the labels of the experts whose revisions a rule makes up, sorted.

    Args:
        roster: experts as JSON, as a run's configuration keeps them. They are not read as experts,
            so that a table can be made of runs whose other experts this version does not know.
    """
    from agents.offline_reviser import REVISER

    return tuple(sorted(expert["label"] for expert in roster if expert["model"] == REVISER))


def simulated_in(run: RunRow) -> tuple[str, ...]:
    """Return the labels of the simulated experts that a run was made with."""
    return simulated_experts(json.loads(run.config_json).get("roster", ()))


def simulated_among(
    labels: Sequence[str], cast: Mapping[str, Sequence[str]], turns: Sequence[Sequence[Any]]
) -> list[str]:
    """Return which of a run's simulated experts take part in one session.

    Args:
        labels: the simulated experts of the run.
        cast: role -> experts; a team stands there under its own name.
        turns: the asks of the session, turn by turn, each with its ``expert``.
    """
    there = {expert for experts in cast.values() for expert in experts}
    there |= {ask["expert"] for turn in turns for ask in turn}
    return [label for label in labels if label in there]


def simulated_line(labels: Sequence[str]) -> str:
    """Say in one line who is simulated, and how."""
    from agents.offline_reviser import REVISER

    return (
        f"simulated: {', '.join(labels)} ({REVISER}): recorded first answers, revised by a rule, "
        "not by a model"
    )
