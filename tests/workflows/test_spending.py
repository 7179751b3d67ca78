"""Budgets, estimates in money and the response cache, from workflow file and command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from orchestrator.money.ledger import Budget, Limits
from orchestrator.money.reply_cache import CachePolicy
from orchestrator.store import Store
from protocols.errors import Mistake
from tests.workflows.terminal import moot
from workflows import run
from workflows.settings.configuration import Workflow
from workflows.settings.spending import age_s, dollars

QUESTIONS = 12
WORKFLOW = """
questions: {path: questions.jsonl}
experts:
  speaker:
    model: scripted/constant
    price: {prompt: 1000, completion: 2000}
    sampling: {max_tokens: 64}
  judge:
    model: scripted/voter
    price: {prompt: 1000, completion: 2000}
    sampling: {max_tokens: 64}
protocols:
  - kind: debate
    rounds: 1
    orders: 2
    cast: {debater: speaker, judge: judge}
  - kind: direct_answer
    cast: {judge: judge}
"""
CALLS = QUESTIONS * (2 + 2 + 1)
TWO_VOTERS = """
questions: {path: questions.jsonl}
protocols: [{kind: direct_answer, cast: {judge: one}}]
experts:
  one: {model: openai/nobody-knows-its-price, base_url: "http://127.0.0.1:9/v1"%s}
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    rows = [
        {"id": f"q/{n}", "text": f"Which, {n}?", "options": ["x", "y"], "gold": "A"}
        for n in range(QUESTIONS)
    ]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "questions.jsonl").write_text(text)
    (tmp_path / "w.yaml").write_text(WORKFLOW)
    return tmp_path


def test_half_the_estimate_stops_and_more_goes_on(here: Path) -> None:
    low = json.loads(moot("estimate", "w.yaml", "--json").out)["money"]["low_usd"]
    assert low > 0
    whole = run("w.yaml", overrides=["store=whole.db"])
    paid = sum(one.paid for one in whole.spent.values())
    done = moot("run", "w.yaml", "--budget", f"{paid / 2}")
    assert done.code == 3
    last = done.err.splitlines()[-1]
    assert last.startswith("the budget in dollars is reached: spent by debater $")
    assert "judge $" in last
    assert "raise budget.usd, and the same command goes on" in last
    with Store.read("moot.db") as store:
        spent = store.spent(1)
        assert 0 < sum(one.paid for one in spent.values()) <= paid / 2
    done = moot("run", "w.yaml", "--budget", f"{paid * 1.5}")
    assert done.code == 0, done.err
    assert f"paid {dollars(paid)}; at list price, as if alone: {dollars(paid)}" in done.out
    with Store.read("moot.db") as store:
        assert sum(one.calls for one in store.spent(1).values()) == CALLS


def test_the_result_says_what_was_spent_by_role() -> None:
    result = run("w.yaml", overrides=["budget.roles.judge.calls=10"])
    assert (result.ending, result.reached) == ("budget", ("judge", "calls"))
    assert result.spent["judge"].calls == 10
    told = result.as_json()
    assert told["spent"]["judge"]["calls"] == 10
    assert told["reached"] == ["judge", "calls"]


@pytest.mark.slow
def test_drivers_share_a_budget_in_dollars() -> None:
    whole = run("w.yaml", overrides=["store=whole.db"])
    paid = sum(one.paid for one in whole.spent.values())
    overrides = ["store=shared.db", f"budget.usd={paid / 2}", f"budget.roles.judge.calls={CALLS}"]
    result = run("w.yaml", overrides=overrides, drivers=2)
    spent = sum(one.paid for one in result.spent.values())
    assert (result.ending, result.reached) == ("budget", ("", "usd"))
    assert paid / 4 < spent <= paid / 2
    more = run("w.yaml", overrides=["store=shared.db", f"budget.usd={paid * 2}"], drivers=2)
    assert more.ending == "finished"
    assert sum(one.paid for one in more.spent.values()) == pytest.approx(paid)
    with Store.read("shared.db") as store:
        assert store.lessees(1) == [], "what was leased is given back"


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        (5, Budget(usd=5.0)),
        (0.25, Budget(usd=0.25)),
        ({"usd": 1, "tokens": 10, "calls": 3, "seconds": 2.5}, None),
        ({"roles": {"judge": {"usd": 1}}}, Budget(roles={"judge": Limits(usd=1.0)})),
        (None, "none"),
    ],
)
def test_how_a_budget_is_written(said: object, meant: object) -> None:
    workflow = _workflow(budget=said)
    if meant is None:
        meant = Budget(usd=1.0, tokens=10, calls=3, seconds=2.5)
    assert workflow.budget == (None if meant == "none" else meant)


