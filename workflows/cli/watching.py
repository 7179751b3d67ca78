"""The verb that shows how runs and jobs are doing: status."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from protocols.errors import Mistake
from workflows.cli import options
from workflows.cli.progress import clock
from workflows.cli.screen import command_name, near, put, put_json, put_table, say, store_option
from workflows.comparing.wording import counted_of

if TYPE_CHECKING:
    from orchestrator.submit import JobResult
    from workflows.running.status import DriverState, RunState

EVERY_S = 2.0
SHOWN = 12
"""Experts, and drivers, that are listed; the rest is counted."""
JOB = re.compile(r"raysubmit_\w+")
"""How Ray calls the jobs that it names itself."""
_INTRODUCTION = re.compile(r"\brun (\S+) \(id \d+\)")


def status(
    target: Annotated[
        str | None, typer.Argument(metavar="RUN | JOB", help="A run, or a submitted job.")
    ] = None,
    *,
    store: Annotated[
        str | None,
        typer.Option("--store", metavar="URL", help="Where the run is kept (moot.db)."),
    ] = None,
    address: Annotated[
        str | None,
        typer.Option("--address", metavar="URL", help="A job's cluster: http://HOST:8265."),
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Show it again every two seconds until it ends.")
    ] = False,
    as_json: options.Json = False,
) -> None:
    """Say how a run is doing, or a job; without either, list the store's runs.

    Example: moot status skills --store demo.db --watch, or: moot status raysubmit_x1y2z3
    """
    if target is None and address is not None:
        raise Mistake("--address belongs to a job; write its id: moot status JOB --address URL")
    if target is None:
        _put_runs(store or "moot.db", as_json=as_json)
    elif address is not None or JOB.fullmatch(target):
        _put_job(target, address, store, watch=watch, as_json=as_json)
    else:
        _put_run(target, store or "moot.db", watch=watch, as_json=as_json)


def _put_runs(store: str, *, as_json: bool) -> None:
    from orchestrator.store import Store
    from workflows.running.status import run_states

    with Store.read(store) as opened:
        runs = run_states(opened)
    if as_json:
        put_json(runs)
        return
    if not runs:
        put(f"{near(store)} holds no runs")
        return
    rows = [
        [
            run["name"],
            run["status"],
            str(run["id"]),
            f"{run['sessions_done']:,}/{run['sessions']:,}",
            str(run["drivers"]),
            run["created_at"][:16].replace("T", " "),
        ]
        for run in runs
    ]
    put_table(["run", "status", "id", "sessions", "drivers", "created (UTC)"], rows, left=2)


def _put_run(name: str, store: str, *, watch: bool, as_json: bool) -> None:
    for state in _states(name, store, watch=watch):
        if as_json:
            put_json(state.as_json())
            sys.stdout.flush()
            continue
        if watch and sys.stdout.isatty():
            sys.stdout.write("\x1b[2J\x1b[H")  # what was shown before is taken away
        for line in lines(state):
            put(line)
        sys.stdout.flush()


def _states(name: str, store: str, *, watch: bool) -> Iterator[RunState]:
    """Yield the state of a run: once, or until nobody works on it any more."""
    from orchestrator.store import Store
    from workflows.api import find_run
    from workflows.running.status import run_state

    while True:
        with Store.read(store) as opened:  # opened anew, so that another process may upgrade it
            state = run_state(opened, find_run(opened, name))
        yield state
        if not watch or not state.is_live:
            return
        time.sleep(EVERY_S)


def lines(state: RunState) -> Iterator[str]:
    """Yield what people read about a run."""
    yield f"run {state.name} (id {state.id}) in {near(state.store)}: {state.status}"
    yield _figures(state)
    queued = sorted(state.queues.items(), key=lambda item: (-item[1], item[0]))
    if queued:
        yield "waiting: " + _listed([f"{expert} {count:,}" for expert, count in queued])
    for worker, experts in sorted(state.resident.items())[:SHOWN]:
        loading = state.loading.get(worker)
        words = [_listed(experts)] if experts else [] if loading else ["nothing loaded"]
        yield f"worker {worker}: " + "; ".join(
            [*words, *([f"loading {loading}"] if loading else [])]
        )
    if len(state.resident) > SHOWN:
        yield f"and {len(state.resident) - SHOWN:,} more workers"
    for driver in state.drivers[:SHOWN]:
        yield f"driver {_driver(driver)}"
    if len(state.drivers) > SHOWN:
        yield f"and {counted_of(len(state.drivers) - SHOWN, 'more driver')}"
    if state.status == "abandoned":
        yield "nobody works on it; the same `moot run` goes on"


def _figures(state: RunState) -> str:
    words = [
        f"{state.sessions_done:,}/{counted_of(state.sessions, 'session')}",
        counted_of(state.asks, "ask"),
    ]
    if state.is_live:
        words.append(f"{state.rate:,.0f}/s")
    words.append(f"{state.failed:,} failed")
    if state.sessions_failed:
        words.append(f"{counted_of(state.sessions_failed, 'session')} broken")
    if state.paid:
        words.append(f"${state.paid:.2f}")
    if state.is_live:
        words.append(f"{state.in_flight:,} in flight")
        unknown = "loading" if state.loading and not state.in_flight else "no session is over yet"
        words.append(unknown if state.left_s is None else f"{clock(state.left_s)} left")
    return ", ".join(words)


def _driver(driver: DriverState) -> str:
    done = driver.figures.get("sessions_done", 0)
    if driver.state == "working":
        return f"{driver.name}: {counted_of(done, 'session')} done, seen {clock(driver.seen_s)} ago"
    if driver.state == "silent":
        return f"{driver.name}: no sign of life for {clock(driver.seen_s)}; killed, or cut off"
    return f"{driver.name}: {driver.state} {clock(driver.seen_s)} ago"


def _listed(names: list[str]) -> str:
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more:,} more" if more > 0 else "")


def _put_job(
    job: str, address: str | None, store: str | None, *, watch: bool, as_json: bool
) -> None:
    from orchestrator.submit import ENDED, job_status

    while True:
        result = job_status(job, address=address)
        state, last = _behind(result, address, store)
        if as_json:
            run = None if state is None else state.as_json()
            put_json({**asdict(result), "run": run, "last_line": last})
        else:
            put(": ".join(filter(None, (result.job_id, result.status.lower(), result.message))))
            for line in lines(state) if state is not None else [last] if last else []:
                put(line)
        sys.stdout.flush()
        if not watch or result.status in ENDED:
            return
        time.sleep(EVERY_S)


def _behind(
    result: JobResult, address: str | None, store: str | None
) -> tuple[RunState | None, str]:
    """Return the state of a job's run where its store can be read from here, else its last line."""
    from orchestrator.store import Store
    from orchestrator.submit import job_logs
    from workflows.running.status import run_state

    printed = job_logs(result.job_id, address=address)
    url = store or result.metadata.get("store", "").replace(":***@", "@")
    told = _INTRODUCTION.search(printed)
    name = told.group(1) if told else result.metadata.get("run", "")
    if url and name:
        try:
            with Store.read(url) as opened:
                found = opened.find_run(name)
                if found is not None:
                    return run_state(opened, found), ""
        except Mistake as error:
            if store is not None:
                raise
            if "://" in url:
                shown = store_option(result.metadata["store"])
                say(f"note: {error}; {command_name()} status {result.job_id} {shown} may reach it")
    return None, last_line(printed)


def last_line(printed: str) -> str:
    """Return the last line of a job's log that says how far it is, an event put in words."""
    for line in reversed(printed.splitlines()):
        text = line.strip()
        if text.startswith("{"):
            event = _event(text)
            if event:
                return event
        elif re.search(r"\d sessions\b", text):
            return text
    return ""


def _event(line: str) -> str:
    try:
        event: Any = json.loads(line)
    except ValueError:
        return ""
    if not isinstance(event, dict) or "sessions_done" not in event:
        return ""
    return (
        f"{event['sessions_done']:,}/{counted_of(event.get('sessions', 0), 'session')}, "
        f"{counted_of(event.get('asks', 0), 'ask')}, "
        f"{event.get('failed', 0):,} failed ({event.get('kind')})"
    )
