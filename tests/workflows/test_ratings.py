from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workflows.statistics.ratings import (
    RATING_RESAMPLES,
    bradley_terry,
    connected_groups,
    elo,
    rating_intervals,
)

EXAMPLE = [[0, 2, 0, 1], [3, 0, 5, 0], [0, 3, 0, 1], [4, 0, 3, 0]]
"""Wikipedia's example: A-B 2-3, A-D 1-4, B-C 5-3, C-D 1-3."""
COUNTS = st.integers(0, 5) | st.floats(0.01, 5)


@st.composite
def matrices(draw: st.DrawFn, least: float = 0.0) -> list[list[float]]:
    n = draw(st.integers(2, 5))
    return [[least + draw(COUNTS) for _ in range(n)] for _ in range(n)]


def expected_wins(wins: list[list[float]], values: tuple[float, ...], player: int) -> float:
    """How often a player should win with these strengths, in the games that it played."""
    return sum(
        (wins[player][j] + wins[j][player]) * values[player] / (values[player] + values[j])
        for j in range(len(wins))
        if j != player
    )


def test_wikipedias_example() -> None:
    found = bradley_terry(EXAMPLE)
    assert found is not None
    assert [round(value, 3) for value in found.values] == [0.640, 1.043, 0.660, 2.270]
    assert found.virtual == ()
    assert math.prod(found.values) == pytest.approx(1.0)


def test_two_players_have_the_odds_of_their_wins() -> None:
    found = bradley_terry([[0, 10], [1, 0]])
    assert found is not None
    assert elo(found.values[0]) - elo(found.values[1]) == pytest.approx(400.0)
    assert elo(1.0) == 0.0
    assert bradley_terry([[7]]) == ((1.0,), ())


@settings(max_examples=60)
@given(matrices(least=0.01))
def test_the_likeliest_strengths_explain_every_players_wins(wins: list[list[float]]) -> None:
    """The condition of the maximum: as many wins as the strengths let one expect."""
    found = bradley_terry(wins)
    assert found is not None
    assert found.virtual == ()
    for player, row in enumerate(wins):
        won = sum(row) - row[player]
        assert expected_wins(wins, found.values, player) == pytest.approx(won, rel=1e-6)


@settings(max_examples=60)
@given(matrices())
def test_any_results_give_finite_strengths_or_none(wins: list[list[float]]) -> None:
    found = bradley_terry(wins)
    groups = connected_groups(wins)
    assert sorted(player for group in groups for player in group) == list(range(len(wins)))
    assert (found is None) == (len(groups) > 1)
    if found is not None:
        assert all(0 < value < math.inf for value in found.values)
        assert math.prod(found.values) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("wins", "virtual"),
    [
        ([[0, 3], [0, 0]], (0, 1)),
        ([[0, 3, 1], [0, 0, 1], [0, 1, 0]], (0, 1, 2)),
        ([[0, 3, 1], [0, 0, 1], [1, 1, 0]], ()),
        # nobody of the first two was ever beaten by one of the others
        (
            [[0, 1, 2, 2, 0], [1, 0, 2, 2, 0], [0, 0, 0, 1, 1], [0, 0, 1, 0, 1], [0] * 5],
            (0, 1, 4),
        ),
    ],
)
def test_the_undefeated_get_a_virtual_win_and_loss_and_are_named(
    wins: list[list[float]], virtual: tuple[int, ...]
) -> None:
    found = bradley_terry(wins)
    assert found is not None
    assert found.virtual == virtual
    assert found.values[0] == max(found.values)
    assert found.values[0] < 100


def test_more_wins_of_the_undefeated_are_worth_more() -> None:
    few, many = bradley_terry([[0, 2], [0, 0]]), bradley_terry([[0, 20], [0, 0]])
    assert few is not None
    assert many is not None
    assert 1 < few.values[0] < many.values[0]


def test_players_that_never_met_are_not_rated() -> None:
    apart = [[0, 3, 0, 0], [1, 0, 0, 0], [0, 0, 0, 2], [0, 0, 2, 0]]
    assert bradley_terry(apart) is None
    assert connected_groups(apart) == [(0, 1), (2, 3)]
    assert connected_groups([[0, 0], [0, 0]]) == [(0,), (1,)]


@pytest.mark.parametrize("wins", [[], [[]], [[1, 2]], [[0, -1], [1, 0]], [[0, math.nan], [1, 0]]])
def test_what_is_no_matrix_of_wins(wins: list[list[float]]) -> None:
    with pytest.raises(ValueError, match="wins must be"):
        bradley_terry(wins)


def halves(share: float) -> list[list[float]]:
    return [[0, share], [1 - share, 0]]


def test_intervals_hold_the_rating_and_narrow_with_more_clusters() -> None:
    widths = []
    for count in (10, 200):
        clusters = {str(n): halves(0.9 if n % 4 else 0.2) for n in range(count)}
        total = [[sum(m[i][j] for m in clusters.values()) for j in (0, 1)] for i in (0, 1)]
        rated = bradley_terry(total)
        found = rating_intervals(clusters)
        assert rated is not None
        assert found.clusters == count
        assert found.few == (count == 10)
        interval = found.intervals[0]
        assert interval is not None
        assert interval.low < elo(rated.values[0]) < interval.high
        widths.append(interval.high - interval.low)
        assert rating_intervals(clusters) == found
        assert rating_intervals(clusters, seed=1) != found
    assert widths[1] < widths[0] / 3


def test_what_repeats_together_is_one_unit() -> None:
    """The same sessions in twenty stories, or all in two: fewer units say less."""
    apart = {str(n): halves(0.9 if n % 2 else 0.3) for n in range(20)}
    joined = {str(odd): [[0, 9 * s], [9 * (1 - s), 0]] for odd, s in ((0, 0.3), (1, 0.9))}
    wide, narrow = rating_intervals(joined).intervals[0], rating_intervals(apart).intervals[0]
    assert wide is not None
    assert narrow is not None
    assert wide.high - wide.low > 2 * (narrow.high - narrow.low)


def test_one_cluster_has_no_interval_and_none_is_a_mistake() -> None:
    assert rating_intervals({"a": halves(0.5)}).intervals == (None, None)
    with pytest.raises(ValueError, match="no cluster"):
        rating_intervals({})


def test_resamples_that_cannot_be_rated_are_left_out_and_counted() -> None:
    first = [[0, 1, 0], [1, 0, 0], [0, 0, 0]]
    second = [[0, 0, 0], [0, 0, 1], [0, 1, 0]]
    found = rating_intervals({"a": first, "b": second})
    assert 0.4 < found.left_out / RATING_RESAMPLES < 0.6
    assert found.intervals[0] is not None
    never = rating_intervals({"a": first, "b": first})
    assert never.left_out == RATING_RESAMPLES
    assert never.intervals == (None, None, None)
