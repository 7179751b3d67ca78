"""From a stored session back to the objects that it ran with.

A session row names its protocol and points at its parameters, question and cast, which are stored
as documents; so a run is replayed, forked and resumed from the store alone.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from protocols.cast import Cast
from protocols.contract import Protocol
from protocols.question import Question
from protocols.registry import make_protocol

if TYPE_CHECKING:
    from orchestrator.store import SessionRow, Store


class Rebuilder:
    """Rebuilds protocols, questions and casts; each document is read and parsed once."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._protocols: dict[tuple[str, int], Protocol] = {}
        self._questions: dict[int, Question] = {}
        self._casts: dict[int, Cast] = {}

    def protocol(self, row: SessionRow) -> Protocol:
        """Return the protocol of a session, at its present version.

        Raises:
            Mistake: the protocol is not known here, or no longer takes its parameters.
        """
        key = (row.kind, row.parameters_part)
        if key not in self._protocols:
            parameters = json.loads(self._document(row.parameters_part))
            self._protocols[key] = make_protocol(row.kind, parameters)
        return self._protocols[key]

    def question(self, row: SessionRow) -> Question:
        """Return the question of a session."""
        part = row.question_part
        if part not in self._questions:
            self._questions[part] = Question.model_validate_json(self._document(part))
        return self._questions[part]

    def cast(self, row: SessionRow) -> Cast:
        """Return the cast of a session."""
        part = row.cast_part
        if part not in self._casts:
            self._casts[part] = Cast.model_validate_json(self._document(part))
        return self._casts[part]

    def preload(self, rows: list[SessionRow]) -> None:
        """Read the questions of many sessions at once."""
        wanted = {row.question_part for row in rows} - self._questions.keys()
        for part, text in self._store.documents(wanted).items():
            self._questions[part] = Question.model_validate_json(text)

    def _document(self, part: int) -> str:
        return self._store.documents([part])[part]
