"""Steps over many questions at once: trim, and teams that are settled before their questions.

A selection made over many questions travels to the questions' own stage as the asset ``teams`` of
its cast: question key (or id) -> selection.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from protocols.cast import Asset
from protocols.chance import Rng
from protocols.errors import Mistake
from protocols.question import Question
from protocols.routing.steps import Scores, Selection, rounded

TEAMS = "teams"
"""The name under which a cast holds settled teams, and the kind of such an asset."""


def trim(
    selections: Sequence[Selection], *, share: float, k: int, rng: Rng, again: bool
) -> tuple[Selection, ...]:
    """Redraw the experts that are hardly ever recruited, over all questions.

    An expert with less than `share` of all draws is rare. Each draw of a rare one is redrawn from
    the others with chances proportional to their number of draws (as the source's code does it).
    Where teams hold an expert once (`again` false), the best one by value that is neither rare nor
    in the team takes the place, or nobody where there is none. Where everybody is rare, as in a
    pool so large and even that nobody has the share, nothing is trimmed.

    Source: Symbolic-MoE (arXiv 2503.05641; 5 %) and its code, which redraws once, not until
    nobody is rare. Departure: the second way, as the source always draws with replacement.

    Args:
        selections: who was taken, over the same pool, in the order of the questions.
        share: the least share of all draws.
        k: draws a question, for the odds.
        rng: chance.
        again: whether an expert may be drawn twice for a question.
    """
    if not selections:
        return ()
    counts = [sum(draws) for draws in zip(*(s.draws for s in selections), strict=True)]
    total = sum(counts)
    kept = [i for i, count in enumerate(counts) if count and count >= share * total]
    rare = {i for i in range(len(counts)) if i not in kept}
    if not kept or not any(counts[i] for i in rare):
        return tuple(selections)
    if not again:
        return tuple(_replaced(selection, kept, rare) for selection in selections)
    weights = [float(counts[i]) if i in kept else 0.0 for i in range(len(counts))]
    return tuple(_redrawn(selection, weights, k, rng) for selection in selections)


def _redrawn(selection: Selection, weights: Sequence[float], k: int, rng: Rng) -> Selection:
    """Redraw each draw of those without weight; new odds follow from both draws."""
    draws = [times if weights[i] else 0 for i, times in enumerate(selection.draws)]
    for _ in range(sum(selection.draws) - sum(draws)):
        draws[rng.weighted(weights)] += 1
    total = sum(weights)
    before = selection.scores.chances
    lost = sum(chance for chance, weight in zip(before, weights, strict=True) if not weight)
    chances = [
        chance + lost * weight / total if weight else 0.0
        for chance, weight in zip(before, weights, strict=True)
    ]
    odds = tuple(rounded(1.0 - (1.0 - chance) ** k) for chance in chances)
    likely = sorted(
        (i for i, chance in enumerate(chances) if chance > 0.0), key=lambda i: (-chances[i], i)
    )
    return Selection(selection.scores, tuple(draws), odds, tuple(sorted(likely[:k])))


def _replaced(selection: Selection, kept: Sequence[int], rare: set[int]) -> Selection:
    """Put the best of the others in the place of each rare one."""
    scores = selection.scores
    team = [i for i in selection.team if i not in rare]
    free = sorted((i for i in kept if i not in team), key=lambda i: (-scores.values[i], i))
    team += free[: len(selection.team) - len(team)]
    flags = tuple(int(i in team) for i in range(len(scores.experts)))
    return Selection(scores, flags, tuple(map(float, flags)), tuple(sorted(team)))


def selection_to_json(selection: Selection) -> dict[str, Any]:
    """Return a selection as JSON."""
    scores = selection.scores
    return {
        "experts": list(scores.experts),
        "values": list(scores.values),
        "weights": list(scores.weights),
        "allowed": list(scores.allowed),
        "why": dict(scores.why),
        "draws": list(selection.draws),
        "odds": list(selection.odds),
        "settled": list(selection.settled),
    }


def selection_from_json(data: Mapping[str, Any]) -> Selection:
    """Return the selection that :func:`selection_to_json` wrote."""
    scores = Scores(
        experts=tuple(data["experts"]),
        values=tuple(data["values"]),
        weights=tuple(data["weights"]),
        allowed=tuple(data["allowed"]),
        why=data["why"],
    )
    return Selection(
        scores=scores,
        draws=tuple(data["draws"]),
        odds=tuple(data["odds"]),
        settled=tuple(data["settled"]),
    )


def teams_asset(selections: Mapping[str, Selection]) -> Asset:
    """Return settled teams, by question key, as an asset of a cast."""
    return Asset(
        kind=TEAMS,
        content={key: selection_to_json(selection) for key, selection in selections.items()},
    )


def settled_selection(
    assets: Mapping[str, Asset], question: Question, pool: Sequence[str]
) -> Selection | None:
    """Return what was settled for a question, or None where the cast holds no teams.

    Raises:
        Mistake: the asset does not hold the question, or was made for another pool.
    """
    asset = assets.get(TEAMS)
    if asset is None:
        return None
    content = asset.content if asset.kind == TEAMS and isinstance(asset.content, dict) else {}
    found = content.get(question.key, content.get(question.id))
    if not isinstance(found, dict):
        raise Mistake(
            f"the asset 'teams' holds no team for question {question.id!r}; settle the teams of "
            "all questions of the run together"
        )
    try:
        selection = selection_from_json(found)
    except (KeyError, TypeError) as error:
        raise Mistake(
            f"the asset 'teams' cannot be read: {error}; settle the teams again"
        ) from None
    if selection.scores.experts != tuple(sorted(set(pool))):
        raise Mistake("the asset 'teams' was settled for another pool; settle the teams again")
    return selection
