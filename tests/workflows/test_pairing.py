from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.errors import Mistake
from protocols.parsing import canonical_answer
from protocols.question import Question
from tests.workflows.making import DATA, load, recorded_row, write_lines
from workflows.questions.pairing import made_numbers, pair_questions
from workflows.settings.sections import PairSpec


def many(n: int = 400) -> tuple[Question, ...]:
    return tuple(Question(id=f"q{i}", text="x", options=("a", "b", "c", "d")) for i in range(n))


def test_a_pair_holds_the_gold_answer_and_one_wrong_one() -> None:
    questions = many()
    gold = {question.id: "C" for question in questions}
    paired, key = pair_questions(questions, gold, PairSpec())
    wrong = []
    for before, question in zip(questions, paired, strict=True):
        assert question.id == before.id
        assert len(question.options) == 2
        assert question.options[question.labels.index(key[question.id])] == "c"
        wrong.append(next(option for option in question.options if option != "c"))
    firsts = sum(label == "A" for label in key.values())
    assert 160 <= firsts <= 240  # both orders about equally often
    assert all(100 <= wrong.count(option) <= 167 for option in "abd")
    assert {question.content_digest for question in questions}.isdisjoint(
        question.content_digest for question in paired
    )


def test_pairs_hang_on_seed_and_id_alone() -> None:
    questions = many(50)
    gold = {question.id: "A" for question in questions}
    all_pairs = pair_questions(questions, gold, PairSpec(seed=4))
    assert pair_questions(questions, gold, PairSpec(seed=4)) == all_pairs
    assert pair_questions(questions[::-1], gold, PairSpec(seed=4))[0] == all_pairs[0][::-1]
    assert pair_questions(questions[7:8], gold, PairSpec(seed=4))[0] == all_pairs[0][7:8]
    assert pair_questions(questions, gold, PairSpec(seed=5)) != all_pairs


def test_two_options_get_a_seeded_order_too() -> None:
    questions = tuple(Question(id=f"q{i}", text="x", options=("gold", "no")) for i in range(200))
    paired, key = pair_questions(questions, {q.id: "A" for q in questions}, PairSpec())
    assert 70 <= sum(label == "A" for label in key.values()) <= 130
    assert {question.options for question in paired} == {("gold", "no"), ("no", "gold")}


def test_wrong_numbers_are_recorded_ones_where_there_are_some() -> None:
    path = DATA / "gsm8k.jsonl.gz"
    published = load(path)
    assert published.recorded is not None
    paired = load(path, pair=True)
    for question in paired.questions:
        gold = published.key.gold[question.id]
        label = paired.key.gold[question.id]
        assert question.options[question.labels.index(label)] == gold
        wrong = next(option for option in question.options if option != gold)
        given_wrong = {
            canonical_answer(column[question.id] or "", "number")
            for column in published.recorded.answers.values()
        } - {None, gold}
        assert wrong in given_wrong if given_wrong else wrong in made_numbers(gold)
    by_rule = load(path, pair={"numbers": "rules"})
    for question in by_rule.questions:
        gold = published.key.gold[question.id]
        assert {*question.options} - {gold} <= set(made_numbers(gold))


def test_after_pairing_nothing_recorded_is_left(tmp_path: Path) -> None:
    rows = [recorded_row(i, correct={"good": 1}) for i in range(3)]
    paired = load(write_lines(tmp_path / "r.jsonl", rows), pair={"seed": 2})
    assert paired.recorded is None
    assert (paired.key.flags, paired.key.singles, paired.key.unread) == ({}, {}, {})
    assert set(paired.key.kinds.values()) == {"choice"}


@given(st.integers(-(10**9), 10**9) | st.decimals(-1000, 1000, places=2, allow_nan=False))
def test_made_numbers_are_wrong_alike_and_never_none(value: object) -> None:
    gold = canonical_answer(str(value), "number")
    assert gold is not None
    made = made_numbers(gold)
    assert made == sorted(set(made))
    assert made
    for number in made:
        assert number == canonical_answer(number, "number") != gold
        assert gold == "0" or number.startswith("-") == gold.startswith("-")
        assert len(number.partition(".")[2]) <= len(gold.partition(".")[2])


def test_made_numbers_by_hand() -> None:
    assert made_numbers("12") == sorted(["13", "11", "22", "2", "24", "6", "120", "21"])
    assert "0.51" not in made_numbers("0.5")


@pytest.mark.parametrize(
    ("question", "gold", "says"),
    [
        (Question(id="q", text="x", kind="text"), "bob", "neither multiple choice nor a number"),
        (Question(id="q", text="x", options=("a", " a ")), "A", "no option differs"),
        (Question(id="q", text="x", options=("a", "b")), None, "no gold answer"),
    ],
)
def test_what_cannot_be_paired(question: Question, gold: str | None, says: str) -> None:
    key = {} if gold is None else {"q": gold}
    with pytest.raises(Mistake, match=says):
        pair_questions([question], key, PairSpec())
