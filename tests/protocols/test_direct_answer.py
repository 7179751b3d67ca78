from __future__ import annotations

import pytest

from protocols.cast import Asset
from protocols.direct_answer import DirectAnswer
from protocols.errors import Mistake
from protocols.messages import find_part, find_parts
from protocols.question import Question
from protocols.quoting import unquoted
from protocols.registry import make_protocol
from protocols.replies import Reply, failed
from tests.protocols.debating import for_option
from tests.protocols.examples import CHOICE, EXEMPLARS, NUMBER, PAIR, TEXT, cast_of
from tests.protocols.harness import answers, in_turn, play

CAST = cast_of(judge=("ada",))
READER = cast_of(readers=("judge",), judge=("ada",))
BOTH = DirectAnswer(orders=2)


def test_one_ask_with_the_options():
    played = play(DirectAnswer(), CHOICE, CAST, in_turn("B"))
    ((ask,),) = played.asks_by_turn
    assert ask.options == ("A", "B", "C", "D")
    assert [part.name for part in ask.messages[1].parts] == ["question", "options", "task"]
    outcome = played.outcome
    assert (outcome.status, outcome.answer, outcome.answered_by) == ("answered", "B", "ada")
    assert (outcome.rule, outcome.tie_rule) == ("single", "half")
    assert outcome.distribution == (0.0, 1.0, 0.0, 0.0)
    assert outcome.readings == ((0.0, 1.0, 0.0, 0.0),)


@pytest.mark.parametrize(
    ("wanted", "cast", "read"),
    [(True, READER, True), (True, CAST, False), (False, READER, False), (False, CAST, False)],
)
def test_the_passage_needs_parameter_and_cast(wanted, cast, read):
    played = play(DirectAnswer(passage=wanted), PAIR, cast, in_turn("A"))
    messages = played.asks[0].messages
    assert (find_part(messages, "passage") is not None) == read
    assert DirectAnswer(passage=wanted).roles()[0].reads_passage == wanted
    if read:
        assert messages[1].parts[0].text == PAIR.passage


def test_both_orders_are_asked_at_once_and_mapped_back():
    played = play(BOTH, PAIR, CAST, in_turn("A", "B"))
    (asks,) = played.asks_by_turn
    options = [find_part(ask.messages, "options") for ask in asks]
    assert [part and part.text for part in options] == [
        "A. The miller\nB. The cook",
        "A. The cook\nB. The miller",
    ]
    outcome = played.outcome
    assert outcome.readings == ((1.0, 0.0), (1.0, 0.0))
    assert (outcome.answer, outcome.distribution) == ("A", (1.0, 0.0))


def test_whoever_always_says_a_is_tied():
    outcome = play(BOTH, PAIR, CAST, in_turn("A", "A")).outcome
    assert (outcome.status, outcome.answer, outcome.distribution) == ("tied", None, (0.5, 0.5))
    assert outcome.readings == ((1.0, 0.0), (0.0, 1.0))
    assert not outcome.tie_broken


def test_the_distribution_of_the_reply_counts():
    first = Reply("Answer: B", distribution=(0.7, 0.3), distribution_source="logprobs")
    outcome = play(BOTH, PAIR, CAST, in_turn(first, "B")).outcome
    assert outcome.readings == ((0.7, 0.3), (1.0, 0.0))
    assert outcome.distribution == (0.85, 0.15)
    assert outcome.detail["distribution_sources"] == ["logprobs", "answer"]


def test_an_even_distribution_stays_a_tie():
    even = Reply("", distribution=(0.5, 0.5), distribution_source="exact")
    outcome = play(DirectAnswer(tie="wrong"), PAIR, CAST, in_turn(even)).outcome
    assert (outcome.status, outcome.answer, outcome.tie_rule) == ("tied", None, "wrong")


def test_an_order_that_cannot_be_read_has_no_part_in_the_mean():
    outcome = play(BOTH, PAIR, CAST, in_turn(Reply("hm"), "A")).outcome
    assert (outcome.answer, outcome.unparsed) == ("B", 1)
    assert outcome.distribution == (0.0, 1.0)
    outcome = play(BOTH, PAIR, CAST, in_turn("B", failed("refused", "no"))).outcome
    assert (outcome.answer, outcome.failures) == ("B", {"refused": 1})


