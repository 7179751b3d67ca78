"""Panels of judges: votes, weights by hand, cross-validation that never sees what it decides."""

from __future__ import annotations

from math import exp, log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.workflows.judging import verdict_set
from tests.workflows.making import DATA, read_packed
from workflows.judges.panels import (
    EXAM_WEIGHTS,
    accuracies,
    exam_weights,
    folds_of,
    log_odds_weights,
    majority_vote,
    mutual_agreement,
    panels,
    peer_rank,
    weighted_vote,
)
from workflows.judges.sources import verdicts_of_file
from workflows.judges.verdicts import RawVote, exchanged
from workflows.statistics.paired import paired_difference

raw = st.sampled_from(["1", "2", "tie", None])
ballots = st.dictionaries(st.sampled_from("abcde"), raw)


@pytest.mark.parametrize(
    ("said", "summed", "majority"),
    [
        ({}, None, None),
        ({"a": None, "b": None}, None, None),
        ({"a": "1", "b": "1", "c": "2"}, "1", "1"),
        ({"a": "1", "b": "2"}, "tie", "tie"),
        ({"a": "1", "b": "tie", "c": "tie"}, "1", "tie"),
        ({"a": "1", "b": "1", "c": "tie", "d": "2"}, "1", "1"),
        ({"a": "1", "b": "tie", "c": None}, "1", "tie"),
    ],
)
def test_votes(said, summed, majority) -> None:
    assert weighted_vote(said) == summed
    assert majority_vote(said) == majority


def test_weights_decide() -> None:
    said: dict[str, RawVote] = {"a": "1", "b": "2", "c": "2"}
    assert weighted_vote(said, {"a": 3, "b": 1, "c": 1}) == "1"
    assert weighted_vote(said, {"a": 2, "b": 1, "c": 1}) == "tie"
    assert weighted_vote(said, {"a": 1, "b": 1, "c": -2}) == "1"
    assert weighted_vote(said, {"a": 0}) is None
    assert weighted_vote({"a": None, "b": "2"}, {"a": 1}) is None


@given(ballots, st.dictionaries(st.sampled_from("abcde"), st.integers(-3, 3)))
def test_votes_for_the_other_answer_give_the_other_verdict(said, weights) -> None:
    turned = {judge: exchanged(vote) for judge, vote in said.items()}
    assert weighted_vote(turned, weights) == exchanged(weighted_vote(said, weights))
    assert majority_vote(turned) == exchanged(majority_vote(said))


def test_weights_by_hand() -> None:
    right = {"good": {"a": 1.0, "b": 1.0, "c": 1.0, "d": 0.5}, "bad": {"a": 0.0, "b": 1.0}}
    items = ["a", "b", "c", "d"]
    assert accuracies(right, items) == {"good": 0.875, "bad": 0.5}
    mean = 4.5 / 6
    good, bad = (3.5 + 10 * mean) / 14, (1 + 10 * mean) / 12
    assert log_odds_weights(right, items) == pytest.approx(
        {"good": log(good / (1 - good)), "bad": log(bad / (1 - bad))}
    )
    assert exam_weights(right, items) == {"good": 1.0, "bad": 0.0}
    assert exam_weights(right, items, "logit")["good"] == pytest.approx(log(7))
    assert exam_weights(right, items, "exponential", alpha=2)["good"] == pytest.approx(exp(1.75))
    assert exam_weights(right, items, "power", alpha=2)["good"] == pytest.approx(0.875**2)
    assert exam_weights(right, items, pass_mark=0.5) == {"good": 1.0, "bad": 1.0}


def test_weights_where_little_is_known() -> None:
    assert exam_weights({"j": {}}, ["a"]) == {"j": 0.0}
    assert exam_weights({"j": {"a": 0.6}}, ["a"]) == {"j": 1.0}
    certain = log_odds_weights({"j": {"a": 1.0}}, ["a"], shrinkage=0)["j"]
    assert certain == pytest.approx(log(99))
    assert log_odds_weights({"j": {}, "k": {}}, []) == {"j": 1.0, "k": 1.0}
    assert log_odds_weights({"j": {"a": 0.5}}, ["a"]) == {"j": 1.0}  # no odds to weigh by


def test_peer_rank_by_hand() -> None:
    assert peer_rank({}) == {}
    assert peer_rank({"a": {"b": 0.5}, "b": {"a": 0.5}}) == {"a": 0.5, "b": 0.5}
    wins = {"a": {"b": 0.8, "c": 0.2}, "b": {"a": 0.6, "c": 0.4}, "c": {"a": 0.4, "b": 0.6}}
    # One round by plain means: a 0.5, b 0.7, c 0.3, so 0.5, 1, 0, over 1.5.
    assert peer_rank(wins, 1) == pytest.approx({"a": 1 / 3, "b": 2 / 3, "c": 0.0})
    # The second: a by b alone 0.6; b by a alone 0.8; c by both 0.2 / 3 + 0.4 * 2 / 3.
    c = (0.2 / 3 + 0.8 / 3) / 1
    scaled = {"a": (0.6 - c) / (0.8 - c), "b": 1.0, "c": 0.0}
    total = sum(scaled.values())
    assert peer_rank(wins, 2) == pytest.approx({p: s / total for p, s in scaled.items()})
    assert sum(peer_rank(wins).values()) == pytest.approx(1)


def test_mutual_agreement_by_plain_loops() -> None:
    votes = {
        "a": {"x": "1", "y": "2", "z": None},
        "b": {"x": "1", "y": "tie"},
        "c": {"z": "1"},
    }
    found = mutual_agreement(votes, ["x", "y", "z"])  # type: ignore[arg-type]
    assert found == {"a": {"b": 0.5}, "b": {"a": 0.5}, "c": {}}
    assert mutual_agreement(votes, []) == {"a": {}, "b": {}, "c": {}}  # type: ignore[arg-type]


