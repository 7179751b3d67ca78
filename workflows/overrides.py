"""Dotted overrides: ``protocols[1].rounds=2``, ``pool=null``, ``experts."gpt-4.1".price=unknown``.

The path names keys, separated by dots, and places in lists, in square brackets from 0; a key with
a dot in it stands in quotes. The value is YAML.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

from protocols.errors import Mistake

_STEP = re.compile(
    r"""(?P<dot>\.?)(?:"(?P<double>[^"]+)"|'(?P<single>[^']+)'|\[(?P<index>\d{1,6})\]"""
    r"""|(?P<key>[^.\[\]"'=\s]+))"""
)

_PLAIN = re.compile(r"""[^.\[\]"'=\s]+""")

Step = str | int


def parse_override(text: str) -> tuple[tuple[Step, ...], Any]:
    """Return the path and the value of ``path=value``.

    Raises:
        Mistake: it has no ``=``, its path is malformed, or its value is not YAML.
    """
    steps: list[Step] = []
    place = 0
    while place < len(text) and text[place] != "=":
        step = _STEP.match(text, place)
        index = step and step["index"]
        if step is None or bool(step["dot"]) != (bool(steps) and not index):
            break
        steps.append(int(index) if index else step["double"] or step["single"] or step["key"])
        place = step.end()
    if place >= len(text) or text[place] != "=" or not steps or isinstance(steps[0], int):
        raise Mistake(
            f"{text!r} is not an override; write path=value, for example protocols[1].rounds=2"
        )
    try:
        return tuple(steps), yaml.safe_load(text[place + 1 :])
    except (yaml.YAMLError, ValueError, RecursionError):
        raise Mistake(f"{text!r}: the value is not YAML; put a text in quotes") from None


def apply_override(data: dict[str, Any], text: str) -> None:
    """Set in `data` what the override `text` says; mappings on the way are made where absent.

    Raises:
        Mistake: the override is malformed or its path leads through something else.
    """
    path, value = parse_override(text)
    place: Any = data
    for depth, step in enumerate(path):
        place = _descend(place, path, depth, text)
        if depth == len(path) - 1:
            place[step] = value
        elif isinstance(step, str) and place.get(step) is None:
            place[step] = {}
            place = place[step]
        else:
            place = place[step]


def _descend(place: Any, path: tuple[Step, ...], depth: int, text: str) -> Any:
    """Return `place` if step number `depth` of `path` can be taken from it."""
    step, here = path[depth], path_text(path[:depth])
    if isinstance(step, int):
        if not isinstance(place, list):
            raise Mistake(f"{text!r}: {here} is not a list")
        if step >= len(place):
            raise Mistake(f"{text!r}: {here} has {len(place)} entries, counted from 0")
    elif not isinstance(place, dict):
        raise Mistake(f"{text!r}: {here} is not a mapping, so it has no key {step!r}")
    return place


def path_text(path: tuple[Step, ...]) -> str:
    """Return a path as it is written: ``protocols[1].rounds``."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            mark = "" if _PLAIN.fullmatch(step) else "'" if '"' in step else '"'
            text += f"{'.' if text else ''}{mark}{step}{mark}"
    return text
