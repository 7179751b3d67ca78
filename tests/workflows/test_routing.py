"""Runs with recruiters: settled teams, the table, its sentences, the report, whom a session took.

Five questions of two kinds. Measured: ``law`` is right on law alone, ``art`` on art, ``all`` on the
first of each; so the category tells whom to ask.
"""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

from orchestrator.store import Store
from protocols.errors import Mistake
from protocols.evidence import EVIDENCE, Evidence
from protocols.routing.group import TEAMS
from protocols.routing.measured import measured_pool
from tests.workflows.making import make, recorded_row, write_lines
from tests.workflows.terminal import moot
from workflows.recruiting.recruited import recruitment_lines
from workflows.running.casting import run_spec
from workflows.running.settling import announce

RULES: list[dict[str, Any]] = [
    {"kind": "plurality"},
    {"kind": "routed", "name": "best", "rule": "best_single"},
    {"kind": "routed", "name": "by_kind", "rule": {"rule": "task_best", "least": 1}},
    {"kind": "routed", "name": "pair", "rule": {"rule": "threshold", "strong": "law"}},
    {"kind": "routed", "name": "shared", "rule": "expert_choice", "k": 2},
    {"kind": "symbolic_moe", "name": "trimmed", "trim": 0.4},
]
POOL = ["law", "art", "all"]


def row(number: int, category: str, answers: dict[str, str | None]) -> dict[str, Any]:
    chars = {"law": 100, "art": 200, "all": 300}
    return recorded_row(number, category=category, subject="", answers=answers, chars=chars)


def judged(number: int) -> dict[str, Any]:
    """A question of the run; B is right."""
    category = "law" if number % 2 else "art"
    right = {category, "all"} if number < 2 else {category}
    return row(number, category, {e: "B" if e in right else "A" for e in POOL})


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_lines(tmp_path / "q.jsonl", [judged(n) for n in range(6)])
    write_lines(tmp_path / "p.jsonl", [{**judged(n), "id": f"p/{n}", "question": f"Measure {n}?"}
                                       for n in range(8)])  # fmt: skip
    write(protocols=RULES)


def write(**fields: Any) -> None:
    data: dict[str, Any] = {
        "questions": {"path": "q.jsonl"},
        "profile": {"path": "p.jsonl", "folds": 4},
        "pool": POOL,
        **fields,
    }
    Path("w.yaml").write_text(yaml.safe_dump(data), encoding="utf-8")


def rows(*flags: str) -> dict[str, Any]:
    done = moot("run", "w.yaml", *flags, "--json")
    assert done.code == 0, done.err
    return {line["name"]: line for line in done.json["rows"]}


def report(*flags: str) -> Any:
    assert moot("run", "w.yaml", *flags, "--json").code == 0
    return moot("report", "w", *flags[2:], "--json").json["routing"]


def test_rows_have_both_differences_and_one_is_selected() -> None:
    found = rows()
    assert [name for name, line in found.items() if line["selected"]] == ["by_kind"]
    assert found["by_kind"]["accuracy"] == found["by_kind"]["cross_validated"] == 1.0
    assert found["plurality"]["cross_validated"] is None
    assert found["plurality"]["diff_plurality"] is None
    assert found["best"]["diff_best_single"]["mean"] == 0.0
    assert set(found["by_kind"]["diff_plurality"]) == {"mean", "ci_low", "ci_high", "p"}
    assert found["by_kind"]["diff_best_single"]["mean"] == pytest.approx(0.5)


def test_without_folds_none_is_selected() -> None:
    write(protocols=RULES, profile={"path": "p.jsonl"})
    found = rows()
    assert not any(line["selected"] for line in found.values())
    assert all(line["cross_validated"] is None for line in found.values())


def test_every_rule_that_learns_is_said_to_pay_or_not() -> None:
    done = moot("run", "w.yaml")
    said = " ".join(done.out.split())
    assert "by_kind was selected by cross-validation on the profile's questions: 100.0 %" in said
    assert said.count(" against the best single expert: ") == len(RULES) - 1
    assert "best does not pay against the best single expert: +0.0 points" in said


def spec_of(**fields: Any) -> Any:
    data = yaml.safe_load(Path("w.yaml").read_text(encoding="utf-8"))
    return run_spec(*make({**data, **fields}))


