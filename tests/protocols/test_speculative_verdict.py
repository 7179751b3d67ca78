"""Speculative verdict: the drafts that all find equally likely go to the verdict model."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from protocols.cast import Cast, Team
from protocols.contract import CallBound
from protocols.errors import Mistake
from protocols.messages import find_part
from protocols.plurality import Plurality
from protocols.replies import Reply, scored
from protocols.speculative_verdict import SpeculativeVerdict, consensus_scores, select_drafts
from tests.protocols.deliberating import LOST, REFUSED, answered, names, said_to, schedule
from tests.protocols.examples import CHOICE, POOL, TABLE, cast_of, member
from tests.protocols.harness import play

DRAFTS = {0: "A", 1: "B", 2: "C"}
PERPLEXITIES = {  # of the answers under each reader
    0: {"A": 1.2, "B": 1.3, "C": 6.0},
    1: {"A": 1.8, "B": 1.5, "C": 9.0},
    2: {"A": 2.2, "B": 2.1, "C": 2.0},
}
LIKELIHOODS = {
    reader: {answer: -math.log(value) for answer, value in found.items()}
    for reader, found in PERPLEXITIES.items()
}
CAST = cast_of(solver=TABLE, aggregator=("zoe",))
TWO = SpeculativeVerdict(keep=2)


def drafting(perplexities=PERPLEXITIES, **given):
    """Seats draft A, B, C...; scores come from a table by seat and answer."""

    def answer(ask):
        place = int(ask.seat.name[7:] or 0) if ask.seat.role == "solver" else -1
        if ask.score:
            part = find_part(ask.messages, "scored")
            assert part is not None
            found = perplexities[place][part.text.removeprefix("Answer: ")]
            return found if isinstance(found, Reply) else scored(-math.log(found))
        if ask.seat.name in given:
            said = given[ask.seat.name]
            return said if isinstance(said, Reply) else answered(ask, said)
        return answered(ask, "D" if place < 0 else "ABCD"[place % 4])

    return answer


def test_the_worked_example_of_the_scores():
    scores = consensus_scores(DRAFTS, LIKELIHOODS)
    assert [round(scores[place] or 0, 6) for place in DRAFTS] == [0.277632, 0.128833, 3.401197]
    assert select_drafts(scores, 2) == [0, 1]
    assert select_drafts(scores, 1) == [1]


def test_the_likeliest_drafts_go_to_the_verdict_model():
    played = play(TWO, CHOICE, CAST, drafting())
    seats = ["solver", "solver_1", "solver_2"]
    assert schedule(played) == [seats, [s for s in seats for _ in range(3)], ["aggregator"]]
    draft, score, final = played.asks[0], played.asks[3], played.asks[-1]
    assert not draft.score
    assert score.score
    assert score.messages[:2] == draft.messages
    assert (score.messages[2].speaker, score.messages[2].text) == ("assistant", "Answer: A")
    assert names(final) == ["question", "options", "answer", "answer", "review", "task"]
    assert [text.split("\n")[1] for text in said_to(final)] == [
        "words-of-solver-in-0.", "words-of-solver_1-in-0."
    ]  # fmt: skip
    outcome = played.outcome
    assert (outcome.answer, outcome.rule, outcome.votes) == ("D", "speculative_verdict", {})
    assert outcome.detail["consensus"] == pytest.approx(
        {"ada": 0.277632, "bob": 0.128833, "cy": 3.401197}, abs=1e-6
    )
    assert outcome.detail["selected"] == ["ada", "bob"]


def test_equal_answers_are_scored_once_by_each_reader():
    both = {place: {"A": 1.5, "C": 3.0} for place in range(3)}
    played = play(TWO, CHOICE, CAST, drafting(both, solver_1="A"))
    assert len(played.asks) == 3 + 3 * 2 + 1
    consensus = played.outcome.detail["consensus"]
    assert consensus == pytest.approx(
        {"ada": math.log(2), "bob": math.log(2), "cy": 2 * math.log(2)}
    )


def test_where_there_is_nothing_to_choose_nothing_is_scored():
    assert len(play(SpeculativeVerdict(keep=3), CHOICE, CAST, drafting()).asks) == 4
    same = drafting(solver="B", solver_2="B")
    played = play(TWO, CHOICE, CAST, same)
    assert (len(played.asks), len(said_to(played.asks[-1]))) == (4, 2)
    lost = play(TWO, CHOICE, CAST, drafting(solver=LOST))
    assert (len(lost.asks), lost.outcome.failures) == (4, {"timeout": 1})


def test_a_draft_that_cannot_be_read_is_not_selected():
    played = play(
        SpeculativeVerdict(), CHOICE, CAST, drafting(solver=Reply("Hm."), solver_1=REFUSED)
    )
    assert [text.split("\n")[1] for text in said_to(played.asks[-1])] == ["words-of-solver_2-in-0."]
    assert (played.outcome.unparsed, played.outcome.answer) == (1, "D")
    nothing = play(TWO, CHOICE, CAST, lambda ask: Reply("Hm."))
    assert (len(nothing.asks), nothing.outcome.status) == (3, "unparsed")
    nobody = play(TWO, CHOICE, CAST, lambda ask: REFUSED)
    assert (len(nobody.asks), nobody.outcome.boundary) == (3, "refused")


def test_a_missing_score_scales_the_others_up():
    holes = {**LIKELIHOODS, 1: {"B": LIKELIHOODS[1]["B"]}}
    scores = consensus_scores(DRAFTS, holes)
    assert scores[0] == pytest.approx(2 * math.log(2.2 / 2.0))
    alone = consensus_scores(DRAFTS, {0: LIKELIHOODS[0]})
    assert alone[0] is None
    assert select_drafts(alone, 3) == [1, 2]
    table = {**PERPLEXITIES, 1: dict.fromkeys("ABC", LOST)}
    outcome = play(TWO, CHOICE, CAST, drafting(table)).outcome
    assert (outcome.answer, outcome.failures) == ("D", {"timeout": 3})


@pytest.mark.parametrize(
    ("reply", "status", "boundary", "unparsed"),
    [(LOST, "failed", "timeout", 0), (Reply("0.5"), "unparsed", None, 9)],
    ids=["lost", "words instead of a score"],
)
def test_no_vote_stands_in_for_scores(reply, status, boundary, unparsed):
    table = {place: dict.fromkeys("ABC", reply) for place in range(3)}
    played = play(TWO, CHOICE, CAST, drafting(table))
    outcome = played.outcome
    assert len(played.asks) == 12
    assert (outcome.status, outcome.boundary, outcome.answer) == (status, boundary, None)
    assert (outcome.unparsed, outcome.detail["vote"]) == (unparsed, "A")


def test_equal_scores_go_by_seat():
    even = {place: dict.fromkeys("ABCD", 2.0) for place in range(5)}
    cast = cast_of(solver=POOL, aggregator=("zoe",))
    outcome = play(SpeculativeVerdict(), CHOICE, cast, drafting(even)).outcome
    assert outcome.detail["selected"] == ["ada", "bob", "cy"]


def test_calls_and_roles():
    assert TWO.calls(CHOICE, CAST) == CallBound(3, 3 + 9 + 1)
    assert [(role.name, role.scores) for role in TWO.roles()] == [
        ("solver", True), ("aggregator", False)
    ]  # fmt: skip


def test_a_team_cannot_score():
    team = Team.of("panel", Plurality(), cast_of(solver=("ada",)))
    members = {"solver": (team, member("bob"), member("cy")), "aggregator": (member("zoe"),)}

    def answer(ask):
        seat = replace(ask.seat, name=ask.seat.name.partition(".")[0])
        return drafting()(replace(ask, seat=seat))

    with pytest.raises(Mistake, match="'panel' cannot say how likely"):
        play(TWO, CHOICE, Cast(members=members), answer)
