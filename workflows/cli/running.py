"""The verbs that ask experts: run, compare, fork, demo."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from protocols.errors import Mistake
from workflows.cli import options
from workflows.cli.progress import Watch
from workflows.cli.screen import command_name, near, put, put_json, say, store_option
from workflows.comparing.wording import are, counted_of

if TYPE_CHECKING:
    from workflows.api import RunResult
    from workflows.comparing.findings import Pair
    from workflows.settings.configuration import Workflow

EXIT_CODES = {"finished": 0, "stopped": 1, "budget": 3}


def load(
    workflow: str, settings: list[str] | None, casts: list[str] | None, store: str | None
) -> Workflow:
    """Return a workflow with what the command line says, ready to run.

    An expert given with ``--cast`` also takes the role in protocols with a cast of their own.

    Raises:
        Mistake: something is wrong in it, or a hosted expert has no key.
    """
    from workflows.settings.configuration import load_workflow

    overrides = list(settings or [])
    if store is not None:
        overrides.append(f"store={json.dumps(store)}")
    roles = options.cast_options(casts)
    overrides += [f"cast.{role}={_experts(value)}" for role, value in roles.items()]
    overrides += [f"casts.{role}=null" for role in roles]
    loaded = load_workflow(workflow, overrides)
    if loaded.crossplay and "debater" in roles:
        raise Mistake("--cast debater: write  --set 'crossplay.debaters=[EXPERT, EXPERT]'")
    own = [
        f"protocols[{place}].cast.{role}={_experts(value)}"
        for place, spec in enumerate(loaded.written)
        for role, value in roles.items()
        if role in spec.cast
    ]
    return load_workflow(workflow, [*overrides, *own]) if own else loaded


def with_money(workflow: Workflow, budget: float | None, *, cache: bool | None) -> Workflow:
    """Return a workflow with the budget in dollars and the cache that the command line names."""
    from orchestrator.money.ledger import Budget
    from workflows.settings.spending import CacheSpec

    changes: dict[str, object] = {}
    if budget is not None:
        changes["budget"] = (workflow.budget or Budget()).model_copy(update={"usd": budget})
    if cache is not None:
        changes["cache"] = (workflow.cache or CacheSpec()) if cache else None
    return workflow.model_copy(update=changes) if changes else workflow


def _experts(value: str) -> str:
    """Return the YAML of one expert, or of several with commas between them."""
    names = [name.strip() for name in value.split(",") if name.strip()]
    return json.dumps(names[0] if len(names) == 1 else names)


def check_keys(workflow: Workflow) -> None:
    """Stop before anything is spent where a hosted expert could not be called.

    Raises:
        Mistake: the first such expert.
    """
    from workflows.checking.keys import unready_experts
    from workflows.questions.data_files import load_inputs
    from workflows.running.casting import Casting

    if not any("/" in label for label in _named(workflow)) and not workflow.experts:
        return
    roster = Casting(workflow, load_inputs(workflow)).roster()
    for problem in unready_experts(roster.values()):
        raise Mistake(problem)


def _named(workflow: Workflow) -> list[str]:
    casts = [workflow.cast, *(spec.cast for spec in workflow.protocols)]
    return [label for cast in casts for role in cast.values() for label in role.experts]


def perform(
    workflow: Workflow,
    *,
    fleet: str | None = None,
    address: str | None = None,
    new: bool = False,
    retry_failed: bool = False,
    drivers: int | None = None,
    events: str | None = None,
) -> RunResult:
    """Run a workflow with its progress on the screen."""
    from orchestrator.tuning import quiet_garbage_collector
    from workflows.api import run as run_workflow
    from workflows.settings.fleets import chosen_fleet

    name = options.fleet_option(fleet)
    if chosen_fleet(workflow.fleet, name, address).kind == "local":
        check_keys(workflow)  # Ray's workers read them on their own node
    with Watch(events) as watch, quiet_garbage_collector():
        result = run_workflow(
            workflow,
            fleet=name,
            address=address,
            new=new,
            retry_failed=retry_failed,
            drivers=drivers,
            hooks=watch.hooks(),
        )
        watch.finish(result.progress)
    return result


def close(result: RunResult, *, new: bool = False, raised: str | None = None) -> None:
    """Say how to go on, and end with the exit code that fits.

    Args:
        result: how the run ended.
        new: whether it was started with ``--new``, so that its name must be given to go on.
        raised: the option that holds its budget; by default the key of its workflow.

    Raises:
        typer.Exit: always.
    """
    progress = result.progress
    left = progress.sessions - progress.sessions_done
    every = counted_of(progress.sessions, "session")
    over = f"{progress.sessions_done:,} of {every} {are(progress.sessions)} done, {left:,}"
    over = f"{over} {are(left)} left"
    same = "the same command"
    if new:
        same = f"the command with --set name={result.name} instead of --new"
    if result.ending == "stopped":
        say(f"stopped: {over}; what is recorded is kept, and {same} goes on")
    elif result.ending == "budget":
        from workflows.settings.spending import key_of, reached_line, spent_line

        say(
            f"{reached_line(result.reached)} is reached: spent by {spent_line(result.spent)}. "
            f"{over}; raise {raised or key_of(result.reached)}, and {same} goes on"
        )
    elif left:
        say(
            f"{left:,} of {every} {are(progress.sessions)} left to other drivers, and the table "
            f"holds what is recorded so far; {command_name()} status {result.name} "
            f"{store_option(result.store)} shows how far they are"
        )
    elif progress.replies_failed:
        from workflows.running.failures import usual_failure

        why = usual_failure(result.store, result.run_id)
        say(
            f"{progress.replies_failed:,} of {counted_of(progress.asks_done, 'reply', 'replies')} "
            "failed; the same "
            "command with --retry-failed repeats those that a provider failed"
            f"{f' (most often: {why})' if why else ''}"
        )
        if not any(row.n for row in result.rows):
            raise typer.Exit(1)  # there is nothing in the table
    raise typer.Exit(EXIT_CODES[result.ending])


def put_result(result: RunResult, pairs: Sequence[Pair] | None = None) -> None:
    """Print a run's table for people; `pairs`: of its rows, where they are known."""
    from workflows.cli.tables import put_rows
    from workflows.settings.spending import paid_line

    put_rows(result.rows, result.clusters, simulated=result.simulated, pairs=pairs)
    paid = paid_line(result.spent)
    if paid:
        put()
        put(paid)
    say(f"\nkept in {near(result.store)} as run {result.name} (id {result.run_id})")


