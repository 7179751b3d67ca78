"""Stopping a run when every pair of its protocols is decided, without spoiling the error.

The test is the one of ``statistics/sequential.py``, which may be looked at after every unit. Units
are fed in the order in which the run asks them, which is random and was fixed before anything was
answered; a unit counts when all protocols are over with all its questions, and none behind it
counts before. So what is seen never depends on which answers come fast. The run itself is stopped
as a user stops it: what is in flight is finished and kept, and the same command without the
stopping goes on.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING, Any

from protocols.errors import Mistake
from protocols.outcome import Outcome
from workflows.api import Hooks, RunResult
from workflows.api import run as run_workflow
from workflows.comparing.results import WANTED, answer_key
from workflows.comparing.wording import counted_of
from workflows.questions.answer_key import AnswerKey
from workflows.statistics.intervals import Interval
from workflows.statistics.sequential import Decider, Standing

if TYPE_CHECKING:
    from orchestrator.driver import Driver, Progress
    from orchestrator.run import Prepared
    from orchestrator.store import SessionRow, Store
    from workflows.settings.configuration import Workflow

AHEAD = 64
"""Units that are asked at once while a run may be stopped: more would only be asked in vain."""
LOOKED_AT = 256
"""Units whose sessions are read at once."""
Names = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Decision:
    """Where the pairs of a run stand; the figures hold whenever they are looked at."""

    standings: tuple[Standing[Names], ...]
    intervals: Mapping[Names, Interval]
    """Confidence sequences, at the level at which Holm's method tests each pair."""
    accuracies: Mapping[str, tuple[float, int]]
    """Protocol -> share right and questions, of the units that counted. After an early stop a
    difference between them is biased away from 0."""
    asked: int
    """Units that counted."""
    planned: int
    """Units of the run."""
    sessions: int
    """Sessions that are over."""
    planned_sessions: int

    @property
    def all_decided(self) -> bool:
        """Whether every pair is decided."""
        return all(one.decided_after is not None for one in self.standings)

    @property
    def saved(self) -> int:
        """Sessions that were not asked to their end."""
        return self.planned_sessions - self.sessions

    def __str__(self) -> str:
        """Say what was decided, and what that saved."""
        decided = sum(one.decided_after is not None for one in self.standings)
        many = len(self.standings)
        counted = f"{self.asked:,} of {counted_of(self.planned, 'unit')}"
        if not self.all_decided:
            if many == 1:
                return f"the pair is not decided after {counted}"
            verb = "is" if decided == 1 else "are"
            return f"{decided:,} of {many:,} pairs {verb} decided after {counted}"
        every = "the pair is" if many == 1 else f"all {many:,} pairs are"
        return (
            f"{every} decided after {counted}: {self.saved:,} of "
            f"{counted_of(self.planned_sessions, 'session')} were saved"
        )

    def as_json(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        return {
            "method": "betting confidence sequence over units, Holm over pairs",
            "units": self.asked,
            "units_planned": self.planned,
            "sessions": self.sessions,
            "sessions_planned": self.planned_sessions,
            "sessions_saved": self.saved,
            "all_decided": self.all_decided,
            "accuracies": {
                name: {"accuracy": share, "n": n} for name, (share, n) in self.accuracies.items()
            },
            "pairs": [
                {
                    "first": one.pair[0],
                    "second": one.pair[1],
                    "difference": one.mean,
                    "low": self.intervals[one.pair].low,
                    "high": self.intervals[one.pair].high,
                    "e_value": one.e_value,
                    "p": one.p,
                    "p_holm": one.p_holm,
                    "units": one.clusters,
                    "missing": one.missing,
                    "decided_after": one.decided_after,
                }
                for one in self.standings
            ],
        }


class Stopper:
    """Watches one run and stops it when all pairs are decided. Use it for one call of a run."""

    def __init__(self, address: str, *, error: float = 0.05) -> None:
        """Prepare to watch a run in the store at `address`."""
        self._address, self._error = address, error
        self._prepared: Prepared | None = None
        self._driver: Driver | None = None
        self._units: deque[_Unit] = deque()
        self._decider: Decider[Names] | None = None
        self._store: Store | None = None
        self._key = AnswerKey()
        self._fed: dict[str, list[float]] = {}
        self._planned = 0
        self.stopped = False
        """Whether it stopped the run."""

    def hooks(self, inner: Hooks | None = None) -> Hooks:
        """Return hooks that watch and then tell `inner`."""
        inner = inner or Hooks()
        return replace(
            inner,
            on_prepared=_both(self._on_prepared, inner.on_prepared),
            on_driver=_both(self._on_driver, inner.on_driver),
            on_progress=_both(self._on_progress, inner.on_progress),
        )

    def _on_prepared(self, prepared: Prepared) -> None:
        from orchestrator.store import Store

        self._prepared = prepared
        self._store = Store.read(self._address)
        run = next(one for one in self._store.runs() if one.id == prepared.run_id)
        sessions = self._store.sessions(run.id, statuses=WANTED)
        self._key = answer_key(run)
        entries = list(dict.fromkeys(one.entry for one in sessions))
        self._units = deque(_units(sessions, self._key))
        self._planned = len(self._units)
        self._fed = {entry: [] for entry in entries}
        pairs = list(combinations(entries, 2))
        self._decider = Decider(pairs, planned=self._planned, error=self._error)
        self._feed()

    def _on_driver(self, driver: Driver) -> None:
        self._driver = driver
        sessions = max((len(unit.sessions) for unit in self._units), default=1)
        window = min(driver.settings.window, AHEAD * sessions)
        driver.settings = replace(driver.settings, window=window)
        self._stop_if_decided()

    def _on_progress(self, progress: Progress) -> None:
        self._feed()
        self._stop_if_decided()

    def _stop_if_decided(self) -> None:
        if self._driver and self._decider and self._decider.all_decided and self._units:
            self.stopped = True
            self._driver.stop()

    def _feed(self) -> None:
        """Count the units that are complete, up to the first that is not."""
        assert self._store is not None
        at_once = 1
        while self._units:
            some = [self._units[place] for place in range(min(at_once, len(self._units)))]
            endings = self._store.endings([id for unit in some for id in unit.sessions])
            for unit in some:
                if any(not _is_over(*endings[id]) for id in unit.sessions):
                    return
                self._count(unit, endings)
                self._units.popleft()
            at_once = LOOKED_AT

    def _count(self, unit: _Unit, endings: Mapping[int, tuple[str, str | None]]) -> None:
        assert self._decider is not None
        found: dict[str, dict[str, list[float | None]]] = {}
        for id, (entry, question) in unit.sessions.items():
            ended = endings[id][1]
            right = None
            if ended is not None:
                right = self._key.correctness(Outcome.from_json(ended), question)
            found.setdefault(entry, {}).setdefault(question, []).append(right)
        values = {
            entry: {question: _mean(shares) for question, shares in by_question.items()}
            for entry, by_question in found.items()
        }
        for entry, shares in values.items():
            self._fed[entry] += [share for share in shares.values() if share is not None]
        pairs = {
            (first, second): _difference(values.get(first, {}), values.get(second, {}))
            for first, second in combinations(self._fed, 2)
        }
        self._decider.add(unit.name, pairs)

    def decision(self, progress: Progress) -> Decision:
        """Return where the pairs stand at the end of the run, and close the store.

        Args:
            progress: of the run, at its end.
        """
        assert self._decider is not None
        assert self._store is not None
        self._feed()
        self._store.close()
        standings = tuple(self._decider.standings())
        return Decision(
            standings,
            {one.pair: self._decider.interval(one.pair) for one in standings},
            {name: (sum(v) / len(v), len(v)) for name, v in self._fed.items() if v},
            self._planned - len(self._units),
            self._planned,
            progress.sessions_done,
            progress.sessions,
        )


@dataclass(frozen=True, slots=True)
class _Unit:
    """What repeats together: its sessions, with their entries and questions."""

    name: str
    sessions: dict[int, tuple[str, str]]


def check_decidable(workflow: Workflow) -> None:
    """Refuse a workflow whose protocols can never be told apart.

    Raises:
        Mistake: it has fewer than two protocols, or no question has a gold answer.
    """
    from workflows.questions.data_files import load_inputs

    if len(workflow.protocols) < 2:
        raise Mistake("--until-decided needs two protocols or more; this workflow has one")
    key = load_inputs(workflow).questions.key
    if not key.gold and not key.flags:
        raise Mistake(f"--until-decided needs gold answers, and {workflow.questions.path} has none")


def run_until_decided(
    workflow: Workflow, *, hooks: Hooks | None = None, error: float = 0.05, **settings: Any
) -> tuple[RunResult, Decision]:
    """Run a workflow until every pair of its protocols is decided, or to its end.

    Args:
        workflow: as ``load_workflow`` returns it.
        hooks: what to hear on the way.
        error: the chance that any pair is decided wrongly.
        settings: further arguments of :func:`workflows.api.run`.

    Raises:
        Mistake: see :func:`check_decidable`; or something in the workflow is wrong.
    """
    check_decidable(workflow)
    stopper = Stopper(workflow.store, error=error)
    result = run_workflow(workflow, hooks=stopper.hooks(hooks), **settings)
    return result, stopper.decision(result.progress)


def _units(sessions: Sequence[SessionRow], key: AnswerKey) -> list[_Unit]:
    """Return the units of a run, in the order in which it asks them."""
    units: dict[str, _Unit] = {}
    for one in sessions:
        name = key.clusters.get(one.question_id, one.question_id)
        unit = units.setdefault(name, _Unit(name, {}))
        unit.sessions[one.id] = (one.entry, one.question_id)
    return list(units.values())


def _is_over(status: str, outcome: str | None) -> bool:
    return outcome is not None or status in ("finished", "failed")


def _mean(shares: Sequence[float | None]) -> float | None:
    told = [share for share in shares if share is not None]
    return sum(told) / len(told) if told else None


def _difference(
    first: Mapping[str, float | None], second: Mapping[str, float | None]
) -> float | None:
    """Return the mean difference over a unit's questions; None where any is missing."""
    pairs = [(first.get(question), second.get(question)) for question in {*first, *second}]
    told = [a - b for a, b in pairs if a is not None and b is not None]
    return sum(told) / len(told) if told and len(told) == len(pairs) else None


def _both(
    first: Callable[[Any], None], second: Callable[[Any], None] | None
) -> Callable[[Any], None]:
    """Return a call of both, the first one first."""

    def call(value: Any) -> None:
        first(value)
        if second is not None:
            second(value)

    return call
