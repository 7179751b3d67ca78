"""The store: everything that a run keeps, in SQLite or PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import Any, Self

from sqlalchemy import Connection, Engine

from orchestrator.ledger import Budget
from orchestrator.sharding import ALL_SHARDS
from orchestrator.store import cache, connect, drivers, leases, migrate, money, reading, runs, views
from orchestrator.store.address import Address, parse_address
from orchestrator.store.cache import CachedModel, Hit
from orchestrator.store.connect import Durability
from orchestrator.store.errors import StoreMistake, told
from orchestrator.store.locks import PATIENCE_S, FileLocks, PostgresLocks, ShardLocks, all_held
from orchestrator.store.money import Lengths, RoleSpend
from orchestrator.store.rows import (
    DriverRow,
    LoadedTape,
    NewRun,
    NewSession,
    RunRow,
    RunStatus,
    SessionRow,
    Totals,
)
from orchestrator.store.writer import StoreJournal
from protocols.messages import Place


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

    def list_prices(self, session_ids: Sequence[int]) -> dict[int, dict[Place, float | None]]:
        """Return the list prices of accepted replies in US dollars, by session and place."""
        with self._reading() as connection:
            return reading.read_prices(connection, session_ids)

    def check_parts(self, run_id: int) -> list[tuple[int, int, int]]:
        """Return (session, turn, slot) of the asks that hold a part which is gone or changed."""
        with self._reading() as connection:
            return reading.find_damaged(connection, run_id)

    def ask_rows(self, session_ids: Sequence[int]) -> Iterator[dict[str, Any]]:
        """Yield every ask as a dictionary: the columns of ``ask``, with what is JSON read.

        ``messages`` is a list of {speaker, parts: [{name, text, kind, origin}]}, where `origin`
        is the [turn, slot] of the reply that the part quotes, or None.
        """
        with told(self.shown, "read"):
            yield from views.view_asks(self._engine, session_ids)

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

    def spent(self, run_id: int) -> dict[str, RoleSpend]:
        """Return what a run spent by role, with the attempts whose fate is not known."""
        with self._reading() as connection:
            return money.read_spent(connection, run_id)

    def lengths(self, run_id: int) -> list[Lengths]:
        """Return how long prompts and replies of a run were, by entry, role and expert."""
        with self._reading() as connection:
            return money.read_lengths(connection, run_id)

    def book_lost(self, run_id: int, shards: Collection[int]) -> int:
        """Book what a dead driver had under way in shards whose locks are held; return how many."""
        with self._reading() as connection:
            if not money.has_dispatches(connection):
                return 0
        with self._writing() as connection:
            return money.book_lost(connection, run_id, shards)

    def lessees(self, run_id: int) -> list[int]:
        """Return the drivers that hold a slice of a run's budget, dead ones too."""
        with self._reading() as connection:
            return leases.read_lessees(connection, run_id)

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

    def cached_replies(
        self, keys: Sequence[bytes], *, max_age_s: float | None = None
    ) -> Mapping[bytes, Hit]:
        """Return what the cache holds under keys, nothing older than `max_age_s`."""
        with self._reading() as connection:
            return cache.look_up(connection, keys, max_age_s)

    def cached_models(self) -> list[CachedModel]:
        """Return what the cache holds by model."""
        with self._reading() as connection:
            return cache.read_cached(connection)

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
