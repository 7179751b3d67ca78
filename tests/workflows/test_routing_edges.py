"""All rules of the library where there is little to go by, through the command and its table."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.workflows.making import recorded_row, write_lines
from tests.workflows.terminal import moot
from workflows.settings.configuration import load_workflow

NAMES = [spec.name or spec.kind for spec in load_workflow("routing").protocols]
CHANCE = {"random_expert", "symbolic_moe", "symbolic_moe_trimmed"}
"""Rules that draw lots."""
POOL = ("ann", "bob", "cat")
Answers = Mapping[str, str | None]


def questions(name: str, first: int, answers: Any, **fields: Any) -> str:
    """Write ten questions; B is right."""
    rows = []
    for number in range(first, first + 10):
        category = ("law", "art")[number % 2]
        more = {"category": category, "subject": "", "answers": answers(number), **fields}
        rows.append(recorded_row(number, **more))
    return write_lines(Path(name), rows)


def each(answer: str | None) -> Any:
    return lambda number: dict.fromkeys(POOL, answer)


def usual(number: int) -> Answers:
    """Ann is right on law, bob on art, cat on a third."""
    right = {"ann": number % 2 == 0, "bob": number % 2 == 1, "cat": number % 3 == 0}
    return {expert: "B" if right[expert] else "A" for expert in POOL}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    questions("learn.jsonl", 100, usual)
    questions("judge.jsonl", 0, usual)


def routed(pool: tuple[str, ...] = POOL, profile: str = "learn.jsonl") -> tuple[Any, str]:
    """Run the library's workflow; returns its rows by name, and what was said."""
    done = moot(
        *("run", "routing", "--set", "questions.path=judge.jsonl"),
        *("--set", f"profile.path={profile}", "--set", f"pool={json.dumps(list(pool))}", "--json"),
    )
    assert done.code == 0, done.err
    assert "Traceback" not in done.err
    rows = {row["name"]: row for row in done.json["rows"]}
    assert [name for name in rows if name in NAMES] == NAMES
    return rows, done.err


def told(*flags: str) -> str:
    done = moot("report", "routing", *flags)
    assert done.code == 0, done.err
    return done.out


def test_a_pool_of_one_is_that_expert_under_every_rule() -> None:
    rows, _ = routed(("ann",))
    for name in (*NAMES, "best_single", "random", "oracle"):
        assert rows[name]["accuracy"] == 0.5, name
        assert rows[name]["calls"] == 10, name
    assert [name for name in rows if rows[name]["selected"]] == ["best_expert"]
    assert rows["best_expert"]["diff_plurality"]["mean"] == 0.0
    said = " ".join(told().split())
    assert "does not pay against the best single expert: +0.0 points" in said
    assert "\N{MINUS SIGN}0.0" not in said


def test_an_empty_profile_makes_all_equal_and_selects_nothing() -> None:
    assert moot("experts", "profile", "--questions", "learn.jsonl", "--out", "p.json").code == 0
    data = json.loads(Path("p.json").read_text(encoding="utf-8"))
    data["evidence"] |= {"questions": [], "answers": {}, "cost": {}, "cost_unit": ""}
    data["evidence"]["right"] = dict.fromkeys(POOL, "")
    Path("empty.json").write_text(json.dumps(data), encoding="utf-8")
    rows, said = routed(profile="empty.json")
    assert "empty.json measured the pool on no question: to the rules all experts" in said
    assert not any(row["selected"] for row in rows.values())
    assert all(row["cross_validated"] is None for row in rows.values())
    assert all(rows[name]["failed"] == 0 for name in NAMES)
    alone = [n for n in NAMES if rows[n]["calls"] == 10 and n not in CHANCE]
    assert {rows[name]["accuracy"] for name in alone} == {0.5}, "ann, the first by name"
    assert len(alone) >= 10


def test_questions_without_skills_are_routed_by_what_else_is_known() -> None:
    questions("judge.jsonl", 0, usual, category="", subject="")
    rows, _ = routed()
    assert all(rows[name]["n"] == 10 for name in NAMES)
    assert all(rows[name]["failed"] == 0 for name in NAMES)
    assert rows["task_best"]["accuracy"] == rows["best_expert"]["accuracy"]
    session = moot("show", "routing", "--json").json["sessions"]
    ids = [str(one["session"]) for one in session if one["protocol"] == "skill_best"]
    shown = " ".join(moot("show", "routing", ids[0]).out.split())
    assert "recruited by symbolic_moe: " in shown, "for no skill"


def with_failing(answers: Any, answer: str | None = None, *, absent: bool = False) -> Any:
    def given(number: int) -> Answers:
        found = {**answers(number), "cat": answer}
        if absent and number % 10:  # one row must name the model, or the file does not know it
            found.pop("cat")
        return found

    return given


def test_an_expert_that_fails_on_everything_is_not_taken_by_what_was_measured() -> None:
    questions("learn.jsonl", 100, with_failing(usual))
    questions("judge.jsonl", 0, with_failing(usual))
    rows, _ = routed()
    report = moot("report", "routing", "--json").json["routing"]["rules"]
    load = {one["name"]: one["load"] for one in report}
    for name in ("best_expert", "task_best", "predicted_quality", "irt", "skill_best", "subset"):
        assert "cat" not in load[name], name
    assert load["random_expert"]["cat"] > 0.0
    assert rows["random"]["unparsed"] == pytest.approx(10 / 3)
    assert all(rows[name]["failed"] == 0 for name in NAMES), "unread is wrong, not missing"
    assert rows["task_best"]["accuracy"] == 1.0


def test_an_expert_whose_answers_are_missing_loses_questions_and_no_accuracy() -> None:
    questions("judge.jsonl", 0, with_failing(usual, absent=True))
    rows, _ = routed()
    lost = rows["random_expert"]
    assert lost["failed"] > 0
    assert lost["n"] == 10 - lost["failed"]
    assert rows["plurality"]["n"] == 10
    assert "cannot be told to pay or not" in " ".join(told().split())


@pytest.mark.parametrize("answer", ["B", "A", None])
def test_where_all_are_equal_ties_go_by_name(answer: str | None) -> None:
    questions("learn.jsonl", 100, each(answer))
    rows, _ = routed()
    found = {n for n in NAMES if rows[n]["calls"] == 10 and n not in (*CHANCE, "cascade")}
    report = moot("report", "routing", "--json").json["routing"]["rules"]
    load = {one["name"]: one["load"] for one in report}
    for name in sorted(found - {"plurality"}):
        assert load[name] == {"ann": 1.0}, name
    assert sum(row["selected"] for row in rows.values()) == 1
    again, _ = routed()
    assert {n: again[n]["accuracy"] for n in NAMES} == {n: rows[n]["accuracy"] for n in NAMES}
