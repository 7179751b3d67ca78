"""What a run would cost, on the screen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workflows.cli.screen import put, put_table
from workflows.settings.spending import dollars

if TYPE_CHECKING:
    from orchestrator.store import Lengths
    from workflows.forecast.cost import Cost, Span


def measured(store: str, name: str) -> list[Lengths]:
    """Return how long prompts and replies of an earlier run of that name were; mostly none."""
    from pathlib import Path

    from orchestrator.store import Store
    from orchestrator.store.address import parse_address

    path = parse_address(store).path
    if path is not None and not Path(path).exists():
        return []
    with Store.read(store) as opened:
        run = opened.find_run(name)
        return [] if run is None else opened.lengths(run.id)


def put_cost(cost: Cost) -> None:
    """Print what a run would cost by protocol and role."""
    put()
    if not cost.priced:
        put("costs nothing: no expert has a price")
        return
    rows = []
    for entry in cost.entries:
        rows.append((entry.name, *_cells(entry.whole)))
        if len(entry.by_role) > 1:
            rows += [(f"  {role}", *_cells(span)) for role, span in entry.by_role.items()]
    rows += [("all", *_cells(cost.whole)), ("set-up", *_cells(cost.setup))]
    put_table(("list price", "low", "high"), rows)
    assumed = [entry.name for entry in cost.entries if not entry.measured]
    put()
    if assumed:
        put(
            f"lengths assumed for {', '.join(assumed)}: replies of {cost.reply_tokens:g} tokens "
            "or what max_tokens allows"
        )
    if len(assumed) < len(cost.entries):
        put("other lengths: as measured in the run that the store holds")
    if cost.unknown:
        put(f"not counted, since their price is not known: {', '.join(cost.unknown)}")


def _cells(span: Span) -> tuple[str, str]:
    return dollars(span.low), dollars(span.high)