@pytest.mark.parametrize(
    ("replies", "boundary"),
    [
        ((failed("refused", ""), failed("malformed", "")), "refused"),
        ((failed("refused", ""), failed("timeout", "")), "timeout"),
    ],
)
def test_where_every_order_fails_the_session_fails(replies, boundary):
    outcome = play(BOTH, PAIR, CAST, in_turn(*replies)).outcome
    assert (outcome.status, outcome.boundary, outcome.answer) == ("failed", boundary, None)
    assert outcome.missing == (boundary == "timeout")
    assert sum(outcome.failures.values()) == 2


@pytest.mark.parametrize("question", [CHOICE, NUMBER, TEXT])
def test_unparsed_and_failed_are_told_apart(question):
    outcome = play(DirectAnswer(), question, CAST, in_turn(Reply("Who knows?"))).outcome
    assert (outcome.status, outcome.unparsed, outcome.answered_by) == ("unparsed", 1, "ada")
    outcome = play(DirectAnswer(), question, CAST, in_turn(failed("provider", "down"))).outcome
    assert (outcome.status, outcome.boundary, outcome.unparsed) == ("failed", "provider", 0)
    assert (outcome.failures, outcome.missing) == ({"provider": 1}, True)


def test_questions_without_options_are_answered_in_canonical_form():
    outcome = play(DirectAnswer(), NUMBER, CAST, in_turn("42.0")).outcome
    assert (outcome.answer, outcome.distribution, outcome.readings) == ("42", None, ())
    outcome = play(DirectAnswer(), TEXT, CAST, in_turn(" Lima ")).outcome
    assert (outcome.answer, outcome.answered_by) == ("lima", "ada")


@pytest.mark.parametrize("question", [CHOICE, NUMBER])
def test_both_orders_need_two_options(question):
    assert "orders to 1" in (BOTH.check_question(question) or "")
    assert BOTH.check_question(PAIR) is None
    assert DirectAnswer().check_question(question) is None
    with pytest.raises(Mistake, match="two options"):
        play(BOTH, question, CAST, in_turn("A", "A"))


def test_recorded_experts_cannot_be_asked_in_both_orders():
    assert BOTH.roles()[0].draws
    assert not DirectAnswer().roles()[0].draws


def test_rotation_shows_every_option_once_in_every_position():
    played = play(
        DirectAnswer(orders="rotate"), CHOICE, cast_of(judge=("ada",)), answers({"ada": "A"})
    )
    shown = [find_part(ask.messages, "options") for ask in played.asks]
    firsts = [part.text.split("\n")[0] for part in shown if part]
    assert firsts == [f"A. {option}" for option in CHOICE.options]
    assert played.outcome.readings == tuple(
        tuple(float(place == first) for place in range(4)) for first in range(4)
    )
    assert played.outcome.status == "tied"
    assert DirectAnswer(orders="rotate").calls(CHOICE, cast_of(judge=("ada",))).most == 4


def test_rotation_finds_the_option_wherever_it_stands():
    played = play(
        DirectAnswer(orders="rotate"), CHOICE, cast_of(judge=("ada",)), for_option("Venus")
    )
    assert played.outcome.answer == "C"
    assert played.outcome.detail["consistent"] is True
    assert "needs options" in (DirectAnswer(orders="rotate").check_question(TEXT) or "")


PROSE = Question(id="q/prose", text="Argue for A.", kind="prose")
SHOWN = cast_of(assets={"judge_exemplars": EXEMPLARS}, judge=("ada",))


def texts(ask, name):
    return [part.text for part in find_parts(ask.messages, name)]


