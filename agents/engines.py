"""From an expert to its engine: by the provider in its model's name.

Nothing here loads a model or a client library; an engine's module is imported when an expert of
its provider is met.
"""

from __future__ import annotations

from typing import Protocol, cast

from agents.engine import Capabilities, Engine
from agents.roster import LOCAL, Expert, Price
from agents.settings import suggestion
from protocols.asks import Model
from protocols.errors import Mistake
from protocols.replies import Usage

NOT_BUILT = ("human", "retriever")
"""Providers that are reserved for engines to come."""
FREE = ("offline", "recorded", "scripted", *LOCAL)
"""Providers that cost nothing, but the GPUs that the roster prices, and do no network I/O."""

_MILLION = 1_000_000


class EngineClass(Protocol):
    """A class of engines that are made from an expert."""

    capabilities: Capabilities

    def capabilities_for(self, expert: Expert) -> Capabilities:
        """Return what the engine can do for `expert`."""
        ...

    def __call__(self, expert: Expert) -> Engine:
        """Make the engine; light: what is heavy waits for `load`."""


def make_engine(expert: Expert) -> Engine:
    """Return a new engine for `expert`, not loaded.

    Raises:
        Mistake: the engine is not built, or the expert's settings do not fit it.
    """
    return engine_class(expert)(expert)


def engine_class(expert: Expert) -> EngineClass:
    """Return the class that serves `expert`.

    Raises:
        Mistake: there is none.
    """
    provider = expert.provider
    if provider in NOT_BUILT:
        raise Mistake(
            f"not built yet: {provider}/ experts ({expert.label or expert.model}); "
            "use recorded/, offline/, scripted/, transformers/, vllm/ or a hosted provider/model"
        )
    kind: object
    if provider == "recorded":
        from agents.recorded import RecordedEngine as kind
    elif expert.model == "scripted/gpu":
        from agents.scripted_gpu import ScriptedGpuEngine as kind
    elif provider == "scripted":
        from agents.scripted import ScriptedEngine as kind
    elif provider == "transformers":
        from agents.transformers_engine import TransformersEngine as kind
    elif provider == "vllm":
        from agents.vllm_engine import VllmEngine as kind
    elif provider == "offline":
        from agents.offline import OFFLINE

        if expert.model not in OFFLINE:
            raise Mistake(f"no engine {expert.model!r}; {suggestion(expert.model, OFFLINE)}")
        kind = OFFLINE[expert.model]
    else:
        from agents.litellm_engine import LiteLLMEngine as kind
    return cast(EngineClass, kind)


def capabilities_of(expert: Expert) -> Capabilities:
    """Return what the expert's engine can do for it, without making it.

    Raises:
        Mistake: there is no such engine, or the expert's options do not fit it.
    """
    return engine_class(expert).capabilities_for(expert)


def check_expert(expert: Expert) -> None:
    """Look for what would make every ask of an expert fail in this process; nothing is called.

    That is a key that is missing, and a model that cannot be loaded.

    Raises:
        Mistake: one line.
    """
    engine = make_engine(expert)
    if expert.provider in LOCAL:
        from agents.local_models import check_model

        check_model(expert)
    elif (check := getattr(engine, "check", None)) is not None:
        check()


def identify(expert: Expert) -> Model:
    """Return what generates: the model's name and its revision.

    The revision of a recorded expert is computed from its data, that of a scripted one from its
    script, that of a reviser from both its data and its options, that of a model on this machine
    from its folder; elsewhere it is what the roster says. A digest of the options that change
    replies goes with it.

    Raises:
        Mistake: the data of a recorded expert is missing or malformed, or the options of a hosted
            one are no options of its engine, or there is no model where it should lie.
    """
    if expert.provider == "recorded":
        from agents.recorded import recorded_file, recorded_model

        model = recorded_model(expert)
        return Model(expert.model, recorded_file(expert).revision(model))
    if expert.provider == "scripted" and not expert.revision:
        from agents.scripted import script_revision

        return Model(expert.model, script_revision(expert))
    if expert.model == "offline/reviser":
        from agents.offline_reviser import reviser_revision

        return Model(expert.model, reviser_revision(expert))
    if expert.provider in LOCAL:
        from agents.local_models import model_revision

        return Model(expert.model, model_revision(expert))
    if expert.options and does_network_io(expert):
        from agents.hosted_request import hosted_revision

        return Model(expert.model, hosted_revision(expert))
    return Model(expert.model, expert.revision)


def does_network_io(expert: Expert) -> bool:
    """Whether the expert's engine waits for a server."""
    return expert.provider not in FREE and expert.provider not in NOT_BUILT


def is_charged(expert: Expert) -> bool:
    """Whether attempts cost something, or may: a server is asked, or the roster names a price."""
    if isinstance(expert.price, Price):
        return expert.price != Price()
    return does_network_io(expert)


def has_known_price(expert: Expert) -> bool:
    """Whether the price of an attempt is known before it is made."""
    if expert.price == "unknown":
        return False
    if isinstance(expert.price, Price) or not does_network_io(expert):
        return True
    return price_of(expert, Usage(1_000, 1_000)) is not None


def price_of(expert: Expert, usage: Usage) -> float | None:
    """Return the list price of one attempt in US dollars, or None where it is unknown.

    The roster's price counts first; without one, experts that run in this process cost nothing
    and hosted ones what the engine's price list says.
    """
    price = expert.price
    if isinstance(price, Price):
        dollars = usage.prompt_tokens * price.prompt + usage.completion_tokens * price.completion
        return dollars / _MILLION
    if price == "unknown":
        return None
    if not does_network_io(expert):
        return 0.0
    from agents.litellm_engine import list_price

    return list_price(expert.model, usage)
