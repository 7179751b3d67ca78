"""Keys of hosted experts: whether they are there, before anything is spent. Never their values."""

from __future__ import annotations

import os
from collections.abc import Iterable

from agents.engines import does_network_io, make_engine
from agents.roster import Expert
from protocols.errors import Mistake

PROVIDER_KEYS = (
    "ANTHROPIC_API_KEY",
    "AZURE_API_KEY",
    "COHERE_API_KEY",
    "DEEPSEEK_API_KEY",
    "GEMINI_API_KEY",
    "GROQ_API_KEY",
    "HF_TOKEN",
    "MISTRAL_API_KEY",
    "OPENAI_API_KEY",
    "OPENROUTER_API_KEY",
    "TOGETHERAI_API_KEY",
)
"""The variables of common providers, for a look at what is set."""


def keys_set() -> dict[str, bool]:
    """Return which variables of common providers hold a key."""
    return {name: bool(os.environ.get(name, "").strip()) for name in PROVIDER_KEYS}


def unready_experts(experts: Iterable[Expert]) -> list[str]:
    """Return what would make every call of a hosted expert fail, one line each: missing keys.

    Raises nothing; experts that run in this process are not looked at.
    """
    found = []
    for expert in experts:
        if not does_network_io(expert):
            continue
        try:
            engine = make_engine(expert)
            check = getattr(engine, "check", None)
            if check is not None:
                check()
        except Mistake as mistake:
            hint = " (a .env file is read too; moot list experts names some that need no key)"
            found.append(f"{mistake}{hint if 'is not set' in str(mistake) else ''}")
    return list(dict.fromkeys(found))
