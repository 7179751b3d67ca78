"""The verb that looks after the response cache: cache."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from protocols.errors import Mistake
from workflows.cli import options
from workflows.cli.screen import near, put, put_json, put_table

if TYPE_CHECKING:
    from orchestrator.store import CachedModel

ACTIONS = ("list", "prune", "clear")


def cache(
    action: Annotated[str, typer.Argument(metavar="list|prune|clear", help="What to do.")],
    *,
    max_age: Annotated[
        str | None,
        typer.Option("--max-age", metavar="AGE", help="prune: keep what is younger: 30d, 12h."),
    ] = None,
    store: options.Store = "moot.db",
    as_json: options.Json = False,
) -> None:
    """Show what the response cache of a store holds, or take entries out; replies stay recorded.

    Example: moot cache prune --max-age 30d --store my.db
    """
    if action not in ACTIONS:
        raise Mistake(f"cache {action!r}: there is list, prune and clear")
    if max_age is not None and action != "prune":
        raise Mistake(f"--max-age belongs to prune, not to {action}")
    if action == "list":
        _list(store, as_json=as_json)
        return
    from orchestrator.store import Store

    age_s = None if action == "clear" else _age_s(max_age)
    with Store.open(store, create=False) as opened:
        gone = opened.forget_cached(max_age_s=age_s)
        left = sum(one.entries for one in opened.cached_models())
    if as_json:
        put_json({"removed": gone, "left": left})
    else:
        put(f"{gone:,} entries taken out of the cache of {near(store)}, {left:,} are left")


def _age_s(text: str | None) -> float:
    from workflows.settings.spending import age_s

    if text is None:
        raise Mistake("prune needs to know what is too old: --max-age 30d")
    try:
        return age_s(text)
    except ValueError as error:
        raise Mistake(f"--max-age: {error}") from None


def _list(store: str, *, as_json: bool) -> None:
    from orchestrator.store import Store

    with Store.read(store) as opened:
        found = opened.cached_models()
    if as_json:
        put_json([asdict(one) for one in found])
    elif not found:
        put(f"the cache of {near(store)} holds nothing")
    else:
        put_table(
            ("model", "replies", "oldest (UTC)", "newest (UTC)", "list price"),
            [_cells(one) for one in found],
        )


def _cells(one: CachedModel) -> tuple[str, ...]:
    from workflows.settings.spending import dollars

    times = (text[:16].replace("T", " ") for text in (one.oldest, one.newest))
    return (one.model, f"{one.entries:,}", *times, dollars(one.list_price))
