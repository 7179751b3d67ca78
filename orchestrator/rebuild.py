"""From a stored session back to the objects that it ran with.

A session row names its protocol and points at its parameters, question and cast, which are stored
as documents; so a run is replayed, forked and resumed from the store alone.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from protocols.cast import Cast
from protocols.contract import Protocol
from protocols.errors import Mistake
from protocols.question import Question
from protocols.registry import make_protocol

if TYPE_CHECKING:
    from orchestrator.store import SessionRow, Store

T = TypeVar("T")


def stored_kind(protocol: Protocol) -> str:
    """Return the name by which a store finds the protocol's class again, in any process.

    Built-in protocols go by their kind, users' own by ``package.module:Class`` where that names
    them.
    """
    cls = type(protocol)
    if cls.__module__.startswith("protocols.") or "." in cls.__qualname__:
        return cls.kind
    return f"{cls.__module__}:{cls.__qualname__}"


class Rebuilder:
    """Rebuilds protocols, questions and casts.

    Protocols and casts are parsed once; questions are kept from one `preload` to the next.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._protocols: dict[tuple[str, int], Protocol] = {}
        self._questions: dict[int, Question] = {}
        self._casts: dict[int, Cast] = {}
        self._texts: dict[int, str] = {}

    def protocol(self, row: SessionRow) -> Protocol:
        """Return the protocol of a session, at its present version.

        Raises:
            Mistake: the protocol is not known here, or no longer takes its parameters.
        """
        key = (row.kind, row.parameters_part)
        if key not in self._protocols:
            read = partial(_protocol, row.kind)
            self._protocols[key] = self._read(row, row.parameters_part, "parameters", read)
        return self._protocols[key]

    def question(self, row: SessionRow) -> Question:
        """Return the question of a session.

        Raises:
            Mistake: it is gone from the store or cannot be read.
        """
        part = row.question_part
        if part not in self._questions:
            read = Question.model_validate_json
            self._questions[part] = self._read(row, part, "question", read)
        return self._questions[part]

    def cast(self, row: SessionRow) -> Cast:
        """Return the cast of a session.

        Raises:
            Mistake: it is gone from the store or cannot be read.
        """
        part = row.cast_part
        if part not in self._casts:
            self._casts[part] = self._read(row, part, "cast", Cast.model_validate_json)
        return self._casts[part]

    def preload(self, rows: Sequence[SessionRow]) -> None:
        """Fetch the questions of these sessions at once and let go of all others."""
        wanted = {row.question_part for row in rows}
        self._questions = {part: q for part, q in self._questions.items() if part in wanted}
        self._texts = self._store.documents(wanted - self._questions.keys())

    def _read(self, row: SessionRow, part: int, name: str, read: Callable[[str], T]) -> T:
        text = self._texts.pop(part, None)
        if text is None:
            text = self._store.documents([part]).get(part)
        if text is None:
            raise Mistake(f"the {name} of session {row.id} is gone from the store")
        try:
            return read(text)
        except ValueError:
            raise Mistake(f"the {name} of session {row.id} was damaged in the store") from None


def _protocol(kind: str, parameters_json: str) -> Protocol:
    return make_protocol(kind, json.loads(parameters_json))
