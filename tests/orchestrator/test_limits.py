"""Buckets and limits: never more than allowed in any window, and nothing starves."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.roster import Expert
from orchestrator.limits.limits import Bucket, Limit, check_limits, endpoint_of, limit_of
from protocols.errors import Mistake

amounts = st.lists(st.floats(0.1, 50.0), min_size=1, max_size=60)


@given(
    per_minute=st.floats(1.0, 100_000.0),
    wanted=amounts,
    pauses=st.lists(st.floats(0.0, 5.0), min_size=60, max_size=60),
    share=st.floats(0.05, 1.0),
)
def test_no_window_lets_more_through_than_its_rate_and_a_burst(
    per_minute: float, wanted: list[float], pauses: list[float], share: float
) -> None:
    bucket, now = Bucket(per_minute, 5.0), 5.0
    taken: list[tuple[float, float]] = []
    for amount, pause in zip(wanted, pauses, strict=False):
        now = bucket.next_at(amount, now + pause, share)
        assert bucket.next_at(amount, now, share) <= now, "what was promised holds"
        bucket.take(amount)
        taken.append((now, amount))
    burst = max(bucket.capacity, *wanted)
    for first, (begin, _) in enumerate(taken):
        through = 0.0
        for end, amount in taken[first:]:
            through += amount
            allowed = bucket.rate * share * (end - begin) + burst
            assert through <= allowed * (1 + 1e-6) + 1e-3


@given(per_minute=st.floats(1.0, 10_000.0), wanted=amounts)
def test_everything_goes_sometime_and_no_later_than_its_rate_takes(
    per_minute: float, wanted: list[float]
) -> None:
    bucket, now = Bucket(per_minute, 0.0), 0.0
    for amount in wanted:
        now = bucket.next_at(amount, now)
        bucket.take(amount)
    # all but the last one, and the room of a full bucket before it, has flowed in by then
    assert now <= (sum(wanted) + 1e-3) / bucket.rate + 1e-6


def test_what_was_reserved_too_much_comes_back_and_never_overfills() -> None:
    bucket = Bucket(600.0, 0.0)
    bucket.take(8.0)
    bucket.give(5.0)
    assert bucket.level == 7.0
    bucket.give(50.0)
    assert bucket.level == bucket.capacity == 10.0
    bucket.give(-12.0)
    assert bucket.next_at(1.0, 0.0) == pytest.approx(0.3)


@pytest.mark.parametrize("parts", [1, 2, 3, 7])
def test_the_shares_of_drivers_are_the_whole(parts: int) -> None:
    whole = Limit(requests_per_minute=600.0, tokens_per_minute=9_000.0, concurrency=32)
    shares = [whole.part(place, parts) for place in range(parts)]
    assert sum(one.requests_per_minute or 0.0 for one in shares) == pytest.approx(600.0)
    assert sum(one.tokens_per_minute or 0.0 for one in shares) == pytest.approx(9_000.0)
    assert sum(one.concurrency or 0 for one in shares) == 32
    assert [Limit(concurrency=2).part(i, 3).concurrency for i in range(3)] == [1, 1, 1]
    assert Limit().part(0, parts) == Limit()


def expert(model: str = "openai/gpt", **fields: object) -> Expert:
    return Expert.model_validate({"label": "x", "model": model, **fields})


def test_experts_of_one_server_or_one_account_share_an_endpoint() -> None:
    assert endpoint_of(expert()) == endpoint_of(expert("openai/other")) == "openai"
    assert endpoint_of(expert(key_env="MY_KEY")) == "openai:MY_KEY"
    url = "http://127.0.0.1:8000/v1"
    assert endpoint_of(expert(base_url=url + "/")) == endpoint_of(expert(base_url=url)) == url
    some = Limit(concurrency=3)
    assert limit_of("openai:MY_KEY", {"openai": some}) == some
    assert limit_of(url, {url + "/": some}) == some
    assert limit_of(url, {"http": some, "openai": some}) is None
    mine = Limit(concurrency=1)
    assert limit_of("openai:MY_KEY", {"openai": some, "openai:MY_KEY": mine}) == mine


def test_a_limit_that_would_hold_for_nobody_is_told() -> None:
    check_limits({"openai": Limit()}, [expert(key_env="MY_KEY")])
    check_limits({"scripted": Limit()}, [expert("scripted/slow")])
    with pytest.raises(Mistake, match=r"limits\.opnai: no expert of this run.*openai"):
        check_limits({"opnai": Limit()}, [expert()])
    with pytest.raises(Mistake, match="no expert of this run has that endpoint"):
        check_limits({"openai": Limit()}, [expert(base_url="http://127.0.0.1:1/v1")])
