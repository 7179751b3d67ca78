"""The verb that brings in what others recorded: import."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from protocols.errors import Mistake
from workflows.cli import options
from workflows.cli.screen import command_name, near, put, put_json, say, store_option
from workflows.cli.tables import put_wrapped
from workflows.comparing.wording import counted_of

if TYPE_CHECKING:
    from workflows.nyu.importing import Imported

KINDS = ("nyu",)
SHOWN = 5


def import_sessions(
    kind: Annotated[str, typer.Argument(metavar="nyu", help="What is imported.")],
    files: Annotated[
        list[str], typer.Argument(metavar="FILE...", help="Recorded sessions, JSON lines.")
    ],
    *,
    passages: Annotated[
        list[str] | None,
        typer.Option(
            "--passages", metavar="FILE", help="The stories that are quoted from. Repeats."
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option("--name", help="Of the run; by default from the files' contents."),
    ] = None,
    store: options.Store = "moot.db",
    report: Annotated[
        bool, typer.Option("--report", help="Report them too: the published figures, recomputed.")
    ] = False,
    as_json: options.Json = False,
) -> None:
    """Import recorded debates and consultancies as a run that replays; several files make one run.

    Example: moot import nyu sessions.jsonl --store nyu.db --report
    """
    from workflows.comparing.report import report as make_report
    from workflows.nyu.importing import import_nyu

    if kind not in KINDS:
        raise Mistake(f"cannot import {kind!r}; there is {', '.join(KINDS)}")
    found = import_nyu(files, store=store, name=name, passages=passages or ())
    made = make_report(found.name, store=found.store) if report else None
    if as_json:
        put_json({**found.as_json(), **({"report": made.as_json()} if made else {})})
        return
    _put_found(found)
    if made is not None:
        from workflows.cli.reporting import put_report

        put()
        put_report(made, found.store)
    given_up = f", {found.superseded:,} given up" if found.superseded else ""
    say(
        f"kept in {near(found.store)} as run {found.name} (id {found.run_id}): "
        f"{found.added:,} new{given_up}"
        + (
            ""
            if report
            else f"; next: {command_name()} report {found.name} {store_option(found.store)}"
        )
    )


def _put_found(found: Imported) -> None:
    """Print what the files held."""
    put(
        f"{counted_of(found.sessions, 'session')}: {found.folded:,} keep the rules that they "
        f"declare, {len(found.off_rules):,} do not, {found.without_judge:,} had no live judge"
    )
    for session, why in list(found.off_rules.items())[:SHOWN]:
        put_wrapped(f"{session}: {why}", indent=2)
    if len(found.off_rules) > SHOWN:
        put(f"  and {len(found.off_rules) - SHOWN:,} more; --json lists all")
    for note in found.notes:
        put_wrapped(note)
