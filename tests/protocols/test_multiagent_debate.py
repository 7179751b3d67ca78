"""Multi-agent debate: who hears whom, in what form, and what is counted."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from protocols.contract import CallBound
from protocols.errors import Mistake
from protocols.multiagent_debate import MultiagentDebate
from protocols.replies import Reply
from tests.protocols.deliberating import (
    LOST,
    REFUSED,
    TABLE,
    first_lines,
    names,
    path,
    said_to,
    schedule,
    solvers,
    speaking,
)
from tests.protocols.examples import CHOICE, PROFILED, cast_of
from tests.protocols.harness import everything_said, play, says

SEATS = ["solver", "solver_1", "solver_2"]
ABC = {"solver": "A", "solver_1": "B", "solver_2": "C"}


def everybody(n: int, answer: str = "A") -> dict[str, str | list[str | Reply]]:
    return {"solver" if i == 0 else f"solver_{i}": answer for i in range(n)}


def test_all_speak_at_once_and_read_the_last_round():
    played = play(MultiagentDebate(rounds=2), CHOICE, TABLE, speaking(**ABC))
    assert schedule(played) == [SEATS] * 3
    for turn in (1, 2):
        for ask in played.asks_by_turn[turn]:
            own = ask.seat.name
            order = [own, *(name for name in SEATS if name != own)]
            assert first_lines(ask) == [f"words-of-{name}-in-{turn - 1}." for name in order]
            assert names(ask) == [
                *("question", "options", "heard", "yours", "answer"),
                *("theirs", "answer", "theirs", "answer", "revise", "task"),
            ]
    assert names(played.asks[0]) == ["question", "options", "task"]


def test_the_answers_of_every_round_and_the_first_plurality_are_told():
    answer = speaking(solver=["A", "B", "B"], solver_1=["A", "A", "B"], solver_2=["B", "B", "B"])
    outcome = play(MultiagentDebate(rounds=2), CHOICE, TABLE, answer).outcome
    assert outcome.answer == "B"
    assert outcome.votes == {"B": 3.0}
    assert outcome.detail == {
        "first_plurality": "A",
        "rounds": [
            {"answers": {"ada": "A", "bob": "A", "cy": "B"}, "answer": "A"},
            {"answers": {"ada": "B", "bob": "A", "cy": "B"}, "answer": "B"},
            {"answers": {"ada": "B", "bob": "B", "cy": "B"}, "answer": "B"},
        ],
    }


@pytest.mark.parametrize("n", [1, 2, 5])
@pytest.mark.parametrize("rounds", [1, 3])
@pytest.mark.parametrize(("summary", "more"), [("none", 0), ("shared", 1), ("each", None)])
def test_calls(n, rounds, summary, more):
    cast = cast_of(solver=tuple(f"x{i}" for i in range(n)), summariser=("zoe",))
    debate = MultiagentDebate(rounds=rounds, summary=summary)
    price = n * (1 + rounds) + rounds * (n if more is None else more)
    assert debate.calls(CHOICE, cast) == CallBound(n, price)
    summaries = {"summariser": "A"} | {f"summariser_{i}": "A" for i in range(1, n)}
    played = play(debate, CHOICE, cast, speaking(**everybody(n), **summaries))
    empty = rounds if summary == "each" and n == 1 else 0  # alone there is nothing to sum up
    assert len(played.asks) == price - empty


@pytest.mark.parametrize(
    ("topology", "heard"),
    [
        ("complete", [[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2]]),
        ("ring", [[1, 3], [0, 2], [1, 3], [0, 2]]),
        ("star", [[1, 2, 3], [0], [0], [0]]),
    ],
)
def test_topologies(topology, heard):
    cast = solvers(4)
    debate = MultiagentDebate(topology=topology)
    played = play(debate, CHOICE, cast, speaking(**everybody(4)))
    seats = [ask.seat.name for ask in played.asks_by_turn[0]]
    for place, ask in enumerate(played.asks_by_turn[1]):
        assert first_lines(ask) == [f"words-of-{seats[i]}-in-0." for i in [place, *heard[place]]]
    told = played.outcome.detail.get("hearing")
    assert told == (None if topology == "complete" else heard)


def test_more_than_ten_seats_are_heard_in_their_order():
    debate = MultiagentDebate(topology="star")
    played = play(debate, CHOICE, solvers(12), speaking(**everybody(12)))
    assert first_lines(played.asks_by_turn[1][0])[1:] == [
        f"words-of-solver_{i}-in-0." for i in range(1, 12)
    ]


def test_a_sparse_topology_is_drawn_and_mutual():
    debate = MultiagentDebate(topology="sparse", degree=2)
    drawn = set()
    for seed in range(6):
        played = play(debate, CHOICE, solvers(6), speaking(**everybody(6)), seed)
        hearing = played.outcome.detail["hearing"]
        assert all(len(heard) == 2 for heard in hearing)
        assert all(i in hearing[j] for i, heard in enumerate(hearing) for j in heard)
        drawn.add(str(hearing))
    assert len(drawn) > 1
    with pytest.raises(Mistake, match="degree"):
        debate.calls(CHOICE, solvers(2))


def test_one_expert_fills_all_seats():
    cast = cast_of(solver=("ada",))
    played = play(MultiagentDebate(agents=3), CHOICE, cast, speaking(**ABC))
    assert len({ask.key for ask in played.asks}) == 6
    assert played.outcome.detail["rounds"][0]["answers"] == {
        "ada": "A",
        "solver_1": "B",
        "solver_2": "C",
    }
    with pytest.raises(Mistake, match="agents is 4"):
        MultiagentDebate(agents=4).calls(CHOICE, TABLE)


def test_a_shared_summary_is_read_by_all_in_place_of_the_answers():
    cast = cast_of(solver=("ada", "bob", "cy"), summariser=("zoe",))
    answer = speaking(**ABC, summariser=[says("They differ."), says("Still.")])
    played = play(MultiagentDebate(rounds=2, summary="shared"), CHOICE, cast, answer)
    assert schedule(played) == [SEATS, ["summariser"], SEATS, ["summariser"], SEATS]
    assert first_lines(played.asks_by_turn[1][0]) == [f"words-of-{name}-in-0." for name in SEATS]
    for ask in played.asks_by_turn[2]:
        assert first_lines(ask) == [f"words-of-{ask.seat.name}-in-0."]
        assert said_to(ask, "summary") == ["They differ."]
    assert said_to(played.asks_by_turn[4][0], "summary") == ["Still."]


def test_a_summary_each_sums_up_what_that_one_hears():
    cast = cast_of(solver=("ada", "bob", "cy"), summariser=("zoe",))
    given: dict[str, str | list[str | Reply]] = {
        name: [says(f"for {name}")] for name in ("summariser", "summariser_1", "summariser_2")
    }
    debate = MultiagentDebate(summary="each", topology="star")
    played = play(debate, CHOICE, cast, speaking(**ABC, **given))
    assert schedule(played) == [SEATS, sorted(given), SEATS]
    assert [first_lines(ask) for ask in played.asks_by_turn[1]] == [
        ["words-of-solver_1-in-0.", "words-of-solver_2-in-0."],
        ["words-of-solver-in-0."],
        ["words-of-solver-in-0."],
    ]
    for ask, name in zip(played.asks_by_turn[2], sorted(given), strict=True):
        assert said_to(ask, "summary") == [f"for {name}"]


@pytest.mark.parametrize("nothing", [LOST, REFUSED, Reply("")])
def test_where_a_summary_does_not_come_the_answers_stand_in_its_place(nothing):
    cast = cast_of(solver=("ada", "bob", "cy"), summariser=("zoe",))
    answer = speaking(**ABC, summariser=[nothing])
    played = play(MultiagentDebate(summary="shared"), CHOICE, cast, answer)
    assert [len(said_to(ask)) for ask in played.asks_by_turn[2]] == [3, 3, 3]
    assert sum(played.outcome.failures.values()) == int(nothing.failed)


def test_a_shared_summary_needs_that_all_hear_all():
    with pytest.raises(ValidationError, match="each"):
        MultiagentDebate(summary="shared", topology="ring")


def test_a_lost_reply_leaves_the_answer_that_stood():
    answer = speaking(solver=["A", LOST, "A"], solver_1=["A", "A", LOST], solver_2="B")
    played = play(MultiagentDebate(rounds=2), CHOICE, TABLE, answer)
    assert path(played) == ["A", "A", "A"]
    assert played.outcome.votes == {"A": 2.0, "B": 1.0}
    assert played.outcome.failures == {"timeout": 2}
    assert first_lines(played.asks_by_turn[2][1])[1] == "words-of-solver-in-0."


def test_a_seat_lost_from_the_start_is_left_out_and_asked_again():
    answer = speaking(solver=[LOST, "B"], solver_1="A", solver_2="B")
    played = play(MultiagentDebate(), CHOICE, TABLE, answer)
    assert played.outcome.detail["rounds"][0]["answers"] == {"bob": "A", "cy": "B"}
    ask = played.asks_by_turn[1][0]
    assert names(ask)[2:5] == ["heard", "yours", "silence"]
    assert played.outcome.answer == "B"
    assert "SECRET" not in everything_said(played.asks)


@pytest.mark.parametrize("nothing", [REFUSED, says("No idea."), Reply(" ")])
def test_who_refuses_or_cannot_be_read_has_no_vote_any_more(nothing):
    answer = speaking(solver=["A", nothing], solver_1=["A", nothing], solver_2="B")
    played = play(MultiagentDebate(), CHOICE, TABLE, answer)
    assert path(played) == ["A", "B"]
    assert played.outcome.votes == {"B": 1.0}
    assert played.outcome.unparsed == (0 if nothing.failed else 2)


def test_what_cannot_be_read_as_an_answer_is_heard_all_the_same():
    answer = speaking(solver=[says("Maybe."), "A"], solver_1="A", solver_2="B")
    played = play(MultiagentDebate(), CHOICE, TABLE, answer)
    assert "Maybe." in first_lines(played.asks_by_turn[1][2])


@pytest.mark.parametrize(
    ("nothing", "boundary"),
    [((LOST, REFUSED, REFUSED), "timeout"), ((REFUSED,) * 3, "refused")],
)
def test_it_ends_where_nobody_said_anything(nothing, boundary):
    answer = speaking(solver=[nothing[0]], solver_1=[nothing[1]], solver_2=[nothing[2]])
    played = play(MultiagentDebate(rounds=3), CHOICE, TABLE, answer)
    assert len(played.asks) == 3
    assert (played.outcome.status, played.outcome.boundary) == ("failed", boundary)


def test_all_refuse_after_they_answered():
    given: list[str | Reply] = ["A", REFUSED]
    answer = speaking(solver=given, solver_1=given, solver_2=given)
    played = play(MultiagentDebate(rounds=4), CHOICE, TABLE, answer)
    assert len(played.asks) == 6
    assert (played.outcome.boundary, played.outcome.failures) == ("refused", {"refused": 3})
    assert played.outcome.detail["first_plurality"] == "A"


def test_a_three_way_split_goes_by_slot_or_by_the_profile():
    split = play(MultiagentDebate(), CHOICE, TABLE, speaking(**ABC)).outcome
    assert (split.answer, split.tie_broken, split.tie_rule) == ("A", True, "first")
    cast = cast_of(solver=("cy", "bob", "ada"), assets=PROFILED)
    split = play(MultiagentDebate(), CHOICE, cast, speaking(**ABC)).outcome
    assert (split.answer, split.tie_broken, split.tie_rule) == ("C", True, "best_expert")


def test_a_two_way_tie():
    cast = solvers(4)
    given = {"solver": "B", "solver_1": "A", "solver_2": "A", "solver_3": "B"}
    outcome = play(MultiagentDebate(), CHOICE, cast, speaking(**given)).outcome
    assert (outcome.answer, outcome.tie_broken, outcome.votes) == ("B", True, {"A": 2.0, "B": 2.0})


def test_exchanged_seats_exchange_the_votes_and_nothing_else():
    own = play(MultiagentDebate(), CHOICE, solvers(2), speaking(solver="A", solver_1="B"))
    other = play(MultiagentDebate(), CHOICE, solvers(2), speaking(solver="B", solver_1="A"))
    assert own.outcome.votes == other.outcome.votes == {"A": 1.0, "B": 1.0}
    assert (own.outcome.answer, other.outcome.answer) == ("A", "B")


@pytest.mark.parametrize(
    "wrong", [{"rounds": 0}, {"agents": 0}, {"topology": "tree"}, {"degree": 0}, {"summary": "all"}]
)
def test_wrong_parameters_are_refused(wrong):
    with pytest.raises(ValidationError):
        MultiagentDebate(**wrong)
