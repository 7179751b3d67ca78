"""Alembic's entry: runs the migrations on the connection that ``migrate.py`` hands over."""

from __future__ import annotations

from alembic import context

from orchestrator.store.tables import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    transactional_ddl=True,  # the connection begins by itself, so SQLite rolls tables back too
)
with context.begin_transaction():
    context.run_migrations()
