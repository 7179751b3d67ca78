from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.errors import Mistake
from workflows.settings.overrides import apply_override, parse_override, path_text


@pytest.mark.parametrize(
    ("text", "path", "value"),
    [
        ("seed=3", ("seed",), 3),
        ("pool=null", ("pool",), None),
        ("pool=[a, b]", ("pool",), ["a", "b"]),
        ("protocols[1].rounds=2", ("protocols", 1, "rounds"), 2),
        ("experts.judge.base_url=http://x:1/v1", ("experts", "judge", "base_url"), "http://x:1/v1"),
        ('experts."gpt-4.1".price=unknown', ("experts", "gpt-4.1", "price"), "unknown"),
        ("experts.'a b'=c/d", ("experts", "a b"), "c/d"),
        ("store=postgresql://u@h/db?x=1", ("store",), "postgresql://u@h/db?x=1"),
        ("name=", ("name",), None),
    ],
)
def test_forms(text: str, path: tuple[Any, ...], value: object) -> None:
    assert parse_override(text) == (path, value)


@pytest.mark.parametrize(
    "text", ["", "seed", "=3", "[0]=1", "a..b=1", "a[x]=1", "a.[0]=1", "a b=1", "a[0]b=1", ".a=1"]
)
def test_malformed(text: str) -> None:
    with pytest.raises(Mistake, match="is not an override"):
        parse_override(text)


def test_value_that_is_not_yaml() -> None:
    with pytest.raises(Mistake, match="not YAML"):
        parse_override("a=[1")


def test_apply_makes_what_is_absent_and_keeps_the_rest() -> None:
    data: dict[str, Any] = {"protocols": [{"kind": "a"}, {"kind": "b"}], "cast": None}
    for text in ("protocols[1].rounds=2", "cast.judge=x/y", "questions.path=f", "protocols[0]=1"):
        apply_override(data, text)
    assert data == {
        "protocols": [1, {"kind": "b", "rounds": 2}],
        "cast": {"judge": "x/y"},
        "questions": {"path": "f"},
    }


def test_a_star_is_every_key_and_every_entry() -> None:
    data: dict[str, Any] = {"experts": {"a": {"model": "x"}, "b": "y"}, "protocols": [{}, {"k": 1}]}
    for text in ("experts.*={model: o/m}", "protocols.*.rounds=2", "experts.*.price=unknown"):
        apply_override(data, text)
    assert data["experts"] == {n: {"model": "o/m", "price": "unknown"} for n in "ab"}
    assert data["experts"]["a"] is not data["experts"]["b"]
    assert data["protocols"] == [{"rounds": 2}, {"k": 1, "rounds": 2}]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("new.*=1", "new has nothing for '*'"),
        ("seed.*=1", "seed has nothing for '*'"),
        ("protocols[2].rounds=1", "protocols has 1 entries"),
        ("protocols.rounds=1", "protocols is not a mapping"),
        ("seed[0]=1", "seed is not a list"),
        ("seed.x=1", "seed is not a mapping"),
        ("new[0]=1", "new is not a list"),
    ],
)
def test_path_through_something_else(text: str, says: str) -> None:
    with pytest.raises(Mistake) as caught:
        apply_override({"protocols": [{}], "seed": 1}, text)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@given(st.text() | st.from_regex(r"""[ab]("x.y "|'q"'|\[1\]|\.c)*=1""", fullmatch=True))
def test_any_text_is_an_override_or_a_mistake(text: str) -> None:
    try:
        path, _ = parse_override(text)
    except Mistake:
        return
    assert parse_override(f"{path_text(path)}=1")[0] == path
