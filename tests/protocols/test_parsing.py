from __future__ import annotations

import re
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.parsing import (
    MOST_DIGITS,
    Parsed,
    Unparsed,
    answer_text,
    canonical_answer,
    option_distribution,
    parse_number,
    read_answer,
)
from protocols.question import Question
from protocols.quoting import quoted
from protocols.replies import BOUNDARIES, Reply, failed
from tests.protocols.examples import CHOICE, NUMBER, PAIR, TEXT

OPEN_CHOICE = Question(id="q/open", text="Which one?", kind="choice")
HOSTILE = st.text(
    alphabet=st.sampled_from("AaBZ1.(*): >\n\r\u2028\x1canswer:Answer,/$%-e"), max_size=80
)
ANY_TEXT = st.one_of(st.text(max_size=200), HOSTILE)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("Answer: B", "B"),
        ("answer: b", "B"),
        ("ANSWER : (B)", "B"),
        ("  Answer: B.", "B"),
        ("**Answer: B**", "B"),
        ("**Answer:** B", "B"),
        ("**Answer**: B", "B"),
        ("Answer: **B**", "B"),
        ("Answer: B) Saturn", "B"),
        ("Answer: (B) Saturn", "B"),
        ("Answer: B. Saturn", "B"),
        ("Answer: A\nno, wait\nAnswer: B\nThat is all.", "B"),
        ("> Answer: A\nAnswer: B\n> Answer: C", "B"),
    ],
)
def test_a_choice_is_read_from_the_last_answer_line(text, value):
    assert read_answer(Reply(text), CHOICE) == Parsed(value)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "B",
        "The answer: B",
        "> Answer: B",
        "Answer:",
        "Answer: B\nAnswer:",
        "Answer B",
        "Answer:\nB",
        "Answer: A dog",
        "Answer: I think B",
        "Answer: A or B",
        "Answer: A, B",
        "Answer: (A) and (B)",
        "Answer: A/B",
        "Answer: AB",
        "Answer: E",
        "Answer: \u0410",
        "Answer: 1",
        "Answers: B",
        "Answer: A\nAnswer: none of them",
    ],
)
def test_what_is_no_single_option_is_unparsed(text):
    assert isinstance(read_answer(Reply(text), CHOICE), Unparsed)


def test_a_choice_without_options_takes_any_letter():
    assert read_answer(Reply("Answer: Q"), OPEN_CHOICE) == Parsed("Q")
    assert isinstance(read_answer(Reply("Answer: \u00c4"), OPEN_CHOICE), Unparsed)


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_a_failed_reply_is_unparsed(boundary):
    reading = read_answer(failed(boundary, "Answer: B"), CHOICE)
    assert reading == Unparsed(f"the ask failed: {boundary}")


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("260.0", "260"),
        ("260.", "260"),
        ("1,000", "1000"),
        ("1,234,567.50", "1234567.5"),
        ("1e3", "1000"),
        ("2.5E-3", "0.0025"),
        ("3/4", "0.75"),
        ("-3 / 4", "-0.75"),
        ("1/3", "0." + "3" * 28),
        ("$42", "42"),
        ("-$42", "-42"),
        ("$-42", "-42"),
        ("\u221242", "-42"),
        ("50%", "50"),
        ("**7**", "7"),
        ("+7", "7"),
        ("-0", "0"),
        ("-0.000", "0"),
        ("007", "7"),
        (".5", "0.5"),
        ("1e150", "1" + "0" * 150),
    ],
)
def test_numbers_have_one_canonical_form(written, value):
    assert parse_number(written) == value
    assert read_answer(Reply(f"Answer: {written}"), NUMBER) == Parsed(value)


@pytest.mark.parametrize(
    "written",
    [
        "inf", "-Infinity", "nan", "sNaN", "1_000", "1,00", "12,34", "12 apples", "about 3", "--3",
        "-$-3", "3/0", "3/", "/4", "1/2/3", "0x10", "\u0663", ".", "-", "e5", "1e999999999",
        "1e-999999999", "1e9999/1", f"1e{MOST_DIGITS + 1}", f"1e-{MOST_DIGITS + 1}", "9" * 10**6,
        " " * 10**6, "1/" * 10**5, "__import__('os')", "2+2", "",
    ],
)  # fmt: skip
def test_what_is_no_bounded_number_is_none(written):
    assert parse_number(written) is None


def test_a_text_answer_is_the_rest_of_the_line():
    assert read_answer(Reply("Answer:   The  LIMA  \nbye"), TEXT) == Parsed("the lima")
    assert read_answer(Reply("Answer: **Lima**"), TEXT) == Parsed("lima")
    assert isinstance(read_answer(Reply("Answer: **"), TEXT), Unparsed)


@pytest.mark.parametrize("question", [CHOICE, NUMBER, TEXT])
@pytest.mark.parametrize(
    "text",
    ["Answer:" + " " * 10**6, "*" * 10**6, "Answer: " + "9" * 10**6, "Answer: A\n" * 10**5,
     "Answer: " + "(" * 10**6, " " * 10**6 + "Answer", "Answer" + " *" * 10**6],
    ids=["blanks", "stars", "digits", "lines", "brackets", "indent", "star_marks"],
)  # fmt: skip
def test_a_megabyte_is_read_and_not_guessed_at(text, question):
    assert isinstance(read_answer(Reply(text), question), Parsed | Unparsed)


@given(ANY_TEXT, st.sampled_from([CHOICE, PAIR, OPEN_CHOICE, NUMBER, TEXT]))
def test_a_reading_is_canonical_or_absent(text, question):
    reading = read_answer(Reply(text), question)
    if isinstance(reading, Parsed):
        assert canonical_answer(reading.value, question.kind) == reading.value
        if question.options:
            assert reading.value in question.labels


@given(ANY_TEXT)
def test_quoted_words_are_never_an_answer(text):
    assert answer_text(quoted(text)) is None
    assert answer_text(f"Answer: B\n{quoted(text)}") == "B"


@given(ANY_TEXT, st.sampled_from("ABCD"))
def test_the_last_line_decides_whatever_stands_before(text, label):
    assert read_answer(Reply(f"{text}\nAnswer: {label}"), CHOICE) == Parsed(label)


@given(
    st.decimals(
        allow_nan=False, allow_infinity=False, places=6, min_value=-(10**12), max_value=10**12
    )
)
def test_equal_numbers_are_equal_texts(number):
    canonical = parse_number(str(number))
    assert canonical is not None
    assert Decimal(canonical) == number
    assert re.fullmatch(r"-?(0|[1-9]\d*)(\.\d*[1-9])?", canonical)
    assert parse_number(f"{number:,f}") == canonical
    assert parse_number(canonical) == canonical


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (Reply("Answer: B"), (0.0, 1.0)),
        (Reply("Answer: B", distribution=(0.7, 0.3)), (0.7, 0.3)),
        (Reply("", distribution=(0.5, 0.5)), (0.5, 0.5)),
        (Reply("Answer: B", distribution=(1.0,)), None),
        (Reply("Answer: B", distribution=(0.7, 0.7)), None),
        (Reply("Answer: B", distribution=(1.5, -0.5)), None),
        (Reply("Answer: B", distribution=(float("nan"), 1.0)), None),
        (Reply("no idea"), None),
        (failed("timeout", "late"), None),
    ],
)
def test_distributions_are_taken_checked_or_read_off_the_answer(reply, expected):
    assert option_distribution(reply, PAIR) == expected


def test_a_question_without_options_has_no_distribution():
    assert option_distribution(Reply("Answer: 4", distribution=(1.0,)), NUMBER) is None
