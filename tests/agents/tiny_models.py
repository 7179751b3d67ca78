"""Tiny causal language models with random weights, written to a folder as the hub writes them.

The tokenizer is byte-level, with a few merges so that some labels behind a blank are one token:
every text can be written in it. Logits are spread far apart, so that rounding does not change
which token is the likeliest.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import tests.agents.torch_here  # noqa: F401 - skips where torch is absent

END = "<|im_end|>"
START = "<|im_start|>"

CHAT = (
    "{%- for message in messages -%}"
    "{{ '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>\n' }}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\n' }}"
    "{%- if enable_thinking is defined and not enable_thinking -%}"
    "{{ '<think></think>' }}{%- endif -%}"
    "{%- endif -%}"
)
"""A template that takes every message, and the argument ``enable_thinking``."""

NO_SYSTEM = (
    "{%- for message in messages -%}"
    "{%- if message.role == 'system' -%}"
    "{{ raise_exception('System role not supported') }}{%- endif -%}"
    "{%- if (message.role == 'user') != (loop.index0 % 2 == 0) -%}"
    "{{ raise_exception('Roles must alternate') }}{%- endif -%}"
    "{{ '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>\n' }}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\n' }}{%- endif -%}"
)
"""A template that refuses system messages and speakers that do not take turns."""


def make_model(
    folder: Path,
    *,
    seed: int = 0,
    layers: int = 2,
    hidden: int = 64,
    head: int = 16,
    chat_template: bool | str = True,
    context: int = 2048,
    max_new_tokens: int = 24,
    spread: float = 12.0,
    family: str = "llama",
    dtype: str = "float32",
    more: dict[str, Any] | None = None,
) -> Path:
    """Write a model into `folder`, which is made, and return it.

    Args:
        folder: where; its parents are made too.
        seed: of the weights. The tokenizer is always the same.
        layers: transformer layers.
        hidden: width, a multiple of `head`.
        head: width of a head of attention.
        chat_template: True for :data:`CHAT`, False for none, or a template.
        context: the most positions.
        max_new_tokens: how long replies are that nobody limits (``generation_config.json``).
        spread: standard deviation of the logits, about; 0 makes every token equally likely.
        family: as the library calls it: ``llama``, ``qwen2``, ``gemma2``...
        dtype: of the weights in the file.
        more: further settings of the family's configuration.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, GenerationConfig

    folder.mkdir(parents=True, exist_ok=True)
    config = AutoConfig.for_model(
        family,
        vocab_size=_write_tokenizer(folder, chat_template),
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=max(2, hidden // head),
        num_key_value_heads=2,
        head_dim=head,
        max_position_embeddings=context,
        initializer_range=0.2,
        tie_word_embeddings=False,
        pad_token_id=None,
        bos_token_id=None,
        eos_token_id=1,
        **(more or {}),
    )
    kept = torch.get_rng_state()
    torch.manual_seed(seed)
    try:
        model: Any = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    finally:
        torch.set_rng_state(kept)
    with torch.no_grad():
        model.lm_head.weight.mul_(spread / (0.2 * hidden**0.5))
    model.generation_config = GenerationConfig(eos_token_id=1, max_new_tokens=max_new_tokens)
    model.to(getattr(torch, dtype)).save_pretrained(folder)
    return folder


def _write_tokenizer(folder: Path, chat_template: bool | str) -> int:
    """Write ``tokenizer.json`` and its configuration; return the size of the vocabulary."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    merges = [("\u0120", letter) for letter in "ABCDEFGHIJ"]
    pieces = [*sorted(pre_tokenizers.ByteLevel.alphabet()), *("".join(pair) for pair in merges)]
    vocabulary = {piece: number for number, piece in enumerate([START, END, *pieces])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(START, special=True), AddedToken(END, special=True)])
    tokenizer.save(str(folder / "tokenizer.json"))
    settings: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": END,
        "clean_up_tokenization_spaces": False,
    }
    if chat_template:
        settings["chat_template"] = CHAT if chat_template is True else chat_template
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    return len(vocabulary)
