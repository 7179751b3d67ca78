"""Self-consistency and plurality."""

from __future__ import annotations

import pytest

from protocols.errors import Mistake
from protocols.messages import find_part
from protocols.plurality import Plurality
from protocols.replies import Reply, failed
from protocols.self_consistency import SelfConsistency
from tests.protocols.examples import CHOICE, NUMBER, PAIR, POOL, PROFILED, TEXT, cast_of
from tests.protocols.harness import Given, answers, in_turn, play, says

ALONE = cast_of(solver=("ada",))
POOLED = cast_of(solver=POOL)
RANKED = cast_of(solver=POOL, assets=PROFILED)


def test_draws_are_asked_at_once_and_differ_in_their_keys_alone():
    played = play(SelfConsistency(), NUMBER, ALONE, in_turn("1", "42", "42.0", "7", "$42"))
    (asks,) = played.asks_by_turn
    assert len({ask.key for ask in asks}) == 5
    assert len({ask.messages for ask in asks}) == 1
    assert [ask.occurrence for ask in asks] == [0, 1, 2, 3, 4]
    assert {ask.seat.sampling.temperature for ask in asks} == {0.7}
    outcome = played.outcome
    assert (outcome.status, outcome.answer, outcome.rule) == ("answered", "42", "plurality")
    assert outcome.votes == {"1": 1, "42": 3, "7": 1}
    assert outcome.detail["answers"] == ["1", "42", "42", "7", "42"]
    assert outcome.answered_by is None


def test_null_leaves_the_experts_own_temperature():
    played = play(SelfConsistency(n=1, temperature=None), NUMBER, ALONE, in_turn("1"))
    assert played.asks[0].seat.sampling.temperature is None
    assert played.outcome.answered_by == "ada"


def test_tied_draws_go_to_the_first():
    protocol = SelfConsistency(n=4)
    outcome = play(protocol, CHOICE, ALONE, in_turn("C", "A", "A", "C")).outcome
    assert (outcome.answer, outcome.tie_rule, outcome.tie_broken) == ("C", "first", True)


def test_one_readable_draw_is_a_quorum():
    replies = (failed("timeout", ""), Reply("?"), says("Answer: D"), failed("refused", ""))
    outcome = play(SelfConsistency(n=4), CHOICE, ALONE, in_turn(*replies)).outcome
    assert (outcome.answer, outcome.unparsed) == ("D", 1)
    assert outcome.failures == {"refused": 1, "timeout": 1}


@pytest.mark.parametrize("seed", range(4))
def test_shuffled_options_are_mapped_back(seed):
    """Whoever knows the option by its words gives one answer, whatever its letter."""

    def saturn(ask):
        options = find_part(ask.messages, "options")
        assert options is not None
        line = next(line for line in options.text.splitlines() if "Saturn" in line)
        return says(f"Answer: {line[0]}")

    played = play(SelfConsistency(n=8, shuffle_options=True), CHOICE, ALONE, saturn, seed=seed)
    assert played.outcome.votes == {"B": 8}
    assert len({ask.messages for ask in played.asks}) > 1


def test_shuffling_a_question_without_options_changes_nothing():
    shuffled = play(SelfConsistency(n=1, shuffle_options=True), NUMBER, ALONE, in_turn("1"))
    plain = play(SelfConsistency(n=1), NUMBER, ALONE, in_turn("1"))
    assert shuffled.asks == plain.asks


def test_every_expert_is_asked_once_and_the_most_frequent_answer_counts():
    given: Given = {"ada": "A", "bob": "B", "cy": "B", "dee": "D", "eve": "B"}
    played = play(Plurality(), CHOICE, POOLED, answers(given))
    (asks,) = played.asks_by_turn
    assert tuple(ask.seat.expert for ask in asks) == POOL
    assert len({ask.seat.name for ask in asks}) == len(POOL)
    outcome = played.outcome
    assert (outcome.answer, outcome.votes) == ("B", {"A": 1, "B": 3, "D": 1})
    assert outcome.detail["answers"] == given
    assert (outcome.tie_rule, outcome.tie_broken, outcome.answered_by) == ("first", False, None)


