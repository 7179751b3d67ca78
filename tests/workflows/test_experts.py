"""``moot experts``: measured by an ordinary run, kept, added to, exported, shown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from agents.profile_file import read_measured
from orchestrator.store import Store
from tests.workflows.making import recorded_row, write_lines
from tests.workflows.terminal import moot
from workflows.recruiting.profiling import stored_profile

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def questions(*numbers: int, name: str = "q.jsonl", **fields: Any) -> str:
    rows = [recorded_row(n, category="even" if n % 2 == 0 else "odd", **fields) for n in numbers]
    return write_lines(Path(name), rows)


def measure(*flags: str) -> Any:
    done = moot("experts", "profile", *flags, "--json")
    assert done.code == 0, done.err
    return done.json


def by_name(told: Any) -> dict[str, Any]:
    return {line["expert"]: line for line in told["experts"]}


def scripted(text: str) -> dict[str, Any]:
    return {"model": "scripted/constant", "options": {"text": text}}


def write_workflow(**more: Any) -> None:
    """Write a workflow whose expert ``broken`` has no answer to any of its questions."""
    questions(99, name="elsewhere.jsonl")
    data = {
        "questions": {"path": "q.jsonl"},
        "experts": {
            "b": scripted("Answer: B"),
            "a": scripted("Answer: A"),
            "namer": scripted("Skills: law, logic\nAnswer: B"),
            "mumbler": scripted("Well."),
            "broken": {"model": "recorded/t/good", "data": "elsewhere.jsonl"},
        },
        "pool": ["a", "b"],
        "protocols": [{"kind": "plurality"}],
        **more,
    }
    Path("w.yaml").write_text(yaml.safe_dump(data), encoding="utf-8")


def test_every_expert_is_measured_and_graded():
    told = measure("--questions", questions(1, 2, 3), "--out", "p.json")
    good, bad, mute = (by_name(told)[name] for name in ("good", "bad", "mute"))
    assert (good["right"], good["asked"], good["competency"]) == (3, 3, 6)
    assert good["skills"]["odd"] == {"score": 2, "asked": 2, "right": 2}
    assert (bad["accuracy"], mute["accuracy"]) == (0, 0)  # what cannot be read is wrong
    assert told["price"]["calls"] == told["price"]["exam_calls"] == 9
    assert told["price"]["bench_calls"] == 9
    assert told["price"]["usd"] == 0
    assert by_name(told) == by_name(moot("experts", "show", "p.json", "--json").json)
    assert by_name(told) == by_name(moot("experts", "show", "--json").json)


def test_it_is_a_run_that_resumes_and_replays():
    questions(1, 2, 3)
    told = measure("--questions", "q.jsonl")
    again = moot("experts", "profile", "--questions", "q.jsonl", "--json")
    assert "all 9 sessions are kept" in again.err
    assert again.json["experts"] == told["experts"]
    replayed = moot("replay", told["profile"], "--json")
    assert replayed.code == 0
    assert replayed.json["identical"] == 9


def test_another_expert_asks_only_what_is_new():
    questions(1, 2, 3)
    flags = ("--questions", "q.jsonl", "--pool")
    measure(*flags, "good")
    done = moot("experts", "profile", *flags, "good,bad", "--json")
    assert "3 kept" in done.err.replace("all ", "")
    assert [line["expert"] for line in done.json["experts"]] == ["good", "bad"]


def test_questions_and_experts_are_added_and_none_counts_twice():
    questions(1, 2, 3)
    first = measure("--questions", "q.jsonl", "--pool", "good,bad", "--out", "p.json")
    questions(3, 4, name="more.jsonl")
    flags = ("--questions", "more.jsonl", "--out", "p.json")
    told = measure(*flags, "--pool", "good,mute", "--update", "p.json")
    lines = by_name(told)
    assert (lines["good"]["asked"], lines["bad"]["asked"], lines["mute"]["asked"]) == (4, 3, 2)
    assert told["questions"] == 4
    by_run = measure(*flags, "--pool", "good,mute", "--update", first["profile"])
    assert by_run["experts"] == told["experts"]
    with Store.read("moot.db") as store:
        profile, evidence = stored_profile(store, by_run["profile"])
    assert profile.asked == {"bad": 3, "good": 4, "mute": 2}
    assert evidence == read_measured("p.json").evidence


def test_missing_answers_and_recorded_scores():
    answers = {"good": "B", "bad": "A"}
    rows = [
        recorded_row(1),
        recorded_row(2, answers=answers),
        recorded_row(3, correct={"bad": 1}, answers=answers),
    ]
    write_lines(Path("q.jsonl"), rows)
    lines = by_name(measure("--questions", "q.jsonl"))
    assert (lines["mute"]["asked"], lines["mute"]["right"]) == (1, 0)
    assert (lines["bad"]["asked"], lines["bad"]["right"]) == (3, 1)


def test_only_scores_were_recorded():
    write_lines(
        Path("q.jsonl"),
        [recorded_row(n, answers=None, correct={"good": 1, "bad": n % 2}) for n in (1, 2, 3)],
    )
    lines = by_name(measure("--questions", "q.jsonl"))
    assert (lines["good"]["right"], lines["bad"]["right"]) == (3, 2)


def test_an_expert_that_fails_on_everything_is_told():
    questions(1, 2)
    write_workflow(pool=["b", "broken"])
    told = measure("w.yaml")
    broken = by_name(told)["broken"]
    assert (broken["asked"], broken["accuracy"], broken["skills"]) == (0, None, {})
    assert "broken: failed on every question, so nothing was measured" in told["notes"]
    table = moot("experts", "show").out
    assert "broken" in table


def test_nobody_is_measured():
    questions(1)
    write_workflow(pool=["broken"])
    done = moot("experts", "profile", "w.yaml", "--json")
    assert (done.code, done.out) == (2, "")
    assert "nobody was measured" in done.err


def test_an_expert_names_the_skills():
    questions(1, 2)
    write_workflow()
    told = measure("w.yaml", "--skills", "annotated", "--annotator", "namer")
    assert by_name(told)["b"]["skills"] == {
        skill: {"score": 2, "asked": 2, "right": 2} for skill in ("law", "logic")
    }
    assert told["price"]["annotation_calls"] == 10
    assert told["price"]["exam_calls"] == 4
    assert told["price"]["calls"] == 2 * (5 + 2)  # |V| (5 + E)


def test_the_workflow_may_say_who_names_skills():
    questions(1)
    annotation = {"kind": "annotate_skills", "passes": 2, "cast": {"annotator": "namer"}}
    write_workflow(protocols=[{"kind": "plurality"}, annotation])
    told = measure("w.yaml")
    assert (told["skills_by"], told["price"]["annotation_calls"]) == ("annotated", 2)
    rows = moot("run", "w.yaml", "--json").json["rows"]
    assert "annotate_skills" not in [row["name"] for row in rows]  # it answers nothing


@pytest.mark.parametrize("menu", ["law, tort", "m.yaml"])
def test_an_expert_chooses_from_a_menu(menu):
    questions(1)
    write_workflow()
    Path("m.yaml").write_text("[law, tort]", encoding="utf-8")
    told = measure("w.yaml", "--skills", "menu", "--menu", menu, "--annotator", "namer")
    assert list(by_name(told)["b"]["skills"]) == ["law"]
    assert told["price"]["annotation_calls"] == 1


def test_an_annotator_that_fails_leaves_no_skills():
    questions(1, 2)
    write_workflow()
    told = measure("w.yaml", "--skills", "annotated", "--annotator", "mumbler")
    assert by_name(told)["b"]["skills"] == {}
    assert by_name(told)["b"]["accuracy"] == 1.0
    assert "2 questions have no skill: the annotator named none twice" in told["notes"]
    assert "No question has a skill" in moot("experts", "show").out


def test_the_same_question_twice_counts_once():
    write_lines(Path("q.jsonl"), [recorded_row(1), recorded_row(1, id="t/again")])
    told = measure("--questions", "q.jsonl")
    assert told["questions"] == 1
    assert "1 questions stand there twice and count once" in told["notes"]


def test_skills_from_the_words_and_for_other_questions():
    rows = [recorded_row(n, question=f"The contract number {n} in court") for n in range(4)]
    rows += [recorded_row(n, question=f"The cell number {n} divides") for n in range(4, 8)]
    write_lines(Path("q.jsonl"), rows)
    told = measure("--questions", "q.jsonl", "--skills", "text", "--out", "p.json")
    assert {"contract", "cell", "divides"} <= set(by_name(told)["good"]["skills"])
    write_lines(Path("new.jsonl"), [recorded_row(9, question="A contract and a divided cell")])
    flags = ("--set", "questions.path=new.jsonl", "--like", "p.json", "--out", "s.json")
    assert moot("experts", "skills", "profile", *flags).code == 0
    assert json.loads(Path("s.json").read_text()) == {"t/9": ["cell", "contract"]}


def test_an_expert_names_the_skills_of_other_questions():
    questions(1)
    write_workflow()
    named = ("--annotator", "namer")
    measure("w.yaml", "--skills", "annotated", *named, "--out", "p.json")
    questions(7, 8)
    done = moot("experts", "skills", "w.yaml", "--like", "p.json", *named)
    assert done.json == {"t/7": ["law", "logic"], "t/8": ["law", "logic"]}
    without = moot("experts", "skills", "w.yaml", "--like", "p.json")
    assert (without.code, "--annotator" in without.err) == (2, True)


def test_unseen_skills_are_matched_by_words_or_vectors():
    measure("--questions", questions(1, 2), "--out", "p.json")
    Path("s.json").write_text('{"t/9": ["oddity", "zzz", "even"]}', encoding="utf-8")
    like = ("experts", "match", "s.json", "--like", "p.json")
    assert moot(*like).json == {"oddity": "odd"}
    vectors = {"odd": [1, 0], "even": [0, 1], "c": [0, 0], "s": [0, 0], "zzz": [0, 1]}
    roster = {"e": {"model": "scripted/vectors", "options": {"vectors": vectors}}}
    Path("r.yaml").write_text(yaml.safe_dump(roster), encoding="utf-8")
    assert moot(*like, "--by", "e", "--roster", "r.yaml").json == {"zzz": "even"}
    assert moot(*like, "--by", "nope").message.startswith("no similarity 'nope'")


def test_matches_and_skills_reach_a_session():
    measure("--questions", questions(1, 2), "--out", "p.json")
    questions(8, name="new.jsonl")
    moe = {"kind": "symbolic_moe", "k": 1}
    assets = {"skills": {"t/8": ["oddity"]}, "matches": {"oddity": "odd"}}
    flags = ("--set", "questions.path=new.jsonl")
    write_workflow(
        pool=None, experts={}, profile={"path": "p.json"}, protocols=[moe], assets=assets
    )
    done = moot("run", "w.yaml", *flags, "--json")
    assert done.code == 0, done.err
    assert not any("no protocol reads it" in note for note in done.json["notes"])


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--questions", "nowhere.jsonl"), "nowhere.jsonl"),
        (("--skills", "nope"), "there is subject, text, annotated, menu"),
        (("--skills", "annotated"), "--annotator NAME"),
        (("--skills", "menu", "--annotator", "x"), "--menu"),
        (("--menu", "a,b"), "belongs to --skills menu"),
        (("--annotator", "x"), "belongs to --skills"),
        (("--pool", "unheard-of"), "unheard-of"),
        (("--pool", ","), "nobody to measure"),
        (("--update", "nowhere.json"), "nowhere.json"),
        (("--skills", "menu", "--menu", "gone.yaml", "--annotator", "x"), "no such file"),
    ],
)
def test_mistakes_are_one_line(flags, message):
    questions(1)
    if "--questions" not in flags:
        flags = ("--questions", "q.jsonl", *flags)
    done = moot("experts", "profile", *flags)
    assert done.code == 2
    assert message in done.err.splitlines()[-1]
    assert "Traceback" not in done.err


def test_there_is_nothing_to_show():
    assert moot("experts", "show", "nowhere.json").code == 2
    questions(1)
    moot("run", "profile", "--set", "questions.path=q.jsonl", "--set", "pool=null")
    assert "no run measured experts yet" in moot("experts", "show").message
    (run,) = moot("list", "runs", "--json").json
    assert "measured no experts" in moot("experts", "show", run["name"]).message


def test_names_of_all_kinds_are_drawn_and_shown():
    pytest.importorskip("matplotlib")
    hostile = ("x" * 10_000, "a\nb\x1b[31m", "$\\frac{1}{0}$", "漢字", " ")
    rows = [recorded_row(n, category=name) for n, name in enumerate(hostile)]
    write_lines(Path("q.jsonl"), rows)
    measure("--questions", "q.jsonl", "--out", "p.json")
    for name in ("p.png", "p.svg"):
        done = moot("experts", "show", "p.json", "--png", name)
        assert done.code == 0, done.err
        assert "\x1b" not in done.out
        assert max(map(len, done.out.splitlines())) < 200
    assert Path("p.png").read_bytes()[:4] == b"\x89PNG"
    first = Path("p.svg").read_bytes()
    moot("experts", "show", "p.json", "--png", "p.svg")
    assert Path("p.svg").read_bytes() == first


def test_pictures_that_cannot_be_drawn_are_one_line():
    pytest.importorskip("matplotlib")
    measure("--questions", questions(1), "--out", "p.json")
    assert "pictures are" in moot("experts", "show", "p.json", "--png", "p.bmp").message
    assert "cannot be written" in moot("experts", "show", "p.json", "--png", "no/p.png").message
    write_lines(Path("bare.jsonl"), [recorded_row(1, category="", subject="")])
    measure("--questions", "bare.jsonl", "--out", "bare.json")
    assert "nothing to draw" in moot("experts", "show", "bare.json", "--png", "p.png").message
