"""Diversity: how far apart answers are, and which few of many lie farthest apart.

The distance of two answers is the mean of two parts, each in [0, 1]: whether they answer
differently, and one minus the cosine of their TF-IDF vectors (words, case folded; smoothed idf
``ln((1 + n) / (1 + df)) + 1``, term counts, Euclidean norm).

Source: arXiv 2601.19921 (a diverse start raises the chance that the right hypothesis is in the
discussion). The source embeds the answers; TF-IDF needs no model (ours), and the half weight of
the answer itself is ours too.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence

from protocols.ballots import TOLERANCE

Distances = tuple[tuple[float, ...], ...]
"""A symmetric matrix, zero on its diagonal."""

_WORD = re.compile(r"\w+")
LONGEST_TEXT = 20_000
"""Characters; what follows them does not count (ours: a text of megabytes must not stall)."""


def distances(answers: Sequence[str], texts: Sequence[str]) -> Distances:
    """Return the distance of every two answers.

    Args:
        answers: the answers in canonical form.
        texts: the whole replies, in the same order.
    """
    vectors = tfidf(texts)
    n = len(answers)
    rows = [[0.0] * n for _ in range(n)]
    for i in range(n):
        for j in range(i + 1, n):
            words = 1.0 - min(1.0, _dot(vectors[i], vectors[j]))
            rows[i][j] = rows[j][i] = (float(answers[i] != answers[j]) + words) / 2.0
    return tuple([tuple(row) for row in rows])


def tfidf(texts: Sequence[str]) -> list[dict[str, float]]:
    """Return each text as its TF-IDF vector of length 1, by word; a wordless text has none."""
    counts = [Counter(_WORD.findall(text[:LONGEST_TEXT].casefold())) for text in texts]
    spread = Counter([word for count in counts for word in count])
    n = len(texts)
    idf = {word: math.log((1 + n) / (1 + found)) + 1.0 for word, found in spread.items()}
    vectors = []
    for count in counts:
        vector = {word: times * idf[word] for word, times in count.items()}
        norm = math.sqrt(sum([value * value for value in vector.values()]))
        vectors.append({word: value / norm for word, value in vector.items()})
    return vectors


def _dot(one: dict[str, float], other: dict[str, float]) -> float:
    return sum([value * other[word] for word, value in one.items() if word in other])


def most_diverse(apart: Distances, k: int) -> tuple[int, ...]:
    """Return the places of k answers that lie far apart, in slot order.

    Greedy: first the answer nearest to all others (the medoid), then again and again the one
    whose nearest chosen answer is farthest away. Ties go to the one farther from all chosen, then
    to the one that comes first.
    """
    rest = list(range(len(apart)))
    if k >= len(rest):
        return tuple(rest)
    chosen = [_first_best(rest, [-math.fsum(row) for row in apart])]
    while len(chosen) < k:
        rest = [i for i in rest if i not in chosen]
        nearest = {i: min(apart[i][j] for j in chosen) for i in rest}
        top = max(nearest.values())
        leading = [i for i in rest if top - nearest[i] <= TOLERANCE]
        totals = [math.fsum(row[j] for j in chosen) for row in apart]
        chosen.append(_first_best(leading, totals))
    return tuple(sorted(chosen))


def _first_best(places: Sequence[int], scores: Sequence[float]) -> int:
    """Return the first of `places` whose score is, up to the tolerance, the highest."""
    top = max(scores[i] for i in places)
    return next(i for i in places if top - scores[i] <= TOLERANCE)


def mean_distance(apart: Distances, places: Sequence[int]) -> float | None:
    """Return the mean distance between the answers at `places`; None for fewer than two."""
    pairs = [apart[i][j] for n, i in enumerate(places) for j in places[n + 1 :]]
    return round(math.fsum(pairs) / len(pairs), 9) if pairs else None
