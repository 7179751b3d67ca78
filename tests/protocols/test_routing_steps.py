"""The steps between scores and a team, and the steps over many questions, by hand."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.cast import Asset
from protocols.chance import Rng
from protocols.errors import Mistake
from protocols.grouping import SettledTeams, group_stage
from protocols.plurality import Plurality
from protocols.registry import make_protocol
from protocols.routing.group import TEAMS, settled_selection, teams_asset, trim
from protocols.routing.rules import make_rule
from protocols.routing.steps import (
    Selection,
    best,
    counterfactual,
    drawn,
    sampled,
    scores_of,
    taken,
)
from protocols.routing.teams import ExpertChoice, best_subset
from protocols.symbolic_moe import SymbolicMoE
from tests.protocols.examples import CHOICE, NUMBER, PAIR, POOL, PROFILED, TEXT, cast_of
from tests.protocols.harness import answers, play
from tests.protocols.recruits import EVIDENCE_OF_POOL

ABC = ("a", "b", "c")
QUESTIONS = (CHOICE, PAIR, NUMBER, TEXT)
CAST = cast_of(solver=POOL, assets={"evidence": EVIDENCE_OF_POOL.as_asset(), **PROFILED})


def test_the_best_are_taken_and_ties_go_by_name():
    scores = scores_of(ABC, [1.0, 3.0, 3.0])
    assert scores.order == (1, 2, 0)
    assert best(scores, 1).draws == (0, 1, 0)
    assert best(scores, 2).odds == (0.0, 1.0, 1.0)
    assert best(scores, 9).draws == (1, 1, 1)
    limited = scores_of(ABC, [1.0, 3.0, 3.0], allowed=(True, False, False))
    assert best(limited, 2).team == (0,)
    assert limited.chances == (1.0, 0.0, 0.0)


def test_the_last_digits_decide_nothing():
    scores = scores_of(ABC, [0.1 + 0.2, 0.3, 0.3])
    assert scores.order == (0, 1, 2)
    assert scores_of(ABC, [0.0, 0.0, 0.0]).chances == pytest.approx((1 / 3, 1 / 3, 1 / 3))


def test_draws_follow_the_weights_and_odds_are_told():
    scores, counts = scores_of(ABC, [3.0, 0.0, 1.0]), Counter[int]()
    rng, teams = Rng("draws"), 4000
    for _ in range(teams):
        selection = drawn(scores, 2, rng)
        counts.update(selection.team)
        assert sum(selection.draws) == 2
    assert selection.odds == pytest.approx((1 - 0.25**2, 0.0, 1 - 0.75**2))
    for place in range(3):
        assert counts[place] / teams == pytest.approx(selection.odds[place], abs=0.03)
    assert selection.settled == (0, 2)


def test_a_random_team_has_even_odds():
    scores, counts = scores_of(ABC, [1.0, 1.0, 1.0]), Counter[int]()
    rng = Rng("random")
    for _ in range(3000):
        selection = sampled(scores, 2, rng)
        assert len(selection.team) == 2
        counts.update(selection.team)
    assert selection.odds == pytest.approx((2 / 3,) * 3)
    assert all(counts[i] / 3000 == pytest.approx(2 / 3, abs=0.03) for i in range(3))
    assert sampled(scores, 7, rng).odds == (1.0, 1.0, 1.0)


def test_the_counterfactual_tells_who_came_next():
    scores = scores_of(ABC, [0.5, 0.9, 0.7])
    assert counterfactual(best(scores, 1)) == {
        "next": "c", "lead": pytest.approx(0.2), "without_chance": ["b"]
    }  # fmt: skip
    by_chance = Selection(scores, (1, 0, 0), (0.3, 0.4, 0.3), (1,))
    assert counterfactual(by_chance)["lead"] == pytest.approx(-0.4)
    assert counterfactual(best(scores, 3))["next"] is None


def chosen(*draws: tuple[int, ...]) -> list[Selection]:
    scores = scores_of(ABC, [3.0, 2.0, 1.0])
    return [Selection(scores, times, (0.5,) * 3, (0,)) for times in draws]


def test_trim_redraws_the_rare_from_the_rest():
    # 20 draws: a 12, b 7, c 1; 5 % of 20 is 1, so c stays at 5 % and goes at 6 %
    many = chosen(*[(2, 0, 0)] * 6, *[(0, 2, 0)] * 3, (0, 1, 1))
    kept = trim(many, share=0.05, k=2, rng=Rng(0), again=True)
    assert kept == tuple(many)
    trimmed = trim(many, share=0.06, k=2, rng=Rng(0), again=True)
    assert trimmed[:9] == tuple(
        s for s in trimmed[:9] if s.draws[2] == 0 and s.draws in ((2, 0, 0), (0, 2, 0))
    )
    assert [sum(s.draws) for s in trimmed] == [2] * 10
    assert trimmed[9].draws in ((1, 1, 0), (0, 2, 0))
    # one draw: a 1/2, b 1/3, c 1/6, whose share goes to a and b as 12 to 7
    a, b = 1 / 2 + 1 / 6 * 12 / 19, 1 / 3 + 1 / 6 * 7 / 19
    assert trimmed[9].odds == pytest.approx((1 - (1 - a) ** 2, 1 - (1 - b) ** 2, 0))
    seen = {trim(many, share=0.06, k=2, rng=Rng(n), again=True)[9].draws for n in range(20)}
    assert seen == {(1, 1, 0), (0, 2, 0)}


def test_trim_puts_the_next_best_in_place_where_teams_are_distinct():
    many = chosen(*[(1, 0, 0)] * 6, *[(0, 1, 0)] * 3, (0, 0, 1))
    trimmed = trim(many, share=0.2, k=1, rng=Rng(0), again=False)
    assert trimmed[9].draws == (1, 0, 0)
    pairs = chosen(*[(1, 1, 0)] * 9, (1, 0, 1))
    assert trim(pairs, share=0.2, k=2, rng=Rng(0), again=False)[9].draws == (1, 1, 0)
    triples = chosen(*[(1, 1, 0)] * 9, (1, 1, 1))
    assert trim(triples, share=0.2, k=2, rng=Rng(0), again=False)[9].draws == (1, 1, 0)


def test_where_all_are_rare_nobody_is_trimmed():
    many = chosen((1, 0, 0), (0, 1, 0), (0, 0, 1))
    assert trim(many, share=0.5, k=1, rng=Rng(0), again=True) == tuple(many)
    assert trim([], share=0.5, k=1, rng=Rng(0), again=True) == ()


def test_experts_choose_their_share_and_nobody_is_left_alone():
    # two of four questions each (n c / e = 4 * 1 / 2); a and b both want the first two
    rows = [[1.0, 1.0], [0.9, 0.9], [0.2, 0.1], [0.1, 0.2]]
    many = tuple(scores_of("ab", [0.0, 0.0], weights=row) for row in rows)
    assert [s.team for s in ExpertChoice().select_all(many, 1)] == [(0, 1), (0, 1), (0,), (0,)]
    rows = [[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.1, 1.0]]
    even = tuple(scores_of("ab", row) for row in rows)
    assert [s.team for s in ExpertChoice().select_all(even, 1)] == [(0,), (0,), (1,), (1,)]
    assert ExpertChoice().select_all((), 1) == ()


def test_a_prefix_above_p_and_a_bar_below_the_mean():
    scores = scores_of(ABC, [0.9, 0.9, 0.1])
    for p, size in ((0.0, 1), (0.4, 1), (0.6, 2), (0.99, 2)):
        top = make_rule({"rule": "top_p", "p": p})
        assert len(top.select(scores, 3, Rng(0)).team) == size
    # mean 0.6333, sigma 0.3771
    for n, size in ((0.0, 2), (-1.0, 1), (1.4, 2), (1.5, 3)):
        bar = make_rule({"rule": "adaptive_bar", "n": n})
        assert len(bar.select(scores, 3, Rng(0)).team) == size
    assert len(make_rule("adaptive_bar").select(scores, 1, Rng(0)).team) == 1


@given(
    st.lists(st.lists(st.integers(0, 9), min_size=5, max_size=5), min_size=1, max_size=4),
    st.lists(st.integers(1, 5), min_size=5, max_size=5),
    st.integers(1, 5),
    st.none() | st.integers(1, 12),
)
def test_branch_and_bound_finds_what_trying_all_finds(rows, costs, size, budget):
    import numpy as np

    quality = np.array(rows, dtype=float)
    kept = best_subset(quality, np.array(costs, dtype=float), size=size, budget=budget)
    limit = budget if budget is not None else 10**9
    everything = [
        tuple(i for i in range(5) if mask >> i & 1)
        for mask in range(1, 32)
        if mask.bit_count() <= size and sum(costs[i] for i in range(5) if mask >> i & 1) <= limit
    ]
    if not everything:
        assert kept == (costs.index(min(costs)),)
        return
    worth = {s: sum(max(row[i] for i in s) for row in rows) for s in everything}
    least = min(sum(costs[i] for i in s) for s in everything if worth[s] == max(worth.values()))
    assert worth[kept] == max(worth.values())
    assert sum(costs[i] for i in kept) == least


PROTOCOLS = [
    SymbolicMoE(trim=0.2),
    SymbolicMoE(trim=0.2, replacement=False),
    make_protocol("routed", {"rule": "expert_choice", "k": 2}),
    make_protocol("routed", {"rule": "best_single", "k": 2, "trim": 0.1}),
]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_group_stage_settles_teams_that_the_questions_then_have(protocol):
    assert TEAMS in protocol.assets()
    with pytest.raises(Mistake, match="group_stage"):
        play(protocol, CHOICE, CAST, answers(dict.fromkeys(POOL, "A")))
    asset = group_stage(protocol, QUESTIONS, CAST, 7)
    assert asset == group_stage(protocol, QUESTIONS[::-1], CAST, 7)
    cast = CAST.model_copy(update={"assets": {**CAST.assets, TEAMS: asset}})
    content: Any = asset.content
    for question in QUESTIONS:
        said = {NUMBER.id: "4", TEXT.id: "Lima"}.get(question.id, "A")
        played = play(protocol, question, cast, answers(dict.fromkeys(POOL, said)))
        settled = content[question.key]
        draws = dict(zip(settled["experts"], settled["draws"], strict=True))
        team: Any = played.outcome.detail["team"]
        assert {r["expert"]: r["draws"] for r in team} == {e: n for e, n in draws.items() if n}
        assert [ask.seat.expert for ask in played.asks] == [r["expert"] for r in team]


def test_settling_asks_nobody_and_abstains():
    group = SettledTeams(protocol=SymbolicMoE(trim=0.1))
    assert group.calls(QUESTIONS, CAST).most == 0
    session = group.session(QUESTIONS, CAST, Rng(0))
    with pytest.raises(StopIteration) as stop:
        next(session)
    outcomes = stop.value.value
    assert [outcome.status for outcome in outcomes] == ["abstained"] * 4
    assert all(outcome.detail["team"] for outcome in outcomes)
    with pytest.raises(Mistake, match="recruits nobody"):
        group_stage(Plurality(), QUESTIONS, CAST, 0)


def test_settled_teams_must_be_those_of_the_question_and_the_pool():
    teams = teams_asset({CHOICE.key: taken(scores_of(POOL, [1.0] * 5), (1,))})
    found = settled_selection({TEAMS: teams}, CHOICE, POOL[::-1])
    assert found is not None
    assert found.team == (1,)
    assert settled_selection({}, CHOICE, POOL) is None
    with pytest.raises(Mistake, match="no team for question 'q/pair'"):
        settled_selection({TEAMS: teams}, PAIR, POOL)
    with pytest.raises(Mistake, match="another pool"):
        settled_selection({TEAMS: teams}, CHOICE, POOL[:3])
    with pytest.raises(Mistake, match="cannot be read"):
        settled_selection({TEAMS: Asset(kind=TEAMS, content={CHOICE.key: {}})}, CHOICE, POOL)
    with pytest.raises(Mistake, match="no team"):
        settled_selection({TEAMS: Asset(kind="memory", content=[])}, CHOICE, POOL)