def run(
    workflow: options.WorkflowFile,
    *,
    settings: options.Settings = None,
    cast: options.Casts = None,
    casts: options.Grid = None,
    store: options.StoreOverride = None,
    fleet: options.FleetName = None,
    address: options.Address = None,
    new: Annotated[
        bool, typer.Option("--new", help="Start another run instead of going on with this one.")
    ] = False,
    retry_failed: Annotated[
        bool,
        typer.Option("--retry-failed", help="Repeat sessions with provider failures or timeouts."),
    ] = False,
    drivers: options.Drivers = None,
    budget: options.Budget = None,
    cache: options.Cache = None,
    events: options.Events = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be run and asked; write nothing.")
    ] = False,
    as_json: options.Json = False,
) -> None:
    """Run a workflow, or go on with it: the same command resumes, an edited one keeps what it can.

    Example: moot run skills --set questions.limit=100 --store my.db
    """
    settings = [*(settings or ()), *options.grid_settings(casts)]
    loaded = load(workflow, settings, cast, store)
    loaded = with_money(loaded, budget, cache=cache)
    if dry_run:
        from workflows.cli.dry import put_plan

        put_plan(loaded, new=new, as_json=as_json)
        return
    result = perform(
        loaded,
        fleet=fleet,
        address=address,
        new=new,
        retry_failed=retry_failed,
        drivers=drivers,
        events=events,
    )
    if as_json:
        put_json(result.as_json())
    else:
        put_result(result)
    close(result, new=new)


