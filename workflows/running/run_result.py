"""What running a workflow gives back, and what a caller may hear meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from orchestrator.progress import Ending, Progress
from orchestrator.spec import Difference
from workflows.comparing.comparison import Compares
from workflows.comparing.table import Row
from workflows.running.drivers import Stoppable

if TYPE_CHECKING:
    from orchestrator.events import EventLog
    from orchestrator.run import Prepared
    from orchestrator.store import RoleSpend


@dataclass(frozen=True, slots=True)
class RunResult(Compares):
    """A run and its table; `comparison` says more."""

    run_id: int
    name: str
    store: str
    """Where the run is kept."""
    ending: Ending
    """finished; stopped by the user; budget reached."""
    resumed: bool
    """Whether the run was there before."""
    difference: Difference = field(repr=False)
    """What it kept, added and gave up."""
    progress: Progress
    """Of this call."""
    rows: tuple[Row, ...] = field(repr=False)  # asyncio.run takes the repr of what it returns
    notes: tuple[str, ...] = ()
    """What people should know: warnings, questions left out."""
    clusters: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Question id -> what repeats together. Not part of the JSON."""
    simulated: tuple[str, ...] = ()
    """The experts whose revisions are made up by a rule, by label."""
    spent: Mapping[str, RoleSpend] = field(default_factory=dict, repr=False)
    """What the whole run spent so far, by role."""
    reached: tuple[str, str] | None = None
    """Which limit of the budget ended it: the role ("" for the run's own) and the unit."""
    address: str = field(default="", repr=False, compare=False)
    """The store as it can be opened again; it may hold a password. Not part of the JSON."""

    def as_json(self) -> dict[str, Any]:
        """Return the result as a JSON object."""
        return {
            "run_id": self.run_id,
            "name": self.name,
            "store": self.store,
            "ending": self.ending,
            "resumed": self.resumed,
            "difference": {
                "kept": len(self.difference.kept),
                "added": len(self.difference.added),
                "superseded": len(self.difference.superseded),
                "stale": len(self.difference.stale),
            },
            "sessions": self.progress.sessions,
            "sessions_done": self.progress.sessions_done,
            "asks": self.progress.asks_done,
            "seconds": round(self.progress.elapsed_s, 3),
            "rows": [row.as_json() for row in self.rows],
            "spent": {role: one._asdict() for role, one in self.spent.items()},
            "reached": None if self.reached is None else list(self.reached),
            "notes": list(self.notes),
            "simulated": list(self.simulated),
        }


@dataclass(frozen=True, slots=True)
class Hooks:
    """What a caller may want to hear while a run goes on."""

    on_prepared: Callable[[Prepared], None] | None = None
    """Before anything is spent: what is kept and what is new."""
    on_progress: Callable[[Progress], None] | None = None
    on_driver: Callable[[Stoppable], None] | None = None
    """Is handed what drives the run, to be able to stop it."""
    on_note: Callable[[str], None] | None = None
    """What people should know; mostly before the run begins."""
    events: EventLog | None = None
    """Is written what happens; closed by whoever opened it."""
