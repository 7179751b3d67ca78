"""From an ask's messages to tokens, and from tokens to text and options.

The tokenizer's chat template puts a prompt into the form that the model was trained on. Templates
differ in what they take: where one refuses a conversation, it is tried again with the system's
words in front of the first user message, and then with neighbouring messages of one speaker made
one. Control tokens that stand in what somebody said are encoded as ordinary text: a debater cannot
end its own turn and begin the judge's.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from agents.distributions import bare
from agents.transformers_marks import Marks
from protocols.errors import Mistake
from protocols.messages import PART_SEPARATOR, Message

_WINDOW = 4
"""Tokens before one that decide how it is written."""

Turn = dict[str, str]


class Unsuitable(Exception):
    """A prompt that this model cannot be given; the message says why."""


class Chat:
    """A model's tokenizer with its chat template. May be used from several threads.

    Args:
        folder: of the model.
        template: the chat template; None is the tokenizer's own.
        options: given to the template.
        where: how messages name the expert.

    Raises:
        Mistake: there is no tokenizer or no template.
    """

    def __init__(
        self, folder: Path, template: str | None, options: dict[str, Any], where: str
    ) -> None:
        from transformers import AutoTokenizer

        try:
            self._tokenizer: Any = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
        except Exception as error:  # noqa: BLE001 - what a damaged file raises is anybody's guess
            line = " ".join(str(error).split())[:200]
            raise Mistake(f"{where}: {folder}: no tokenizer can be read ({line})") from None
        self._lock = threading.Lock()
        self._options = options
        self._template = template or self._tokenizer.chat_template
        if not self._template:
            raise Mistake(
                f"{where}: {folder}: its tokenizer has no chat template; name a file with one:  "
                "options: {chat_template: FILE}"
            )
        self._marks = Marks(self._tokenizer, str(self._template))

    @property
    def end_token(self) -> int | None:
        """The token that ends a text, where the tokenizer names one."""
        found = self._tokenizer.eos_token_id
        return None if found is None else int(found)

    def prompt(self, messages: Sequence[Message]) -> list[int]:
        """Return the tokens of a prompt, up to where the reply begins.

        Raises:
            Unsuitable: the template does not take it, or it holds what is not text.
        """
        if not messages:
            raise Unsuitable("there is no message")
        if any(part.kind != "text" for message in messages for part in message.parts):
            raise Unsuitable("this model reads text alone, and the prompt holds an image")
        turns = [
            {"role": message.speaker, "content": self._marks.mark(message.text)}
            for message in messages
        ]
        refusal = ""
        for form in _forms(turns):
            try:
                with self._lock:
                    rendered = self._tokenizer.apply_chat_template(
                        form,
                        chat_template=self._template,
                        add_generation_prompt=True,
                        tokenize=False,
                        **self._options,
                    )
                    tokens = self._marks.encode(rendered)
                if tokens:
                    return tokens
                refusal = refusal or "it makes nothing of it"
            except Exception as error:  # noqa: BLE001 - a template is a program of somebody else's
                refusal = refusal or " ".join(str(error).split())[:200] or type(error).__name__
        raise Unsuitable(f"its chat template does not take the prompt ({refusal})")

    def encode(self, text: str) -> list[int]:
        """Return the tokens of a text; control tokens in it are ordinary text."""
        with self._lock:
            tokens = self._tokenizer.encode(
                text, add_special_tokens=False, split_special_tokens=True
            )
        return [int(token) for token in tokens]

    def text(self, tokens: Sequence[int]) -> str:
        """Return what tokens say, without control tokens."""
        with self._lock:
            said: str = self._tokenizer.decode(
                list(tokens), skip_special_tokens=True, clean_up_tokenization_spaces=False
            )
        return said

    def pieces(self, tokens: Sequence[int]) -> list[str]:
        """Return what each of some tokens adds to the text."""
        windows = [list(tokens[max(0, i - _WINDOW) : i + 1]) for i in range(len(tokens))]
        with_it = self._texts(windows)
        without = self._texts([window[:-1] for window in windows])
        return [long[len(short) :] for long, short in zip(with_it, without, strict=True)]

    def naming(self, options: Sequence[str], vocabulary: int) -> list[list[int]] | None:
        """Return for each option the tokens that name it; None where one has none of its own.

        Only tokens below `vocabulary` count: a tokenizer may have more than its model.

        A token names an option whatever its case and whatever blanks, brackets, stars or stops
        stand around it (see :func:`agents.distributions.bare`).
        """
        names = [option.casefold() for option in options]
        found = [
            [token for token in self._named.get(name, []) if token < vocabulary] for name in names
        ]
        return found if all(found) and len(set(names)) == len(names) else None

    @cached_property
    def _named(self) -> dict[str, list[int]]:
        """The tokens of the vocabulary by what they name."""
        special = set(self._tokenizer.all_special_ids)
        tokens = [token for token in range(len(self._tokenizer)) if token not in special]
        named: dict[str, list[int]] = {}
        for token, text in zip(tokens, self._texts([[token] for token in tokens]), strict=True):
            name = bare(text)
            if name:
                named.setdefault(name, []).append(token)
        return named

    def _texts(self, sequences: list[list[int]]) -> list[str]:
        with self._lock:
            texts: list[str] = self._tokenizer.batch_decode(
                sequences, skip_special_tokens=True, clean_up_tokenization_spaces=False
            )
        return texts


def _forms(turns: list[Turn]) -> Iterator[list[Turn]]:
    """Yield a conversation as it is, then in the forms that stricter templates take."""
    yield turns
    plain = turns
    if any(turn["role"] == "system" for turn in turns):
        plain = _without_system(turns)
        yield plain
    merged: list[Turn] = []
    for turn in plain:
        if merged and merged[-1]["role"] == turn["role"]:
            merged[-1] = _joined(merged[-1], turn)
        else:
            merged.append(turn)
    if len(merged) < len(plain):
        yield merged


def _without_system(turns: list[Turn]) -> list[Turn]:
    """Return a conversation whose first user message begins with what the system says."""
    said = PART_SEPARATOR.join(turn["content"] for turn in turns if turn["role"] == "system")
    others = [turn for turn in turns if turn["role"] != "system"]
    system = {"role": "user", "content": said}
    for place, turn in enumerate(others):
        if turn["role"] == "user":
            return [*others[:place], _joined(system, turn), *others[place + 1 :]]
    return [system, *others]


def _joined(first: Turn, second: Turn) -> Turn:
    return {
        "role": first["role"],
        "content": PART_SEPARATOR.join(text for text in (first["content"], second["content"])),
    }
