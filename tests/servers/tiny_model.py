"""Writes a tiny model, made from a configuration, that says A, B or nothing more. No download.

It runs in the environment that has torch and transformers::

    .venv-serve/bin/python tests/servers/tiny_model.py FOLDER

Its hidden state is the same whatever it read, so that it is a coin with known chances: the logits
of ``A``, ``B`` and the end are 2, 1 and 0, and those of all other bytes far below.
"""

from __future__ import annotations

import sys
from pathlib import Path

LOGITS = {"A": 2.0, "B": 1.0, "</s>": 0.0}
FAR_BELOW = -20.0
TEMPLATE = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}assistant: "


def write(folder: Path) -> None:
    """Write model and tokenizer into `folder`."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: number for number, token in enumerate(["<s>", "</s>", *letters])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="</s>"
    )
    fast.chat_template = TEMPLATE
    fast.save_pretrained(folder)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(fast),
            hidden_size=16,
            intermediate_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            max_position_embeddings=4096,
            bos_token_id=0,
            eos_token_id=1,
            pad_token_id=1,
            tie_word_embeddings=False,
        )
    )
    with torch.no_grad():
        for layer in model.model.layers:
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()
        model.model.embed_tokens.weight.fill_(1.0)  # which the last norm leaves as it is
        model.lm_head.weight.fill_(FAR_BELOW / 16)
        for token, logit in LOGITS.items():
            model.lm_head.weight[vocabulary[token]] = logit / 16
    model.save_pretrained(folder)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
