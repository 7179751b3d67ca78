"""Keeps what is said apart from what a chat template writes: nobody but it writes control tokens.

A control token that stands in a message is put between two marks before the template is applied.
Afterwards marked ones are encoded as the ordinary text that they look like, and all the rest as it
stands. Releases of transformers that vLLM takes cannot do this themselves.
"""

from __future__ import annotations

import re
from functools import cached_property
from typing import Any

_OPEN, _CLOSE = "\ufdd0", "\ufdd1"
"""Two of the code points that Unicode keeps free for a program's own use and for no text."""


class Marks:
    """Marks and encodes control tokens for one tokenizer with one template.

    Control tokens are the tokenizer's special ones, and of its other added ones those that the
    template writes.
    """

    def __init__(self, tokenizer: Any, template: str) -> None:
        added = tokenizer.added_tokens_decoder.items()
        self._tokenizer = tokenizer
        self._control = {
            token.content: int(number)
            for number, token in added
            if token.special or (token.content.strip() and token.content in template)
        }

    def mark(self, text: str) -> str:
        """Return a text with its control tokens between marks; marks of its own are taken out."""
        text = text.replace(_OPEN, "").replace(_CLOSE, "")
        return self._found.sub(rf"{_OPEN}\g<0>{_CLOSE}", text) if self._control else text

    def encode(self, rendered: str) -> list[int]:
        """Return the tokens of what a template made of marked texts.

        Raises:
            ValueError: the tokenizer knows no other way to write a control token.
        """
        if _OPEN not in rendered and _CLOSE not in rendered:
            return self._plain(rendered)
        tokens: list[int] = []
        # A template may cut a text at a token that it knows, so that one mark stands alone.
        for number, piece in enumerate(self._marked.split(rendered)):
            if piece:
                tokens += self._as_text(piece) if number % 2 else self._plain(piece)
        return tokens

    @cached_property
    def _found(self) -> re.Pattern[str]:
        longest = sorted(self._control, key=len, reverse=True)
        return re.compile("|".join(map(re.escape, longest)))

    @cached_property
    def _marked(self) -> re.Pattern[str]:
        return re.compile(f"{_OPEN}({self._found.pattern}){_CLOSE}|[{_OPEN}{_CLOSE}]")

    def _plain(self, text: str) -> list[int]:
        return [int(token) for token in self._tokenizer.encode(text, add_special_tokens=False)]

    def _as_text(self, piece: str) -> list[int]:
        """Return the tokens of a control token's letters; one by one where it is no special one."""
        whole = self._tokenizer.encode(piece, add_special_tokens=False, split_special_tokens=True)
        for tokens in (whole, [token for letter in piece for token in self._plain(letter)]):
            if not set(self._control.values()).intersection(tokens):
                return [int(token) for token in tokens]
        raise ValueError(f"its tokenizer cannot write {piece!r} as ordinary text")
