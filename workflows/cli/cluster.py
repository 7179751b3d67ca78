"""The verbs of a Ray cluster's jobs: submit, logs, cancel; status is in ``watching``."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from workflows.cli import options
from workflows.cli.screen import command_name, put, put_json, say

if TYPE_CHECKING:
    from orchestrator.submit import JobResult
    from workflows.settings.configuration import Workflow

Dashboard = Annotated[
    str | None,
    typer.Option("--address", metavar="URL", help="The cluster's dashboard: http://HOST:8265."),
]
Job = Annotated[str, typer.Argument(metavar="JOB", help="The job's id.")]


def submit(
    workflow: options.WorkflowFile,
    *,
    settings: options.Settings = None,
    cast: options.Casts = None,
    store: options.StoreOverride = None,
    fleet: options.FleetName = "ray",
    address: Dashboard = None,
    new: Annotated[bool, typer.Option("--new", help="Start another run.")] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Repeat sessions with provider failures.")
    ] = False,
    drivers: options.Drivers = None,
    detach: Annotated[
        bool, typer.Option("--detach", help="Return at once instead of following the job.")
    ] = False,
    as_json: options.Json = False,
) -> None:
    """Run a workflow as a job on a Ray cluster; its files travel with it, keys do not.

    Example: moot submit skills --store postgresql://host/moot --address http://head:8265
    """
    from orchestrator.submit import moot_command, pack_workflow, submit_job
    from workflows.cli.running import load

    loaded = load(workflow, settings, cast, store)
    options.fleet_option(fleet)
    with tempfile.TemporaryDirectory(prefix="moot-") as scratch:
        name, files = packing_list(loaded, Path(scratch))
        packed = pack_workflow(files)
    flags = ["--fleet", fleet or "ray", *(["--new"] if new else [])]
    flags += [*(["--retry-failed"] if retry_failed else []), *(["--json"] if as_json else [])]
    flags += ["--drivers", str(drivers)] if drivers is not None else []
    printed: list[str] = []
    try:
        result = submit_job(
            moot_command(["run", name, *flags]),
            address=address,
            working_dir=packed,
            metadata={"run": run_name(loaded), "store": shown_store(loaded.store)},
            wait=not detach,
            on_accepted=lambda job: _note(loaded),
            on_line=printed.append if as_json else put,
        )
    finally:
        shutil.rmtree(packed, ignore_errors=True)
    _report(result, printed, detach=detach, as_json=as_json)


def _note(workflow: Workflow) -> None:
    """Say where the run will be kept, once its job is accepted."""
    if "://" not in workflow.store:
        say(
            f"note: the store {Path(workflow.store).absolute()} is a SQLite file on the node that "
            "runs the job, the cluster's head; --store postgresql://... is reached from anywhere"
        )


def run_name(workflow: Workflow) -> str:
    """Return the name of the run that a workflow makes, unless ``--new`` gives it another."""
    from workflows.questions.data_files import load_inputs
    from workflows.running.casting import run_spec

    return run_spec(workflow, load_inputs(workflow)).name


def shown_store(store: str) -> str:
    """Return a store's address without its password, a file's as the job sees it."""
    from orchestrator.store.address import parse_address

    address = parse_address(store)
    return address.shown if address.path is None else str(address.path.absolute())


def packing_list(workflow: Workflow, scratch: Path) -> tuple[str, dict[str, Path]]:
    """Return the name of the workflow's file in a job's folder, and all files that travel.

    The workflow is resolved: overrides and casts are in it, and its data lie beside it.
    """
    data = {**workflow.resolved(), "store": workflow.store}
    if "://" not in workflow.store:
        data["store"] = str(Path(workflow.store).absolute())
    files: dict[str, Path] = {}

    def pack(path: str) -> str:
        if path.startswith("moot:"):
            return path
        source = Path(path)
        known = next((name for name, place in files.items() if place == source), None)
        name = known or f"data/{len(files)}-{source.name}"
        files[name] = source
        return name

    for section in ("questions", "profile"):
        if (data.get(section) or {}).get("path"):
            data[section] = {**data[section], "path": pack(data[section]["path"])}
    data["experts"] = {
        label: {**expert, **({"data": pack(expert["data"])} if expert.get("data") else {})}
        for label, expert in data["experts"].items()
    }
    name = f"{workflow.stem}.yaml"
    written = scratch / name
    kept = {key: value for key, value in data.items() if value not in (None, {})}
    written.write_text(json.dumps(kept, ensure_ascii=False, indent=2), encoding="utf-8")
    return name, {**files, name: written}


def _report(result: JobResult, printed: Sequence[str], *, detach: bool, as_json: bool) -> None:
    if as_json:
        put_json({**asdict(result), "result": None if detach else _printed_json(printed)})
    elif detach:
        put(result.job_id)
        say(f"submitted; {command_name()} logs {result.job_id} shows what it prints")
    else:
        say(f"job {result.job_id}: {result.status.lower()}")
    if not detach and result.status != "SUCCEEDED":
        raise typer.Exit(result.exit_code or 1)


def _printed_json(lines: Sequence[str]) -> Any:
    """Return the JSON object among the lines of a job; None where there is none."""
    for first, line in enumerate(lines):
        if line.rstrip() == "{":
            for last in range(len(lines), first, -1):
                if lines[last - 1].rstrip() == "}":
                    try:
                        return json.loads("\n".join(lines[first:last]))
                    except ValueError:
                        continue
    return None


def logs(job: Job, address: Dashboard = None) -> None:
    """Print all that a submitted job printed so far.

    Example: moot logs raysubmit_x1y2z3
    """
    from orchestrator.submit import job_logs

    put(job_logs(job, address=address).rstrip("\n"))


def cancel(job: Job, address: Dashboard = None, as_json: options.Json = False) -> None:
    """Stop a submitted job; what it recorded is kept.

    Example: moot cancel raysubmit_x1y2z3
    """
    from orchestrator.submit import cancel_job

    stopped = cancel_job(job, address=address)
    if as_json:
        put_json({"job_id": job, "stopped": stopped})
    else:
        put(f"{job}: stopped" if stopped else f"{job}: was not running")
