"""The tables. Columns that point at a run or a session carry its name: ``ask.session``.

Transcripts (ask, reply, part) have no foreign keys, so that millions of rows can be written by
several drivers, swept and partitioned. What is nested is canonical JSON in a text column. Text
that is not a reply lies once in ``part``: pieces of prompts, and documents (questions, casts,
parameters, answer keys). A change here needs a new file in ``migrations/versions``.
"""

from __future__ import annotations

from typing import Any, ClassVar

from sqlalchemy import BigInteger, Index, LargeBinary, Table, Text, text
from sqlmodel import Field, SQLModel


def _text(**settings: Any) -> Any:
    return Field(sa_type=Text, **settings)


class RunTable(SQLModel, table=True):
    """Many sessions under one resolved configuration."""

    __tablename__: ClassVar[str] = "run"

    id: int | None = Field(default=None, primary_key=True)
    name: str = _text(unique=True)
    status: str = _text()
    config: str = _text()
    """The resolved configuration, JSON."""
    config_hash: str = _text()
    code_revision: str = _text()
    packages: str = _text()
    """Package versions, JSON."""
    answer_key_part: int | None = None
    """The gold answers, JSON. Joined to outcomes only when they are scored."""
    parent: int | None = Field(default=None, foreign_key="run.id")
    created_at: str = _text()
    """UTC, ISO 8601."""
    finished_at: str | None = _text(default=None)


class SessionTable(SQLModel, table=True):
    """One run of one protocol on one question."""

    __tablename__: ClassVar[str] = "session"
    __table_args__ = (
        Index("session_ordinal", "run", "ordinal"),
        Index("session_shard", "run", "shard", "ordinal"),
        Index(
            "session_key",
            "run",
            "entry",
            "key",
            unique=True,
            sqlite_where=text("parent IS NULL"),
            postgresql_where=text("parent IS NULL"),
        ),
    )

    id: int | None = Field(default=None, primary_key=True)
    run: int = Field(foreign_key="run.id")
    ordinal: int
    shard: int
    key: str = _text()
    entry: str = _text()
    """The row of the workflow, and of its table."""
    kind: str = _text()
    version: int
    question_id: str = _text()
    question_key: str = _text()
    seed: int = Field(sa_type=BigInteger)
    repeat: int
    parent: int | None = Field(default=None, foreign_key="session.id")
    """The session that this one branches off."""
    fork_turn: int | None = None
    parameters_part: int
    """The protocol's parameters, JSON."""
    question_part: int
    """The question, JSON."""
    cast_part: int
    """The cast, JSON."""
    status: str = _text()
    outcome: str | None = _text(default=None)
    """Canonical JSON."""
    message: str = _text()
    """Why it failed, where its protocol raised."""


class DriverTable(SQLModel, table=True):
    """A process that works, or worked, on a run; it gives a sign of life every few seconds."""

    __tablename__: ClassVar[str] = "driver"
    __table_args__ = (Index("driver_run", "run"),)

    id: int | None = Field(default=None, primary_key=True)
    run: int = Field(foreign_key="run.id")
    name: str = _text()
    """Its machine and process: ``host:1234``."""
    started_at: str = _text()
    seen_at: str = _text()
    """Its last sign of life; times are UTC, ISO 8601, by its own clock."""
    ended_at: str | None = _text(default=None)
    ending: str | None = _text(default=None)
    """How it ended; none while it runs, and for ever where it was killed."""
    progress: str = _text()
    """How far it is, JSON."""


class AskTable(SQLModel, table=True):
    """One generation request, written before it is dispatched."""

    __tablename__: ClassVar[str] = "ask"

    session: int = Field(primary_key=True)
    turn: int = Field(primary_key=True)
    slot: int = Field(primary_key=True)
    key: str = _text()
    seat: str = _text()
    role: str = _text()
    expert: str = _text()
    model: str = _text()
    revision: str = _text()
    sampling: str = _text()
    """JSON."""
    messages: str = _text()
    """JSON: [[speaker, [[name, part, [turn, slot] of what it quotes, or null], ...]], ...]."""
    options: str | None = _text(default=None)
    """JSON list of labels, where a distribution was wanted."""
    reply_schema: str | None = _text(default=None)
    question: str = _text()
    occurrence: int
    inherited: str | None = _text(default=None)
    """In a branch's fed turns: the parent's ask key, where it differs."""


class ReplyTable(SQLModel, table=True):
    """One attempt at an ask; at most one is accepted."""

    __tablename__: ClassVar[str] = "reply"
    __table_args__ = (
        Index(
            "reply_accepted",
            "session",
            "turn",
            "slot",
            unique=True,
            sqlite_where=text("accepted"),
            postgresql_where=text("accepted"),
        ),
    )

    session: int = Field(primary_key=True)
    turn: int = Field(primary_key=True)
    slot: int = Field(primary_key=True)
    attempt: int = Field(primary_key=True)
    accepted: bool
    text: str = _text()
    failure_boundary: str | None = _text(default=None)
    failure_cause: str | None = _text(default=None)
    failure_message: str | None = _text(default=None)
    distribution: str | None = _text(default=None)
    """JSON list of probabilities."""
    distribution_source: str | None = _text(default=None)
    prompt_tokens: int
    completion_tokens: int
    reasoning_tokens: int
    cached_tokens: int
    finish: str = _text()
    repaired: bool
    digest: bytes = Field(sa_type=LargeBinary)
    """SHA-256 over all that the session saw of it."""
    latency_s: float
    model_served: str | None = _text(default=None)
    list_price: float | None = None
    """US dollars; none where the price is not known."""
    paid_price: float | None = None
    source: str | None = _text(default=None)
    """``inherited`` from the parent of a branch, or from the ``cache``: no call was made for it."""
    served_by: str | None = _text(default=None)
    """The fallback that served it, by its label; none where the expert that was cast did."""


