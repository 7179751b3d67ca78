"""Consultancy in its forms, and double consultancy: who speaks when, who hears whom, whose side."""

from __future__ import annotations

import pytest

from protocols.asks import Ask
from protocols.consultancy import Consultancy, DoubleConsultancy
from protocols.errors import Mistake
from protocols.messages import find_part
from protocols.question import Question
from protocols.replies import Reply, failed
from tests.protocols.debating import for_option
from tests.protocols.examples import CHOICE, PAIR
from tests.protocols.harness import everything_said, play
from tests.protocols.overseeing import END, cast_for, playing, seats, texts

ONE = cast_for("consultant")
TWO = cast_for("consultant", "ada", "bob")
ASKED = cast_for("consultant", questioner=("eve",))


@pytest.mark.parametrize("rounds", [1, 2, 5])
@pytest.mark.parametrize(
    ("protocol", "parameters", "cast", "price"),
    [
        (Consultancy, {"sides": "random"}, ONE, lambda r: r + 2),
        (Consultancy, {"sides": "A", "orders": 1}, ONE, lambda r: r + 1),
        (Consultancy, {}, ONE, lambda r: 2 * (r + 2)),
        (Consultancy, {"sides": "B", "interactive": True}, ONE, lambda r: 2 * r + 1),
        (Consultancy, {"interactive": True}, ASKED, lambda r: 2 * (2 * r + 1)),
        (Consultancy, {"open": True}, ONE, lambda r: r + 3),
        (Consultancy, {"open": True, "interactive": True}, ONE, lambda r: 2 * r + 2),
        (Consultancy, {"judge_every_round": True, "sides": "A"}, ONE, lambda r: 3 * r),
        (DoubleConsultancy, {}, ONE, lambda r: 2 * r + 2),
        (DoubleConsultancy, {"sides": "both"}, TWO, lambda r: 2 * (2 * r + 2)),
        (DoubleConsultancy, {"sides": "both"}, ONE, lambda r: 2 * r + 2),
    ],
)
def test_prices(rounds, protocol, parameters, cast, price):
    consultancy = protocol(rounds=rounds, **parameters)
    played = play(consultancy, PAIR, cast, playing())
    assert len(played.asks) == price(rounds) == consultancy.calls(PAIR, cast).most


def test_static_the_consultant_speaks_and_then_the_judge_decides():
    played = play(Consultancy(rounds=2, sides="B"), PAIR, ONE, playing())
    assert seats(played) == [["consultant_b"], ["consultant_b"], ["judge", "judge"]]
    first, second = "words-of-consultant_b-at-0-0.", "words-of-consultant_b-at-1-0."
    assert texts(played.asks_by_turn[1][0], "speech") == [first]
    own, exchanged = played.asks_by_turn[2]
    for ask, heading in ((own, "consultant_b"), (exchanged, "consultant_a")):
        assert texts(ask, "speech") == [first, second]
        assert [p.name for p in ask.messages[1].parts if p.name.startswith("consultant")] == [
            heading
        ] * 2
        assert find_part(ask.messages, "passage") is None
    assert "The miller slept." in everything_said(list(played.asks_by_turn[0]))


def test_both_sides_are_argued_each_in_a_conversation_of_its_own():
    played = play(Consultancy(rounds=2), PAIR, ONE, playing(for_option("The cook")))
    assert seats(played) == [["consultant_a", "consultant_b"]] * 2 + [["judge"] * 4]
    for turn in played.asks_by_turn:
        for number, ask in enumerate(turn):
            other = "consultant_b" if number < len(turn) // 2 else "consultant_a"
            assert f"words-of-{other}" not in everything_said([ask])
    outcome = played.outcome
    assert (outcome.answer, outcome.rule) == ("B", "mean_of_sides_and_orders")
    assert outcome.readings == ((0.0, 1.0),) * 4
    assert outcome.detail["sides"] == [
        {"side": "A", "by": "ada", "readings": [0, 1]},
        {"side": "B", "by": "ada", "readings": [2, 3]},
    ]
    assert [one["consultants"] for one in outcome.detail["stagings"]] == [
        {"A": "ada"},
        {"B": "ada"},
    ]


def believer(ask: Ask) -> Reply:
    """A judge that believes whoever speaks to it."""
    side = "A" if find_part(ask.messages, "consultant_a") else "B"
    return Reply(f"Answer: {side}")


def test_a_judge_that_believes_every_consultant_is_even_over_both_sides():
    outcome = play(Consultancy(rounds=1), PAIR, ONE, playing(believer)).outcome
    assert (outcome.status, outcome.distribution) == ("tied", (0.5, 0.5))
    assert outcome.readings == ((1.0, 0.0), (1.0, 0.0), (0.0, 1.0), (0.0, 1.0))
    assert "consistent" not in outcome.detail


def test_which_side_is_drawn():
    drawn = [
        play(Consultancy(rounds=1, sides="random"), PAIR, ONE, playing(), seed=seed)
        .outcome.detail["sides"][0]["side"]
        for seed in range(40)
    ]  # fmt: skip
    assert 8 < drawn.count("A") < 32


@pytest.mark.parametrize(("label", "own"), [("A", "The miller"), ("B", "The cook")])
def test_open_the_consultant_chooses_its_side_first(label, own):
    def consultant(ask: Ask) -> Reply:
        return Reply(f"Answer: {label}" if ask.options else "I speak.")

    played = play(Consultancy(rounds=1, open=True), PAIR, ONE, playing(consultant=consultant))
    assert seats(played)[:2] == [["consultant"], [f"consultant_{label.lower()}"]]
    assigned = find_part(played.asks[1].messages, "assigned")
    assert assigned is not None
    assert assigned.text == own
    entry = {"side": label, "by": "ada", "readings": [0, 1], "chosen": True}
    assert played.outcome.detail["sides"] == [entry]


