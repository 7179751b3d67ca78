"""How many questions a comparison needs before it is run: what is assumed, and what follows.

The test is the one that is made in the end: exact McNemar for one pair, and for a family of pairs
the same at the size at which Holm's method tests the first of them (5 % / pairs), which is the most
that a pair can need. The discordance (on which share of the questions two protocols come out
differently) decides more than anything else; it is measured in an earlier run of the same name
where the store holds one, else named, else several are supposed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from math import comb
from typing import TYPE_CHECKING, Any

from protocols.errors import Mistake
from workflows.comparing.findings import Pair
from workflows.statistics.power import (
    LEVEL,
    POWER,
    design_effect,
    measured_design_effect,
    questions_needed,
)

if TYPE_CHECKING:
    from protocols.question import Question

ALPHA = round(1 - LEVEL, 12)
SUPPOSED = (0.1, 0.2, 0.3, 0.5)
"""Discordances that are shown where none is known."""


@dataclass(frozen=True, slots=True)
class Need:
    """What one discordance means for the number of questions."""

    discordance: float
    design_effect: float
    """How many questions in clusters are worth one single question."""
    one_pair: int | None
    """Questions for a single pair; None where the difference cannot be, or beyond counting."""
    family: int | None
    """Questions for any pair of the family."""


@dataclass(frozen=True, slots=True)
class Needed:
    """How many questions show a difference."""

    difference: float
    """Of two accuracies."""
    power: float
    alpha: float
    """Of the two-sided tests of the whole family."""
    pairs: int
    """The family's size."""
    source: str
    """Where the discordance comes from."""
    needs: tuple[Need, ...]
    questions: int
    """What the workflow asks."""
    clusters: int
    """Units of these questions."""
    worst_design_effect: float
    """If the questions of a unit always came out alike."""

    def as_json(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        return {**asdict(self), "needs": [asdict(one) for one in self.needs]}


def needed(
    difference: float,
    questions: Sequence[Question],
    compared: int,
    *,
    discordance: float | None = None,
    earlier: Sequence[tuple[Pair, float]] = (),
    power: float = POWER,
) -> Needed:
    """Return how many questions show a difference between any two protocols.

    Args:
        difference: of the two accuracies, above 0 and at most 1.
        questions: of the workflow, for the units that they share.
        compared: how many rows are compared in pairs, the best single expert among them.
        discordance: the share of questions on which two come out differently, where it is named.
        earlier: pairs of an earlier run, each with its design effect.
        power: the probability of showing the difference.

    Raises:
        Mistake: a figure cannot be, or there are fewer than two protocols.
    """
    for name, value in (("difference", difference), ("discordance", discordance), ("power", power)):
        if value is not None and not (0 < value < 1 or (value == 1 and name != "power")):
            raise Mistake(f"--{name} {value:g}: write a share between 0 and 1, for example 0.05")
    if compared < 2:
        raise Mistake("--difference needs two protocols or more; this workflow has one")
    pairs = comb(compared, 2)
    sizes = Counter(question.unit for question in questions)
    worst = design_effect(sum(n * n for n in sizes.values()) / max(1, len(questions)), 1.0)
    if discordance is not None:
        source, supposed = "named", [(discordance, 1.0)]
    elif earlier:
        told = max(earlier, key=lambda one: one[0].difference.discordance)
        source = f"measured: {told[0].first} and {told[0].second}, the pair that differs most"
        supposed = [(told[0].difference.discordance, told[1])]
    else:
        source = "supposed"
        supposed = [(one, 1.0) for one in SUPPOSED if one >= difference] or [(difference, 1.0)]
    return Needed(
        difference=difference,
        power=power,
        alpha=ALPHA,
        pairs=pairs,
        source=source,
        needs=tuple(_need(difference, d, e, pairs, power) for d, e in supposed),
        questions=len(questions),
        clusters=len(sizes),
        worst_design_effect=worst,
    )


def _need(difference: float, discordance: float, effect: float, pairs: int, power: float) -> Need:
    one, family = (
        questions_needed(
            difference,
            discordance,
            power=power,
            level=1 - ALPHA / tests,
            design_effect=effect,
        ).questions
        for tests in (1, pairs)
    )
    return Need(discordance, effect, one, family)


def earlier_pairs(store: str, name: str) -> list[tuple[Pair, float]]:
    """Return the pairs of an earlier run with their design effects; none where there is no run.

    Pairs on which nothing came out differently tell nothing and are left out.
    """
    from pathlib import Path

    from orchestrator.store import Store
    from orchestrator.store.address import parse_address
    from workflows.comparing.comparison import Comparison

    path = parse_address(store).path
    if path is not None and not Path(path).exists():
        return []
    with Store.read(store) as opened:
        run = next((one for one in opened.runs() if one.name == name), None)
    if run is None:
        return []
    found = Comparison.read(store, [str(run.id)])
    values = {label: row.values for label, row, _ in found.named()}
    return [
        (pair, _effect(values[pair.first], values[pair.second], found.clusters))
        for pair in found.pairs()
        if pair.difference.discordance > 0
    ]


def _effect(first: Any, second: Any, clusters: dict[str, str]) -> float:
    both: Iterable[str] = sorted(first.keys() & second.keys())
    differences = {
        q: first[q] - second[q] for q in both if first[q] is not None and second[q] is not None
    }
    return measured_design_effect(differences, clusters)
