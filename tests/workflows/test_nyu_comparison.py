"""Two settings of imported sessions compared, against statsmodels, scipy and plain loops."""

from __future__ import annotations

import random
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import stats

from tests.workflows.making import read_packed, write_lines
from tests.workflows.recorded_sessions import PRIOR, SIM, judge, session
from tests.workflows.terminal import moot
from workflows.cli.reporting import SETTINGS

SIDES = ("human_debate", "human_consultancy")


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def reported(lines: list[dict[str, Any]]) -> dict[str, Any]:
    """Import sessions and return their report."""
    path = write_lines(Path("s.jsonl"), lines)
    assert moot("import", "nyu", path, "--store", "s.db", "--name", "r").code == 0
    found: dict[str, Any] = moot("report", "r", "--store", "s.db", "--json").json
    return found


def sessions(n: int = 120, seed: int = 1) -> list[dict[str, Any]]:
    """Sessions of both settings (and of others) that share judges, stories and questions."""
    generator = random.Random(seed)
    found = []
    for place in range(n):
        story, seat = generator.randrange(12), min(generator.choices(range(7), k=2))
        known = (
            story % 3 + seat % 3
        ) / 4  # what judges of one story, and stories of one judge share
        p = generator.choice([0.62, 0.8, 0.97] if generator.random() < known else [0.05, 0.3, 0.5])
        found.append(
            session(
                [PRIOR, SIM, judge(p, end=True)],
                id=f"nyu/{place}",
                story_id=str(story),
                question_id=f"{story}-{generator.randrange(3)}",
                setting=generator.choice([*SIDES, "ai_debate"]),
                judge=f"judge {seat}",
                in_paper=generator.random() < 0.9,
                final_probs=[p, 1 - p],
                correct=p > 0.5,
            )
        )
    return found


def expected(lines: list[dict[str, Any]]) -> dict[str, Any]:
    """The comparison, from nothing but what the file says of each session."""
    kept = [s for s in lines if s["in_paper"] and s["final_probs"] and s["setting"] in SIDES]
    right = np.array([float(s["final_probs"][s["gold"]] > 0.5) for s in kept])
    debate = np.array([s["setting"] == SIDES[0] for s in kept])
    table = [[right[side].sum(), (1 - right[side]).sum()] for side in (debate, ~debate)]
    units = np.stack(
        [
            np.unique([s[name] for s in kept], return_inverse=True)[1]
            for name in ("judge", "story_id")
        ],
        axis=1,
    )
    fitted = sm.OLS(right, sm.add_constant(debate.astype(float))).fit(
        cov_type="cluster", cov_kwds={"groups": units}
    )
    degrees = int(min(len(set(units[:, 0])), len(set(units[:, 1])))) - 1
    error = float(fitted.cov_params()[1, 1] ** 0.5)
    half = stats.t.ppf(0.975, degrees) * error
    cells: dict[str, dict[bool, list[float]]] = defaultdict(lambda: {True: [], False: []})
    story = {}
    for one, value, side in zip(kept, right, debate, strict=True):
        cells[one["question_id"]][bool(side)].append(value)
        story[one["question_id"]] = one["story_id"]
    both = {q: np.mean(c[True]) - np.mean(c[False]) for q, c in cells.items() if all(c.values())}
    by_story = defaultdict(list)
    for question, difference in both.items():
        by_story[story[question]].append(difference)
    means = [float(np.mean(found)) for found in by_story.values()]
    return {
        "n": [int(debate.sum()), int((~debate).sum())],
        "difference": right[debate].mean() - right[~debate].mean(),
        "p": stats.chi2_contingency(table, correction=False)[1],
        "p_yates": stats.chi2_contingency(table, correction=True)[1],
        "error": error,
        "degrees": degrees,
        "interval": (fitted.params[1] - half, fitted.params[1] + half),
        "questions": len(cells),
        "with_both": len(both),
        "over_questions": float(np.mean(list(both.values()))) if both else None,
        "over_stories": float(np.mean(means)) if means else None,
        "paired": tuple(stats.ttest_1samp(means, 0).confidence_interval(0.95)) if means else None,
        "judges": [one["judge"] for one in kept],
        "right": right,
        "debate": debate,
    }