@pytest.mark.parametrize(
    ("said", "policy"),
    [
        (True, CachePolicy()),
        (False, None),
        (None, None),
        ("30d", CachePolicy(30 * 86_400.0)),
        ({"max_age": "12h"}, CachePolicy(43_200.0)),
    ],
)
def test_how_a_cache_is_written(said: object, policy: CachePolicy | None) -> None:
    cache = _workflow(cache=said).cache
    assert (cache.policy() if cache else None) == policy


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"budget": {"usd": -1}}, "w: budget.usd"),
        ({"budget": {"dollars": 1}}, "w: budget: unknown key 'dollars'"),
        ({"budget": "much"}, "w: budget"),
        ({"budget": True}, "w: budget"),
        ({"budget": {"roles": {"judge": {"usd": "x"}}}}, "w: budget.roles.judge.usd"),
        ({"cache": "a while"}, "no length of time"),
        ({"cache": {"age": "3d"}}, "w: cache: unknown key 'age'"),
    ],
)
def test_what_is_wrong_is_one_line(fields: dict[str, object], message: str) -> None:
    with pytest.raises(Mistake, match=message) as caught:
        _workflow(**fields)
    assert "\n" not in str(caught.value)


def _workflow(**fields: object) -> Workflow:
    data = {
        "questions": {"path": "questions.jsonl"},
        "protocols": [{"kind": "direct_answer"}],
        **fields,
    }
    return Workflow.from_mapping(data, "w")


def test_ages() -> None:
    assert [age_s(text) for text in ("90s", "1.5 m", "2h", "1w")] == [90.0, 90.0, 7200.0, 604800.0]


@pytest.mark.parametrize(
    ("amount", "text"),
    [(0.0, "$0.00"), (1234.5, "$1,234.50"), (0.0031, "$0.0031"), (0.00000123, "$1.2e-06")],
)
def test_dollars(amount: float, text: str) -> None:
    assert dollars(amount) == text


def test_a_role_that_nobody_has() -> None:
    done = moot("run", "w.yaml", "--set", "budget.roles.juge.usd=1")
    assert done.code == 2
    assert "budget.roles.juge: no such role; did you mean 'judge'?" in done.err
    assert not Path("moot.db").exists(), "nothing was begun"


@pytest.mark.parametrize("verb", [("validate",), ("run", "--dry-run")], ids=["validate", "dry"])
@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("budget.roles.juge.calls=5", "budget.roles.juge: no such role; did you mean 'judge'?"),
        ("budget.usd=1", "experts.one: no price is known of openai/"),
        ("limits.opnai.concurrency=5", "limits.opnai: no expert of this run has that endpoint"),
        ("experts.one.fallbacks=[onee]", "no expert 'onee' in the roster; did you mean 'one'?"),
    ],
)
def test_what_cannot_be_kept_is_told_before_a_run(
    here: Path, verb: tuple[str, ...], setting: str, said: str
) -> None:
    (here / "h.yaml").write_text(TWO_VOTERS % "")
    done = moot(verb[0], "h.yaml", "--set", setting, *verb[1:])
    assert done.code == 2
    assert said in done.message
    assert not Path("moot.db").exists()


def test_a_branch_has_a_budget_of_its_own() -> None:
    whole = run("w.yaml", overrides=["protocols=[{kind: direct_answer, cast: {judge: judge}}]"])
    paid = sum(one.paid for one in whole.spent.values())
    line = ("fork", str(whole.run_id), "--cast", "judge=speaker")
    done = moot(*line, "--budget", f"{paid / 2}")
    assert done.code == 3, done.err
    last = done.err.splitlines()[-1]
    assert last.startswith("the budget in dollars is reached: spent by judge $")
    assert "raise --budget, and the same command goes on" in last
    done = moot(*line, "--budget", f"{paid * 2}", "--json")
    assert done.code == 0, done.err
    with Store.read("moot.db") as store:
        assert sum(one.calls for one in store.spent(2).values()) == QUESTIONS


