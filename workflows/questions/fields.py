"""A user's own rows: which field holds what, and what a gold answer means.

Nothing is guessed: a gold answer that could mean two options is a mistake, as is one that means
none.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, get_args

from pydantic import ValidationError

from agents.settings import suggestion
from protocols.errors import Mistake
from protocols.parsing import canonical_answer
from protocols.question import LABELS, Question, QuestionKind
from workflows.questions.sources import Row
from workflows.settings.sections import FieldMap


@dataclass(frozen=True, slots=True)
class Item:
    """A question with its gold answer, which part ways right after loading."""

    question: Question
    gold: str | None
    """In canonical form; None where the file has none."""
    at: str
    """``FILE:LINE``."""


def make_question(at: str, **values: Any) -> Question:
    """Return a question; what is wrong with it names the line `at`.

    Raises:
        Mistake: the values do not make a question.
    """
    try:
        return Question(**values)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        text = first["msg"].removeprefix("Value error, ")
        where = ".".join(str(step) for step in first["loc"])
        raise Mistake(f"{at}: {where + ': ' if where else ''}{text}") from None


def text_field(row: Row, name: str, *, needed: bool = True) -> str:
    """Return a field as text; numbers count as their text, null and absence as "".

    Raises:
        Mistake: the field is no text, or is needed and absent.
    """
    value = row.values.get(name)
    if isinstance(value, str):
        text = value
    elif isinstance(value, (bool, int, float)):
        text = str(value)
    elif value is None:
        text = ""
    else:
        raise Mistake(f"{row.at}: {name!r} is not text")
    if needed and not text.strip():
        raise Mistake(f"{row.at}: no {name!r}; every question needs one")
    return text


def option_at(at: str, position: object, options: Sequence[str]) -> str:
    """Return the label of the option at `position`, counted from 0.

    Raises:
        Mistake: there is no such option.
    """
    if type(position) is int and 0 <= position < len(options):
        return LABELS[position]
    raise Mistake(f"{at}: gold {position!r} is not among the {len(options)} options")


def own_items(rows: Sequence[Row], fields: FieldMap | None) -> list[Item]:
    """Return the questions of a user's own rows.

    Args:
        rows: at least one.
        fields: where they hold what; fields that are not named are looked for under their names.

    Raises:
        Mistake: a named field is absent, a question is malformed, or a gold answer is not among
            the options.
    """
    columns = _columns(rows[0], fields or FieldMap())
    has_gold = any(_value(row, columns.get("gold")) is not None for row in rows)
    options = [_options(row, columns.get("options")) for row in rows]
    free_kind = _free_kind(rows, columns, options)
    items = []
    for row, texts in zip(rows, options, strict=True):
        kind = _kind(row, columns.get("kind"), "choice" if texts else free_kind)
        optional = {
            name: text_field(row, column, needed=False)
            for name in ("passage", "subject", "category", "cluster")
            if (column := columns.get(name)) is not None
        }
        question = make_question(
            row.at,
            id=text_field(row, columns["id"]),
            text=text_field(row, columns["text"]),
            options=texts,
            kind=kind,
            **{k: v for k, v in optional.items() if v},
        )
        gold = _gold(row, columns["gold"], question) if has_gold else None
        items.append(Item(question, gold, row.at))
    return items


def _columns(row: Row, fields: FieldMap) -> dict[str, Any]:
    """Return the column (or columns) of each thing that the rows hold."""
    named: dict[str, Any] = fields.model_dump(exclude_none=True)
    for name, column in named.items():
        for one in (column,) if isinstance(column, str) else column:
            if one not in row.values:
                hint = suggestion(one, map(str, row.values))
                raise Mistake(f"{row.at}: no field {one!r} (questions.fields.{name}); {hint}")
    for name in FieldMap.model_fields:
        if name not in named and name in row.values:
            named[name] = name
    if "text" not in named and "question" in row.values:
        named["text"] = "question"
    for name in ("id", "text"):
        if name not in named:
            hint = ", ".join(map(str, row.values))
            raise Mistake(
                f"{row.at}: no field {name!r}; say with questions.fields.{name} which of these "
                f"holds it: {hint}"
            )
    return named


def _value(row: Row, column: str | None) -> object:
    value = None if column is None else row.values.get(column)
    return None if isinstance(value, str) and not value.strip() else value


def _options(row: Row, column: str | Sequence[str] | None) -> tuple[str, ...]:
    """Return the options of a row: from one field with a list, or from one field each."""
    if column is None:
        return ()
    if not isinstance(column, str):
        values = [_value(row, one) for one in column]
        while values and values[-1] is None:  # a row may have fewer options than columns
            values.pop()
    else:
        held = _value(row, column)
        if held is None:
            return ()
        values = _list(row, column, held)
    if any(value is None or isinstance(value, (dict, list)) for value in values):
        raise Mistake(f"{row.at}: an option is empty or no text (questions.fields.options)")
    return tuple(str(value) for value in values)


def _list(row: Row, column: str, held: object) -> list[Any]:
    """Return a list; a cell of a CSV file may hold one as JSON."""
    if isinstance(held, str):
        try:
            held = json.loads(held)
        except (ValueError, RecursionError):
            held = None
    if not isinstance(held, list):
        raise Mistake(
            f"{row.at}: {column!r} holds no list of options; give a JSON list, or name one field "
            "for each option in questions.fields.options"
        )
    return held


def _free_kind(
    rows: Sequence[Row], columns: dict[str, Any], options: Sequence[tuple[str, ...]]
) -> QuestionKind:
    """Return number if every gold answer to a question without options is one, else text."""
    golds = [
        text_field(row, columns["gold"], needed=False)
        for row, texts in zip(rows, options, strict=True)
        if not texts and columns.get("gold")
    ]
    numbers = bool(golds) and all(canonical_answer(gold, "number") for gold in golds)
    return "number" if numbers else "text"


def _kind(row: Row, column: str | None, otherwise: QuestionKind) -> QuestionKind:
    written = _value(row, column)
    if written is None:
        return otherwise
    for kind in get_args(QuestionKind):
        if written == kind:
            return kind  # type: ignore[no-any-return]
    raise Mistake(f"{row.at}: kind {written!r} is none of choice, number, text")


def _gold(row: Row, column: str, question: Question) -> str:
    """Return the gold answer in canonical form."""
    value = _value(row, column)
    if value is None:
        raise Mistake(f"{row.at}: no {column!r}, while other rows have a gold answer")
    if question.options:
        return _gold_option(row, value, question)
    gold = canonical_answer(text_field(row, column), question.kind)
    if gold is None:
        raise Mistake(f"{row.at}: gold {value!r} is no answer of kind {question.kind!r}")
    return gold


def options_meant(text: str, question: Question) -> set[str]:
    """Return the labels of the options that a gold answer could mean: by text, label or place."""
    meant = {
        label
        for label, option in zip(question.labels, question.options, strict=True)
        if option.strip() == text
    }
    label = canonical_answer(text, "choice") if len(text) <= 3 else None
    if label in question.labels:
        meant.add(label)
    if text.isascii() and text.isdigit() and len(text) <= 2 and int(text) < len(question.options):
        meant.add(question.labels[int(text)])
    return meant


def _gold_option(row: Row, value: object, question: Question) -> str:
    """Return the label that `value` means: by an option's text, its label, or its place."""
    text = str(value).strip()
    meant = options_meant(text, question)
    if len(meant) > 1:
        raise Mistake(
            f"{row.at}: gold {text!r:.60} could mean {' or '.join(sorted(meant))}; write the label"
        )
    if not meant:
        raise Mistake(
            f"{row.at}: gold {text!r:.60} is not among the options; write its label "
            f"({question.labels[0]} to {question.labels[-1]}), its text or its place from 0"
        )
    return meant.pop()
