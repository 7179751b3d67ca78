"""One line of recorded answers: a question, its gold answer and what each model said.

The fields are described in :mod:`agents.recorded_file`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from pydantic import ValidationError

from protocols.canonical import clean_text
from protocols.question import Question, QuestionKind

KINDS: dict[str, QuestionKind] = {"mcq": "choice", "numeric": "number", "text": "text"}
"""The schema's kinds and ours."""


@dataclass(frozen=True, slots=True)
class RecordedQuestion:
    """One line of a file, its texts cleaned of NUL and lone surrogates."""

    id: str
    source: str
    kind: QuestionKind
    category: str
    subject: str
    question: str
    options: tuple[str, ...]
    """Empty where the question has none."""
    gold: str
    """As written; :func:`agents.grading.grade` compares it."""
    answers: Mapping[str, str | None] | None
    """By model; None for a row that holds correctness only."""
    correct: Mapping[str, int] | None
    """By model, 0 or 1; None where the source has no flags."""
    chars: Mapping[str, int] | None
    """By model: characters of the whole recorded text."""
    metric: str | None
    """The scoring rule that the source names."""


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON value")


_decode = json.JSONDecoder(parse_constant=_refuse_constant).decode


def read_row(raw: bytes) -> tuple[RecordedQuestion, Question]:
    """Return one line as a row and its question, which does not hold the gold answer.

    Raises:
        ValueError: the line is malformed; :func:`reason` says how.
    """
    data = _decode(raw.decode())
    if not isinstance(data, dict):
        raise ValueError("is not a JSON object")
    if b"\\u" in raw:
        data = _cleaned(data)
    written = data.get("kind")
    if not isinstance(written, str) or written not in KINDS:
        raise ValueError(f"'kind' is one of {', '.join(KINDS)}, not {written!r:.40}")
    row = RecordedQuestion(
        id=_string(data, "id"),
        source=_string(data, "source", default=""),
        kind=KINDS[written],
        category=_string(data, "category", default=""),
        subject=_string(data, "subject", default=""),
        question=_string(data, "question"),
        options=_options(data.get("options")),
        gold=_string(data, "gold"),
        answers=_column(data, "answers", _answer),
        correct=_column(data, "correct", _flag),
        chars=_column(data, "chars", _count),
        metric=_string(data, "metric", default="") or None,
    )
    if row.answers is None and row.correct is None:
        raise ValueError("has neither 'answers' nor 'correct'")
    question = Question(
        id=row.id,
        text=row.question,
        options=row.options,
        kind=row.kind,
        category=row.category,
        subject=row.subject,
    )
    return row, question


def _string(data: Mapping[str, Any], name: str, *, default: str | None = None) -> str:
    value = data.get(name)
    if value is None and default is not None:
        return default
    if value is None:
        raise ValueError(f"{name!r} is missing")
    text = _answer(value)
    if not isinstance(text, str):
        raise ValueError(f"{name!r} is not text")
    return text


def _options(value: object) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(option, str) for option in value):
        raise ValueError("'options' is neither null nor a list of texts")
    return tuple(value)


def _column(
    data: Mapping[str, Any], name: str, read: Callable[[object], Any]
) -> dict[str, Any] | None:
    """Return the mapping from models that `name` holds, each value read by `read`."""
    column = data.get(name)
    if column is None:
        return None
    if not isinstance(column, dict):
        raise ValueError(f"{name!r} is neither null nor an object of models")
    values = {}
    for model, value in column.items():
        try:
            values[model] = read(value)
        except ValueError as error:
            raise ValueError(f"{name!r} of {model!r} {error}") from None
    if name == "answers":
        return values
    return {model: value for model, value in values.items() if value is not None}


def _answer(value: object) -> str | None:
    """Read a text or null; a number counts as its text."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)
    raise ValueError("is neither text nor null")


def _flag(value: object) -> int | None:
    if value is None or (isinstance(value, (int, float)) and value in (0, 1)):
        return None if value is None else int(value)
    raise ValueError("is neither 0 nor 1")


def _count(value: object) -> int | None:
    if value is None or (isinstance(value, int) and value >= 0):
        return value
    raise ValueError("is not a length")


def _cleaned(value: Any) -> Any:
    """Return decoded JSON with every text and key cleaned."""
    if isinstance(value, str):
        return clean_text(value)[0]
    if isinstance(value, list):
        return [_cleaned(item) for item in value]
    if isinstance(value, dict):
        return {clean_text(key)[0]: _cleaned(item) for key, item in value.items()}
    return value


def reason(error: Exception) -> str:
    """Return what is wrong with a line, in one line."""
    if isinstance(error, ValidationError):
        return str(error.errors()[0]["msg"]).removeprefix("Value error, ")
    if isinstance(error, UnicodeDecodeError):
        return "is not UTF-8 text"
    if isinstance(error, json.JSONDecodeError):
        return f"is not valid JSON: {error.msg} at column {error.colno}"
    if isinstance(error, RecursionError):
        return "is nested too deeply"
    return str(error)
