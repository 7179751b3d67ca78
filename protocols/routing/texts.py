"""Texts as vectors: how much a question resembles those of the evidence.

One measure serves all rules: TF-IDF (``terms.py``) over words and word pairs, and over character
4-grams within words; the cosine of two texts is the mean of both. An embedding of d dimensions is
the d leading directions of the evidence's own questions (latent semantic analysis, an exact
eigendecomposition of their cosines), into which a new question is folded by its cosines alone.

Nothing of it is random; directions are turned so that their largest entry is positive.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from protocols.routing.terms import Weighted, character_fours, words_and_pairs

Vector = NDArray[np.float64]

LONGEST_TEXT = 20_000
"""Characters of a question that count (ours: one of megabytes must not stall)."""
_MOST_KNOWN = 2048
_PORTION = 256
_LEAST_EIGENVALUE = 1e-9


def text_of(text: str, options: Sequence[str]) -> str:
    """Return what of a question is compared: its text and its options."""
    return "\n".join((text, *options))[:LONGEST_TEXT]


class Texts:
    """The texts of an evidence, ready to be compared with others."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._known: dict[str, Vector] = {}
        self._expected: dict[str, tuple[str, ...]] = {}
        self.size = len(texts)
        views = [Weighted(split, texts) for split in (words_and_pairs, character_fours)]
        self._views = [view for view in views if not view.empty]

    def similarities(self, text: str) -> Vector:
        """Return the cosine of `text` with each text, in [0, 1]; shape (size,)."""
        if text not in self._known:
            texts = self._expected.get(text, (text,))
            for one in texts:
                self._expected.pop(one, None)
            if len(self._known) + len(texts) > _MOST_KNOWN:
                self._known.clear()
            self._known.update(zip(texts, self._compared(texts), strict=True))
        return self._known[text]

    def expect(self, texts: Sequence[str]) -> None:
        """Say which texts will be compared, so that many are compared at once; it saves time.

        They are compared when the first of a portion is asked for; the cosines are the same.
        """
        for start in range(0, len(texts), _PORTION):
            portion = tuple(dict.fromkeys(texts[start : start + _PORTION]))
            for text in portion:
                if text not in self._known:
                    self._expected[text] = portion

    def _compared(self, texts: Sequence[str]) -> list[Vector]:
        """Return the cosines of each of `texts` with those of the evidence."""
        total = np.zeros((len(texts), self.size))
        for view in self._views:
            total += view.compared(texts)
        return list(np.round(total / max(len(self._views), 1), 12))

    @cached_property
    def cosines(self) -> Vector:
        """The cosine of every two texts; shape (size, size)."""
        total = np.zeros((self.size, self.size))
        for view in self._views:
            total += view.cosines()
        return np.round(total / max(len(self._views), 1), 12)

    @cached_property
    def _directions(self) -> tuple[Vector, Vector]:
        """The eigenvectors of the cosines (columns) and their values, largest first."""
        values, vectors = np.linalg.eigh(self.cosines)
        kept = values[::-1] > _LEAST_EIGENVALUE
        values, vectors = values[::-1][kept], vectors[:, ::-1][:, kept]
        if vectors.size:
            peaks = np.argmax(np.round(np.abs(vectors), 9), axis=0)
            vectors = vectors * np.sign(vectors[peaks, np.arange(vectors.shape[1])])
        return values, vectors

    def embedded(self, dimensions: int) -> Vector:
        """Return the texts' own embedding; shape (size, up to `dimensions`)."""
        values, vectors = self._directions
        scaled: Vector = vectors[:, :dimensions] * np.sqrt(values[:dimensions])
        return scaled

    def embedding(self, text: str, dimensions: int) -> Vector:
        """Return the embedding of `text` among them; shape (up to `dimensions`,)."""
        values, vectors = self._directions
        folded: Vector = self.similarities(text) @ vectors[:, :dimensions]
        return folded / np.sqrt(values[:dimensions])


def unit_rows(rows: Vector) -> Vector:
    """Return rows of length 1; a row of zeros stays."""
    norms = np.linalg.norm(rows, axis=-1, keepdims=True)
    scaled: Vector = np.divide(rows, norms, out=np.zeros_like(rows), where=norms > 0.0)
    return scaled
