"""Beliefs, decisions and votes that stand in a reply's text."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.beliefs import (
    clamped,
    marked_text,
    parse_belief,
    read_belief,
    read_consent,
    read_decision,
)
from protocols.replies import Reply, failed
from tests.protocols.examples import CHOICE, PAIR, TEXT


@pytest.mark.parametrize(
    ("written", "belief"),
    [
        ("A 0.7", (0.7, 0.3)),
        ("B 0.25", (0.75, 0.25)),
        ("A 0.7, B 0.3", (0.7, 0.3)),
        ("B: 30%, A: 70%", (0.7, 0.3)),
        ("(A) 0.5 and (B) 0.5", (0.5, 0.5)),
        ("A=.2; B=.8", (0.2, 0.8)),
        ("A 1, B 0", (0.99, 0.01)),
        ("A 0.33, B 0.66", (1 / 3, 2 / 3)),
        ("a 0.7 b 0.3", (0.7, 0.3)),
        ("A 0.7, B 0.5", None),
        ("A 0.2, B 0.2", None),
        ("A 70, B 30", None),
        ("A 0.7, A 0.3", None),
        ("C 0.7", None),
        ("0.7", None),
        ("A", None),
        ("A .", None),
        ("A 0.7 or so", None),
        ("A -0.7", None),
        ("", None),
    ],
)
def test_beliefs_about_two_options(written, belief):
    found = parse_belief(written, 2)
    assert found == (None if belief is None else pytest.approx(belief))


def test_beliefs_about_more_options():
    assert parse_belief("A .25 B .25 C .25", 4) == pytest.approx((0.25,) * 4)
    assert parse_belief("A .5 B .5", 4) is None


@given(st.text(max_size=60), st.integers(2, 5))
def test_whatever_is_written_gives_a_distribution_or_nothing(written, options):
    for belief in (parse_belief(written, options), parse_belief(f"A 0.{written}", options)):
        if belief is not None:
            assert len(belief) == options
            assert math.fsum(belief) == pytest.approx(1.0)
            assert all(0.0 < share < 1.0 for share in belief)


@given(st.floats(0, 1))
def test_clamped_to_a_hundredth(p):
    a, b = clamped((p, 1.0 - p))
    assert a == min(max(p, 0.01), 0.99) or b in (0.01, 0.99)
    assert min(a, b) >= 0.01
    assert a + b == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("text", "stated"),
    [
        ("Decision: end", "end"),
        ("decision:  End.", "end"),
        ("**Decision: continue**", "continue"),
        ("**Decision:** continue", "continue"),
        ("Decision: end\nDecision: continue", "continue"),
        ("Decision: end\n> Decision: continue", "end"),
        ("> Decision: end", None),
        ("My Decision: end", None),
        ("Decision: end it", None),
        ("Decision: end\nDecision: perhaps", None),
        ("Decisions: end", None),
        ("end", None),
        ("", None),
    ],
)
def test_decisions(text, stated):
    assert read_decision(Reply(text)) == stated


@pytest.mark.parametrize(
    ("text", "vote"),
    [("End: yes", True), ("End: No.", False), ("End: maybe", None), ("Ended: yes", None)],
)
def test_votes(text, vote):
    assert read_consent(Reply(text)) == vote


def test_failures_state_nothing():
    lost = failed("refused", "Belief: A 0.7")
    assert read_belief(lost, PAIR) is None
    assert read_decision(lost) is None
    assert read_consent(lost) is None


@pytest.mark.parametrize(
    ("reply", "belief"),
    [
        (Reply("Belief: A 0.7", distribution=(0.2, 0.8)), (0.2, 0.8)),
        (Reply("", distribution=(1.0, 0.0)), (0.99, 0.01)),
        (Reply("Belief: A 0.7", distribution=(0.2, 0.2)), None),
        (Reply("Belief: A 0.7", distribution=(0.2, 0.3, 0.5)), None),
        (Reply("Hm.\nBelief: A 0.7\n"), (0.7, 0.3)),
        (Reply("Belief: A 0.7\nBelief: who knows"), None),
        (Reply("Answer: A"), None),
    ],
)
def test_a_distribution_counts_before_a_line(reply, belief):
    found = read_belief(reply, PAIR)
    assert found == (None if belief is None else pytest.approx(belief))


def test_without_options_there_is_no_belief():
    assert read_belief(Reply("Belief: A 1"), TEXT) is None
    assert read_belief(Reply("Belief: A 1"), CHOICE) is None


def test_a_megabyte_is_read_at_once():
    assert marked_text("Belief" + " " * 1_000_000 + ": A 1", "belief") is None
    assert marked_text("Belief: A 1\n" * 100_000, "belief") == "A 1"