@pytest.mark.parametrize("boundary", [None, "refused", "provider"])
def test_open_without_a_choice_there_is_no_consultancy(boundary):
    reply = Reply("Both!") if boundary is None else failed(boundary, "")
    played = play(Consultancy(open=True), PAIR, ONE, playing(consultant=lambda ask: reply))
    assert len(played.asks) == 1
    assert played.outcome.status == ("unparsed" if boundary is None else "failed")
    assert played.outcome.boundary == boundary


@pytest.mark.parametrize(("cast", "role"), [(ONE, "judge"), (ASKED, "questioner")])
def test_interactive_questions_without_letters_are_read_in_both_orders(cast, role):
    played = play(Consultancy(rounds=3, interactive=True, sides="B"), PAIR, cast, playing())
    who = ["consultant_b"]
    assert seats(played) == [who, ["questioner"], who, ["questioner"], who, ["judge", "judge"]]
    asked = played.asks_by_turn[3][0]
    assert asked.seat.role == role
    said = everything_said([asked])
    assert "answer A" not in said
    assert "answer B" not in said
    assert find_part(asked.messages, "options") is None
    assert texts(asked, "speech") == [f"words-of-consultant_b-at-{turn}-0." for turn in (0, 2)]
    assert texts(asked, "inquiry") == ["words-of-questioner-at-1-0."]
    for ask in (*played.asks_by_turn[4], *played.asks_by_turn[5]):
        assert texts(ask, "inquiry") == [f"words-of-questioner-at-{turn}-0." for turn in (1, 3)]


def test_double_the_two_never_hear_each_other_and_the_judge_hears_both():
    played = play(DoubleConsultancy(rounds=3), PAIR, TWO, playing())
    assert seats(played) == [["consultant_a", "consultant_b"]] * 3 + [["judge", "judge"]]
    for turn in played.asks_by_turn[:-1]:
        for ask, other in zip(turn, "ba", strict=True):
            assert f"words-of-consultant_{other}" not in everything_said([ask])
    a, b = ([f"words-of-consultant_{x}-at-{r}-{i}." for r in range(3)] for i, x in enumerate("ab"))
    own, exchanged = played.asks_by_turn[-1]
    assert texts(own, "speech") == [one for pair in zip(a, b, strict=True) for one in pair]
    assert texts(exchanged, "speech") == [one for pair in zip(b, a, strict=True) for one in pair]


@pytest.mark.parametrize("parameters", [{}, {"interactive": True}])
def test_exchanging_the_options_exchanges_all(parameters):
    """What is right cannot be told from any prompt."""
    turned = Question(**{**PAIR.model_dump(), "options": PAIR.options[::-1]})

    def consultant(ask: Ask) -> Reply:
        assigned = find_part(ask.messages, "assigned")
        assert assigned is not None
        return Reply(f"words for {assigned.text}")

    def questioner(ask: Ask) -> Reply:
        argued = find_part(ask.messages, "argued")
        assert argued is not None
        return Reply(f"why {argued.text}?")

    answer = playing(for_option("The cook"), consultant=consultant, questioner=questioner)
    consultancy = Consultancy(rounds=2, **parameters)
    own, other = (play(consultancy, question, ONE, answer) for question in (PAIR, turned))
    for mine, theirs in zip(own.asks_by_turn, other.asks_by_turn, strict=True):
        assert sorted(ask.key for ask in mine) == sorted(ask.key for ask in theirs)
    assert (own.outcome.answer, other.outcome.answer) == ("B", "A")


@pytest.mark.parametrize("boundary", ["provider", "timeout"])
def test_one_side_whose_data_is_missing_makes_the_session_missing(boundary):
    def consultant(ask: Ask) -> Reply:
        return failed(boundary, "") if ask.seat.name == "consultant_b" else Reply("I speak.")

    outcome = play(Consultancy(rounds=2), PAIR, ONE, playing(consultant=consultant)).outcome
    assert outcome.missing
    assert outcome.failures == {boundary: 1}


def test_a_consultant_that_refuses_is_silent():
    answer = playing(consultant=lambda ask: failed("refused", "SECRET"))
    played = play(Consultancy(rounds=2, sides="A"), PAIR, ONE, answer)
    assert len(played.asks) == 4
    assert everything_said(played.asks).count("(no speech was given)") == 1 + 2 * 2
    assert played.outcome.failures == {"refused": 2}


def test_each_side_ends_when_its_own_judge_ends_it():
    def judge(ask: Ask) -> Reply:
        return Reply(END if believer(ask).text == "Answer: A" else "Answer: A\nDecision: continue")

    protocol = Consultancy(rounds=3, orders=1, judge_every_round=True, min_rounds=1)
    outcome = play(protocol, PAIR, ONE, playing(judge)).outcome
    assert [len(one["path"]) for one in outcome.detail["stagings"]] == [1, 3]


@pytest.mark.parametrize("protocol", [Consultancy(), DoubleConsultancy()])
def test_a_question_needs_two_options(protocol):
    assert protocol.check_question(PAIR) is None
    assert "two options" in (protocol.check_question(CHOICE) or "")
    with pytest.raises(Mistake, match="pair:"):
        play(protocol, CHOICE, ONE, playing())
