"""What the experts of a workflow were measured on: the key ``profile``.

A profile comes from a file of recorded answers (everybody in it is graded when the workflow is
read), from a file that ``moot experts profile --out`` wrote, or from the store, by the name of the
run that measured it. It is never measured on the questions of the run itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from agents.annotators import annotator_called
from agents.evidence import evidence_from_recorded
from agents.profile_file import Measured, is_profile_file, load_profile, read_measured
from agents.recorded_file import RecordedFile, read_recorded
from agents.text_skills import TextSkills
from protocols.canonical import canonical_json, sha256_hex
from protocols.errors import Mistake
from protocols.evidence import Evidence
from protocols.profile import SkillProfile
from protocols.question import Question
from workflows.questions.loaders import recognise
from workflows.questions.sources import locate, open_source, read_rows
from workflows.settings.sections import ProfileSpec


@dataclass(frozen=True, slots=True)
class Skilled:
    """What is known of a pool's experts, by their labels."""

    profile: SkillProfile
    evidence: Evidence | None
    """None where only sums by skill were kept."""
    text_skills: TextSkills | None = None
    """How skills are read from a question's words, where that is how they were named."""


@dataclass(frozen=True, slots=True)
class ProfileSource:
    """Where a workflow's profile comes from."""

    name: str
    """For messages: the file's name, or the run's."""
    digest: str
    """SHA-256 (hex) of its content."""
    experts: tuple[str, ...]
    """Whom it has measured: models of a recorded file, else labels."""
    recorded: RecordedFile | None = None
    measured: Measured | None = None
    sums: SkillProfile | None = None
    """A profile of which no evidence was kept."""
    by_text: bool = False
    """Whether skills of a recorded file are read from the words of its questions."""

    @property
    def skills_by_expert(self) -> bool:
        """Whether an expert named the skills of its questions."""
        named = None if self.measured is None else self.measured.skills_by
        return named is not None and annotator_called(named).asks_model

    def skilled(self, models: Mapping[str, str]) -> Skilled:
        """Return what is known of experts.

        Args:
            models: label in the roster -> the model as a recorded file names it; who was not
                measured is left out.
        """
        known = {label: m for label, m in models.items() if m in self.experts}
        if self.recorded is not None:
            evidence = evidence_from_recorded(self.recorded, known)
            return _of(Measured.of(evidence, "text" if self.by_text else "subject"))
        if self.measured is not None:
            return _of(_for_labels(self.measured, known))
        assert self.sums is not None
        return Skilled(_sums_for(self.sums, known), None)

    def asks_any_of(self, questions: Iterable[Question]) -> str | None:
        """Return the id of a question that experts were measured on; None where all are others."""
        seen: set[tuple[str, tuple[str, ...]]] = set()
        if self.recorded is not None:
            seen = {(q.text, q.options) for q in self.recorded.questions.values()}
        elif self.measured is not None:
            seen = {(q.text, q.options) for q in self.measured.evidence.questions}
        return next((q.id for q in questions if (q.text, q.options) in seen), None)


def profile_source(spec: ProfileSpec, store: str) -> ProfileSource:
    """Return the source that a workflow names.

    Args:
        spec: the key ``profile``.
        store: where a run's profile is kept.

    Raises:
        Mistake: there is no such file or run, or it holds neither answers nor a profile.
    """
    if spec.run is not None:
        return _from_run(spec.run, store)
    assert spec.path is not None
    place = locate(spec.path)
    if is_profile_file(place):
        return _from_file(spec.path)
    if recognise(read_rows(open_source(spec.path))[0]) != "recorded":
        raise Mistake(f"{spec.path}: holds no recorded answers, so no skill can be measured on it")
    file = read_recorded(place)
    return ProfileSource(
        name=file.path.name,
        digest=file.digest,
        experts=file.models,
        recorded=file,
        by_text=spec.skills == "text",
    )


def _from_file(path: str) -> ProfileSource:
    place = locate(path)
    profile, evidence = load_profile(place)
    measured = None if evidence is None else read_measured(place)
    return _source(place.name, profile, measured)


def _from_run(run: str, store: str) -> ProfileSource:
    from orchestrator.store import Store
    from workflows.recruiting.profiling import stored_measured

    with Store.read(store) as opened:
        _, measured = stored_measured(opened, run)
    return _source(run, measured.profile, measured)


def _source(name: str, profile: SkillProfile, measured: Measured | None) -> ProfileSource:
    content = profile if measured is None else measured
    return ProfileSource(
        name=name,
        digest=sha256_hex(canonical_json(content.model_dump(mode="json"))),
        experts=profile.experts,
        measured=measured,
        sums=profile if measured is None else None,
    )


def _of(measured: Measured) -> Skilled:
    return Skilled(measured.profile, measured.evidence, measured.text_skills)


def _for_labels(measured: Measured, models: Mapping[str, str]) -> Measured:
    """Return what is known of some experts, under their labels."""
    evidence = measured.evidence

    def named(column: Mapping[str, object]) -> dict[str, object]:
        return {label: column[m] for label, m in models.items() if m in column}

    fields = {name: getattr(evidence, name) for name in type(evidence).model_fields}
    fields |= {name: named(fields[name]) for name in ("right", "answers", "cost")}
    return Measured(
        skills_by=measured.skills_by,
        evidence=Evidence(**fields),
        text_skills=measured.text_skills,
    )


def _sums_for(profile: SkillProfile, models: Mapping[str, str]) -> SkillProfile:
    return SkillProfile(
        skills={label: dict(profile.skills.get(m, {})) for label, m in models.items()},
        asked={label: profile.asked.get(m, 0) for label, m in models.items()},
        right={label: profile.right.get(m, 0) for label, m in models.items()},
        measured_on=profile.measured_on,
    )
