"""Moderated debate: two sides, a moderator who may end it, a judge who reads all."""

from __future__ import annotations

import pytest

from protocols.asks import Ask
from protocols.cast import Cast
from protocols.contract import CallBound
from protocols.errors import Mistake
from protocols.moderated_debate import ModeratedDebate
from protocols.replies import Reply, failed
from tests.protocols.deliberating import (
    LOST,
    REFUSED,
    answered,
    first_lines,
    names,
    path,
    schedule,
    speaking,
)
from tests.protocols.examples import CHOICE, cast_of
from tests.protocols.harness import AnswerFn, everything_said, play, says


def debated_by(*debaters: str) -> Cast:
    return cast_of(solver=("ada",), debater=debaters, moderator=("mo",), judge=("jo",))


CAST = debated_by("bob")
TWO = debated_by("bob", "cy")
ROUND = [["affirmative"], ["negative"], ["moderator"]]


def verdict(word: str, label: str) -> Reply:
    return says(f"remark-{word}-{label}\nVerdict: {word}\nAnswer: {label}")


OPEN, SETTLED = verdict("open", "B"), verdict("settled", "B")


def debating(moderator: list[str | Reply], **changes: str | list[str | Reply]) -> AnswerFn:
    given: dict[str, str | list[str | Reply]] = {
        "solver": "A",
        "affirmative": "A",
        "negative": "B",
        "moderator": moderator,
        "judge": [says("Candidates: A and C."), says("So.\nAnswer: C")],
    }
    return speaking(**(given | changes))


@pytest.mark.parametrize("settled_in", [1, 2, 3])
def test_the_moderator_ends_it(settled_in):
    said: list[str | Reply] = [*[OPEN] * (settled_in - 1), SETTLED]
    played = play(ModeratedDebate(), CHOICE, CAST, debating(said))
    assert schedule(played) == [["solver"], *ROUND * settled_in]
    assert len(played.asks) == 1 + 3 * settled_in
    outcome = played.outcome
    assert (outcome.answer, outcome.rule, outcome.answered_by) == ("B", "moderator", "mo")
    assert path(played) == ["A"] + ["B"] * settled_in


@pytest.mark.parametrize("rounds", [1, 2, 4])
def test_else_the_judge_lists_and_chooses(rounds):
    debate = ModeratedDebate(rounds=rounds)
    assert debate.calls(CHOICE, CAST) == CallBound(1, 1 + 3 * rounds + 2)
    played = play(debate, CHOICE, CAST, debating([OPEN]))
    assert schedule(played) == [["solver"], *ROUND * rounds, ["judge"], ["judge"]]
    outcome = played.outcome
    assert (outcome.answer, outcome.rule, outcome.answered_by) == ("C", "judge", "jo")
    assert outcome.detail["first_plurality"] == "A"


def test_the_judge_reads_all_and_not_the_openings_alone():
    """The source's final judge was shown the first two speeches only."""
    played = play(ModeratedDebate(rounds=3), CHOICE, CAST, debating([OPEN]))
    speeches = [
        f"words-of-{ask.seat.name}-in-{ask.place.turn}."
        for ask in played.asks
        if ask.place and ask.seat.role == "debater"
    ]
    assert len(speeches) == 6
    for ask in played.asks[-2:]:
        assert first_lines(ask) == ["words-of-solver-in-0."]
        assert first_lines(ask, "speech") == speeches
        assert first_lines(ask, "remark") == ["remark-open-B"] * 3
    assert first_lines(played.asks[-1], "candidates_list") == ["Candidates: A and C."]
    assert "task" not in names(played.asks[-2])


def test_each_side_hears_what_was_said_and_the_negative_side_the_current_speech():
    played = play(ModeratedDebate(rounds=2), CHOICE, CAST, debating([OPEN]))
    asks = {(ask.seat.name, ask.place.turn): ask for ask in played.asks if ask.place}
    affirmative, negative = asks["affirmative", 1], asks["negative", 2]
    assert first_lines(affirmative, "speech") == []
    assert first_lines(negative, "speech") == ["words-of-affirmative-in-1."]
    late = asks["affirmative", 4]
    assert names(late)[2:] == [
        *("proposal", "answer", "yours", "speech", "theirs", "speech", "speech_task", "task")
    ]
    assert first_lines(late, "speech") == ["words-of-affirmative-in-1.", "words-of-negative-in-2."]
    last = asks["negative", 5]
    assert names(last)[2:10] == [
        *("proposal", "answer", "theirs", "speech", "yours", "speech", "theirs", "speech")
    ]
    moderator = asks["moderator", 6]
    assert len(first_lines(moderator, "speech")) == 4
    assert "remark" not in names(moderator)
    for ask in played.asks:
        if ask.seat.role == "debater":
            assert "remark-open" not in everything_said([ask])


