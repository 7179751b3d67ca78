"""The verbs before a run: init, validate, list, doctor."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from protocols.errors import Mistake
from workflows.cli import options
from workflows.cli.screen import DASH, command_name, put, put_json, put_table, say
from workflows.comparing.wording import counted_of

if TYPE_CHECKING:
    from workflows.settings.configuration import Workflow

LISTS = ("engines", "experts", "protocols", "runs", "workflows")


def init(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="The file to write.")] = Path(
        "workflow.yaml"
    ),
) -> None:
    """Write a workflow file to start from; it runs as it stands and needs no key.

    Example: moot init my.yaml && moot run my.yaml
    """
    from workflows.settings.configuration import library_workflows

    text = library_workflows()["starter"].read_text(encoding="utf-8")
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise Mistake(f"{path} is there already and stays as it is; name another file") from None
    except OSError as error:
        raise Mistake(f"{path}: cannot be written ({error.strerror}); name another file") from None
    command = command_name()
    put(f"wrote {path}; next:  {command} validate {path}   then   {command} run {path}")


def validate(
    workflow: options.WorkflowFile,
    *,
    settings: options.Settings = None,
    cast: options.Casts = None,
    show: Annotated[
        bool, typer.Option("--print", help="Print the resolved configuration as YAML.")
    ] = False,
    schema: Annotated[
        bool, typer.Option("--schema", help="Print the JSON schema of workflow files instead.")
    ] = False,
    as_json: options.Json = False,
) -> None:
    """Check a workflow with its data: every problem on a line of its own, and nothing is asked.

    Example: moot validate my.yaml --set questions.limit=10 --print
    """
    if schema:
        from workflows.settings.schema import json_schema

        put_json(json_schema())
        return
    from workflows.cli.running import load
    from workflows.questions.data_files import load_inputs

    loaded = load(workflow, settings, cast, None)
    if show and not as_json:
        _print_resolved(loaded)
    inputs = load_inputs(loaded)
    problems, warnings = find_problems(loaded)
    if as_json:
        put_json({"problems": problems, "warnings": warnings, "resolved": loaded.resolved()})
    else:
        for warning in [*inputs.questions.notes, *warnings]:
            say(f"note: {warning}")
        for problem in problems:
            say(f"{workflow}: {problem}")
    if problems:
        raise typer.Exit(2)
    if not as_json:
        say(f"{workflow}: good; {counted_of(len(inputs.questions.questions), 'question')}")


def find_problems(workflow: Workflow) -> tuple[list[str], list[str]]:
    """Return what keeps a workflow from running, missing keys included, and what is odd in it.

    Raises:
        Mistake: its data cannot be read.
    """
    from agents.roster import LOCAL
    from workflows.checking.checks import check_workflow, workflow_warnings
    from workflows.checking.keys import unready_experts
    from workflows.questions.data_files import load_inputs
    from workflows.running.casting import Casting, run_spec
    from workflows.settings.spending import check_budget

    inputs = load_inputs(workflow)
    problems = check_workflow(workflow, inputs)
    warnings = workflow_warnings(workflow, inputs)
    if not problems:
        experts = Casting(workflow, inputs).roster().values()
        elsewhere = LOCAL if workflow.fleet.kind == "ray" else ()
        problems = unready_experts(one for one in experts if one.provider not in elsewhere)
        try:
            warnings += check_budget(run_spec(workflow, inputs), workflow.budget)
        except Mistake as mistake:
            problems += [] if str(mistake) in problems else [str(mistake)]
    return problems, warnings


def _print_resolved(workflow: Workflow) -> None:
    import yaml

    put(yaml.safe_dump(workflow.resolved(), sort_keys=False, allow_unicode=True).rstrip())


def list_things(
    what: Annotated[str, typer.Argument(metavar="|".join(LISTS), help="What to list.")],
    store: options.Store = "moot.db",
    as_json: options.Json = False,
) -> None:
    """List runs of a store, or the protocols, experts, engines and workflows that there are.

    Example: moot list runs --store demo.db
    """
    from workflows.catalogue import inventory

    if what not in LISTS:
        from agents.settings import suggestion

        raise Mistake(f"there is no list of {what!r}; {suggestion(what, LISTS)}")
    if what == "runs":
        found = inventory.runs(store)
    else:
        makers = {
            "engines": inventory.engines,
            "experts": inventory.experts,
            "protocols": inventory.protocols if as_json else inventory.protocols_in_short,
            "workflows": inventory.workflows,
        }
        found = makers[what]()
    if as_json:
        put_json(found)
    elif not found:
        say(f"there are no {what} yet")
    else:
        header = list(found[0])
        cells = [["" if row[key] is None else str(row[key]) for key in header] for row in found]
        put_table([name.replace("_", " ") for name in header], cells, left=len(header))


def doctor(
    store: options.Store = "moot.db",
    address: Annotated[
        str | None,
        typer.Option("--address", metavar="HOST:PORT", help="Look at a Ray cluster's nodes."),
    ] = None,
    workflow: Annotated[
        str | None,
        typer.Option(
            "--workflow",
            metavar="WORKFLOW",
            help="Whose models must fit the GPUs here; with --address, whose keys the nodes need.",
        ),
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Look at what moot stands on: versions, packages, keys (names only), stores, clusters, GPUs.

    Example: moot doctor --workflow my.yaml
    """
    from workflows.checking.doctor import examine, examine_cluster
    from workflows.checking.doctor_models import examine_models
    from workflows.settings.configuration import load_workflow

    loaded = None if workflow is None else load_workflow(workflow)
    if address is not None:
        checks = examine_cluster(address, loaded)
    else:
        checks = [*examine(store), *(examine_models(loaded) if loaded else ())]
    bad = [check for check in checks if check.state == "bad"]
    if as_json:
        put_json({"good": not bad, "checks": [check.as_json() for check in checks]})
    else:
        marks = {"good": "✓", "absent": DASH, "bad": "✗"}
        put_table(
            ("", "check", "found"),
            [(marks[check.state], check.name, check.found) for check in checks],
            left=3,
        )
    if bad:
        raise typer.Exit(1)
