"""What goes into a store and comes out of it, as frozen values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypedDict

from protocols.messages import Place
from protocols.tape import Recorded

RunStatus = Literal["running", "finished", "stopped", "failed", "waiting"]


@dataclass(frozen=True, slots=True)
class NewRun:
    """A run that is to be created."""

    name: str
    """Unique in its store."""
    config_json: str
    config_hash: str
    code_revision: str
    packages: Mapping[str, str]
    parent: int | None = None
    """The run that it branches off."""
    answer_key_json: str | None = None
    """The gold answers: a document of the run, never of a session."""


@dataclass(frozen=True, slots=True)
class RunRow(NewRun):
    """A stored run."""

    id: int = 0
    status: str = "running"
    created_at: str = ""
    """UTC, ISO 8601."""
    finished_at: str | None = None


@dataclass(frozen=True, slots=True)
class NewSession:
    """A session that is to be added to a run; its documents are stored once."""

    ordinal: int
    """Its place in the run's order."""
    shard: int
    key: str
    """The session's identity, hexadecimal."""
    entry: str
    """The row of the workflow that asks for it."""
    kind: str
    version: int
    parameters_json: str
    question_id: str
    question_key: str
    question_json: str
    cast_json: str
    seed: int = 0
    repeat: int = 0
    parent: int | None = None
    """The session that it branches off."""
    fork_turn: int | None = None
    """The first turn that is its own."""


@dataclass(frozen=True, slots=True)
class SessionRow:
    """A stored session. The three ``_part`` ids are for :meth:`Store.documents`."""

    id: int
    run_id: int
    ordinal: int
    shard: int
    key: str
    entry: str
    kind: str
    version: int
    question_id: str
    question_key: str
    seed: int
    repeat: int
    parent: int | None
    fork_turn: int | None
    parameters_part: int
    question_part: int
    cast_part: int
    status: str
    outcome_json: str | None
    message: str

    @property
    def is_over(self) -> bool:
        """Whether it needs no more replies: it has an outcome, or its protocol failed."""
        return self.outcome_json is not None or self.status in ("finished", "failed")


@dataclass(frozen=True, slots=True)
class DriverRow:
    """A process that works, or worked, on a run. Times: UTC, ISO 8601, by its own clock."""

    id: int
    run_id: int
    name: str
    """``host:process``."""
    started_at: str
    seen_at: str
    """Its last sign of life."""
    ended_at: str | None
    ending: str | None
    """How it ended; None while it runs, and where it was killed."""
    progress_json: str


@dataclass(frozen=True, slots=True)
class LoadedTape:
    """What is recorded of a session."""

    session: int
    tape: dict[Place, Recorded]
    """The accepted replies."""
    inherited: dict[Place, str]
    """In a branch's fed turns: the parent's ask keys, where they differ."""
    tampered: tuple[Place, ...] = ()
    """Where the stored digest does not fit the stored reply; filled in when asked for."""


class AskedExpert(NamedTuple):
    """One ask of a run, as far as it matters who was asked when."""

    entry: str
    """The row of the run."""
    session: int
    turn: int
    expert: str


class Totals(TypedDict):
    """What an entry of a run took."""

    asks: int
    """Asks that were answered, also by a failure; one that was never sent does not count."""
    attempts: int
    """Calls, whatever came of them; what was inherited or found in the cache is none."""
    prompt_tokens: int
    completion_tokens: int
    list_price: float
    """US dollars, as far as prices are known."""
    paid_price: float
