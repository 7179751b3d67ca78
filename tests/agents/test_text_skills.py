"""Key phrases: fitted on a profile's questions alone, the same whatever their order."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.text_skills import TextSkills, fit_text_skills, phrases_of
from protocols.question import Question


def asked(text: str, number: int = 0) -> Question:
    return Question(id=f"q/{number}", text=text, kind="text")


TEXTS = [
    "The court heard the contract dispute",
    "A contract dispute in court",
    "Contract law and the court of appeal",
    "The cell divides",
    "A cell wall and a cell nucleus",
    "What does the cell need?",
    "The river runs",
    "Ships sail",
]
QUESTIONS = [asked(text, i) for i, text in enumerate(TEXTS)]


def test_phrases_are_words_and_neighbours_without_stop_words():
    assert phrases_of("The cell wall, of it\nBREAKS") == ["cell", "wall", "cell wall", "breaks"]
    assert phrases_of(r"\mathrm{mass} 12 kg") == ["mass"]
    assert phrases_of("incomprehensibilities x") == []  # 21 letters


def test_the_vocabulary_by_hand():
    fitted = fit_text_skills(QUESTIONS)
    expected = round(math.log(9 / 4) + 1, 12)  # three of eight questions
    assert fitted.phrases == {"cell": expected, "contract": expected, "court": expected}
    assert fitted.questions == 8
    assert fitted.known == ("cell", "contract", "court")


def test_a_question_is_read_with_the_vocabulary_alone():
    fitted = fit_text_skills(QUESTIONS)
    assert fitted.skills(asked("A contract on a cell, a cell")) == ("cell", "contract")
    assert fitted.skills(asked("Something else entirely")) == ()


def test_the_heaviest_five_and_equal_ones_by_name():
    fitted = TextSkills(phrases=dict.fromkeys(["ant", "bee", "cow", "dog", "elk", "fox"], 1.0))
    assert fitted.skills(asked("fox elk dog cow bee ant")) == ("ant", "bee", "cow", "dog", "elk")
    assert "fox" in fitted.skills(asked("fox fox elk dog cow bee ant"))


def test_options_count_too():
    fitted = TextSkills(phrases={"cell": 1.0})
    question = Question(id="q", text="Which?", options=("A cell", "None"))
    assert fitted.skills(question) == ("cell",)


@settings(max_examples=20)
@given(st.permutations(QUESTIONS))
def test_the_order_of_the_questions_is_no_matter(questions):
    assert fit_text_skills(questions) == fit_text_skills(QUESTIONS)


@pytest.mark.parametrize("texts", [[], ["cell"], ["cell"] * 2, ["of the"] * 5, ["12 + 4"] * 9])
def test_of_nothing_nothing_is_learned(texts):
    fitted = fit_text_skills(asked(text, i) for i, text in enumerate(texts))
    assert fitted.phrases == {}
    assert fitted.skills(asked("cell")) == ()


@pytest.mark.parametrize("text", ["x" * 100_000, "\u2028" * 9 + "a", "漢字 漢字漢字", "\\" * 5_000])
def test_hostile_texts_are_read(text):
    fitted = fit_text_skills([*QUESTIONS, *(asked(text, 10 + i) for i in range(4))])
    assert all(len(phrase) <= 20 for phrase in fitted.phrases)
    fitted.skills(asked(text))
