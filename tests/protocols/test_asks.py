"""The identity of asks and replies: what changes it, and what must not."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.asks import Ask, Model, Sampling, Seat
from protocols.canonical import canonical_json
from protocols.messages import Message, Part, Place, find_part, find_parts
from protocols.replies import BOUNDARIES, Failure, Reply, Usage, failed

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
NAME = st.text(max_size=8).map("n".__add__).filter(str.isidentifier)
PARTS = st.builds(Part, NAME, TEXT, kind=st.sampled_from(["text", "image"]))
MESSAGES = st.lists(
    st.builds(
        Message,
        st.sampled_from(["system", "user", "assistant"]),
        st.lists(PARTS, max_size=3).map(tuple),
    ),
    max_size=3,
).map(tuple)
SAMPLINGS = st.builds(
    Sampling,
    temperature=st.none() | st.floats(0, 2),
    top_p=st.none() | st.floats(0, 1),
    max_tokens=st.none() | st.integers(1, 10**6),
    stop=st.lists(TEXT, max_size=2).map(tuple),
    seed=st.none() | st.integers(),
)
SEATS = st.builds(Seat, NAME, NAME, TEXT, st.builds(Model, TEXT, TEXT), SAMPLINGS)
SCHEMAS = st.none() | st.dictionaries(TEXT, TEXT, max_size=2).map(canonical_json)
ASKS = st.builds(
    Ask,
    SEATS,
    MESSAGES,
    st.lists(TEXT, max_size=3).map(tuple),
    SCHEMAS,
    occurrence=st.integers(0, 3),
    score=st.booleans(),
)


@given(ASKS)
def test_a_key_is_sha256_of_canonical_json(ask):
    request = {
        "model": {"name": ask.seat.model.name, "revision": ask.seat.model.revision},
        "sampling": ask.seat.sampling.as_json(),
        "messages": [
            {
                "speaker": message.speaker,
                "parts": [
                    [part.name, hashlib.sha256(f"{part.kind}\n{part.text}".encode()).hexdigest()]
                    for part in message.parts
                ],
            }
            for message in ask.messages
        ],
        "options": list(ask.options),
        "schema": None if ask.schema is None else json.loads(ask.schema),
        **({"score": True} if ask.score else {}),
    }
    text = canonical_json({"request": request, "occurrence": ask.occurrence})
    assert ask.key == hashlib.sha256(text.encode()).hexdigest()


@given(ASKS, st.integers(0, 9), st.integers(0, 9))
def test_transport_place_and_labels_are_not_identity(ask, turn, slot):
    moved = replace(
        ask,
        seat=replace(ask.seat, name="elsewhere", role="other", expert="another label"),
        messages=tuple(
            replace(m, parts=tuple(replace(p, origin=Place(turn, slot)) for p in m.parts))
            for m in ask.messages
        ),
        question="q/other",
        place=Place(turn, slot),
    )
    assert moved.key == ask.key


BASE = Ask(
    Seat("s", "solver", "e", Model("p/m", "r"), Sampling(temperature=0.5)),
    (Message("user", (Part("task", "x"),)),),
)


@pytest.mark.parametrize(
    "other",
    [
        replace(BASE, seat=replace(BASE.seat, model=Model("p/m", "r2"))),
        replace(BASE, seat=replace(BASE.seat, model=Model("p/m2", "r"))),
        replace(BASE, seat=replace(BASE.seat, sampling=Sampling(temperature=0.6))),
        replace(BASE, seat=replace(BASE.seat, sampling=Sampling())),
        replace(BASE, messages=(Message("user", (Part("task", "y"),)),)),
        replace(BASE, messages=(Message("user", (Part("other", "x"),)),)),
        replace(BASE, messages=(Message("user", (Part("task", "x", kind="image"),)),)),
        replace(BASE, messages=(Message("system", (Part("task", "x"),)),)),
        replace(BASE, messages=BASE.messages * 2),
        replace(BASE, options=("A", "B")),
        replace(BASE, schema="{}"),
        replace(BASE, occurrence=1),
        replace(BASE, score=True),
    ],
)
def test_everything_that_can_change_the_output_is_identity(other):
    assert other.key != BASE.key


def test_numbering_counts_equal_requests():
    counts: dict[str, int] = {}
    first = BASE.numbered(Place(0, 0), counts)
    second = BASE.numbered(Place(3, 1), counts)
    other = replace(BASE, options=("A", "B")).numbered(Place(3, 2), counts)
    assert [ask.occurrence for ask in (first, second, other)] == [0, 1, 0]
    assert first.key == BASE.key
    assert second.key == replace(BASE, occurrence=1).key
    assert (second.place, second.messages) == (Place(3, 1), BASE.messages)
    assert replace(BASE, score=True).numbered(Place(3, 3), counts).score


def test_a_part_needs_a_name():
    for name in ("", "two words", '"', "a-b"):
        with pytest.raises(ValueError, match="identifier"):
            _ = Part(name, "x").digest


def test_parts_are_found_by_name():
    messages = (
        Message("system", (Part("system", "be brief"),)),
        Message(
            "user", (Part("speech", "one"), Part("image", "data:", "image"), Part("speech", "two"))
        ),
    )
    assert find_part(messages, "speech") == Part("speech", "one")
    assert find_part(messages, "passage") is None
    assert [part.text for part in find_parts(messages, "speech")] == ["one", "two"]
    assert messages[1].text == "one\n\ntwo"


@given(SAMPLINGS, SAMPLINGS)
def test_sampling_is_filled_up_from_defaults(wanted, defaults):
    effective = wanted.over(defaults)
    for name, value in wanted.as_json().items():
        said = value not in (None, [])
        assert effective.as_json()[name] == (value if said else defaults.as_json()[name])
    assert wanted.over(Sampling()) == wanted


@pytest.mark.parametrize(
    "other",
    [
        Reply("y"),
        Reply("x", distribution=(1.0,)),
        Reply("x", distribution_source="exact"),
        Reply("x", usage=Usage(prompt_tokens=1)),
        Reply("x", finish="length"),
        Reply("x", repaired=True),
        failed("refused", "x"),
        failed("timeout", "x"),
    ],
)
def test_a_digest_covers_all_that_a_session_may_read(other):
    assert other.digest != Reply("x").digest


def test_a_digest_does_not_cover_what_it_may_not():
    plain = Reply("x")
    assert Reply("x", latency_s=3.0, model_served="p/m", place=Place(1, 2)).digest == plain.digest
    moved = replace(plain, usage=Usage(1, 2, 3, 4), latency_s=1.5).at(Place(4, 5))
    assert moved.place == Place(4, 5)
    assert (moved.usage, moved.latency_s) == (Usage(1, 2, 3, 4), 1.5)
    assert moved.at(Place(4, 5)) is moved


def test_failures_say_whether_data_is_missing():
    missing = [b for b in BOUNDARIES if Failure(b, "").missing]
    assert missing == ["provider", "timeout"]
    assert failed("refused", "no").failed
    assert not Reply("").failed
