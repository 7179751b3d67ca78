"""The store: everything that a run keeps, in SQLite or PostgreSQL."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

from sqlalchemy import Connection

from orchestrator.money.ledger import Budget
from orchestrator.sharding import ALL_SHARDS
from orchestrator.store import (
    cache,
    drivers,
    leases,
    paging,
    profiles,
    reading,
    runs,
    views,
)
from orchestrator.store.errors import told
from orchestrator.store.locks import PATIENCE_S, FileLocks, PostgresLocks, ShardLocks, all_held
from orchestrator.store.profiles import ExpertRow, ProfileRows
from orchestrator.store.readings import Readings
from orchestrator.store.rows import (
    LoadedTape,
    NewRun,
    NewSession,
    RunStatus,
    SessionRow,
)
from orchestrator.store.writer import StoreJournal


class Store(Readings):
    """Runs, sessions and transcripts. Opened by :meth:`open` or :meth:`read`; a context manager.

    Every method may raise :class:`~orchestrator.store.errors.StoreFailed` when the database does.
    Transcripts are written through :meth:`journal` only.
    """

    def create_run(self, run: NewRun) -> int:
        """Store a new run, with status ``running``, and return its id.

        Raises:
            StoreMistake: there is a run of that name.
        """
        with self._writing() as connection:
            return runs.insert_run(connection, run)

    def update_run(
        self,
        run_id: int,
        *,
        status: RunStatus | None = None,
        config_json: str | None = None,
        config_hash: str | None = None,
        answer_key_json: str | None = None,
        finished: bool = False,
    ) -> None:
        """Change what is given of a run; `finished` notes the present time."""
        given = {"status": status, "config": config_json, "config_hash": config_hash}
        changes = {name: str(value) for name, value in given.items() if value is not None}
        with self._writing() as connection:
            runs.change_run(
                connection, run_id, changes, answer_key_json=answer_key_json, finished=finished
            )

    def add_sessions(self, run_id: int, sessions: Sequence[NewSession]) -> list[int]:
        """Add pending sessions to a run and return their ids in order; all of them or none.

        Raises:
            StoreMistake: the run has a session of the same entry and key that is no branch.
        """
        with self._writing() as connection:
            return runs.insert_sessions(connection, run_id, sessions)

    def session_pages(
        self, run_id: int, *, statuses: Collection[str] | None = None, at_once: int = 1_000
    ) -> Iterator[list[SessionRow]]:
        """Yield what :meth:`sessions` returns, `at_once` of them at a time."""
        with told(self.shown, "read"):
            yield from paging.page_sessions(self._engine, run_id, statuses, at_once)

    def set_session_status(self, ids: Collection[int], status: str) -> None:
        """Set the status of sessions, leaving their outcomes as they are."""
        with self._writing() as connection:
            runs.mark_sessions(connection, ids, status)

    def rename_entries(self, entries: Mapping[int, str]) -> None:
        """Give sessions, by id, another entry."""
        with self._writing() as connection:
            runs.set_entries(connection, entries)

    def tapes(self, session_ids: Sequence[int], *, verify: bool = False) -> Iterator[LoadedTape]:
        """Yield what is recorded of each session, in the order given, also where that is nothing.

        Args:
            session_ids: sessions; any number of them, a few hundred are read at once.
            verify: recompute the digest of every attempt's reply and list those that do not fit.
        """
        with told(self.shown, "read"):
            yield from reading.read_tapes(self._engine, session_ids, verify=verify)

    def ask_rows(
        self, session_ids: Sequence[int], *, texts: bool = True
    ) -> Iterator[dict[str, Any]]:
        """Yield every ask as a dictionary: the columns of ``ask``, with what is JSON read.

        ``messages`` is a list of {speaker, parts: [{name, text, kind, origin}]}, where `origin`
        is the [turn, slot] of the reply that the part quotes, or None.

        Args:
            session_ids: sessions; any number of them, a few hundred are read at once.
            texts: whether the texts of the parts are read; without, each is empty.
        """
        with told(self.shown, "read"):
            yield from views.view_asks(self._engine, session_ids, texts=texts)

    def reply_rows(self, session_ids: Sequence[int]) -> Iterator[dict[str, Any]]:
        """Yield every attempt as a dictionary: the columns of ``reply``, the digest in hex."""
        with told(self.shown, "read"):
            yield from views.view_replies(self._engine, session_ids)

    def save_profile(
        self, run_id: int, profile: ProfileRows, experts: Sequence[ExpertRow] = ()
    ) -> None:
        """Keep the profile that a run measured, in the place of the one it had."""
        with self._writing() as connection:
            profiles.replace_profile(connection, run_id, profile, experts)

    def journal(self, run_id: int, *, shards: Iterable[int] = ALL_SHARDS) -> StoreJournal:
        """Return a journal of a run that holds the locks of shards until it is closed.

        Args:
            run_id: the run.
            shards: which ones, all by default; more can be had with `claim`.

        Raises:
            AllHeld: another process, or another journal, works on one of them.
        """
        wanted = set(shards)
        with ExitStack() as stack, told(self.shown, "locked"):
            connection = stack.enter_context(self._writer().connect())
            connection.detach()  # closing it must end the connection, and so its lock
            locks = self._locks(connection, run_id)
            stack.callback(locks.release)
            locks.join()
            if locks.claim(wanted, patience_s=self._patience_s) != wanted:
                raise all_held(self.shown, run_id)
            return StoreJournal(connection, self.shown, locks, stack.pop_all().close)

    def is_worked_on(self, run_id: int) -> bool:
        """Whether any driver works on a run just now."""
        with told(self.shown, "locked"), self._writer().connect() as connection:
            return self._locks(connection, run_id).is_worked_on()

    def start_driver(self, run_id: int, name: str) -> int:
        """Note that a driver begins to work on a run, which is ``running`` now; return its id."""
        with self._writing() as connection:
            runs.change_run(connection, run_id, {"status": "running"})
            return drivers.insert_driver(connection, run_id, name)

    def end_driver(self, driver_id: int, ending: str, progress_json: str) -> None:
        """Note that a driver ended."""
        with self._writing() as connection:
            drivers.note_ending(connection, driver_id, ending, progress_json)

    def settle(self, run_id: int) -> None:
        """Set the status of a run that nobody works on any more; else leave it as it is.

        Every driver calls it when its journal is closed: whose lock is held counts as working.
        """
        with self._writing() as connection:
            runs.lock_run(connection, run_id)  # so that of two that end at once one is the last
            if not self._locks(connection, run_id).is_worked_on():
                left = sum(runs.count_pending(connection, run_id).values())
                status = "stopped" if left else "finished"
                runs.change_run(connection, run_id, {"status": status}, finished=not left)

    def take_slice(
        self,
        run_id: int,
        driver_id: int,
        budget: Budget,
        *,
        left: leases.Amounts,
        need: leases.Amounts,
        parts: int,
    ) -> leases.Slice:
        """Lease a driver a slice of a budget; see :func:`orchestrator.store.leases.take_slice`."""
        with self._writing() as connection:
            return leases.take_slice(
                connection, run_id, driver_id, budget, left=left, need=need, parts=parts
            )

    def end_leases(self, driver_ids: Collection[int]) -> None:
        """Give back what drivers leased."""
        with self._writing() as connection:
            leases.end_leases(connection, driver_ids)

    def forget_cached(self, *, max_age_s: float | None = None) -> int:
        """Take out of the cache what is older than `max_age_s`, or all; return how many entries."""
        with self._writing() as connection:
            return cache.forget(connection, max_age_s)

    def _locks(self, connection: Connection, run_id: int) -> ShardLocks:
        if self._address.path is None:
            return PostgresLocks(connection, run_id)
        return FileLocks(self._address.path, run_id)

    @property
    def _patience_s(self) -> float:
        return PATIENCE_S if self._address.path is None else 0.0
