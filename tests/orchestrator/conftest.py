"""What tests of the machinery stand on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.store import Store
from tests import postgres


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """An empty store, in SQLite and in PostgreSQL."""
    if request.param == "sqlite":
        with Store.open(str(tmp_path / "runs.db")) as store:
            yield store
    else:
        with postgres.database() as url, Store.open(url) as store:
            yield store
