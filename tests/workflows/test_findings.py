"""The sentences under a table say what its rows show, and no more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from workflows.comparing import findings
from workflows.comparing.table import Row, chance_row, with_differences
from workflows.comparing.wording import counted_of
from workflows.statistics.sign_flip import holm


def row(name: str, values: Sequence[float | None], kind="protocol", calls=10) -> Row:
    present = [value for value in values if value is not None]
    accuracy = sum(present) / len(present) if present else None
    return Row(
        name=name,
        kind=kind,
        n=len(present),
        correct=sum(present),
        accuracy=accuracy,
        ci_low=accuracy,
        ci_high=accuracy,
        calls=calls,
        failed=len(values) - len(present),
        unparsed=0,
        rule="plurality",
        tie_rule="first",
        values={f"q{n}": value for n, value in enumerate(values)},
    )


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([1.0] * 40, "a beats the best single expert: +100.0 points"),
        ([0.0] * 40, "a is not shown to differ from the best single expert: +0.0 points"),
    ],
    ids=["better", "equal"],
)
def test_against_the_best_single(values, said) -> None:
    rows = with_differences([row("a", values), row("best_single", [0.0] * 40, "baseline")], {})
    assert findings.verdicts(rows, {})[0].startswith(said)


def test_worse_than_the_best_single_is_said() -> None:
    rows = with_differences([row("a", [0.0] * 40), row("best_single", [1.0] * 40, "baseline")], {})
    (said,) = findings.verdicts(rows, {})
    low = "\N{MINUS SIGN}100.0"
    assert said == f"a is worse than the best single expert: {low} points [{low}, {low}]."


def test_against_plurality_the_calls_are_told() -> None:
    rows = [row("a", [1.0, 0.0] * 20, calls=10), row("plurality", [1.0] * 40, calls=40)]
    (said,) = findings.verdicts(rows, {})
    assert said.startswith("a is worse than plurality")
    assert said.endswith("with 25 % of its calls.")


def test_against_chance() -> None:
    chance = chance_row({f"q{n}": 2 for n in range(40)}, {})
    for value, said in ((1.0, "better than"), (0.0, "worse than"), (0.5, "cannot be told from")):
        assert said in findings.verdicts([row("a", [value] * 40), chance], {})[0]


def test_every_protocol_has_its_sentence() -> None:
    chance = chance_row({f"q{n}": 2 for n in range(40)}, {})
    rows = [row("a", [1.0] * 40), row("b", [0.0] * 40), row("c", [0.5] * 40), chance]
    assert [line.split()[0] for line in findings.verdicts(rows, {})] == ["a", "b", "c"]


def test_a_protocol_without_questions_is_not_judged() -> None:
    rows = with_differences([row("a", [None] * 4), row("best_single", [1.0] * 4, "baseline")], {})
    assert findings.verdicts(rows, {}) == []
    assert findings.power(rows, {}) is None


def test_power_in_words() -> None:
    best = row("best_single", [1.0, 0.0] * 200, "baseline")
    some = row("symbolic_moe", [1.0, 0.0, 0.0, 1.0] * 100)
    assert findings.power([some, best], {}) == (
        "400 questions could have shown a difference of 10.1 points between symbolic_moe and "
        "best_single (80 % power)."
    )
    same = findings.power([row("symbolic_moe", [1.0, 0.0] * 200), best], {})
    assert same is not None
    assert "scored the same on all" in same
    few = findings.power([row("a", [1.0, 1.0, 0.0]), row("b", [1.0, 0.0, 0.0])], {})
    assert few is not None
    assert "too few to show any difference" in few
    always_half = findings.power([row("a", [0.5] * 3), row("b", [1.0] * 3)], {})
    assert always_half is not None
    assert "too few to show any difference" in always_half, "half points that never vary"


def test_power_of_clusters_is_that_of_their_differences() -> None:
    clusters = {f"q{n}": f"c{n // 4}" for n in range(400)}
    alike = [1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0] * 50
    first, second = row("a", alike), row("b", alike[4:] + alike[:4])
    said = findings.power([first, second], clusters)
    assert said is not None
    shown = float(said.split("difference of ")[1].split()[0])
    assert shown == pytest.approx(28.0, abs=1.5)  # 2.8 standard errors of 100 differences of +-1
    assert "100 units" in findings.counted([first], clusters)


def test_pairs_leave_out_what_shares_no_question() -> None:
    a, b = row("a", [1.0, 0.0]), row("b", [None, None])
    assert findings.compare_rows([("a", a), ("b", b)], {}) == []
    (pair,) = findings.compare_rows([("a", a), ("c", row("c", [0.0, 0.0]))], {})
    assert pair.difference.mean == 0.5
    assert pair.as_json()["questions"] == 2


@pytest.mark.parametrize(
    ("given", "adjusted"),
    [
        ([], []),
        ([0.04], [0.04]),
        ([0.01, 0.04, 0.03], [0.03, 0.06, 0.06]),
        ([0.9, 0.8], [1.0, 1.0]),
    ],
)
def test_holm(given, adjusted) -> None:
    assert holm(given) == pytest.approx(adjusted)


def test_rows_stand_by_accuracy_and_unscored_ones_last() -> None:
    rows = [row("none", [None]), row("low", [0.0]), row("high", [1.0])]
    assert [one.name for one in findings.sorted_rows(rows)] == ["high", "low", "none"]


def tried(name: str, values: Sequence[float | None], **fields) -> Row:
    return replace(row(name, values), cross_validated=0.75, **fields)


def test_rules_of_recruitment_pay_or_do_not() -> None:
    rows = with_differences(
        [
            tried("good", [1.0] * 40, selected=True),
            tried("even", [1.0, 0.0] * 20),
            tried("few", [1.0] * 10 + [None] * 30),
            tried("lost", [None] * 40),
            row("plurality", [1.0, 0.0] * 20, calls=40),
            row("best_single", [1.0, 0.0] * 20, "baseline"),
        ],
        {},
    )
    said = findings.verdicts(rows, {})
    assert said[0].startswith(
        "good was selected by cross-validation on the profile's questions: 75.0 % there, 100.0 % "
        "here; +50.0 points ["
    )
    assert said[0].endswith("not adjusted, as it was chosen before.")
    good, even, few, lost, plurality, holm_over = said[1:]
    assert "Holm's method over all 10 pairs" in holm_over
    assert good.startswith("good pays against the best single expert: +50.0 points [+")
    assert good.endswith("with 25 % of its calls.")
    assert even.startswith("even does not pay against the best single expert: +0.0 points")
    assert few.startswith("few cannot be told to pay or not: 30 of 40 questions are missing; +50.0")
    assert lost == "lost shows nothing: all 40 questions are missing."
    assert plurality.startswith("plurality is not shown to differ from the best single expert")


def test_without_a_best_single_expert_nothing_is_said_to_pay() -> None:
    rows = with_differences([tried("a", [1.0] * 4), row("plurality", [1.0] * 4)], {})
    assert not any(" pay" in line for line in findings.verdicts(rows, {}))
    assert findings.payoffs([row("a", [1.0]), row("best_single", [1.0], "baseline")], {}) == []


def family(rows: Sequence[Row], *, several: bool = False) -> list[str]:
    named = findings.in_family([(one.name, one) for one in rows], several=several)
    return [name for name, _ in named]


def test_the_family_holds_what_somebody_could_use() -> None:
    rows = [
        row("a", [1.0, 0.0]),
        row("none", [None, None]),
        row("best_single", [1.0, 1.0], "baseline"),
        row("oracle", [1.0, 1.0], "baseline"),
        row("random", [0.5, 0.5], "baseline"),
    ]
    assert family(rows) == ["a", "best_single"]
    assert family(rows, several=True) == ["a"]


def test_no_sentence_says_more_than_its_pair() -> None:
    """Beside nine others a difference of p = 0.01 shows nothing, and the sentence says so."""
    best = row("best_single", [0.0] * 40, "baseline")
    some = row("some", [1.0] * 8 + [0.0] * 32)
    others = [row(f"x{n}", [float(q == n) for q in range(40)]) for n in range(9)]
    alone = findings.verdicts([some, best], {})
    assert alone[0].startswith("some beats the best single expert")
    rows = with_differences([some, *others, best], {})
    pairs = findings.compare_rows(
        findings.in_family([(r.name, r) for r in rows], several=False), {}
    )
    (pair,) = [p for p in pairs if (p.first, p.second) == ("some", "best_single")]
    assert pair.difference.p_value < 0.01
    assert pair.p_holm > 0.05
    said = findings.verdicts(rows, {})
    assert said == findings.verdicts(rows, {}, pairs)
    low, high = pair.interval_holm
    assert said[0] == (
        "some is not shown to differ from the best single expert: +20.0 points "
        f"{findings.signed_interval(low, high)}."
    )
    assert "over all 55 pairs" in said[-1]


def test_a_pair_turned_round_says_the_same() -> None:
    a, b = row("a", [1.0] * 8 + [0.0, None]), row("b", [0.0] * 5 + [1.0] * 5)
    (pair,) = findings.compare_rows([("a", a), ("b", b)], {})
    (other,) = findings.compare_rows([("b", b), ("a", a)], {})
    turned = pair.turned()
    assert turned.turned() == pair
    assert (turned.first, turned.difference.mean) == ("b", other.difference.mean)
    assert turned.interval_holm == pytest.approx(other.interval_holm)
    assert turned.difference.bounds == pytest.approx(other.difference.bounds)


def test_every_pair_says_what_it_could_have_shown() -> None:
    a, b = row("a", [1.0, 0.0] * 200), row("b", [1.0, 0.0, 0.0, 1.0] * 100)
    (pair,) = findings.compare_rows([("a", a), ("b", b)], {})
    assert pair.could_show == pytest.approx(0.1008, abs=1e-3)
    assert pair.as_json()["could_show"] == pair.could_show
    (same,) = findings.compare_rows([("a", a), ("c", a)], {})
    assert same.could_show is None


@pytest.mark.parametrize(
    ("count", "said"), [(0, "0 cats"), (1, "1 cat"), (2, "2 cats"), (1204, "1,204 cats")]
)
def test_numbers_of_things(count: int, said: str) -> None:
    assert counted_of(count, "cat") == said
    assert counted_of(2, "entry", "entries") == "2 entries"
