from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.ballots import (
    Ballot,
    Vote,
    argmax_distribution,
    failure_counts,
    mean_distribution,
    session_boundary,
    tally,
)
from protocols.replies import Reply, failed

RANKED = ("eve", "ada", "bob")


@pytest.mark.parametrize(
    ("votes", "precedence", "expected"),
    [
        pytest.param([], None, Ballot(None, {}, (), False, "first"), id="nobody votes"),
        pytest.param([], RANKED, Ballot(None, {}, (), False, "best_expert"), id="nobody, ranked"),
        pytest.param(
            [Vote("B", 1, "ada", 0), Vote("A", 1, "bob", 1), Vote("B", 1, "eve", 2)],
            None,
            Ballot("B", {"A": 1, "B": 2}, (), False, "first"),
            id="a majority",
        ),
        pytest.param(
            [Vote("B", 1, "ada", 0), Vote("A", 2.5, "bob", 1), Vote("B", 1, "eve", 2)],
            RANKED,
            Ballot("A", {"A": 2.5, "B": 2}, (), False, "best_expert"),
            id="weight beats heads",
        ),
        pytest.param(
            [Vote("C", 1, "ada", 0), Vote("B", 1, "bob", 1), Vote("A", 1, "eve", 2)],
            None,
            Ballot("C", {"A": 1, "B": 1, "C": 1}, ("C", "B", "A"), True, "first"),
            id="three-way split: the first slot",
        ),
        pytest.param(
            [Vote("C", 1, "ada", 0), Vote("B", 1, "bob", 1), Vote("A", 1, "eve", 2)],
            RANKED,
            Ballot("A", {"A": 1, "B": 1, "C": 1}, ("C", "B", "A"), True, "best_expert"),
            id="three-way split: the best expert",
        ),
        pytest.param(
            [Vote("C", 2, "eve", 0), Vote("B", 3, "bob", 1), Vote("A", 3, "ada", 2)],
            RANKED,
            Ballot("A", {"A": 3, "B": 3, "C": 2}, ("B", "A"), True, "best_expert"),
            id="the best expert's answer is not among the tied",
        ),
        pytest.param(
            [Vote("B", 1, "yan", 0), Vote("A", 1, "xi", 1)],
            RANKED,
            Ballot("A", {"A": 1, "B": 1}, ("B", "A"), True, "best_expert"),
            id="unranked experts: by name",
        ),
        pytest.param(
            [Vote("B", 1, "xi", 0), Vote("A", 1, "bob", 1)],
            RANKED,
            Ballot("A", {"A": 1, "B": 1}, ("B", "A"), True, "best_expert"),
            id="ranked before unranked",
        ),
    ],
)
def test_tally(votes, precedence, expected):
    assert tally(votes, precedence=precedence) == expected
    assert list(expected.votes) == sorted(expected.votes)


def test_float_dust_is_a_tie():
    votes = [Vote("A", 0.1, slot=i) for i in range(3)] + [Vote("B", 0.3, slot=3)]
    assert tally(votes).tied == ("A", "B")
    assert tally([Vote("A", 1.0), Vote("B", 1.0 + 1e-8, slot=1)]).answer == "B"
    huge = [Vote("A", 1e300), Vote("B", 1e300 * (1 + 1e-12), slot=1)]
    assert tally(huge).tie_broken


@pytest.mark.parametrize("weight", [0.0, -1.0, math.inf, math.nan])
def test_a_weight_that_is_none_is_refused(weight):
    with pytest.raises(ValueError, match="positive and finite"):
        tally([Vote("A", weight)])


VOTES = st.lists(
    st.tuples(
        st.sampled_from("ABCD"),
        st.floats(0.001, 1000) | st.sampled_from([0.1, 0.2, 0.3, 1.0]),
        st.sampled_from([*RANKED, "xi", "yan"]),
    ),
    max_size=12,
).map(lambda rows: [Vote(*row, slot) for slot, row in enumerate(rows)])


@given(VOTES, st.sampled_from([None, RANKED, ()]), st.integers(0, 2**32))
def test_the_order_of_votes_never_matters(votes, precedence, seed):
    shuffled = list(votes)
    random.Random(seed).shuffle(shuffled)
    ballot = tally(votes, precedence=precedence)
    assert tally(shuffled, precedence=precedence) == ballot
    assert ballot.tie_broken == (len(ballot.tied) > 1)
    if votes:
        assert ballot.answer in {vote.answer for vote in votes}
        assert ballot.votes[ballot.answer or ""] >= max(ballot.votes.values()) * (1 - 1e-8)


@pytest.mark.parametrize(
    ("distribution", "index"),
    [((), None), ((1.0,), 0), ((0.2, 0.8), 1), ((0.5, 0.5), None), ((0.4, 0.4, 0.2), None),
     ((0.5, 0.5 + 1e-12), None), ((0.5 - 1e-6, 0.5 + 1e-6), 1), ((0.2, 0.2, 0.6), 2)],
)  # fmt: skip
def test_argmax_is_none_where_the_top_is_shared(distribution, index):
    assert argmax_distribution(distribution) == index


def test_means_failures_and_boundaries():
    assert mean_distribution([(1.0, 0.0), (0.5, 0.5)]) == (0.75, 0.25)
    replies = [failed("refused", ""), Reply("x"), failed("timeout", ""), failed("refused", "")]
    assert failure_counts(replies) == {"refused": 2, "timeout": 1}
    assert session_boundary(replies) == "timeout"
    assert session_boundary([failed("malformed", ""), failed("refused", "")]) == "malformed"
    assert session_boundary([Reply("x")]) is None
