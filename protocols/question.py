"""Questions: what is to be answered, without the answer.

A question never holds its gold answer. The answer key lives in ``workflows`` and is joined to
outcomes only when they are scored.
"""

from __future__ import annotations

from functools import cached_property, lru_cache
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, model_validator

from protocols.canonical import canonical_json, clean_text, json_string, sha256_hex
from protocols.messages import Part

QuestionKind = Literal["choice", "number", "text", "prose"]
LABELS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


class Question(BaseModel):
    """One question. Its text, options and passage are cleaned of NUL and lone surrogates."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    """Unique in its file."""
    text: str
    """What is asked."""
    options: tuple[str, ...] = ()
    """The options, labelled A, B, C... in this order; none where the answer is free."""
    kind: QuestionKind = "choice"
    """How answers are read and compared: an option's label, a number, text behind ``Answer:``, or
    (what a seat in another session is asked, see ``teams.py``) the whole reply."""
    passage: str | None = None
    """What only some roles may read."""
    category: str = ""
    """Coarse topic, for routing."""
    subject: str = ""
    """Finer topic, for routing."""
    cluster: str = ""
    """What repeats together (a story with several questions); the question's id when empty."""

    @model_validator(mode="before")
    @classmethod
    def _clean(cls, data: object) -> object:
        if not isinstance(data, dict):
            return data
        cleaned = dict(data)
        for name in ("id", "text", "passage", "category", "subject", "cluster"):
            if isinstance(cleaned.get(name), str):
                cleaned[name] = clean_text(cleaned[name])[0]
        options = cleaned.get("options")
        if isinstance(options, (list, tuple)):
            cleaned["options"] = tuple(
                clean_text(option)[0] if isinstance(option, str) else option for option in options
            )
        return cleaned

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.id:
            raise ValueError("a question needs an id")
        if not self.text.strip():
            raise ValueError("a question needs a text")
        if len(self.options) == 1 or len(self.options) > len(LABELS):
            raise ValueError(
                f"a question has no option or 2 to {len(LABELS)} options, not {len(self.options)}"
            )
        if self.options and self.kind != "choice":
            raise ValueError(f"a question with options is of kind 'choice', not {self.kind!r}")
        return self

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """The labels of the options: ("A", "B", ...)."""
        return tuple(LABELS[: len(self.options)])

    @cached_property
    def as_json(self) -> str:
        """The question as canonical JSON."""
        return self._json({"id": self.id})

    @cached_property
    def content_digest(self) -> str:
        """SHA-256 (hex) over everything but the id."""
        return sha256_hex(self._json({}))

    @cached_property
    def key(self) -> str:
        """SHA-256 (hex) over id and content: the identity of the question in a session."""
        return sha256_hex(canonical_json([self.id, self.content_digest]))

    @cached_property
    def text_part(self) -> Part:
        """The question's text as the part ``question``."""
        return Part("question", self.text)

    @cached_property
    def options_part(self) -> Part:
        """The labelled options, one a line, as the part ``options``; empty without options."""
        return Part(
            "options",
            "\n".join(
                f"{label}. {' '.join(option.split())}"
                for label, option in zip(self.labels, self.options, strict=True)
            ),
        )

    @cached_property
    def passage_part(self) -> Part:
        """The passage as the part ``passage``; empty without a passage."""
        return _passage_part(self.passage or "")

    def _json(self, name: dict[str, str]) -> str:
        """Return the content, and what names it, as canonical JSON.

        Assembled by hand: writing a passage takes longer than all else, and many share one.
        """
        coarse = {"category": self.category, "cluster": self.cluster, "kind": self.kind}
        before = canonical_json({**coarse, **name, "options": list(self.options)})
        after = canonical_json({"subject": self.subject, "text": self.text})
        passage = "null" if self.passage is None else _passage_json(self.passage)
        return f'{before[:-1]},"passage":{passage},{after[1:]}'

    @property
    def unit(self) -> str:
        """The cluster that statistics count: `cluster`, else the question's id."""
        return self.cluster or self.id


@lru_cache(maxsize=256)
def _passage_json(passage: str) -> str:
    return json_string(passage)


@lru_cache(maxsize=256)
def _passage_part(passage: str) -> Part:
    """Return a passage as a part that its questions share, as its digest takes time."""
    return Part("passage", passage)
