"""The circuit of an endpoint, as a state machine."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.limits.circuit import Circuit


def opened(now: float = 0.0) -> Circuit:
    circuit = Circuit(failures=3, wait_s=10.0, longest_wait_s=25.0)
    assert [circuit.failed(now) for _ in range(3)] == [False, False, True]
    return circuit


def test_it_opens_after_failures_in_a_row_and_an_answer_between_starts_anew() -> None:
    circuit = Circuit(failures=3)
    circuit.failed(0.0)
    circuit.failed(0.0)
    assert not circuit.answered()
    assert not circuit.failed(0.0)
    assert circuit.state == "closed"
    assert circuit.next_at() == -math.inf


def test_one_probe_goes_when_the_wait_is_over_and_its_answer_closes_it() -> None:
    circuit = opened()
    assert (circuit.state, circuit.next_at()) == ("open", 10.0)
    circuit.sent()
    assert (circuit.state, circuit.next_at()) == ("probing", math.inf), "no second probe"
    assert circuit.answered()
    assert circuit.state == "closed"


def test_a_failed_probe_waits_twice_as_long_up_to_a_limit() -> None:
    circuit, now = opened(), 10.0
    for wait_s in (20.0, 25.0, 25.0):
        circuit.sent()
        assert circuit.failed(now)
        assert circuit.next_at() == now + wait_s
        now += wait_s
    circuit.sent()
    circuit.answered()
    for _ in range(3):
        circuit.failed(now)
    assert circuit.next_at() == now + 10.0, "the first wait again"


def test_late_failures_of_what_was_under_way_do_not_prolong_it() -> None:
    circuit = opened()
    assert not circuit.failed(5.0)
    assert circuit.next_at() == 10.0


def test_a_late_answer_closes_it_and_a_lost_probe_lets_another_go() -> None:
    circuit = opened()
    circuit.sent()
    circuit.forgotten()
    assert (circuit.state, circuit.next_at()) == ("open", 10.0)
    assert circuit.answered()


@given(st.lists(st.sampled_from(["sent", "failed", "answered", "forgotten"]), max_size=80))
def test_whatever_happens_it_never_stays_shut(events: list[str]) -> None:
    circuit, now = Circuit(failures=2, wait_s=1.0, longest_wait_s=4.0), 0.0
    for event in events:
        now += 0.5
        if event == "failed":
            circuit.failed(now)
        elif event != "sent":
            getattr(circuit, event)()
        elif circuit.next_at() <= now:
            circuit.sent()
        if circuit.state == "open":
            assert circuit.next_at() <= now + 4.0
    if circuit.state == "probing":
        circuit.answered()
    assert circuit.next_at() <= now + 4.0


def test_failures_that_overtake_the_answers_of_many_do_not_open_it() -> None:
    """A tenth of 256 fail at once, before any of the others has answered."""
    circuit = Circuit()
    assert not any(circuit.failed(0.0, 256 - n) for n in range(1, 26))
    circuit.answered()
    assert circuit.state == "closed"


def test_a_server_that_fails_them_all_opens_it_before_all_have_failed() -> None:
    circuit = Circuit()
    opens = [circuit.failed(0.0, 256 - n) for n in range(1, 257)]
    assert opens.index(True) + 1 == 86