@pytest.mark.parametrize("question", [CHOICE, PAIR, NUMBER, TEXT], ids=lambda q: q.id)
def test_a_judge_may_be_asked_without_reasons(question):
    (before,) = play(DirectAnswer(), question, CAST, in_turn("A")).asks
    played = play(DirectAnswer(judge_reasoning="none"), question, CAST, in_turn("A"))
    (bare,) = played.asks
    assert "step by step" in texts(before, "system")[0]
    assert "step by step" not in bare.messages[0].text
    assert "without giving reasons" in texts(bare, "system")[0]
    assert "without" in texts(bare, "task")[0]
    assert '"Answer: X"' in texts(bare, "task")[0]
    names = [part.name for part in before.messages[1].parts]
    assert [part.name for part in bare.messages[1].parts] == names
    assert played.outcome.status in ("answered", "unparsed")
    assert bare.key != before.key


def test_the_labels_are_named_without_reasons_too():
    (ask,) = play(DirectAnswer(judge_reasoning="none"), CHOICE, CAST, in_turn("A")).asks
    assert "X is one of A, B, C, D" in texts(ask, "task")[0]


def test_prose_has_a_form_of_its_own_whatever_is_said_of_reasons():
    asks = [
        play(DirectAnswer(judge_reasoning=reasoning), PROSE, CAST, lambda ask: Reply("So.")).asks
        for reasoning in ("before", "none")
    ]
    assert [ask.key for ask in asks[0]] == [ask.key for ask in asks[1]]


def test_exemplars_stand_in_the_system_message_in_every_order():
    protocol = DirectAnswer(orders=2, judge_shots=2)
    assert protocol.assets() == ("judge_exemplars",)
    assert DirectAnswer().assets() == ()
    assert protocol.calls(PAIR, SHOWN) == BOTH.calls(PAIR, CAST)
    played = play(protocol, PAIR, SHOWN, for_option("The cook"))
    for ask in played.asks:
        assert [part.name for part in ask.messages[0].parts] == [
            "system",
            *["exemplar_heading", "exemplar"] * 2,
            "exemplars_end",
        ]
        shown = [unquoted(text) for text in texts(ask, "exemplar")]
        assert shown[0] == "Who ran?\nA. The hare\nB. The snail\nAnswer: A"
        assert "Owls sleep by day." in shown[1]
    assert played.asks[0].messages[0] == played.asks[1].messages[0]
    assert (played.outcome.answer, played.outcome.rule) == ("B", "mean_of_orders")


def test_exemplars_are_the_same_for_all_questions_and_as_a_debates():
    debate = make_protocol("debate", {"rounds": 1, "judge_shots": 1, "judge_reasoning": "none"})
    cast = cast_of(assets={"judge_exemplars": EXEMPLARS}, judge=("ada",), debater=("bob",))
    bare = DirectAnswer(judge_shots=1, judge_reasoning="none")
    asks = [
        play(bare, PAIR, SHOWN, in_turn("A")).asks[-1],
        play(bare, NUMBER, SHOWN, in_turn("3")).asks[-1],
        play(debate, PAIR, cast, in_turn("A", "A", "A", "A")).asks[-1],
    ]
    for name in ("exemplar_heading", "exemplar", "exemplars_end"):
        assert texts(asks[0], name) == texts(asks[1], name) == texts(asks[2], name) != []


def test_an_asset_that_is_not_asked_for_changes_no_ask():
    with_asset = play(DirectAnswer(), CHOICE, SHOWN, in_turn("A")).asks
    assert [ask.key for ask in with_asset] == [
        ask.key for ask in play(DirectAnswer(), CHOICE, CAST, in_turn("A")).asks
    ]


@pytest.mark.parametrize("content", [None, [], [{}], ["text"], "text"])
def test_exemplars_that_are_missing_or_wrong_are_the_users_mistake(content):
    assets = {} if content is None else {"judge_exemplars": Asset(kind="x", content=content)}
    with pytest.raises(Mistake, match="judge_exemplars"):
        play(DirectAnswer(judge_shots=1), PAIR, cast_of(assets=assets, judge=("ada",)), in_turn())


@pytest.mark.parametrize("parameters", [{"judge_shots": -1}, {"judge_reasoning": "after"}])
def test_parameters_that_do_not_fit_are_refused(parameters):
    with pytest.raises(Mistake):
        make_protocol("direct_answer", parameters)
