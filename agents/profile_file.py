"""Measured experts as one value: the evidence, how its skills were named, and the profile of it.

This is what ``moot experts profile`` stores, exports and adds to. A file of it is JSON: ``format``,
``skills_by``, ``profile`` (experts' scores by skill), ``evidence`` (every question with who was
right) and, where skills are key phrases, ``text_skills`` (the vocabulary). The profile follows from
the evidence; it stands in the file for whoever reads it without moot.

Adding is a union: every question counts once for every expert, whatever was measured again, so
that sums add up.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from agents.annotators import AnnotatorName
from agents.text_skills import TextSkills, fit_text_skills
from protocols.canonical import canonical_json, sha256_hex
from protocols.errors import Mistake
from protocols.evidence import MISSING, CostUnit, Evidence, EvidenceQuestion
from protocols.profile import SkillProfile

Content = tuple[str, tuple[str, ...]]
"""What makes two questions the same: text and options."""


class Measured(BaseModel):
    """Evidence on experts, and how the skills of its questions were named."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    """The version of this form."""
    skills_by: AnnotatorName = "subject"
    """Which annotator named the skills."""
    evidence: Evidence
    text_skills: TextSkills | None = None
    """The vocabulary of key phrases, where they are the skills."""

    @classmethod
    def of(cls, evidence: Evidence, skills_by: AnnotatorName = "subject") -> Self:
        """Return measured experts; key phrases are fitted to the evidence's questions alone."""
        if skills_by != "text":
            return cls(skills_by=skills_by, evidence=evidence)
        vocabulary = fit_text_skills(evidence.questions)
        questions = tuple(
            question.model_copy(update={"skills": vocabulary.skills(question)})
            for question in evidence.questions
        )
        evidence = evidence.model_copy(update={"questions": questions})
        return cls(
            skills_by=skills_by, evidence=Evidence(**_fields(evidence)), text_skills=vocabulary
        )

    @cached_property
    def profile(self) -> SkillProfile:
        """The skill profile of all experts."""
        return self.evidence.profile()

    def as_json(self) -> dict[str, Any]:
        """Return the form of a file."""
        own = self.model_dump(mode="json", exclude_none=True)
        return {**own, "profile": self.profile.model_dump(mode="json")}

    @classmethod
    def from_json(cls, data: object) -> Self:
        """Return what :meth:`as_json` wrote.

        Raises:
            Mistake: it is something else.
        """
        if not isinstance(data, Mapping) or "evidence" not in data:
            raise Mistake("holds no evidence on experts; moot experts profile writes such a file")
        try:
            return cls.model_validate({k: v for k, v in data.items() if k != "profile"})
        except ValidationError as error:
            raise Mistake(_first(error)) from None

    def counts(self) -> dict[str, dict[str, int]]:
        """Return how many questions of each skill each expert was measured on."""
        found: dict[str, dict[str, int]] = {}
        for expert, flags in self.evidence.right.items():
            mine = found.setdefault(expert, {})
            for question, flag in zip(self.evidence.questions, flags, strict=True):
                for skill in set(question.skills) if flag != MISSING else ():
                    mine[skill] = mine.get(skill, 0) + 1
        return found

    def plus(self, new: Measured) -> Measured:
        """Return these experts with what was measured since added.

        A question is known by its text and options. What `new` says of an expert on a question
        replaces what was known, unless it is missing there; every pair counts once.

        Raises:
            Mistake: the skills were named in another way, or an id stands for two questions.
        """
        if new.skills_by != self.skills_by:
            raise Mistake(
                f"the profile's skills were named by {self.skills_by!r}, the new ones by "
                f"{new.skills_by!r}; add with --skills {self.skills_by}"
            )
        return Measured.of(_union(self.evidence, new.evidence), self.skills_by)


def _fields(model: BaseModel) -> dict[str, Any]:
    return {name: getattr(model, name) for name in type(model).model_fields}


def content_of(question: EvidenceQuestion) -> Content:
    """Return what makes a question the same as another, whatever their ids."""
    return (question.text, question.options)


