from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.canonical import canonical_json
from protocols.lineage import graph_to_json
from protocols.profile import SkillProfile
from protocols.recruitment import (
    SkillMatch,
    SkillScores,
    match_skills,
    score,
    trigram_similarity,
)
from protocols.routing.graph import recruitment_graph
from protocols.routing.steps import Recruit
from tests.protocols.examples import POOL, PROFILE

EMPTY = SkillProfile(skills={}, asked={}, right={})


def odds_of(scores: SkillScores) -> list[float]:
    return [weight / math.fsum(scores.weights) for weight in scores.weights]


def test_five_experts_and_four_skills_by_hand():
    # skills of the question: math and science; the pool is ada, bob, cy, dee, eve
    scores = score(PROFILE, ("math", "science"), POOL)
    # S adds math and science
    assert scores.suitability == pytest.approx([4 + 3, -2 + 2, 1 - 1, 0 + 1, 2 + 0])
    # g = all four skills = 6, 4, 2, -2, 2; one is negative, so g - (-2) + 1 = 9, 7, 5, 1, 5;
    # squared (1/T = 2) 81, 49, 25, 1, 25, which sum to 181
    assert scores.competency == pytest.approx((81 / 181, 49 / 181, 25 / 181, 1 / 181, 25 / 181))
    # w = S * G where S > 0: ada, dee and eve
    assert scores.weights == pytest.approx((567 / 181, 0, 0, 1 / 181, 50 / 181))
    assert odds_of(scores) == pytest.approx((567 / 618, 0, 0, 1 / 618, 50 / 618))


def test_the_softmax_variant_by_hand():
    scores = score(PROFILE, ("math", "science"), POOL, variant="softmax")
    parts = [math.exp(567 / 181 / 0.5), 0, 0, math.exp(1 / 181 / 0.5), math.exp(50 / 181 / 0.5)]
    assert odds_of(scores) == pytest.approx([part / sum(parts) for part in parts])


def test_where_nobody_is_suitable_all_are_shifted_by_hand():
    scores = score(PROFILE, ("law",), ("ada", "cy", "eve"))
    # S = -1, 0, -3: none is > 0, so S - (-3) + 1
    assert scores.suitability == pytest.approx((3, 4, 1))
    # g = 6, 2, 2: none is negative; squared 36, 4, 4
    assert scores.competency == pytest.approx((36 / 44, 4 / 44, 4 / 44))
    assert scores.weights == pytest.approx((108 / 44, 16 / 44, 4 / 44))


@pytest.mark.parametrize("temperature", [1e-300, 0.001, 0.5, 2.0, 1e300])
def test_any_temperature_gives_odds(temperature):
    for variant in ("source", "softmax"):
        scores = score(PROFILE, ("math",), POOL, temperature=temperature, variant=variant)
        assert sum(odds_of(scores)) == pytest.approx(1)


def test_a_repeated_skill_counts_again():
    assert score(PROFILE, ("math", "math"), ("ada",)).suitability == pytest.approx((8,))


@pytest.mark.parametrize("variant", ["source", "softmax"])
@pytest.mark.parametrize(
    ("profile", "skills", "pool"),
    [(EMPTY, (), POOL), (EMPTY, ("math",), POOL), (PROFILE, ("math",), ("x", "y"))],
    ids=["empty profile", "empty profile with a skill", "strangers"],
)
def test_where_nothing_is_known_all_are_equal(profile, skills, pool, variant):
    scores = score(profile, skills, pool, variant=variant)
    assert odds_of(scores) == pytest.approx([1 / len(pool)] * len(pool))


def test_candidates_without_competency_are_equal():
    profile = SkillProfile(
        skills={"a": {"x": 2, "y": -2}, "b": {"x": 1, "y": -1}, "c": {"y": 5}}, asked={}, right={}
    )
    scores = score(profile, ("x",), ("a", "b", "c"))
    assert scores.competency == pytest.approx((0, 0, 1))
    assert scores.weights == pytest.approx((1, 1, 0))


def test_a_pool_of_one():
    scores = score(PROFILE, ("law",), ("dee",))
    assert odds_of(scores) == pytest.approx((1,))


