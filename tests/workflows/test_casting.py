from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from protocols.errors import Mistake
from protocols.profile import PROFILE
from tests.workflows.making import DATA, make, recorded_row, write_lines
from workflows.checking.checks import check_workflow, workflow_warnings
from workflows.questions.data_files import load_inputs
from workflows.running.casting import Casting, run_spec
from workflows.settings.configuration import load_workflow

DEMO = (
    "Mixtral-8x7B-Instruct-v0.1",
    "mathstral-7B",
    "Meta-Llama-3_1-8B-Instruct",
    "Phi-3-mini-4k-instruct",
    "Yi-34B",
    "Qwen1.5-72B-Chat",
    "jamba-1.5-large",
)


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    """Questions by good, bad and mute; a profile by good, bad and other, on which bad is best."""
    answers = {"good": "A", "bad": "B", "other": "A"}
    return {
        "questions": write_lines(tmp_path / "q.jsonl", [recorded_row(i) for i in range(4)]),
        "profile": write_lines(
            tmp_path / "p.jsonl", [recorded_row(i, answers=answers) for i in range(10, 14)]
        ),
        "own": write_lines(
            tmp_path / "o.jsonl",
            [{"id": i, "text": "x", "options": ["a", "b", "c"], "gold": "A"} for i in range(3)],
        ),
    }


def skills(files: dict[str, str], **fields: Any) -> dict[str, Any]:
    return {
        "questions": {"path": files["questions"]},
        "profile": {"path": files["profile"]},
        "protocols": [{"kind": "symbolic_moe"}, {"kind": "plurality"}],
        **fields,
    }


def test_the_pool_is_by_default_what_is_recorded_in_both_files(files: dict[str, str]) -> None:
    workflow, inputs = make(skills(files))
    casting = Casting(workflow, inputs)
    assert casting.pool == ("bad", "good")
    assert check_workflow(workflow, inputs) == []
    assert Casting(*make(skills(files, profile=None))).pool == ("bad", "good", "mute")


def test_the_run_of_recorded_experts(files: dict[str, str]) -> None:
    spec = run_spec(*make(skills(files, pool=["good", "bad"]), "skills.yaml"))
    assert [entry.name for entry in spec.entries] == ["symbolic_moe", "plurality"]
    for entry in spec.entries:
        assert [member.expert for member in entry.cast.members["solver"]] == ["good", "bad"]
        assert set(entry.cast.assets) == {PROFILE}
        assert entry.cast.readers == {"solver"}
    assert [expert.model for expert in spec.experts] == ["recorded/t/good", "recorded/t/bad"]
    assert all(expert.data == files["questions"] for expert in spec.experts)
    assert spec.name.startswith("skills-")
    key = spec.answer_key
    assert key is not None
    assert key["best_single"] == "bad"  # on other questions
    assert set(key["singles"]) == {"good", "bad"}
    assert "gold" not in str(spec.questions)


def test_labels_of_ones_own_for_recorded_experts(files: dict[str, str]) -> None:
    experts = {"top": {"model": "recorded/t/good", "data": files["questions"]}}
    data = skills(files, pool=["top"], experts=experts, profile=None)
    data["protocols"] = [{"kind": "plurality"}]
    spec = run_spec(*make(data))
    assert spec.answer_key is not None
    assert list(spec.answer_key["singles"]) == ["top"]


def test_offline_oversight_casts() -> None:
    workflow = load_workflow("oversight")
    spec = run_spec(workflow, load_inputs(workflow))
    entries = {entry.name: entry for entry in spec.entries}
    direct, debate = entries["direct_answer"], entries["debate"]
    assert entries["with_passage"].cast.readers == {"judge"}
    assert len(entries["debate_swapped"].cast.members["debater"]) == 2
    assert direct.cast.readers == frozenset()
    assert debate.cast.readers == {"debater"}
    assert debate.cast.members["judge"] == direct.cast.members["judge"]
    assert {expert.label for expert in spec.experts} == {"arguer", "rival", "judge"}


def test_the_library_is_sound() -> None:
    for name in ("skills", "oversight", "starter"):
        workflow = load_workflow(name)
        inputs = load_inputs(workflow)
        assert check_workflow(workflow, inputs) == []
        assert workflow_warnings(workflow, inputs) == []
    assert load_workflow("skills").pool == DEMO


