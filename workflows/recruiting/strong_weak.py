"""Strong and weak: what a router of two experts recovers of the gap between them, and how dearly.

Definitions of RouteLLM (arXiv 2406.18665, section 3). r(R) is the accuracy of a router R and c(R)
the share of questions that it sends to the strong expert::

    PGR(R) = (r(R) - r(weak)) / (r(strong) - r(weak))       performance gap recovered
    APGR   = integral over c from 0 to 1 of PGR(R_c)        R_c: the router at share c
    CPT(x) = the smallest c at which PGR(R_c) >= x          call-performance threshold

R_c sends the questions with the highest scores to the strong expert. Its curve follows from one
run, as both experts' own answers are known: whatever the bar was, all shares can be tried. The
integral is the trapezoid rule over c = 0, 0.1, ..., 1, as in the source's code; a router that
draws lots has 0.5. A share between two whole numbers of questions is rounded.

Departure: where the gap's own interval holds 0 there is nothing to recover, and no figure is given.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from workflows.statistics.paired import paired_difference

TENTHS = 10


@dataclass(frozen=True, slots=True)
class StrongWeak:
    """What a rule that sends each question to one of two experts recovers."""

    name: str
    """The rule."""
    strong: str
    weak: str
    n: int
    """Questions with a score and both experts' own answers."""
    strong_accuracy: float
    weak_accuracy: float
    gap_low: float
    """95 % interval of the gap."""
    gap_high: float
    strong_share: float
    """c of the run itself."""
    pgr: float | None
    """PGR of the run itself; this and what follows None where the gap may be 0."""
    apgr: float | None
    cpt_50: float | None
    cpt_80: float | None

    def as_json(self) -> dict[str, Any]:
        """Return the figures as a JSON object."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Sent:
    """One question that was sent to one of the two."""

    question: str
    score: float
    """How much speaks for the strong expert."""
    strong: bool
    """Whether it was sent to the strong one."""


def strong_weak(
    name: str,
    pair: tuple[str, str],
    sent: Sequence[Sent],
    singles: Mapping[str, Mapping[str, bool]],
    clusters: Mapping[str, str] | None = None,
) -> StrongWeak | None:
    """Return the figures of a rule; None where nothing is known of both experts.

    Args:
        name: of the rule.
        pair: the strong and the weak expert.
        sent: what became of the questions.
        singles: expert -> question id -> whether its own answer is right.
        clusters: question id -> what repeats together.
    """
    strong, weak = (singles.get(expert, {}) for expert in pair)
    known = [one for one in sent if one.question in strong and one.question in weak]
    if not known:
        return None
    known.sort(key=lambda one: (-one.score, one.question))
    ids = [one.question for one in known]
    level = sum(weak[q] for q in ids) / len(ids)
    top = sum(strong[q] for q in ids) / len(ids)
    gap = paired_difference(
        {q: float(strong[q]) for q in ids}, {q: float(weak[q]) for q in ids}, clusters
    )
    found = StrongWeak(
        name=name,
        strong=pair[0],
        weak=pair[1],
        n=len(ids),
        strong_accuracy=top,
        weak_accuracy=level,
        gap_low=gap.interval.low,
        gap_high=gap.interval.high,
        strong_share=sum(one.strong for one in known) / len(known),
        pgr=None,
        apgr=None,
        cpt_50=None,
        cpt_80=None,
    )
    if gap.interval.low <= 0.0 <= gap.interval.high or top <= level:
        return found
    reached = sum((strong if one.strong else weak)[one.question] for one in known) / len(known)
    curve = recovered(ids, strong, weak)
    figures = {
        "pgr": (reached - level) / (top - level),
        "apgr": area(curve),
        "cpt_50": first_share(curve, 0.5),
        "cpt_80": first_share(curve, 0.8),
    }
    return StrongWeak(**{**asdict(found), **figures})


def recovered(
    ids: Sequence[str], strong: Mapping[str, bool], weak: Mapping[str, bool]
) -> list[float]:
    """Return the PGR after sending the first 0, 1, ..., n of `ids` to the strong expert.

    The gap over them must not be 0.
    """
    gains = [strong[q] - weak[q] for q in ids]
    gap, total, curve = sum(gains), 0, [0.0]
    for gain in gains:
        total += gain
        curve.append(total / gap)
    return curve


def area(curve: Sequence[float]) -> float:
    """Return the integral of a curve over shares from 0 to 1, by trapezoids of a tenth."""
    last = len(curve) - 1
    points = [curve[round(last * tenth / TENTHS)] for tenth in range(TENTHS + 1)]
    return (sum(points) - (points[0] + points[-1]) / 2) / TENTHS


def first_share(curve: Sequence[float], level: float) -> float:
    """Return the smallest share at which a curve that ends at 1 reaches `level`."""
    last = len(curve) - 1
    return next(place for place, value in enumerate(curve) if value >= level - 1e-12) / last
