"""Who drives a run: this process alone, or several processes that share it out."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from typing import Protocol as Interface
from uuid import uuid4

from orchestrator.crew import Crew, Line, on_stop
from orchestrator.driver import DriverSettings, Ended, Ending, Progress
from orchestrator.events import PROGRESS_EVERY_S, FleetEvents
from orchestrator.fleets.fleet import Fleet
from orchestrator.money.books import open_ledger
from orchestrator.money.ledger import Budget, Ledger
from orchestrator.money.reply_cache import CachePolicy
from orchestrator.planner.plan import PlanSettings
from orchestrator.run import Prepared, stored_roster
from orchestrator.sharding import deal
from orchestrator.spec import Difference, RunSpec
from orchestrator.working import work
from protocols.errors import MootError
from workflows.forecast.prediction import run_mode
from workflows.running.tellers import CrewTeller, Teller, of_run
from workflows.settings.endpoints import CHANGES, Rules, tell_changes
from workflows.settings.fleets import FleetSpec, Where

if TYPE_CHECKING:
    from orchestrator.driver import Driver
    from orchestrator.store import Store
    from workflows.api import Hooks

Reached = tuple[str, str] | None
"""Which limit of the budget was reached, as :class:`Ended` says it."""
SAY_EVERY_S = 0.5
LOOK_EVERY_S = 0.2


class Stoppable(Interface):
    """What drives a run."""

    def stop(self) -> None:
        """Start nothing more; what runs is finished and recorded."""


class DriverFailed(MootError):
    """A driver process of a run stopped with an error; what is recorded is kept."""


async def drive(
    store: Store,
    url: str,
    prepared: Prepared,
    spec: RunSpec,
    where: Where,
    *,
    budget: Budget,
    cache: CachePolicy | None,
    rules: Rules,
    hooks: Hooks,
) -> Ended:
    """Run what is left of a prepared run, in one process or in several.

    Args:
        store: where `prepared` came from.
        url: the same store's address, for other processes.
        prepared: the run.
        spec: the same run.
        where: its experts, and how many drivers.
        budget: what it may spend, earlier commands included; several drivers lease slices of it.
        cache: what may be taken from the response cache; None: nothing.
        rules: of its endpoints; several drivers share the limits evenly.
        hooks: what to hear on the way.
    """
    shares = deal(store.pending_by_shard(prepared.run_id), where.drivers)
    plan = PlanSettings()
    if shares and isinstance(where.fleet, FleetSpec):
        plan = PlanSettings(mode=await asyncio.to_thread(run_mode, spec, where.fleet))
    settings = DriverSettings(
        budget=budget, cache=cache, plan=plan, retry=rules.retry, limits=rules.limits
    )
    if len(shares) > 1:
        return await _drive_many(
            store, url, prepared, where, shares, settings=settings, hooks=hooks
        )
    return await _drive_alone(store, prepared, spec, where, settings=settings, hooks=hooks)


async def _drive_alone(
    store: Store,
    prepared: Prepared,
    spec: RunSpec,
    where: Where,
    *,
    settings: DriverSettings,
    hooks: Hooks,
) -> Ended:
    ledger = open_ledger(store, prepared.run_id, settings.budget)
    emit = hooks.events.emit if hooks.events is not None else None
    fleet_events = FleetEvents(emit) if emit else None
    teller = Teller(prepared, ledger.paid, PROGRESS_EVERY_S)

    def hear(progress: Progress) -> None:
        tell_changes(teller.changes(), emit, hooks.on_note)
        told = teller.figures(progress) if emit else None
        if told is not None and emit and fleet_events:
            fleet_events.flush()
            emit("progress", **of_run(prepared, told))
        if hooks.on_progress:
            hooks.on_progress(progress)

    def on_driver(driver: Driver) -> None:
        teller.driver = driver
        if hooks.on_driver:
            hooks.on_driver(driver)

    return await work(
        store,
        prepared,
        spec,
        lambda: fleet_events.tap(where.make()) if fleet_events else where.make(),
        settings=settings,
        on_progress=hear,
        on_driver=on_driver,
        ledger=ledger,
    )


async def _drive_many(
    store: Store,
    url: str,
    prepared: Prepared,
    where: Where,
    shares: list[tuple[int, ...]],
    *,
    settings: DriverSettings,
    hooks: Hooks,
) -> Ended:
    ledger = open_ledger(store, prepared.run_id, settings.budget)
    tasks = _tasks(url, prepared, where, shares, settings=settings, seconds=ledger.seconds)
    reached: list[Reached] = []

    def on_line(number: int, said: dict[str, Any]) -> None:
        event = said.get("event")
        reached.extend([tuple(said["reached"])] if said.get("reached") else [])
        if event is not None and hooks.events is not None:
            hooks.events.emit(driver=number, **event)
        if event is not None and event["kind"] in CHANGES and hooks.on_note:
            hooks.on_note(f"driver {number}: {event['message']}")

    crew = Crew("workflows.running.drivers:be_driver", on_line)
    if hooks.on_driver:
        hooks.on_driver(crew)
    began = time.monotonic()
    running = asyncio.create_task(crew.run(tasks))
    teller = CrewTeller(crew, prepared, ledger.paid, hooks)
    try:
        while not running.done():
            await asyncio.wait({running}, timeout=LOOK_EVERY_S)
            teller.tell(time.monotonic() - began)
    finally:
        running.cancel()
        await asyncio.wait({running})
    running.result()
    left = sum(store.pending_by_shard(prepared.run_id).values())
    progress = teller.progress(time.monotonic() - began)
    return Ended(_ending(crew, left), progress, reached[0] if left and reached else None)


def _tasks(
    url: str,
    prepared: Prepared,
    where: Where,
    shares: Sequence[tuple[int, ...]],
    *,
    settings: DriverSettings,
    seconds: float,
) -> list[dict[str, Any]]:
    """Return what each driver process is told, as JSON; `seconds` are those spent so far."""
    if isinstance(where.fleet, Fleet):
        raise TypeError("a fleet object serves one process; see Where.check")
    shared, rules = uuid4().hex, Rules(settings.retry, settings.limits)
    return [
        {
            "store": url,
            "run": prepared.run_id,
            "sessions": prepared.sessions,
            "done": prepared.done,
            "share": share,
            "budget": settings.budget.model_dump(mode="json"),
            "cache": None if settings.cache is None else [settings.cache.max_age_s],
            "seconds": seconds,
            "rules": Rules(rules.retry, rules.part(place, len(shares))).as_json(),
            "mode": settings.plan.mode,
            "fleet": where.fleet.model_dump(mode="json"),
            "shared": shared,
            "place": [place, len(shares)],
        }
        for place, share in enumerate(shares)
    ]


def _ending(crew: Crew, left: int) -> Ending:
    """Return how a run with several drivers ended.

    Raises:
        DriverFailed: something is left, and a driver said why it could not go on.
    """
    if not left:
        return "finished"
    for member in crew.members:
        if member.error:
            raise DriverFailed(f"driver {member.number}: {member.error}")
    return "budget" if any(one.ending == "budget" for one in crew.members) else "stopped"


def be_driver(task: Mapping[str, Any], line: Line) -> None:
    """Drive a share of a run as a child process, and tell the parent how it goes."""
    try:
        ending, reached = asyncio.run(_drive_share(task, line))
    except MootError as error:
        line.say(error=" ".join(str(error).split()))
    else:
        line.say(ending=ending, reached=reached)


async def _drive_share(task: Mapping[str, Any], line: Line) -> tuple[Ending, Reached]:
    from orchestrator.store import AllHeld, Store

    with Store.open(task["store"], create=False) as store:
        row = next(run for run in store.runs() if run.id == task["run"])
        spec = RunSpec(row.name, (), (), tuple(stored_roster(row).values()))
        none = Difference((), (), (), (), ())
        prepared = Prepared(row.id, row.name, True, none, task["sessions"], task["done"])
        rules = Rules.from_json(task["rules"])
        settings = DriverSettings(
            retry=rules.retry,
            limits=rules.limits,
            budget=Budget.model_validate(task["budget"]),
            cache=None if task["cache"] is None else CachePolicy(*task["cache"]),
            plan=PlanSettings(mode=task["mode"]),
        )
        ledger = Ledger(settings.budget, seconds=task["seconds"])  # its own part alone

        def emit(kind: str, **more: Any) -> None:
            line.say(event={"kind": kind, **more})

        events = FleetEvents(emit)
        teller = Teller(prepared, ledger.paid, SAY_EVERY_S)
        stopper = _Stopper(teller)

        def hear(progress: Progress) -> None:
            tell_changes(teller.changes(), emit)
            told = teller.figures(progress)
            if told is not None:
                events.flush()
                line.say(figures=told)

        place, drivers = task["place"]
        where = Where(
            FleetSpec.model_validate(task["fleet"]),
            shared=task["shared"],
            share=(place, drivers),
        )
        try:
            ended = await work(
                store,
                prepared,
                spec,
                lambda: events.tap(where.make()),
                settings=settings,
                on_progress=hear,
                on_driver=stopper.on_driver,
                share=task["share"],
                ledger=ledger,
                sharing=drivers,
            )
        except AllHeld:  # others were quicker
            return "finished", None
        line.say(figures=teller.figures(ended.progress, always=True))
        return ended.ending, ended.reached


class _Stopper:
    """Stops the driver of a child when its parent says so, or is gone, or on SIGTERM."""

    def __init__(self, teller: Teller) -> None:
        self._teller = teller
        self._stopped = False
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self.stop)
        on_stop(_threadsafe(loop, self.stop))

    def on_driver(self, driver: Driver) -> None:
        self._teller.driver = driver
        if self._stopped:
            driver.stop()

    def stop(self) -> None:
        self._stopped = True
        if self._teller.driver is not None:
            self._teller.driver.stop()


def _threadsafe(loop: asyncio.AbstractEventLoop, call: Callable[[], None]) -> Callable[[], None]:
    def later() -> None:
        try:
            loop.call_soon_threadsafe(call)
        except RuntimeError:  # the loop is closed: there is nothing left to stop
            return

    return later
