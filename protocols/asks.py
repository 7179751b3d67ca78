"""Asks: one generation request each, and the key that is its identity.

Theory. An ask names a seat (who is asked) and carries messages (what is asked). Its key is the
SHA-256 of canonical JSON over everything that can change the output: model and revision,
effective sampling, messages (parts by hash), options, reply schema, whether a score is wanted
instead of words, and the number of times the same request was made before in this session (so that
repeated draws differ). Roster label, seat,
engine, address, price and time limits are not in it: a laptop and a cluster ask the same keys.

A protocol makes asks without a place; ``tape.advance`` numbers them (turn, slot, occurrence) when
the generator yields them.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from protocols.canonical import canonical_json
from protocols.messages import Message, Place


def request_key(request_json: str, occurrence: int) -> str:
    """Return SHA-256 (hex) over canonical JSON of a request and its occurrence."""
    text = f'{{"occurrence":{occurrence},"request":{request_json}}}'
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Model:
    """The identity of what generates: its name and its revision."""

    name: str
    """``provider/model``, for example ``openai/gpt-4o-mini`` or ``offline/quote-debater``."""
    revision: str = ""
    """Commit, date or content hash, where one is known."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How to draw. None leaves the choice to the engine, and is part of the identity as such."""

    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None

    def over(self, defaults: Sampling) -> Sampling:
        """Return these settings, filled up from `defaults` where they say nothing."""
        return Sampling(
            temperature=defaults.temperature if self.temperature is None else self.temperature,
            top_p=defaults.top_p if self.top_p is None else self.top_p,
            max_tokens=defaults.max_tokens if self.max_tokens is None else self.max_tokens,
            stop=self.stop or defaults.stop,
            seed=defaults.seed if self.seed is None else self.seed,
        )

    def as_json(self) -> dict[str, Any]:
        """Return the settings as a JSON object."""
        return {
            "temperature": self.temperature,
            "top_p": self.top_p,
            "max_tokens": self.max_tokens,
            "stop": list(self.stop),
            "seed": self.seed,
        }


@dataclass(frozen=True, slots=True)
class Seat:
    """A filled place: who is asked, and with which sampling."""

    name: str
    """``judge``, ``debater_a``, ``solver_3``: unique in its session."""
    role: str
    """The role whose place it is: ``judge``, ``debater``, ``solver``."""
    expert: str
    """The expert's label in the roster. Not part of an ask's identity."""
    model: Model
    """What generates: part of an ask's identity."""
    sampling: Sampling = Sampling()
    """Effective sampling: part of an ask's identity."""
    _model_json: str | None = field(default=None, init=False, repr=False, compare=False)
    _sampling_json: str | None = field(default=None, init=False, repr=False, compare=False)

    @property
    def model_json(self) -> str:
        """The model as canonical JSON, computed once."""
        if self._model_json is None:
            text = canonical_json({"name": self.model.name, "revision": self.model.revision})
            object.__setattr__(self, "_model_json", text)
        return self._model_json or ""

    @property
    def sampling_json(self) -> str:
        """The sampling as canonical JSON, computed once."""
        if self._sampling_json is None:
            object.__setattr__(self, "_sampling_json", canonical_json(self.sampling.as_json()))
        return self._sampling_json or ""


@lru_cache(maxsize=1024)
def _options_json(options: tuple[str, ...]) -> str:
    return canonical_json(list(options))


def _message_json(message: Message) -> str:
    """Return a message as canonical JSON: named parts by hash, and who speaks."""
    parts = ",".join([part._identity_json or part.identity_json for part in message.parts])
    return f'{{"parts":[{parts}],"speaker":"{message.speaker}"}}'


@dataclass(frozen=True, slots=True)
class Ask:
    """One generation request of a session."""

    seat: Seat
    """Who is asked."""
    messages: tuple[Message, ...]
    """What is asked; put what many asks share first, so that engines can reuse prefixes."""
    options: tuple[str, ...] = ()
    """Labels over which a distribution is wanted, for example ("A", "B")."""
    schema: str | None = None
    """The JSON schema that the reply must follow, as canonical JSON."""
    question: str = ""
    """Id of the question that the ask is about: for people and diagnostics, not identity."""
    place: Place | None = None
    """Turn and slot; set by ``tape.advance``."""
    occurrence: int = 0
    """How often the same request was made before in this session; set by ``tape.advance``."""
    score: bool = False
    """Whether nothing is to be generated, but to be said how likely the last message is, which the
    assistant speaks, behind those before it; see ``Reply.score``. Part of an ask's identity."""
    _key: str | None = field(default=None, init=False, repr=False, compare=False)

    @property
    def key(self) -> str:
        """The identity of the request: 64 hexadecimal digits (see the theory above)."""
        if self._key is None:
            object.__setattr__(self, "_key", request_key(self.request_json, self.occurrence))
        return self._key or ""

    @property
    def request_json(self) -> str:
        """Canonical JSON of the request without its occurrence; assembled by hand for speed."""
        messages = ",".join([_message_json(message) for message in self.messages])
        options = _options_json(self.options) if self.options else "[]"
        schema = "null" if self.schema is None else self.schema
        score = ',"score":true' if self.score else ""  # so that other asks keep their keys
        return (
            f'{{"messages":[{messages}],"model":{self.seat.model_json},"options":{options},'
            f'"sampling":{self.seat.sampling_json},"schema":{schema}{score}}}'
        )

    def numbered(self, place: Place, occurrences: dict[str, int]) -> Ask:
        """Return the same request at a place in its session, and count it in `occurrences`."""
        request = self.request_json
        first_key = request_key(request, 0)
        occurrence = occurrences.get(first_key, 0)
        occurrences[first_key] = occurrence + 1
        ask = Ask(
            self.seat,
            self.messages,
            self.options,
            self.schema,
            self.question,
            place,
            occurrence,
            self.score,
        )
        key = first_key if occurrence == 0 else request_key(request, occurrence)
        object.__setattr__(ask, "_key", key)
        return ask
