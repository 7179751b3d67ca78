"""A bench, chosen aggregators and a memory from what is finished: by the commands, end to end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from protocols.evidence import Evidence, EvidenceQuestion
from tests.workflows.making import recorded_row, write_lines
from tests.workflows.terminal import moot
from workflows.settings.learned import bench_of

ANSWERS = {"one": "B", "two": "A", "three": "C"}
"""B is right."""
RULE = "symbolic_moe"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def questions(name: str, *numbers: int, **fields: Any) -> str:
    rows = [
        recorded_row(
            n, **{"answers": ANSWERS, "category": "even" if n % 2 == 0 else "odd"} | fields
        )
        for n in numbers
    ]
    return write_lines(Path(name), rows)


def constant(text: str) -> dict[str, Any]:
    return {"model": "scripted/constant", "options": {"text": text}}


def write(name: str, **data: Any) -> str:
    Path(name).write_text(yaml.safe_dump(data, sort_keys=False), encoding="utf-8")
    return name


def ran(*arguments: str) -> Any:
    done = moot(*arguments)
    assert done.code == 0, done.err
    return done


def read(path: str) -> Any:
    return json.loads(Path(path).read_text(encoding="utf-8"))


def bench_workflow(**more: Any) -> str:
    """Two candidates: b is always right, c never."""
    rows = [
        {"kind": "aggregator_bench", "name": name, "cast": {"aggregator": name}} for name in "bc"
    ]
    experts = {name: constant(f"Answer: {name.upper()}") for name in "bc"}
    return write(
        "try.yaml",
        questions={"path": "bench.jsonl"},
        assets={"bench": "bench.json"},
        experts=experts,
        protocols=rows,
        **more,
    )


def test_from_recorded_answers_to_a_chosen_aggregator() -> None:
    questions("learn.jsonl", *range(12))
    told = ran("experts", "bench", "learn.jsonl", "--out", "bench.json", "--questions", "b.jsonl")
    assert "12 questions in bench.json" in told.err
    Path("b.jsonl").rename("bench.jsonl")
    assert read("bench.json")["t/1"] == ["Answer: A", "Answer: B", "Answer: C"]
    rows = ran("run", bench_workflow(), "--json").json["rows"]
    assert {row["name"]: row["accuracy"] for row in rows if row["kind"] == "protocol"} == {
        "b": 1.0,
        "c": 0.0,
    }
    chosen = ran("experts", "aggregators", "try", "--per", "task", "--out", "aggregators.json")
    assert "all questions: b" in chosen.err
    assert read("aggregators.json")["chosen"] == {"": "b", "even": "b", "odd": "b"}
    assert ran("experts", "aggregators", "try").json["chosen"] == {"": "b"}
    assert ran("experts", "aggregators", "try", "--per", "task", "--least", "7").json["chosen"] == {
        "": "b"
    }

    questions("judge.jsonl", *range(20, 24))
    experts = {name: constant(f"Answer: {name.upper()}") for name in "bc"}
    rule = {"kind": RULE, "aggregate": "chosen", "cast": {"aggregator": ["b", "c"]}}
    data: dict[str, Any] = {
        "questions": {"path": "judge.jsonl"},
        "profile": {"path": "learn.jsonl"},
        "assets": {"aggregators": "aggregators.json"},
        "experts": experts,
        "pool": ["two", "three"],
        "protocols": [rule],
    }
    rows = ran("run", write("use.yaml", **data), "--json").json["rows"]
    assert {r["name"]: r["accuracy"] for r in rows}[RULE] == 1.0, "it was b that aggregated"
    rule["cast"] = {"aggregator": ["c"]}
    refused = moot("validate", write("use.yaml", **data))
    assert refused.code == 2
    assert "'aggregators' chooses 'b', who is not cast as 'aggregator'" in refused.message


def test_a_bench_shows_what_was_written_where_that_is_known() -> None:
    questions("learn.jsonl", 1, 2)
    lines = [{"id": "t/1", "model": m, "text": f"So: {m}.\nAnswer: X"} for m in ANSWERS]
    texts = write_lines(Path("texts.jsonl"), lines)
    made = ran("experts", "bench", "learn.jsonl", "--texts", texts).json
    assert made["t/1"] == sorted(f"So: {m}.\nAnswer: X" for m in ANSWERS)
    assert made["t/2"] == ["Answer: A", "Answer: B", "Answer: C"]


def test_a_bench_of_a_run_whether_it_was_measured_or_not() -> None:
    questions("learn.jsonl", *range(4))
    plain = write(
        "vote.yaml",
        questions={"path": "learn.jsonl"},
        pool=list(ANSWERS),
        protocols=[{"kind": "plurality"}],
    )
    ran("run", plain)
    ran("experts", "profile", "--questions", "learn.jsonl", "--out", "p.json", "--json")
    by_file = ran("experts", "bench", "learn.jsonl").json
    assert len(by_file) == 4
    for source in ("vote", "experts", "p.json"):
        assert ran("experts", "bench", source).json == by_file, source


def test_questions_that_the_bench_lacks_are_named_before_anything_is_asked() -> None:
    questions("learn.jsonl", 1, 2)
    ran("experts", "bench", "learn.jsonl", "--out", "bench.json")
    questions("bench.jsonl", 1, 2, 3, 4)
    refused = moot("run", bench_workflow())
    assert refused.code == 2
    assert "needs 3 answers to question 't/3'" in refused.err
    assert "--questions writes those that it holds" in refused.err
    assert "(and 1 more)" in refused.err


def test_a_gold_answer_is_written_so_that_it_means_one_option() -> None:
    for options, gold, written in (
        (("A", "B", "C"), "B", "B"),
        (("B", "A", "x"), "A", "0"),
        (("p, q", "B", "B and C"), "A", "A"),
        (("B", "p", "C"), "B", "p"),
    ):
        question = EvidenceQuestion(id="q", text="?", options=options)
        others = [label for label in "ABC" if label != gold]
        evidence = Evidence(
            questions=(question,),
            right={"x": "1", "y": "0", "z": "0"},
            answers={"x": (gold,), "y": (others[0],), "z": (others[1],)},
        )
        (row,) = bench_of(evidence).questions
        assert row["gold"] == written
        write_lines(Path("b.jsonl"), [row])
        loaded = ran(
            "validate",
            write(
                "v.yaml",
                questions={"path": "b.jsonl"},
                protocols=[{"kind": "plurality", "cast": {"solver": "x"}}],
                experts={"x": constant("Answer: A")},
            ),
        )
        assert "good; 1 question" in loaded.out + loaded.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("bench", "none.jsonl"), "none.jsonl: no such file"),
        (("bench", "none"), "none"),
        (("bench", "alike.jsonl"), "no question with one right and two wrong recorded answers"),
        (("bench", "flags.jsonl"), "no question with one right and two wrong recorded answers"),
        (("bench", "learn.jsonl", "--texts", "bad.jsonl"), "needs 'id', 'model' and 'text'"),
        (("bench", "learn.jsonl", "--out", "no/where.json"), "no/where.json: cannot be written"),
        (("aggregators", "vote"), "run vote"),
        (("memory", "vote"), "no session tells a scored solution to remember"),
        (("memory", "vote", "--add", "learn.jsonl"), "is no memory; moot experts memory writes"),
        (("memory", "vote", "--add", "other.json"), "other.json: the memory cannot be read at"),
    ],
)
def test_what_is_wrong_in_one_line(arguments: tuple[str, ...], said: str) -> None:
    questions("learn.jsonl", 1, 2)
    questions("alike.jsonl", 1, answers=dict.fromkeys(ANSWERS, "B"))
    questions("flags.jsonl", 1, answers=None, correct=dict.fromkeys(ANSWERS, 1))
    write_lines(Path("bad.jsonl"), [{"id": 1}])
    Path("other.json").write_text('{"entries": 3}')
    ran(
        "run",
        write("vote.yaml", questions={"path": "learn.jsonl"}, protocols=[{"kind": "plurality"}]),
    )
    done = moot("experts", *arguments)
    assert done.code == 2
    assert said in done.message


def xolver(**more: Any) -> str:
    judge = {"model": "scripted/constant", "options": {"text": "Well.\nScore: 7"}}
    return write(
        "solve.yaml",
        experts={"s": constant("Six.\nAnswer: B"), "j": judge},
        protocols=[{"kind": "xolver", "agents": 2, "cast": {"solver": "s", "judge": "j"}}],
        **more,
    )


def test_what_a_run_found_is_remembered_by_the_next_one() -> None:
    questions("first.jsonl", 1, 2)
    ran("run", xolver(questions={"path": "first.jsonl"}, assets={"memory": {"entries": []}}))
    assert (
        "2 problems in memory.json" in ran("experts", "memory", "solve", "--out", "memory.json").err
    )
    kept = read("memory.json")["entries"]
    assert [(one["answer"], one["score"]) for one in kept] == [("B", 7.0), ("B", 7.0)]
    questions("second.jsonl", 3)
    second = xolver(questions={"path": "second.jsonl"}, assets={"memory": "memory.json"})
    name = ran("run", second, "--json").json["name"]
    assert name != "solve"
    exported = ran("show", name, "--question", "t/3", "--json").out
    assert "Which is 1?" in exported, "the past problem stands in the prompts"
    grown = ran("experts", "memory", name, "--add", "memory.json").json["entries"]
    assert grown[:2] == kept
    assert len(grown) == 3
    few = ran("experts", "memory", name, "--add", "memory.json", "--most", "1").json["entries"]
    assert few == kept[:1], "equal scores: the older one stays"


@pytest.mark.parametrize(
    ("assets", "said"),
    [
        ({"memory": {"entries": 3}}, "assets.memory: the memory cannot be read at entries"),
        ({"memory": "none.json"}, "no such file"),
        (None, "reads the asset 'memory'"),
    ],
)
def test_a_memory_that_is_none_is_refused_first(assets: Any, said: str) -> None:
    questions("first.jsonl", 1)
    done = moot("validate", xolver(questions={"path": "first.jsonl"}, assets=assets))
    assert done.code == 2
    assert said in done.err
