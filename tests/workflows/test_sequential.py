"""Deciding early: the bets written out, Holm over pairs, and what is refused."""

from __future__ import annotations

from math import inf, log, nan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workflows.statistics.sequential import Decider, Saved
from workflows.statistics.sign_flip import holm

VALUES = st.sampled_from([-1.0, -0.5, 0.0, 1 / 3, 1.0])


def capital(differences: list[float], m: float = 0.5) -> list[float]:
    """The hedged capital after every cluster, in plain loops."""
    up = down = 0.5
    seen: list[float] = []
    squares = [0.25]
    found = []
    for d in differences:
        x = (1 + d) / 2
        mean = (0.5 + sum(seen)) / (len(seen) + 1)
        variance = sum(squares) / (len(seen) + 1)
        bet = (mean - m) / (variance + (mean - m) ** 2)
        up *= 1 + max(0.0, min(bet, 0.5 / m)) * (x - m)
        down *= 1 - max(0.0, min(-bet, 0.5 / (1 - m))) * (x - m)
        seen.append(x)
        squares.append((x - (0.5 + sum(seen)) / (len(seen) + 1)) ** 2)
        found.append(max(up, down))
    return found


@given(st.lists(st.tuples(VALUES, st.one_of(st.none(), VALUES)), max_size=60))
def test_the_capital_is_that_of_the_bets_written_out(rows) -> None:
    decider = Decider(["a", "b"])
    for place, (a, b) in enumerate(rows):
        decider.add(f"c{place}", {"a": a, "b": b})
    columns = [[a for a, _ in rows], [b for _, b in rows if b is not None]]
    standings = decider.standings()
    for found, column in zip(standings, columns, strict=True):
        highest = max([1.0, *capital(column)])
        assert found.e_value == pytest.approx(highest, rel=1e-9)
        assert found.p == pytest.approx(1 / highest, rel=1e-9)
        assert found.clusters == len(column)
        assert found.missing == len(rows) - len(column)
        assert found.mean == pytest.approx(sum(column) / len(column) if column else 0.0, abs=1e-9)
    assert [one.p_holm for one in standings] == holm([one.p for one in standings])


@given(st.lists(VALUES, min_size=1, max_size=80))
def test_an_interval_holds_what_was_never_rejected(differences) -> None:
    decider = Decider(["a"])
    for place, d in enumerate(differences):
        decided = decider.add(str(place), {"a": d})
    low, high = decider.interval("a")
    assert -1.0 <= low <= high <= 1.0
    kept = [
        d
        for d in np.linspace(-0.98, 0.98, 50)
        if max(capital(differences, (1 + float(d)) / 2)) < 20
    ]
    assert all(low - 1e-6 <= d <= high + 1e-6 for d in kept)
    assert decided["a"] == (not low <= 0.0 <= high)


def test_who_is_decided_stays_decided_and_saves_the_rest() -> None:
    decider = Decider([("x", "y"), ("x", "z")], planned=400)
    after = None
    for place in range(100):
        clear = 1.0 if place % 3 else 0.0
        told = decider.add(f"c{place}", {("x", "y"): clear, ("x", "z"): (-1.0) ** place})
        if told["x", "y"] and after is None:
            after = place + 1
        assert told["x", "y"] == (after is not None)
        assert not told["x", "z"]
    first, second = decider.standings()
    assert (first.decided_after, second.decided_after) == (after, None)
    assert after is not None
    assert after < 60
    assert not decider.all_decided
    assert decider.saved == Saved(100, 400)
    assert decider.saved.clusters == 300
    assert decider.interval(("x", "y")).low > 0
    low, high = decider.interval(("x", "z"))
    assert low < 0 < high


def test_holm_asks_the_first_of_many_for_more() -> None:
    """A pair alone is decided before the same pair among twenty."""
    alone, among = Decider(["p0"]), Decider([f"p{k}" for k in range(20)])
    after: dict[str, int] = {}
    for place in range(80):
        d = 1.0 if place % 3 else 0.0
        for name, decider in (("alone", alone), ("among", among)):
            if decider.add(str(place), {"p0": d, **({"p1": 0.0} if decider is among else {})})[
                "p0"
            ]:
                after.setdefault(name, place)
    assert after["alone"] < after["among"]
    assert among.standings()[0].e_value >= 20 / 0.05
    assert among.standings()[2].missing == 80


def test_others_that_are_decided_lower_the_bar() -> None:
    one, two = [Decider(["a", "b"]), Decider(["a", "b"])]
    for place in range(120):
        weak = 0.4 if place % 2 else -0.2
        one.add(str(place), {"a": 1.0, "b": weak})
        two.add(str(place), {"a": 0.0, "b": weak})
    standing, other = one.standings()[1], two.standings()[1]
    assert standing.e_value == other.e_value
    assert standing.p_holm == pytest.approx(other.p_holm / 2)


def test_scores_are_scaled_by_their_limit() -> None:
    shares, scores = Decider(["a"]), Decider(["a"], limit=10.0)
    for place in range(50):
        d = 0.5 if place % 2 else -0.1
        shares.add(str(place), {"a": d})
        scores.add(str(place), {"a": 10 * d})
    assert scores.standings()[0].e_value == pytest.approx(shares.standings()[0].e_value)
    assert scores.standings()[0].mean == pytest.approx(10 * shares.standings()[0].mean)
    assert scores.interval("a") == pytest.approx(tuple(10 * e for e in shares.interval("a")))


def test_nothing_seen_is_nothing_known() -> None:
    decider = Decider(["a"])
    assert decider.interval("a") == (-1.0, 1.0)
    (found,) = decider.standings()
    assert (found.p, found.p_holm, found.e_value, found.decided_after) == (1.0, 1.0, 1.0, None)
    assert decider.saved is None
    assert decider.add("c", {}) == {"a": False}
    assert decider.interval("a") == (-1.0, 1.0)


def test_a_long_run_of_one_side_does_not_overflow() -> None:
    decider = Decider(["a"])
    for place in range(3000):
        decider.add(str(place), {"a": 1.0})
    (found,) = decider.standings()
    assert found.e_value < inf
    assert found.p >= 0.0
    assert found.decided_after is not None
    assert log(found.e_value) > 100
    assert decider.interval("a").low > 0.9


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Decider([]), "every pair once"),
        (lambda: Decider(["a", "a"]), "every pair once"),
        (lambda: Decider(["a"], error=0.0), "cannot be"),
        (lambda: Decider(["a"], limit=inf), "cannot be"),
        (lambda: Decider(["a"]).add("c", {"b": 0.0}), "'b' is none of the pairs"),
        (lambda: Decider(["a"]).add("c", {"a": 1.5}), "a difference of 1.5 for 'a'"),
        (lambda: Decider(["a"]).add("c", {"a": nan}), "a difference of nan for 'a'"),
    ],
)
def test_what_cannot_be_is_refused(make, said) -> None:
    with pytest.raises(ValueError, match=said):
        make()


def test_a_refused_cluster_leaves_no_trace() -> None:
    decider = Decider(["a", "b"])
    decider.add("c0", {"a": 1.0, "b": 0.0})
    before = decider.standings()
    with pytest.raises(ValueError, match="added before"):
        decider.add("c0", {"a": 1.0})
    with pytest.raises(ValueError, match="cannot be"):
        decider.add("c1", {"a": 1.0, "b": 3.0})
    assert decider.standings() == before
    decider.add("c1", {"a": 1.0, "b": 1.0})
    assert decider.standings()[0].clusters == 2
