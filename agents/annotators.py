"""Which annotators of skills there are: the one place that says so.

An annotator gives each question of a profile its skills, and afterwards each question of a run.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from protocols.annotation import MOST
from protocols.errors import Mistake

AnnotatorName = Literal["subject", "text", "annotated", "menu"]


@dataclass(frozen=True, slots=True)
class Annotator:
    """A way to name skills."""

    name: AnnotatorName
    about: str
    """What it does, in one line."""
    asks_model: bool = False
    """Whether an expert is asked, which costs calls."""
    passes: int = 0
    """Asks a question, by default."""


ANNOTATORS: dict[str, Annotator] = {
    annotator.name: annotator
    for annotator in (
        Annotator("subject", "category and subject as the data name them"),
        Annotator("text", f"at most {MOST} TF-IDF key phrases of the question's words"),
        Annotator("annotated", "keywords that an expert names repeatedly", True, 5),
        Annotator("menu", "skills that an expert chooses from a closed menu", True, 1),
    )
}


def annotator_called(name: str) -> Annotator:
    """Return an annotator by its name.

    Raises:
        Mistake: there is none.
    """
    found = ANNOTATORS.get(name)
    if found is None:
        raise Mistake(f"no annotator {name!r} of skills; there is {', '.join(ANNOTATORS)}")
    return found
