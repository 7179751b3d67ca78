"""``moot run --dry-run``: what a run would keep and ask."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from protocols.contract import CallBound
from protocols.teams import staffed_calls
from workflows.cli.screen import put, put_json, say
from workflows.comparing.wording import counted_of

if TYPE_CHECKING:
    from orchestrator.run import Prepared
    from orchestrator.spec import RunSpec
    from workflows.settings.configuration import Workflow


def put_plan(workflow: Workflow, *, new: bool, as_json: bool) -> None:
    """Print what running `workflow` would do; nothing is written.

    Raises:
        Mistake: the workflow cannot be run.
    """
    from workflows.cli.running import check_keys
    from workflows.questions.data_files import load_inputs
    from workflows.running.casting import run_spec
    from workflows.settings.spending import check_budget

    check_keys(workflow)
    spec = run_spec(workflow, load_inputs(workflow))
    for note in check_budget(spec, workflow.budget):
        say(f"note: {note}")
    found = plan(spec, None if new else stored_run(workflow.store, spec))
    if as_json:
        put_json(found)
        return
    put(
        f"run {found['name']}: {counted_of(found['sessions'], 'session')} of "
        f"{counted_of(found['questions'], 'question')} and "
        f"{counted_of(found['protocols'], 'protocol')}"
    )
    if found["stored"]:
        put(
            f"it is in the store already: {found['kept']:,} kept ({found['done']:,} of them done), "
            f"{found['added']:,} new, {found['superseded']:,} superseded, {found['stale']:,} stale"
        )
    if found["added"]:
        put(
            f"the new sessions ask at least {found['fewest_asks']:,} and at most "
            f"{counted_of(found['most_asks'], 'time')}"
        )
    elif found["done"] == found["sessions"]:
        put("nothing is left to ask")


def plan(spec: RunSpec, stored: Prepared | None) -> dict[str, Any]:
    """Return what a run would do, as JSON; `stored` is the run as it is in the store."""
    from orchestrator.spec import wanted_sessions

    wanted = list(wanted_sessions(spec))
    added = wanted if stored is None else list(stored.difference.added)
    bound = CallBound(0, 0)
    for session in added:
        entry = session.entry
        bound += staffed_calls(entry.protocol, session.question, entry.cast)
    return {
        "name": spec.name,
        "stored": stored is not None,
        "questions": len(spec.questions),
        "protocols": len(spec.entries),
        "sessions": len(wanted),
        "kept": 0 if stored is None else len(stored.difference.kept),
        "done": 0 if stored is None else stored.done,
        "added": len(added),
        "superseded": 0 if stored is None else len(stored.difference.superseded),
        "stale": 0 if stored is None else len(stored.difference.stale),
        "fewest_asks": bound.fewest,
        "most_asks": bound.most,
    }


def stored_run(store: str, spec: RunSpec) -> Prepared | None:
    """Return the run as it is in the store; None where there is none."""
    from orchestrator.run import preview
    from orchestrator.store import Store
    from orchestrator.store.address import parse_address

    path = parse_address(store).path
    if path is not None and not Path(path).exists():
        return None
    with Store.read(store) as opened:
        return preview(opened, spec)
