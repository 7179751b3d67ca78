"""Drivers and how far they are; sessions found by shard."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the table of drivers and the index."""
    op.create_table(
        "driver",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("run", sa.Integer(), sa.ForeignKey("run.id"), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("started_at", sa.Text(), nullable=False),
        sa.Column("seen_at", sa.Text(), nullable=False),
        sa.Column("ended_at", sa.Text(), nullable=True),
        sa.Column("ending", sa.Text(), nullable=True),
        sa.Column("progress", sa.Text(), nullable=False),
    )
    op.create_index("driver_run", "driver", ["run"])
    op.create_index("session_shard", "session", ["run", "shard", "ordinal"])


def downgrade() -> None:
    """Take both away; what drivers told of themselves is lost, and nothing else."""
    op.drop_index("session_shard", "session")
    op.drop_table("driver")
