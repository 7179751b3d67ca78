"""Skills of questions from their words alone: TF-IDF key phrases, without a model.

A vocabulary of phrases is fitted on the questions of a profile and nothing else; a question's
skills are then its heaviest phrases by TF-IDF. A question of a run is read with that same
vocabulary, so that its skills are ones that somebody was measured in. No source: this is the
offline stand-in for a model that names keywords (``protocols/annotation.py``), with the same
limits: at most five phrases a question, of at most twenty characters each.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from functools import cached_property, lru_cache
from itertools import pairwise

from pydantic import BaseModel, ConfigDict, Field

from protocols.annotation import LONGEST, MOST
from protocols.evidence import EvidenceQuestion
from protocols.question import Question

LEAST_QUESTIONS = 3
"""A phrase of fewer questions of the profile is no skill: too little to measure (ours)."""
MOST_COMMON = 0.5
"""A phrase of more than this share of them tells nothing apart (ours)."""
MOST_PHRASES = 400
"""Phrases in the vocabulary: those of the most questions (ours)."""

Asked = Question | EvidenceQuestion
"""What skills are read from: a question of a run, or what evidence keeps of one."""

_WORD = re.compile(r"[^\W\d_]{3,}")
_COMMAND = re.compile(r"\\[a-z]+")  # of LaTeX: how something looks, not what it is


class TextSkills(BaseModel):
    """A fitted vocabulary of phrases."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    phrases: dict[str, float] = {}
    """Phrase (one or two words in lower case) -> its inverse document frequency."""
    questions: int = Field(0, ge=0)
    """On how many questions it was fitted."""

    def skills(self, question: Asked) -> tuple[str, ...]:
        """Return the skills of a question, by name: its five heaviest phrases of the vocabulary.

        A phrase weighs the number of times that it occurs, times its inverse document frequency;
        equal ones go by name. A question without any phrase of the vocabulary has no skill.
        """
        counts: dict[str, int] = {}
        for phrase in phrases_of(text_of(question)):
            if phrase in self.phrases:
                counts[phrase] = counts.get(phrase, 0) + 1
        weights = {p: round(count * self.phrases[p], 12) for p, count in counts.items()}
        return tuple(sorted(sorted(weights, key=lambda p: (-weights[p], p))[:MOST]))

    @cached_property
    def known(self) -> tuple[str, ...]:
        """The phrases by name."""
        return tuple(sorted(self.phrases))


def text_of(question: Asked) -> str:
    """Return the words of a question that skills are read from: its text and its options."""
    return "\n".join((question.text, *question.options))


def phrases_of(text: str) -> list[str]:
    """Return the words of a text and its pairs of neighbouring words, as often as they occur.

    Words have three letters or more; the stop words of English are left out, as are commands of
    LaTeX, and no pair reaches over a line's end. Nothing longer than twenty characters is a phrase.
    """
    stop = _stop_words()
    found: list[str] = []
    for line in _COMMAND.sub(" ", text.casefold()).splitlines():
        words = [word for word in _WORD.findall(line) if word not in stop]
        found.extend(words)
        found.extend(f"{a} {b}" for a, b in pairwise(words) if a != b)
    return [phrase for phrase in found if len(phrase) <= LONGEST]


@lru_cache(maxsize=1)
def _stop_words() -> frozenset[str]:
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

    return frozenset(ENGLISH_STOP_WORDS)


def fit_text_skills(questions: Iterable[Asked]) -> TextSkills:
    """Fit the vocabulary on the questions of a profile; the order of the questions is no matter.

    Of fewer than three questions nothing can be learned, and the vocabulary is empty.
    """
    texts = [text_of(question) for question in questions]
    if len(texts) < LEAST_QUESTIONS:
        return TextSkills(questions=len(texts))
    frequencies = _frequencies(texts)
    order = sorted(frequencies, key=lambda phrase: (-frequencies[phrase], phrase))
    chosen = sorted(order[:MOST_PHRASES])
    return TextSkills(
        phrases={
            phrase: round(math.log((1 + len(texts)) / (1 + frequencies[phrase])) + 1.0, 12)
            for phrase in chosen
        },
        questions=len(texts),
    )


def _frequencies(texts: Sequence[str]) -> dict[str, int]:
    """Return in how many texts each phrase stands that is neither too rare nor too common."""
    from sklearn.feature_extraction.text import CountVectorizer

    counter = CountVectorizer(analyzer=phrases_of, binary=True)
    try:
        matrix = counter.fit_transform(texts)
    except ValueError:  # no text holds a phrase
        return {}
    totals = matrix.sum(axis=0).tolist()[0]
    most = max(MOST_COMMON * len(texts), LEAST_QUESTIONS)
    return {
        str(phrase): int(totals[place])
        for phrase, place in counter.vocabulary_.items()
        if LEAST_QUESTIONS <= totals[place] <= most
    }
