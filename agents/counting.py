"""Tokens where there is no tokenizer: a quarter of the characters, rounded up.

About right for English and common tokenizers, and the same on every machine. Recorded, offline
and scripted experts report such estimates.
"""

from __future__ import annotations

from protocols.messages import Message


def estimated_tokens(characters: int) -> int:
    """Return the number of tokens that a text of so many characters is taken for."""
    return (characters + 3) // 4


def prompt_tokens(messages: tuple[Message, ...]) -> int:
    """Return the number of tokens that a prompt is taken for; images count nothing."""
    characters = 0
    for message in messages:
        for part in message.parts:
            if part.kind == "text":
                characters += len(part.text)
    return estimated_tokens(characters)
