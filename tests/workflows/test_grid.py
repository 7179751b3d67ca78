"""A grid of casts: in a workflow, from Python and from the command line."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from orchestrator.store import Store
from protocols.errors import Mistake
from tests.workflows.terminal import moot
from workflows import compare, replay
from workflows.checking.checks import check_workflow
from workflows.questions.data_files import load_inputs
from workflows.settings.configuration import Workflow

EXPERTS: dict[str, Any] = dict.fromkeys(("d", "e"), "scripted/echo") | {
    "a": "scripted/voter",
    "b": {"model": "scripted/constant", "options": {"text": "Answer: A"}},
}
QUESTIONS = {"path": "moot:nyu_passages", "limit": 4}
DEBATE = {"kind": "debate", "rounds": 2}
DIRECT = {"kind": "direct_answer"}
GRID = {"judge": ["a", "b"], "debater": ["d", "e"]}


def workflow(casts: Any = GRID, *protocols: Any, **more: Any) -> Workflow:
    data = {"questions": QUESTIONS, "experts": EXPERTS, "protocols": list(protocols or [DEBATE])}
    return Workflow.from_mapping({**data, "casts": casts, **more})


def names(found: Workflow) -> list[str]:
    return [spec.name or spec.kind for spec in found.protocols]


def test_every_combination_has_a_name() -> None:
    assert names(workflow(GRID, DEBATE, DIRECT)) == [
        "debate[judge=a,debater=d]",
        "debate[judge=a,debater=e]",
        "debate[judge=b,debater=d]",
        "debate[judge=b,debater=e]",
        "direct_answer[judge=a]",
        "direct_answer[judge=b]",
    ]


@pytest.mark.parametrize(
    ("casts", "protocol", "told"),
    [
        ({"judge": "a", "debater": ["d", "e"]}, DEBATE, ["debate[debater=d]", "debate[debater=e]"]),
        ({"judge": "a", "debater": "d"}, DEBATE, ["debate"]),
        ({"judge": ["a", "b"]}, {**DEBATE, "cast": {"judge": "b"}}, ["debate"]),
        (
            {"debater": [["d", "e"], "d"]},
            {**DEBATE, "name": "x"},
            ["x[debater=d+e]", "x[debater=d]"],
        ),
        (
            {"judge": ["a", {"experts": "a", "reads_passage": True}]},
            DIRECT,
            ["direct_answer[judge=a]", "direct_answer[judge=a with passage]"],
        ),
        ({"judge": ["a", "b"]}, {"kind": "plurality"}, ["plurality"]),
        ({}, DEBATE, ["debate"]),
    ],
    ids=["one choice", "one of each", "own cast", "several seats", "passage", "no such role", "no"],
)
def test_what_varies_is_named_and_nothing_else(casts: Any, protocol: Any, told: list[str]) -> None:
    assert names(workflow(casts, protocol)) == told


@pytest.mark.parametrize(
    ("casts", "more", "message"),
    [
        (["a"], {}, "casts: not a mapping"),
        ({"judge": []}, {}, "casts.judge: names nobody"),
        ({"judge": ["a", "a"]}, {}, "casts.judge: names 'a' twice"),
        ({"judge": ["a", "b"]}, {"cast": {"judge": "a"}}, "stands under cast too"),
        ({"judge": [{"expert": "a"}]}, {}, r"casts.judge\[0\]"),
        ({"judge": ["a", "b"]}, {"crossplay": {"debaters": ["d", "e"]}}, "a cross-play casts"),
    ],
)
def test_a_grid_that_cannot_be_is_said_in_a_line(casts: Any, more: Any, message: str) -> None:
    with pytest.raises(Mistake, match=message):
        workflow(casts, **more)


def test_a_role_that_nobody_has_is_a_problem() -> None:
    found = workflow({"jugde": ["a", "b"]}, cast={"judge": "a", "debater": "d"})
    (problem,) = check_workflow(found, load_inputs(found))
    assert "casts.jugde: no protocol here has that role" in problem
    assert "judge" in problem


def test_the_resolved_configuration_is_as_it_was_written() -> None:
    first = workflow(GRID, {**DEBATE, "name": "x"}, DIRECT).resolved()
    assert [one["name"] for one in first["protocols"]] == ["x", "direct_answer"]
    assert all(not one["cast"] for one in first["protocols"])
    again = Workflow.from_mapping(first)
    assert again.resolved() == {**first, "store": again.resolved()["store"]}
    assert names(again) == names(workflow(GRID, {**DEBATE, "name": "x"}, DIRECT))


def test_python_compares_a_grid_and_asks_each_debater_once(tmp_path: Path) -> None:
    store = str(tmp_path / "g.db")
    found = compare([DIRECT, DEBATE], QUESTIONS, EXPERTS, casts=GRID, store=store, name="g")
    assert found.ending == "finished"
    protocols = [row for row in found.rows if row.kind == "protocol"]
    assert len(protocols) == 6
    made: Counter[str] = Counter()
    with Store.read(store) as opened:
        (run,) = opened.runs()
        rows = {row.id: row for row in opened.sessions(run.id)}
        asks = {(a["session"], a["turn"], a["slot"]): a for a in opened.ask_rows([*rows])}
        for reply in opened.reply_rows([*rows]):
            ask = asks[reply["session"], reply["turn"], reply["slot"]]
            made[ask["role"]] += reply["source"] is None
    assert made["debater"] == 4 * 2 * 4, "questions, debaters, speeches"
    assert made["judge"] == 4 * (4 * 2 + 2), "questions, four debates of two orders, two alone"
    spends = found.comparison.spends()
    one = [spends[f"debate[judge={judge},debater=d]"].a_question for judge in "ab"]
    assert one[0] is not None
    assert one[1] is not None
    assert one[0].calls == one[1].calls == 6, "stand-alone: what is shared counts for both"
    assert one[0].prompt == one[1].prompt
    assert found.progress.attempts == sum(made.values())
    assert replay("g", store=store).identical == len(rows)
    page = found.report(tmp_path / "g.html").read_text(encoding="utf-8")
    assert "debate[judge=a,debater=d]" in page


def test_the_command_line_takes_a_grid(tmp_path: Path) -> None:
    file = tmp_path / "w.yaml"
    data = {
        "questions": QUESTIONS,
        "experts": EXPERTS,
        "cast": {"debater": "d", "judge": "a"},
        "protocols": [DEBATE],
        "store": str(tmp_path / "w.db"),
    }
    file.write_text(json.dumps(data))
    done = moot("compare", str(file), "--casts", "judge=a,b", "--casts", "debater=d,e", "--json")
    assert done.code == 0, done.err
    told = [row["name"] for row in done.json["rows"] if row["kind"] == "protocol"]
    assert told == names(workflow())
    file.write_text(json.dumps({**data, "cast": {}, "casts": GRID}))
    one = moot("run", str(file), "--cast", "judge=b", "--json")
    assert one.code == 0, one.err
    told = [row["name"] for row in one.json["rows"] if row["kind"] == "protocol"]
    assert told == ["debate[debater=d]", "debate[debater=e]"]
    counted = moot("estimate", str(file))
    assert "differ only in the judge share what is said" in counted.out
    wrong = moot("compare", str(file), "--casts", "judge")
    assert wrong.code == 2
    assert "write ROLE=EXPERT,EXPERT" in wrong.message
