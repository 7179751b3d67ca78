"""Skill profiles: +1 for right, -1 for wrong, nothing for missing."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from agents.profiles import build_profile, profile_from_recorded
from agents.recorded_file import read_recorded
from tests.agents.making import row, write_rows

SKILLS = {"1": ("math", "sums"), "2": ("math",), "3": ("law", "law"), "4": ()}


def test_skills_are_sums_over_the_graded_questions() -> None:
    profile = build_profile(
        {
            "ann": {"1": True, "2": False, "3": False, "4": True},
            "bob": {"1": True, "2": True},
            "new": {},
        },
        lambda id: SKILLS[id],
        measured_on="four questions",
    )
    assert profile.skills == {
        "ann": {"math": 0.0, "sums": 1.0, "law": -1.0},
        "bob": {"math": 2.0, "sums": 1.0},
        "new": {},
    }
    assert profile.asked == {"ann": 4, "bob": 2, "new": 0}
    assert profile.right == {"ann": 2, "bob": 2, "new": 0}
    assert profile.measured_on == "four questions"
    assert profile.ranking() == ("bob", "ann", "new")


def test_a_profile_from_recorded_answers(tmp_path: Path) -> None:
    rows = [row(i) for i in range(4)]
    rows[3]["answers"] = {"good": "B", "bad": "A"}
    rows[2]["correct"] = {"good": 0}
    file = read_recorded(write_rows(tmp_path / "q.jsonl", *rows))
    profile = profile_from_recorded(file, file.models)
    assert profile.skills == {
        "good": {"numbers": 0.0, "even": 0.0, "odd": 0.0},
        "bad": {"numbers": -2.0, "even": -2.0, "odd": 0.0},
        "mute": {"numbers": -3.0, "even": -2.0, "odd": -1.0},
    }
    assert profile.asked == {"good": 4, "bad": 4, "mute": 3}
    assert profile.right == {"good": 2, "bad": 1, "mute": 0}
    assert len(profile.measured_on) == 16


def test_labels_of_the_roster_name_the_experts(tmp_path: Path) -> None:
    file = read_recorded(write_rows(tmp_path / "q.jsonl", row(0), row(1)))
    profile = profile_from_recorded(file, {"one": "good", "two": "good", "three": "unheard-of"})
    assert profile.right == {"one": 2, "two": 2, "three": 0}
    assert profile.asked["three"] == 0


def test_the_order_of_rows_and_models_does_not_matter(tmp_path: Path) -> None:
    rows = [row(i, answers={"good": "ABCD"[i % 4]}) for i in range(8)]
    one = read_recorded(write_rows(tmp_path / "a.jsonl", *rows))
    two = read_recorded(write_rows(tmp_path / "b.jsonl", *rows[::-1]))
    first = profile_from_recorded(one, ["good", "bad"]).as_asset()
    assert first.digest == profile_from_recorded(two, ["bad", "good"]).as_asset().digest


@given(st.dictionaries(st.sampled_from(sorted(SKILLS)), st.booleans()))
def test_a_score_lies_between_its_bounds(answers: dict[str, bool]) -> None:
    profile = build_profile({"x": answers}, lambda id: SKILLS[id])
    for skill, score in profile.skills["x"].items():
        asked = sum(skill in SKILLS[id] for id in answers)
        assert -asked <= score <= asked
        assert (score - asked) % 2 == 0