class DispatchTable(SQLModel, table=True):
    """An attempt that costs something, written before it is made.

    While it has no row in ``reply`` it counts as made, at the price that was reserved. Rows are
    taken away when their session's shard is next worked on.
    """

    __tablename__: ClassVar[str] = "dispatch"

    session: int = Field(primary_key=True)
    turn: int = Field(primary_key=True)
    slot: int = Field(primary_key=True)
    attempt: int = Field(primary_key=True)
    usd: float | None = None
    """None where the price is not known."""
    prompt_tokens: int
    completion_tokens: int


class LeaseTable(SQLModel, table=True):
    """What is left of the slice of a run's budget that one of several drivers may spend."""

    __tablename__: ClassVar[str] = "lease"

    driver: int = Field(primary_key=True, foreign_key="driver.id")
    run: int = Field(foreign_key="run.id", index=True)
    amounts: str = _text()
    """JSON: by role ("" for the run) its limits, as they were granted, less what is spent."""


class CacheTable(SQLModel, table=True):
    """Where the reply to a request is found again."""

    __tablename__: ClassVar[str] = "cache_entry"

    key: bytes = Field(sa_type=LargeBinary, primary_key=True)
    """SHA-256 over the ask's key, the server's address and the number of the repeat."""
    session: int
    turn: int
    slot: int
    attempt: int
    stored_at: str = _text()
    """UTC, ISO 8601."""


class PartTable(SQLModel, table=True):
    """Text that is not a reply.

    What many asks read is stored once: among the shared parts the hash is unique. What quotes a
    reply is new with almost every reply, and an index in the order of hashes is touched all over
    with every commit; so such parts are left out of it, and the writer only looks among the ones
    that it wrote lately. That keeps the cost of a part the same however many there are.
    """

    __tablename__: ClassVar[str] = "part"
    __table_args__ = (
        Index(
            "part_hash",
            "hash",
            unique=True,
            sqlite_where=text("shared"),
            postgresql_where=text("shared"),
        ),
    )

    id: int | None = Field(default=None, primary_key=True)
    shared: bool
    """False where it quotes a reply."""
    hash: bytes = Field(sa_type=LargeBinary)
    """SHA-256 over kind, newline and body."""
    kind: str = _text()
    """``text``, ``image`` (a data URL) or ``document`` (JSON)."""
    body: str = _text()


class ExpertTable(SQLModel, table=True):
    """An expert of a run's roster; prices in US dollars per million tokens."""

    __tablename__: ClassVar[str] = "expert"

    run: int = Field(primary_key=True, foreign_key="run.id")
    label: str = _text(primary_key=True)
    model: str = _text()
    revision: str = _text()
    prompt_price: float | None = None
    """None where the price is not known."""
    completion_price: float | None = None


class ProfileTable(SQLModel, table=True):
    """An expert's skill scores, as a run measured them.

    One more row, whose `expert` is empty, holds what they were measured on, question by question.
    """

    __tablename__: ClassVar[str] = "profile"

    run: int = Field(primary_key=True, foreign_key="run.id")
    expert: str = _text(primary_key=True)
    hash: str = _text(primary_key=True)
    """Of the whole profile, as the casts name it."""
    scores: str = _text()
    """JSON: ``skills`` (score by skill), ``asked`` and ``right``."""


class VerdictTable(SQLModel, table=True):
    """A judge's decision in a session."""

    __tablename__: ClassVar[str] = "verdict"

    session: int = Field(primary_key=True)
    turn: int = Field(primary_key=True)
    slot: int = Field(primary_key=True)
    decision: str | None = _text(default=None)
    """A label; None for a tie or an abstention."""
    distribution: str | None = _text(default=None)
    """JSON list of probabilities."""
    consistent: bool | None = None
    """Whether the other answer order gave the same decision; None where it was not asked."""
    rationale: str = _text()


class ComparisonTable(SQLModel, table=True):
    """The figures of two rows of a run's table, compared as pairs."""

    __tablename__: ClassVar[str] = "comparison"

    run: int = Field(primary_key=True, foreign_key="run.id")
    first: str = _text(primary_key=True)
    second: str = _text(primary_key=True)
    figures: str = _text()
    """JSON."""


METADATA = SQLModel.metadata
RUN: Table = METADATA.tables["run"]
SESSION: Table = METADATA.tables["session"]
DRIVER: Table = METADATA.tables["driver"]
ASK: Table = METADATA.tables["ask"]
REPLY: Table = METADATA.tables["reply"]
DISPATCH: Table = METADATA.tables["dispatch"]
LEASE: Table = METADATA.tables["lease"]
CACHE: Table = METADATA.tables["cache_entry"]
PART: Table = METADATA.tables["part"]
EXPERT: Table = METADATA.tables["expert"]
PROFILE: Table = METADATA.tables["profile"]
