"""``moot estimate --difference``: how many questions a comparison needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workflows.cli.screen import number, put, put_table
from workflows.cli.tables import put_wrapped
from workflows.comparing.findings import BEST_SINGLE
from workflows.comparing.wording import counted_of
from workflows.forecast.needed import Needed, earlier_pairs, needed
from workflows.statistics.power import MOST

if TYPE_CHECKING:
    from orchestrator.spec import RunSpec

HEADER = ("questions that come out differently", "one pair", "any pair", "asked here")


def needed_for(
    spec: RunSpec, store: str, difference: float, *, discordance: float | None = None
) -> Needed:
    """Return how many questions a run needs to show a difference.

    Args:
        spec: the run.
        store: which may hold an earlier run of the same name.
        difference: of two accuracies, between 0 and 1.
        discordance: the share of questions on which two protocols come out differently; by default
            as measured in the earlier run, else several are supposed.

    Raises:
        Mistake: a figure cannot be, or there is nothing to compare.
    """
    earlier = [] if discordance is not None else earlier_pairs(store, spec.name)
    best = (spec.answer_key or {}).get(BEST_SINGLE)
    compared = len(spec.entries) + (best is not None)
    return needed(difference, spec.questions, compared, discordance=discordance, earlier=earlier)


def put_needed(found: Needed) -> None:
    """Print how many questions are needed, and what was supposed."""
    put()
    put_wrapped(f"To show a difference of {100 * found.difference:g} points:")
    put()
    rows = [
        (
            f"{100 * one.discordance:.1f} %",
            _count(one.one_pair),
            _count(one.family),
            number(found.questions),
        )
        for one in found.needs
    ]
    put_table(HEADER, rows)
    put()
    put_wrapped(
        f"With {100 * found.power:.0f} % power, by the exact test over single questions, two-sided "
        f"at {100 * found.alpha:g} %: one pair alone, or any of the family of "
        f"{counted_of(found.pairs, 'pair')} at the size of Holm's first step "
        f"({100 * found.alpha / found.pairs:.2g} %). How many come out differently is "
        f"{found.source}."
    )
    if found.clusters < found.questions:
        effects = {one.design_effect for one in found.needs}
        counted = "" if effects == {1.0} else f"; counted here: {max(effects):.2f} times as many"
        put_wrapped(
            f"The {counted_of(found.questions, 'question')} share {found.clusters:,} passages or "
            f"items. Where questions of one come out alike more are needed, at most "
            f"{found.worst_design_effect:.2f} times as many{counted}."
        )


def _count(questions: int | None) -> str:
    return f"cannot be, or over {MOST:,}" if questions is None else number(questions)
