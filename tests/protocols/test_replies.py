"""Replies: what a session may read of them is their identity."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.canonical import canonical_json, clean_text
from protocols.messages import Place
from protocols.replies import BOUNDARIES, Failure, Reply, Usage, failed, scored

texts = st.text().map(lambda text: clean_text(text)[0])
failures = st.none() | st.builds(Failure, st.sampled_from(BOUNDARIES), texts, texts)
shares = st.none() | st.lists(st.floats(0, 1), max_size=4).map(tuple)
sources = st.sampled_from([None, "logprobs", "samples", "stated", "exact", "score"])
finishes = st.sampled_from(["stop", "length", "content_filter", "failure"])


@given(texts, failures, shares, sources, finishes, st.booleans())
def test_what_a_session_reads_is_canonical_json(
    text: str,
    failure: Failure | None,
    distribution: tuple[float, ...] | None,
    source: str | None,
    finish: str,
    repaired: bool,
) -> None:
    reply = Reply(
        text,
        failure,
        distribution,
        source,  # type: ignore[arg-type]
        Usage(1, 2, 3, 4),
        finish,  # type: ignore[arg-type]
        repaired,
    )
    assert canonical_json(json.loads(reply.seen_json)) == reply.seen_json
    assert json.loads(reply.seen_json)["text"] == text


@pytest.mark.parametrize(
    "change",
    [
        {"text": "other"},
        {"failure": Failure("refused", "no")},
        {"failure": Failure("refused", "no", "content_filter")},
        {"distribution": (0.5, 0.5)},
        {"distribution_source": "stated"},
        {"usage": Usage(1)},
        {"finish": "length"},
        {"repaired": True},
    ],
    ids=lambda change: next(iter(change)),
)
def test_all_that_a_session_may_read_changes_the_digest(change: dict[str, object]) -> None:
    plain = Reply("text")
    assert replace(plain, **change).digest != plain.digest  # type: ignore[arg-type]


def test_what_it_may_not_read_does_not() -> None:
    plain = Reply("text")
    other = Reply("text", latency_s=3.0, model_served="some-model").at(Place(3, 4))
    assert other.digest == plain.digest
    assert other.place == Place(3, 4)
    assert failed("timeout", "slow").failure == Failure("timeout", "slow")


def test_a_score_is_a_mean_log_likelihood() -> None:
    reply = scored(-1.5)
    assert reply.score == pytest.approx(-1.5, abs=1e-12)
    assert (reply.text, reply.distribution_source) == ("", "score")
    assert scored(0.0).score == 0.0
    assert scored(2.0).score == 0.0  # nothing is likelier than certain
    assert scored(-1e6).score == pytest.approx(math.log(1e-300))


@pytest.mark.parametrize(
    "reply",
    [
        Reply("-1.5"),
        Reply(distribution=(0.5,), distribution_source="stated"),
        Reply(distribution=(0.5, 0.5), distribution_source="score"),
        Reply(distribution=(), distribution_source="score"),
        Reply(distribution=(0.0,), distribution_source="score"),
        Reply(distribution=(1.5,), distribution_source="score"),
        Reply(distribution_source="score"),
        failed("timeout", ""),
    ],
)
def test_what_is_no_score_is_none(reply: Reply) -> None:
    assert reply.score is None
