"""What the events of a run tell of the whole run: its first line and its last."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orchestrator.events import EventLog
    from orchestrator.run import Prepared
    from orchestrator.store import Store


@contextmanager
def first_and_last(
    events: EventLog | None, store: Store, prepared: Prepared
) -> Iterator[dict[str, Any]]:
    """Write the first and the last event of a run; what is yielded goes into the last."""
    told: dict[str, Any] = {"ending": "failed"}
    if events is not None:
        events.emit(
            "prepared",
            run=prepared.name,
            id=prepared.run_id,
            store=store.shown,
            sessions=prepared.sessions,
            sessions_done=prepared.done,
            kept=len(prepared.difference.kept),
            added=len(prepared.difference.added),
        )
    try:
        yield told
    except BaseException as error:
        told["error"] = type(error).__name__
        raise
    finally:
        if events is not None:
            events.emit("ended", **told)
