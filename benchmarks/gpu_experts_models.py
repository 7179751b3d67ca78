"""Models with random weights, made from a configuration, with a tokenizer of their own.

The vocabulary is made of numbered words, and a reply never ends by itself: how long it is, the ask
says. What the words are is of no interest; that they are the same however they are computed, is.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, GenerationConfig

from orchestrator.simulator.workloads import labels

LARGE_CARD_GB = 40.0
"""From here on a card gets large models."""
CHAT = (
    "{%- for message in messages -%}{{ '<s> ' + message.content + ' ' }}{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{ '<a> ' }}{%- endif -%}"
)
SPECIAL = ("<s>", "<a>", "<unk>")
SPARE = 13
"""Places for tokens that a tokenizer's class adds of its own."""


@dataclass(frozen=True)
class Shape:
    """How large a model is."""

    hidden: int
    inner: int
    layers: int
    heads: int
    key_heads: int
    words: int
    dtype: str

    @property
    def disk_gb(self) -> float:
        """What its weights take, once."""
        dtype: torch.dtype = getattr(torch, self.dtype)
        return float(parameters(self) * dtype.itemsize / 1e9)


LARGE = Shape(1536, 8960, 31, 12, 2, 32_768, "bfloat16")
"""About 1.5 billion parameters."""
TINY = Shape(64, 128, 2, 4, 2, 512, "float32")
READER = Shape(256, 1_024, 4, 4, 2, 512, "float32")
"""In the place of a tiny one where prompts are measured: that reads faster than words are split."""


def shape_for(device: torch.device) -> Shape:
    """Return the size of models that a device is measured with."""
    if device.type != "cuda":
        return TINY
    total = torch.cuda.get_device_properties(device).total_memory
    return LARGE if total >= LARGE_CARD_GB * 1e9 else TINY


def make_models(folder: Path, shape: Shape, device: torch.device, *, linked: bool) -> list[Path]:
    """Write sixteen models, one for each expert of the workloads, and return their folders.

    Args:
        folder: where.
        shape: of all of them.
        device: where the random numbers are drawn; a card is faster.
        linked: whether all have the same weights, in one file that the others point to: what loads
            and steps take does not depend on what the weights are.
    """
    made: list[Path] = []
    for number, label in enumerate(labels()):
        one = folder / label
        if linked and made:
            one.mkdir(parents=True)
            for file in made[0].iterdir():
                (one / file.name).symlink_to(file.absolute())
        else:
            make_model(one, shape, device, seed=number)
        made.append(one)
    return made


def make_model(folder: Path, shape: Shape, device: torch.device, *, seed: int) -> None:
    """Write one model."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    config = AutoConfig.for_model(
        "llama",  # its tokenizer may be any; those of other families are made anew, without words
        vocab_size=_write_tokenizer(folder, shape.words),
        hidden_size=shape.hidden,
        intermediate_size=shape.inner,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.key_heads,
        max_position_embeddings=8_192,
        initializer_range=0.2 if shape.dtype == "float32" else 0.02,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=None,
    )
    torch.manual_seed(seed)
    with device:
        model: Any = AutoModelForCausalLM.from_config(config, dtype=getattr(torch, shape.dtype))
    if shape.dtype == "float32":  # far apart: rounding changes no word
        with torch.no_grad():
            model.lm_head.weight.mul_(8.0)
    model.generation_config = GenerationConfig()
    model.save_pretrained(folder)
    del model
    if device.type == "cuda":
        torch.cuda.empty_cache()


def parameters(shape: Shape) -> int:
    """Return how many numbers a model of this shape has."""
    head = shape.hidden // shape.heads
    keys = shape.key_heads * head
    attention = 2 * shape.hidden**2 + 2 * shape.hidden * keys
    layer = attention + 3 * shape.hidden * shape.inner + 2 * shape.hidden
    words = shape.words + len(SPECIAL) + SPARE
    return shape.layers * layer + 2 * words * shape.hidden + shape.hidden


def _write_tokenizer(folder: Path, words: int) -> int:
    """Write a tokenizer of numbered words; return the size of its vocabulary."""
    from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers

    pieces = [*SPECIAL, *(f"w{number}" for number in range(words))]
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.WordLevel(vocab=vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.add_special_tokens([AddedToken(piece, special=True) for piece in SPECIAL])
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "chat_template": CHAT,
        "clean_up_tokenization_spaces": False,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    return len(pieces) + SPARE
