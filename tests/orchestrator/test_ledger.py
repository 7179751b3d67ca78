"""The ledger: nothing is reserved beyond a limit, and what is settled takes its place."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.money.ledger import RUN, UNITS, Amount, Budget, Ledger, Limits

ROLES = ("debater", "judge")
CALL = Amount(calls=1)


def amounts() -> st.SearchStrategy[Amount]:
    return st.builds(
        Amount,
        st.floats(0.0, 2.0),
        st.integers(0, 2_000),
        st.integers(0, 3),
        st.floats(0.0, 10.0),
    )


def limits() -> st.SearchStrategy[Limits]:
    return st.builds(
        Limits,
        usd=st.none() | st.floats(0.0, 10.0),
        tokens=st.none() | st.integers(0, 10_000),
        calls=st.none() | st.integers(0, 15),
        seconds=st.none() | st.floats(0.0, 60.0),
    )


def budgets() -> st.SearchStrategy[Budget]:
    def build(whole: Limits, roles: dict[str, Limits]) -> Budget:
        return Budget(**whole.model_dump(), roles=roles)

    return st.builds(build, limits(), st.dictionaries(st.sampled_from(ROLES), limits()))


steps = st.lists(
    st.tuples(st.sampled_from(ROLES), amounts(), amounts(), st.booleans()), max_size=40
)


def within(ledger: Ledger) -> bool:
    """Whether spent + reserved is within every limit, up to the rounding of floats."""
    for _, account in ledger.accounts():
        present = account.spent.plus(account.reserved)
        for unit in UNITS:
            limit = getattr(account.limits, unit)
            if limit is not None and getattr(present, unit) > limit + 1e-9:
                return False
    return True


@given(budgets(), steps)
def test_spent_and_reserved_stay_within_every_limit(budget: Budget, moves: list[Any]) -> None:
    ledger = Ledger(budget)
    waiting: list[tuple[str, Amount]] = []
    for role, need, _, settle in moves:
        before = ledger.exhausted
        verdict = ledger.reserve(role, need)
        assert within(ledger)
        assert not (before and verdict != "refused"), "an exhausted budget grants nothing"
        if verdict == "granted":
            waiting.append((role, need))
        if settle and waiting:
            ledger.settle(*waiting[0], waiting[0][1])
            waiting.pop(0)
            assert within(ledger)
    assert ledger.outstanding == len(waiting)


@given(budgets(), steps)
def test_a_run_overspends_by_no_more_than_what_was_in_flight(
    budget: Budget, moves: list[Any]
) -> None:
    ledger = Ledger(budget)
    flying: list[tuple[str, Amount, Amount]] = []
    beyond = Amount()
    for role, need, cost, settle in moves:
        if ledger.reserve(role, need) == "granted":
            flying.append((role, need, cost))
        if settle and flying:
            first = flying.pop(0)
            beyond = beyond.plus(first[2].less(first[1]))
            ledger.settle(*first)
    for one in flying:
        beyond = beyond.plus(one[2].less(one[1]))
        ledger.settle(*one)
    for _, account in ledger.accounts():
        for unit in UNITS:
            limit = getattr(account.limits, unit)
            if limit is not None:
                assert getattr(account.spent, unit) <= limit + getattr(beyond, unit) + 1e-6


@given(budgets(), steps, st.data())
def test_leased_drivers_together_stay_within_what_was_granted(
    budget: Budget, moves: list[Any], data: Any
) -> None:
    ledger = Ledger(budget)
    ledger.lease()
    for role, need, _, _ in moves:
        verdict = ledger.reserve(role, need)
        assert verdict != "refused"
        assert within(ledger)
        if verdict == "later" and data.draw(st.booleans()):
            ledger.grant({RUN: need, role: need})
    assert not ledger.exhausted


@pytest.mark.parametrize(
    ("budget", "spent", "reached"),
    [
        (Budget(calls=3), Amount(calls=3), (RUN, "calls")),
        (Budget(usd=1.0), Amount(usd=1.0), (RUN, "usd")),
        (Budget(tokens=100), Amount(tokens=95), (RUN, "tokens")),
        (Budget(roles={"judge": Limits(usd=0.5)}), Amount(usd=0.45), ("judge", "usd")),
        (Budget(roles={"judge": Limits(seconds=9.0)}), Amount(seconds=9.5), ("judge", "seconds")),
    ],
    ids=["calls", "dollars", "tokens", "a role's dollars", "a role's seconds"],
)
def test_what_does_not_fit_at_all_exhausts_the_budget(
    budget: Budget, spent: Amount, reached: tuple[str, str]
) -> None:
    ledger = Ledger(budget, {"judge": spent})
    need = Amount(0.1, 10, 1)
    assert ledger.reserve("judge", need) == "refused"
    assert (ledger.exhausted, ledger.reached) == (True, reached)
    assert ledger.reserve("judge", Amount()) == "refused"


def test_what_may_fit_later_waits() -> None:
    ledger = Ledger(Budget(usd=1.0))
    assert ledger.reserve("judge", Amount(usd=0.8)) == "granted"
    assert ledger.reserve("judge", Amount(usd=0.8)) == "later"
    ledger.settle("judge", Amount(usd=0.8), Amount(usd=0.1))
    assert ledger.reserve("judge", Amount(usd=0.8)) == "granted"
    assert not ledger.exhausted


def test_the_limit_of_one_role_leaves_the_others_alone() -> None:
    ledger = Ledger(Budget(roles={"judge": Limits(calls=1)}))
    assert ledger.reserve("judge", CALL) == "granted"
    assert ledger.reserve("debater", CALL) == "granted"
    assert ledger.reserve("judge", CALL) == "later"


def test_earlier_commands_count() -> None:
    ledger = Ledger(Budget(calls=10), {"judge": Amount(2.0, 30, 4), "debater": Amount(1.0, 5, 6)})
    assert (ledger.calls, ledger.paid) == (10, 3.0)
    assert ledger.spent()["judge"] == Amount(2.0, 30, 4)
    assert ledger.reserve("judge", CALL) == "refused"


def test_time_is_over_when_it_is() -> None:
    ledger = Ledger(Budget(seconds=60.0), seconds=50.0)
    assert not ledger.tick(9.9)
    assert ledger.left_s == pytest.approx(0.1)
    assert ledger.tick(10.0)
    assert ledger.reached == (RUN, "seconds")
    assert ledger.left_s is None
    assert Ledger(Budget(calls=1)).left_s is None


def test_nothing_is_left_reserved_once_everything_is_settled() -> None:
    ledger = Ledger(Budget(usd=100.0))
    needs = [Amount(usd=0.1 * number) for number in range(1, 50)]
    for need in needs:
        ledger.reserve("judge", need)
    for need in needs:
        ledger.settle("judge", need, Amount(usd=0.001))
    assert [account.reserved for _, account in ledger.accounts()] == [Amount(), Amount()]


def test_a_leased_budget_ends_where_nobody_leases_more() -> None:
    ledger = Ledger(Budget(calls=5))
    ledger.lease()
    assert ledger.reserve("judge", CALL) == "later"
    ledger.grant({RUN: Amount(calls=2)})
    assert [ledger.reserve("judge", CALL) for _ in range(3)] == ["granted", "granted", "later"]
    ledger.exhaust("judge", CALL)
    assert (ledger.exhausted, ledger.reached) == (True, (RUN, "calls"))
    assert dict(ledger.accounts())[RUN].left.calls == 2, "what runs is not spent yet"
