"""A loaded model and how it reads prompts: in chunks, several at once, behind a common prefix.

Prompts are read with padding in front, so that all end in the same column, and padding sees only
itself. What they begin with in common may have been read before: its keys and values are put in
front of every row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from transformers import DynamicCache

from agents.transformers_cache import Attention, Masks

CHUNK = 2048
"""Tokens of one row that are read at once: what bounds masks and activations."""
LOGITS = 2**27
"""Logits (rows x tokens x vocabulary) that are made at once."""
LEAST_REUSE = 16
"""Prefixes of fewer tokens are read again."""
_PREFIXES = 4
"""How many prefixes are kept."""

_FULL = ("out of memory", "CUBLAS_STATUS_ALLOC_FAILED", "CUBLAS_STATUS_NOT_INITIALIZED")
"""How CUDA and its libraries say so where they ask for memory beside torch."""

Consume = Callable[[torch.Tensor, int], None]
"""Takes logits (rows x tokens x vocabulary) and the column of the first of these tokens."""


@dataclass(slots=True, eq=False)
class Prefix:
    """The keys and values of some tokens."""

    tokens: list[int]
    layers: list[tuple[torch.Tensor, torch.Tensor] | None]
    """For each layer keys and values: 1 x heads x tokens x width."""


@dataclass(slots=True, eq=False)
class Filled:
    """Prompts that were read."""

    cache: DynamicCache
    starts: list[int]
    """How many columns of padding stand behind the prefix in each row."""
    prefix: int
    """Columns of the prefix."""
    last: torch.Tensor
    """The logits of each row's last column, float32."""

    def joined(self, row: int) -> list[tuple[torch.Tensor, torch.Tensor] | None]:
        """Return a row's keys and values in each layer, padding left out."""
        found: list[tuple[torch.Tensor, torch.Tensor] | None] = []
        skip = slice(self.prefix, self.prefix + self.starts[row])
        for layer in self.cache.layers:
            if layer.keys is None:
                found.append(None)
                continue
            found.append((_without(layer.keys, row, skip), _without(layer.values, row, skip)))
        return found


