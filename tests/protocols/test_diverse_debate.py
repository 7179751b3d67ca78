"""Diverse debate: which first answers are kept, what each agent reads, how the vote weighs."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pytest
from pydantic import ValidationError

from protocols.asks import Ask
from protocols.contract import CallBound
from protocols.diverse_debate import DiverseDebate
from protocols.diversity import distances, mean_distance, most_diverse, tfidf
from protocols.errors import Mistake
from protocols.messages import find_parts
from protocols.plurality import Plurality
from protocols.quoting import unquoted
from protocols.replies import Reply, failed
from tests.protocols.examples import CHOICE, POOL, TEXT, cast_of
from tests.protocols.harness import AnswerFn, Given, answers, everything_said, play

POOLED = cast_of(solver=POOL)
ALONE = cast_of(solver=("ada",))
THREE = cast_of(solver=("ada", "bob", "cy"))
FIRST: Given = {"ada": "A", "bob": "A", "cy": "B", "dee": "C", "eve": "A"}


def by_turn(*turns: Mapping[str, str | Reply]) -> AnswerFn:
    """Answer by turn and seat; a text without an answer line gets none."""

    def answer(ask: Ask) -> Reply:
        assert ask.place is not None
        given = turns[min(ask.place.turn, len(turns) - 1)]
        said = given.get(ask.seat.name) or given[ask.seat.expert]
        if isinstance(said, Reply):
            return said
        label, _, sure = said.partition(" ")
        stated = f"\nConfidence: {sure}" if sure else ""
        return Reply(f"{ask.seat.expert} in {ask.place.turn}.{stated}\nAnswer: {label}")

    return answer


def heard(ask: Ask) -> list[str]:
    return [unquoted(part.text).splitlines()[0] for part in find_parts(ask.messages, "answer")]


def test_the_first_asks_are_those_of_every_other_deliberation():
    ours = play(DiverseDebate(), CHOICE, POOLED, answers(FIRST)).asks_by_turn[0]
    theirs = play(Plurality(), CHOICE, POOLED, answers(FIRST)).asks_by_turn[0]
    assert [ask.key for ask in ours] == [ask.key for ask in theirs]


def test_answers_that_differ_are_kept_and_their_authors_discuss():
    played = play(DiverseDebate(rounds=2), CHOICE, POOLED, by_turn(FIRST))
    assert played.outcome.detail["chosen"] == [0, 2, 3]
    seats = [[ask.seat.expert for ask in turn] for turn in played.asks_by_turn]
    assert seats == [list(POOL), ["ada", "cy", "dee"], ["ada", "cy", "dee"]]
    assert played.outcome.detail["distance_of_chosen"] > played.outcome.detail["distance_of_all"]


def test_everybody_reads_its_own_answer_first_and_none_of_the_open_round():
    played = play(DiverseDebate(rounds=2), CHOICE, POOLED, by_turn(FIRST))
    for number, turn in enumerate(played.asks_by_turn[1:]):
        for ask in turn:
            others = [name for name in ("ada", "cy", "dee") if name != ask.seat.expert]
            assert heard(ask) == [f"{name} in {number}." for name in (ask.seat.expert, *others)]
            assert f"in {number + 1}." not in everything_said([ask])


def test_others_confidence_is_told_and_agreement_stands_in_where_nobody_was_asked():
    later: Given = {"ada": "A 0.9", "cy": "B 35%", "dee": Reply("Answer: C\nConfidence: high")}
    played = play(DiverseDebate(rounds=2), CHOICE, POOLED, by_turn(FIRST, later))
    first, second = (
        [part.text for part in find_parts(turn[0].messages, "theirs")]
        for turn in played.asks_by_turn[1:]
    )
    assert first == ["Another solution (share that agrees: 0.20):"] * 2
    assert second == ["Another solution (its author's confidence: 0.35):", "Another solution:"]
    (own,) = find_parts(played.asks_by_turn[2][0].messages, "yours")
    assert own.text == "Your own solution (your confidence: 0.90):"
    told = played.outcome.detail["rounds"]
    assert told[0]["confidences"] == [0.6, 0.2, 0.2]
    assert told[0]["confidence_sources"] == ["agreement"] * 3
    assert told[1]["confidences"] == [0.9, 0.35, None]
    assert told[1]["confidence_sources"] == ["stated", "stated", None]


@pytest.mark.parametrize(("n", "k", "rounds"), [(3, 2, 1), (5, 3, 2), (7, 7, 4)])
def test_calls(n, k, rounds):
    protocol = DiverseDebate(candidates=n, agents=k, rounds=rounds)
    assert protocol.calls(CHOICE, ALONE) == CallBound(n, n + k * rounds)
    played = play(protocol, CHOICE, ALONE, answers({"ada": "A"}))
    assert len(played.asks) == n + k * rounds


@pytest.mark.parametrize("readable", [0, 1])
def test_with_fewer_than_two_readable_answers_nobody_discusses(readable):
    first: dict[str, str | Reply] = dict.fromkeys(POOL, Reply("Hm."))
    first |= {"cy": "B"} if readable else {}
    played = play(DiverseDebate(), CHOICE, POOLED, by_turn(first))
    assert len(played.asks) == 5
    assert played.outcome.unparsed == 5 - readable
    assert played.outcome.answer == ("B" if readable else None)
    assert played.outcome.status == ("answered" if readable else "unparsed")


def test_two_readable_answers_are_enough_to_discuss():
    first: Given = {**dict.fromkeys(POOL, failed("refused", "")), "bob": "A", "eve": "B"}
    played = play(DiverseDebate(rounds=1), CHOICE, POOLED, by_turn(first, {"bob": "B", "eve": "B"}))
    assert len(played.asks) == 5 + 2
    assert (played.outcome.answer, played.outcome.failures) == ("B", {"refused": 3})
    assert played.outcome.detail["first_plurality"] == "A"


def test_confidence_weighs_where_it_is_asked_to_and_an_unread_one_weighs_least():
    last = {"ada": "A 0.2", "bob": "A", "cy": "B 0.5"}
    given = by_turn({"ada": "A", "bob": "A", "cy": "B"}, last)
    counted = play(DiverseDebate(rounds=1), CHOICE, THREE, given).outcome
    assert (counted.answer, counted.rule, counted.votes) == ("A", "plurality", {"A": 2, "B": 1})
    weighed = play(DiverseDebate(rounds=1, vote="confidence"), CHOICE, THREE, given).outcome
    assert (weighed.answer, weighed.rule) == ("B", "confidence_weighted")
    assert weighed.votes == {"A": pytest.approx(0.21), "B": 0.5}


def test_no_readable_confidence_at_all_makes_all_votes_equal():
    given = by_turn({"ada": "A", "bob": "A", "cy": "B"})
    weighed = play(DiverseDebate(rounds=1, vote="confidence"), CHOICE, THREE, given).outcome
    assert weighed.answer == "A"


def test_a_stated_zero_is_a_vote_of_the_least_weight():
    given = by_turn({"ada": "A", "bob": "B", "cy": Reply("?")}, {"ada": "A 0", "bob": Reply("?")})
    weighed = play(DiverseDebate(rounds=1, vote="confidence"), CHOICE, THREE, given).outcome
    assert weighed.votes == {"A": 0.01}


@pytest.mark.parametrize("boundary", ["provider", "timeout"])
def test_missing_data_leaves_the_last_answer_and_its_confidence_standing(boundary):
    given = by_turn(
        {"ada": "A", "bob": "B", "cy": "C"},
        {"ada": "A 0.3", "bob": "B 0.8", "cy": "C 0.1"},
        {"ada": "A 0.3", "bob": failed(boundary, ""), "cy": "C 0.1"},
    )
    outcome = play(DiverseDebate(vote="confidence"), CHOICE, THREE, given).outcome
    assert (outcome.answer, outcome.failures) == ("B", {boundary: 1})
    assert outcome.votes == {"A": 0.3, "B": 0.8, "C": 0.1}


@pytest.mark.parametrize("own", ["refused", "overlong", "malformed"])
def test_a_failure_of_ones_own_doing_has_no_vote_and_the_others_go_on(own):
    first = {"ada": "A", "bob": "B", "cy": "B"}
    given = by_turn(first, {"ada": "A", "bob": failed(own, ""), "cy": Reply("?")})
    played = play(DiverseDebate(rounds=2), CHOICE, THREE, given)
    assert len(played.asks) == 9
    outcome = played.outcome
    assert (outcome.answer, outcome.votes) == ("A", {"A": 1})
    assert (outcome.failures, outcome.unparsed) == ({own: 2}, 2)
    assert "(no answer was given)" in everything_said([played.asks_by_turn[2][0]])


@pytest.mark.parametrize(("boundary", "missing"), [("timeout", True), ("refused", False)])
def test_the_session_fails_where_nobody_answered(boundary, missing):
    given = answers(dict.fromkeys(POOL, failed(boundary, "")))
    outcome = play(DiverseDebate(), CHOICE, POOLED, given).outcome
    assert (outcome.status, outcome.boundary, outcome.missing) == ("failed", boundary, missing)
    assert outcome.failures == {boundary: 5}


def test_a_three_way_split_goes_to_the_first_slot_and_says_so():
    outcome = play(
        DiverseDebate(), CHOICE, THREE, answers({"ada": "C", "bob": "B", "cy": "A"})
    ).outcome
    assert (outcome.answer, outcome.tie_rule, outcome.tie_broken) == ("C", "first", True)


def test_there_must_be_as_many_first_answers_as_agents():
    with pytest.raises(Mistake, match="candidates"):
        DiverseDebate().calls(CHOICE, ALONE)
    with pytest.raises(ValidationError):
        DiverseDebate(agents=1)


def test_tfidf_vectors_have_length_one_and_rare_words_weigh_more():
    one, other, none = tfidf(["The cat sat", "the DOG sat", "..."])
    assert math.isclose(math.fsum(v * v for v in one.values()), 1.0)
    assert one["cat"] > one["sat"] == one["the"]
    assert set(other) == {"the", "dog", "sat"}
    assert none == {}


def test_distance_is_zero_for_equals_one_for_strangers_and_half_for_words_alone():
    apart = distances(["A", "A", "B", "A"], ["x y", "x y", "u v", "u v"])
    assert apart[0][1] == pytest.approx(0.0, abs=1e-12)
    assert apart[0][2] == pytest.approx(1.0)
    assert apart[0][3] == pytest.approx(0.5)
    assert apart[2][3] == pytest.approx(0.5)
    assert apart == tuple(zip(*apart, strict=True))


def test_most_diverse_takes_the_medoid_then_the_farthest():
    apart = ((0.0, 0.1, 0.9), (0.1, 0.0, 0.5), (0.9, 0.5, 0.0))
    assert most_diverse(apart, 1) == (1,)
    assert most_diverse(apart, 2) == (1, 2)
    assert most_diverse(apart, 5) == (0, 1, 2)
    assert most_diverse((), 3) == ()
    assert mean_distance(apart, (0, 2)) == 0.9
    assert mean_distance(apart, (1,)) is None


def test_equal_answers_are_chosen_in_slot_order():
    apart = distances(["A"] * 4, ["same words"] * 4)
    assert most_diverse(apart, 2) == (0, 1)


def test_a_text_of_megabytes_does_not_stall_the_choice():
    huge = "word " * 400_000
    assert len(distances(["A", "B"], [huge, "other"])) == 2


def test_free_answers_are_compared_in_canonical_form():
    given = answers({"ada": "Lima", "bob": " lima ", "cy": "Cusco"})
    outcome = play(DiverseDebate(agents=2, rounds=1), TEXT, THREE, given).outcome
    assert outcome.detail["chosen"] in ([0, 2], [1, 2])
