"""Prompts are parts: the words in which an ask is put.

A message is a tuple of named parts. Names let a viewer mark what is what, let an offline engine
find the passage, and let the store keep a story of 30,000 characters once although it is read
fifty times. A part that quotes a reply carries the place of that reply as its origin; the lineage
of a session is read off the origins.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from protocols.canonical import sha256

PartKind = Literal["text", "image"]
Speaker = Literal["system", "user", "assistant"]

PART_SEPARATOR = "\n\n"


class Source(NamedTuple):
    """Where a rendered part comes from, so that its words can be replaced."""

    template: str
    section: str
    arguments: tuple[tuple[str, Any], ...]
    below: str = ""
    """What stands below the rendered section in the same part."""


class Place(NamedTuple):
    """Where an ask stands in its session: turn and slot, both from 0."""

    turn: int
    slot: int


@dataclass(frozen=True, slots=True)
class Part:
    """A named piece of a prompt."""

    name: str
    """What the piece is: ``system``, ``passage``, ``question``, ``speech``..."""
    text: str
    """The text; of an image its data URL."""
    kind: PartKind = "text"
    """``text`` or ``image``."""
    origin: Place | None = None
    """The place of the reply that this part quotes. Not part of any identity."""
    source: Source | None = field(default=None, repr=False, compare=False)
    """The section of a template that it was rendered from, if any. Not part of any identity."""
    _digest: bytes | None = field(default=None, init=False, repr=False, compare=False)
    _identity_json: str | None = field(default=None, init=False, repr=False, compare=False)

    @property
    def identity_json(self) -> str:
        """Name and digest as canonical JSON, computed once: the part in an ask's identity."""
        identity = self._identity_json
        if identity is None:
            identity = f'["{self.name}","{self.digest.hex()}"]'
            object.__setattr__(self, "_identity_json", identity)
        return identity

    @property
    def digest(self) -> bytes:
        """SHA-256 (32 bytes) over kind and text; neither name nor origin changes it.

        Raises:
            ValueError: the part's name is not an identifier.
        """
        digest = self._digest
        if digest is None:
            if not self.name.isidentifier():
                raise ValueError(f"a part's name must be an identifier, not {self.name!r}")
            digest = sha256(f"{self.kind}\n{self.text}")
            object.__setattr__(self, "_digest", digest)
        return digest


@dataclass(frozen=True, slots=True)
class Message:
    """What one speaker says: named parts, joined by a blank line."""

    speaker: Speaker
    parts: tuple[Part, ...]

    @property
    def text(self) -> str:
        """The text parts joined by a blank line, as a chat model reads them."""
        return PART_SEPARATOR.join(part.text for part in self.parts if part.kind == "text")


def find_part(messages: tuple[Message, ...], name: str) -> Part | None:
    """Return the first part called `name`, or None."""
    for message in messages:
        for part in message.parts:
            if part.name == name:
                return part
    return None


def find_parts(messages: tuple[Message, ...], name: str) -> tuple[Part, ...]:
    """Return every part called `name`, in reading order."""
    return tuple(part for message in messages for part in message.parts if part.name == name)
