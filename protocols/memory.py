"""Memory: past problems with the best solution that was found to each, as an asset of a cast.

A session reads a memory by content hash and never writes it. It is changed between sessions alone,
at barriers that the run declares: :func:`next_memory` makes the next memory from the outcomes of a
finished stage, as a pure function, and the next stage's casts hold that. What is stored is the best
solution of a session, not its last. Nothing in it comes from an answer key: a score is what the
judge gave.

Recall. The entries closest to a question by the cosine of TF-IDF over words; equally close ones
in the memory's order, such as share no word never, and the question itself never.

Source: Xolver (arXiv 2506.14234), its episodic memory. Departures: TF-IDF instead of BM25; a
published version kept the last solution of a session in place of the best.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from protocols.cast import Asset
from protocols.errors import Mistake
from protocols.outcome import Outcome
from protocols.question import Question

MEMORY = "memory"
"""The name under which a cast holds a memory, and the kind of such an asset."""
BEST = "best"
"""Where an outcome's detail tells the best solution: ``text``, ``answer`` and ``score``."""

_WORD = re.compile(r"\w+")
_MOST_READ = 16


class MemoryEntry(BaseModel):
    """A past problem and the best solution that was found to it."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    key: str
    """The digest of the question's content, without its id."""
    question: str
    """What was asked, with its options."""
    solution: str
    """The whole solution, as written."""
    answer: str
    """Its answer in canonical form."""
    score: float = Field(ge=1.0, le=10.0)
    """What the judge gave it."""

    @classmethod
    def of(cls, question: Question, outcome: Outcome) -> MemoryEntry | None:
        """Return what a session leaves behind; None where it found no scored answer."""
        best = outcome.detail.get(BEST)
        if not isinstance(best, Mapping):
            return None
        asked = (question.text_part.text, question.options_part.text)
        return cls(
            key=question.content_digest,
            question="\n".join(text for text in asked if text),
            solution=best["text"],
            answer=best["answer"],
            score=best["score"],
        )


class Memory(BaseModel):
    """Past problems, oldest first."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    entries: tuple[MemoryEntry, ...] = ()
    """One for each problem."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len({entry.key for entry in self.entries}) < len(self.entries):
            raise ValueError("two entries are about the same problem")
        return self

    def recall(self, question: Question, most: int) -> tuple[MemoryEntry, ...]:
        """Return the past problems closest to a question, closest first.

        Args:
            question: what is asked now; an entry about it is left out.
            most: how many at most.
        """
        idf, postings = self._index
        closeness: dict[int, float] = {}
        for word, count in sorted(Counter(_words(question.text)).items()):
            for place, weight in postings.get(word, ()):
                closeness[place] = closeness.get(place, 0.0) + count * idf[word] * weight
        found = [
            (-round(value, 9), place)
            for place, value in closeness.items()
            if self.entries[place].key != question.content_digest
        ]
        return tuple(self.entries[place] for _, place in sorted(found)[:most])

    @cached_property
    def _index(self) -> tuple[dict[str, float], dict[str, list[tuple[int, float]]]]:
        """The inverse document frequency of every word, and who has it with which weight."""
        counts = [Counter(_words(entry.question)) for entry in self.entries]
        held = Counter(word for found in counts for word in found)
        idf = {word: math.log((1 + len(counts)) / (1 + n)) + 1.0 for word, n in held.items()}
        postings: dict[str, list[tuple[int, float]]] = {}
        for place, found in enumerate(counts):
            weights = {word: count * idf[word] for word, count in sorted(found.items())}
            length = math.sqrt(math.fsum(weight**2 for weight in weights.values())) or 1.0
            for word, weight in weights.items():
                postings.setdefault(word, []).append((place, weight / length))
        return idf, postings

    def as_asset(self) -> Asset:
        """Return the memory as an asset of a cast."""
        return Asset(kind=MEMORY, content=self.model_dump(mode="json"))

    @classmethod
    def from_asset(cls, asset: Asset) -> Memory:
        """Return the memory that an asset holds; read once per content.

        Raises:
            Mistake: the asset does not hold a memory.
        """
        known = _READ.get(asset.digest)
        if known is not None:
            return known
        try:
            if asset.kind != MEMORY:
                raise Mistake(f"an asset of kind {asset.kind!r} is not a memory; give one")
            memory = cls.model_validate(asset.content)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(step) for step in first["loc"]) or "content"
            raise Mistake(f"the memory cannot be read at {where}: {first['msg']}") from None
        if len(_READ) >= _MOST_READ:
            _READ.clear()
        _READ[asset.digest] = memory
        return memory


_READ: dict[str, Memory] = {}
# Memories by digest, as thousands of sessions of a run read the same one.


def cast_memory(assets: Mapping[str, Asset]) -> Memory:
    """Return the memory among a cast's assets.

    Raises:
        Mistake: there is none, or it cannot be read.
    """
    asset = assets.get(MEMORY)
    if asset is None:
        raise Mistake(
            f"there is no memory; give the cast the asset {MEMORY!r}, at first with no 'entries'"
        )
    return Memory.from_asset(asset)


def next_memory(
    memory: Memory, solved: Iterable[tuple[Question, Outcome]], *, most: int | None = None
) -> Memory:
    """Return the memory after a stage; a pure function.

    Of several solutions to one problem the best scored stays, the older one where they are equal.
    A problem keeps its place; new ones come last, in the order given.

    Args:
        memory: what the stage's sessions read.
        solved: its questions with their outcomes, in a fixed order.
        most: how many entries stay; the best scored do, older ones first among equals.
    """
    entries = {entry.key: entry for entry in memory.entries}
    for question, outcome in solved:
        entry = MemoryEntry.of(question, outcome)
        if entry is not None:
            known = entries.get(entry.key)
            if known is None or entry.score > known.score:
                entries[entry.key] = entry
    stay = list(entries.values())
    if most is not None and len(stay) > most:
        best = sorted(range(len(stay)), key=lambda place: (-stay[place].score, place))[:most]
        stay = [stay[place] for place in sorted(best)]
    return Memory(entries=tuple(stay))


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())
