"""Recruitment by skill: what each expert is worth on a question (Symbolic-MoE, arXiv 2503.05641).

The steps match and score; selecting, trimming and planning are those of all rules (``routing/``).

Departures from the source. A skill of the question that is similar to no known skill matches none
(the source embeds skills and always finds a nearest). Where all competencies are zero they count
as equal, and so do the candidates where all their weights are zero. A question without a known
skill goes by competency (the source's code then draws evenly).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, NamedTuple

from protocols.profile import SkillProfile

Variant = Literal["source", "softmax"]
Similarity = Callable[[str, str], float]


class SkillMatch(NamedTuple):
    """A skill of the question and the known skill it stands for."""

    skill: str
    known: str


@dataclass(frozen=True, slots=True)
class SkillScores:
    """What each expert of the pool is worth on a question; every tuple is in pool order."""

    experts: tuple[str, ...]
    """The pool, in slot order."""
    suitability: tuple[float, ...]
    """S: the sum of the expert's scores over the question's skills, shifted where none is > 0."""
    competency: tuple[float, ...]
    """G: the expert's share of the pool's competency, sharpened by the temperature; sums to 1."""
    weights: tuple[float, ...]
    """w: S times G of the experts with S > 0, or its softmax; 0 for the others."""


@lru_cache(maxsize=8192)
def _trigrams(skill: str) -> dict[str, int]:
    """Count the character trigrams of a skill's words, each word padded with a blank."""
    words = "".join(c if c.isalnum() else " " for c in skill.casefold()).split()
    return Counter(f" {word} "[i : i + 3] for word in words for i in range(len(word)))


def trigram_similarity(one: str, other: str) -> float:
    """Return the cosine of two skills' character trigram counts, in [0, 1]."""
    a, b = _trigrams(one), _trigrams(other)
    shared = sum(count * b[gram] for gram, count in a.items() if gram in b)
    if not shared:
        return 0.0
    squares = sum(count * count for count in a.values()) * sum(
        count * count for count in b.values()
    )
    return shared / math.sqrt(squares)


def match_skills(
    skills: Sequence[str], known: Sequence[str], similarity: Similarity = trigram_similarity
) -> tuple[SkillMatch, ...]:
    """Return, for each skill, the known one it stands for: itself, else the most similar.

    Equally similar ones go by name. A skill that is similar to no known one is left out. Two
    skills may stand for the same known one; each then counts.
    """
    return _matches(tuple(sorted(set(skills))), tuple(known), similarity)


@lru_cache(maxsize=8192)
def _matches(
    skills: tuple[str, ...], known: tuple[str, ...], similarity: Similarity
) -> tuple[SkillMatch, ...]:
    by_name = tuple(sorted(known))
    matches = [_match(skill, by_name, similarity) for skill in skills]
    return tuple(match for match in matches if match is not None)


def _match(skill: str, known: tuple[str, ...], similarity: Similarity) -> SkillMatch | None:
    if skill in known:
        return SkillMatch(skill, skill)
    found = [(-similarity(skill, other), other) for other in known]
    near = [item for item in found if item[0] < 0.0]
    return SkillMatch(skill, min(near)[1]) if near else None


def score(
    profile: SkillProfile,
    skills: Sequence[str],
    experts: Sequence[str],
    *,
    temperature: float = 0.5,
    variant: Variant = "source",
) -> SkillScores:
    """Weigh each expert of a pool for a question with the given known skills.

    S(m) is the sum of m's scores over `skills`; experts with S > 0 are candidates, and where there
    is none, S becomes S - min S + 1 and all are. g(m) is the sum of all of m's scores; where one
    is negative, g becomes g - min g + 1; G(m) = g(m)**(1/T) / sum over the pool. The weight is
    S * G (variant ``source``), or softmax of S * G / T over the candidates (``softmax``).
    An empty profile gives equal weights.

    Args:
        profile: the measured skills.
        skills: known skills, one for each skill of the question; a repeated one counts again.
        experts: the pool, in slot order; not empty.
        temperature: T; lower prefers the globally best experts more.
        variant: how weights follow from S * G.
    """
    raw = [math.fsum(profile.skill(expert, skill) for skill in skills) for expert in experts]
    suitability = raw if max(raw) > 0.0 else _shifted(raw)
    gains = [profile.competency(expert) for expert in experts]
    competency = _shares(_shifted(gains) if min(gains) < 0.0 else gains, 1.0 / temperature)
    candidates = [i for i, value in enumerate(suitability) if value > 0.0]
    products = {i: suitability[i] * competency[i] for i in candidates}
    if variant == "softmax":
        top = max(products.values())
        products = {i: math.exp((value - top) / temperature) for i, value in products.items()}
    elif not any(products.values()):
        products = dict.fromkeys(candidates, 1.0)
    return SkillScores(
        experts=tuple(experts),
        suitability=tuple(suitability),
        competency=competency,
        weights=tuple(_rounded(products.get(i, 0.0)) for i in range(len(experts))),
    )


def _shifted(values: Sequence[float]) -> list[float]:
    """Return values - min + 1, so that the least is 1."""
    least = min(values)
    return [value - least + 1.0 for value in values]


def _shares(values: Sequence[float], power: float) -> tuple[float, ...]:
    """Return values**power divided by their sum; equal shares where all values are zero."""
    top = max(values)
    if top <= 0.0:
        return tuple(1.0 / len(values) for _ in values)
    powers = [(value / top) ** power for value in values]  # scaled, so that nothing overflows
    total = math.fsum(powers)
    return tuple(value / total for value in powers)


def _rounded(value: float) -> float:
    """Return 12 significant digits: the last ones of exp and pow differ between machines."""
    return float(f"{value:.12g}")
