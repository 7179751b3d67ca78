"""Wording: the prompts of a protocol in a user's own words.

Every protocol takes ``prompts``: ``template.section`` -> the jinja2 text that stands in the place
of that section (``protocols/templates``), for example ``debate.judge_system``. They are parameters,
and so part of a session's identity; a session without them has the keys that it would have if
there were no such thing.

No protocol knows of them. A rendered part remembers its section and arguments, so the words are
exchanged where the asks leave the session (:func:`worded`): a function of the asks alone. Names,
origins and everything that is not such a part stay as they are.

A replacement may use the variables that the section of the file uses, jinja2's statements, tests
and filters; nothing that draws at random, and nothing that reaches out of the template.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from difflib import get_close_matches
from functools import cache, lru_cache
from typing import Any, TypeVar

from protocols.asks import Ask
from protocols.canonical import clean_text
from protocols.contract import Session
from protocols.errors import Mistake
from protocols.messages import Message, Part, Source
from protocols.prompts import section_sources
from protocols.tape import Finished, step

T = TypeVar("T")

_HEADING = re.compile(r"^\[\[([\w.]+)\]\]$", re.MULTILINE)
_RANDOM_FILTERS = ("random",)


def worded(session: Session[T], prompts: Mapping[str, str]) -> Session[T]:
    """Return `session` with every ask in the words of `prompts`; itself where there are none."""
    return _worded(session, dict(prompts)) if prompts else session


def _worded(session: Session[T], prompts: dict[str, str]) -> Session[T]:
    replies = None
    while True:
        asks = step(session, replies)
        if isinstance(asks, Finished):
            return asks.outcome
        replies = yield tuple([_reworded_ask(ask, prompts) for ask in asks])


def _reworded_ask(ask: Ask, prompts: Mapping[str, str]) -> Ask:
    messages = tuple(
        Message(message.speaker, tuple([_reworded(part, prompts) for part in message.parts]))
        for message in ask.messages
    )
    return replace(ask, messages=messages)


def _reworded(part: Part, prompts: Mapping[str, str]) -> Part:
    source = part.source
    text = None if source is None else prompts.get(f"{source.template}.{source.section}")
    if source is None or text is None:
        return part
    if part.origin is None:
        return _reworded_part(part.name, text, source)
    return replace(_reworded_part(part.name, text, source), origin=part.origin)


@lru_cache(maxsize=4096)
def _reworded_part(name: str, text: str, source: Source) -> Part:
    from jinja2 import TemplateError

    try:
        rendered = _compiled(text).render(dict(source.arguments))
    except (TemplateError, ArithmeticError, LookupError, TypeError, ValueError) as error:
        where = f"{source.template}.{source.section}"
        raise Mistake(f"prompts: {where} cannot be rendered here: {error}") from None
    return Part(name, rendered + source.below, source=source)


def check_prompts(prompts: Mapping[str, str], templates: Iterable[str]) -> None:
    """Check that every replacement has a section to replace and uses nothing that is not there.

    Args:
        prompts: ``template.section`` -> text.
        templates: the templates of the protocol.

    Raises:
        ValueError: one line on the first that does not fit.
    """
    known = {
        f"{template}.{section}": text
        for template in templates
        for section, text in section_sources(template).items()
    }
    for name, text in sorted(prompts.items()):
        if name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"choose one of {', '.join(known)}"
            raise ValueError(f"there is no prompt {name!r}; {hint}")
        _check_text(name, text, known[name])


def _check_text(name: str, text: str, original: str) -> None:
    from jinja2 import TemplateError, TemplateSyntaxError

    if not text.strip():
        raise ValueError(f"the prompt {name!r} is empty")
    try:
        _compiled(text)
        unknown = sorted(_variables(text) - _variables(original))
    except TemplateSyntaxError as error:
        raise ValueError(f"the prompt {name!r}, line {error.lineno}: {error.message}") from None
    except TemplateError as error:
        raise ValueError(f"the prompt {name!r}: {error}") from None
    if unknown:
        there = ", ".join(sorted(_variables(original))) or "none"
        raise ValueError(f"the prompt {name!r} has no variable {unknown[0]!r}; there is: {there}")


def flattened(prompts: object) -> object:
    """Return nested prompts, ``{debate: {judge_system: ...}}``, with dotted names."""
    if not isinstance(prompts, Mapping):
        return prompts
    flat: dict[str, object] = {}
    for name, value in prompts.items():
        if isinstance(value, Mapping):
            flat.update({f"{name}.{section}": text for section, text in value.items()})
        else:
            flat[str(name)] = value
    return {
        name: clean_text(text)[0].strip() if isinstance(text, str) else text
        for name, text in flat.items()
    }


def read_prompts(text: str) -> dict[str, str]:
    """Return the prompts of a file: each section opened by a line ``[[template.section]]``.

    Raises:
        ValueError: text stands before the first section, or a section stands twice.
    """
    before, *pieces = _HEADING.split(text)
    if before.strip() or not pieces:
        raise ValueError("open every section with a line such as [[debate.judge_system]]")
    names = pieces[0::2]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"the section [[{name}]] stands twice")
    return {name: body.strip() for name, body in zip(names, pieces[1::2], strict=True)}


@cache
def _environment() -> Any:
    from jinja2 import StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False
    )
    environment.globals.clear()
    for name in _RANDOM_FILTERS:
        environment.filters.pop(name, None)
    return environment


@lru_cache(maxsize=1024)
def _compiled(text: str) -> Any:
    return _environment().from_string(text.strip())


@lru_cache(maxsize=1024)
def _variables(text: str) -> frozenset[str]:
    """Return the variables that a template looks up."""
    from jinja2.meta import find_undeclared_variables

    return frozenset(find_undeclared_variables(_environment().parse(text)))
