"""How the next tokens are drawn: each row with its own settings and its own randomness.

A row's randomness is one uniform number a token, from a generator seeded by its ask's key. The
token is where the cumulated probabilities, in the vocabulary's order, pass that number: so what a
row says depends neither on the rows beside it nor on their number, but for the last bits in which
logits differ with the shape of a batch. (In half precision those bits are coarse: a text may then
differ where two tokens are nearly as likely.)

Settings that an ask leaves open are those of the model's ``generation_config.json``, where that
says ``do_sample``; else the likeliest token is taken. Penalties on repetition are not applied.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from protocols.asks import Ask

MAX_TOKENS = 1024
"""How long a reply may be where neither ask nor model says."""


@dataclass(frozen=True, slots=True)
class Defaults:
    """What a model's files say about generation."""

    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    """0: no limit."""
    max_tokens: int = MAX_TOKENS
    ends: tuple[int, ...] = ()
    """The tokens that end a reply."""

    @classmethod
    def of(cls, generation: Any, config: Any, end: int | None) -> Defaults:
        """Return the defaults.

        Args:
            generation: the model's generation configuration, or None.
            config: the model's configuration.
            end: the tokenizer's end-of-text token.
        """
        said = generation if generation is not None else config
        ends: list[int | None] = [end]
        for source in (said, config):
            found = getattr(source, "eos_token_id", None)
            ends.extend(found if isinstance(found, list) else [found])
        draws = bool(getattr(said, "do_sample", False))

        def number(name: str, otherwise: float) -> float:
            value = getattr(said, name, None) if draws else None
            return otherwise if value is None else float(value)

        return cls(
            temperature=number("temperature", 1.0 if draws else 0.0),
            top_p=number("top_p", 1.0),
            top_k=int(number("top_k", 0)),
            max_tokens=int(getattr(said, "max_new_tokens", None) or MAX_TOKENS),
            ends=tuple(sorted({int(token) for token in ends if token is not None})),
        )


@dataclass(slots=True, eq=False)
class Draw:
    """How one row draws."""

    temperature: float
    """0: the likeliest token."""
    top_p: float
    top_k: int
    generator: random.Random
    seed: int
    pending: float | None = None
    """Drawn for a token that was not taken yet: a step that ran out of memory is done again."""

    @classmethod
    def of(cls, ask: Ask, defaults: Defaults) -> Draw:
        """Return how the reply to `ask` is drawn."""
        sampling = ask.seat.sampling
        seed = int.from_bytes(hashlib.sha256(f"{ask.key}|draw".encode()).digest()[:8], "big")
        temperature, top_p = sampling.temperature, sampling.top_p
        return cls(
            temperature=defaults.temperature if temperature is None else temperature,
            top_p=defaults.top_p if top_p is None else top_p,
            top_k=defaults.top_k,
            generator=random.Random(seed),
            seed=seed,
        )

    def uniform(self) -> float:
        """Return the number, from 0 to 1, that decides on the next token."""
        if self.pending is None:
            self.pending = self.generator.random()
        return self.pending

    def went_on(self) -> None:
        """Note that the token was taken."""
        self.pending = None

    def restart(self) -> None:
        """Draw as from the beginning."""
        self.generator.seed(self.seed)
        self.pending = None


def choose(logits: torch.Tensor, draws: Sequence[Draw]) -> torch.Tensor:
    """Return the next token of each row.

    Args:
        logits: rows x vocabulary, float32.
        draws: how each row draws.
    """
    likeliest = logits.argmax(-1)
    drawing = [row for row, draw in enumerate(draws) if draw.temperature > 0.0]
    if not drawing:
        return likeliest
    some = [draws[row] for row in drawing]
    vocabulary = logits.shape[-1]
    settings = [
        (row, max(draw.temperature, 1e-5), draw.uniform(), draw.top_p, draw.top_k or vocabulary)
        for row, draw in zip(drawing, some, strict=True)
    ]
    numbers = torch.tensor(settings, dtype=torch.float32, device=logits.device)  # one copy
    rows = numbers[:, 0].long()
    temperatures, uniform, tops, counts = numbers[:, 1:].split(1, dim=1)
    shares = (logits[rows] / temperatures).softmax(-1)
    if any(draw.top_p < 1.0 or draw.top_k > 0 for draw in some):
        shares = _nucleus(shares, tops, counts)
    heights = shares.double().cumsum(-1)
    drawn = torch.searchsorted(heights, uniform.double() * heights[:, -1:], right=True)
    likeliest[rows] = drawn[:, 0].clamp_(max=vocabulary - 1)
    return likeliest


def _nucleus(shares: torch.Tensor, tops: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
    """Return the shares with 0 where a token is none of the likeliest.

    Kept are the fewest that reach `tops` together, at most `counts` of them, at least one.
    """
    ordered, order = shares.sort(dim=-1, descending=True, stable=True)
    before = ordered.cumsum(-1) - ordered
    places = torch.arange(shares.shape[-1], dtype=torch.float32, device=shares.device)
    kept = (before < tops) & (places < counts)
    kept[:, 0] = True
    return torch.zeros_like(shares).scatter_(-1, order, ordered * kept)
