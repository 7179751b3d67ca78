"""The store. Import it only where it is used: it brings SQLAlchemy along."""

from __future__ import annotations

from orchestrator.store.errors import AllHeld, StoreConflict, StoreFailed, StoreMistake
from orchestrator.store.profiles import ExpertRow, ProfileRows
from orchestrator.store.rows import (
    AskedExpert,
    DriverRow,
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
    "AllHeld",
    "AskedExpert",
    "DriverRow",
    "ExpertRow",
    "LoadedTape",
    "NewRun",
    "NewSession",
    "ProfileRows",
    "RunRow",
    "SessionRow",
    "Store",
    "StoreConflict",
    "StoreFailed",
    "StoreJournal",
    "StoreMistake",
    "Totals",
]
