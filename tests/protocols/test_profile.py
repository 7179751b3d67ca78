from __future__ import annotations

import math

import pytest
from pydantic import ValidationError

from protocols.cast import Asset
from protocols.errors import Mistake
from protocols.profile import SkillProfile, cast_profile, question_skills
from protocols.question import Question
from tests.protocols.examples import PROFILE


def test_accuracy_competency_and_ranking():
    assert PROFILE.ranking() == ("ada", "bob", "eve", "cy", "dee")  # bob and eve: 12 of 20 each
    assert PROFILE.accuracy("ada") == 13 / 20
    assert PROFILE.accuracy("nobody") is None
    assert PROFILE.competency("dee") == -2
    assert PROFILE.competency("nobody") == 0
    assert PROFILE.skill("ada", "math") == 4
    assert PROFILE.skill("ada", "knitting") == 0
    assert PROFILE.known_skills == ("fiction", "law", "math", "science")


def test_missing_answers_do_not_count_against_an_expert():
    profile = SkillProfile(
        skills={"a": {"x": 1}, "c": {}}, asked={"a": 3, "b": 10, "c": 0}, right={"a": 2, "b": 6}
    )
    assert profile.ranking() == ("a", "b", "c")
    assert profile.accuracy("c") is None


def test_an_empty_profile():
    empty = SkillProfile(skills={}, asked={}, right={})
    assert empty.ranking() == ()
    assert empty.known_skills == ()


@pytest.mark.parametrize(
    "content",
    [
        {"skills": {}, "asked": {}, "right": {"a": 1}},
        {"skills": {}, "asked": {"a": 1}, "right": {"a": 2}},
        {"skills": {}, "asked": {"a": 1}, "right": {"a": -1}},
        {"skills": {"a": {"x": math.inf}}, "asked": {}, "right": {}},
        {"skills": {}, "asked": {}, "right": {}, "more": 1},
    ],
)
def test_an_impossible_profile_is_refused(content):
    with pytest.raises(ValidationError):
        SkillProfile.model_validate(content)


def test_a_profile_goes_through_an_asset_and_is_read_once():
    asset = PROFILE.as_asset()
    read = SkillProfile.from_asset(asset)
    assert read == PROFILE
    assert SkillProfile.from_asset(PROFILE.as_asset()) is read
    assert cast_profile({"profile": asset}) is read
    assert cast_profile({}) is None


def test_many_profiles_are_each_read_right():
    for right in range(40):
        profile = SkillProfile(skills={}, asked={"a": 50}, right={"a": right})
        assert SkillProfile.from_asset(profile.as_asset()).right == {"a": right}


@pytest.mark.parametrize(
    "asset",
    [
        Asset(kind="memory", content=PROFILE.as_asset().content),
        Asset(kind="profile", content={"skills": {"a": "good"}, "asked": {}, "right": {}}),
        Asset(kind="profile", content=[1]),
    ],
    ids=["another kind", "words for numbers", "a list"],
)
def test_an_asset_that_is_no_profile_is_a_mistake(asset):
    with pytest.raises(Mistake, match="skill profile") as caught:
        SkillProfile.from_asset(asset)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("category", "subject", "skills"),
    [("math", "algebra", ("algebra", "math")), ("math", "math", ("math",)), ("", "x", ("x",)),
     ("", "", ())],
)  # fmt: skip
def test_a_question_is_filed_under_category_and_subject(category, subject, skills):
    question = Question(id="q", text="?", category=category, subject=subject)
    assert question_skills(question) == skills
