"""What is known of a pool: its evidence as matrices, and what rules fit to it, once.

A fit is a pure function of the evidence and the pool. It is kept by the evidence's content hash,
so thousands of sessions of a run share it; nothing else depends on whether it was kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from protocols.errors import Mistake
from protocols.evidence import Evidence
from protocols.profile import SkillProfile
from protocols.question import Question
from protocols.recruitment import Similarity, trigram_similarity

if TYPE_CHECKING:
    from protocols.routing.texts import Texts, Vector

T = TypeVar("T")


class Measured:
    """A pool and its evidence; columns are experts by name, rows questions."""

    def __init__(self, evidence: Evidence, pool: Sequence[str]) -> None:
        self.evidence = evidence
        self.pool = tuple(pool)
        self._fits: dict[str, Any] = {}
        self._remembered: dict[tuple[str, str], Any] = {}
        self._coming: Sequence[Question] = ()

    def fitted(self, name: str, fit: Callable[[Measured], T]) -> T:
        """Return what `fit` makes of this, made once for each `name`."""
        if name not in self._fits:
            self._fits[name] = fit(self)
        found: T = self._fits[name]
        return found

    def remembered(self, name: str, question: Question, make: Callable[[], T]) -> T:
        """Return what `make` says of a question, made once for several rules that ask the same.

        Args:
            name: of what is made, with all that it depends on beside the question.
            question: the question.
            make: a pure function of this, `name` and the question.
        """
        key = (name, question.key)
        if key not in self._remembered:
            if len(self._remembered) >= _MOST_REMEMBERED:
                self._remembered.clear()
            self._remembered[key] = make()
        found: T = self._remembered[key]
        return found

    @cached_property
    def profile(self) -> SkillProfile:
        """The pool's skill profile by its evidence."""
        return self.evidence.profile(self.pool)

    @cached_property
    def right(self) -> Vector:
        """1 where right, 0 where wrong or missing; shape (questions, experts)."""
        import numpy as np

        return np.nan_to_num(self.evidence.matrix(self.pool), nan=0.0)

    @cached_property
    def seen(self) -> Vector:
        """1 where an answer was recorded, else 0; shape (questions, experts)."""
        import numpy as np

        return 1.0 - np.isnan(self.evidence.matrix(self.pool))

    @cached_property
    def accuracies(self) -> Vector:
        """Each expert's accuracy; 0 without evidence; shape (experts,)."""
        return shares(self.right.sum(axis=0), self.seen.sum(axis=0), 0.0)

    @cached_property
    def measured(self) -> Vector:
        """Whether an expert has any evidence; shape (experts,)."""
        found: Vector = self.seen.sum(axis=0) > 0
        return found

    @cached_property
    def costs(self) -> Vector:
        """The mean price of one answer, over the pool's mean; 1 where it is not known."""
        import numpy as np

        known = [self.evidence.cost.get(expert) for expert in self.pool]
        mean = sum(cost for cost in known if cost is not None) / max(
            1, sum(cost is not None for cost in known)
        )
        if mean <= 0.0:
            return np.ones(len(known))
        return np.array([1.0 if cost is None else cost / mean for cost in known])

    @cached_property
    def texts(self) -> Texts:
        """The texts of the questions, shared by all pools of the same evidence."""
        from protocols.routing.texts import Texts, text_of

        found = _TEXTS.get(self.evidence.digest)
        if found is None:
            if len(_TEXTS) >= _MOST_KEPT:
                _TEXTS.pop(next(iter(_TEXTS)))
            found = Texts([text_of(q.text, q.options) for q in self.evidence.questions])
            _TEXTS[self.evidence.digest] = found
        found.expect([_text(question) for question in self._coming])
        return found

    def expect(self, questions: Sequence[Question]) -> None:
        """Say which questions will be recruited for: those of a run are compared many at once."""
        if questions is self._coming:
            return
        self._coming = questions
        if "texts" in self.__dict__:
            self.texts.expect([_text(question) for question in questions])

    @cached_property
    def categories(self) -> dict[str, list[int]]:
        """The rows of each category, by category in the order of names."""
        return self._rows_by("category")

    @cached_property
    def subjects(self) -> dict[str, list[int]]:
        """The rows of each subject, by subject in the order of names."""
        return self._rows_by("subject")

    def _rows_by(self, field: str) -> dict[str, list[int]]:
        rows: dict[str, list[int]] = {}
        for row, question in enumerate(self.evidence.questions):
            name = getattr(question, field)
            if name:
                rows.setdefault(name, []).append(row)
        return dict(sorted(rows.items()))

    def similarities(self, question: Question) -> Vector:
        """Return how much a question resembles each of the evidence's."""
        return self.texts.similarities(_text(question))

    def embedding(self, question: Question, dimensions: int) -> Vector:
        """Return a question among the evidence's embedded ones."""
        return self.texts.embedding(_text(question), dimensions)


