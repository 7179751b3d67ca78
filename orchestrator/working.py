"""A driver's work on a run: its share first, and then what others left behind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from orchestrator.driver import Driver, DriverSettings, Ended, Progress
from orchestrator.fleets.fleet import Fleet
from orchestrator.money.books import open_ledger
from orchestrator.money.ledger import Ledger
from orchestrator.run import Prepared, execute
from orchestrator.sharding import ALL_SHARDS
from orchestrator.spec import RunSpec

if TYPE_CHECKING:
    from orchestrator.store import Store


async def work(
    store: Store,
    prepared: Prepared,
    spec: RunSpec,
    new_fleet: Callable[[], Fleet],
    *,
    settings: DriverSettings | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    on_driver: Callable[[Driver], None] | None = None,
    share: Sequence[int] = ALL_SHARDS,
    ledger: Ledger | None = None,
    sharing: int = 1,
) -> Ended:
    """Execute a share of a run, and then whatever else is free: what dead drivers left behind.

    Args:
        store: as in :func:`~orchestrator.run.execute`, and what is not named here, too.
        prepared: the run.
        spec: the same run.
        new_fleet: makes a fleet; called again where there is more to do.
        settings: the same for all of it.
        on_progress: hears how far the run is, as far as this driver does it.
        on_driver: is handed each driver before it starts.
        share: the shards to begin with.
        ledger: what is spent so far; read from the store by default.
        sharing: drivers that lease slices of the budget, this one among them.

    Raises:
        AllHeld: something is left, and other drivers hold all of it.
    """
    from orchestrator.store import AllHeld

    settings = settings or DriverSettings()
    ledger = ledger or open_ledger(store, prepared.run_id, settings.budget)
    so_far: Progress | None = None

    def hear(progress: Progress) -> None:
        if on_progress:
            on_progress(after(so_far, progress))

    while True:
        before = prepared if so_far is None else replace(prepared, done=so_far.sessions_done)
        try:
            ended = await execute(
                *(store, before, spec, new_fleet()),
                settings=settings,
                on_progress=hear,
                on_driver=on_driver,
                shards=share,
                ledger=ledger,
                sharing=sharing,
            )
        except AllHeld:
            if so_far is None:
                raise
            return Ended("finished", so_far)
        so_far, share = after(so_far, ended.progress), ALL_SHARDS
        if ended.ending != "finished" or not store.pending_by_shard(prepared.run_id):
            return replace(ended, progress=so_far)


def after(first: Progress | None, then: Progress) -> Progress:
    """Return the progress of two drivers that ran one after the other."""
    if first is None:
        return then
    return replace(
        then,
        asks_done=first.asks_done + then.asks_done,
        replies_failed=first.replies_failed + then.replies_failed,
        attempts=first.attempts + then.attempts,
        elapsed_s=first.elapsed_s + then.elapsed_s,
    )