def compare(
    targets: Annotated[
        list[str], typer.Argument(metavar="WORKFLOW | RUN...", help="One workflow, or runs.")
    ],
    *,
    settings: options.Settings = None,
    cast: options.Casts = None,
    casts: options.Grid = None,
    store: options.StoreOverride = None,
    until_decided: options.UntilDecided = False,
    unit: options.Unit = None,
    html: options.Html = None,
    md: options.Markdown = None,
    plots: options.Plots = None,
    open_: options.OpenPage = False,
    as_json: options.Json = False,
) -> None:
    """Run a workflow and compare its protocols in pairs, or put finished runs side by side.

    Example: moot compare skills, or: moot compare oversight oversight-fork --store demo.db
    """
    from workflows.cli.comparing import compare_workflow, is_workflow, put_runs
    from workflows.cli.deciding import compare_until_decided
    from workflows.cli.pages import put_pages
    from workflows.comparing.spend import chosen_unit

    chosen_unit((), unit)  # a misspelt unit is told before anything is spent
    if until_decided and (html or md or plots or open_):
        raise Mistake(
            "--until-decided writes no page: a page's intervals are for a number of questions that "
            "was fixed before"
        )
    names, where = targets, store or "moot.db"
    settings = [*(settings or ()), *options.grid_settings(casts)]
    if is_workflow(targets):
        loaded = load(targets[0], settings, cast, store)
        if until_decided:
            compare_until_decided(loaded, as_json=as_json)
        result = perform(loaded)
        compare_workflow(result, as_json=as_json, unit=unit)
        names, where = [str(result.run_id)], result.address
    elif settings or cast or until_decided:
        raise Mistake(
            "--set, --cast, --casts and --until-decided belong to a workflow; runs are compared as "
            "they are"
        )
    else:
        put_runs(targets, where, as_json=as_json, unit=unit)
    put_pages(names, where, html=html, markdown=md, plots=plots, open_page=open_)
    if is_workflow(targets):
        close(result)


def fork(
    run: options.RunName,
    *,
    cast: options.Casts = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Set a protocol's parameter. Repeats."),
    ] = None,
    turn: Annotated[
        int | None,
        typer.Option("--turn", min=0, help="How many turns are inherited instead of asked anew."),
    ] = None,
    name: Annotated[str | None, typer.Option("--name", help="Of the new run.")] = None,
    store: options.Store = "moot.db",
    fleet: options.FleetName = None,
    address: options.Address = None,
    budget: options.Budget = None,
    as_json: options.Json = False,
) -> None:
    """Branch off a finished run with another expert or parameter; only later turns are asked.

    Example: moot fork oversight --cast judge=openai/gpt-4o-mini --store demo.db
    """
    from workflows.branching import fork as fork_run

    roles = options.cast_options(cast)
    _check_new_experts(roles.values())
    with Watch() as watch:
        result = fork_run(
            run,
            store=store,
            cast=roles,
            parameters=options.parameter_options(settings),
            turn=turn,
            name=name,
            fleet=options.fleet_option(fleet) or "local",
            address=address,
            budget=budget,
            hooks=watch.hooks(),
        )
        watch.finish(result.progress)
    if as_json:
        put_json(result.as_json())
    else:
        put_result(result)
        say(
            f"beside the run it branches off: {command_name()} compare {run} {result.name} "
            f"{store_option(result.store)}"
        )
    close(result, raised="--budget")


def _check_new_experts(labels: Iterable[str]) -> None:
    from agents.roster import Expert
    from workflows.checking.keys import unready_experts

    experts = [Expert(label=label, model=label) for label in labels if "/" in label]
    for problem in unready_experts(experts):
        raise Mistake(problem)


def demo(
    store: Annotated[
        str, typer.Option("--store", metavar="URL", help="Where the demo's two runs are kept.")
    ] = "demo.db",
    as_json: options.Json = False,
) -> None:
    """Compare protocols on packed real data, with no key and no GPU, and replay what was run.

    Example: moot demo
    """
    from workflows.demo import run_demo

    raise typer.Exit(run_demo(store, as_json=as_json))
