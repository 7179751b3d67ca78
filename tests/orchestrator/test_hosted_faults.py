"""A provider that goes wrong and a process that is killed: all comes to an end, counted once."""

from __future__ import annotations

import pytest

from benchmarks import hosted_faults
from benchmarks.hosted_faults import ASKS


@pytest.mark.parametrize("killed", [False, True], ids=["undisturbed", "killed"])
def test_a_small_run_loses_nothing_and_answers_nothing_twice(killed: bool) -> None:
    check(hosted_faults.run(40, killed=killed), 40, killed=killed)


@pytest.mark.slow
@pytest.mark.parametrize("killed", [False, True], ids=["undisturbed", "killed"])
def test_a_thousand_sessions_lose_nothing_and_answer_nothing_twice(killed: bool) -> None:
    check(hosted_faults.run(1_000, killed=killed), 1_000, killed=killed)


def check(found: hosted_faults.Found, sessions: int, *, killed: bool) -> None:
    assert (found.sessions_lost, found.asks_lost, found.asks_doubled) == (0, 0, 0)
    assert found.mispriced == 0
    assert found.requests > sessions * ASKS, "some went wrong"
    if killed:
        assert found.attempts_recorded >= found.requests, "each request has a row"
        assert found.answered_again <= found.unsure, "paid twice: at most what was under way"
    else:
        assert found.attempts_recorded == found.requests
        assert (found.answered_again, found.unsure) == (0, 0)