def assert_same(found: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Every figure of a comparison against the independent one, to 1e-9."""
    assert (found["first"], found["second"], found["n"]) == (*SIDES, wanted["n"])
    for name in ("difference", "p", "p_yates"):
        assert found[name] == pytest.approx(wanted[name], abs=1e-9)
    crossed = found["two_way"]
    assert crossed["error"] == pytest.approx(wanted["error"], abs=1e-9)
    assert crossed["degrees"] == wanted["degrees"]
    assert crossed["interval"] == pytest.approx(wanted["interval"], abs=1e-9)
    assert "(G - 1)" in crossed["correction"]
    assert (found["questions"], found["questions_with_both"]) == (
        wanted["questions"],
        wanted["with_both"],
    )
    paired = found["paired"]
    assert paired["mean_over_questions"] == pytest.approx(wanted["over_questions"], abs=1e-9)
    assert paired["mean_over_stories"] == pytest.approx(wanted["over_stories"], abs=1e-9)
    assert paired["method"] == "t"
    assert paired["interval"] == pytest.approx(wanted["paired"], abs=1e-9)


def resampled(wanted: dict[str, Any]) -> tuple[float, float]:
    """The interval from resampled judges, in plain loops."""
    by_judge = defaultdict(list)
    for name, right, debate in zip(
        wanted["judges"], wanted["right"], wanted["debate"], strict=True
    ):
        by_judge[name].append((right, bool(debate)))
    generator, drawn = random.Random(4), []
    for _ in range(10_000):
        chosen = [
            o
            for name in generator.choices(sorted(by_judge), k=len(by_judge))
            for o in by_judge[name]
        ]
        sides = [[right for right, debate in chosen if debate is side] for side in (True, False)]
        if all(sides):
            drawn.append(sum(sides[0]) / len(sides[0]) - sum(sides[1]) / len(sides[1]))
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(low), float(high)


def test_a_comparison_is_that_of_other_tools(here) -> None:
    lines = sessions()
    found, wanted = reported(lines)["comparison"], expected(lines)
    assert wanted["with_both"] > 5
    assert_same(found, wanted)
    judges = found["by_judge"]
    assert (judges["clusters"], judges["seed"]) == (len(set(wanted["judges"])), 0)
    assert judges["interval"] == pytest.approx(resampled(wanted), abs=0.015)


def test_one_command_gives_the_figures_of_whatever_files_it_is_given(here) -> None:
    """Those of the packed sessions, by settings, from nothing but what their file says."""
    lines = read_packed("nyu_sessions")
    files = [write_lines(Path(f"{k}.jsonl"), lines[k::2]) for k in (0, 1)]
    done = moot("import", "nyu", *files, "--store", "s.db", "--name", "r", "--report", "--json")
    assert done.code == 0, done.err
    assert done.json["report"] == moot("report", "r", "--store", "s.db", "--json").json
    counted = [one for one in lines if one["in_paper"] and one["final_probs"]]
    settings = {one["setting"]: one for one in done.json["report"]["settings"]}
    assert sum(one["n"] for one in settings.values()) == len(counted)
    for name in {one["setting"] for one in counted}:
        own = [one for one in counted if one["setting"] == name]
        right = [round(one["final_probs"][one["gold"]], 6) for one in own]
        found = settings[name]
        assert (found["n"], found["correct"]) == (len(own), sum(p > 0.5 for p in right))
        gaps = [0.0] * 10
        for p in right:
            sure = max(p, 1 - p)
            score = 0.5 if p == 0.5 else float(p > 0.5)
            gaps[min(int(round(sure * 10, 5)), 9)] += score - sure
        assert found["ece"] == pytest.approx(sum(map(abs, gaps)) / len(own), abs=1e-9)
        went_on = [one["num_continues"] for one in own]
        assert found["mean_continues"] == pytest.approx(np.mean(went_on), abs=1e-9)
        rewards = [one["judge_reward"] for one in own]
        assert found["mean_reward"] == pytest.approx(np.mean(rewards), abs=1e-6)
    assert_same_units(done.json["report"]["comparison"], expected(lines))
    said = moot("import", "nyu", *files, "--store", "s.db", "--name", "r", "--report")
    table = moot("report", "r", "--store", "s.db").out
    assert table in said.out
    assert "next:" not in said.err


def assert_same_units(found: dict[str, Any], wanted: dict[str, Any]) -> None:
    """The figures of a comparison that need no question in common."""
    for name in ("difference", "p", "p_yates"):
        assert found[name] == pytest.approx(wanted[name], abs=1e-9)
    assert (found["n"], found["questions"]) == (wanted["n"], wanted["questions"])


def test_people_read_what_each_interval_allows_for(here) -> None:
    reported(sessions())
    said = " ".join(moot("report", "r", "--store", "s.db").out.split())
    for part in (
        "human_debate less human_consultancy, in points:",
        "with Yates' correction",
        "10,000 resamples, seed 0, no correction for few judges",
        "degrees of freedom",
        "small-sample correction G / (G - 1)",
        "questions have both",
        SETTINGS[-1],
    ):
        assert part in said


def test_without_both_settings_there_is_nothing_to_compare(here) -> None:
    lines = [one for one in sessions() if one["setting"] != SIDES[1]]
    assert reported(lines)["comparison"] is None
    assert "less human_consultancy" not in moot("report", "r", "--store", "s.db").out


def test_without_a_common_question_nothing_is_paired(here) -> None:
    found = reported(read_packed("nyu_sessions"))["comparison"]
    assert found["n"] == [2, 2]
    assert (found["questions_with_both"], found["paired"]) == (0, None)
    said = " ".join(moot("report", "r", "--store", "s.db").out.split())
    assert "0 of 4 questions have both." in said


def test_one_judge_is_told_as_no_interval(here) -> None:
    lines = [{**one, "judge": "Judy"} for one in sessions()]
    found = reported(lines)["comparison"]
    assert found["two_way"]["interval"] is None
    assert found["by_judge"]["interval"] is None
    assert "Judges resampled: no interval" in moot("report", "r", "--store", "s.db").out
