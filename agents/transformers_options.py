"""Settings of ``transformers/`` experts, and what their files say before anything is loaded.

Neither torch nor transformers is imported here.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from agents.local_models import model_folder
from agents.roster import Expert
from agents.settings import checked
from protocols.canonical import canonical_json
from protocols.errors import Mistake

LIBRARIES = ("torch", "transformers", "safetensors")


class TransformersOptions(BaseModel):
    """The options of a ``transformers/`` expert. Those that change what is said are identity."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    device: str = Field("auto", pattern=r"^(auto|cpu|cuda(:[0-9]+)?)$")
    """``auto`` is the worker's GPU, the first where it has none of its own, or the CPU where there
    is no CUDA. Not identity."""
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = "auto"
    """What the weights are cast to; ``auto`` leaves them as they are stored."""
    batch_limit: int = Field(64, ge=1, le=4096)
    """The most asks that generate at once. Not identity."""
    context_tokens: int | None = Field(None, ge=16)
    """The longest prompt with its reply, in tokens; None is what the model's configuration says."""
    chat_template: str | None = None
    """A file with a chat template, for models whose tokenizer has none. Its content is identity."""
    chat_options: dict[str, Any] = {}
    """Given to the chat template, for example ``enable_thinking: false``."""
    prefix_reuse: bool = True
    """Whether what waiting prompts begin with in common is computed once. Not identity."""
    host_cache_gb: float | None = Field(None, ge=0.0)
    """Host memory for weights of models that are not on the device, shared by all of a worker; the
    largest that its experts name counts. None: where there is CUDA half of the memory, divided by
    the machine's GPUs, else none. Not identity."""
    min_tokens: int = Field(0, ge=0)
    """How many tokens a reply has at least, where `max_tokens` and the context allow it: before,
    neither an end-of-text token nor a stop ends it. For measurements of equal work."""

    @field_validator("chat_options")
    @classmethod
    def _is_plain(cls, options: dict[str, Any]) -> dict[str, Any]:
        reserved = {"messages", "chat_template", "add_generation_prompt", "tokenize"}
        for name in sorted(reserved.intersection(options)):
            raise ValueError(f"must not hold {name!r}, which moot sets itself")
        try:
            canonical_json(options)
        except (TypeError, ValueError):
            raise ValueError("holds something that JSON has no form for") from None
        return options


def read_options(expert: Expert) -> TransformersOptions:
    """Return an expert's options.

    Raises:
        Mistake: there is no such option, or its value does not fit.
    """
    return checked(TransformersOptions, expert.options, f"{who(expert)}: options")


def who(expert: Expert) -> str:
    """Return how messages name an expert."""
    return f"expert {(expert.label or expert.model)!r}"


def need_libraries(expert: Expert) -> None:
    """Check that what runs models is installed; nothing is imported.

    Raises:
        Mistake: a library is missing.
    """
    missing = [name for name in LIBRARIES if find_spec(name) is None]
    if missing:
        raise Mistake(
            f"{who(expert)}: {' and '.join(missing)} not installed; pip install 'moot[gpu]'"
        )


def device_name(wish: str, cards: Sequence[int], count: int, where: str) -> str:
    """Return the device of an option: ``cpu``, ``cuda:0``...

    Args:
        wish: the option.
        cards: the worker's own GPUs, by CUDA's numbers; none where it is alone with what it sees.
        count: how many CUDA finds.
        where: how messages name the expert.

    Raises:
        Mistake: there is no such device, or it belongs to another worker.
    """
    kind, _, number = wish.partition(":")
    if kind == "cpu" or (kind == "auto" and not count):
        return "cpu"
    if not count:
        raise Mistake(f"{where}: wants {wish}, and torch finds no CUDA here; write  device: cpu")
    card = int(number) if number else (*cards, 0)[0]
    if card >= count:
        here = f"CUDA finds {count}, from cuda:0"
        raise Mistake(f"{where}: is to run on cuda:{card}, and {here}; write fewer gpus or another")
    if cards and card not in cards:
        raise Mistake(
            f"{where}: wants {wish}, and its worker has cuda:{cards[0]}; write  device: auto  (and "
            "CUDA_VISIBLE_DEVICES to leave GPUs out)"
        )
    return f"cuda:{card}"


def context_of(expert: Expert, options: TransformersOptions) -> int | None:
    """Return the longest prompt with its reply, in tokens; None where it is not known here."""
    if options.context_tokens is not None:
        return options.context_tokens
    folder = model_folder(expert)
    if folder is None:
        return None
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        inner = config.get("text_config") or config
        return int(inner["max_position_embeddings"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def read_template(expert: Expert, options: TransformersOptions) -> str | None:
    """Return the chat template that the options name, or None.

    Raises:
        Mistake: it cannot be read.
    """
    if options.chat_template is None:
        return None
    path = Path(options.chat_template).expanduser()
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise Mistake(f"{who(expert)}: chat_template: {path}: no such file") from None
    except (OSError, UnicodeDecodeError):
        raise Mistake(
            f"{who(expert)}: chat_template: {path}: cannot be read as UTF-8 text"
        ) from None
