"""What can be read from a store."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from orchestrator.store import (
    cache,
    drivers,
    leases,
    money,
    paging,
    profiles,
    reading,
    runs,
    views,
)
from orchestrator.store.cache import CachedModel, Hit
from orchestrator.store.money import Lengths, RoleSpend
from orchestrator.store.opened import Opened
from orchestrator.store.paging import Spent
from orchestrator.store.profiles import ProfileRows
from orchestrator.store.rows import (
    AskedExpert,
    DriverRow,
    RunRow,
    SessionRow,
    Totals,
)
from orchestrator.store.spending import SpentRow, read_endings, sum_by_role, sum_seconds
from protocols.messages import Place


class Readings(Opened):
    """The questions that a store answers; none of them writes."""

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

    def documents(self, part_ids: Collection[int]) -> dict[int, str]:
        """Return the text of stored documents by id."""
        with self._reading() as connection:
            return runs.read_documents(connection, part_ids)

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

    def profile(self, run_id: int) -> ProfileRows | None:
        """Return the profile that a run measured; None where it measured none."""
        with self._reading() as connection:
            return profiles.read_profile(connection, run_id)

    def latest_profiled(self) -> int | None:
        """Return the id of the newest run that measured a profile; None where none did."""
        with self._reading() as connection:
            return profiles.latest_profiled(connection)

    def session_spent(self, session_ids: Sequence[int]) -> dict[int, Spent]:
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
