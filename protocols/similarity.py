"""How alike two skills are: which known skill an unseen one stands for.

A similarity is any function of two names that returns a number, higher for more alike and 0 for
nothing in common; ``recruitment.match_skills`` takes the known skill with the highest. There is
TF-IDF over characters and words (the default), the plain cosine of character trigrams
(``recruitment.trigram_similarity``), vectors that an embedding expert computed, and a map from
unseen to known skills. The last two are computed outside sessions and enter them as the assets
``vectors`` and ``matches`` of a cast, so that a session stays pure.

Source: Symbolic-MoE (arXiv 2503.05641) maps an unseen skill to the most similar known one by the
cosine of sentence embeddings. Departure: the default needs no model, and finds nothing in common
where two names share no word and no run of two characters.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Literal

from pydantic import JsonValue

from protocols.cast import Asset, Cast
from protocols.errors import Mistake
from protocols.recruitment import trigram_similarity
from protocols.skills import MATCHES, read_matches

Similarity = Callable[[str, str], float]
"""How alike an unseen skill (first) and a known one are; must be hashable, as it is a key."""
SimilarityName = Literal["tfidf", "trigram"]
"""The similarities that need nothing but the names."""

VECTORS = "vectors"
"""The asset that holds a vector for each skill, and the kind of such an asset."""
SHORTEST_GRAM, LONGEST_GRAM = 2, 4
"""Lengths of the runs of characters that TF-IDF counts (ours)."""

Terms = dict[str, float]


def _words(skill: str) -> list[str]:
    return "".join(c if c.isalnum() else " " for c in skill.casefold()).split()


def _grams(words: Sequence[str]) -> Counter[str]:
    """Count the runs of two to four characters in words, each padded with a blank."""
    padded = [f" {word} " for word in words]
    return Counter(
        word[i : i + n]
        for word in padded
        for n in range(SHORTEST_GRAM, LONGEST_GRAM + 1)
        for i in range(len(word) - n + 1)
    )


class _Vocabulary:
    """Terms of the known skills and their inverse document frequencies.

    idf(t) = ln((1 + n) / (1 + df(t))) + 1 over n known skills; a vector is the counts times idf,
    of length 1. Terms that no known skill has count nothing: they tell the known ones not apart.
    """

    def __init__(self, documents: Sequence[Counter[str]]) -> None:
        found: Counter[str] = Counter(term for counts in documents for term in counts)
        self._idf = {
            term: math.log((1 + len(documents)) / (1 + df)) + 1.0 for term, df in found.items()
        }

    def vector(self, counts: Counter[str]) -> Terms:
        weights = {t: count * self._idf[t] for t, count in sorted(counts.items()) if t in self._idf}
        length = math.sqrt(math.fsum(weight * weight for weight in weights.values()))
        return {term: weight / length for term, weight in weights.items()} if length else {}


class TfidfSimilarity:
    """Mean of two cosines: of TF-IDF over characters and over whole words.

    Its vocabulary is that of the known skills; everything about one unseen skill is computed at
    its first comparison.
    """

    def __init__(self, known: Sequence[str]) -> None:
        """Fit the vocabulary.

        Args:
            known: the skills that others are compared with.
        """
        words = [_words(skill) for skill in known]
        self._grams = _Vocabulary([_grams(found) for found in words])
        self._words = _Vocabulary([Counter(found) for found in words])
        self._known = {skill: self._terms(skill) for skill in known}
        self._found = lru_cache(maxsize=1024)(self._terms)

    def __call__(self, one: str, other: str) -> float:
        """Return how alike two skills are, from 0 to 1, rounded to 12 digits."""
        left = self._found(one)
        right = self._known.get(other) or self._found(other)
        return round(sum(map(_dot, left, right)) / 2, 12)

    def _terms(self, skill: str) -> tuple[Terms, Terms]:
        words = _words(skill)
        return self._grams.vector(_grams(words)), self._words.vector(Counter(words))


def _dot(one: Terms, other: Terms) -> float:
    if len(other) < len(one):
        one, other = other, one
    return math.fsum(weight * other[term] for term, weight in one.items() if term in other)


class VectorSimilarity:
    """Cosine of vectors computed elsewhere; skills without a vector are like nothing."""

    def __init__(self, vectors: Mapping[str, Sequence[float]]) -> None:
        """Keep the vectors, each scaled to length 1.

        Args:
            vectors: by skill, all of the same length.
        """
        self._vectors = {skill: unit(vector) for skill, vector in vectors.items()}

    def __call__(self, one: str, other: str) -> float:
        """Return the cosine of two skills' vectors, at least 0, rounded to 12 digits."""
        left, right = self._vectors.get(one), self._vectors.get(other)
        if left is None or right is None or len(left) != len(right):
            return 0.0
        return round(max(0.0, math.fsum(map(float.__mul__, left, right))), 12)


