"""``moot crossplay``: debaters against each other, how persuasive they are, how the judge does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from protocols.errors import Mistake
from workflows.cli import options
from workflows.cli.running import close, load, perform
from workflows.cli.screen import DASH, near, number, put, put_json, put_table, say
from workflows.cli.tables import put_wrapped

if TYPE_CHECKING:
    from workflows.running.crossplay import Accuracy, Crossplay, Rating

HEADER = ("debater", "rating", "95 % interval", "debates", "given", "right side", "wrong side")
JUDGE = ("debaters", "mean rating", "judge right", "95 % interval", "questions")


def crossplay(
    target: Annotated[
        str,
        typer.Argument(metavar="WORKFLOW | RUN", help="A workflow with a cross-play, or a run."),
    ],
    settings: options.Settings = None,
    cast: options.Casts = None,
    store: options.StoreOverride = None,
    as_json: options.Json = False,
) -> None:
    """Let debaters argue both sides of every question against each other, and rate them.

    Example: moot crossplay crossplay --set questions.limit=10
    """
    from workflows.running.crossplay import read_crossplay
    from workflows.settings.configuration import find_workflow

    try:
        find_workflow(target)
    except Mistake:
        if settings or cast or target.endswith((".yaml", ".yml")):
            raise
        found = read_crossplay(target, store=store or "moot.db")
        _put(found, {}, as_json=as_json)
        return
    loaded = load(target, settings, cast, store)
    if loaded.crossplay is None:
        raise Mistake(f"{target}: no key 'crossplay'; write  crossplay: {{debaters: [A, B]}}")
    result = perform(loaded)
    _put(read_crossplay(result.run_id, store=loaded.store), result.as_json(), as_json=as_json)
    if not as_json:
        say(f"\nkept in {near(result.store)} as run {result.name} (id {result.run_id})")
    close(result)


def _put(found: Crossplay, run: dict[str, object], *, as_json: bool) -> None:
    """Print ratings and the judge's accuracy beside them; as JSON together with the run."""
    if as_json:
        put_json({**run, "crossplay": found.as_json()})
        return
    put_table(
        HEADER,
        [
            (
                row.name,
                *_rating_cells(row.overall),
                number(row.overall.matches),
                _percent(row.overall.share),
                _figure(row.right.rating),
                _figure(row.wrong.rating),
            )
            for row in found.debaters
        ],
    )
    put()
    put_wrapped(
        "Ratings are on the scale of Elo: 400 points are odds of ten to one, the mean is 0. Given: "
        "the judge's mean probability of the debater's answer, in per cent. Right side, wrong "
        "side: ratings when it argued for the right and for the wrong answer."
    )
    put()
    put_table(JUDGE, _judge_lines(found))
    for note in found.notes:
        put()
        put_wrapped(f"{note}.")


def _judge_lines(found: Crossplay) -> list[tuple[str, ...]]:
    """Return how often the judge was right, most persuasive debaters first."""
    lines: list[tuple[float | None, str, Accuracy]] = [
        (pair.mean_rating, f"{pair.first}, {pair.second}", pair.judge) for pair in found.pairs
    ]
    for row in found.debaters:
        for what, judge in (
            ("against itself", row.judge_self_play),
            ("as consultant", row.judge_consultancy),
        ):
            if judge is not None:
                lines.append((row.overall.rating, f"{row.name} {what}", judge))
    lines.sort(key=lambda line: (-(line[0] or 0.0), line[1]))
    return [(what, _figure(rating), *_accuracy_cells(judge)) for rating, what, judge in lines]


def _rating_cells(rating: Rating) -> tuple[str, str]:
    interval = DASH
    if rating.ci_low is not None and rating.ci_high is not None:
        interval = f"{_figure(rating.ci_low)} to {_figure(rating.ci_high)}"
    return _figure(rating.rating), interval


def _accuracy_cells(judge: Accuracy) -> tuple[str, str, str]:
    interval = DASH
    if judge.ci_low is not None and judge.ci_high is not None:
        interval = f"{100 * judge.ci_low:.1f} {DASH} {100 * judge.ci_high:.1f}"
    return _percent(judge.accuracy), interval, number(judge.n)


def _figure(value: float | None) -> str:
    """Return a rating for people."""
    return DASH if value is None else f"{value:+.0f}".replace("-", "\N{MINUS SIGN}")


def _percent(share: float | None) -> str:
    return DASH if share is None else f"{100 * share:.1f}"
