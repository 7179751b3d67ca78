"""The parts of a workflow that name its data: its questions and what experts were measured on."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Section(BaseModel):
    """What all parts of a workflow share: frozen, no unknown key, numbers may name things."""

    model_config = ConfigDict(frozen=True, extra="forbid", coerce_numbers_to_str=True)


class FieldMap(Section):
    """Where a user's own rows hold what moot needs; by default in fields of the same name."""

    id: str | None = None
    """Unique in the file."""
    text: str | None = None
    """What is asked; by default the field ``text`` or ``question``."""
    options: str | tuple[str, ...] | None = None
    """One field that holds a list, or one field for each option."""
    gold: str | None = None
    """The right answer: an option's label or text, its place from 0, a number, or text."""
    passage: str | None = None
    subject: str | None = None
    category: str | None = None
    cluster: str | None = None
    """What repeats together."""
    kind: str | None = None
    """choice, number or text; by default what options and gold answers look like."""


class PairSpec(Section):
    """How questions become two options before any session sees them."""

    seed: int = 0
    """Which wrong answer, and which order."""
    numbers: Literal["recorded", "rules"] = "recorded"
    """Wrong numbers: recorded wrong answers where there are some, or always made by rule."""


class QuestionsSpec(Section):
    """The questions of a workflow."""

    path: str
    """A file, or ``moot:NAME``."""
    format: Literal[
        "auto", "recorded", "votes", "debates", "passages", "jsonl", "csv", "parquet"
    ] = "auto"
    """``auto`` looks at the content; the last three are a user's own rows."""
    fields: FieldMap | None = None
    """Where a user's own rows hold what moot needs."""
    pair: PairSpec | None = None
    """Turn many options or a number into two options; ``true`` takes the defaults."""
    limit: int | None = Field(None, ge=1)
    """How many questions, drawn by the hash of seed and id; a larger limit keeps the former."""
    seed: int = 0
    """Of the draw."""
    ids: tuple[str, ...] | None = None
    """Only these questions."""

    @model_validator(mode="before")
    @classmethod
    def _expand(cls, data: object) -> object:
        if isinstance(data, dict) and isinstance(data.get("pair"), bool):
            return {**data, "pair": {} if data["pair"] else None}
        return data


class ProfileSpec(Section):
    """What the experts were measured on: other questions than those of the run."""

    path: str | None = None
    """A file of recorded answers, ``moot:NAME``, or what ``moot experts profile --out`` wrote."""
    run: str | None = None
    """In the place of a file: the run in the same store that measured the experts."""
    skills: Literal["subject", "text"] = "subject"
    """How the skills of recorded questions are named: their category and subject, or key phrases
    of their words. A profile that was measured before says so itself."""
    folds: int | None = Field(None, ge=2, le=100)
    """Into how many parts the profile's questions are dealt to select one of the rules by
    cross-validation; None selects none."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.path is None) == (self.run is None):
            raise ValueError("name either a file (path) or a run (run)")
        return self
