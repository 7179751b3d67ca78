"""Evidence: how every expert of a pool did on questions of its own, one by one.

It is what rules of recruitment learn from. A skill profile is a summary of it: of the evidence the
profile keeps sums by skill alone, while the evidence keeps the questions, so that a rule may look
for those that resemble the one at hand. Like a profile it is measured on questions that are never
those of the run, and enters sessions as an asset of the cast, by content hash.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from protocols.cast import Asset
from protocols.errors import Mistake
from protocols.profile import SkillProfile
from protocols.question import Question, QuestionKind

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

EVIDENCE = "evidence"
"""The name under which a cast holds evidence, and the kind of such an asset."""

RIGHT, WRONG, MISSING = "1", "0", "-"
CostUnit = Literal["characters", "usd", ""]


def filed_under(category: str, subject: str) -> tuple[str, ...]:
    """Return the skills of a question that nobody annotated; see ``profile.question_skills``."""
    return tuple(sorted({category, subject} - {""}))


class EvidenceQuestion(BaseModel):
    """A question that the experts were measured on, without its key."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    """Unique in its evidence."""
    text: str
    """What was asked."""
    kind: QuestionKind = "choice"
    """How answers to it are compared."""
    category: str = ""
    """Coarse topic."""
    subject: str = ""
    """Finer topic."""
    skills: tuple[str, ...] = Field(
        default_factory=lambda known: filed_under(known["category"], known["subject"])
    )
    """What it takes: its annotated skills; by default its category and subject."""
    options: tuple[str, ...] = ()
    """The options, in order; none where the answer was free."""

    @classmethod
    def of(cls, question: Question, skills: Sequence[str] | None = None) -> EvidenceQuestion:
        """Return what evidence keeps of a question.

        Args:
            question: the question.
            skills: its skills; by default its category and subject.
        """
        return cls(
            id=question.id,
            text=question.text,
            kind=question.kind,
            category=question.category,
            subject=question.subject,
            skills=filed_under(question.category, question.subject)
            if skills is None
            else tuple(skills),
            options=question.options,
        )


class Evidence(BaseModel):
    """Graded answers of experts, by their labels in the roster, to the same questions."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    questions: tuple[EvidenceQuestion, ...]
    """What was asked, in a fixed order."""
    right: dict[str, str]
    """Expert -> one character a question: ``1`` right, ``0`` wrong, ``-`` missing."""
    answers: dict[str, tuple[str | None, ...]] = {}
    """Expert -> its answer to each question in canonical form, None where there is none. Experts
    are absent where only the correctness was recorded."""
    cost: dict[str, float] = {}
    """Expert -> mean price of one answer; absent where it is not known."""
    cost_unit: CostUnit = ""
    """What `cost` counts."""
    measured_on: str = ""
    """Which questions: a digest or a description."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        asked = len(self.questions)
        if len({question.id for question in self.questions}) < asked:
            raise ValueError("two questions have the same id")
        for expert, flags in sorted(self.right.items()):
            if len(flags) != asked or set(flags) - {RIGHT, WRONG, MISSING}:
                raise ValueError(f"{expert!r} needs {asked} characters of 1, 0 and -")
        for expert, given in sorted(self.answers.items()):
            if expert not in self.right or len(given) != asked:
                raise ValueError(f"{expert!r} needs {asked} graded answers")
        for expert, cost in sorted(self.cost.items()):
            if cost < 0.0:
                raise ValueError(f"the cost of {expert!r} must not be negative, not {cost}")
        return self

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) over the content: the identity of what is fitted to it."""
        return self.as_asset().digest

    @cached_property
    def experts(self) -> tuple[str, ...]:
        """The experts that were measured, by name."""
        return tuple(sorted(self.right))

    def matrix(self, experts: Sequence[str] | None = None) -> NDArray[np.float64]:
        """Return the response matrix: a row a question, a column an expert, 1, 0 or nan (missing).

        Args:
            experts: the columns; all experts by name where None. One without evidence is all nan.
        """
        import numpy as np

        names = self.experts if experts is None else experts
        codes = {RIGHT: 1.0, WRONG: 0.0, MISSING: np.nan}
        nothing = MISSING * len(self.questions)
        columns = [[codes[flag] for flag in self.right.get(name, nothing)] for name in names]
        shape = (len(names), len(self.questions))
        return np.array(columns, dtype=np.float64).reshape(shape).T.copy()

    def accuracy(self, expert: str) -> float | None:
        """Return the share of the expert's questions that it had right; None where it had none."""
        flags = self.right.get(expert, "")
        asked = len(flags) - flags.count(MISSING)
        return flags.count(RIGHT) / asked if asked else None

    def subset(self, ids: Iterable[str]) -> Evidence:
        """Return the evidence on some of the questions, in its own order; costs stay.

        Raises:
            Mistake: an id is not in it.
        """
        wanted = set(ids)
        unknown = wanted - {question.id for question in self.questions}
        if unknown:
            raise Mistake(f"the evidence holds no question {min(unknown)!r}; name one of its ids")
        places = [i for i, question in enumerate(self.questions) if question.id in wanted]
        return Evidence(
            questions=tuple(self.questions[i] for i in places),
            right={name: "".join([flags[i] for i in places]) for name, flags in self.right.items()},
            answers={name: tuple(given[i] for i in places) for name, given in self.answers.items()},
            cost=self.cost,
            cost_unit=self.cost_unit,
            measured_on=f"{len(places)} of {self.measured_on}" if self.measured_on else "",
        )

    def profile(self, experts: Sequence[str] | None = None) -> SkillProfile:
        """Return the skill profile of experts: +1 for each right, -1 for each wrong answer.

        Args:
            experts: by default all that were measured. One without evidence has no scores.
        """
        names = self.experts if experts is None else experts
        known = {name: self.right[name] for name in names if name in self.right}
        skills: dict[str, dict[str, float]] = {}
        for name, flags in known.items():
            scores: dict[str, float] = {}
            for question, flag in zip(self.questions, flags, strict=True):
                if flag != MISSING:
                    for skill in sorted(set(question.skills)):
                        scores[skill] = scores.get(skill, 0.0) + (1.0 if flag == RIGHT else -1.0)
            skills[name] = scores
        return SkillProfile(
            skills=skills,
            asked={name: len(flags) - flags.count(MISSING) for name, flags in known.items()},
            right={name: flags.count(RIGHT) for name, flags in known.items()},
            measured_on=self.measured_on,
        )

    def as_asset(self) -> Asset:
        """Return the evidence as an asset of a cast."""
        return Asset(kind=EVIDENCE, content=self.model_dump(mode="json"))

    @classmethod
    def from_asset(cls, asset: Asset) -> Evidence:
        """Return the evidence that an asset holds; read once per content.

        Raises:
            Mistake: the asset does not hold evidence.
        """
        known = _READ.get(asset.digest)
        if known is not None:
            return known
        if asset.kind != EVIDENCE:
            raise Mistake(f"an asset of kind {asset.kind!r} is not evidence; give one")
        try:
            evidence = cls.model_validate(asset.content)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(step) for step in first["loc"]) or "content"
            raise Mistake(f"the evidence cannot be read at {where}: {first['msg']}") from None
        if len(_READ) >= _MOST_READ:
            _READ.clear()
        _READ[asset.digest] = evidence
        return evidence


_MOST_READ = 16
_READ: dict[str, Evidence] = {}
# Evidence by digest, as thousands of sessions of a run read the same.


def cast_evidence(assets: Mapping[str, Asset]) -> Evidence | None:
    """Return the evidence among a cast's assets, or None."""
    asset = assets.get(EVIDENCE)
    return None if asset is None else Evidence.from_asset(asset)
