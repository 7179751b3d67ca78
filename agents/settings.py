"""Reading what a user wrote: YAML files and checked settings, with one-line mistakes.

A message names the file, the path of the key and, for an unknown key, the nearest valid one. It
never repeats a value, which might be a secret that was put into the wrong place.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar, get_args, get_type_hints

from pydantic import BaseModel, ValidationError

from protocols.errors import Mistake

M = TypeVar("M", bound=BaseModel)

_UNKNOWN = ("extra_forbidden", "unexpected_keyword_argument")


def suggestion(word: str, known: Iterable[str]) -> str:
    """Say which of `known` was probably meant by `word`, or list them."""
    names = sorted(known)
    close = difflib.get_close_matches(word, names, n=1)
    if close:
        return f"did you mean {close[0]!r}?"
    shown = ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
    return f"known are: {shown}" if names else "there is none"


def checked(kind: type[M], data: object, where: str) -> M:
    """Return `data` as a `kind`.

    Args:
        kind: a pydantic model that forbids unknown keys.
        data: what the user wrote.
        where: file and key, as the message should name them.

    Raises:
        Mistake: one line for the first thing that is wrong.
    """
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        errors = error.errors(include_url=False, include_input=False)
        first = next((e for e in errors if e["type"] in _UNKNOWN), errors[0])
        raise Mistake(_message(kind, data, where, first)) from None


def read_yaml(path: str | Path) -> Any:
    """Return the content of a YAML file; a key that stands twice in one mapping is refused.

    Raises:
        Mistake: the file is missing, unreadable, not UTF-8 or not YAML.
    """
    import yaml

    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise Mistake(f"{path}: no such file; check the path") from None
    except OSError as error:
        raise Mistake(f"{path}: cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise Mistake(f"{path}: is not UTF-8 text; save it as UTF-8") from None
    try:
        loader = yaml.SafeLoader(text)
        try:
            node = loader.get_single_node()
            _refuse_double_keys(node)
            return None if node is None else loader.construct_document(node)
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = "" if mark is None else f", line {mark.line + 1}"
        problem = getattr(error, "problem", None) or "cannot be read"
        raise Mistake(f"{path}{line}: not valid YAML: {problem}") from None
    except RecursionError:
        raise Mistake(f"{path}: is nested too deeply") from None
    except ValueError as error:
        raise Mistake(f"{path}: a value cannot be read: {error}") from None


def _refuse_double_keys(node: Any) -> None:
    """Raise a YAML error where a mapping holds a key twice, of which YAML would keep the last."""
    import yaml

    seen_nodes: set[int] = set()
    waiting = [node]
    while waiting:
        node = waiting.pop()
        if id(node) in seen_nodes:
            continue
        seen_nodes.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            waiting.extend(node.value)
        elif isinstance(node, yaml.MappingNode):
            keys: set[str] = set()
            for key, value in node.value:
                if isinstance(key, yaml.ScalarNode) and key.value in keys:
                    raise yaml.MarkedYAMLError(
                        problem=f"the key {key.value!r} stands twice",
                        problem_mark=key.start_mark,
                    )
                keys.add(str(key.value))
                waiting.append(value)


def _message(kind: type[BaseModel], data: object, where: str, error: Any) -> str:
    """Return the one line for a validation error."""
    path = _path(data, error["loc"])
    if error["type"] in _UNKNOWN:
        key = str(error["loc"][-1])
        place = ".".join([where, *path[:-1]])
        return f"{place}: unknown key {key!r}; {suggestion(key, _keys(kind, path[:-1]))}"
    place = ".".join([where, *path])
    if error["type"] == "missing":
        return f"{place}: is missing; add it"
    text = error["msg"].removeprefix("Value error, ")
    return f"{place}: {text[:1].lower()}{text[1:]}"


def _path(data: object, location: tuple[str | int, ...]) -> list[str]:
    """Return a location without the names of union members, which are not keys of the user's."""
    path = []
    last = len(location) - 1
    for i, step in enumerate(location):
        if isinstance(data, Mapping):
            if step in data or i == last:
                path.append(str(step))
                data = data.get(step)
        elif isinstance(data, (list, tuple)) and isinstance(step, int):
            path.append(str(step))
            data = data[step] if step < len(data) else None
    return path


def _keys(kind: type[Any], path: list[str]) -> list[str]:
    """Return the valid keys of the structure at `path` inside `kind`."""
    if not path:
        if dataclasses.is_dataclass(kind):
            return [field.name for field in dataclasses.fields(kind) if field.init]
        return list(kind.model_fields)
    annotation = get_type_hints(kind).get(path[0])
    found: list[str] = []
    for inner in _structures(annotation):
        found.extend(_keys(inner, path[1:]))
    return found


def _structures(annotation: Any) -> Iterator[type[Any]]:
    """Yield the models and dataclasses that an annotation mentions."""
    if isinstance(annotation, type) and (
        dataclasses.is_dataclass(annotation) or issubclass(annotation, BaseModel)
    ):
        yield annotation
    for argument in get_args(annotation):
        yield from _structures(argument)
