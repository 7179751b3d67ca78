"""Convincing samples: explanations that once changed an expert's mind to the right answer.

An asset of the cast. For every expert it holds items that the expert first got wrong and got right
once it had read a person's explanation; its peers read them, so as to learn what convinces it
(ReConcile, arXiv 2309.13007, section 3). How they are gathered is not a session's business: a
session reads what it is given.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pydantic import BaseModel, ConfigDict, ValidationError

from protocols.cast import Asset
from protocols.errors import Mistake
from protocols.messages import Part
from protocols.prompts import prompt
from protocols.quoting import quoted

CONVINCING = "convincing"
"""The name under which a cast holds the samples, and the kind of such an asset."""
TEMPLATE = "reconcile"

_MOST_READ = 16


class ConvincingSample(BaseModel):
    """One item that an expert first got wrong and got right after an explanation."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    question: str
    """What was asked."""
    explanation: str
    """What convinced the expert."""
    answer: str
    """The right answer, as written."""


class ConvincingSamples(BaseModel):
    """The samples of every expert, by its label in the roster."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    samples: dict[str, tuple[ConvincingSample, ...]]
    """Expert -> its samples, the ones to show first standing first."""

    def as_asset(self) -> Asset:
        """Return the samples as an asset for a cast."""
        return Asset(kind=CONVINCING, content=self.model_dump(mode="json"))

    @classmethod
    def from_asset(cls, asset: Asset) -> ConvincingSamples:
        """Return the samples that an asset holds.

        Raises:
            Mistake: the asset does not hold convincing samples.
        """
        known = _READ.get(asset.digest)
        if known is not None:
            return known
        try:
            if asset.kind != CONVINCING:
                raise Mistake(f"an asset of kind {asset.kind!r} holds no convincing samples")
            read = cls.model_validate(asset.content)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(step) for step in first["loc"]) or "content"
            raise Mistake(f"convincing samples cannot be read at {where}: {first['msg']}") from None
        if len(_READ) >= _MOST_READ:
            _READ.clear()
        _READ[asset.digest] = read
        return read

    def parts_for(self, expert: str, peers: Sequence[str], most: int) -> list[Part]:
        """Return what `expert` reads: the first `most` samples of each of its peers.

        A peer without samples, and the expert itself, have none shown.
        """
        parts: list[Part] = []
        for peer in dict.fromkeys(peers):
            if peer != expert:
                for sample in self.samples.get(peer, ())[:most]:
                    parts += (prompt(TEMPLATE, "sample"), _sample_part(sample))
        return parts


def _sample_part(sample: ConvincingSample) -> Part:
    text = (
        f"Question: {sample.question}\nExplanation: {sample.explanation}\nAnswer: {sample.answer}"
    )
    return Part("sample_text", quoted(text))


_READ: dict[str, ConvincingSamples] = {}
# Samples by digest, as thousands of sessions of a run read the same ones.


def cast_samples(assets: Mapping[str, Asset]) -> ConvincingSamples:
    """Return the convincing samples among a cast's assets.

    Raises:
        Mistake: there are none, or they cannot be read.
    """
    asset = assets.get(CONVINCING)
    if asset is None:
        raise Mistake(f"there are no convincing samples; give the cast the asset {CONVINCING!r}")
    return ConvincingSamples.from_asset(asset)
