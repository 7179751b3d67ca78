"""Messages and sampling in the words of Inspect."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from protocols.messages import PART_SEPARATOR

if TYPE_CHECKING:
    from inspect_ai.model import ChatMessage, GenerateConfig


def chat_message(
    speaker: str, parts: Sequence[tuple[str, str]], id: str | None = None
) -> ChatMessage:
    """Return a message as a chat model reads it: its texts, then its images.

    Args:
        speaker: ``system``, ``user`` or ``assistant``.
        parts: kind (``text`` or ``image``) and text, or data URL, of each part.
        id: of the message; made up by Inspect where none is given.
    """
    from inspect_ai.model import (
        ChatMessageAssistant,
        ChatMessageSystem,
        ChatMessageUser,
        ContentImage,
        ContentText,
    )

    kinds = {
        "system": ChatMessageSystem,
        "user": ChatMessageUser,
        "assistant": ChatMessageAssistant,
    }
    text = PART_SEPARATOR.join(text for kind, text in parts if kind == "text")
    images = [ContentImage(image=url) for kind, url in parts if kind == "image"]
    content: Any = [ContentText(text=text), *images] if images else text
    message: ChatMessage = kinds[speaker](id=id, content=content)
    return message


def generate_config(sampling: Mapping[str, Any]) -> GenerateConfig:
    """Return settings of sampling, as :meth:`protocols.asks.Sampling.as_json` gives them."""
    from inspect_ai.model import GenerateConfig

    return GenerateConfig(
        temperature=sampling["temperature"],
        top_p=sampling["top_p"],
        max_tokens=sampling["max_tokens"],
        stop_seqs=list(sampling["stop"]) or None,
        seed=sampling["seed"],
    )
