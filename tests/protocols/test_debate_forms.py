"""The forms of debate: one after the other, with questions, open, judged every round, re-asked."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from protocols.asks import Ask
from protocols.cast import Asset, Cast
from protocols.contract import CallBound
from protocols.debate import Debate
from protocols.errors import Mistake
from protocols.messages import find_part
from protocols.replies import Reply, failed
from tests.protocols.debating import for_option
from tests.protocols.examples import EXEMPLARS, PAIR
from tests.protocols.harness import everything_said, play
from tests.protocols.overseeing import CONTINUE, END, cast_for, playing, seats, texts

ONE, TWO = cast_for("debater"), cast_for("debater", "ada", "bob")
ASKED = cast_for("debater", questioner=("eve",))


@pytest.mark.parametrize("rounds", [1, 2, 5])
@pytest.mark.parametrize(
    ("parameters", "cast", "price"),
    [
        ({}, ONE, lambda r: 2 * r + 2),
        ({"orders": "rotate"}, ONE, lambda r: 2 * r + 2),
        ({"orders": 1}, ONE, lambda r: 2 * r + 1),
        ({"order": "sequential"}, ONE, lambda r: 2 * (2 * r + 1)),
        ({"order": "sequential", "orders": 1}, ONE, lambda r: 2 * r + 1),
        ({"interactive": "shared"}, ONE, lambda r: 6 * r),
        ({"interactive": "each"}, ONE, lambda r: 2 * (4 * r - 1)),
        ({"interactive": "each", "order": "sequential"}, ASKED, lambda r: 2 * (4 * r - 1)),
        ({"open": True}, ONE, lambda r: 2 * r + 3),
        ({"open": True, "order": "sequential"}, ONE, lambda r: 2 * (2 * r + 1) + 1),
        ({"sides": "both"}, TWO, lambda r: 2 * (2 * r + 2)),
        ({"sides": "both"}, ONE, lambda r: 2 * r + 2),
        ({"sides": "both", "open": True}, TWO, lambda r: 2 * (2 * r + 3)),
        ({"judge_every_round": True}, ONE, lambda r: 4 * r),
        ({"judge_every_round": True, "order": "sequential"}, ONE, lambda r: 6 * r),
    ],
)
def test_prices(rounds, parameters, cast, price):
    debate = Debate(rounds=rounds, **parameters)
    played = play(debate, PAIR, cast, playing())
    assert len(played.asks) == price(rounds) == debate.calls(PAIR, cast).most


def test_sequential_the_first_round_at_once_then_the_second_hears_the_first():
    played = play(Debate(rounds=2, order="sequential"), PAIR, ONE, playing())
    assert seats(played) == [
        ["debater_a", "debater_b"] * 2,
        ["debater_a", "debater_b"],
        ["debater_b", "debater_a"],
        ["judge", "judge"],
    ]
    opening, first, second, judge = played.asks_by_turn
    assert all(not texts(ask, "speech") for ask in opening)
    a, b = "words-of-debater_a-at-0-0.", "words-of-debater_b-at-0-1."
    assert texts(first[0], "speech") == [a, b]
    assert texts(second[0], "speech") == [b, a, "words-of-debater_a-at-1-0."]
    b2, a2 = "words-of-debater_b-at-0-3.", "words-of-debater_a-at-0-2."
    assert texts(first[1], "speech") == [b2, a2]
    assert texts(second[1], "speech") == [a2, b2, "words-of-debater_b-at-1-1."]
    own, exchanged = (texts(ask, "speech") for ask in judge)
    assert own == [a, b, "words-of-debater_a-at-1-0.", "words-of-debater_b-at-2-0."]
    assert exchanged == [b2, a2, "words-of-debater_b-at-1-1.", "words-of-debater_a-at-2-1."]


@pytest.mark.parametrize("parameters", [{"order": "sequential"}, {"interactive": "shared"}])
def test_a_debate_that_is_held_anew_maps_its_reading_back(parameters):
    debate = Debate(rounds=2, **parameters)
    found = play(debate, PAIR, ONE, playing(for_option("The cook"))).outcome
    assert (found.answer, found.readings) == ("B", ((0.0, 1.0), (0.0, 1.0)))
    assert found.detail["consistent"] is True
    first = play(debate, PAIR, ONE, playing("Answer: A")).outcome
    assert (first.status, first.readings) == ("tied", ((1.0, 0.0), (0.0, 1.0)))
    assert len(first.detail["stagings"]) == 2


def test_a_silent_first_speaker_is_heard_as_silent():
    def debater(ask: Ask) -> Reply:
        quiet = ask.seat.name == "debater_a" and ask.place and ask.place.turn == 1
        return failed("refused", "SECRET") if quiet else Reply("I speak.")

    debate = Debate(rounds=2, order="sequential", orders=1)
    played = play(debate, PAIR, ONE, playing(debater=debater))
    second = played.asks_by_turn[2][0]
    assert find_part(second.messages, "silence") is not None
    assert "SECRET" not in everything_said(played.asks)
    assert played.outcome.failures == {"refused": 1}


@pytest.mark.parametrize("boundary", ["provider", "timeout"])
def test_a_missing_first_speaker_ends_the_session_before_the_second_is_asked(boundary):
    def debater(ask: Ask) -> Reply:
        return failed(boundary, "") if ask.place and ask.place.turn == 1 else Reply("I speak.")

    debate = Debate(rounds=3, order="sequential", orders=1)
    played = play(debate, PAIR, ONE, playing(debater=debater))
    assert seats(played) == [["debater_a", "debater_b"], ["debater_a"]]
    assert played.outcome.missing


@pytest.mark.parametrize(("cast", "role"), [(ONE, "judge"), (ASKED, "questioner")])
def test_questions_come_before_every_round_but_the_first(cast, role):
    debate = Debate(rounds=3, interactive="shared", orders=1)
    played = play(debate, PAIR, cast, playing())
    speakers = ["debater_a", "debater_b"]
    assert seats(played) == [speakers, *[["questioner"], speakers] * 2, ["judge"]]
    asked = played.asks_by_turn[1][0]
    assert asked.seat.role == role
    assert texts(asked, "speech") == ["words-of-debater_a-at-0-0.", "words-of-debater_b-at-0-1."]
    question = "words-of-questioner-at-1-0."
    for ask in (*played.asks_by_turn[2], played.asks_by_turn[3][0]):
        assert texts(ask, "inquiry") == [question]
    assert len(texts(played.asks_by_turn[-1][0], "inquiry")) == 2
    assert find_part(asked.messages, "passage") is None


def test_a_question_to_each_side_is_told_to_both_as_whose_it_is():
    debate = Debate(rounds=2, interactive="each")
    played = play(debate, PAIR, ASKED, playing())
    asks = played.asks_by_turn[2]
    for ask, (own, other) in zip(asks, [(0, 1), (1, 0), (3, 2), (2, 3)], strict=True):
        names = [part.name for part in ask.messages[1].parts]
        put = texts(ask, "inquiry")
        mine = names.index("put_to_you") < names.index("put_to_opponent")
        assert put[0 if mine else 1] == f"words-of-questioner-at-1-{own}."
        assert put[1 if mine else 0] == f"words-of-questioner-at-1-{other}."


@pytest.mark.parametrize("boundary", ["refused", "malformed", "provider", "timeout"])
def test_a_questioner_that_fails_is_left_out(boundary):
    debate = Debate(rounds=2, interactive="shared")
    answer = playing(questioner=lambda ask: failed(boundary, "SECRET"))
    played = play(debate, PAIR, ASKED, answer)
    assert len(played.asks) == 12
    assert not played.outcome.missing
    assert played.outcome.failures == {boundary: 2}
    assert find_part(played.asks_by_turn[-1][0].messages, "no_question") is not None


def chooses(label: str):
    return lambda ask: Reply(f"Answer: {label}" if ask.options else "I speak.")


@pytest.mark.parametrize(("label", "own"), [("A", "The miller"), ("B", "The cook")])
@pytest.mark.parametrize("sides", ["A", "B"])
def test_in_an_open_debate_the_opponent_takes_the_other_side(label, own, sides):
    debate = Debate(rounds=1, open=True, sides=sides)
    played = play(debate, PAIR, TWO, playing(debater=chooses(label)))
    protagonist = {"A": "ada", "B": "bob"}[sides]
    assert seats(played)[0] == ["protagonist"]
    assert played.asks[0].seat.expert == protagonist
    for ask in played.asks_by_turn[1]:
        assigned = find_part(ask.messages, "assigned")
        assert assigned is not None
        assert (assigned.text == own) == (ask.seat.expert == protagonist)
    entry = {"side": label, "by": protagonist, "readings": [0, 1], "chosen": True}
    assert played.outcome.detail["sides"] == [entry]


@pytest.mark.parametrize(
    ("reply", "status", "boundary"),
    [
        (Reply("I cannot choose."), "unparsed", None),
        (Reply("", distribution=(0.5, 0.5)), "abstained", None),
        (failed("refused", "no"), "failed", "refused"),
        (failed("provider", "down"), "failed", "provider"),
    ],
    ids=["unparsed", "even", "refused", "missing"],
)
def test_a_side_that_is_not_chosen_is_not_drawn(reply, status, boundary):
    debate = Debate(open=True)
    played = play(debate, PAIR, ONE, playing(debater=lambda ask: reply))
    assert len(played.asks) == 1
    assert (played.outcome.status, played.outcome.boundary) == (status, boundary)
    assert played.outcome.unparsed == (status == "unparsed")


def test_both_assignments_of_two_debaters():
    played = play(Debate(rounds=1, sides="both"), PAIR, TWO, playing(for_option("The cook")))
    assert [ask.seat.expert for ask in played.asks_by_turn[0]] == ["ada", "bob", "bob", "ada"]
    names = [ask.seat.name for ask in played.asks_by_turn[0]]
    assert len(set(names)) == 4
    outcome = played.outcome
    assert outcome.rule == "mean_of_sides_and_orders"
    assert outcome.readings == ((0.0, 1.0),) * 4
    assert [(one["side"], one["by"], one["readings"]) for one in outcome.detail["sides"]] == [
        ("A", "ada", [0, 1]),
        ("B", "ada", [2, 3]),
    ]


@pytest.mark.parametrize(("sides", "on_a"), [("A", "ada"), ("B", "bob")])
def test_a_given_side_is_that_of_the_first_expert(sides, on_a):
    for seed in range(3):
        played = play(Debate(rounds=1, sides=sides), PAIR, TWO, playing(), seed=seed)
        assert played.asks[0].seat.expert == on_a


def ends_after(number: int):
    """A judge that wants to end it from its decision number `number` on, in each order."""
    seen: dict[str, int] = {}

    def judge(ask: Ask) -> Reply:
        options = find_part(ask.messages, "options")
        assert options is not None
        seen[options.text] = seen.get(options.text, 0) + 1
        return Reply(END if seen[options.text] >= number else CONTINUE)

    return judge


@pytest.mark.parametrize(
    ("min_rounds", "wants", "rounds"),
    [(None, 1, 4), (1, 1, 1), (1, 3, 3), (3, 1, 3), (1, 9, 4), (4, 1, 4)],
)
def test_the_judge_may_end_it_after_the_least_rounds(min_rounds, wants, rounds):
    debate = Debate(rounds=4, judge_every_round=True, min_rounds=min_rounds)
    played = play(debate, PAIR, ONE, playing(ends_after(wants)))
    assert len(played.asks) == 4 * rounds
    assert len(played.outcome.detail["path"]) == rounds


def test_one_order_that_goes_on_is_enough_to_go_on():
    def judge(ask: Ask) -> Reply:
        return Reply(END if ask.place and ask.place.slot == 0 else CONTINUE)

    debate = Debate(rounds=2, judge_every_round=True, min_rounds=1)
    assert len(play(debate, PAIR, ONE, playing(judge)).asks) == 8


def test_an_earlier_verdict_never_stands_in_for_the_last():
    def judge(ask: Ask) -> Reply:
        assert ask.place is not None
        return Reply("Hm.") if ask.place.turn == 3 else Reply("Answer: A")

    debate = Debate(rounds=2, judge_every_round=True, orders=1)
    outcome = play(debate, PAIR, ONE, playing(judge)).outcome
    assert (outcome.status, outcome.unparsed) == ("unparsed", 1)
    assert outcome.detail["path"] == [[[1.0, 0.0]], [[]]]


def test_lost_verdicts_on_the_way_are_counted_and_do_not_end_it():
    def judge(ask: Ask) -> Reply:
        assert ask.place is not None
        early = {1: failed("provider", ""), 3: Reply("Hm.")}
        return early.get(ask.place.turn, Reply("Answer: B"))

    debate = Debate(rounds=3, judge_every_round=True, orders=1)
    outcome = play(debate, PAIR, ONE, playing(judge)).outcome
    assert (outcome.answer, outcome.unparsed, outcome.failures) == ("B", 1, {"provider": 1})


def test_no_reasons_where_none_are_wanted():
    tasks = []
    for reasoning in ("before", "none"):
        played = play(Debate(rounds=1, judge_reasoning=reasoning), PAIR, ONE, playing())
        tasks.append(played.asks[-1].messages[1].parts[-1].text)
    assert "reasons in a few sentences" in tasks[0]
    assert "without reasons" in tasks[1]


SLEPT = """Who slept?
A. The owl
B. The cat
Debater A: it was day.
Answer: B
Owls sleep by day.
Answer: A"""


def test_exemplars_stand_first_quoted_and_are_the_same_for_all_questions():
    cast = cast_for("debater", assets={"judge_exemplars": EXEMPLARS})
    debate = Debate(rounds=1, judge_shots=2)
    assert debate.assets() == ("judge_exemplars",)
    played = play(debate, PAIR, cast, playing())
    system = played.asks[-1].messages[0]
    assert texts(played.asks[-1], "exemplar") == [
        "Who ran?\nA. The hare\nB. The snail\nAnswer: A",
        SLEPT,
    ]
    assert [part.name for part in system.parts][1:3] == ["exemplar_heading", "exemplar"]
    assert all(find_part(ask.messages, "exemplar") is None for ask in played.asks_by_turn[0])


@pytest.mark.parametrize(
    "content",
    [None, [], [{}], [{"question": "Q", "options": ["x", "y"], "answer": "C"}], ["text"], "text"],
)
def test_exemplars_that_are_missing_or_wrong_are_the_users_mistake(content):
    assets = {} if content is None else {"judge_exemplars": Asset(kind="x", content=content)}
    cast: Cast = cast_for("debater", assets=assets)
    with pytest.raises(Mistake, match="judge_exemplars"):
        play(Debate(rounds=1, judge_shots=1), PAIR, cast, playing())


LONG = "The <quote>cook took the key</quote> and went down."
CUT = "The <v_quote>cook took</v_quote>"


def over(first: Reply, again: Reply):
    def debater(ask: Ask) -> Reply:
        if ask.seat.name == "debater_b":
            return Reply("Short.")
        return again if find_part(ask.messages, "reask_task") else first

    return debater


@pytest.mark.parametrize(
    ("overrun", "again", "heard", "asks"),
    [
        ("cut", Reply("no"), CUT, 3),
        ("accept", Reply("no"), LONG.replace("quote>", "v_quote>"), 3),
        ("reask", Reply("Shorter now."), "Shorter now.", 4),
        ("reask", Reply(LONG), CUT, 4),
        ("reask", failed("refused", ""), CUT, 4),
        ("reask", failed("provider", ""), CUT, 4),
        ("reask", Reply("<thinking>x"), CUT, 4),
    ],
)
def test_an_overlong_speech(overrun, again, heard, asks):
    debate = Debate(rounds=1, orders=1, max_characters=20, overrun=overrun)
    assert debate.calls(PAIR, ONE) == CallBound(2, 5 if overrun == "reask" else 3)
    played = play(debate, PAIR, ONE, playing(debater=over(Reply(LONG), again)))
    assert len(played.asks) == asks
    assert texts(played.asks[-1], "speech")[0] == heard
    assert not played.outcome.missing


def test_hidden_thinking_does_not_make_a_speech_too_long():
    debate = Debate(rounds=1, orders=1, max_characters=20, overrun="reask")
    long = Reply(f"<thinking>{'x' * 100}</thinking>Short.")
    assert len(play(debate, PAIR, ONE, playing(debater=lambda ask: long)).asks) == 3


@pytest.mark.parametrize(
    "wrong",
    [
        {"overrun": "reask"},
        {"critiques": 1},
        {"refinements": 1},
        {"best_of": 0},
        {"best_of": [1, 2, 3]},
        {"min_rounds": 1},
        {"min_rounds": 4, "judge_every_round": True},
        {"judge_shots": -1},
        {"interactive": True},
        {"order": "random"},
        {"sides": "C"},
        {"max_quoted": 0},
    ],
)
def test_wrong_parameters_are_refused(wrong):
    with pytest.raises(ValidationError):
        Debate(**wrong)
