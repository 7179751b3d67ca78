"""Mixture of agents: layers of proposals, and an aggregator that has the last word."""

from __future__ import annotations

import pytest

from protocols.contract import CallBound
from protocols.errors import Mistake
from protocols.mixture_of_agents import MixtureOfAgents
from protocols.replies import Reply
from tests.protocols.deliberating import LOST, REFUSED, answered, names, said_to, schedule, speaking
from tests.protocols.examples import CHOICE, TABLE, cast_of
from tests.protocols.harness import everything_said, in_turn, play

CAST = cast_of(solver=TABLE, aggregator=("zoe",))
SEATS = ["solver", "solver_1", "solver_2"]


def heads(ask):
    """The first words of each solution that an ask shows, behind its heading."""
    return [text.split("\n")[1] for text in said_to(ask)]


def test_each_layer_reads_the_one_before():
    given = speaking(solver=["A", "B"], solver_1="B", solver_2="C", aggregator="D")
    played = play(MixtureOfAgents(), CHOICE, CAST, given)
    assert schedule(played) == [SEATS, SEATS, ["aggregator"]]
    first, second, (final,) = played.asks_by_turn
    assert names(first[0]) == ["question", "options", "task"]
    reading = ["question", "options", "answer", "answer", "answer", "review", "task"]
    assert names(second[0]) == names(final) == reading
    assert len({ask.messages for ask in second}) == 1
    assert heads(second[0]) == [f"words-of-{seat}-in-0." for seat in SEATS]
    assert heads(final) == [f"words-of-{seat}-in-1." for seat in SEATS]
    outcome = played.outcome
    assert (outcome.answer, outcome.rule, outcome.votes) == ("D", "aggregator", {})
    assert (outcome.detail["vote"], outcome.detail["votes"]) == ("B", {"B": 2, "C": 1})
    assert outcome.detail["first_plurality"] == "A"
    assert not any(f"{name} finds" in everything_said(played.asks) for name in TABLE)


@pytest.mark.parametrize(("n", "layers"), [(1, 2), (3, 3), (4, 5)])
def test_calls(n, layers):
    cast = cast_of(solver=("ada",), aggregator=("zoe",))
    mixture = MixtureOfAgents(agents=n, layers=layers)
    assert mixture.calls(CHOICE, cast) == CallBound(n, n * (layers - 1) + 1)
    assert len(play(mixture, CHOICE, cast, lambda ask: answered(ask, "A")).asks) == (
        n * (layers - 1) + 1
    )
    assert [role.draws for role in mixture.roles()] == [layers > 2, True]


def test_who_fails_is_left_out_and_missing_data_keeps_what_was_said():
    given = speaking(
        solver=["A", LOST], solver_1=["B", REFUSED], solver_2=[REFUSED, "C"], aggregator="A"
    )
    played = play(MixtureOfAgents(), CHOICE, CAST, given)
    _, second, (final,) = played.asks_by_turn
    assert heads(second[0]) == ["words-of-solver-in-0.", "words-of-solver_1-in-0."]
    assert heads(final) == ["words-of-solver-in-0.", "words-of-solver_2-in-1."]
    assert played.outcome.failures == {"refused": 2, "timeout": 1}
    assert "SECRET" not in everything_said(played.asks)


@pytest.mark.parametrize(("nothing", "status"), [(LOST, "failed"), (Reply(" "), "unparsed")])
def test_a_silent_first_layer_ends_it(nothing, status):
    played = play(MixtureOfAgents(), CHOICE, CAST, in_turn(*[nothing] * 3))
    assert len(played.asks) == 3
    assert (played.outcome.status, played.outcome.answer) == (status, None)


@pytest.mark.parametrize(
    ("final", "status", "boundary", "unparsed"),
    [
        (LOST, "failed", "timeout", 0),
        (REFUSED, "failed", "refused", 0),
        (Reply("Answer: A or B"), "unparsed", None, 1),
    ],
)
def test_nothing_stands_in_for_the_aggregator(final, status, boundary, unparsed):
    played = play(MixtureOfAgents(), CHOICE, CAST, in_turn(*["A"] * 6, final))
    outcome = played.outcome
    assert (outcome.status, outcome.boundary, outcome.answer) == (status, boundary, None)
    assert (outcome.unparsed, outcome.detail["vote"]) == (unparsed, "A")


def test_an_unreadable_proposal_is_read_by_the_next_layer_and_has_no_vote():
    played = play(MixtureOfAgents(layers=2), CHOICE, CAST, in_turn("A", Reply("Hm."), "B", "B"))
    assert len(said_to(played.asks[-1])) == 3
    assert (played.outcome.unparsed, played.outcome.detail["vote"]) == (1, "A")
    assert not played.outcome.tie_broken


def test_a_cast_that_does_not_fit_is_refused():
    with pytest.raises(Mistake, match="agents is 2, but 3"):
        play(MixtureOfAgents(agents=2), CHOICE, CAST, in_turn())
