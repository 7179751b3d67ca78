"""What every protocol costs: its asks against the formula of its source, at several sizes."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest

from protocols.cast import Cast
from protocols.question import Question
from protocols.registry import make_protocol
from tests.protocols.examples import (
    BENCH,
    CHOICE,
    MEASURED,
    PAIR,
    PAPER,
    POOL,
    PROFILED,
    TABLE,
    cast_of,
)
from tests.protocols.harness import play, says
from tests.protocols.voices import (
    CONSULTANT,
    KINDS,
    TOPOLOGISTS,
    agreeing_on,
    divided,
    overseen,
    recorded,
)


class Price(NamedTuple):
    """What a session costs where everybody answers well."""

    parameters: dict[str, Any]
    cast: Cast
    asks: int
    """By the formula of the protocol's source and docstring."""
    question: Question = CHOICE
    agree: bool = False
    """Whether all find the same; else they are divided."""
    verdict: str = "open"
    early: bool = False
    """Whether it ends before the most asks that it may make."""
    named: bool = False
    """Whether skills are asked for, not an answer."""


def pool(n: int, **roles: Any) -> Cast:
    return cast_of(solver=POOL[:n], **roles)


def personas(m: int) -> list[dict[str, str]]:
    return [{"name": f"p{number}", "view": f"View {number}."} for number in range(m)]


REVIEWED: dict[str, Any] = {"author": ("dee",), "chair": ("eve",)}
BEFORE_JUDGE = {"debater": ("bob", "cy"), "moderator": ("dee",), "judge": ("eve",)}
ONE_ASK = ("aggregator_bench",)
"""Kinds whose sessions make one ask, whatever their parameters."""
SIZES = (1, 2, 4)
GROUPS = (2, 3, 5)


def consulted(sides: int, **parameters: Any) -> dict[str, Any]:
    return {"sides": "both" if sides == 2 else "A", **parameters}


