"""When an attempt is made again: by what came back, how often, and how long it took."""

from __future__ import annotations

import pytest

from agents.engine import Attempted, Throttled
from orchestrator.limits.retry import Accept, RetryPolicy, TryAgain
from protocols.replies import Boundary, Reply, failed

POLICY = RetryPolicy(attempts=3, malformed_attempts=2, first_wait_s=0.0)


@pytest.mark.parametrize(
    ("result", "failures", "again"),
    [
        (Reply("fine"), 0, False),
        (failed("provider", "reset"), 1, True),
        (failed("provider", "reset"), 2, True),
        (failed("provider", "reset"), 3, False),
        (failed("timeout", "slow"), 1, True),
        (failed("timeout", "slow"), 3, False),
        (failed("malformed", "no JSON"), 1, True),
        (failed("malformed", "no JSON"), 2, False),
        (failed("refused", "no"), 1, False),
        (failed("overlong", "too long"), 1, False),
        (failed("provider", "no key", cause="authentication"), 1, False),
        (failed("provider", "no such model", cause="not_found"), 1, False),
        (failed("malformed", "bad request", cause="bad_request"), 1, False),
        (Throttled(3.0, "slow down"), 0, True),
    ],
)
def test_what_is_tried_again(result: Attempted, failures: int, again: bool) -> None:
    decision = POLICY.decide(result, failures)
    assert isinstance(decision, TryAgain if again else Accept)


def test_waits_grow_with_jitter_up_to_a_limit() -> None:
    policy = RetryPolicy(first_wait_s=1.0, longest_wait_s=5.0)
    for failures, most in ((1, 1.0), (2, 2.0), (3, 4.0), (4, 5.0), (9, 5.0)):
        waits = [policy.wait_s(failures) for _ in range(50)]
        assert all(0.0 <= wait <= most for wait in waits)
        assert len(set(waits)) > 10, "jitter"


def test_a_provider_is_given_the_time_it_asks_for() -> None:
    policy = RetryPolicy(first_wait_s=1.0, longest_wait_s=5.0)
    first = policy.decide(Throttled(7.5), 0, throttles=1)
    assert isinstance(first, TryAgain)
    assert (first.wait_s, first.throttled) == (7.5, True)
    later = [policy.decide(Throttled(0.0), 0, throttles=6) for _ in range(20)]
    assert any(isinstance(one, TryAgain) and one.wait_s > 0.0 for one in later), "no hot loop"


@pytest.mark.parametrize("boundary", ["provider", "timeout"])
def test_time_ends_it_before_the_attempts_do(boundary: Boundary) -> None:
    policy = RetryPolicy(attempts=100, first_wait_s=0.0, longest_total_s=60.0)
    assert isinstance(policy.decide(failed(boundary, "x"), 5, spent_s=59.0), TryAgain)
    assert isinstance(policy.decide(failed(boundary, "x"), 5, spent_s=61.0), Accept)


def test_throttling_ends_too_and_says_so() -> None:
    policy = RetryPolicy(longest_total_s=60.0)
    spent = policy.decide(Throttled(5.0, "You exceeded your quota"), 0, throttles=9, spent_s=58.0)
    assert isinstance(spent, Accept)
    failure = spent.reply.failure
    assert failure is not None
    assert (failure.boundary, failure.cause) == ("provider", "throttled")
    told = "(to wait 5 s more passes retry.longest_total_s)"
    assert failure.message == f"You exceeded your quota {told}"
    assert isinstance(policy.decide(Throttled(86_400.0), 0, throttles=1), Accept), "no use to wait"