def _union(old: Evidence, new: Evidence) -> Evidence:
    """Return the evidence of both."""
    questions = {content_of(question): question for question in old.questions}
    by_id = {question.id: question for question in old.questions}
    for question in new.questions:
        known = by_id.get(question.id)
        if known is not None and content_of(known) != content_of(question):
            raise Mistake(
                f"the id {question.id!r:.60} stands for two questions; give one another id"
            )
        first = questions.get(content_of(question))
        kept = question if first is None else question.model_copy(update={"id": first.id})
        questions[content_of(question)] = kept
    places = list(questions)
    right: dict[str, str] = {}
    answers: dict[str, tuple[str | None, ...]] = {}
    for expert in sorted({*old.right, *new.right}):
        flags = {**_flags(old, expert), **_flags(new, expert)}
        right[expert] = "".join(flags.get(place, MISSING) for place in places)
        if expert in old.answers or expert in new.answers:
            given = {**_answers(old, expert), **_answers(new, expert)}
            answers[expert] = tuple(given.get(place) for place in places)
    cost, unit = _costs(old, new)
    return Evidence(
        questions=tuple(questions.values()),
        right=right,
        answers=answers,
        cost=cost,
        cost_unit=unit,
        measured_on=measured_on(questions.values()),
    )


def _flags(evidence: Evidence, expert: str) -> dict[Content, str]:
    flags = evidence.right.get(expert, MISSING * len(evidence.questions))
    pairs = zip(evidence.questions, flags, strict=True)
    return {content_of(question): flag for question, flag in pairs if flag != MISSING}


def _answers(evidence: Evidence, expert: str) -> dict[Content, str | None]:
    measured = _flags(evidence, expert)
    given = evidence.answers.get(expert, (None,) * len(evidence.questions))
    pairs = zip(evidence.questions, given, strict=True)
    return {content_of(q): answer for q, answer in pairs if content_of(q) in measured}


def _costs(old: Evidence, new: Evidence) -> tuple[dict[str, float], CostUnit]:
    """Return mean prices over both, weighted by answers; the new ones' where units differ."""
    if old.cost_unit != new.cost_unit:
        return (new.cost, new.cost_unit) if new.cost else (old.cost, old.cost_unit)
    cost = {}
    for expert in sorted({*old.cost, *new.cost}):
        parts = [(e.cost[expert], len(_flags(e, expert))) for e in (old, new) if expert in e.cost]
        total = sum(count for _, count in parts)
        cost[expert] = sum(c * n for c, n in parts) / total if total else parts[-1][0]
    return cost, new.cost_unit


def measured_on(questions: Any) -> str:
    """Return a digest of questions, whatever their order: 16 hexadecimal digits."""
    return sha256_hex(canonical_json(sorted([q.text, *q.options] for q in questions)))[:16]


def _first(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(step) for step in first["loc"]) or "content"
    return f"is no profile at {where}: {first['msg']}"


def read_measured(path: str | Path) -> Measured:
    """Read a file that ``moot experts profile --out`` wrote.

    Raises:
        Mistake: there is no such file, or it is something else.
    """
    data = _read(path)
    try:
        return Measured.from_json(data)
    except Mistake as mistake:
        raise Mistake(f"{path}: {mistake}") from None


def write_measured(path: str | Path, measured: Measured) -> None:
    """Write a file that :func:`read_measured` reads.

    Raises:
        Mistake: it cannot be written.
    """
    text = json.dumps(measured.as_json(), ensure_ascii=False, indent=1, sort_keys=True)
    try:
        Path(path).write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise Mistake(f"{path}: cannot be written: {error.strerror or error}") from None


def load_profile(path: str | Path) -> tuple[SkillProfile, Evidence | None]:
    """Read a profile: what ``moot experts profile`` exported, or the profile alone.

    Returns:
        The profile, and the evidence that it follows from; None where the file holds none.

    Raises:
        Mistake: there is no such file, or it holds neither.
    """
    data = _read(path)
    if isinstance(data, Mapping) and "evidence" in data:
        measured = read_measured(path)
        return measured.profile, measured.evidence
    content = data.get("profile", data) if isinstance(data, Mapping) else data
    try:
        return SkillProfile.model_validate(content), None
    except ValidationError as error:
        raise Mistake(f"{path}: {_first(error)}") from None


def is_profile_file(path: str | Path) -> bool:
    """Whether a file looks like one for :func:`load_profile`: one JSON object, not many lines."""
    try:
        data = _read(path)
    except Mistake:
        return False
    return isinstance(data, Mapping) and bool({"evidence", "profile", "skills"} & set(data))


def _read(path: str | Path) -> Any:
    try:
        return json.loads(Path(path).read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise Mistake(f"{path}: {error.strerror or error}; check the path") from None
    except (ValueError, RecursionError):
        raise Mistake(
            f"{path}: is no profile; write one with  moot experts profile --out FILE.json"
        ) from None
