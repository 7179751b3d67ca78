"""The store: everything that a run keeps, in SQLite or PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import Any, Self

from sqlalchemy import Connection, Engine

from orchestrator.sharding import ALL_SHARDS
from orchestrator.store import connect, drivers, migrate, paging, profiles, reading, runs, views
from orchestrator.store.address import Address, parse_address
from orchestrator.store.connect import Durability
from orchestrator.store.errors import StoreMistake, told
from orchestrator.store.locks import PATIENCE_S, FileLocks, PostgresLocks, ShardLocks, all_held
from orchestrator.store.paging import Spent
from orchestrator.store.profiles import ExpertRow, ProfileRows
from orchestrator.store.rows import (
    AskedExpert,
    DriverRow,
    LoadedTape,
    NewRun,
    NewSession,
    RunRow,
    RunStatus,
    SessionRow,
    Totals,
)
from orchestrator.store.spending import SpentRow, read_endings, sum_by_role, sum_seconds
from orchestrator.store.writer import StoreJournal


class Store:
    """Runs, sessions and transcripts. Opened by :meth:`open` or :meth:`read`; a context manager.

    Every method may raise :class:`~orchestrator.store.errors.StoreFailed` when the database does.
    Transcripts are written through :meth:`journal` only.
    """

    def __init__(self, engine: Engine, address: Address, *, writable: bool) -> None:
        self._engine = engine
        self._address = address
        self._writable = writable

    @classmethod
    def open(cls, url: str, *, create: bool = True, durability: Durability = "process") -> Self:
        """Open a store for writing; create it and bring it to the newest format if need be.

        Args:
            url: ``demo.db``, ``sqlite:///demo.db`` or ``postgresql://user@host/database``.
            create: whether a missing SQLite file is made (readable for its owner only).
            durability: what a durable record survives: the death of the ``process``, or the loss
                of ``power``.

        Raises:
            StoreMistake: it cannot be reached or written, is no store, or a newer moot wrote it.
        """
        address = parse_address(url)
        engine = connect.writing_engine(address, create=create, durability=durability)
        _or_dispose(engine, migrate.upgrade, address.shown)
        return cls(engine, address, writable=True)

    @classmethod
    def read(cls, url: str) -> Self:
        """Open a store for reading; never writes, and works on a read-only file.

        Raises:
            StoreMistake: it is missing, is no store, or was written by another version of moot.
        """
        address = parse_address(url)
        engine = connect.reading_engine(address)
        _or_dispose(engine, migrate.check, address.shown)
        return cls(engine, address, writable=False)

    @property
    def shown(self) -> str:
        """The address for people, without a password."""
        return self._address.shown

    @property
    def address(self) -> str:
        """The address as it can be opened again; it may hold a password."""
        url = self._address.url
        return self.shown if url is None else url.render_as_string(hide_password=False)

    def close(self) -> None:
        """Close all connections but those of journals."""
        self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

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

    def find_run(self, name_or_id: str) -> RunRow | None:
        """Return the run of that name, else of that id, else the only one whose name begins so.

        Raises:
            StoreMistake: several names begin so.
        """
        with self._reading() as connection:
            return runs.search_run(connection, name_or_id)

    def runs(self) -> list[RunRow]:
        """Return all runs, oldest first."""
        with self._reading() as connection:
            return runs.read_runs(connection)

    def add_sessions(self, run_id: int, sessions: Sequence[NewSession]) -> list[int]:
        """Add pending sessions to a run and return their ids in order; all of them or none.

        Raises:
            StoreMistake: the run has a session of the same entry and key that is no branch.
        """
        with self._writing() as connection:
            return runs.insert_sessions(connection, run_id, sessions)

    def sessions(
        self,
        run_id: int,
        *,
        statuses: Collection[str] | None = None,
        shards: Collection[int] | None = None,
    ) -> list[SessionRow]:
        """Return the sessions of a run by ordinal; only those in `statuses` and `shards`."""
        with self._reading() as connection:
            return runs.read_sessions(connection, run_id, statuses, shards)

    def session_counts(self, run_id: int) -> dict[str, int]:
        """Return how many sessions a run has in each state."""
        with self._reading() as connection:
            return runs.count_sessions(connection, run_id)

    def pending_by_shard(self, run_id: int) -> dict[int, int]:
        """Return how many sessions are not over, by shard; shards without any are absent."""
        with self._reading() as connection:
            return runs.count_pending(connection, run_id)

    def run_ids(self, session_ids: Collection[int]) -> dict[int, int]:
        """Return the runs that sessions belong to."""
        with self._reading() as connection:
            return runs.read_run_ids(connection, session_ids)

    def session_pages(
        self, run_id: int, *, statuses: Collection[str] | None = None, at_once: int = 1_000
    ) -> Iterator[list[SessionRow]]:
        """Yield what :meth:`sessions` returns, `at_once` of them at a time."""
        with told(self.shown, "read"):
            yield from paging.page_sessions(self._engine, run_id, statuses, at_once)

    def session(self, session_id: int) -> SessionRow | None:
        """Return one session."""
        with self._reading() as connection:
            return runs.read_session(connection, session_id)

    def set_session_status(self, ids: Collection[int], status: str) -> None:
        """Set the status of sessions, leaving their outcomes as they are."""
        with self._writing() as connection:
            runs.mark_sessions(connection, ids, status)

    def rename_entries(self, entries: Mapping[int, str]) -> None:
        """Give sessions, by id, another entry."""
        with self._writing() as connection:
            runs.set_entries(connection, entries)

    def documents(self, part_ids: Collection[int]) -> dict[int, str]:
        """Return the text of stored documents by id."""
        with self._reading() as connection:
            return runs.read_documents(connection, part_ids)

    def tapes(self, session_ids: Sequence[int], *, verify: bool = False) -> Iterator[LoadedTape]:
        """Yield what is recorded of each session, in the order given, also where that is nothing.

        Args:
            session_ids: sessions; any number of them, a few hundred are read at once.
            verify: recompute the digest of every attempt's reply and list those that do not fit.
        """
        with told(self.shown, "read"):
            yield from reading.read_tapes(self._engine, session_ids, verify=verify)

    def attempts(self, session_ids: Sequence[int]) -> dict[tuple[int, int, int], int]:
        """Return how many attempts were made at asks that have no accepted reply yet.

        Returns:
            By (session, turn, slot), the number of the next attempt; asks without attempts are
            left out.
        """
        with self._reading() as connection:
            return reading.count_attempts(connection, session_ids)

    def check_parts(self, run_id: int) -> list[tuple[int, int, int]]:
        """Return (session, turn, slot) of the asks that hold a part which is gone or changed."""
        with self._reading() as connection:
            return reading.find_damaged(connection, run_id)

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

    def totals(self, run_id: int, *, statuses: Collection[str] | None = None) -> dict[str, Totals]:
        """Return what each entry of a run took, all attempts counted, in the entries' order.

        Args:
            run_id: the run.
            statuses: count only sessions in these states; all by default.
        """
        with self._reading() as connection:
            return views.sum_totals(connection, run_id, statuses)

    def failures(self, run_id: int) -> int:
        """Return how many accepted replies hold a failure, at sessions that the run asks for."""
        with self._reading() as connection:
            return views.count_failures(connection, run_id)

    def experts_asked(
        self, run_id: int, *, statuses: Collection[str] | None = None
    ) -> list[AskedExpert]:
        """Return whom a run asked, in the order of its sessions, turns and slots."""
        with self._reading() as connection:
            return views.experts_asked(connection, run_id, statuses)

    def save_profile(
        self, run_id: int, profile: ProfileRows, experts: Sequence[ExpertRow] = ()
    ) -> None:
        """Keep the profile that a run measured, in the place of the one it had."""
        with self._writing() as connection:
            profiles.replace_profile(connection, run_id, profile, experts)

    def profile(self, run_id: int) -> ProfileRows | None:
        """Return the profile that a run measured; None where it measured none."""
        with self._reading() as connection:
            return profiles.read_profile(connection, run_id)

    def latest_profiled(self) -> int | None:
        """Return the id of the newest run that measured a profile; None where none did."""
        with self._reading() as connection:
            return profiles.latest_profiled(connection)

    def spent(self, session_ids: Sequence[int]) -> dict[int, Spent]:
        """Return what each session took, all attempts counted; one without a reply is left out."""
        with self._reading() as connection:
            return paging.sum_spent(connection, session_ids)

    def run_spent(self, run_id: int, *, statuses: Collection[str] | None = None) -> Spent:
        """Return what a run's sessions took; only those in `statuses` where given."""
        with self._reading() as connection:
            return paging.sum_run_spent(connection, run_id, statuses)

    def spent_by_role(
        self, run_id: int, *, statuses: Collection[str] | None = None
    ) -> tuple[list[SpentRow], dict[tuple[str, str], float]]:
        """Return what a run took, by entry, question and role, and seconds by the first two."""
        with self._reading() as connection:
            rows = sum_by_role(connection, run_id, statuses)
            return rows, sum_seconds(connection, run_id, statuses)

    def endings(self, session_ids: Sequence[int]) -> dict[int, tuple[str, str | None]]:
        """Return the status and the outcome, as JSON, of sessions by id."""
        with self._reading() as connection:
            return read_endings(connection, session_ids)

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

    def drivers(self, run_id: int) -> list[DriverRow]:
        """Return the drivers that work or worked on a run, oldest first."""
        with self._reading() as connection:
            return drivers.read_drivers(connection, run_id)

    def _locks(self, connection: Connection, run_id: int) -> ShardLocks:
        if self._address.path is None:
            return PostgresLocks(connection, run_id)
        return FileLocks(self._address.path, run_id)

    @property
    def _patience_s(self) -> float:
        return PATIENCE_S if self._address.path is None else 0.0

    def _writer(self) -> Engine:
        if not self._writable:
            raise StoreMistake(f"the store {self.shown} was opened for reading only")
        return self._engine.execution_options(writes=True)

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        with told(self.shown, "written"), self._writer().begin() as connection:
            yield connection

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        with told(self.shown, "read"), self._engine.connect() as connection:
            yield connection


def _or_dispose(engine: Engine, check: Callable[[Engine, str], None], shown: str) -> None:
    """Check a store that was just connected to; close the connections where that fails."""
    try:
        check(engine, shown)
    except BaseException:
        engine.dispose()
        raise
