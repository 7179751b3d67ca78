"""The skills that a question asks for: annotated ones where a cast holds them, else its topics.

Skills are named before a session starts (by a model, from a closed menu, from the text; see
``annotation.py``) and enter it as the asset ``skills`` of its cast: question -> skills. A question
that the asset does not name, and every question without the asset, is filed under its category
and its subject. A question that the asset names with an empty list has no skill.

A skill that no expert was measured in may be read as a known one by the asset ``matches`` (unseen
skill -> known skill), computed outside sessions by whatever similarity; see ``similarity.py``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from pydantic import JsonValue

from protocols.cast import Asset, Cast
from protocols.errors import Mistake
from protocols.profile import question_skills
from protocols.question import Question

SKILLS = "skills"
"""The asset that names the skills of questions, and the kind of such an asset."""
MATCHES = "matches"
"""The asset that reads unseen skills as known ones, and the kind of such an asset."""


def skills_of(question: Question, cast: Cast) -> tuple[str, ...]:
    """Return the skills of a question, sorted, each once.

    Args:
        question: it is found in the asset by its key, else by its id.
        cast: whose asset ``skills`` counts, where it has one.
    """
    asset = cast.assets.get(SKILLS)
    if asset is None or not isinstance(asset.content, dict):
        return question_skills(question)
    named = asset.content.get(question.key, asset.content.get(question.id))
    return _listed(named) if isinstance(named, list) else question_skills(question)


def _listed(named: Sequence[object]) -> tuple[str, ...]:
    return tuple(sorted({skill for skill in named if isinstance(skill, str)} - {""}))


def skills_asset(skills: Mapping[str, Iterable[str]]) -> Asset:
    """Return the asset that names the skills of questions.

    Args:
        skills: question key (``Question.key``) or id -> its skills.
    """
    content: dict[str, JsonValue] = {key: [*sorted(set(named))] for key, named in skills.items()}
    return Asset(kind=SKILLS, content=content)


def check_skills(asset: Asset) -> None:
    """Check the content of an asset ``skills``.

    Raises:
        Mistake: it is no mapping of questions to lists of names.
    """
    if not isinstance(asset.content, dict):
        raise Mistake("not skills of questions; write a mapping: question id -> list of skills")
    for question, named in asset.content.items():
        if not isinstance(named, list) or not all(isinstance(skill, str) for skill in named):
            raise Mistake(
                f"the skills of {question!r:.60} are no list of names; write [skill, ...]"
            )


def read_matches(cast: Cast) -> Mapping[str, str]:
    """Return the asset ``matches`` of a cast: unseen skill -> known skill; empty without one."""
    asset = cast.assets.get(MATCHES)
    if asset is None or not isinstance(asset.content, dict):
        return {}
    return {skill: known for skill, known in asset.content.items() if isinstance(known, str)}


def check_matches(asset: Asset) -> None:
    """Check the content of an asset ``matches``.

    Raises:
        Mistake: it is no mapping of skills to skills.
    """
    content = asset.content
    if not isinstance(content, dict) or not all(isinstance(v, str) for v in content.values()):
        raise Mistake("not matches of skills; write a mapping: unseen skill -> known skill")
