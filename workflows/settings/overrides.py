"""Dotted overrides: ``protocols[1].rounds=2``, ``pool=null``, ``experts."gpt-4.1".price=unknown``.

The path names keys, separated by dots, and places in lists, in square brackets from 0; a key with
a dot in it stands in quotes. ``*`` in the place of a key is every key of a mapping, or every entry
of a list: ``experts.*=openai/gpt-4o-mini``. The value is YAML.
"""

from __future__ import annotations

import re
from copy import deepcopy
from typing import Any

import yaml

from protocols.errors import Mistake

_STEP = re.compile(
    r"""(?P<dot>\.?)(?:"(?P<double>[^"]+)"|'(?P<single>[^']+)'|\[(?P<index>\d{1,6})\]"""
    r"""|(?P<key>[^.\[\]"'=\s]+))"""
)

_PLAIN = re.compile(r"""[^.\[\]"'=\s]+""")

EVERY = "*"
"""Every key of a mapping, or every entry of a list."""

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
    _assign(data, (), path, value, text)


def _assign(
    place: Any, walked: tuple[Step, ...], left: tuple[Step, ...], value: Any, text: str
) -> None:
    """Set the value at `left` from `place`, to which `walked` has led."""
    if left[0] == EVERY:
        for step in _all_steps(place, walked, text):
            _assign(place, walked, (step, *left[1:]), deepcopy(value), text)
        return
    step = left[0]
    place = _descend(place, (*walked, step), len(walked), text)
    if len(left) == 1:
        place[step] = value
        return
    if isinstance(step, str) and place.get(step) is None:
        place[step] = {}
    _assign(place[step], (*walked, step), left[1:], value, text)


def _all_steps(place: Any, walked: tuple[Step, ...], text: str) -> list[Step]:
    """Return what ``*`` stands for.

    Raises:
        Mistake: for nothing.
    """
    found: list[Step] = []
    if isinstance(place, (dict, list)):
        found = list(place) if isinstance(place, dict) else list(range(len(place)))
    if not found:
        raise Mistake(f"{text!r}: {path_text(walked) or 'the workflow'} has nothing for {EVERY!r}")
    return found


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
