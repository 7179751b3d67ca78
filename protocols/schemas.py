"""Reply schemas: from a pydantic class to the JSON schema that an ask carries, and back.

An ask's schema is canonical JSON. Providers that hold their models to a schema take a *strict*
one: every object names all its keys, requires them all and allows no others. So a field with a
default is required as well; one that may be missing is written as ``X | None``.

Source: the subset of JSON schema that OpenAI's structured outputs document; other providers take
the same subset.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from protocols.canonical import canonical_json
from protocols.errors import Mistake
from protocols.parsing import Unparsed
from protocols.replies import Reply

M = TypeVar("M", bound=BaseModel)

_PROSE = ("default", "discriminator", "examples", "title")
"""Keywords of a schema that hold nobody to anything."""


@lru_cache(maxsize=128)
def strict_schema(kind: type[BaseModel]) -> str:
    """Return the strict JSON schema of `kind` as canonical JSON, for ``Ask.schema``.

    Raises:
        Mistake: `kind` holds what a strict schema cannot say: keys that are not known beforehand,
            or a tuple whose places have kinds of their own.
    """
    return canonical_json(_strict(kind.model_json_schema(), kind.__name__))


def read_reply(reply: Reply, kind: type[M]) -> M | Unparsed:
    """Return the text of a reply as a `kind`, or why it is none; never a guess."""
    if reply.failure is not None:
        return Unparsed(f"the ask failed: {reply.failure.boundary}")
    try:
        return kind.model_validate_json(reply.text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(str(step) for step in first["loc"])
        return Unparsed(f"{place}: {first['msg']}" if place else str(first["msg"]))


def _strict(node: Any, where: str) -> Any:
    """Return a part of a schema in strict form."""
    if isinstance(node, list):
        return [_strict(part, where) for part in node]
    if not isinstance(node, dict):
        return node
    if "prefixItems" in node:
        raise Mistake(f"{where}: a tuple has no strict schema; write a class with named fields")
    if node.get("type") == "object" and "properties" not in node:
        raise Mistake(f"{where}: a mapping of any keys has no strict schema; name the keys")
    strict: dict[str, Any] = {}
    for name, part in node.items():
        if name in ("properties", "$defs"):
            strict[name] = {key: _strict(inner, f"{where}.{key}") for key, inner in part.items()}
        elif name in ("enum", "const"):
            strict[name] = part
        elif name not in _PROSE:
            strict["anyOf" if name == "oneOf" else name] = _strict(part, where)
    if "properties" in node:
        strict["required"] = sorted(node["properties"])
        strict["additionalProperties"] = False
    return strict
