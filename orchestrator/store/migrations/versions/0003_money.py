"""What is being paid for, leases of budgets, the cache, and where replies come from."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

INHERITED = """
UPDATE reply SET source = 'inherited'
WHERE attempt = 0 AND accepted AND EXISTS (
    SELECT 1 FROM session JOIN reply AS origin ON origin.session = session.parent
    WHERE session.id = reply.session AND reply.turn <= session.fork_turn
    AND origin.turn = reply.turn AND origin.slot = reply.slot
    AND origin.accepted AND origin.digest = reply.digest
)
"""
"""Branches that are there already: what is their parent's is not asked by them."""
SLOT = ("session", "turn", "slot", "attempt")


def upgrade() -> None:
    """Add the columns and the tables."""
    op.add_column("reply", sa.Column("source", sa.Text(), nullable=True))
    op.add_column("reply", sa.Column("served_by", sa.Text(), nullable=True))
    op.execute(INHERITED)
    op.create_table(
        "dispatch",
        *[sa.Column(name, sa.Integer(), primary_key=True, autoincrement=False) for name in SLOT],
        sa.Column("usd", sa.Float(), nullable=True),
        sa.Column("prompt_tokens", sa.Integer(), nullable=False),
        sa.Column("completion_tokens", sa.Integer(), nullable=False),
    )
    op.create_table(
        "lease",
        sa.Column("driver", sa.Integer(), sa.ForeignKey("driver.id"), primary_key=True),
        sa.Column("run", sa.Integer(), sa.ForeignKey("run.id"), nullable=False),
        sa.Column("amounts", sa.Text(), nullable=False),
    )
    op.create_index("ix_lease_run", "lease", ["run"])
    op.create_table(
        "cache_entry",
        sa.Column("key", sa.LargeBinary(), primary_key=True),
        *[sa.Column(name, sa.Integer(), nullable=False) for name in SLOT],
        sa.Column("stored_at", sa.Text(), nullable=False),
    )


def downgrade() -> None:
    """Take them away; what was under way is forgotten, and cached replies are asked again."""
    for table in ("cache_entry", "lease", "dispatch"):
        op.drop_table(table)
    op.drop_column("reply", "served_by")
    op.drop_column("reply", "source")