def unit(vector: Sequence[float]) -> tuple[float, ...]:
    """Return a vector of length 1 in the same direction; one of zeros stays as it is."""
    length = math.sqrt(math.fsum(value * value for value in vector))
    return tuple(float(value) / length if length else 0.0 for value in vector)


class MatchedSimilarity:
    """A map from unseen to known skills, before any other similarity."""

    def __init__(self, matches: Mapping[str, str], rest: Similarity) -> None:
        """Keep the map.

        Args:
            matches: unseen skill -> the known skill that it stands for.
            rest: what counts for a skill that the map does not name.
        """
        self._matches = dict(matches)
        self._rest = rest

    def __call__(self, one: str, other: str) -> float:
        """Return 1 for the known skill of the map, 0 for others; else what the rest says."""
        if one in self._matches:
            return float(self._matches[one] == other)
        return self._rest(one, other)


@lru_cache(maxsize=16)
def tfidf_similarity(known: tuple[str, ...]) -> TfidfSimilarity:
    """Return the TF-IDF similarity over known skills; fitted once."""
    return TfidfSimilarity(known)


def named_similarity(name: SimilarityName, known: Sequence[str]) -> Similarity:
    """Return a similarity that needs nothing but the names of the known skills."""
    return trigram_similarity if name == "trigram" else tfidf_similarity(tuple(sorted(known)))


def cast_similarity(cast: Cast, known: Sequence[str], name: SimilarityName = "tfidf") -> Similarity:
    """Return the similarity that counts in a session.

    The asset ``matches`` counts first, then the asset ``vectors``, then the one called `name`.
    Made once for the same assets and skills, so that it can be a key of a cache.
    """
    assets = cast.assets
    vectors, matches = assets.get(VECTORS), assets.get(MATCHES)
    if vectors is None and matches is None:
        return named_similarity(name, known)
    key = (
        "" if vectors is None else vectors.digest,
        "" if matches is None else matches.digest,
        tuple(sorted(known)),
        name,
    )
    made = _MADE.get(key)
    if made is None:
        rest = named_similarity(name, known) if vectors is None else vector_similarity(vectors)
        made = rest if matches is None else MatchedSimilarity(read_matches(cast), rest)
        if len(_MADE) >= _MOST_MADE:
            _MADE.clear()
        _MADE[key] = made
    return made


_MOST_MADE = 16
_MADE: dict[tuple[str, str, tuple[str, ...], str], Similarity] = {}
# By what they are made of, as thousands of sessions of a run use the same.


def vector_similarity(asset: Asset) -> VectorSimilarity:
    """Return the similarity by the vectors of an asset.

    Raises:
        Mistake: it holds none; see :func:`check_vectors`.
    """
    check_vectors(asset)
    content = asset.content
    assert isinstance(content, dict)
    return VectorSimilarity({skill: _numbers(vector) for skill, vector in content.items()})


def _numbers(value: JsonValue) -> list[float]:
    """Return a list of numbers; empty for what is none."""
    if not isinstance(value, list) or not value:
        return []
    found = [float(x) for x in value if isinstance(x, (int, float)) and not isinstance(x, bool)]
    return found if len(found) == len(value) and all(map(math.isfinite, found)) else []


def check_vectors(asset: Asset) -> None:
    """Check the content of an asset ``vectors``.

    Raises:
        Mistake: it is no mapping of skills to lists of numbers, all of one length.
    """
    if not isinstance(asset.content, dict):
        raise Mistake("not vectors of skills; write a mapping: skill -> list of numbers")
    lengths: dict[int, str] = {}
    for skill, value in asset.content.items():
        vector = _numbers(value)
        if not vector:
            raise Mistake(f"the vector of {skill!r:.60} is no list of numbers; compute it again")
        lengths.setdefault(len(vector), skill)
    if len(lengths) > 1:
        one, other, *_ = lengths
        raise Mistake(
            f"the vectors of {lengths[one]!r:.60} and {lengths[other]!r:.60} have {one} and "
            f"{other} numbers; compute all with one model"
        )
