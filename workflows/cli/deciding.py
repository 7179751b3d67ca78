"""A comparison that stops when every pair is decided: its figures hold at every moment."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from workflows.cli.running import check_keys, close
from workflows.cli.screen import near, number, put, put_json, put_table, say
from workflows.cli.tables import p_text, put_wrapped
from workflows.comparing.findings import points, signed_interval
from workflows.simulated import simulated_line

if TYPE_CHECKING:
    from workflows.running.stopping import Decision
    from workflows.settings.configuration import Workflow

HEADER = ("first", "less second", "points", "interval (Holm)", "p (Holm)", "units", "decided after")


def compare_until_decided(workflow: Workflow, *, as_json: bool) -> None:
    """Run a workflow until all its pairs are decided, and print the figures that hold then.

    Raises:
        Mistake: it has fewer than two protocols, or no gold answers.
        typer.Exit: always; with 0 where all is decided or the run came to its end.
    """
    from workflows.api import run as run_workflow
    from workflows.cli.progress import Watch
    from workflows.running.stopping import Stopper, check_decidable

    check_keys(workflow)
    check_decidable(workflow)
    stopper = Stopper(workflow.store)
    with Watch() as watch:
        result = run_workflow(workflow, hooks=stopper.hooks(watch.hooks()))
        watch.finish(result.progress)
    decision = stopper.decision(result.progress)
    if as_json:
        told = {name: value for name, value in result.as_json().items() if name != "rows"}
        put_json({**told, "until_decided": decision.as_json()})
    else:
        if result.simulated:
            put_wrapped(simulated_line(result.simulated))
        put_decision(decision)
        say(f"\nkept in {near(result.store)} as run {result.name} (id {result.run_id})")
    if stopper.stopped and decision.all_decided:
        say("the same command without --until-decided asks the rest")
        raise typer.Exit(0)
    close(result)


def put_decision(decision: Decision) -> None:
    """Print where pairs stand, and what stopping saved."""
    accuracies = [
        (name, f"{100 * share:.1f}", number(n)) for name, (share, n) in decision.accuracies.items()
    ]
    put_table(("protocol", "accuracy", "questions"), accuracies)
    put()
    rows = [
        (
            *one.pair,
            points(one.mean),
            signed_interval(*decision.intervals[one.pair]),
            p_text(one.p_holm),
            number(one.clusters),
            "" if one.decided_after is None else number(one.decided_after),
        )
        for one in decision.standings
    ]
    put_table(HEADER, rows, left=2)
    put()
    put_wrapped(f"{decision}."[:1].upper() + f"{decision}."[1:])
    put_wrapped(
        "Intervals and p values are anytime-valid: a betting confidence sequence over units, with "
        "Holm's method over pairs; they hold however often one looks. They are wider than those "
        "of a fixed number of questions, and after an early stop differences in points are biased "
        "away from 0."
    )
