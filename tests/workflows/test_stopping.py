"""Stopping early: what is decided, what is saved, and that only complete units count, in order."""

from __future__ import annotations

import itertools

import pytest

from orchestrator.driver import Progress
from orchestrator.run import Prepared
from orchestrator.spec import Difference, asked_order
from orchestrator.store import Store
from protocols.chance import Rng
from protocols.errors import Mistake
from protocols.outcome import Outcome
from protocols.question import Question
from tests.workflows.making import recorded_row, write_lines
from tests.workflows.stored import store_outcomes
from tests.workflows.terminal import moot
from workflows.api import run
from workflows.questions.answer_key import AnswerKey
from workflows.running.stopping import Stopper, check_decidable, run_until_decided
from workflows.settings.configuration import Workflow

PROTOCOLS = [
    {"kind": "direct_answer", "name": name, "cast": {"judge": name}} for name in ("good", "bad")
]


def make(tmp_path, rows, protocols=PROTOCOLS, **settings) -> Workflow:
    file = write_lines(tmp_path / "q.jsonl", rows)
    data = {"questions": {"path": file}, "protocols": protocols, "name": "r", **settings}
    return Workflow.from_mapping({**data, "store": str(tmp_path / "s.db")}, "w.yaml")


def test_a_clear_difference_stops_early_and_the_rest_can_be_asked(tmp_path) -> None:
    workflow = make(tmp_path, [recorded_row(n) for n in range(1_000)])
    result, decision = run_until_decided(workflow)
    assert result.ending == "stopped"
    assert decision.all_decided
    (only,) = decision.standings
    assert only.pair == ("good", "bad")
    assert only.mean == 1.0
    assert only.p_holm <= 0.05
    assert decision.intervals[only.pair].low > 0
    assert decision.asked < decision.planned == 1_000
    assert decision.saved == 2_000 - result.progress.sessions_done > 1_000
    assert f"{decision.saved:,} of 2,000 sessions were saved" in str(decision)
    assert decision.as_json()["pairs"][0]["decided_after"] == only.decided_after

    again, same = run_until_decided(workflow)  # what is kept decides at once
    assert again.ending == "stopped"
    assert again.progress.asks_done == 0
    assert same.standings == decision.standings
    whole = run(workflow)
    assert whole.ending == "finished"
    assert [row.n for row in whole.rows[:2]] == [1_000, 1_000]


def test_equal_protocols_are_asked_to_the_end(tmp_path) -> None:
    rows = [recorded_row(n, answers={"good": "B", "bad": "B"}) for n in range(80)]
    workflow = make(tmp_path, rows)
    result, decision = run_until_decided(workflow)
    assert result.ending == "finished"
    assert not decision.all_decided
    assert decision.saved == 0
    assert str(decision) == "the pair is not decided after 80 of 80 units"
    assert decision.accuracies == {"good": (1.0, 80), "bad": (1.0, 80)}
    assert result.rows[0].accuracy == 1.0


def limited(tmp_path, rows, limit: int) -> Workflow:
    file = write_lines(tmp_path / "q.jsonl", rows)
    data = {"questions": {"path": file, "limit": limit}, "protocols": PROTOCOLS, "name": "r"}
    return Workflow.from_mapping({**data, "store": str(tmp_path / "s.db")}, "w.yaml")


def test_a_larger_limit_goes_on_where_the_questions_ended(tmp_path) -> None:
    rows = [
        recorded_row(n, answers={"good": "B", "bad": "B" if n % 5 < 4 else "A"}) for n in range(600)
    ]
    few, undecided = run_until_decided(limited(tmp_path, rows, 12))
    assert few.ending == "finished"
    assert not undecided.all_decided
    more, decision = run_until_decided(limited(tmp_path, rows, 600))
    assert (more.run_id, more.resumed) == (few.run_id, True)
    assert len(more.difference.kept) == 24, "no question of the first limit is asked again"
    assert decision.all_decided
    assert 12 < decision.asked <= decision.planned == 600
    assert decision.saved == 1_200 - more.progress.sessions_done


def test_what_is_decided_stays_so_under_a_larger_limit(tmp_path) -> None:
    rows = [recorded_row(n) for n in range(1_500)]
    first, decision = run_until_decided(limited(tmp_path, rows, 1_000))
    assert (first.ending, decision.all_decided) == ("stopped", True)
    again, same = run_until_decided(limited(tmp_path, rows, 1_500))
    assert (again.ending, again.progress.asks_done) == ("stopped", 0)
    assert same.standings == decision.standings
    assert (decision.planned, same.planned) == (1_000, 1_500)
    assert same.saved == decision.saved + 1_000


