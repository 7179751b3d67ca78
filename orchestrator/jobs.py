"""From stored sessions to jobs: what is left of a run, shard by shard as locks are to be had."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from orchestrator.live import Job, forked, repeated
from orchestrator.rebuild import Rebuilder
from orchestrator.sharding import ALL_SHARDS
from orchestrator.sharing import SharedTapes
from protocols.messages import Place
from protocols.tape import Tape

if TYPE_CHECKING:
    from orchestrator.store import SessionRow, Store, StoreJournal

FIRST_CHUNK, CHUNK = 64, 256
"""Sessions that are read at once: few at first, so that the first asks leave soon, and never so
many that results have to wait long for them."""
AT_ONCE = 10_000
"""Sessions that are locked together, a whole shard at least: what a driver keeps live."""


class OpenJobs:
    """The sessions of a run that are not over, in shards that a journal holds or can get.

    Iterating locks the next shards when those before are used up. What others hold is left out.
    """

    def __init__(
        self, store: Store, run_id: int, journal: StoreJournal, shards: Iterable[int] = ALL_SHARDS
    ) -> None:
        self._store = store
        self._run_id = run_id
        self._journal = journal
        self._pending = store.pending_by_shard(run_id)
        self._left = [shard for shard in shards if self._pending.get(shard)]
        self._taken: frozenset[int] = frozenset()

    def begin(self) -> bool:
        """Lock the first shards; False where nothing is left to do.

        Raises:
            AllHeld: something is left, and others hold all of it.
        """
        from orchestrator.store.locks import PATIENCE_S, all_held

        wanted = list(self._left)
        while self._left and not self._taken:
            self._taken = self._still_pending(self._claim())
        if not self._taken:  # who held them may have died just now
            self._left = sorted(self._still_pending(wanted))
            if not self._left:
                return False
            self._taken = self._still_pending(self._claim(patience_s=PATIENCE_S))
        if not self._taken:
            raise all_held(self._store.shown, self._run_id)
        return True

    def _still_pending(self, shards: Iterable[int]) -> frozenset[int]:
        """Return those of `shards` of which others have not ended everything meanwhile."""
        return frozenset(shards) & self._store.pending_by_shard(self._run_id).keys()

    def __iter__(self) -> Iterator[Job]:
        """Yield each session with what is recorded of it."""
        taken, self._taken = self._taken, frozenset()
        while taken or self._left:
            if not taken:
                taken = self._claim()
            self._store.book_lost(self._run_id, taken)
            # read under the locks: what another driver has ended meanwhile is not there
            rows = self._store.sessions(self._run_id, statuses=("pending",), shards=taken)
            yield from _jobs(self._store, self._run_id, rows)
            taken = frozenset()

    def _claim(self, *, patience_s: float = 0.0) -> frozenset[int]:
        """Lock the next shards, as many as make a window's worth of sessions."""
        group: list[int] = []
        count = 0
        while self._left and (not group or count + self._pending[self._left[0]] <= AT_ONCE):
            group.append(self._left.pop(0))
            count += self._pending[group[-1]]
        return self._journal.claim(group, patience_s=patience_s)


def _jobs(store: Store, run_id: int, rows: Sequence[SessionRow]) -> Iterator[Job]:
    """Yield a job for each session."""
    rebuilder = Rebuilder(store)
    sharing = SharedTapes(store, rebuilder, run_id, rows)
    for chunk in _chunks(rows):
        ids = [row.id for row in chunk]
        attempts: dict[int, dict[Place, int]] = {}
        for (session, turn, slot), count in store.attempts(ids).items():
            attempts.setdefault(session, {})[Place(turn, slot)] = count
        parents = sorted({row.parent for row in chunk if row.parent is not None})
        tapes: dict[int, Tape] = {one.session: one.tape for one in store.tapes(parents)}
        prices = store.list_prices(parents)
        own = {parent for parent, run in store.run_ids(parents).items() if run == run_id}
        rebuilder.preload(chunk)
        recorded = {one.session: one.tape for one in store.tapes(ids)}
        shared = sharing.of(chunk, recorded)
        for row in chunk:
            found = (recorded.pop(row.id), attempts.get(row.id, {}))
            job = _job(row, *found, rebuilder, (own, tapes, prices))
            yield replace(job, shared=shared[row.id]) if row.id in shared else job


def _chunks(rows: Sequence[SessionRow]) -> Iterator[Sequence[SessionRow]]:
    """Cut rows into chunks."""
    start, end = 0, min(FIRST_CHUNK, CHUNK)
    while start < len(rows):
        yield rows[start:end]
        start, end = end, end + CHUNK


def _job(
    row: SessionRow,
    tape: Tape,
    attempts: dict[Place, int],
    rebuilder: Rebuilder,
    parents: tuple[set[int], dict[int, Tape], dict[int, dict[Place, float | None]]],
) -> Job:
    """Return one job; of its possible parents: those of the same run, all tapes and prices."""
    own, tapes, prices = parents
    branch = None
    if not tape and row.parent is not None and row.fork_turn is not None:
        inherits = repeated if row.parent in own else forked
        branch = inherits(tapes[row.parent], row.fork_turn)
        branch = replace(branch, prices=prices.get(row.parent, {}))
    return Job(
        session=row.id,
        protocol=rebuilder.protocol(row),
        question=rebuilder.question(row),
        cast=rebuilder.cast(row),
        seed=row.seed,
        repeat=row.repeat,
        tape=tape,
        attempts=attempts,
        branch=branch,
    )
