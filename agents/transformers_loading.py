"""From an expert to a model on its device, and back to nothing. Runs in threads of its own."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import torch

from agents import machine, weights
from agents.roster import Expert
from agents.transformers_batch import Batch
from agents.transformers_cache import Attention
from agents.transformers_chat import Chat
from agents.transformers_device import DeviceThread
from agents.transformers_jobs import Terms
from agents.transformers_model import Model
from agents.transformers_options import TransformersOptions, device_name, read_template, who
from agents.transformers_sampling import Defaults
from protocols.errors import Mistake

_SHARED = "transformers"
_lock = threading.Lock()


@dataclass(slots=True, eq=False)
class Loaded:
    """An engine's model and what drives it."""

    thread: DeviceThread
    batch: Batch
    terms: Terms
    placed: weights.Placed
    model: Model


@dataclass(slots=True, eq=False)
class Shared:
    """What the engines of one worker share."""

    cache: weights.WeightCache
    threads: dict[str, DeviceThread]


def load(expert: Expert, options: TransformersOptions, name: str, common: dict[str, Any]) -> Loaded:
    """Bring a model onto its device.

    Args:
        expert: whose model.
        options: its options.
        name: a folder, or an id on the hub.
        common: what the worker's engines share.

    Raises:
        Mistake: there is no such model or device, files are not whole, or it does not fit.
    """
    label = who(expert)
    device = device_of(options.device, label, common.get("cards", ()))
    try:
        folder = weights.find_model(name, expert.revision)
        chat = Chat(folder, read_template(expert, options), options.chat_options, label)
        shared = shared_of(common, device, options)
        thread = shared.threads[str(device)]
        dtype = None if options.dtype == "auto" else getattr(torch, options.dtype)
        placed = shared.cache.load(folder, dtype, device, thread.copies)
    except Mistake as mistake:
        said = str(mistake)
        raise Mistake(said if said.startswith(label) else f"{label}: {said}") from None
    try:
        return _prepared(expert, options, chat, thread, placed)
    except BaseException:
        weights.free(placed)
        raise


def _prepared(
    expert: Expert,
    options: TransformersOptions,
    chat: Chat,
    thread: DeviceThread,
    placed: weights.Placed,
) -> Loaded:
    module = placed.module
    config = module.config.get_text_config(decoder=True)
    try:
        attention = Attention(module.config)
    except ValueError as error:
        raise Mistake(
            f"{who(expert)}: its model has {error}, which transformers/ experts do not run; "
            "use vllm/"
        ) from None
    context = options.context_tokens or int(getattr(config, "max_position_embeddings", 4096))
    vocabulary = int(config.vocab_size)
    defaults = Defaults.of(
        getattr(module, "generation_config", None), module.config, chat.end_token
    )
    defaults = replace(defaults, ends=tuple(end for end in defaults.ends if end < vocabulary))
    terms = Terms(chat, defaults, context, options.min_tokens, expert.model, vocabulary)
    model = Model(module, placed.device, attention, int(config.num_hidden_layers))
    batch = Batch(model, terms, options.batch_limit, reuse=options.prefix_reuse)
    return Loaded(thread, batch, terms, placed, model)


def free(loaded: Loaded) -> None:
    """Free the device's memory; the batch has left its thread."""
    loaded.model.module = None
    weights.free(loaded.placed)


def device_of(wish: str, label: str, cards: Sequence[int] = ()) -> Any:
    """Return the device of an option; see :func:`agents.transformers_options.device_name`.

    Raises:
        Mistake: there is none.
    """
    if cards:  # CUDA counts as the driver does, and so as whoever dealt the cards out
        os.environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return torch.device(device_name(wish, cards, count, label))


def shared_of(common: dict[str, Any], device: Any, options: TransformersOptions) -> Shared:
    """Return what a worker's engines share, with a thread for `device`."""
    budget = options.host_cache_gb
    if budget is None:
        budget = 0.0 if device.type == "cpu" else machine.memory_gb() / 2 / _cards_here()
    with _lock:
        shared = common.get(_SHARED)
        if not isinstance(shared, Shared):
            shared = common[_SHARED] = Shared(weights.WeightCache(budget), {})
        shared.cache.budget_gb = max(shared.cache.budget_gb, budget)
        if str(device) not in shared.threads:
            shared.threads[str(device)] = DeviceThread(device)
    return shared


@lru_cache(maxsize=1)
def _cards_here() -> int:
    """Return how many GPUs the machine has; each may have a worker with weights in host memory."""
    return max(1, len(machine.gpus()))
