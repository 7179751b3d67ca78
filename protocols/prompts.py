"""Prompts as named parts from template files.

A file ``protocols/templates/NAME.md`` holds sections, each opened by a line ``[[section]]``; a
section is a jinja2 template of one part. Only parameters and labels are rendered into it, never
questions, passages or replies: those are parts of their own, so that engines can reuse prefixes
and the store keeps each once. Rendered sections are cached, as the same few serve all sessions.

Every rendered part remembers its section and arguments (outside its identity), so that its words
can be replaced when the part is asked: see ``wording.py``.
"""

from __future__ import annotations

import re
from functools import cache, lru_cache
from importlib.resources import files
from typing import Any

from protocols.canonical import canonical_json, sha256_hex
from protocols.errors import ContractBroken
from protocols.messages import Part, Place, Source

_SECTION = re.compile(r"^\[\[(\w+)\]\]$", re.MULTILINE)

Argument = str | int | float | bool | tuple[str, ...] | None


@cache
def template_source(name: str) -> str:
    """Return the text of the template file `name`, without its ending."""
    return files("protocols").joinpath("templates", f"{name}.md").read_text(encoding="utf-8")


@cache
def templates_digest(names: tuple[str, ...]) -> str:
    """Return SHA-256 (hex) over the text of the template files `names`."""
    return sha256_hex(canonical_json([[name, template_source(name)] for name in names]))


@cache
def section_sources(name: str) -> dict[str, str]:
    """Return the text of every section of a template file."""
    pieces = _SECTION.split(template_source(name))
    return {section: body.strip() for section, body in zip(pieces[1::2], pieces[2::2], strict=True)}


@cache
def _sections(name: str) -> dict[str, Any]:
    """Return the compiled sections of a template file."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False
    )
    return {
        section: environment.from_string(body) for section, body in section_sources(name).items()
    }


@lru_cache(maxsize=4096)
def _render(template: str, section: str, **arguments: Argument) -> Part:
    sections = _sections(template)
    if section not in sections:
        raise ContractBroken(f"templates/{template}.md has no section [[{section}]]")
    text = sections[section].render(arguments)
    return Part(section, text, source=Source(template, section, tuple(sorted(arguments.items()))))


def prompt(template: str, section: str, **arguments: Argument) -> Part:
    """Return a section of a template file, rendered, as a part named like the section.

    Args:
        template: the file, without ending.
        section: the section in it.
        arguments: what the section mentions; a missing one is an error.
    """
    return _render(template, section, **arguments)


def headed(heading: Part, name: str, text: str, origin: Place | None) -> Part:
    """Return the part `name` that holds a rendered heading and `text` below it."""
    below = f"\n{text}"
    source = heading.source
    assert source is not None
    return Part(name, heading.text + below, origin=origin, source=source._replace(below=below))
