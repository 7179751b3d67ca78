"""The store. Import it only where it is used: it brings SQLAlchemy along."""

from __future__ import annotations

from orchestrator.store.cache import CachedModel, Hit
from orchestrator.store.errors import AllHeld, StoreConflict, StoreFailed, StoreMistake
from orchestrator.store.money import Lengths, RoleSpend
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
    "CachedModel",
    "DriverRow",
    "ExpertRow",
    "Hit",
    "Lengths",
    "LoadedTape",
    "NewRun",
    "NewSession",
    "ProfileRows",
    "RoleSpend",
    "RunRow",
    "SessionRow",
    "Store",
    "StoreConflict",
    "StoreFailed",
    "StoreJournal",
    "StoreMistake",
    "Totals",
]