JUDGE = {"judge": "offline/lexical-judge"}


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"pool": ["good", "godd"]}, "pool: no expert 'godd' in the roster; did you mean 'good'?"),
        ({"pool": ["good", "godd"]}, "; pool=null takes all recorded models"),
        ({"pool": ["good", "mute"]}, "the profile p.jsonl has no answers of 'mute'"),
        ({"pool": ["good", "good"]}, "recorded/t/good sits twice"),
        ({"pool": []}, "nobody is cast as 'solver'"),
        ({"profile": None}, "protocols[0] (symbolic_moe): needs a skill profile"),
        ({"cast": {"solver": ["bad", "worse"]}}, "cast.solver: no expert 'worse'"),
        ({"cast": {"solve": "bad"}}, "cast.solve: no protocol here has that role; did you mean"),
        (
            {"protocols": [{"kind": "plurality", "cast": {"judge": "bad"}}]},
            "protocols[0].cast.judge: plurality has no such role",
        ),
        (
            {"protocols": [{"kind": "self_consistency"}], "cast": {"solver": "good"}},
            "'solver' asks the same expert more than once",
        ),
        (
            {"protocols": [{"kind": "direct_answer", "orders": 2}], "cast": {"judge": "good"}},
            "'judge' asks the same expert more than once",
        ),
        ({"protocols": [{"kind": "direct_answer"}]}, "nobody is cast as 'judge'"),
        (
            {"protocols": [{"kind": "direct_answer"}], "cast": {"judge": "pool"}},
            "cast.judge: holds one expert, not 2",
        ),
        (
            {"protocols": [{"kind": "direct_answer"}], "cast": {"judge": "human/x"}},
            "cast.judge: not built yet",
        ),
        (
            {"protocols": [{"kind": "direct_answer"}], "cast": {"judge": "offline/judge"}},
            "cast.judge: no engine 'offline/judge'",
        ),
        (
            {
                "protocols": [{"kind": "debate"}],
                "cast": {**JUDGE, "debater": "offline/quote-debater"},
            },
            "debate needs two options, question 't/0' has 3",
        ),
        (
            {"protocols": [{"kind": "symbolic_moe", "aggregate": "model"}]},
            "nobody is cast as 'aggregator'",
        ),
    ],
)
def test_problems_are_one_line_each(
    files: dict[str, str], fields: dict[str, Any], says: str
) -> None:
    workflow, inputs = make(skills(files, **fields))
    problems = check_workflow(workflow, inputs)
    assert any(says in problem for problem in problems), problems
    assert all("\n" not in problem for problem in problems)
    with pytest.raises(Mistake):
        run_spec(workflow, inputs)


def test_no_model_in_both_files(files: dict[str, str], tmp_path: Path) -> None:
    other = write_lines(tmp_path / "x.jsonl", [recorded_row(9, answers={"nobody": "A"})])
    workflow, inputs = make(skills(files, profile={"path": other}))
    assert "no model is recorded in both files" in check_workflow(workflow, inputs)[0]


def test_a_pair_has_no_recorded_answers(files: dict[str, str]) -> None:
    data = skills(files, questions={"path": files["questions"], "pair": True}, pool=["good"])
    problems = check_workflow(*make(data))
    assert any("pool: no expert 'good'" in problem for problem in problems)
    assert not any("pool=null" in problem for problem in problems)


def test_pairs_can_be_debated(files: dict[str, str]) -> None:
    data: dict[str, Any] = {
        "questions": {"path": files["own"], "pair": True},
        "protocols": [{"kind": "debate"}],
        "cast": {**JUDGE, "debater": "offline/quote-debater"},
    }
    workflow, inputs = make(data)
    assert check_workflow(workflow, inputs) == []
    data["cast"] = {**JUDGE, "debater": {"experts": "offline/quote-debater", "reads_passage": True}}
    assert workflow_warnings(*make(data)) == [
        "cast.debater: reads_passage has no effect, no question has a passage"
    ]


def test_one_expert_fills_a_role_without_being_cast(files: dict[str, str]) -> None:
    data = {
        "questions": {"path": files["own"]},
        "experts": {"only": "scripted/echo"},
        "protocols": [{"kind": "direct_answer"}, {"kind": "self_consistency"}],
    }
    spec = run_spec(*make(data))
    assert [
        entry.cast.role(role)[0].expert
        for entry, role in zip(spec.entries, ("judge", "solver"), strict=True)
    ] == ["only", "only"]


def test_correctness_only_is_warned_about() -> None:
    path = str(DATA / "llmrouter9.jsonl.gz")
    data = {"questions": {"path": path}, "profile": {"path": path}}
    workflow, inputs = make({**data, "protocols": [{"kind": "symbolic_moe", "k": 1}], "repeats": 2})
    assert check_workflow(workflow, inputs) == []
    warnings = workflow_warnings(workflow, inputs)
    assert any("records whether experts were right" in warning for warning in warnings)
    assert any(warning.startswith("repeats:") for warning in warnings)