def test_teams_are_settled_over_the_questions_that_are_asked() -> None:
    by_name = {entry.name: entry for entry in spec_of().entries}
    for name, entry in by_name.items():
        assert (TEAMS in entry.cast.assets) == (name in ("shared", "trimmed"))
    fewer = {
        entry.name: entry
        for entry in spec_of(questions={"path": "q.jsonl", "ids": ["t/0", "t/1"]}).entries
    }
    for name in ("shared", "trimmed"):
        content: Any = by_name[name].cast.assets[TEAMS].content
        assert len(content) == 6
        some: Any = fewer[name].cast.assets[TEAMS].content
        assert set(some) < set(content)
    assert fewer["best"].cast.digest == by_name["best"].cast.digest
    assert fewer["shared"].cast.digest != by_name["shared"].cast.digest
    again = {entry.name: entry for entry in spec_of().entries}
    assert again["trimmed"].cast.digest == by_name["trimmed"].cast.digest


def test_a_team_in_a_seat_has_its_teams_settled_too() -> None:
    seat = {"sharers": {"kind": "routed", "rule": "expert_choice"}}
    judge = {"kind": "direct_answer", "cast": {"judge": "sharers"}}
    (entry,) = spec_of(teams=seat, protocols=[judge]).entries
    (team,) = entry.cast.teams.values()
    assert TEAMS in team.cast.assets
    write(teams=seat, protocols=[judge])
    assert rows()["direct_answer"]["n"] == 6


def test_teams_are_no_file() -> None:
    with pytest.raises(Mistake, match=r"assets\.teams: teams are settled over the run's questions"):
        spec_of(assets={"teams": {"t/0": {}}})


def test_more_questions_settle_the_teams_anew_and_keep_the_rest() -> None:
    rows("--set", "questions.limit=3", "--set", "name=grown")
    done = moot("run", "w.yaml", "--set", "name=grown", "--json").json
    kept = done["difference"]["kept"]
    assert kept == 3 * (len(RULES) - 2)
    assert done["difference"]["superseded"] == 3 * 2
    assert moot("replay", "grown", "--json").json["diverged"] == 0


def test_a_fork_with_another_number_settles_the_teams_anew() -> None:
    rows()
    forked = moot("fork", "w", "--set", "k=1", "--name", "alone", "--json")
    assert forked.code == 0, forked.err
    found = {line["name"]: line for line in forked.json["rows"]}
    assert found["shared"]["calls"] == 6  # one expert a question, of two before
    assert found["shared"]["n"] == 6
    assert moot("replay", "alone", "--json").json["diverged"] == 0
    assert rows()["shared"]["calls"] > 6


def test_texts_that_are_announced_are_compared_alike() -> None:
    entry = spec_of().entries[2]
    evidence = Evidence.from_asset(entry.cast.assets[EVIDENCE])
    workflow, inputs = make(yaml.safe_load(Path("w.yaml").read_text(encoding="utf-8")))
    questions = inputs.questions.questions
    announce(questions, entry.cast)
    together = [measured_pool(evidence, POOL).similarities(q).tolist() for q in questions]
    other = Evidence.model_validate({**evidence.model_dump(), "measured_on": "once more"})
    alone = measured_pool(other, POOL)
    assert [alone.similarities(q).tolist() for q in questions] == together
    assert workflow.pool == tuple(POOL)


def by_rule(found: Any) -> dict[str, Any]:
    return {one["name"]: one for one in found["rules"]}


def test_the_report_by_hand() -> None:
    """Law and art take turns: law is right on 1, 3, 5, art on 0, 2, 4, all on 0 and 1."""
    found = by_rule(report())
    assert list(found) == [rule["name"] for rule in RULES[1:]]
    best, kind = found["best"], found["by_kind"]
    assert [best[name] for name in ("accuracy", "holds_right", "picks_right")] == [0.5] * 3
    assert best["n"] == 6
    assert best["regret"]["mean"] == pytest.approx(0.5)
    assert kind["regret"]["mean"] == 0.0
    assert kind["picks_right"] == 1.0
    assert best["load"] == {"art": 1.0}  # equal to law, so by name
    assert kind["load"] == {"art": 0.5, "law": 0.5}
    assert best["evenness"] == 0.0
    assert kind["evenness"] == pytest.approx(1 / 1.584962500721156)
    assert (best["distinct"], kind["distinct"], kind["calls"]) == (1.0, 1.0, 1.0)
    assert (best["price"], kind["price"], kind["price_unit"]) == (200.0, 150.0, "characters")
    assert kind["set_up"] == {
        "questions": 8,
        "exam_calls": 24,
        "annotation_calls": 0,
        "bench_calls": 0,
        "price": 8.0 * 600,
        "calls": 24,
    }
    assert kind["over_random"]["mean"] == pytest.approx(1.0 - 8 / 18)
    assert best["loads"] == {"in_order": 1, "grouped": 1, "saved": 0.0}
    assert kind["loads"]["grouped"] == 2
    assert 2 <= kind["loads"]["in_order"] <= 6
    assert found["trimmed"]["rule"] == "symbolic_moe"
    assert found["trimmed"]["price"] is not None  # by the evidence of the others