def _text(question: Question) -> str:
    from protocols.routing.texts import text_of

    return text_of(question.text, question.options)


def shares(right: Vector, asked: Vector, otherwise: Vector | float) -> Vector:
    """Return right / asked, and `otherwise` where nothing was asked."""
    import numpy as np

    return np.where(asked > 0, right / np.maximum(asked, 1e-300), otherwise)


_MOST_REMEMBERED = 4096
_MOST_KEPT = 8
_KEPT: dict[tuple[str, tuple[str, ...]], Measured] = {}
_TEXTS: dict[str, Texts] = {}
# By evidence digest (and pool), as all sessions of a run ask for the same few.


def measured_pool(evidence: Evidence, pool: Sequence[str]) -> Measured:
    """Return what is known of a pool, by name, made once per evidence and pool."""
    key = (evidence.digest, tuple(sorted(pool)))
    found = _KEPT.get(key)
    if found is None:
        if len(_KEPT) >= _MOST_KEPT:
            _KEPT.pop(next(iter(_KEPT)))
        found = _KEPT[key] = Measured(evidence, key[1])
    return found


@dataclass(frozen=True, slots=True)
class Task:
    """One question to recruit for, and what a rule may know about it."""

    question: Question
    """What is asked."""
    pool: tuple[str, ...]
    """The experts, by name."""
    skills: tuple[str, ...] = ()
    """The skills of the question."""
    measured: Measured | None = None
    """What is known of the pool; None without evidence."""
    profile: SkillProfile | None = None
    """The pool's skill profile; None without one."""
    similarity: Similarity = trigram_similarity
    """Which known skill an unseen one stands for: the most similar one."""

    @property
    def known(self) -> Measured:
        """What is known of the pool.

        Raises:
            Mistake: the cast holds no evidence.
        """
        if self.measured is None:
            raise Mistake("this rule of recruitment needs evidence; name it as asset 'evidence'")
        return self.measured

    @property
    def skill_profile(self) -> SkillProfile:
        """The pool's skill profile.

        Raises:
            Mistake: the cast holds neither a profile nor evidence.
        """
        if self.profile is None:
            raise Mistake("recruiting by skill needs a skill profile; name it as asset 'profile'")
        return self.profile


def task_of(
    question: Question,
    pool: Sequence[str],
    *,
    skills: Sequence[str] = (),
    evidence: Evidence | None = None,
    profile: SkillProfile | None = None,
    similarity: Similarity = trigram_similarity,
) -> Task:
    """Return the task of recruiting for a question; the pool may come in any order."""
    names = tuple(sorted(set(pool)))
    measured = None if evidence is None else measured_pool(evidence, names)
    return Task(
        question=question,
        pool=names,
        skills=tuple(skills),
        measured=measured,
        profile=profile or (None if measured is None else measured.profile),
        similarity=similarity,
    )
