"""Versions of a manuscript: whether a revision kept the content, and which version is best."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from protocols.ballots import TOLERANCE
from protocols.messages import Part
from protocols.reviewing import mean

_WORD = re.compile(r"\w+(?:[.,]\d+)*")
_SHORT = 4


def content_words(text: str) -> frozenset[str]:
    """Return the words that carry content: numbers, and words of four letters or more, folded."""
    words = _WORD.findall(text.casefold())
    return frozenset([w for w in words if len(w) >= _SHORT or w[0].isdigit()])


def kept_share(original: frozenset[str], version: frozenset[str]) -> float:
    """Return the share of the original's content words that a version still holds."""
    return len(original & version) / len(original) if original else 1.0


def changed_numbers(original: frozenset[str], version: frozenset[str]) -> int:
    """Return how many numbers stand in one of two texts and not in the other."""
    return sum(word[0].isdigit() for word in original ^ version)


@dataclass(slots=True)
class Version:
    """A version of the manuscript and how it fared."""

    number: int
    """0 for the original, else the round that wrote it."""
    part: Part | None
    """The version, quoted; None where it is not shown to the raters."""
    kept: float = 1.0
    """The share of the original's content words that it holds."""
    changed_numbers: int = 0
    """Numbers that only it or only the original holds."""
    rubric: dict[str, float | None] | None = None
    """Its scores by criterion; None where it was not scored."""
    points: list[float] = field(default_factory=list)
    """One for each comparison: 1 won, 0.5 even, 0 lost."""
    ratings: list[float] = field(default_factory=list)
    """What the raters gave it, 1 to 10, one for each comparison."""

    def meet(self, other: Version, own: float, others: float) -> None:
        """Write down a comparison in which this version was rated `own`, the other `others`."""
        won = 0.5 if abs(own - others) <= TOLERANCE else float(own > others)
        for version, rating, point in ((self, own, won), (other, others, 1.0 - won)):
            version.ratings.append(rating)
            version.points.append(point)

    def as_json(self) -> dict[str, Any]:
        """Return what is told of it."""
        return {
            "version": self.number,
            "kept": round(self.kept, 9),
            "changed_numbers": self.changed_numbers,
            "rubric": self.rubric,
            "comparisons": len(self.points),
            "points": mean(self.points),
            "rating": mean(self.ratings),
        }


def best_version(versions: Sequence[Version]) -> tuple[Version | None, bool]:
    """Return the version that won the largest share of its comparisons, and whether it tied.

    A tie goes to the higher mean rating, then to the earlier version. None where nothing was
    compared.
    """
    met = [version for version in versions if version.points]
    if not met:
        return None, False
    tied = _top(met, [mean(version.points) or 0.0 for version in met])
    rated = _top(tied, [mean(version.ratings) or 0.0 for version in tied])
    return rated[0], len(tied) > 1


def _top(versions: Sequence[Version], values: Iterable[float]) -> list[Version]:
    pairs = list(zip(versions, values, strict=True))
    highest = max(value for _, value in pairs)
    return [version for version, value in pairs if highest - value <= TOLERANCE]