@pytest.mark.parametrize(
    ("cast", "answer", "rule"), [(POOLED, "C", "first"), (RANKED, "A", "best_expert")]
)
def test_a_split_goes_by_slot_or_by_profile(cast, answer, rule):
    # on the profile bob and eve are equal and stand behind ada, who has no vote here
    given: Given = {"ada": Reply("?"), "bob": "A", "cy": "C", "dee": "D", "eve": "B"}
    first_is_cy = cast_of(solver=("cy", "eve", "dee", "bob", "ada"), assets=dict(cast.assets))
    outcome = play(Plurality(), CHOICE, first_is_cy, answers(given)).outcome
    assert (outcome.answer, outcome.tie_rule, outcome.tie_broken) == (answer, rule, True)
    assert outcome.unparsed == 1
    assert outcome.detail["answers"] == {**given, "ada": None}


def test_failed_seats_have_no_vote():
    given: Given = {"ada": failed("provider", ""), "bob": failed("refused", ""), "cy": "C",
             "dee": Reply(""), "eve": failed("provider", "")}  # fmt: skip
    outcome = play(Plurality(), CHOICE, POOLED, answers(given)).outcome
    assert (outcome.status, outcome.answer, outcome.votes) == ("answered", "C", {"C": 1})
    assert (outcome.failures, outcome.unparsed) == ({"refused": 1, "provider": 2}, 1)


@pytest.mark.parametrize(
    ("boundaries", "boundary", "missing"),
    [
        (("refused",) * 5, "refused", False),
        (("malformed", "refused", "refused", "refused", "refused"), "malformed", False),
        (("refused", "refused", "timeout", "provider", "refused"), "timeout", True),
    ],
)
def test_a_session_fails_where_every_seat_does(boundaries, boundary, missing):
    given: Given = {expert: failed(b, "") for expert, b in zip(POOL, boundaries, strict=True)}
    outcome = play(Plurality(), CHOICE, RANKED, answers(given)).outcome
    assert (outcome.status, outcome.boundary, outcome.missing) == ("failed", boundary, missing)
    assert (outcome.answer, outcome.votes, outcome.tie_broken) == (None, {}, False)
    assert outcome.detail["answers"] == {
        expert: None
        for expert, b in zip(POOL, boundaries, strict=True)
        if b not in ("timeout", "provider")
    }


def test_content_that_nobody_can_read_is_unparsed_not_failed():
    given: Given = {**dict.fromkeys(POOL, failed("timeout", "")), "dee": Reply("It is Saturn.")}
    outcome = play(Plurality(), CHOICE, POOLED, answers(given)).outcome
    assert (outcome.status, outcome.answer, outcome.unparsed) == ("unparsed", None, 1)


def test_a_pool_of_one_answers_itself():
    outcome = play(Plurality(), TEXT, ALONE, in_turn("Lima")).outcome
    assert (outcome.answer, outcome.answered_by) == ("lima", "ada")


def test_an_expert_that_sits_twice_votes_twice():
    played = play(
        Plurality(), CHOICE, cast_of(solver=("ada", "ada", "bob")), in_turn("A", "B", "B")
    )
    assert len({ask.key for ask in played.asks}) == 3
    assert played.outcome.detail["answers"] == {"ada": "A", "solver_1": "B", "bob": "B"}


@pytest.mark.parametrize("readers", [(), ("solver",)])
@pytest.mark.parametrize("protocol", [Plurality(), SelfConsistency(n=1)])
def test_solvers_read_the_passage_where_the_cast_lets_them(protocol, readers):
    cast = cast_of(readers=readers, solver=("ada",))
    played = play(protocol, PAIR, cast, in_turn("A"))
    part = find_part(played.asks[0].messages, "passage")
    assert (part is not None) == bool(readers)


@pytest.mark.parametrize("protocol", [Plurality(), SelfConsistency()])
def test_a_cast_without_solvers_is_a_mistake(protocol):
    with pytest.raises(Mistake, match="nobody is cast as 'solver'"):
        play(protocol, CHOICE, cast_of(judge=("ada",)), in_turn())
