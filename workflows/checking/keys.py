"""Whether experts could be called, before anything is spent: keys and models are looked for.

Of keys nothing is told but whether they are there, never their values.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from agents.engines import check_expert, does_network_io
from agents.roster import LOCAL, Expert
from protocols.errors import Mistake

KEY_OF = {
    "anthropic": "ANTHROPIC_API_KEY",
    "azure": "AZURE_API_KEY",
    "cohere": "COHERE_API_KEY",
    "deepseek": "DEEPSEEK_API_KEY",
    "gemini": "GEMINI_API_KEY",
    "groq": "GROQ_API_KEY",
    "huggingface": "HF_TOKEN",
    "mistral": "MISTRAL_API_KEY",
    "openai": "OPENAI_API_KEY",
    "openrouter": "OPENROUTER_API_KEY",
    "together_ai": "TOGETHERAI_API_KEY",
}
"""The variable that common providers' keys are usually in."""
PROVIDER_KEYS = tuple(sorted(KEY_OF.values()))
"""The variables of common providers, for a look at what is set."""


def variables_of(experts: Iterable[Expert]) -> tuple[str, ...]:
    """Return the variables that hold the experts' keys, as far as their names are known.

    A server at a `base_url` wants a key only where the expert names its variable.
    """
    found = set()
    for expert in experts:
        usual = None if expert.base_url else KEY_OF.get(expert.provider)
        name = expert.key_env or usual
        if name is not None and does_network_io(expert):
            found.add(name)
    return tuple(sorted(found))


def keys_set() -> dict[str, bool]:
    """Return which variables of common providers hold a key."""
    return {name: bool(os.environ.get(name, "").strip()) for name in PROVIDER_KEYS}


def unready_experts(experts: Iterable[Expert]) -> list[str]:
    """Return what would make every call of an expert fail, one line each.

    That is a missing key of a hosted one, and what keeps a model on this machine from being loaded.
    Raises nothing; other experts that run in this process are not looked at.
    """
    found = []
    for expert in experts:
        if not does_network_io(expert) and expert.provider not in LOCAL:
            continue
        try:
            check_expert(expert)
        except Mistake as mistake:
            hint = " (a .env file is read too; moot list experts names some that need no key)"
            found.append(f"{mistake}{hint if 'is not set' in str(mistake) else ''}")
    return list(dict.fromkeys(found))