def test_loads_are_counted_in_the_order_of_the_sessions() -> None:
    write(protocols=[RULES[2]])
    found = report()
    with Store.read("moot.db") as store:
        run = store.runs()[0]
        asked = store.experts_asked(run.id)
        assert store.experts_asked(run.id, statuses=("failed",)) == []
    assert [(one.entry, one.turn) for one in asked] == [("by_kind", 0)] * 6
    switches = sum(a.expert != b.expert for a, b in pairwise(asked))
    assert found["loads"]["in_order"] == 1 + switches
    assert found["loads"]["grouped"] == 2


def test_strong_and_weak_are_told() -> None:
    (pair,) = report()["pairs"]
    assert (pair["name"], pair["strong"], pair["n"]) == ("pair", "law", 6)
    assert pair["strong_accuracy"] == 0.5
    assert pair["pgr"] is None  # art is as good


def test_the_report_for_people() -> None:
    moot("run", "w.yaml")
    said = moot("report", "w").out
    assert "The whole run:" in said
    assert "recruits by" in said
    assert "so nothing is recovered" in " ".join(said.split())


def test_a_run_without_recruiters_has_no_routing() -> None:
    write(protocols=RULES[:1])
    assert report() is None
    assert "recruits by" not in moot("report", "w").out


def test_set_up_counts_annotation_and_bench() -> None:
    namer = {"model": "scripted/constant", "options": {"text": "Skills: law, art\nAnswer: B"}}
    scores = {
        "scores": {"namer": {"": {"right": 1, "asked": 1}}},
        "chosen": {"": "namer"},
    }
    rule = {
        "kind": "symbolic_moe",
        "annotate": True,
        "passes": 3,
        "aggregate": "chosen",
        "cast": {"annotator": "namer", "aggregator": ["namer"]},
    }
    write(protocols=[rule], experts={"namer": namer}, assets={"aggregators": scores})
    (found,) = report()["rules"]
    assert found["set_up"]["exam_calls"] == 24
    assert found["set_up"]["annotation_calls"] == 24
    assert found["set_up"]["bench_calls"] == 8
    assert found["calls"] >= 3 + 1 + 1


def correctness_only() -> None:
    for path in ("q.jsonl", "p.jsonl"):
        lines = [json.loads(line) for line in Path(path).read_text().splitlines()]
        for line in lines:
            answers = line.pop("answers")
            line["correct"] = {expert: int(answer == "B") for expert, answer in answers.items()}
            line["answers"] = None
        write_lines(Path(path), lines)


def test_where_only_correctness_was_recorded_rules_of_one_expert_still_work() -> None:
    correctness_only()
    found = rows()
    assert (found["by_kind"]["n"], found["by_kind"]["accuracy"]) == (6, 1.0)
    assert found["by_kind"]["selected"]
    assert found["best"]["accuracy"] == found["best_single"]["accuracy"] == 0.5
    assert (found["plurality"]["n"], found["plurality"]["failed"]) == (0, 6)
    assert found["shared"]["failed"] > 0
    assert found["plurality"]["accuracy"] is None
    said = " ".join(moot("run", "w.yaml").out.split())
    assert "shared shows nothing" in said or "shared cannot be told to pay or not" in said


def test_the_sources_flag_counts_for_a_rule_of_one_expert_as_for_the_expert() -> None:
    lines = [judged(n) for n in range(6)]
    for line in lines:
        line["correct"] = dict.fromkeys(POOL, 0)  # whatever was read in the texts
    write_lines(Path("q.jsonl"), lines)
    found = rows()
    assert found["best"]["accuracy"] == found["best_single"]["accuracy"] == 0.0
    assert found["by_kind"]["accuracy"] == 0.0