rows = st.lists(
    st.tuples(st.sampled_from(["1", "2", "tie"]), *[st.tuples(raw, raw)] * 2),
    min_size=2,
    max_size=10,
)


@given(rows)
def test_identical_judges_weigh_the_same(told) -> None:
    first, other = [one for _, one, _ in told], [two for _, _, two in told]
    found = verdict_set([g for g, _, _ in told], {"a": first, "twin": first, "b": other})
    made = panels(found, "sum", "half")
    assert made is not None
    names = {one.name for one in made.panels}
    assert {"equal", "majority", "best single", "log odds", "peer rank"} <= names
    assert {f"exam {weight}" for weight in EXAM_WEIGHTS} <= names
    for one in made.panels:
        if one.weights:
            assert one.weights["a"] == pytest.approx(one.weights["twin"])


def test_weights_never_see_the_pairs_that_they_decide() -> None:
    # Judge "late" is right on one pair alone: had it been looked at, it would have had odds there.
    wrong, right = ("2", "2"), ("1", "1")
    golds, steady = ["1"] * 10, [right] * 9 + [wrong]
    late = [wrong] * 9 + [right]
    found = verdict_set(golds, {"steady": steady, "late": late}, clusters=[*map(str, range(10))])
    made = panels(found, "sum", "half", folds=10)
    assert made is not None
    by_name = {one.name: one for one in made.panels}
    assert by_name["best single"].accuracy.mean == pytest.approx(0.9)
    assert by_name["log odds"].accuracy.mean == pytest.approx(0.9)
    assert by_name["exam uniform"].weights == {"steady": 1.0, "late": 0.0}
    assert by_name["equal"].accuracy.mean == 0.5
    assert by_name["equal"].difference is None
    gain = by_name["log odds"].difference
    assert gain is not None
    assert gain.mean == pytest.approx(0.4)


def test_a_judge_is_not_chosen_by_the_pair_that_it_decides() -> None:
    # Each is right on its own half: on the pairs left over, the other one is always ahead.
    right, wrong = ("1", "1"), ("2", "2")
    half = {"a": [right] * 5 + [wrong] * 5, "b": [wrong] * 5 + [right] * 5}
    made = panels(verdict_set(["1"] * 10, half), "sum", "half", folds=10)
    assert made is not None
    by_name = {one.name: one.accuracy.mean for one in made.panels}
    assert by_name["equal"] == 0.5
    assert by_name["best single"] == by_name["log odds"] == 0.0


def test_nobody_passes() -> None:
    found = verdict_set(["1"] * 4, {"a": [("2", "2")] * 4, "b": [("2", "2")] * 4})
    made = panels(found, "sum", "half")
    assert made is not None
    exam = next(one for one in made.panels if one.name == "exam logit")
    assert (exam.silent, exam.accuracy.mean) == (4, 0.0)
    odds = next(one for one in made.panels if one.name == "log odds")
    assert odds.accuracy.mean == 1.0  # who is always wrong is worth hearing, turned round


def test_what_cannot_be_a_panel() -> None:
    assert panels(verdict_set(["1"], {"a": [("1", "1")]}), "sum", "half") is None
    assert (
        panels(verdict_set([None], {"a": [("1", "1")], "b": [("1", "1")]}), "sum", "half") is None
    )
    one_unit = verdict_set(["1"] * 3, {n: [("1", "1")] * 3 for n in "ab"}, clusters=["c"] * 3)
    made = panels(one_unit, "sum", "half")
    assert made is not None
    assert [one.name for one in made.panels] == ["equal", "majority"]


@given(st.lists(st.integers(0, 6), max_size=30), st.integers(0, 5))
def test_folds_keep_units_whole(units, seed) -> None:
    clusters = {f"i{n}": str(unit) for n, unit in enumerate(units)}
    parts = folds_of(clusters, clusters, seed=seed)
    assert sorted(item for part in parts for item in part) == sorted(clusters)
    assert len(parts) == min(5, len(set(units)))
    places = [{clusters[item] for item in part} for part in parts]
    assert sum(map(len, places)) == len(set(units))


def test_recorded_votes_by_plain_loops() -> None:
    told = read_packed("llmbar")
    made = panels(verdicts_of_file(str(DATA / "llmbar.jsonl.gz")), "sum", "half")
    assert made is not None
    assert made.items == len(told)
    equal, most = {}, {}
    for row in told:
        total, counts = 0, {"1": 0, "2": 0, "tie": 0}
        for two in row["votes"].values():
            signs = [{"1": 1, "2": -1}[two[o]] for o in ("ab", "ba") if two[o]]
            if signs:
                sign = (sum(signs) > 0) - (sum(signs) < 0)
                total += sign
                counts["tie" if not sign else "1" if sign > 0 else "2"] += 1
        gold = 1 if row["gold"] == "1" else -1
        equal[row["id"]] = 0.5 if not total else float(total * gold > 0)
        top = [vote for vote, count in counts.items() if count == max(counts.values())]
        said = top[0] if len(top) == 1 else "tie"
        most[row["id"]] = 0.5 if said == "tie" else float(said == row["gold"])
    by_name = {one.name: one for one in made.panels}
    assert by_name["equal"].accuracy.mean == pytest.approx(sum(equal.values()) / len(told))
    assert by_name["majority"].accuracy.mean == pytest.approx(sum(most.values()) / len(told))
    clusters = {row["id"]: row["item"] for row in told}
    assert by_name["majority"].difference == paired_difference(most, equal, clusters)
    adjusted = [one.p_holm for one in made.panels if one.p_holm is not None]
    assert len(adjusted) == len(made.panels) - 1
