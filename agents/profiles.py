"""Skill profiles from graded answers.

Source: Symbolic-MoE (arXiv 2503.05641), section 3: over the validation questions, an expert's
score in a skill grows by 1 for each right and falls by 1 for each wrong answer to a question of
that skill.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from agents.grading import graded_singles
from agents.recorded_file import RecordedFile
from protocols.canonical import canonical_json, sha256_hex
from protocols.profile import SkillProfile, question_skills

Graded = Mapping[str, Mapping[str, bool]]
"""By expert and question id: whether the answer is right. What is missing is absent."""


def build_profile(
    graded: Graded, skills_of: Callable[[str], Iterable[str]], *, measured_on: str = ""
) -> SkillProfile:
    """Return the profile that graded answers give.

    Args:
        graded: whether each expert was right, by question id.
        skills_of: the skills of a question, by its id; a skill named twice counts once.
        measured_on: which questions these are.
    """
    skills: dict[str, dict[str, float]] = {}
    for expert, answers in graded.items():
        scores: dict[str, float] = {}
        for question, right in answers.items():
            for skill in sorted(set(skills_of(question))):
                scores[skill] = scores.get(skill, 0.0) + (1.0 if right else -1.0)
        skills[expert] = scores
    return SkillProfile(
        skills=skills,
        asked={expert: len(answers) for expert, answers in graded.items()},
        right={expert: sum(answers.values()) for expert, answers in graded.items()},
        measured_on=measured_on,
    )


def profile_from_recorded(
    file: RecordedFile, models: Mapping[str, str] | Iterable[str]
) -> SkillProfile:
    """Return the profile of experts on a file of recorded answers.

    A question is filed under its category and its subject. Answers are graded as in
    :func:`agents.grading.graded_singles`: by the source's flag where there is one, else against
    gold; a null answer is wrong, an absent one is missing.

    Args:
        file: the validation questions.
        models: the models as the file names them, or label in the roster to model.
    """
    labels = dict(models) if isinstance(models, Mapping) else {model: model for model in models}
    by_model = graded_singles(file, set(labels.values()))
    content = canonical_json(sorted(question.key for question in file.questions.values()))
    return build_profile(
        {label: by_model[model] for label, model in labels.items()},
        lambda id: question_skills(file.questions[id]),
        measured_on=sha256_hex(content)[:16],
    )
