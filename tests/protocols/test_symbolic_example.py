"""One recruitment of Symbolic-MoE by hand, from the skills to the vote, every value between.

Five experts, four skills (``examples.PROFILE``); the question's skills are math and science.

=======  ====  =======  ===  =======  ==  ==  =====  =======  =======
expert   math  science  law  fiction   S   g  g+2+1  G * 181  w * 181
=======  ====  =======  ===  =======  ==  ==  =====  =======  =======
ada         4        3   -1        0   7   6      9       81      567
bob        -2        2    3        1   0   4      7       49        -
cy          1       -1    0        2   0   2      5       25        -
dee         0        1    1       -4   1  -2      1        1        1
eve         2        0   -3        3   2   2      5       25       50
=======  ====  =======  ===  =======  ==  ==  =====  =======  =======
"""

from __future__ import annotations

import math
from typing import Any

import pytest

from protocols.chance import Rng
from protocols.lineage import graph_from_json
from protocols.outcome import Outcome
from protocols.question import Question
from protocols.replies import Reply
from protocols.routing.measured import task_of
from protocols.routing.skill_rule import SkillRule
from protocols.routing.steps import counterfactual, plan
from protocols.symbolic_moe import SymbolicMoE
from protocols.tape import Finished, step
from tests.protocols.examples import POOL, PROFILE, PROFILED, cast_of

QUESTION = Question(
    id="q", text="Which?", options=("w", "x", "y", "z"), category="math", subject="science"
)
SAID = {"ada": "C", "bob": "A", "cy": "A", "dee": "B", "eve": "D"}


class Marks(Rng):
    """Chance that is written down."""

    __slots__ = ("_marks",)

    def __init__(self, *marks: float) -> None:
        super().__init__("marks")
        self._marks = iter(marks)

    def random(self) -> float:
        return next(self._marks)


def test_scores_selection_and_plan():
    task = task_of(QUESTION, POOL, skills=("math", "science"), profile=PROFILE)
    rule = SkillRule()
    scores = rule.score(task)
    assert scores.why["suitability"] == {"ada": 7, "bob": 0, "cy": 0, "dee": 1, "eve": 2}
    assert [PROFILE.competency(expert) for expert in POOL] == [6, 4, 2, -2, 2]
    assert scores.why["competency"] == pytest.approx(
        {"ada": 81 / 181, "bob": 49 / 181, "cy": 25 / 181, "dee": 1 / 181, "eve": 25 / 181}
    )
    assert scores.weights == pytest.approx((567 / 181, 0, 0, 1 / 181, 50 / 181))
    assert scores.allowed == (True, False, False, True, True)
    assert scores.chances == pytest.approx((567 / 618, 0, 0, 1 / 618, 50 / 618))
    # cumulated: ada up to 0.9175, dee up to 0.9191, eve up to 1
    selection = rule.select(scores, 3, Marks(0.10, 0.95, 0.50))
    assert selection.draws == (2, 0, 0, 0, 1)
    assert selection.odds == pytest.approx(
        (1 - (51 / 618) ** 3, 0, 0, 1 - (617 / 618) ** 3, 1 - (568 / 618) ** 3)
    )
    assert rule.select(scores, 1, Marks(0.918)).draws == (0, 0, 0, 1, 0)
    team = plan(selection, POOL).team
    assert [(r.expert, r.index, r.draws) for r in team] == [("ada", 0, 2), ("eve", 4, 1)]
    told = counterfactual(selection)
    assert told["next"] == "dee"  # eve was the last one taken
    assert told["lead"] == pytest.approx(50 / 181 - 1 / 181)
    assert told["without_chance"] == ["ada", "dee", "eve"]


def test_the_softmax_variant():
    task = task_of(QUESTION, POOL, skills=("math", "science"), profile=PROFILE)
    scores = SkillRule(variant="softmax").score(task)
    # over T = 0.5, from the top: (1 - 567) / 181 and (50 - 567) / 181
    dee, eve = math.exp(-1132 / 181), math.exp(-1034 / 181)
    assert scores.weights == pytest.approx((1, 0, 0, dee, eve))
    assert scores.chances[0] == pytest.approx(1 / (1 + dee + eve))


@pytest.mark.parametrize(
    ("aggregate", "votes", "edge"),
    [("vote", {"C": 2, "D": 1}, 2), ("weighted", {"C": 1134 / 181, "D": 50 / 181}, 1134 / 181)],
)
def test_the_team_and_its_votes(aggregate, votes, edge):
    cast = cast_of(solver=POOL, assets=PROFILED)
    session = SymbolicMoE(aggregate=aggregate).session(QUESTION, cast, Marks(0.10, 0.95, 0.50))
    asks = step(session, None)
    assert not isinstance(asks, Finished)
    assert [ask.seat.expert for ask in asks] == ["ada", "eve"]
    finished = step(session, tuple(Reply(f"Answer: {SAID[ask.seat.expert]}") for ask in asks))
    assert isinstance(finished, Finished)
    outcome: Outcome = finished.outcome
    assert outcome.answer == "C"
    assert outcome.votes == pytest.approx(votes)
    detail: dict[str, Any] = outcome.detail
    assert detail["skills"] == ["math", "science"]
    graph = graph_from_json(detail["recruitment"])
    assert graph.edges["skill:math", "expert:ada"]["weight"] == 4
    assert graph.edges["skill:science", "expert:eve"]["weight"] == 0
    (sink,) = graph.successors("expert:ada")
    assert graph.edges["expert:ada", sink]["weight"] == pytest.approx(edge)
    assert not {"expert:bob", "expert:cy", "expert:dee"} & set(graph)