PRICES: dict[str, list[Price]] = {
    "direct_answer": [
        Price({}, cast_of(judge=("ada",)), 1),
        Price({"orders": 2}, cast_of(judge=("ada",)), 2, PAIR),
        Price({"orders": "rotate"}, cast_of(judge=("ada",)), 4),
    ],
    "consultancy": [
        price
        for r in SIZES
        for s in (1, 2)
        for price in (
            Price(consulted(s, rounds=r), CONSULTANT, s * (r + 2), PAIR),
            Price(consulted(s, rounds=r, orders=1), CONSULTANT, s * (r + 1), PAIR),
            Price(consulted(s, rounds=r, interactive=True), CONSULTANT, s * (2 * r + 1), PAIR),
            Price({"rounds": r, "open": True}, CONSULTANT, r + 2 + 1, PAIR),
        )
    ],
    "double_consultancy": [
        Price({"rounds": r}, overseen(*speakers, role="consultant"), 2 * r + 2, PAIR)
        for r in SIZES
        for speakers in (("ada",), ("ada", "bob"))
    ],
    "debate": [
        price
        for r in SIZES
        for cast in (overseen("ada"), overseen("ada", "bob"))
        for price in (
            Price({"rounds": r}, cast, 2 * r + 2, PAIR),
            Price({"rounds": r, "orders": 1}, cast, 2 * r + 1, PAIR),
            Price({"rounds": r, "order": "sequential"}, cast, 2 * (2 * r + 1), PAIR),
            Price({"rounds": r, "interactive": "shared"}, cast, 6 * r, PAIR),
            Price({"rounds": r, "interactive": "each"}, cast, 2 * (4 * r - 1), PAIR),
            Price({"rounds": r, "open": True}, cast, 2 * r + 2 + 1, PAIR),
        )
    ],
    "nyu_debate": [Price({"max_rounds": t}, overseen(), 3 * t + 1, PAIR) for t in SIZES],
    "nyu_consultancy": [
        Price(consulted(s, max_rounds=t), CONSULTANT, s * (2 * t + 1), PAIR)
        for t in SIZES
        for s in (1, 2)
    ],
    "offline_judge": [
        Price({"orders": o, "mode": mode}, recorded(r), o * (r + 1), PAIR)
        for r in SIZES
        for o in (1, 2)
        for mode in ("stepped", "all_at_once")
    ],
    "self_consistency": [Price({"n": n}, pool(1), n) for n in (1, 3, 6)],
    "plurality": [Price({}, pool(n), n) for n in GROUPS],
    "symbolic_moe": [
        Price(
            {"k": k, "replacement": False, "aggregate": "model" if joined else "vote"},
            cast_of(solver=POOL, aggregator=("zoe",), assets=PROFILED),
            k + joined,
        )
        for k in (1, 2, 3)
        for joined in (0, 1)
    ],
    "routed": [
        Price(
            {"rule": "task_best", "k": k, "aggregate": "model" if joined else "accuracy"},
            cast_of(solver=POOL, aggregator=("zoe",), assets=MEASURED),
            k + joined,
        )
        for k in (1, 2, 3)
        for joined in (0, 1)
    ],
    "annotate_skills": [
        Price({"passes": p}, cast_of(annotator=("zoe",)), p, named=True) for p in (1, 3, 5)
    ],
    "aggregator_bench": [
        Price({}, cast_of(aggregator=("zoe",), assets={"bench": BENCH}), 1),
    ],
    "mixture_of_agents": [
        Price({"layers": layers}, pool(n, aggregator=("zoe",)), n * (layers - 1) + 1)
        for n in GROUPS
        for layers in (2, 3, 4)
    ],
    "rank_and_fuse": [
        Price(
            {"orders": o, "top": 2},
            pool(n, aggregator=("zoe",), comparer=("dee",)),
            n + o * n * (n - 1) // 2 + 1,
        )
        for n in GROUPS
        for o in (1, 2)
    ],
    "speculative_verdict": [
        price
        for n in (2, 3, 4)
        for cast in (pool(n, aggregator=("zoe",)),)
        for price in (
            Price({"keep": n - 1}, cast, n + n * n + 1),
            Price({"keep": n}, cast, n + 1, early=True),
            Price({"keep": n - 1}, cast, n + 1, agree=True, early=True),
        )
    ],
    "eigen_refine": [
        price
        for n, r in ((2, 1), (3, 2), (5, 0))
        for cast in (pool(n, critic=("dee",)),)
        for price in (
            Price({"revisions": r, "threshold": 5.0}, cast, 3 * n + 2 * n * r),
            Price({"revisions": r + 1}, cast, 3 * n, early=True),
        )
    ],
    "xolver": [
        price
        for n in GROUPS
        for r in SIZES
        for cast in (pool(n, judge=("dee",)),)
        for price in (
            Price({"rounds": r, "recall": 0}, cast, 2 * n * r),
            Price({"rounds": r + 1, "recall": 0}, cast, 2 * n, agree=True, early=True),
        )
    ],
    "self_refine": [Price({"rounds": r}, pool(1), 1 + 2 * r) for r in SIZES],
    "multiagent_debate": [
        Price({"rounds": r, "summary": summary}, cast, n * (1 + r) + r * more)
        for n, r in ((2, 1), (3, 2), (5, 3))
        for cast in (pool(n, summariser=("zoe",)),)
        for summary, more in (("none", 0), ("shared", 1), ("each", n))
    ],
    "moderated_debate": [
        price
        for r in SIZES
        for cast in (pool(1, **BEFORE_JUDGE),)
        for price in (
            Price({"rounds": r}, cast, 1 + 3 * r + 2),
            Price({"rounds": r}, cast, 1 + 3, verdict="settled", early=True),
        )
    ],
    "reconcile": [
        price
        for n, r in ((2, 1), (3, 3), (5, 2))
        for price in (
            Price({"rounds": r}, pool(n), n * (1 + r)),
            Price({"rounds": r}, pool(n), n, agree=True, early=True),
        )
    ],
    "peer_review": [
        Price({"variant": variant}, pool(n), n + (n * n if variant == "feedback" else n))
        for n in GROUPS
        for variant in ("feedback", "sharing", "self_correction")
    ],
    "diverse_debate": [
        Price({"agents": k, "rounds": r}, pool(n), n + k * r)
        for n, k, r in ((2, 2, 1), (4, 3, 2), (5, 3, 3))
    ],
    "topology_debate": [
        price
        for n, c in ((2, 1), (3, 2), (5, 3))
        for cast in (pool(n, **TOPOLOGISTS),)
        for price in (
            Price({"cycles": c}, cast, n + c * (2 + n)),
            Price({"cycles": c}, cast, n, agree=True, early=True),
        )
    ],
    "recursive_critique": [
        Price(
            {"widths": widths, "chooser": bool(chooser), "baseline": baseline},
            pool(3, critic=TABLE, chooser=("dee",)),
            sum(widths) + chooser + (sum(widths[1:]) + chooser if baseline else 0),
        )
        for widths in ([3, 2], [3, 2, 1], [4, 3, 2, 1])
        for chooser in (0, 1)
        for baseline in (False, True)
    ],
    "review_dialogue": [
        Price({}, cast_of(reviewer=POOL[:m], **REVIEWED), 1 + 3 * m + 1, PAPER) for m in (1, 3, 5)
    ],
    "review_panel": [
        Price(
            {"personas": personas(m)},
            cast_of(librarian=("ada",), reviewer=("bob",), **REVIEWED),
            m + 3,
            PAPER,
        )
        for m in (1, 3, 5)
    ],
    "review_and_revise": [
        Price(
            {"rounds": r, "orders": o, "least_kept": 0.0},
            cast_of(scorer=("ada",), author=("bob",), rater=("cy",)),
            2 * r + o * r * (r + 1) // 2,
            PAPER,
        )
        for r in (1, 2, 3)
        for o in (1, 2)
    ],
}


@pytest.mark.parametrize(
    ("kind", "price"), [(kind, price) for kind, prices in PRICES.items() for price in prices]
)
def test_a_session_makes_the_asks_of_its_formula(kind: str, price: Price):
    protocol = make_protocol(kind, price.parameters)
    question = price.question
    whole = not price.agree and price.verdict == "open"
    answer = divided(question) if whole else agreeing_on(question.options[0], price.verdict)
    if price.named:
        answer = lambda ask: says("Skills: astronomy, planets")  # noqa: E731
    played = play(protocol, question, price.cast, answer)
    assert len(played.asks) == price.asks
    assert (price.asks == protocol.calls(question, price.cast).most) is not price.early
    assert (played.outcome.unparsed, played.outcome.failures) == (0, {})


def test_every_protocol_has_its_formula_tested_at_three_sizes():
    assert sorted(PRICES) == KINDS
    for kind, prices in PRICES.items():
        assert len({price.asks for price in prices}) >= (1 if kind in ONE_ASK else 3), kind
