"""Rules as data: schedules, scores, and where played rounds depart from them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from protocols.nyu_rules import (
    AGREEMENT_RULES,
    CONSULTANCY_RULES,
    DEBATE_RULES,
    Departure,
    NyuRules,
    PlayedRound,
    check_rounds,
    debater_score,
    judge_score,
    read_rounds,
)

J, END = PlayedRound("judge"), PlayedRound("judge", ends=True)
SIM, SEQ = PlayedRound("simultaneous", (0, 1)), PlayedRound("sequential", (0, 1))
CON = PlayedRound("sequential", (1,))
NO, YES = PlayedRound("negotiate_end"), PlayedRound("negotiate_end", ends=True)
CLOSED = NyuRules(
    opening=("simultaneous", "judge"), repeat=("sequential", "judge"), closing=("judge",)
)


@pytest.mark.parametrize(
    ("rules", "rounds"),
    [
        (DEBATE_RULES, [J, SIM, END]),
        (DEBATE_RULES, [J, SIM, J, SEQ, J, SEQ, END]),
        (CONSULTANCY_RULES, [J, CON, END]),
        (CONSULTANCY_RULES, [J, CON, J, CON, END]),
        (AGREEMENT_RULES, [SIM, YES]),
        (AGREEMENT_RULES, [SIM, NO, SEQ, YES]),
        (CLOSED, [SIM, J, SEQ, END, J]),
        (NyuRules.as_played([SIM, SEQ, SEQ, YES]), [SIM, SEQ, SEQ, YES]),
    ],
)
def test_rounds_that_keep_the_rules(rules, rounds):
    assert check_rounds(rules, rounds) is None


@pytest.mark.parametrize(
    ("rules", "rounds", "departure"),
    [
        (DEBATE_RULES, [], Departure(0, "judge", "the end")),
        (DEBATE_RULES, [SIM], Departure(0, "judge", "simultaneous")),
        (DEBATE_RULES, [J, SIM, J], Departure(3, "sequential", "the end")),
        (DEBATE_RULES, [J, SIM, J, SEQ], Departure(4, "judge", "the end")),
        (DEBATE_RULES, [J, SIM, J, SIM, END], Departure(3, "sequential", "simultaneous")),
        (DEBATE_RULES, [J, SIM, END, SEQ], Departure(3, "the end", "sequential")),
        (DEBATE_RULES, [END], Departure(0, "a speech before the end", "the end")),
        (
            CONSULTANCY_RULES,
            [J, CON, J, PlayedRound("sequential", (0,)), END],
            Departure(3, "speeches by B", "speeches by A"),
        ),
        (
            DEBATE_RULES,
            [J, SIM, J, CON, END],
            Departure(3, "speeches by A and B", "speeches by B"),
        ),
        (DEBATE_RULES, [J, PlayedRound("simultaneous"), END], Departure(1, "speeches", "speeches")),
        (
            NyuRules(opening=("simultaneous",), repeat=("sequential",)),
            [SIM, SEQ, SEQ, YES],
            Departure(3, "sequential", "negotiate_end"),
        ),
        (CLOSED, [SIM, END], Departure(2, "judge", "the end")),
    ],
)
def test_the_first_departure_is_named(rules, rounds, departure):
    assert check_rounds(rules, rounds) == departure


@pytest.mark.parametrize("cap", [1, 2, 7])
def test_schedules_end_at_the_cap(cap):
    assert DEBATE_RULES.schedule(cap) == (
        *("judge", "simultaneous", "judge"),
        *("sequential", "judge") * (cap - 1),
    )
    assert CONSULTANCY_RULES.schedule(cap) == ("judge", *("sequential", "judge") * cap)


def test_an_opening_is_never_cut_and_need_not_be_followed():
    rules = NyuRules(opening=("simultaneous", "simultaneous", "judge"))
    assert rules.schedule(1) == rules.opening
    assert rules.kind_at(3) is None


def test_the_names_of_the_source():
    declared = {
        "opening": ["SimultaneousSpeechesRound", "NegotiateEndRound"],
        "repeat": ["SequentialSpeechesRound", "NegotiateEndRound"],
    }
    assert NyuRules.from_recorded(declared) == AGREEMENT_RULES
    declared["opening"].append("JudgeFeedbackRound")
    assert NyuRules.from_recorded(declared, cost=0.1).opening[-1] == "judge"


def test_recorded_rounds():
    speeches = [{"argues_for": 1}, {"argues_for": 0}]
    assert read_rounds(
        [
            {"type": "judge", "probs": [0.5, 0.5], "text": "", "end": False},
            {"type": "simultaneous", "speeches": speeches},
            {"type": "negotiate_end", "votes": {"A": True, "B": False}},
            {"type": "negotiate_end", "votes": {"A": True, "B": True}},
            {"type": "offline", "judgments": []},
        ]
    ) == (J, SIM, NO, YES)


@pytest.mark.parametrize(
    "wrong",
    [
        {"opening": []},
        {"opening": ["judge"]},
        {"opening": ["sequential"], "max_characters": 0},
        {"opening": ["sequential"], "cost": -1},
        {"opening": ["sing"]},
        {"opening": ["sequential"], "extra": 1},
    ],
)
def test_rules_that_are_none(wrong):
    with pytest.raises(ValidationError):
        NyuRules.model_validate(wrong)


@pytest.mark.parametrize(
    ("p", "t", "score"),
    [(0.5, 1, -1.05), (0.99, 2, math.log2(0.99) - 0.1), (0.0, 0, math.log2(0.01))],
)
def test_the_judges_score(p, t, score):
    assert judge_score(p, t) == pytest.approx(score, abs=1e-12)


@given(st.floats(0.01, 0.99), st.floats(0.01, 0.99), st.integers(0, 9))
def test_the_judges_score_is_proper(believed, stated, t):
    def expected(p: float) -> float:
        return believed * judge_score(p, t) + (1 - believed) * judge_score(1 - p, t)  # type: ignore[no-any-return]

    assert expected(believed) >= expected(stated) - 1e-9
    assert judge_score(stated, t) - judge_score(stated, t + 1) == pytest.approx(0.05)
    assert debater_score(stated) == judge_score(stated, 0)