def test_a_branch_with_a_budget_needs_to_know_what_those_cost_who_are_asked(here: Path) -> None:
    run("w.yaml")
    stranger = "hosted_vllm/nobody-knows-its-price"
    done = moot("fork", "1", "--cast", f"judge={stranger}", "--budget", "1")
    assert done.code == 2
    assert f"experts.{stranger}: no price is known" in done.message
    with Store.read("moot.db") as store:
        assert len(store.runs()) == 1, "nothing was begun"


@pytest.mark.parametrize("verb", [("run",), ("run", "--dry-run")], ids=["run", "dry run"])
def test_a_budget_needs_to_know_what_experts_cost(here: Path, verb: tuple[str, ...]) -> None:
    (here / "h.yaml").write_text(TWO_VOTERS % "")
    done = moot(verb[0], "h.yaml", "--budget", "1", *verb[1:])
    assert done.code == 2
    assert done.err.splitlines()[-1].startswith("experts.one: no price is known of openai/")
    assert "price: unknown" in done.err
    assert not Path("moot.db").exists()


def test_a_price_that_is_said_to_be_unknown_is_told(here: Path) -> None:
    (here / "h.yaml").write_text(TWO_VOTERS % ", price: unknown")
    done = moot("run", "h.yaml", "--budget", "1", "--dry-run")
    assert done.code == 0, done.err
    assert "note: the price of one is unknown: what it costs is not in the budget" in done.err
    done = moot("estimate", "h.yaml")
    assert "not counted, since their price is not known: one" in done.out


def test_a_dry_run_spends_nothing() -> None:
    done = moot("run", "w.yaml", "--budget", "1", "--dry-run")
    assert done.code == 0
    assert not Path("moot.db").exists()


def test_an_estimate_says_money_by_protocol_and_role() -> None:
    money = json.loads(moot("estimate", "w.yaml", "--json").out)["money"]
    debate, direct = money["protocols"]
    assert set(debate["roles"]) == {"debater", "judge"}
    assert money["low_usd"] == pytest.approx(debate["low_usd"] + direct["low_usd"], abs=1e-5)
    assert debate["lengths"] == "assumed"
    assert money["setup"] == {"low_usd": 0.0, "high_usd": 0.0}
    assert money["unknown_prices"] == []
    out = moot("estimate", "w.yaml").out
    assert "  debater" in out
    assert "set-up" in out


def test_an_estimate_of_what_was_run_before_is_what_it_cost() -> None:
    result = run("w.yaml")
    paid = sum(one.paid for one in result.spent.values())
    money = json.loads(moot("estimate", "w.yaml", "--json").out)["money"]
    assert {one["lengths"] for one in money["protocols"]} == {"measured"}
    assert 0 < money["low_usd"] <= paid * 1.05
    assert money["high_usd"] >= paid * 0.95


def test_an_estimate_without_prices(here: Path) -> None:
    text = WORKFLOW.replace("    price: {prompt: 1000, completion: 2000}\n", "")
    (here / "free.yaml").write_text(text)
    assert moot("estimate", "free.yaml").out.splitlines()[-1] == (
        "costs nothing: no expert has a price"
    )


def test_the_cache_of_a_store() -> None:
    run("w.yaml")
    assert "holds nothing" in moot("cache", "list").out
    assert json.loads(moot("cache", "list", "--json").out) == []
    assert json.loads(moot("cache", "clear", "--json").out) == {"removed": 0, "left": 0}
    done = moot("cache", "prune", "--max-age", "30d")
    assert done.out.startswith("0 entries taken out")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("burn",), "there is list, prune and clear"),
        (("prune",), "--max-age 30d"),
        (("prune", "--max-age", "old"), "no length of time"),
        (("clear", "--max-age", "3d"), "belongs to prune"),
        (("list", "--store", "missing.db"), "there is no store missing.db"),
        (("clear", "--store", "missing.db"), "there is no store missing.db"),
    ],
)
def test_mistakes_with_the_cache(arguments: tuple[str, ...], message: str) -> None:
    done = moot("cache", *arguments)
    assert done.code == 2
    assert message in done.err
    assert not Path("missing.db").exists()
