"""Symbolic-MoE: experts are recruited for each question by their measured skills.

Schedule: 5 passes of the annotator (``annotate``), ``{1..k}`` of the recruited, then, where a
model joins the answers, the aggregator. Price: 5 + k + 1 asks a question as published (k counts
draws: an expert drawn twice answers once, see `repeat_draws`); without annotation and with a vote
1 to k. Set-up price, reported as a second figure: |V| * (5 + E) + |V| * E asks for |V| validation
questions and E experts: their annotation and every expert's answer for the profile, then every
expert as aggregator on the bench of one right and two wrong answers.

Source: arXiv 2503.05641 and its code. As published: ``annotate: true``, ``trim: 0.05``,
``aggregate: chosen``, everything else by default. The steps are in ``recruitment.py`` (score),
``routing/steps.py`` (select, plan), ``routing/group.py`` (trim), ``annotation.py`` and
``aggregation.py``.

Departures: a question without any known skill goes by competency alone (the paper's formula with
S shifted to 1; the code then draws evenly). Skills come by default from the cast's asset
``skills`` or the question's category and subject instead of an annotator, trim is off, as both
need a stage of their own, and the plain vote, the source's baseline, joins the answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Self

from pydantic import Field, model_validator

from protocols.annotation import ANNOTATOR, annotation
from protocols.annotation import TEMPLATE as ANNOTATION_TEMPLATE
from protocols.cast import Cast
from protocols.chance import Rng
from protocols.contract import CallBound, Role, Session
from protocols.errors import Mistake
from protocols.outcome import Outcome
from protocols.profile import PROFILE, cast_profile
from protocols.question import Question
from protocols.recruiting import RECRUITING_TEMPLATES, Recruiting, with_counts
from protocols.recruitment import Variant
from protocols.routing.skill_rule import SkillRule
from protocols.skills import skills_of


class SymbolicMoE(Recruiting):
    """k draws from the pool by skill; each distinct expert answers once; the answers are joined.

    Ties go to the tied answer of the expert best on the profile. With an aggregator, its own
    answer decides and nothing stands in for it; the vote is then told in ``detail`` beside it.
    """

    kind: ClassVar[str] = "symbolic_moe"
    version: ClassVar[int] = 2
    about: ClassVar[str] = "experts recruited by measured skill answer; a vote or a model joins"
    templates: ClassVar[tuple[str, ...]] = (*RECRUITING_TEMPLATES, ANNOTATION_TEMPLATE)

    k: int = Field(default=3, ge=1)
    """Draws from the pool."""
    temperature: float = Field(default=0.5, gt=0.0, allow_inf_nan=False)
    """T of the competency and of the softmax."""
    variant: Variant = "source"
    """Weights S * G (``source``), or their softmax."""
    replacement: bool = True
    """Draw with replacement (``source``), or take the k best by weight."""
    annotate: bool = False
    """Have the annotator name the question's skills first."""
    passes: int = Field(default=5, ge=1)
    """Of the annotator."""
    annotation_temperature: float | None = Field(default=0.7, ge=0.0, allow_inf_nan=False)
    """Of the annotator; null leaves its own."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.annotate and self.trim:
            raise ValueError(
                "trim needs the skills of all questions before the first is asked; annotate them "
                "in a run of their own (annotate_skills) and give the asset 'skills'"
            )
        return self

    def recruiter(self) -> SkillRule:
        """Return the rule."""
        return SkillRule(
            temperature=self.temperature, variant=self.variant, replacement=self.replacement
        )

    def size(self, experts: int) -> int:
        """Return k; without replacement the pool's size where that is smaller."""
        return self.k

    def roles(self) -> tuple[Role, ...]:
        """Return the pool, the aggregator and the annotator; the last two only where needed."""
        about = "names the skills that the question takes"
        annotator = Role(
            ANNOTATOR, about, optional=not self.annotate, reads_passage=True, draws=True
        )
        return (*super().roles(), annotator)

    def calls(self, question: Question, cast: Cast) -> CallBound:
        """The team and the aggregator, after the annotator."""
        passes = self.passes * int(self.annotate)
        return super().calls(question, cast) + CallBound(passes, passes)

    def session(self, question: Question, cast: Cast, rng: Rng) -> Session[Outcome]:
        """Name the skills, recruit, ask the team, and join its answers."""
        if cast_profile(cast.assets) is None:
            raise Mistake(f"symbolic_moe needs a skill profile; name one as the asset {PROFILE!r}")
        if not self.annotate:
            return (yield from self._by_skill(question, cast, rng, skills_of(question, cast)))
        # an annotation that failed names no skill; the question then goes by competency
        found = yield from annotation(
            question, cast, passes=self.passes, temperature=self.annotation_temperature
        )
        outcome = yield from self._by_skill(question, cast, rng, found.skills)
        return with_counts(outcome, found.replies, found.readings)

    def _by_skill(
        self, question: Question, cast: Cast, rng: Rng, skills: Sequence[str]
    ) -> Session[Outcome]:
        task = self.task(question, cast, skills)
        return (yield from self.answered(task, cast, self.recruit(task, cast, rng)))
