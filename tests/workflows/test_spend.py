"""What protocols cost by themselves, and what the same spend buys otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from orchestrator.store import Store
from protocols.outcome import Outcome
from protocols.replies import Reply, Usage
from tests.workflows.making import recorded_row, write_lines
from tests.workflows.stored import some_key, store_outcomes, tried_twice
from workflows import compare, fork
from workflows.comparing.comparison import Comparison
from workflows.comparing.draws import Draw, Seated
from workflows.comparing.equal_spend import equal_spend
from workflows.comparing.spend import ProtocolSpend, Spend, Spending, read_spending
from workflows.comparing.table import Row, Scored, protocol_row
from workflows.questions.answer_key import AnswerKey

NYU = {"path": "moot:nyu_passages", "limit": 4}
ROSTER = {"debater": "offline/quote-debater", "judge": "offline/lexical-judge"}
DEBATE = {"kind": "debate", "rounds": 2}


async def spent(tmp_path, replies) -> Spending:
    ends = [Outcome(status="abstained", rule="x")] * 4
    with Store.open(str(tmp_path / "s.db")) as store:
        run = await store_outcomes(store, ends, some_key(ends), replies=replies)
        return read_spending(store, run)


async def test_all_attempts_count_and_an_unknown_price_is_not_nothing(tmp_path) -> None:
    once = Reply("x", usage=Usage(8, 2, 1, 0), latency_s=0.5)
    found = await spent(tmp_path, {0: tried_twice(), 1: [once], 3: [once]})
    whole = found.protocols["p0"].whole
    assert (whole.calls, whole.attempts) == (1, 2)
    assert (whole.prompt, whole.output, whole.reasoning) == (10, 4, 2)
    assert whole.price is None  # the attempt that timed out has no known price
    assert whole.paid == 0.125
    assert whole.seconds == 61.5
    known = found.protocols["p1"]
    assert known.whole.price == 0.5
    assert known.a_question == Spend(1, 1, 8, 2, 1, 0.25, 0.125, 0.5)
    assert known.judge.calls == 2
    assert known.judge.price == 0.5


async def test_sessions_that_are_not_over_have_no_price_yet(tmp_path) -> None:
    once = Reply("x", usage=Usage(8, 2, 1, 0))
    with Store.open(str(tmp_path / "s.db")) as store:
        run = await store_outcomes(store, [None, None], replies={0: [once], 1: [once]})
        assert read_spending(store, run).protocols == {}


def first_asks(address: str) -> float:
    return Comparison.read(address, ["first"]).spends()["debate"].whole.calls


def test_an_inherited_tape_is_priced_as_if_it_had_been_asked(tmp_path) -> None:
    address = str(tmp_path / "c.db")
    cast = {"debater": "debater", "judge": "judge"}
    roster = {**ROSTER, "second": "offline/lexical-judge"}
    compare([DEBATE], NYU, roster, cast=cast, name="first", store=address)
    forked = fork("first", store=address, cast={"judge": "second"})
    assert forked.progress.asks_done < first_asks(address)
    found = Comparison.read(address, ["first", forked.name])
    first, second = found.spends().values()
    assert first.a_question is not None
    assert second.a_question is not None
    assert second.a_question.calls == first.a_question.calls > 1
    assert second.judge.calls == first.judge.calls < first.whole.calls


def test_the_judge_alone_draws_as_often_as_the_debate_asks(tmp_path) -> None:
    cast = {"debater": "debater", "judge": "judge"}
    settings: dict[str, Any] = {"cast": cast, "name": "r", "store": str(tmp_path / "c.db")}
    found = compare(["direct_answer", DEBATE], NYU, ROSTER, **settings).comparison
    (one,) = found.equal_spend("calls")
    assert (one.baseline, one.draws) == ("judge_alone", int(one.spend or 0))
    assert one.why_not.startswith(f"{one.draws} draws are needed and the run holds 1; add")
    assert one.as_json()["accuracy"] is None
    drawn = compare(["direct_answer", DEBATE], NYU, ROSTER, repeats=one.draws, **settings)
    (two,) = drawn.equal_spend("calls")
    alone = next(row for row in drawn.rows if row.name == "direct_answer")
    assert two.outcome is not None
    assert two.outcome.mean == pytest.approx(alone.accuracy)  # this judge repeats itself
    assert two.baseline_spend == two.spend


def test_recorded_experts_cannot_draw_again(tmp_path) -> None:
    rows = [recorded_row(n, answers={"a": "B", "b": "A", "c": None}) for n in range(6)]
    file = write_lines(tmp_path / "q.jsonl", rows)
    store = str(tmp_path / "c.db")
    found = compare(["plurality"], file, name="r", store=store).comparison
    assert found.equal_spend() == []  # it is the baseline itself
    run = found.runs[0]
    assert run.spending.recorded == {"a", "b", "c"}
    seated = {**run.spending.seated, "other": replace(run.spending.seated["plurality"], kind="x")}
    plurality = run.spending.protocols["plurality"]
    dear = {q: one + one for q, one in plurality.by_question.items()}
    spends = {**run.spending.protocols, "other": replace(plurality, by_question=dear)}
    spending = replace(run.spending, seated=seated, protocols=spends)
    row = replace(run.rows[0], name="other")
    for one in equal_spend([row], spending, run.key, "calls"):
        assert one.why_not == "6 draws are needed, and a, b, c hold one recorded answer each"


def made(
    votes: Sequence[Sequence[dict[str, float] | None]], spend: float
) -> tuple[Row, Spending, AnswerKey]:
    """Return a row, a spending and a key: a protocol beside draws of two experts, by question."""
    ids = [f"q{number}" for number in range(len(votes))]
    key = AnswerKey(gold=dict.fromkeys(ids, "A"), kinds=dict.fromkeys(ids, "choice"))
    draws = tuple(
        Draw("sc", "e", False, id, vote or {}, len(some), vote is None)
        for id, some in zip(ids, votes, strict=True)
        for vote in some
    )
    own = {id: Spend(price=spend, calls=spend) for id in ids}
    cost = {
        id: Spend(price=float(len(some)), calls=len(some))
        for id, some in zip(ids, votes, strict=True)
    }
    spending = Spending(
        {
            "p": ProtocolSpend("p", Spend(), Spend(), own, len(ids)),
            "sc": ProtocolSpend("sc", Spend(), Spend(), cost, len(ids)),
        },
        {"p": Seated("x", {"solver": ("e",)}, frozenset())},
        draws,
    )
    right = Outcome(status="answered", answer="A", rule="x")
    row = protocol_row("p", [Scored(id, right) for id in ids], key, {}, calls=0)
    return row, spending, key


A = {"A": 1.0}
B = {"B": 1.0}
NONE: dict[str, float] = {}


def test_plurality_and_best_of_n_are_those_of_the_first_draws() -> None:
    votes: list[list[dict[str, float] | None]] = [
        [A, A, B, B],
        [A, B, NONE, B],
        [B, B, B, A],
        [NONE, NONE, NONE, A],
        [A, None, A, A],
    ]
    row, spending, key = made(votes, 3.9)
    plurality, best = equal_spend([row], spending, key, "money")
    assert (plurality.draws, plurality.spend, plurality.baseline_spend) == (3, 3.9, 3.0)
    assert plurality.outcome is not None
    assert best.outcome is not None
    # right; even; wrong; unread and so wrong; a lost draw is missing
    assert plurality.outcome.mean == pytest.approx((1 + 0.5 + 0 + 0) / 4)
    assert best.outcome.mean == pytest.approx((1 + 1 + 0 + 0) / 4)
    assert (plurality.outcome.n, plurality.outcome.missing) == (4, 1)
    assert plurality.difference is not None
    assert plurality.difference.mean == pytest.approx(1 - 1.5 / 4)
    assert plurality.difference.questions == 4
    assert str(plurality).endswith("37.5 % with 3 draws (3 of 3.9 US dollars a question)")


@pytest.mark.parametrize(
    ("spend", "unit", "why"),
    [
        (0.5, "money", "it takes less than a single draw"),
        (7.0, "money", "7 draws are needed and the run holds 2; add self_consistency with n: 7"),
        (2.0, "tokens", "nothing is spent in tokens; name another unit"),
    ],
)
def test_what_cannot_be_computed_says_why(spend, unit, why) -> None:
    row, spending, key = made([[A, B], [B, B]], spend)
    for one in equal_spend([row], spending, key, unit):
        assert one.outcome is None
        assert one.why_not.startswith(why)
        assert "not computable" in str(one)


def test_draws_under_other_conditions_do_not_count() -> None:
    row, spending, key = made([[A, B], [B, B]], 2.0)
    reading = tuple(replace(one, reads=True) for one in spending.draws)
    for one in equal_spend([row], replace(spending, draws=reading), key, "money"):
        assert one.why_not.startswith("the run holds no draw of e by itself; add self_consistency")


def test_an_unknown_price_computes_nothing() -> None:
    row, spending, key = made([[A, B]], 2.0)
    own = {"q0": Spend(price=None, calls=2)}
    spends = {**spending.protocols, "p": replace(spending.protocols["p"], by_question=own)}
    for one in equal_spend([row], replace(spending, protocols=spends), key, "money"):
        assert one.why_not == "prices in US dollars are not known for all"
