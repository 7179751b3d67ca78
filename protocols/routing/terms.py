"""Texts as weighted terms (TF-IDF), counted once however many evidences share a text.

Cross-validation fits one evidence for each fold, of mostly the same texts. What is costly, cutting
a text into terms and counting them, depends on the text alone, so it is kept here by text; a fit
weighs what was counted. Columns are numbered as terms are met, in whatever order; every sum runs
over the terms of one text in the order of that text, so that no result depends on the numbers.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

Vector = NDArray[np.float64]

_MOST_COUNTED = 4_000_000
"""Terms of kept texts; beyond them a vocabulary learns only what it is fitted to (some 50 MB)."""
_WORD = re.compile(r"\w+")


def words_and_pairs(text: str) -> list[str]:
    """Return the words of a text and every two that follow each other."""
    words = _WORD.findall(text.lower())
    return words + [f"{first} {second}" for first, second in pairwise(words)]


def character_fours(text: str) -> list[str]:
    """Return four characters each, within words with a space around them; short words whole."""
    padded = [f" {word} " for word in text.lower().split()]
    return [word[i : i + 4] for word in padded for i in range(max(1, len(word) - 3))]


class Vocabulary:
    """The terms that were met, numbered, and how often they stand in the texts that are kept."""

    def __init__(self, split: Callable[[str], list[str]]) -> None:
        self.split = split
        self._columns: defaultdict[str, int] = defaultdict()
        self._columns.default_factory = self._columns.__len__
        self._kept: dict[str, tuple[NDArray[np.int32], Vector]] = {}
        self._counted = 0

    @property
    def full(self) -> bool:
        """Whether it holds as much as it should."""
        return self._counted >= _MOST_COUNTED

    def rows(self, texts: Sequence[str], *, learn: bool) -> csr_array:
        """Return 1 + ln(count) of each text's terms; shape (texts, terms met so far).

        Args:
            texts: one a row.
            learn: whether terms that were not met before count; else they are left out.
        """
        counted = [self._counts(text, learn=learn) for text in texts]
        ends = np.cumsum([0, *(len(columns) for columns, _ in counted)])
        columns = np.concatenate([np.zeros(0, np.int32), *(columns for columns, _ in counted)])
        weights = np.concatenate([np.zeros(0), *(weights for _, weights in counted)])
        return csr_array((weights, columns, ends), shape=(len(texts), len(self._columns)))

    def _counts(self, text: str, *, learn: bool) -> tuple[NDArray[np.int32], Vector]:
        found = self._kept.get(text)
        if found is not None:
            return found
        times = Counter(self.split(text))
        if not learn:
            times = Counter({term: n for term, n in times.items() if term in self._columns})
        columns = np.fromiter(map(self._columns.__getitem__, times), np.int32, len(times))
        found = columns, 1.0 + np.log(np.fromiter(times.values(), np.float64, len(times)))
        if learn:
            self._kept[text] = found
            self._counted += len(columns)
        return found


class Weighted:
    """Texts as rows of length 1: tf-idf with sublinear counts and smoothed document frequencies.

    ``(1 + ln count) * (1 + ln((1 + texts) / (1 + texts with the term)))``, as scikit-learn's
    ``TfidfVectorizer(sublinear_tf=True)`` defines it.
    """

    def __init__(self, split: Callable[[str], list[str]], texts: Sequence[str]) -> None:
        self._vocabulary = _vocabulary(split)
        rows = self._vocabulary.rows(texts, learn=True)
        found = np.bincount(rows.indices, minlength=rows.shape[1])
        self._idf: Vector = np.where(
            found > 0, 1.0 + np.log((1.0 + len(texts)) / (1.0 + found)), 0.0
        )
        self._rows = self._weighed(rows)
        self._by_term = self._rows.T.tocsr()

    @property
    def empty(self) -> bool:
        """Whether no text has a term."""
        return not self._rows.nnz

    def cosines(self) -> Vector:
        """Return the cosine of every two texts; shape (texts, texts)."""
        cosines: Vector = (self._rows @ self._by_term).toarray()
        return cosines

    def compared(self, texts: Sequence[str]) -> Vector:
        """Return the cosine of each of `texts` with those it was made of; shape (texts, known)."""
        rows = self._vocabulary.rows(texts, learn=not self._vocabulary.full)
        cosines: Vector = (self._weighed(rows) @ self._by_term).toarray()
        return cosines

    def _weighed(self, rows: csr_array) -> csr_array:
        """Return rows weighed and of length 1; terms that were not met in the fit are left out."""
        known = np.zeros(rows.shape[1])
        known[: len(self._idf)] = self._idf
        idf = known[rows.indices]
        here = idf > 0.0
        lines = np.repeat(np.arange(rows.shape[0]), np.diff(rows.indptr))[here]
        weights = rows.data[here] * idf[here]
        norms = np.sqrt(np.bincount(lines, weights**2, minlength=rows.shape[0]))
        ends = np.searchsorted(lines, np.arange(rows.shape[0] + 1))
        shape = (rows.shape[0], len(self._idf))
        return csr_array((weights / norms[lines], rows.indices[here], ends), shape=shape)


_VOCABULARIES: dict[Any, Vocabulary] = {}
# By how they split: all evidences of a process share one, until it is full.


def _vocabulary(split: Callable[[str], list[str]]) -> Vocabulary:
    found = _VOCABULARIES.get(split)
    if found is None or found.full:
        found = _VOCABULARIES[split] = Vocabulary(split)
    return found