@pytest.mark.parametrize(
    ("skills", "known", "expected"),
    [
        (("math", "law"), ("law", "math"), [("law", "law"), ("math", "math")]),
        (("maths",), ("history", "math"), [("maths", "math")]),
        (("college_physics",), ("physics", "college physics 2"),
         [("college_physics", "college physics 2")]),
        (("abc",), ("abcx", "abcy"), [("abc", "abcx")]),
        (("qqq",), ("math",), []),
        (("math",), (), []),
        ((), ("math",), []),
        (("--", ""), ("math",), []),
        (("math", "maths"), ("math",), [("math", "math"), ("maths", "math")]),
    ],
    ids=["known", "near", "words", "tie by name", "nothing shared", "nothing known", "no skill",
         "no letter", "two for one"],
)  # fmt: skip
def test_skills_match_known_ones(skills, known, expected):
    assert match_skills(skills, known) == tuple(SkillMatch(*pair) for pair in expected)


def test_another_similarity_can_be_used():
    by_length = match_skills(("abc",), ("x", "xyz"), lambda a, b: 1.0 / (1 + abs(len(a) - len(b))))
    assert by_length == (SkillMatch("abc", "xyz"),)


@given(st.text(max_size=20), st.text(max_size=20))
def test_similarity_is_a_cosine(one, other):
    value = trigram_similarity(one, other)
    assert 0.0 <= value <= 1.0 + 1e-12
    assert value == trigram_similarity(other, one)
    assert trigram_similarity(one, one) in [0.0, pytest.approx(1.0)]


SKILLS = st.lists(st.sampled_from(["math", "law", "science", "fiction", "other"]), max_size=4)
PROFILES = st.dictionaries(
    st.sampled_from(POOL),
    st.dictionaries(
        st.sampled_from(["math", "law", "science", "fiction"]),
        st.floats(-1e6, 1e6) | st.integers(-9, 9).map(float),
    ),
).map(lambda skills: SkillProfile(skills=skills, asked={}, right={}))


@given(PROFILES, SKILLS, st.sampled_from(["source", "softmax"]))
def test_any_profile_gives_weights(profile, skills, variant):
    scores = score(profile, skills, POOL, variant=variant)
    assert sum(odds_of(scores)) == pytest.approx(1)
    assert math.fsum(scores.competency) == pytest.approx(1)
    assert all(math.isfinite(weight) and weight >= 0.0 for weight in scores.weights)


def test_the_graph_runs_from_question_to_aggregator():
    matches = match_skills(("maths", "math", "law"), PROFILE.known_skills)
    team = [Recruit("ada", 0, 1, 7.0, 0.9), Recruit("cy", 2, 2, 1.0, 0.5)]
    graph = recruitment_graph(
        "q1",
        team,
        matches=matches,
        profile=PROFILE,
        aggregator="plurality",
        vote_weights=[1, 2],
    )
    assert {edge: graph.edges[edge]["weight"] for edge in graph.edges} == {
        ("question:q1", "skill:law"): 1,
        ("question:q1", "skill:math"): 2,
        ("skill:law", "expert:ada"): -1,
        ("skill:math", "expert:ada"): 4,
        ("skill:law", "expert:cy"): 0,
        ("skill:math", "expert:cy"): 1,
        ("expert:ada", "aggregator:plurality"): 1,
        ("expert:cy", "aggregator:plurality"): 2,
    }
    assert graph.edges["question:q1", "skill:math"]["asked_as"] == ["math", "maths"]
    canonical_json(graph_to_json(graph))


@pytest.mark.parametrize("profile", [EMPTY, None])
def test_a_team_without_skills_hangs_on_the_question(profile):
    graph = recruitment_graph(
        "q1",
        [Recruit("ada", 0, 1, 1.0, 0.25)],
        profile=profile,
        aggregator="plurality",
        vote_weights=[1],
    )
    assert {edge: graph.edges[edge]["weight"] for edge in graph.edges} == {
        ("question:q1", "expert:ada"): 0.25,
        ("expert:ada", "aggregator:plurality"): 1,
    }