@dataclass(slots=True, eq=False)
class Model:
    """A module that is ready to run."""

    module: Any
    device: Any
    attention: Attention
    layers: int

    def forward(
        self, tokens: torch.Tensor, places: torch.Tensor, masks: Masks, cache: Any, keep: int
    ) -> torch.Tensor:
        """Return the logits of the last `keep` columns; shapes are rows x columns."""
        out = self.module(
            input_ids=tokens,
            attention_mask=masks,
            position_ids=places,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=keep,
        )
        logits: torch.Tensor = out.logits
        return logits[:, -keep:]

    def read(
        self,
        prompts: Sequence[Sequence[int]],
        prefix: Prefix | None = None,
        used: int = 0,
        keep: int = 1,
        consume: Consume | None = None,
    ) -> Filled:
        """Read prompts.

        Args:
            prompts: tokens.
            prefix: what all begin with, where it was read before.
            used: how many of its tokens.
            keep: for how many columns at the end logits are wanted.
            consume: is given these logits, some columns at a time.
        """
        rests = [list(prompt[used:]) for prompt in prompts]
        wide = max(map(len, rests))
        starts = [wide - len(rest) for rest in rests]
        padded = [[0] * start + rest for start, rest in zip(starts, rests, strict=True)]
        tokens = self._tensor(padded)
        pads = self._tensor(starts)[:, None]
        cache = DynamicCache()
        if prefix is not None and used:
            for place, layer in enumerate(prefix.layers):
                if layer is not None:
                    cache.update(*[_repeated(one, len(rests), used) for one in layer], place)
        columns = torch.arange(wide, dtype=torch.int64, device=self.device)[None]
        places = used + (columns - pads).clamp_(min=0)
        last: Any = None
        for start, stop in _spans(wide, keep, self._few(len(rests))):
            plain = len(rests) == 1 and start + used == 0
            masks = None if plain else self._masks(pads, used, start, stop)
            wanted = max(1, stop - max(start, wide - keep))
            last = self.forward(tokens[:, start:stop], places[:, start:stop], masks, cache, wanted)
            if consume is not None and stop > wide - keep:
                consume(last, stop - wanted)
        return Filled(cache, starts, used, last[:, -1].float())

    def _few(self, rows: int) -> int:
        """Return for how many columns logits are made at once."""
        vocabulary = int(self.module.config.get_text_config(decoder=True).vocab_size)
        return max(1, min(CHUNK, LOGITS // (rows * vocabulary)))

    def _masks(self, pads: torch.Tensor, used: int, start: int, stop: int) -> Masks:
        """Return what the columns from `start` to `stop`, behind a prefix, may see."""
        queries = torch.arange(start, stop, dtype=torch.int32, device=self.device)[None, :, None]
        columns = torch.arange(used + stop, dtype=torch.int32, device=self.device)[None, None]
        columns = columns - used  # negative in the prefix
        pads = pads[:, None].int()
        seen = (columns <= queries) & ((columns < 0) | (columns >= pads)) | (columns == queries)

        def apart() -> torch.Tensor:
            return queries - columns - torch.where(columns < 0, pads, 0)

        return self.attention.masks(seen, apart, self.module.dtype)

    def _tensor(self, values: Any) -> torch.Tensor:
        return torch.tensor(values, dtype=torch.int64, device=self.device)


class Prefixes:
    """The prefixes that were read last."""

    def __init__(self) -> None:
        self._kept: list[Prefix] = []

    def __bool__(self) -> bool:
        return bool(self._kept)

    def best(self, tokens: list[int]) -> tuple[Prefix | None, int]:
        """Return the prefix that shares most with `tokens`, and how much; at least one is left."""
        found: Prefix | None = None
        most = LEAST_REUSE - 1
        for prefix in self._kept:
            shared = min(common(prefix.tokens, tokens), len(tokens) - 1)
            if shared > most:
                found, most = prefix, shared
        return (None, 0) if found is None else (found, most)

    def keep(self, tokens: list[int], filled: Filled, row: int) -> None:
        """Keep what `tokens`, a row's first, came to."""
        cut = len(tokens)
        layers = [
            None if layer is None else (layer[0][:, :, :cut].clone(), layer[1][:, :, :cut].clone())
            for layer in filled.joined(row)
        ]
        extended = [one for one in self._kept if common(one.tokens, tokens) < len(one.tokens)]
        self._kept = [*extended[-(_PREFIXES - 1) :], Prefix(list(tokens), layers)]

    def clear(self) -> None:
        """Forget all."""
        self._kept.clear()


def common(one: list[int], other: list[int]) -> int:
    """Return how many tokens two lists begin with in common."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def shared_lengths(prompts: Sequence[list[int]]) -> list[int]:
    """Return for each prompt how many tokens it begins with that some other begins with too.

    In sorted order the one that shares most stands beside it.
    """
    order = sorted(range(len(prompts)), key=lambda place: prompts[place])
    shared = [0] * len(prompts)
    for one, other in pairwise(order):
        length = common(prompts[one], prompts[other])
        shared[one] = max(shared[one], length)
        shared[other] = max(shared[other], length)
    return shared


def no_memory(error: BaseException) -> bool:
    """Whether an error says that the device's memory is full."""
    if isinstance(error, torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(said in str(error) for said in _FULL)


def _spans(wide: int, keep: int, few: int) -> list[tuple[int, int]]:
    """Return the chunks of `wide` columns, short ones where logits are wanted for each."""
    spans = []
    start = 0
    while start < wide:
        if keep == 1:
            stop = min(wide, start + CHUNK)
        elif start < wide - keep:
            stop = min(wide - keep, start + CHUNK)
        else:
            stop = min(wide, start + few)
        spans.append((start, stop))
        start = stop
    return spans


def _repeated(block: torch.Tensor, rows: int, length: int) -> torch.Tensor:
    return block[:, :, :length].expand(rows, -1, -1, -1)


def _without(block: torch.Tensor, row: int, skip: slice) -> torch.Tensor:
    """Return one row of a block without some columns."""
    one = block[row : row + 1]
    if skip.start == skip.stop:
        return one
    if skip.start == 0:
        return one[:, :, skip.stop :]
    return torch.cat([one[:, :, : skip.start], one[:, :, skip.stop :]], dim=2)