@pytest.mark.parametrize(
    "remark",
    [
        says("Hm.\nAnswer: B"),
        says("Verdict: maybe\nAnswer: B"),
        says("Verdict: settled"),
        says("Verdict: settled\nAnswer: Z"),
        says("> Verdict: settled\nAnswer: B"),
        says("Verdict: settled\nVerdict: open\nAnswer: B"),
        LOST,
        REFUSED,
        Reply(""),
    ],
)
def test_whatever_else_the_moderator_says_lets_it_go_on(remark):
    played = play(ModeratedDebate(rounds=1), CHOICE, CAST, debating([remark]))
    assert played.outcome.rule == "judge"
    assert played.outcome.answer == "C"
    read = remark.text.endswith("open\nAnswer: B")
    assert played.outcome.unparsed == int(not remark.failed and not read)


@pytest.mark.parametrize("written", ["settled", "**Settled**", "SETTLED.", " settled "])
def test_a_verdict_may_be_decorated(written):
    said = says(f"Verdict: {written}\nAnswer: D")
    assert play(ModeratedDebate(), CHOICE, CAST, debating([said])).outcome.answer == "D"


@pytest.mark.parametrize("nothing", [LOST, REFUSED, Reply(" ")])
@pytest.mark.parametrize("side", ["affirmative", "negative"])
def test_it_goes_on_where_one_side_gives_no_speech(side, nothing):
    answer = debating([SETTLED], **{side: [nothing]})
    played = play(ModeratedDebate(), CHOICE, CAST, answer)
    assert played.outcome.answer == "B"
    assert "silence" in names(played.asks[-1])
    assert "SECRET" not in everything_said(played.asks)
    assert played.outcome.detail["rounds"][1]["answers"][side] is None


@pytest.mark.parametrize(
    ("first", "second", "boundary"),
    [(LOST, REFUSED, "timeout"), (REFUSED, failed("provider", "x"), "provider")],
)
def test_it_fails_where_both_sides_fail(first, second, boundary):
    answer = debating([OPEN], affirmative=["A", first], negative=["B", second])
    played = play(ModeratedDebate(), CHOICE, CAST, answer)
    assert len(played.asks) == 1 + 3 + 2
    assert (played.outcome.status, played.outcome.boundary) == ("failed", boundary)
    assert sum(played.outcome.failures.values()) == 2


@pytest.mark.parametrize("nothing", [LOST, REFUSED])
def test_it_fails_without_a_first_answer_or_a_choice(nothing):
    assert nothing.failure
    early = play(ModeratedDebate(), CHOICE, CAST, debating([OPEN], solver=[nothing]))
    assert len(early.asks) == 1
    late = play(
        ModeratedDebate(rounds=1), CHOICE, CAST, debating([OPEN], judge=[says("List."), nothing])
    )
    for outcome in (early.outcome, late.outcome):
        assert (outcome.answer, outcome.boundary) == (None, nothing.failure.boundary)


def test_an_unread_first_answer_is_debated_and_an_unread_choice_stays_unread():
    answer = debating([OPEN], solver=[says("Perhaps A.")], judge=[LOST, says("None of them.")])
    played = play(ModeratedDebate(rounds=1), CHOICE, CAST, answer)
    assert first_lines(played.asks[1]) == ["Perhaps A."]
    assert "silence" in names(played.asks[-1])
    assert (played.outcome.status, played.outcome.unparsed) == ("unparsed", 2)
    assert played.outcome.detail["first_plurality"] is None


def test_a_three_way_split_is_for_the_judge():
    answer = debating([verdict("open", "D")])
    outcome = play(ModeratedDebate(rounds=1), CHOICE, CAST, answer).outcome
    assert outcome.detail["rounds"][1]["answers"] == {
        "affirmative": "A",
        "negative": "B",
        "moderator": "D",
    }
    assert (outcome.answer, outcome.votes, outcome.tie_broken) == ("C", {}, False)


def test_sides_are_drawn_and_exchanging_them_exchanges_the_experts():
    drawn = []
    for seed in range(40):
        played = play(ModeratedDebate(rounds=1), CHOICE, TWO, debating([OPEN]), seed=seed)
        told = played.outcome.detail["debaters"]
        asked = {
            ask.seat.name: ask.seat.expert for ask in played.asks if ask.seat.role == "debater"
        }
        assert told == asked
        drawn.append(told["affirmative"])
    assert 8 < drawn.count("bob") < 32
    swapped = debated_by("cy", "bob")
    own = play(ModeratedDebate(rounds=1), CHOICE, TWO, debating([OPEN]))
    other = play(ModeratedDebate(rounds=1), CHOICE, swapped, debating([OPEN]))

    def texts(asks: list[Ask]) -> list[str]:
        return [message.text for ask in asks for message in ask.messages]

    assert texts(own.asks) == texts(other.asks)
    sides = own.outcome.detail["debaters"]
    assert other.outcome.detail["debaters"] == dict(
        zip(sides, [*sides.values()][::-1], strict=True)
    )
    three = debated_by("bob", "cy", "dee")
    with pytest.raises(Mistake, match="cast one, or two"):
        ModeratedDebate().calls(CHOICE, three)


def test_the_sides_are_told_apart():
    played = play(ModeratedDebate(rounds=1), CHOICE, CAST, lambda ask: answered(ask, "A"))
    for_it, against = played.asks[1], played.asks[2]
    assert "You defend" in for_it.messages[0].text
    assert "You disagree" in against.messages[0].text
