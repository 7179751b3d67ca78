"""How the runs of a page were made: configuration, versions, seeds, and the commands to repeat."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from workflows.page.material import Material
from workflows.page.parts import DASH, Made, Table

_UNSAID = ("store",)
"""What says where a run is kept on somebody's machine, and nothing about it."""
_PASSWORD = re.compile(r"(?<=://)([^/@\s:]*):[^/@\s]*@")


def made_of(materials: Sequence[Material]) -> Made:
    """Return how runs were made."""
    names = list(dict.fromkeys(name for one in materials for name in one.run.packages))
    rows = tuple(
        (name, *(str(one.run.packages.get(name, DASH)) for one in materials))
        for name in sorted(names)
    )
    revision = ("moot's revision", *(one.run.code_revision or DASH for one in materials))
    seeds = "; ".join(_seeds(one) for one in materials)
    return Made(
        configurations=tuple((one.name, configuration(one.config)) for one in materials),
        versions=Table(
            "Versions", ("package", *(one.name for one in materials)), (revision, *rows), 2
        ),
        commands=tuple(_commands(materials)),
        seeds=f"{seeds}. Bootstraps, permutations and the choice of transcripts: seed 0.",
    )


def configuration(config: Mapping[str, Any]) -> str:
    """Return a resolved configuration as YAML, without passwords and without what is not set."""
    import yaml

    told = _set({name: value for name, value in config.items() if name not in _UNSAID})
    text = yaml.safe_dump(told, sort_keys=False, allow_unicode=True, width=100)
    return _PASSWORD.sub(r"\1:***@", str(text))


def _set(value: Any) -> Any:
    """Return JSON without members that are not set or empty."""
    if isinstance(value, dict):
        found = {name: _set(member) for name, member in value.items()}
        return {name: member for name, member in found.items() if member not in (None, {}, [])}
    return [_set(member) for member in value] if isinstance(value, list) else value


def _seeds(one: Material) -> str:
    questions = one.config.get("questions") or {}
    told = [] if one.config.get("seed") is None else [f"run {one.config['seed']}"]
    if questions.get("seed") is not None:
        told.append(f"questions {questions['seed']}")
    if (one.config.get("repeats") or 1) > 1:
        told.append(f"{one.config['repeats']} repeats")
    if not told:
        return f"{one.name}: nothing was drawn"
    return f"{one.name}: seed of the {', of the '.join(told)}"


def _commands(materials: Sequence[Material]) -> list[str]:
    """Return the commands that check the runs, and make this page again."""
    names = " ".join(one.name for one in materials)
    commands = [f"moot replay {one.name} --store STORE" for one in materials]
    commands += [f"moot show {one.name} --disagree --store STORE" for one in materials]
    verb = "report" if len(materials) == 1 else "compare"
    return [*commands, f"moot {verb} {names} --store STORE --html FILE"]
