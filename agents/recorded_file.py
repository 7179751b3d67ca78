"""Recorded answers of real models: the reader of ``questions*.jsonl``.

A file holds one JSON object a line: ``id, source, kind`` (``mcq``, ``numeric`` or ``text``),
``category, subject, question, options, gold``, and by model ``answers`` (null: no answer could be
read in the recorded text), ``correct`` (0 or 1, as the source scored it) and ``chars`` (length of
the recorded text). A model that is absent from ``answers`` is unavailable for that question; a row
without ``answers`` holds correctness only. Files may be compressed with gzip.

Questions and their answer key leave this module apart: :meth:`RecordedFile.question` never holds
the gold answer, :attr:`RecordedFile.gold` holds nothing else.
"""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TypeVar

from agents.recorded_row import RecordedQuestion, read_row, reason
from protocols.canonical import canonical_json, sha256_hex
from protocols.errors import Mistake
from protocols.question import Question

V = TypeVar("V")

_FILES_KEPT = 8


@dataclass(frozen=True, eq=False)
class RecordedFile:
    """A file of recorded answers."""

    path: Path
    rows: tuple[RecordedQuestion, ...]
    """In the order of the file."""
    questions: Mapping[str, Question]
    """By id, without gold, in the order of the file."""
    digest: str
    """SHA-256 (hex) over the file's content, decompressed."""

    @cached_property
    def models(self) -> tuple[str, ...]:
        """Every model that is found in answers or flags, sorted."""
        return tuple(sorted({*self.answers, *self.flags}))

    @cached_property
    def correctness_only(self) -> bool:
        """Whether no row holds answers."""
        return all(row.answers is None for row in self.rows)

    @cached_property
    def gold(self) -> dict[str, str]:
        """The answer key: gold answers by question id, as written."""
        return {row.id: row.gold for row in self.rows}

    @cached_property
    def answers(self) -> dict[str, dict[str, str | None]]:
        """Recorded answers by model and question id; a missing pair is unavailable."""
        return _by_model((row.id, row.answers) for row in self.rows)

    @cached_property
    def flags(self) -> dict[str, dict[str, int]]:
        """The source's own scores, 0 or 1, by model and question id."""
        return _by_model((row.id, row.correct) for row in self.rows)

    def question(self, row: RecordedQuestion) -> Question:
        """Return the question of a row, without its gold answer."""
        return self.questions[row.id]

    def find(self, text: str, options: str, question_id: str) -> RecordedQuestion | None:
        """Return the row that a prompt is about.

        Args:
            text: the prompt's part ``question``.
            options: its part ``options``, "" where there is none.
            question_id: decides where several rows have the same content.
        """
        rows = self._index.get((text, options), ())
        if len(rows) == 1:
            return rows[0]
        return next((row for row in rows if row.id == question_id), None)

    def revision(self, model: str) -> str:
        """Return the identity of a model's column: 16 hexadecimal digits.

        SHA-256 over the sorted (content, answer, flag) of its rows; neither the order of the
        rows nor their ids, categories and sources change it.
        """
        if model not in self._revisions:
            self._revisions[model] = self._revision(model)
        return self._revisions[model]

    @cached_property
    def _revisions(self) -> dict[str, str]:
        """Those that were asked for."""
        return {}

    def _revision(self, model: str) -> str:
        entries = []
        for row, content in zip(self.rows, self._contents, strict=True):
            answered = row.answers is not None and model in row.answers
            flag = None if row.correct is None else row.correct.get(model)
            if answered or flag is not None:
                entries.append(
                    canonical_json([content, answered, (row.answers or {}).get(model), flag])
                )
        return sha256_hex(canonical_json(sorted(entries)))[:16]

    @cached_property
    def _index(self) -> dict[tuple[str, str], tuple[RecordedQuestion, ...]]:
        """The rows by what a prompt shows of them."""
        index: dict[tuple[str, str], tuple[RecordedQuestion, ...]] = {}
        for row in self.rows:
            question = self.questions[row.id]
            key = (question.text_part.text, question.options_part.text)
            index[key] = (*index.get(key, ()), row)
        return index

    @cached_property
    def _contents(self) -> tuple[str, ...]:
        """One digest a row, over the text and the options."""
        return tuple(sha256_hex(canonical_json([r.question, list(r.options)])) for r in self.rows)


def read_recorded(path: str | Path) -> RecordedFile:
    """Read a file of recorded answers; it is read again only when it has changed.

    Raises:
        Mistake: the file is missing, unreadable or empty, a line is malformed (named with its
            number), or an id stands twice.
    """
    place = Path(path).expanduser().absolute()
    try:
        stamp = place.stat()
    except OSError as error:
        raise Mistake(f"{path}: {error.strerror or error}; check the path") from None
    return _read(place, stamp.st_mtime_ns, stamp.st_size)


@lru_cache(maxsize=_FILES_KEPT)
def _read(path: Path, mtime_ns: int, size: int) -> RecordedFile:
    """Read the file; time and size are there for the cache."""
    rows: list[RecordedQuestion] = []
    questions: dict[str, Question] = {}
    lines: dict[str, int] = {}
    content = _content(path)
    for number, raw in enumerate(content.removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
        if not raw.strip():
            continue
        try:
            row, question = read_row(raw)
            if row.id in lines:
                raise ValueError(f"the id {row.id!r} stands on line {lines[row.id]} already")
        except (ValueError, RecursionError) as error:
            raise Mistake(f"{path}, line {number}: {reason(error)}") from None
        lines[row.id] = number
        rows.append(row)
        questions[row.id] = question
    if not rows:
        raise Mistake(f"{path}: holds no question; each line is one JSON object")
    return RecordedFile(path, tuple(rows), questions, hashlib.sha256(content).hexdigest())


def _content(path: Path) -> bytes:
    """Return the file's bytes, decompressed where it starts like a gzip file."""
    try:
        content = path.read_bytes()
        return gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise Mistake(f"{path}: the gzip data is damaged; copy the file again") from None
    except OSError as error:
        raise Mistake(f"{path}: cannot be read: {error.strerror or error}") from None


def _by_model(
    columns: Iterable[tuple[str, Mapping[str, V] | None]],
) -> dict[str, dict[str, V]]:
    """Turn (id, values by model) into values by model and id."""
    result: dict[str, dict[str, V]] = {}
    for question, values in columns:
        for model, value in (values or {}).items():
            result.setdefault(model, {})[question] = value
    return result
