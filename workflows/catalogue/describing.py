"""What a protocol says about itself: its price, its parameters and its notes, read off its code."""

from __future__ import annotations

import ast
import inspect
import re
import sys
import textwrap
import types
from functools import cache
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin

from pydantic import BaseModel

from protocols.contract import Protocol

_PRICE = re.compile(r"\bPrice[^:.]*:\s+(.+?)(?:\.(?=\s|$)|$)", re.DOTALL)
_ROLE = re.compile(r":\w+:`~?([^`]+)`")


class Parameter(NamedTuple):
    """A parameter of a protocol."""

    name: str
    takes: str
    """What it may be: ``int``, ``cut | reask | accept``..."""
    default: Any
    """As JSON."""
    about: str
    """Its docstring, in one line."""


def price_of(cls: type[Protocol]) -> str:
    """Return how many asks a session takes, as the protocol's docstring says; else nothing."""
    for text in (own_doc(cls), module_doc(cls)):
        found = _PRICE.search(text)
        if found:
            return plain(found[1])
    return ""


def parameters_of(cls: type[Protocol]) -> tuple[Parameter, ...]:
    """Return the parameters with their defaults, those that all protocols share last."""
    abouts: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        if issubclass(base, BaseModel) and base.__module__ != "pydantic.main":
            abouts.update({name: about for name, about in _field_docs(base).items() if about})
    defaults = cls().model_dump(mode="json")
    shared = set(Protocol.model_fields)
    names = sorted(cls.model_fields, key=lambda name: name in shared)
    return tuple(
        Parameter(name, _takes(field.annotation), defaults[name], abouts.get(name, ""))
        for name in names
        for field in (cls.model_fields[name],)
    )


def own_doc(cls: type[Protocol]) -> str:
    """Return the docstring of a protocol's class."""
    return inspect.cleandoc(cls.__doc__ or "")


def module_doc(cls: type[Protocol]) -> str:
    """Return the docstring of the file that a protocol stands in."""
    return inspect.cleandoc(sys.modules[cls.__module__].__doc__ or "")


def plain(text: str) -> str:
    """Return a docstring's text in one line, without markup."""
    return " ".join(_ROLE.sub(r"\1", text).replace("`", "").split())


@cache
def _field_docs(cls: type[Any]) -> dict[str, str]:
    """Return the docstring below each field that a class declares itself."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(cls)))
    except (OSError, TypeError, SyntaxError):
        return {}
    body = tree.body[0].body if isinstance(tree.body[0], ast.ClassDef) else []
    found: dict[str, str] = {}
    for field, below in zip(body, [*body[1:], ast.Pass()], strict=True):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            held = below.value if isinstance(below, ast.Expr) else None
            text = held.value if isinstance(held, ast.Constant) else ""
            found[field.target.id] = plain(text) if isinstance(text, str) else ""
    return found


def _takes(annotation: Any) -> str:
    """Return what a parameter may be, in words of a workflow file."""
    origin = get_origin(annotation)
    arguments = get_args(annotation)
    if origin is Literal:
        return " | ".join(str(value) for value in arguments)
    if origin in (Union, types.UnionType):
        return " | ".join(dict.fromkeys(_takes(one) for one in arguments))
    if origin is tuple:
        return f"list of {_takes(arguments[0])}" if arguments else "list"
    if origin is dict:
        return f"mapping to {_takes(arguments[1])}"
    if origin is not None and arguments:
        return _takes(arguments[0])
    if annotation is type(None):
        return "null"
    named = {str: "text", bool: "true | false", float: "number", int: "int"}
    if isinstance(annotation, type):
        return named.get(annotation, "mapping")
    return str(annotation)
