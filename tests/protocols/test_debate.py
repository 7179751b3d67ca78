"""Debate: who speaks when, who sees what, and what follows from the judge's readings."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from protocols.asks import Ask
from protocols.contract import CallBound
from protocols.debate import Debate
from protocols.errors import Mistake
from protocols.messages import find_part, find_parts
from protocols.question import Question
from protocols.replies import Reply, failed
from tests.protocols.debating import CAST, TWO, always, for_option, heard, judged_by, speech_of
from tests.protocols.examples import CHOICE, PAIR, TEXT, cast_of
from tests.protocols.harness import everything_said, play


def test_debaters_speak_at_once_and_the_judge_speaks_last():
    played = play(Debate(rounds=3), PAIR, CAST, judged_by(always("Answer: A")))
    seats = [[ask.seat.name for ask in turn] for turn in played.asks_by_turn]
    assert seats == [["debater_a", "debater_b"]] * 3 + [["judge", "judge"]]


def test_a_debater_hears_closed_rounds_its_own_speech_first():
    played = play(Debate(rounds=3), PAIR, CAST, judged_by(always("Answer: A")))
    for number, turn in enumerate(played.asks_by_turn[:-1], start=1):
        for ask, other in ((turn[0], turn[1]), (turn[1], turn[0])):
            assert heard(ask) == [
                f"words-of-{name}-in-{earlier}."
                for earlier in range(1, number)
                for name in (ask.seat.name, other.seat.name)
            ]


def test_the_judge_hears_all_rounds_a_before_b_and_exchanged_in_the_second_order():
    played = play(Debate(rounds=2), PAIR, CAST, judged_by(always("Answer: A")))
    own, exchanged = played.asks_by_turn[-1]
    a1, b1, a2, b2 = [f"words-of-debater_{name}-in-{number}." for number in (1, 2) for name in "ab"]
    assert heard(own) == [a1, b1, a2, b2]
    assert heard(exchanged) == [b1, a1, b2, a2]
    names = [
        [part.name for part in ask.messages[1].parts if part.name.startswith("debater_")]
        for ask in (own, exchanged)
    ]
    assert names == [["debater_a", "debater_b"] * 2] * 2
    options = [find_part(ask.messages, "options") for ask in (own, exchanged)]
    assert [part.text for part in options if part] == [
        "A. The miller\nB. The cook",
        "A. The cook\nB. The miller",
    ]
    assert own.options == exchanged.options == ("A", "B")
    assert find_part(own.messages, "question") == find_part(exchanged.messages, "question")


def test_each_debater_argues_for_its_own_option_and_knows_no_letter():
    played = play(Debate(), PAIR, CAST, judged_by(always("Answer: A")))
    for turn in played.asks_by_turn[:-1]:
        sides = [
            tuple(find_part(ask.messages, name).text for name in ("assigned", "opposed"))  # type: ignore[union-attr]
            for ask in turn
        ]
        assert sides == [("The miller", "The cook"), ("The cook", "The miller")]
        said = everything_said(list(turn))
        assert not re.search(r"\b(answer|option|debater) [AB]\b", said, re.IGNORECASE)


@given(rounds=st.integers(1, 5), orders=st.sampled_from([1, 2]))
def test_nobody_sees_an_open_round(rounds, orders):
    seen: list[tuple[int, str, str]] = []

    def answer(ask: Ask) -> Reply:
        assert ask.place is not None
        said = everything_said([ask])
        for name in ("debater_a", "debater_b"):
            for number in range(ask.place.turn + 1, rounds + 2):
                assert f"words-of-{name}-in-{number}." not in said
            for number in range(1, ask.place.turn + 1):
                assert said.count(f"words-of-{name}-in-{number}.") == 1
        seen.append((ask.place.turn, ask.seat.name, said))
        return Reply(speech_of(ask) if ask.seat.role == "debater" else "Answer: B")

    played = play(Debate(rounds=rounds, orders=orders), PAIR, CAST, answer)
    assert len(played.asks) == len(seen) == 2 * rounds + orders


@pytest.mark.parametrize(
    ("readers", "seats"),
    [
        (("debater",), {"debater_a", "debater_b"}),
        (("judge",), {"judge"}),
        ((), set()),
        (("debater", "judge"), {"debater_a", "debater_b", "judge"}),
    ],
)
def test_only_readers_get_the_passage(readers, seats):
    cast = cast_of(readers=readers, debater=("ada",), judge=("cy",))
    played = play(Debate(), PAIR, cast, judged_by(always("Answer: A")))
    for ask in played.asks:
        assert (find_part(ask.messages, "passage") is not None) == (ask.seat.name in seats)
        assert ("The miller slept." in everything_said([ask])) == (ask.seat.name in seats)


def test_prompts_come_prefix_first_and_speeches_carry_their_origin():
    played = play(Debate(rounds=2), PAIR, CAST, judged_by(always("Answer: A")))
    debater, judge = played.asks_by_turn[1][0], played.asks_by_turn[2][0]
    assert [message.speaker for message in debater.messages] == ["system", "user"]
    assert [part.name for part in debater.messages[1].parts] == [
        *("passage", "question", "assigned_heading", "assigned", "opposed_heading", "opposed"),
        *("yours", "speech", "theirs", "speech", "speech_task"),
    ]
    first = played.asks_by_turn[0][0].messages[1].parts
    assert debater.messages[1].parts[: len(first) - 1] == first[:-1]
    assert [part.origin for part in find_parts(judge.messages, "speech")] == [
        (0, 0),
        (0, 1),
        (1, 0),
        (1, 1),
    ]


@pytest.mark.parametrize("rounds", [1, 3, 6])
@pytest.mark.parametrize("orders", [1, 2])
def test_calls(rounds, orders):
    debate = Debate(rounds=rounds, orders=orders)
    assert debate.calls(PAIR, CAST) == CallBound(2, 2 * rounds + orders)
    played = play(debate, PAIR, CAST, judged_by(always("Answer: B")))
    assert len(played.asks) == 2 * rounds + orders


@pytest.mark.parametrize("question", [CHOICE, TEXT])
def test_a_question_needs_two_options(question):
    why = Debate().check_question(question)
    assert why is not None
    assert "two options" in why
    assert "pair:" in why
    assert Debate().check_question(PAIR) is None
    with pytest.raises(Mistake, match="pair:"):
        play(Debate(), question, CAST, judged_by(always("Answer: A")))


def test_a_cast_needs_one_or_two_debaters():
    three = cast_of(debater=("ada", "bob", "dee"), judge=("cy",))
    with pytest.raises(Mistake, match="cast one, or two"):
        play(Debate(), PAIR, three, judged_by(always("Answer: A")))
    with pytest.raises(Mistake, match="'debater'"):
        play(Debate(), PAIR, cast_of(judge=("cy",)), judged_by(always("Answer: A")))


def test_which_of_two_experts_takes_which_side_is_drawn():
    drawn = []
    for seed in range(40):
        played = play(Debate(rounds=2), PAIR, TWO, judged_by(always("Answer: A")), seed=seed)
        sides = {tuple(ask.seat.expert for ask in turn) for turn in played.asks_by_turn[:-1]}
        assert len(sides) == 1
        (experts,) = sides
        assert played.outcome.detail["debaters"] == dict(zip("AB", experts, strict=True))
        drawn.append(experts)
    assert 8 < drawn.count(("ada", "bob")) < 32
    assert 8 < drawn.count(("bob", "ada")) < 32


@pytest.mark.parametrize("boundary", ["provider", "timeout"])
def test_a_missing_speech_ends_the_session(boundary):
    def debater(ask: Ask) -> Reply:
        assert ask.place is not None
        late = ask.place == (1, 1)
        return failed(boundary, "SECRET") if late else Reply(speech_of(ask))

    played = play(Debate(rounds=3), PAIR, CAST, judged_by(always("Answer: A"), debater))
    assert len(played.asks) == 4
    assert played.outcome.missing
    assert played.outcome.failures == {boundary: 1}
    assert len(played.outcome.detail["speeches"]["A"]) == 1


@pytest.mark.parametrize(
    "nothing",
    [
        failed("refused", "SECRET"),
        failed("overlong", "SECRET"),
        failed("malformed", "SECRET"),
        Reply(""),
        Reply(" \n\t"),
        Reply("<thinking>SECRET"),
    ],
    ids=["refused", "overlong", "malformed", "empty", "blank", "thinking only"],
)
def test_a_debate_goes_on_where_a_debater_gives_no_speech(nothing):
    def debater(ask: Ask) -> Reply:
        return nothing if ask.place == (0, 0) else Reply(speech_of(ask))

    played = play(Debate(rounds=2), PAIR, CAST, judged_by(for_option("cook"), debater))
    assert len(played.asks) == 6
    for ask in (*played.asks_by_turn[1], *played.asks_by_turn[2]):
        said = everything_said([ask])
        assert said.count("(no speech was given)") == 1
        assert "SECRET" not in said
    outcome = played.outcome
    assert outcome.answer == "B"
    assert outcome.failures == ({nothing.failure.boundary: 1} if nothing.failure else {})
    assert outcome.detail["speeches"]["A"][0] is None


def test_no_gold_reaches_anybody():
    """Which option is right cannot be told from any prompt: exchanging them exchanges all."""
    turned = Question(**{**PAIR.model_dump(), "options": PAIR.options[::-1]})
    speeches = {"The miller": "milling words", "The cook": "cooking words"}

    def debater(ask: Ask) -> Reply:
        assigned = find_part(ask.messages, "assigned")
        assert assigned is not None
        return Reply(speeches[assigned.text])

    answer = judged_by(for_option("The cook"), debater)
    own, other = (play(Debate(), question, CAST, answer) for question in (PAIR, turned))
    for mine, theirs in zip(own.asks_by_turn, other.asks_by_turn, strict=True):
        assert [ask.key for ask in mine] == [ask.key for ask in reversed(theirs)]
    assert (own.outcome.answer, other.outcome.answer) == ("B", "A")


@pytest.mark.parametrize(
    "wrong",
    [
        {"rounds": 0},
        {"orders": 3},
        {"tie": "first"},
        {"words": 0},
        {"max_characters": 0},
        {"quotes": "loose"},
        {"fuzzy_threshold": 101},
        {"round": 3},
    ],
)
def test_wrong_parameters_are_refused(wrong):
    with pytest.raises(ValidationError):
        Debate(**wrong)


def test_roles():
    debater, judge = Debate().roles()
    assert (debater.reads_passage, debater.draws, debater.many) == (True, True, True)
    assert not judge.reads_passage
