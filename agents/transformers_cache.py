"""Keys and values of the rows that generate: a slot for each, and the masks that go with them.

Every layer holds one block of ``slots x heads x columns x width``. A row has a slot and its tokens
stand in the columns from 0 on; rows 0 to n - 1 run. A step writes each row's new column where that
row's text ends, so rows of any length stand side by side without being moved. A row that joins is
copied into the first free slot; the last row takes the slot of one that leaves. Blocks grow when
they must, layer by layer, and become narrower again when long rows have left: one long prompt
does not cost every later row its length.

`transformers` hands a layer's new keys and values to :meth:`SlotLayer.update` and runs attention
over what that returns. Masks are made here, four-dimensional, which its models take as they are:
columns behind a row's end, left over from others, are hidden from it, and so is what lies outside
a sliding window, whose layers keep all columns.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from transformers.cache_utils import Cache

Masks = Any
"""A mask for all layers, or one by the kind of layer."""
Apart = Callable[[], torch.Tensor]
KeysValues = tuple[torch.Tensor, torch.Tensor]
KINDS = ("full_attention", "sliding_attention")
_COLUMNS = 128
"""Blocks have a multiple of so many columns."""
_TOO_WIDE = 4
"""Blocks that have so many times the columns that rows need become narrower."""


class Attention:
    """What a model's layers see.

    Args:
        config: the model's configuration.

    Raises:
        ValueError: it has layers of another kind than these two.
    """

    def __init__(self, config: Any) -> None:
        inner = config.get_text_config(decoder=True)
        self.window: int | None = getattr(inner, "sliding_window", None)
        kinds = getattr(inner, "layer_types", None)
        if kinds is None:
            kinds = [KINDS[self.window is not None]]
        self.kinds = tuple(sorted(set(kinds)))
        others = [kind for kind in self.kinds if kind not in KINDS]
        if others:
            raise ValueError(f"layers of the kind {others[0]}")
        self._floats = getattr(inner, "_attn_implementation", "sdpa") != "sdpa"

    def masks(self, seen: torch.Tensor, apart: Apart, dtype: Any) -> Masks:
        """Return the masks for a forward pass.

        Args:
            seen: rows x queries x columns, whether a query may see a column at all.
            apart: returns, as `seen`, how many tokens a column lies before the query; large where
                the context is long, and made only where it matters.
            dtype: of the model.
        """
        made: dict[str, torch.Tensor] = {}
        for kind in self.kinds:
            allowed = seen
            if kind == KINDS[1] and self.window is not None:
                allowed = seen & (apart() < self.window)
            made[kind] = self._as_mask(allowed[:, None], dtype)
        return made if len(made) > 1 else next(iter(made.values()))

    def _as_mask(self, allowed: torch.Tensor, dtype: Any) -> torch.Tensor:
        if not self._floats:
            return allowed
        mask = torch.zeros(allowed.shape, dtype=dtype, device=allowed.device)
        return mask.masked_fill_(~allowed, torch.finfo(dtype).min)


class SlotLayer:
    """One layer's block. Has the methods that `transformers` asks of a layer of a cache."""

    is_sliding = False
    is_compileable = False
    is_initialized = True

    def __init__(self, slots: Slots) -> None:
        self._slots = slots
        self.keys: torch.Tensor | None = None
        self.values: torch.Tensor | None = None

    def update(
        self, keys: torch.Tensor, values: torch.Tensor, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write each row's new column; return the columns of the rows that run."""
        assert self.keys is not None
        assert self.values is not None
        slots, rows = self._slots, keys.shape[0]
        self.keys[slots.rows, :, slots.places] = keys[:, :, 0]
        self.values[slots.rows, :, slots.places] = values[:, :, 0]
        return self.keys[:rows, :, : slots.columns], self.values[:rows, :, : slots.columns]

    def get_seq_length(self) -> int:
        """Return the columns that were there before this step."""
        return self._slots.columns - 1

    def get_mask_sizes(self, queries: int) -> tuple[int, int]:
        """Return how many columns there are, and which is the first."""
        return self._slots.columns - 1 + queries, 0

    def fit(self, rows: int, columns: int, like: KeysValues) -> None:
        """Make room, keeping the first `columns`; give back what is far too wide."""
        self.keys = _fitting(self.keys, rows, columns, like[0])
        self.values = _fitting(self.values, rows, columns, like[1])


class Slots:
    """The keys and values of all rows that run."""

    def __init__(self, layers: int) -> None:
        self.layers = [SlotLayer(self) for _ in range(layers)]
        self.cache = Cache(layers=self.layers)
        self.columns = 0
        """Of the step that runs: the longest row's, its new one included."""
        self.rows: Any = None
        self.places: Any = None

    def aim(self, lengths: Sequence[int], tokens: Sequence[int], device: Any) -> torch.Tensor:
        """Prepare a step and return its tokens as the model takes them: rows x 1.

        Args:
            lengths: how many columns each row has.
            tokens: the next token of each row.
            device: where the model is.
        """
        self.columns = max(lengths) + 1
        self._reserve(len(lengths), self.columns)
        self.rows = torch.arange(len(lengths), dtype=torch.int64, device=device)
        both = torch.tensor([lengths, tokens], dtype=torch.int64, device=device)  # one copy
        self.places = both[0]
        return both[1][:, None]

    def join(self, row: int, layers: Sequence[KeysValues | None], longest: int = 0) -> None:
        """Fill a slot.

        Args:
            row: the slot, behind those of the rows that run.
            layers: for each layer keys and values, 1 x heads x columns x width; None where it has
                none of its own.
            longest: how many columns the longest row that runs has.
        """
        for layer, filled in zip(self.layers, layers, strict=False):
            if filled is None:
                continue
            length = filled[0].shape[2]
            layer.fit(row + 1, max(length, longest), filled)
            assert layer.keys is not None
            assert layer.values is not None
            layer.keys[row, :, :length] = filled[0][0]
            layer.values[row, :, :length] = filled[1][0]

    def move(self, source: int, target: int, length: int) -> None:
        """Copy a row into another slot."""
        for layer in self.layers:
            for block in (layer.keys, layer.values):
                if block is not None:
                    block[target, :, :length] = block[source, :, :length]

    def drop(self) -> None:
        """Free everything."""
        for layer in self.layers:
            layer.keys = layer.values = None
        self.rows = self.places = None

    def shrink(self, rows: int) -> None:
        """Give the memory of all slots but the first `rows` back."""
        for layer in self.layers:
            if layer.keys is not None and layer.keys.shape[0] > rows:
                layer.keys = layer.keys[:rows].clone()
            if layer.values is not None and layer.values.shape[0] > rows:
                layer.values = layer.values[:rows].clone()

    def _reserve(self, rows: int, columns: int) -> None:
        for layer in self.layers:
            if layer.keys is not None and layer.values is not None:
                layer.fit(rows, columns, (layer.keys, layer.values))


def _fitting(
    block: torch.Tensor | None, rows: int, columns: int, like: torch.Tensor
) -> torch.Tensor:
    """Return a block with room for so many rows and columns; what stands behind them is dropped."""
    had_rows, had_columns = (0, 0) if block is None else (block.shape[0], block.shape[2])
    narrow = had_columns > max(_COLUMNS, _TOO_WIDE * columns)
    if rows <= had_rows and columns <= had_columns and not narrow and block is not None:
        return block
    if rows > had_rows:
        rows = max(rows, min(had_rows * 2, had_rows + 16))
    spare = min(columns, had_columns) // 4
    wide = -(-(columns + spare) // _COLUMNS) * _COLUMNS
    shape = (max(rows, had_rows), like.shape[1], wide, like.shape[3])
    fitting = torch.zeros(shape, dtype=like.dtype, device=like.device)
    if block is not None:
        kept = min(columns, had_columns)
        fitting[:had_rows, :, :kept] = block[:, :, :kept]
    return fitting
