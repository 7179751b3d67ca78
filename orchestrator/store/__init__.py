"""The store. Import it only where it is used: it brings SQLAlchemy along."""

from __future__ import annotations

from orchestrator.store.errors import StoreFailed, StoreMistake
from orchestrator.store.profiles import ExpertRow, ProfileRows
from orchestrator.store.rows import (
    AskedExpert,
    LoadedTape,
    NewRun,
    NewSession,
    RunRow,
    SessionRow,
    Totals,
)
from orchestrator.store.store import Store
from orchestrator.store.writer import StoreJournal

__all__ = [
    "AskedExpert",
    "ExpertRow",
    "LoadedTape",
    "NewRun",
    "NewSession",
    "ProfileRows",
    "RunRow",
    "SessionRow",
    "Store",
    "StoreFailed",
    "StoreJournal",
    "StoreMistake",
    "Totals",
]
