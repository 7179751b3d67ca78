"""Questions, quoting, and the cleaning of text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from protocols.canonical import canonical_json, clean_text, sha256_hex
from protocols.messages import Place
from protocols.question import LABELS, Question
from protocols.quoting import MARK, quoted, quoted_part, unquoted
from protocols.replies import Reply
from protocols.solving import reordered
from tests.protocols.examples import CHOICE, PAIR


def test_options_are_labelled_in_order():
    assert CHOICE.labels == ("A", "B", "C", "D")
    assert CHOICE.options_part.text.splitlines() == ["A. Mars", "B. Saturn", "C. Venus", "D. Earth"]
    most = Question(id="q", text="?", options=tuple(LABELS))
    assert most.labels[-1] == "Z"


def test_an_option_stays_on_its_line():
    question = Question(id="q", text="?", options=("one\nB. two\u2028three", "four"))
    assert question.options_part.text == "A. one B. two three\nB. four"


@pytest.mark.parametrize(
    "fields",
    [
        {"id": ""},
        {"text": " \n"},
        {"options": ("one",)},
        {"options": ("x",) * 27},
        {"options": ("1", "2"), "kind": "number"},
        {"gold": "A"},
        {"kind": "essay"},
    ],
)
def test_an_impossible_question_is_refused(fields):
    with pytest.raises(ValidationError):
        Question.model_validate({"id": "q", "text": "?", **fields})


def test_what_no_store_can_hold_is_replaced():
    question = Question(
        id="q\0", text="a\ud800b", options=("x\0", "y"), passage="\udfff", subject="s\0"
    )
    assert (question.id, question.text, question.passage) == ("q\ufffd", "a\ufffdb", "\ufffd")
    assert (question.options, question.subject) == (("x\ufffd", "y"), "s\ufffd")
    assert clean_text("fine") == ("fine", False)


@given(st.text(st.characters(), max_size=40))
def test_cleaned_text_can_be_encoded(text):
    cleaned, changed = clean_text(text)
    cleaned.encode()
    assert "\0" not in cleaned
    assert changed == (cleaned != text)
    assert clean_text(cleaned) == (cleaned, False)


def test_identity_is_id_and_content():
    same = Question.model_validate(CHOICE.model_dump())
    assert (same.key, same.content_digest) == (CHOICE.key, CHOICE.content_digest)
    renamed = Question.model_validate({**CHOICE.model_dump(), "id": "other"})
    assert renamed.content_digest == CHOICE.content_digest
    assert renamed.key != CHOICE.key
    for name, value in [("text", "x"), ("subject", "x"), ("passage", "x"), ("cluster", "x"),
                        ("options", ("Saturn", "Mars", "Venus", "Earth"))]:  # fmt: skip
        changed = Question.model_validate({**CHOICE.model_dump(), name: value})
        assert changed.content_digest != CHOICE.content_digest


TEXTS = st.text(max_size=20)


@given(TEXTS.map("?".__add__), TEXTS, st.none() | TEXTS, st.lists(TEXTS, min_size=2, max_size=4))
def test_what_is_written_by_hand_is_canonical_json(
    text: str, name: str, passage: str | None, options: list[str]
):
    for answered in ({}, {"options": tuple(options)}, {"kind": "number"}):
        question = Question(
            id=f"q{name}",
            text=text,
            passage=passage,
            category=name,
            subject=name,
            cluster=text,
            **answered,
        )
        content = question.model_dump(mode="json")
        assert question.as_json == canonical_json(content)
        del content["id"]
        assert question.content_digest == sha256_hex(canonical_json(content))
    assert Question.model_validate_json(question.as_json) == question


def test_statistics_count_clusters():
    assert CHOICE.unit == CHOICE.id
    assert Question(id="q", text="?", cluster="story").unit == "story"


def test_canonical_json_has_no_nan():
    assert canonical_json({"b": "ä", "a": [1.5, None]}) == '{"a":[1.5,null],"b":"ä"}'
    with pytest.raises(ValueError, match="JSON compliant"):
        canonical_json(float("nan"))


def test_reordering_changes_the_options_alone():
    _ = PAIR.options_part  # computed parts must not travel along
    swapped = reordered(PAIR, (1, 0))
    assert swapped.options == tuple(reversed(PAIR.options))
    assert swapped.options_part.text == "A. The cook\nB. The miller"
    assert swapped.key != PAIR.key
    assert reordered(swapped, (1, 0)) == PAIR


@given(st.text(max_size=60) | st.text("a>\n\r\u2028\x85\x0b\x1c ", max_size=20))
def test_no_text_can_leave_its_quotation(text):
    text = clean_text(text)[0]  # as `quoted` does
    lines = quoted(text).splitlines()
    assert lines
    assert all(line.startswith(MARK) for line in lines)
    assert unquoted(quoted(text)).split("\n") == (text.splitlines() or [""])
    assert quoted(quoted(text)).splitlines() == [MARK + line for line in lines]


def test_a_quoted_part_knows_where_it_comes_from():
    reply = Reply("one\ntwo").at(Place(2, 1))
    part = quoted_part("speech", reply)
    assert (part.name, part.text, part.origin) == ("speech", "> one\n> two", Place(2, 1))
    assert quoted_part("speech", reply, text="cut").text == "> cut"
    assert unquoted(quoted("")) == ""
