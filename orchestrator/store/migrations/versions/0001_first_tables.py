"""The first tables."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create every table and index."""
    _create_runs()
    _create_transcripts()
    _create_findings()


def downgrade() -> None:
    """Drop every table."""
    for table in (
        *("comparison", "verdict", "profile", "expert"),
        *("part", "reply", "ask", "session", "run"),
    ):
        op.drop_table(table)


def _create_runs() -> None:
    op.create_table(
        "run",
        _integer("id", primary_key=True),
        *_texts("name", "status", "config", "config_hash", "code_revision", "packages"),
        _integer("answer_key_part", nullable=True),
        sa.Column("parent", sa.Integer(), sa.ForeignKey("run.id"), nullable=True),
        *_texts("created_at"),
        *_texts("finished_at", nullable=True),
        sa.UniqueConstraint("name"),
    )
    op.create_table(
        "session",
        _integer("id", primary_key=True),
        sa.Column("run", sa.Integer(), sa.ForeignKey("run.id"), nullable=False),
        _integer("ordinal"),
        _integer("shard"),
        *_texts("key", "entry", "kind"),
        _integer("version"),
        *_texts("question_id", "question_key"),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        _integer("repeat"),
        sa.Column("parent", sa.Integer(), sa.ForeignKey("session.id"), nullable=True),
        _integer("fork_turn", nullable=True),
        _integer("parameters_part"),
        _integer("question_part"),
        _integer("cast_part"),
        *_texts("status"),
        *_texts("outcome", nullable=True),
        *_texts("message"),
    )
    op.create_index("session_ordinal", "session", ["run", "ordinal"])
    _create_partial("session_key", "session", ["run", "entry", "key"], "parent IS NULL")


def _create_transcripts() -> None:
    op.create_table(
        "ask",
        *_place(),
        *_texts("key", "seat", "role", "expert", "model", "revision", "sampling", "messages"),
        *_texts("options", "reply_schema", nullable=True),
        *_texts("question"),
        _integer("occurrence"),
        *_texts("inherited", nullable=True),
    )
    op.create_table(
        "reply",
        *_place(),
        _integer("attempt", primary_key=True),
        sa.Column("accepted", sa.Boolean(), nullable=False),
        *_texts("text"),
        *_texts("failure_boundary", "failure_cause", "failure_message", nullable=True),
        *_texts("distribution", "distribution_source", nullable=True),
        *[_integer(f"{name}_tokens") for name in ("prompt", "completion", "reasoning", "cached")],
        *_texts("finish"),
        sa.Column("repaired", sa.Boolean(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        _float("latency_s"),
        *_texts("model_served", nullable=True),
        _float("list_price", nullable=True),
        _float("paid_price", nullable=True),
    )
    _create_partial("reply_accepted", "reply", ["session", "turn", "slot"], "accepted")
    op.create_table(
        "part",
        _integer("id", primary_key=True),
        sa.Column("shared", sa.Boolean(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        *_texts("kind", "body"),
    )
    _create_partial("part_hash", "part", ["hash"], "shared")


def _create_findings() -> None:
    op.create_table(
        "expert",
        _run(),
        *_texts("label", primary_key=True),
        *_texts("model", "revision"),
        _float("prompt_price", nullable=True),
        _float("completion_price", nullable=True),
    )
    op.create_table(
        "profile", _run(), *_texts("expert", "hash", primary_key=True), *_texts("scores")
    )
    op.create_table(
        "verdict",
        *_place(),
        *_texts("decision", "distribution", nullable=True),
        sa.Column("consistent", sa.Boolean(), nullable=True),
        *_texts("rationale"),
    )
    op.create_table(
        "comparison", _run(), *_texts("first", "second", primary_key=True), *_texts("figures")
    )


def _create_partial(name: str, table: str, columns: list[str], where: str) -> None:
    op.create_index(
        name,
        table,
        columns,
        unique=True,
        sqlite_where=sa.text(where),
        postgresql_where=sa.text(where),
    )


def _texts(*names: str, nullable: bool = False, primary_key: bool = False) -> list[sa.Column[Any]]:
    return [
        sa.Column(name, sa.Text(), nullable=nullable, primary_key=primary_key) for name in names
    ]


def _integer(name: str, *, nullable: bool = False, primary_key: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.Integer(), nullable=nullable, primary_key=primary_key)


def _float(name: str, *, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.Float(), nullable=nullable)


def _run() -> sa.Column[Any]:
    return sa.Column("run", sa.Integer(), sa.ForeignKey("run.id"), primary_key=True)


def _place() -> list[sa.Column[Any]]:
    return [_integer(name, primary_key=True) for name in ("session", "turn", "slot")]
