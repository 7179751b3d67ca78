"""Embedding experts: vectors of skills, computed before any session starts.

A hosted model, or a server that speaks its protocol, is asked through litellm; a scripted one
reads its vectors from its options. What comes out enters sessions as an asset: the vectors
themselves, or the known skill that each unseen one stands for.
"""

from __future__ import annotations

import asyncio
import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence

from agents.roster import Expert
from protocols.cast import Asset
from protocols.errors import Mistake
from protocols.similarity import VECTORS, Similarity, VectorSimilarity, vector_similarity

BATCH = 256
"""Texts of one call (ours)."""


class Embedder(ABC):
    """Turns texts into vectors of one length."""

    @abstractmethod
    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """Return a vector for each text.

        Raises:
            Mistake: it cannot be done; the message says why.
        """


class ScriptedEmbedder(Embedder):
    """Reads vectors from the expert's options: ``options: {vectors: {algebra: [1, 0]}}``."""

    def __init__(self, expert: Expert) -> None:
        """Take the vectors.

        Raises:
            Mistake: the expert has none.
        """
        vectors = expert.options.get("vectors")
        if not isinstance(vectors, dict) or not vectors:
            raise Mistake(
                f"expert {expert.label or expert.model!r}: has no vectors; write  "
                "options: {vectors: {SKILL: [1, 0]}}"
            )
        self._vectors = vectors

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """Return the vector of each text; zeros for one that has none."""
        zeros = [0.0] * len(next(iter(self._vectors.values())))
        return [list(self._vectors.get(text, zeros)) for text in texts]


class HostedEmbedder(Embedder):
    """A hosted embedding model, some hundred texts a call; not for use in an event loop."""

    def __init__(self, expert: Expert) -> None:
        """Keep the expert; nothing is called yet."""
        self._expert = expert

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """Return the vector of each text."""
        from agents.litellm_engine import embed

        found: list[list[float]] = []
        for start in range(0, len(texts), BATCH):
            found += asyncio.run(embed(self._expert, texts[start : start + BATCH]))
        return found


def make_embedder(expert: Expert) -> Embedder:
    """Return what computes the vectors of an embedding expert.

    Raises:
        Mistake: experts of its kind have none.
    """
    if expert.provider == "scripted":
        return ScriptedEmbedder(expert)
    if expert.provider in ("human", "offline", "recorded", "retriever", "transformers", "vllm"):
        raise Mistake(
            f"{expert.model} computes no vectors; name an embedding model such as "
            "openai/text-embedding-3-small"
        )
    return HostedEmbedder(expert)


def vectors_asset(skills: Iterable[str], embedder: Embedder) -> Asset:
    """Return the asset ``vectors`` of skills, its numbers rounded to 12 digits.

    Raises:
        Mistake: the embedder failed, or did not return a vector for each skill.
    """
    names = sorted(set(skills))
    vectors = embedder.embed(names) if names else []
    if len(vectors) != len(names) or len({len(vector) for vector in vectors}) > 1:
        raise Mistake("the embedding expert did not return one vector for each skill")
    if not all(vector and all(map(math.isfinite, vector)) for vector in vectors):
        raise Mistake("the embedding expert returned something that is no vector")
    content = {
        name: [float(f"{value:.12g}") for value in vector]
        for name, vector in zip(names, vectors, strict=True)
    }
    return Asset.model_validate({"kind": VECTORS, "content": content})


def embedded_similarity(skills: Iterable[str], embedder: Embedder) -> VectorSimilarity:
    """Return the similarity of skills by their vectors.

    Raises:
        Mistake: see :func:`vectors_asset`.
    """
    return vector_similarity(vectors_asset(skills, embedder))


def nearest_known(
    unseen: Iterable[str], known: Sequence[str], similarity: Similarity
) -> dict[str, str]:
    """Return, for each unseen skill, the known one that is most like it: the asset ``matches``.

    Equally similar ones go by name. Known skills stand for themselves and are left out, as are
    skills that are like no known one.
    """
    from protocols.recruitment import match_skills

    rest = set(unseen) - set(known)
    return {found.skill: found.known for found in match_skills(sorted(rest), known, similarity)}