def session(name: str) -> str:
    listed = moot("show", "w", "--json").json["sessions"]
    return str(next(one["session"] for one in listed if one["protocol"] == name))


def test_a_transcript_tells_whom_it_took_and_who_came_next() -> None:
    moot("run", "w.yaml")
    said = " ".join(moot("show", "w", session("best")).out.split())
    assert "recruited by best_single for" in said
    assert "art (weight 0.5)" in said
    assert "next: law, 0 behind the last one taken" in said
    assert "recruited" not in moot("show", "w", session("plurality")).out


@pytest.mark.parametrize(
    ("detail", "said"),
    [
        ({}, []),
        ({"team": "nobody"}, []),
        (
            {
                "team": [{"expert": "a", "draws": 2, "weight": 0.25, "odds": 0.5}],
                "recruitment": {},
                "rule": "r",
                "skills": [],
                "odds": {"a": 0.5, "b": 0.3, "c": 0.1, "d": 0.1, "e": 0.1, "f": 0.1},
                "counterfactual": {"next": "b", "lead": -0.5, "without_chance": ["b"]},
            },
            [
                "recruited by r: a (2 draws, weight 0.25, odds 0.50)",
                "next: b, worth 0.5 more than the last one taken",
                "without chance: b",
                "odds of the others: b 0.30, c 0.10, d 0.10, e 0.10 and 1 more",
            ],
        ),
        (
            {"team": [], "recruitment": {}, "counterfactual": {"next": "b", "lead": None}},
            ["recruited by a rule: nobody", "next: b"],
        ),
    ],
)
def test_the_lines_of_a_recruitment(detail: dict[str, Any], said: list[str]) -> None:
    assert list(recruitment_lines(detail)) == said


def test_the_graph_is_drawn_and_written() -> None:
    pytest.importorskip("matplotlib")
    moot("run", "w.yaml")
    taken = session("trimmed")
    for name in ("g.png", "g.svg", "g.pdf", "g.json"):
        done = moot("show", "w", taken, "--graph", name)
        assert done.code == 0, done.err
        assert Path(name).stat().st_size > 500
    assert Path("g.png").read_bytes()[:4] == b"\x89PNG"
    graph = json.loads(Path("g.json").read_text(encoding="utf-8"))
    assert {node["kind"] for node in graph["nodes"]} == {
        *("question", "skill", "expert", "aggregator")
    }
    first = Path("g.svg").read_bytes()
    moot("show", "w", taken, "--graph", "h.svg")
    assert Path("h.svg").read_bytes() == first
    assert b"plurality" in first


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["best", "--graph", "g.gif"], "graphs are .png, .svg, .pdf, .json"),
        (["plurality", "--graph", "g.png"], "recruited nobody"),
        (["best", "--graph", "no/such/g.json"], "cannot be written"),
        (["best", "--graph", "no/such/g.png"], "cannot be written"),
        (["", "--graph", "g.png"], "draws one session, not"),
    ],
)
def test_graphs_that_cannot_be(arguments: list[str], said: str) -> None:
    moot("run", "w.yaml")
    name, *flags = arguments
    done = moot("show", "w", *([session(name)] if name else []), *flags)
    assert done.code == 2
    assert said in done.message


def test_labels_do_not_cover_one_another() -> None:
    from workflows.recruiting.recruitment_picture import _columns, places_of

    nodes = [{"id": "question:q", "kind": "question", "label": "q"}]
    nodes += [{"id": f"skill:{n}", "kind": "skill", "label": f"{n}"} for n in range(3)]
    nodes += [{"id": f"expert:{n}", "kind": "expert", "label": f"{n}"} for n in range(4)]
    nodes += [{"id": "aggregator:vote", "kind": "aggregator", "label": "vote"}]
    places = places_of(nodes)
    assert len(set(places.values())) == len(nodes)
    for kind in ("skill", "expert"):
        mine = [places[node["id"]] for node in nodes if node["kind"] == kind]
        assert len({x for x, _ in mine}) == 1
    heights = [y for _, y in places.values()]
    assert places["question:q"][1] == pytest.approx((max(heights) + min(heights)) / 2)
    columns = _columns(nodes)
    assert len({columns[f"skill:{n}"] for n in range(3)}) == 3
