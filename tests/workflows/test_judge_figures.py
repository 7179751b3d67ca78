"""Figures of a judge: by hand on tiny tables, by plain loops on recorded votes."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.workflows.judging import verdict, verdict_set
from tests.workflows.making import DATA, read_packed
from workflows.judges.agreement import (
    agreement_figures,
    cohen_kappa,
    krippendorff_alpha,
)
from workflows.judges.figures import all_figures, judge_figures, length_effect, transitivity
from workflows.judges.sources import verdicts_of_file
from workflows.judges.verdicts import Pair, Verdict, VerdictSet, exchanged, swapped

LLMBAR = str(DATA / "llmbar.jsonl.gz")
PANDALM = str(DATA / "pandalm.jsonl.gz")


def test_a_table_by_hand() -> None:
    found = verdict_set(
        ["1", "1", "2", "2", "1"],
        {"j": [("1", "1"), ("1", "2"), ("2", "tie"), (None, "2"), (None, None)]},
    )
    one = judge_figures(found, "j", "sum", "half")
    # right: 1, a tie 0.5, 1, half of a verdict, unread
    assert one.accuracy.mean == pytest.approx((1 + 0.5 + 1 + 0.5 + 0) / 5)
    assert (one.verdicts, one.missing, one.two_orders) == (5, 0, 5)
    assert (one.unread, one.unread_votes) == (1, 3)
    assert one.flips is not None
    assert one.flips.mean == pytest.approx(2 / 3)
    assert one.flips.n == 3
    # of the three pairs with both read: (1, 1) first and not, (1, 2) first twice, 2 in ab not
    assert one.first_position is not None
    assert one.first_position.mean == pytest.approx(3 / 5)
    assert one.first_position.n == 5
    assert one.both_right is not None
    assert one.both_right.mean == pytest.approx(1 / 5)
    assert one.consistent is not None
    assert one.consistent.mean == pytest.approx(1 / 5)
    assert one.ties is not None
    assert one.ties.mean == pytest.approx(1 / 4)
    assert one.ties.n == 4
    assert (one.own, one.length, one.forecasts) == (None, None, None)
    assert judge_figures(found, "j", "agree", "wrong").accuracy.mean == pytest.approx(1 / 5)


@pytest.mark.parametrize("vote", [None, "tie"])
def test_a_judge_that_never_decides(vote) -> None:
    found = verdict_set(["1", "2"], {"j": [(vote, vote)] * 2})
    one = judge_figures(found, "j", "sum", "half")
    assert one.accuracy.mean == (0.0 if vote is None else 0.5)
    assert one.first_position is None
    assert (one.flips is None) is (vote is None)
    assert one.unread == (2 if vote is None else 0)


def test_missing_verdicts_leave_every_denominator() -> None:
    found = verdict_set(["1", "2"], {"j": [("1", "1"), ("1", "1")]})
    column = {**found.columns["j"], "i1": Verdict("j", "i1", ())}
    one = judge_figures(replace(found, columns={"j": column}), "j", "sum", "half")
    assert (one.accuracy.mean, one.accuracy.n, one.accuracy.missing) == (1.0, 1, 1)
    assert (one.missing, one.two_orders) == (1, 1)
    assert one.consistent is not None
    assert one.consistent.n == 1


def test_pairs_of_one_instruction_are_one_unit() -> None:
    votes = {"j": [("1", "1"), ("1", "1"), ("2", "2"), ("2", "2")]}
    alone = judge_figures(verdict_set(["1"] * 4, votes), "j", "sum", "half")
    found = verdict_set(["1"] * 4, votes, clusters=["a", "a", "b", "b"])
    one = judge_figures(found, "j", "sum", "half")
    assert (one.accuracy.clusters, one.accuracy.method) == (2, "t")
    assert (alone.accuracy.clusters, alone.accuracy.method) == (4, "wilson")


def paired(item: str, answers: tuple[str, str], gold, **fields) -> Pair:
    return Pair(item, item, gold, answers=answers, named=True, prompt="p", **fields)


def test_a_judge_that_prefers_its_own_model() -> None:
    pairs = {
        "a": paired("a", ("me", "x"), "2"),
        "b": paired("b", ("x", "me"), "1"),
        "c": paired("c", ("me", "y"), "1"),
        "d": paired("d", ("x", "y"), "1"),
        "e": paired("e", ("me", "me"), "1"),
    }
    given_votes = {"a": "1", "b": "2", "c": "tie", "d": "1", "e": "1"}
    column = {item: verdict(vote, item=item) for item, vote in given_votes.items()}
    found = VerdictSet("t", pairs, {"me/prompt": column})
    own = judge_figures(found, "me/prompt", "sum", "half").own
    assert own is not None
    assert own.chosen.n == 3
    assert own.chosen.mean == pytest.approx(2.5 / 3)
    assert own.gold == pytest.approx(1 / 3)
    assert own.difference.mean == pytest.approx(1.5 / 3)
    assert judge_figures(found, "me/prompt", "sum", "half", model="z").own is None


def test_a_judge_that_prefers_longer_answers() -> None:
    sizes = {"a": (100, 110), "b": (300, 100), "c": (0, 9), "d": (5, 5), "e": (100, 150)}
    pairs = {item: Pair(item, item, "1", lengths=two) for item, two in sizes.items()}
    votes = dict.fromkeys(sizes, "2")
    found = length_effect(votes, pairs)  # type: ignore[arg-type]
    assert found is not None
    assert (found.chosen.n, found.chosen.mean, found.gold) == (4, 0.75, 0.25)
    column = {item: verdict("2", item=item) for item in sizes}
    bands = judge_figures(VerdictSet("t", pairs, {"j": column}), "j", "sum", "half").length_bands
    assert [(one.least, one.below, one.n, one.chosen) for one in bands] == [
        (1.0, 1.25, 1, 1.0),
        (1.25, 2.0, 1, 1.0),
        (2.0, None, 2, 0.5),
    ]


@pytest.mark.parametrize(
    ("ab", "bc", "ac", "broken"),
    [
        ("1", "1", "1", 0),
        ("1", "1", "2", 1),
        ("1", "1", "tie", 1),
        ("tie", "tie", "tie", 0),
        ("tie", "1", "1", 0),
        ("tie", "1", "tie", 1),
        ("1", "2", "tie", 0),
        ("1", "2", "1", 0),
    ],
)
def test_triples(ab, bc, ac, broken) -> None:
    pairs = {
        "x": paired("x", ("A", "B"), "1"),
        "y": paired("y", ("C", "B"), "1"),  # written the other way round
        "z": paired("z", ("A", "C"), "1"),
        "w": paired("w", ("A", "A"), "1"),
    }
    found = transitivity({"x": ab, "y": exchanged(bc), "z": ac, "w": "1"}, pairs)
    assert (found.triples, found.broken, found.rate) == (1, broken, float(broken))
    assert transitivity({"x": ab, "y": bc}, pairs).rate is None


columns = st.lists(
    st.tuples(
        st.sampled_from(["1", "2", "tie"]),
        st.tuples(*[st.sampled_from(["1", "2", "tie", None])] * 2),
    ),
    min_size=1,
    max_size=12,
)


@given(columns)
def test_swapping_changes_signs_only(rows) -> None:
    golds, votes = [gold for gold, _ in rows], [two for _, two in rows]
    found = verdict_set(golds, {"j": votes})
    pairs = {i: replace(p, gold=exchanged(p.gold), lengths=(1, 2)) for i, p in found.pairs.items()}
    own = {i: replace(p, lengths=(2, 1)) for i, p in found.pairs.items()}
    other = VerdictSet("t", pairs, {"j": {i: swapped(v) for i, v in found.columns["j"].items()}})
    before = judge_figures(replace(found, pairs=own), "j", "sum", "half")
    after = judge_figures(other, "j", "sum", "half")
    assert after.accuracy.mean == pytest.approx(before.accuracy.mean)
    assert replace(after, accuracy=before.accuracy) == before
    # Votes exchanged, orders kept: whoever took the first place now takes the second.
    turned = verdict_set(
        [exchanged(gold) for gold in golds],
        {"j": [(exchanged(ab), exchanged(ba)) for ab, ba in votes]},
    )
    mirrored = judge_figures(turned, "j", "sum", "half")
    assert mirrored.accuracy.mean == pytest.approx(before.accuracy.mean)
    assert (mirrored.flips, mirrored.consistent) == (before.flips, before.consistent)
    if before.first_position is None:
        assert mirrored.first_position is None
    else:
        assert mirrored.first_position is not None
        share = before.first_position.mean
        assert share is not None
        assert mirrored.first_position.mean == pytest.approx(1 - share)


def test_recorded_votes_in_both_orders_by_plain_loops() -> None:
    rows = read_packed("llmbar")
    found = verdicts_of_file(LLMBAR)
    figures = {one.judge: one for one in all_figures(found, "sum", "half")}
    assert set(figures) == {judge for row in rows for judge in row["votes"]}
    for judge, one in figures.items():
        told = [(row, row["votes"][judge]) for row in rows if judge in row["votes"]]
        right = sum((v[o] == row["gold"]) / 2 for row, v in told for o in ("ab", "ba"))
        read = [v for _, v in told if v["ab"] is not None and v["ba"] is not None]
        flips = sum(v["ab"] != v["ba"] for v in read)
        first = sum((v["ab"] == "1") + (v["ba"] == "2") for v in read)
        both = sum(v["ab"] == v["ba"] == row["gold"] for row, v in told)
        longer = gold_longer = differ = 0.0
        for row, v in told:
            size = row["chars_1"] - row["chars_2"]
            known = {v["ab"], v["ba"]} - {None}
            if size and known:
                differ += 1
                taken = "1" if size > 0 else "2"
                longer += 0.5 if len(known) > 1 else known == {taken}
                gold_longer += row["gold"] == taken
        assert one.accuracy.mean == pytest.approx(right / len(told))
        assert one.flips is not None
        assert one.flips.mean == pytest.approx(flips / len(read))
        assert one.first_position is not None
        assert one.first_position.mean == pytest.approx(first / (2 * len(read)))
        assert one.both_right is not None
        assert one.both_right.mean == pytest.approx(both / len(told))
        assert one.unread_votes == sum(v[o] is None for _, v in told for o in ("ab", "ba"))
        assert one.length is not None
        assert one.length.chosen.mean == pytest.approx(longer / differ)
        assert one.length.gold == pytest.approx(gold_longer / differ)


def test_without_ties_the_figures_are_those_of_choices() -> None:
    found = verdicts_of_file(LLMBAR)
    place = {"1": 0, "2": 1, None: None}
    for judge, column in found.columns.items():
        choices = [(place[one.votes[0]], place[one.votes[1]]) for one in column.values()]
        read = [pair for pair in choices if None not in pair]
        one = judge_figures(found, judge, "sum", "half")
        assert one.flips is not None
        assert one.first_position is not None
        assert one.flips.mean == pytest.approx(sum(a != b for a, b in read) / len(read))
        first = sum((a == 0) + (b == 1) for a, b in read)  # the second of a pair stood first there
        assert one.first_position.mean == pytest.approx(first / (2 * len(read)))


def test_one_order_has_no_flips_and_people_agree_by_plain_loops() -> None:
    rows = read_packed("pandalm")
    found = verdicts_of_file(PANDALM)
    assert found.people == ("human-1", "human-2", "human-3")
    for one in all_figures(found, "sum", "wrong"):
        assert one.flips is one.first_position is one.consistent is one.both_right is None
        assert one.person is one.judge.startswith("human")
        right = [row["votes"][one.judge]["ab"] == row["human_majority"] for row in rows]
        assert one.accuracy.mean == pytest.approx(sum(right) / len(rows))
    figures = agreement_figures(found, "sum")
    assert figures is not None
    assert len(figures.pairs) == 3 + 2 * 3
    for pair in figures.pairs:
        two = [(row["votes"][pair.first]["ab"], row["votes"][pair.second]["ab"]) for row in rows]
        read = [(a, b) for a, b in two if a and b]
        assert pair.share.mean == pytest.approx(sum(a == b for a, b in read) / len(read))
        assert pair.unread == len(two) - len(read)
    people = [[row["votes"][f"human-{n}"]["ab"] for n in (1, 2, 3)] for row in rows]
    assert figures.groups[0].alpha == pytest.approx(alpha_by_hand(people))
    models = [[row["votes"][m]["ab"] for m in ("gpt-3.5-turbo", "pandalm-7b")] for row in rows]
    assert figures.groups[1].alpha == pytest.approx(alpha_by_hand(models))


def alpha_by_hand(units: list[list[str | None]]) -> float:
    """Krippendorff's alpha for categories, from its coincidences."""
    coincidences: Counter[tuple[str, str]] = Counter()
    for unit in units:
        told = [vote for vote in unit if vote is not None]
        for i, a in enumerate(told):
            for j, b in enumerate(told):
                if i != j:
                    coincidences[a, b] += 1 / (len(told) - 1)  # type: ignore[assignment]
    totals: Counter[str] = Counter()
    for (a, _), count in coincidences.items():
        totals[a] += count
    n = sum(totals.values())
    observed = sum(count for (a, b), count in coincidences.items() if a != b) / n
    expected = sum(totals[a] * totals[b] for a in totals for b in totals if a != b) / (n * (n - 1))
    return 1 - observed / expected


def test_agreement_that_is_not_defined() -> None:
    assert cohen_kappa([]) is None
    assert cohen_kappa([("1", "1")] * 3) is None
    assert cohen_kappa([("1", "1"), ("2", "2"), ("1", "2"), ("2", "1")]) == 0.0
    assert cohen_kappa([("1", "1"), ("2", "2"), ("2", "2"), ("1", "2")]) == pytest.approx(0.5)
    assert cohen_kappa([("1", "2"), ("2", "1")]) == -1.0
    assert krippendorff_alpha([]) is None
    assert krippendorff_alpha([{"a": "1"}, {"b": "2"}]) is None  # nothing in common
    assert krippendorff_alpha([{"a": "1", "b": "1"}] * 2) is None  # evalica would say 1
    assert krippendorff_alpha([{"a": None}, {"a": None}]) is None
    assert krippendorff_alpha([{"a": "1", "b": "2"}] * 2) == 1.0
    assert agreement_figures(verdict_set(["1"], {"j": [("1", "1")]}), "sum") is None
