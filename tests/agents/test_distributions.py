"""Distributions over options: from log-probabilities, from draws, as stated."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.distributions import Spread, Token, from_draws, from_tokens, from_words

AB = ("A", "B")


def token(text: str, **others: float) -> Token:
    """Return a token; its own probability is what the others leave."""
    rest = 1.0 - sum(others.values())
    pairs = [(text, math.log(rest))] if rest > 0.0 else []
    return Token(text, (*pairs, *((name, math.log(p)) for name, p in others.items())))


def plain(*texts: str) -> list[Token]:
    return [token(text) for text in texts]


def approximately(spread: Spread | None, values: tuple[float, ...], outside: float) -> bool:
    assert spread is not None
    return spread.values == pytest.approx(values) and spread.outside == pytest.approx(outside)


def test_the_answer_token_behind_reasons_is_read() -> None:
    before = plain("Answer", ":", " A", "?", " No", ".", "\n", "Answer", ":")
    answer = token(" B", **{" A": 0.2})
    assert approximately(from_tokens([*before, answer, *plain(".")], AB), (0.2, 0.8), 0.0)


def test_spellings_of_a_label_are_one_and_the_rest_is_outside() -> None:
    spread = from_tokens(
        [*plain("Answer:"), token(" A", **{"A": 0.1, " a": 0.05, "(B": 0.2, " The": 0.1})], AB
    )
    assert approximately(spread, (0.7 / 0.9, 0.2 / 0.9), 0.1)


@pytest.mark.parametrize(
    "tokens",
    [
        plain("Answer", ":", " ", "**", "A", "**"),
        plain("**", "Answer", ":**", " A"),
        plain("A"),
        plain(" (", "A", ")"),
        plain("answer", " :", "A."),
        plain("\u0120A"),
    ],
    ids=lambda tokens: "|".join(token.text for token in tokens),
)
def test_where_the_answer_stands(tokens: list[Token]) -> None:
    assert approximately(from_tokens(tokens, AB), (1.0, 0.0), 0.0)


@pytest.mark.parametrize(
    "tokens",
    [
        [],
        plain("I", " cannot", " say"),
        plain("A", " cat", " sat"),
        plain("Answer: A"),
        plain("Answer", ":"),
        plain("Answer", ":", " "),
        plain("> Answer: A"),
        [*plain("Answer:"), token(" C", **{" A": 0.3, " B": 0.1})],
        [*plain("Answer:"), Token(" A", ((" A", float("nan")),))],
        [*plain("Answer:"), Token(" A", ())],
        [*plain("Answer:"), Token(" A", ((" A", -9999.0), (" B", -math.inf)))],
    ],
    ids=lambda tokens: "|".join(token.text for token in tokens)[:30],
)
def test_what_shows_no_distribution(tokens: list[Token]) -> None:
    assert from_tokens(tokens, AB) is None


def test_an_odd_draw_of_a_decided_judge_still_counts() -> None:
    spread = from_tokens([*plain("Answer:"), token(" C", **{" A": 0.6, " B": 0.3})], AB)
    assert approximately(spread, (2 / 3, 1 / 3), 0.1)


@given(
    st.lists(
        st.tuples(st.text(max_size=6), st.lists(st.tuples(st.text(max_size=3), st.floats()))),
        max_size=6,
    )
)
def test_whatever_comes_it_is_a_distribution_or_none(raw: list[tuple[str, list]]) -> None:
    tokens = [*plain("Answer:"), *[Token(text, tuple(pairs)) for text, pairs in raw]]
    spread = from_tokens(tokens, AB)
    if spread is not None:
        assert math.fsum(spread.values) == pytest.approx(1.0)
        assert all(0.0 <= value <= 1.0 for value in (*spread.values, spread.outside))


def test_draws_are_counted_and_unread_ones_are_outside() -> None:
    texts = ["Answer: A", "so\nAnswer: (b)", "Answer: B.", "no idea", "Answer: C"]
    assert approximately(from_draws(texts, AB), (1 / 3, 2 / 3), 0.4)
    assert from_draws(["no idea", ""], AB) is None
    assert from_draws([], AB) is None


def test_options_that_are_words() -> None:
    assert approximately(from_draws(["Answer: yes", "No."], ("Yes", "No")), (0.5, 0.5), 0.0)
    tokens = [*plain("Answer:"), token(" yes", **{" no": 0.25})]
    assert approximately(from_tokens(tokens, ("Yes", "No")), (0.75, 0.25), 0.0)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("Belief: A 0.7\nAnswer: A", (0.7, 0.3)),
        ("Belief: A 20%, B 80%", (0.2, 0.8)),
        ("Answer: B\nConfidence: 0.9", (0.1, 0.9)),
        ("Answer: b\nConfidence: 75%", (0.25, 0.75)),
        ("Belief: none\nAnswer: A\nConfidence: 1", (1.0, 0.0)),
    ],
)
def test_stated_probabilities(text: str, values: tuple[float, ...]) -> None:
    assert approximately(from_words(text, AB), values, 0.0)


@pytest.mark.parametrize(
    "text",
    ["Answer: A", "Confidence: 0.9", "Answer: C\nConfidence: 0.9", "Answer: A\nConfidence: high"],
)
def test_what_states_no_probability(text: str) -> None:
    assert from_words(text, AB) is None


def test_the_rest_of_a_confidence_is_spread_evenly() -> None:
    spread = from_words("Answer: C\nConfidence: 0.7", ("A", "B", "C", "D"))
    assert approximately(spread, (0.1, 0.1, 0.7, 0.1), 0.0)
