"""Recursive critique: what each level reads, and the votes that stand beside it."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from protocols.asks import Ask
from protocols.contract import CallBound
from protocols.errors import Mistake
from protocols.plurality import Plurality
from protocols.quoting import unquoted
from protocols.recursive_critique import RecursiveCritique
from protocols.replies import Reply, failed
from tests.protocols.examples import CHOICE, PROFILED, cast_of
from tests.protocols.harness import AnswerFn, play

CAST = cast_of(solver=("ada", "bob", "cy"), critic=("dee",), chooser=("zoe",))


def levels(*labels: str, **special: Reply) -> AnswerFn:
    """Answer by turn and slot with the letters given; ``t_s`` names a special reply."""

    def answer(ask: Ask) -> Reply:
        assert ask.place is not None
        turn, slot = ask.place
        reply = special.get(f"at_{turn}_{slot}")
        return reply or Reply(f"words-{turn}-{slot}.\nAnswer: {labels[turn][slot]}")

    return answer


def heard(ask: Ask) -> list[str]:
    parts = [part for part in ask.messages[1].parts if part.origin is not None]
    return [f"{part.name} {unquoted(part.text).splitlines()[0]}" for part in parts]


def test_each_level_reads_all_levels_below_and_none_of_its_own():
    played = play(RecursiveCritique(), CHOICE, CAST, levels("ABC", "AB", "B"))
    seats = [[ask.seat.name for ask in turn] for turn in played.asks_by_turn]
    assert seats == [["solver", "solver_1", "solver_2"], ["critic", "critic_1"], ["critic"]]
    responses = [f"response words-0-{slot}." for slot in range(3)]
    critiques = [f"critique words-1-{slot}." for slot in range(2)]
    assert [heard(ask) for ask in played.asks_by_turn[1]] == [responses] * 2
    assert heard(played.asks_by_turn[2][0]) == responses + critiques


def test_the_first_asks_are_those_of_every_other_deliberation():
    ours = play(RecursiveCritique(), CHOICE, CAST, levels("ABC", "AB", "B")).asks_by_turn[0]
    theirs = play(Plurality(), CHOICE, CAST, levels("ABC")).asks_by_turn[0]
    assert [ask.key for ask in ours] == [ask.key for ask in theirs]


def test_the_top_level_decides_whatever_those_below_say():
    outcome = play(RecursiveCritique(), CHOICE, CAST, levels("AAA", "AA", "B")).outcome
    assert (outcome.answer, outcome.rule, outcome.votes) == ("B", "top_level_plurality", {"B": 1})
    assert [level["naive"] for level in outcome.detail["levels"]] == [None, "A", "A"]


def test_the_chooser_decides_where_there_is_one():
    protocol = RecursiveCritique(widths=(3, 2), chooser=True)
    played = play(protocol, CHOICE, CAST, levels("AAB", "BB", "C"))
    assert played.asks[-1].seat.role == "chooser"
    assert len(heard(played.asks[-1])) == 5
    assert (played.outcome.answer, played.outcome.rule) == ("C", "chooser")
    assert played.outcome.detail["levels"][-1]["naive"] == "B"


def test_baselines_stand_beside_every_level():
    protocol = RecursiveCritique(widths=(3, 2, 1), baseline=True)
    played = play(protocol, CHOICE, CAST, levels("ABBCCC", "AA", "D"))
    assert len(played.asks_by_turn[0]) == 6
    assert len(heard(played.asks_by_turn[1][0])) == 3
    table = [
        (level["answer"], level["naive"], level["majority"], level["spent"])
        for level in played.outcome.detail["levels"]
    ]
    assert table == [("B", None, "B", 3), ("A", "B", "B", 5), ("D", "A", "C", 6)]


def test_a_majority_that_was_not_drawn_is_not_computable():
    outcome = play(RecursiveCritique(), CHOICE, CAST, levels("ABB", "AA", "D")).outcome
    assert [level["majority"] for level in outcome.detail["levels"]] == ["B", None, None]


@pytest.mark.parametrize("chooser", [False, True])
@pytest.mark.parametrize("baseline", [False, True])
@pytest.mark.parametrize("widths", [(1, 1), (3, 2, 1), (2, 4, 3, 2)])
def test_calls(widths, chooser, baseline):
    protocol = RecursiveCritique(widths=widths, chooser=chooser, baseline=baseline)
    total = sum(widths) + chooser
    first = total if baseline else widths[0]
    most = first + total - widths[0]
    assert protocol.calls(CHOICE, CAST) == CallBound(first, most)
    played = play(protocol, CHOICE, CAST, lambda _: Reply("Answer: A"))
    assert len(played.asks) == most


@pytest.mark.parametrize(
    ("lost", "status"),
    [
        (failed("provider", ""), "failed"),
        (failed("refused", ""), "failed"),
        (Reply(" "), "unparsed"),
    ],
)
def test_it_ends_at_a_level_that_says_nothing(lost, status):
    silent = {"at_1_0": lost, "at_1_1": lost}
    played = play(RecursiveCritique(), CHOICE, CAST, levels("AAA", "--", "B", **silent))
    assert len(played.asks) == 5
    assert (played.outcome.status, played.outcome.answer) == (status, None)
    assert played.outcome.boundary == (lost.failure.boundary if lost.failure else None)


def test_one_that_says_something_carries_a_level():
    lost = {"at_0_0": failed("timeout", ""), "at_0_1": failed("refused", ""), "at_1_0": Reply("?")}
    played = play(RecursiveCritique(), CHOICE, CAST, levels("--C", "-C", "C", **lost))
    outcome = played.outcome
    assert heard(played.asks[-1]) == ["response words-0-2.", "critique ?", "critique words-1-1."]
    assert outcome.answer == "C"
    assert (outcome.failures, outcome.unparsed) == ({"timeout": 1, "refused": 1}, 1)
    assert outcome.detail["levels"][1]["answers"] == [None, "C"]


def test_nothing_stands_in_for_the_top():
    outcome = play(
        RecursiveCritique(), CHOICE, CAST, levels("AAA", "AA", "-", at_2_0=Reply("Hm."))
    ).outcome
    assert (outcome.status, outcome.answer, outcome.unparsed) == ("unparsed", None, 1)
    chosen = RecursiveCritique(chooser=True)
    lost = failed("timeout", "")
    outcome = play(chosen, CHOICE, CAST, levels("AAA", "AA", "A", "-", at_3_0=lost)).outcome
    assert (outcome.status, outcome.missing) == ("failed", True)


def test_a_split_at_the_top_goes_by_slot_or_by_profile():
    protocol = RecursiveCritique(widths=(1, 3))
    cast = cast_of(solver=("zed",), critic=("cy", "dee", "ada"))
    outcome = play(protocol, CHOICE, cast, levels("A", "DCB")).outcome
    assert (outcome.answer, outcome.tie_rule, outcome.tie_broken) == ("D", "first", True)
    ranked = cast_of(solver=("zed",), critic=("cy", "dee", "ada"), assets=PROFILED)
    outcome = play(protocol, CHOICE, ranked, levels("A", "DCB")).outcome
    assert (outcome.answer, outcome.tie_rule, outcome.tie_broken) == ("B", "best_expert", True)


def test_wrong_widths_and_a_missing_chooser_are_refused():
    for widths in ((3,), (3, 0), ()):
        with pytest.raises(ValidationError):
            RecursiveCritique(widths=widths)
    cast = cast_of(solver=("ada",), critic=("bob",))
    with pytest.raises(Mistake, match="chooser"):
        play(RecursiveCritique(chooser=True), CHOICE, cast, lambda _: Reply("Answer: A"))
    assert [role.optional for role in RecursiveCritique(chooser=True).roles()] == [False] * 3