def test_what_cannot_be_decided_is_refused_before_anything_is_asked(tmp_path) -> None:
    with pytest.raises(Mistake, match="two protocols or more"):
        check_decidable(make(tmp_path, [recorded_row()], PROTOCOLS[:1]))
    rows = [{"id": "a", "question": "Which?", "options": ["one", "two"]}]
    experts = {"good": "offline/lexical-judge", "bad": "offline/lexical-judge"}
    with pytest.raises(Mistake, match=r"q\.jsonl has none"):
        run_until_decided(make(tmp_path, rows, experts=experts))
    assert not (tmp_path / "s.db").exists()


async def watched(tmp_path, outcomes, clusters=None) -> tuple[Stopper, int]:
    """Return a stopper that has looked at a run with these outcomes, p0 and p1 in turn."""
    ids = [f"q{number}" for number in range(len(outcomes))]
    key = {
        "gold": dict.fromkeys(ids, "A"),
        "kinds": dict.fromkeys(ids, "choice"),
        "clusters": clusters or {},
    }
    address = str(tmp_path / "w.db")
    with Store.open(address) as store:
        run = await store_outcomes(store, outcomes, AnswerKey.model_validate(key))
    stopper = Stopper(address)
    nothing = Difference((), (), (), (), ())
    prepared = Prepared(run.id, run.name, True, nothing, len(outcomes), 0)
    hook = stopper.hooks().on_prepared
    assert hook is not None
    hook(prepared)
    return stopper, len(outcomes)


def over(count: int) -> Progress:
    return Progress(count, count, 0, 0, 0, 0, 0.0, 0.0)


def answered(answer: str) -> Outcome:
    return Outcome(status="answered", answer=answer, rule="single")


async def test_nothing_counts_before_what_was_asked_first(tmp_path) -> None:
    units = {f"q{number}": f"u{number // 2}" for number in range(8)}
    ends = [answered("A"), answered("B")] * 4
    late = [*ends[:3], None, *ends[4:]]
    stopper, count = await watched(tmp_path, late, units)
    decision = stopper.decision(over(count))
    assert (decision.asked, decision.planned) == (1, 4)


async def test_a_lost_answer_leaves_its_unit_out_and_is_counted(tmp_path) -> None:
    units = {f"q{number}": f"u{number // 2}" for number in range(8)}
    ends = [answered("A"), answered("B")] * 4
    ends[2] = Outcome(status="failed", boundary="provider", rule="single")
    stopper, count = await watched(tmp_path, ends, units)
    decision = stopper.decision(over(count))
    assert decision.asked == 4
    (only,) = decision.standings
    # Every question here was asked of one protocol alone, so no unit has a difference.
    assert (only.clusters, only.missing) == (0, 4)
    assert decision.accuracies["p0"] == (1.0, 3)


def question(number: int, cluster: str = "") -> Question:
    return Question(id=f"q{number}", text="?", options=("x", "y"), cluster=cluster)


def test_units_are_shuffled_and_stand_together() -> None:
    single = [question(number) for number in range(30)]
    assert asked_order(single, 3) == Rng("order", 3).shuffled(single)
    stories = [question(number, f"s{number % 7}") for number in range(30)]
    order = asked_order(stories, 3)
    units = [one.cluster for one in order]
    assert sorted(one.id for one in order) == sorted(one.id for one in stories)
    assert sum(a != b for a, b in itertools.pairwise(units)) == 6
    firsts = {asked_order(stories, seed)[0].cluster for seed in range(60)}
    assert len(firsts) == 7


def test_the_command_says_what_it_saved(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    make(tmp_path, [recorded_row(n) for n in range(1_000)])
    (tmp_path / "w.yaml").write_text(
        "questions: {path: q.jsonl}\nname: r\nprotocols:\n"
        "  - {kind: direct_answer, name: good, cast: {judge: good}}\n"
        "  - {kind: direct_answer, name: bad, cast: {judge: bad}}\n"
    )
    done = moot("compare", "w.yaml", "--until-decided", "--store", "c.db")
    assert done.code == 0, done.err
    assert "The pair is decided after" in done.out
    assert "sessions were saved" in " ".join(done.out.split())
    assert "anytime-valid" in done.out
    assert "95 % interval" not in done.out
    assert "asks the rest" in done.err
    assert "stopped:" not in done.err
    found = moot("compare", "w.yaml", "--until-decided", "--store", "c.db", "--json").json
    assert found["until_decided"]["all_decided"]
    assert "rows" not in found
    one = moot("compare", "w.yaml", "--until-decided", "--set", "protocols=[{kind: plurality}]")
    assert one.code == 2
    assert "two protocols or more" in one.message
    page = moot("compare", "w.yaml", "--until-decided", "--html", "x.html")
    assert page.code == 2
    assert "--until-decided writes no page" in page.message
