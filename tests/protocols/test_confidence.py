"""Stated confidences: what is read, and what stays unread."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.confidence import confidence_part, parse_confidence, read_confidence
from protocols.parsing import Unparsed


@pytest.mark.parametrize(
    ("written", "scale", "value"),
    [
        ("0.8", "unit", 0.8),
        (".8", "unit", 0.8),
        ("1", "unit", 1.0),
        ("1.0", "unit", 1.0),
        ("0", "unit", 0.0),
        ("80%", "unit", 0.8),
        ("80 %", "unit", 0.8),
        ("60%", "unit", 0.6),
        ("8/10", "unit", 0.8),
        ("8 / 10", "unit", 0.8),
        ("9 out of 10", "unit", 0.9),
        ("9 OUT OF 10", "ten", 0.9),
        ("**0.8**", "unit", 0.8),
        ("0.8.", "unit", 0.8),
        ("100%", "ten", 1.0),
        ("8", "ten", 0.8),
        ("8.5", "ten", 0.85),
        ("10", "ten", 1.0),
        ("1", "ten", 0.1),
        ("80", "percent", 0.8),
        ("0.5", "percent", 0.005),
        ("4/5", "ten", 0.8),
    ],
)
def test_read(written, scale, value):
    assert parse_confidence(written, scale=scale) == value


@pytest.mark.parametrize(
    ("written", "scale"),
    [
        ("high", "unit"),
        ("very sure", "unit"),
        ("", "unit"),
        (".", "unit"),
        ("80", "unit"),
        ("8", "unit"),
        ("1.01", "unit"),
        ("-0.1", "unit"),
        ("+0.5", "unit"),
        ("101%", "unit"),
        ("11/10", "unit"),
        ("1/0", "unit"),
        ("0/0", "unit"),
        ("0.8-0.9", "unit"),
        ("0.8 or 0.9", "unit"),
        ("about 0.8", "unit"),
        ("0.8 (high)", "unit"),
        ("0,8", "unit"),
        ("nan", "unit"),
        ("inf", "unit"),
        ("1e-1", "unit"),
        ("\u0660.\u0668", "unit"),
        ("0", "ten"),
        ("0.8", "ten"),
        ("11", "ten"),
        ("101", "percent"),
        ("9" * 200, "unit"),
        ("0." + "3" * 40, "unit"),
    ],
)
def test_unread(written, scale):
    assert isinstance(parse_confidence(written, scale=scale), Unparsed)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("Confidence: 0.8\nAnswer: A", 0.8),
        ("**Confidence:** 80%\nAnswer: A", 0.8),
        ("confidence : 0.3\nConfidence: 0.8", 0.8),
        ("> Confidence: 1\nConfidence: 0.2", 0.2),
        ("Confidence: 0.8\n> Confidence: 1", 0.8),
    ],
)
def test_the_last_line_of_ones_own_counts(text, value):
    assert read_confidence(text) == value


@pytest.mark.parametrize(
    "text", ["", "I am sure.", "> Confidence: 1", "Confidence: 0.8\nConfidence: high", "Answer: A"]
)
def test_no_line_or_an_unreadable_last_one_is_unparsed(text):
    assert isinstance(read_confidence(text), Unparsed)


@given(text=st.text(alphabet="0123456789./% outf-e\n", max_size=30))
def test_whatever_is_read_lies_between_0_and_1(text):
    for scale in ("unit", "ten", "percent"):
        value = parse_confidence(text, scale=scale)
        assert isinstance(value, Unparsed) or 0.0 <= value <= 1.0


def test_the_request_names_the_scale():
    assert "from 0 (" in confidence_part().text
    assert "from 1 (" in confidence_part("ten").text
    assert "to 10 (" in confidence_part("ten").text
