from __future__ import annotations

import pickle

import pytest

from protocols.asks import Ask, Sampling
from protocols.compose import ask_one, together
from protocols.contract import Session
from protocols.errors import ContractBroken, ForkImpossible, ReplayDiverged
from protocols.messages import Message, Part, Place
from protocols.replies import Reply, failed
from protocols.tape import Finished, Frontier, Live, Recorded, advance, inherit, resume
from tests.protocols.examples import cast_of

CAST = cast_of(solver=("ada", "bob", "cy"))


def ask(text: str, index: int = 0) -> Ask:
    return Ask(CAST.seat("solver", index), (Message("user", (Part("task", text),)),))


def two_turns(opening: str = "open", width: int = 2) -> Session[str]:
    """Ask `width` at once, then one more about what they said."""
    first = yield tuple(ask(f"{opening} {i}") for i in range(width))
    last = yield from ask_one(ask("close: " + "|".join(reply.text for reply in first)))
    return last.text


def recorded(session: Session[str], *texts: str) -> dict[Place, Recorded]:
    """Return the tape of `session` where the asks are answered with `texts` in their order."""
    live, rest = Live(session), iter(texts)
    tape: dict[Place, Recorded] = {}
    current = advance(live, None)
    while not isinstance(current, Finished):
        replies = []
        for one in current:
            assert one.place is not None
            text = next(rest, None)
            if text is None:
                return tape
            reply = Reply(text).at(one.place)
            tape[one.place] = Recorded(one.key, reply)
            replies.append(reply)
        current = advance(live, tuple(replies))
    return tape


WHOLE = recorded(two_turns(), "a", "b", "c")


def test_asks_are_numbered_by_turn_slot_and_occurrence():
    def session() -> Session[None]:
        yield (ask("same"), ask("same"), ask("other"))
        yield (ask("same"),)

    live = Live(session())
    first = advance(live, None)
    assert isinstance(first, tuple)
    second = advance(live, (Reply(), Reply(), Reply()))
    assert isinstance(second, tuple)
    asks = [*first, *second]
    assert [one.place for one in asks] == [(0, 0), (0, 1), (0, 2), (1, 0)]
    assert [one.occurrence for one in asks] == [0, 1, 0, 2]
    assert len({one.key for one in asks}) == 4
    assert advance(live, (Reply(),)) == Finished(None)


@pytest.mark.parametrize("bad", [(), None, [ask("x")], ask("x")], ids=repr)
def test_what_is_no_turn_breaks_the_contract(bad):
    def session():
        yield bad

    with pytest.raises(ContractBroken, match="non-empty tuple"):
        advance(Live(session()), None)


@pytest.mark.parametrize(
    ("places", "turn", "missing"),
    [([], 0, (0, 1)), ([(0, 0)], 0, (1,)), ([(0, 1)], 0, (0,)), ([(0, 0), (0, 1)], 1, (0,))],
)
def test_resume_stops_at_what_is_missing(places, turn, missing):
    frontier = resume(two_turns(), {Place(*p): WHOLE[Place(*p)] for p in places})
    assert isinstance(frontier, Frontier)
    assert (frontier.turn, frontier.missing) == (turn, missing)
    assert set(frontier.known) == set(range(len(frontier.asks))) - set(missing)
    assert frontier.live.turn == turn


def test_a_whole_tape_finishes():
    assert resume(two_turns(), WHOLE) == Finished("c")


def test_replies_get_their_place_from_the_tape():
    def session() -> Session[tuple[Place | None, ...]]:
        replies = yield (ask("x"), ask("y"))
        return tuple(reply.place for reply in replies)

    tape = {Place(0, slot): Recorded(ask(text).key, Reply(text)) for slot, text in enumerate("xy")}
    assert resume(session(), tape) == Finished((Place(0, 0), Place(0, 1)))


def test_another_ask_diverges_and_says_where():
    with pytest.raises(ReplayDiverged, match="turn 0, slot 0: another ask") as caught:
        resume(two_turns("opened"), WHOLE)
    error = caught.value
    assert (error.turn, error.slot, error.expected) == (0, 0, WHOLE[Place(0, 0)].key)
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.found) == (str(error), error.found)


def test_an_edited_reply_diverges_at_the_ask_that_quotes_it():
    key, _ = WHOLE[Place(0, 1)]
    tape = {**WHOLE, Place(0, 1): Recorded(key, Reply("B"))}
    with pytest.raises(ReplayDiverged, match="turn 1, slot 0"):
        resume(two_turns(), tape)


@pytest.mark.parametrize(
    ("kept", "extra"),
    [
        (list(WHOLE), Place(2, 0)),
        (list(WHOLE), Place(0, 2)),
        ([Place(0, 0)], Place(1, 0)),
    ],
    ids=["a turn too many", "a slot too many", "a turn after a gap"],
)
def test_replies_that_nobody_asked_for_diverge(kept, extra):
    tape = {place: WHOLE[place] for place in kept}
    tape[extra] = WHOLE.get(extra, Recorded("f" * 64, Reply("more")))
    with pytest.raises(ReplayDiverged, match="does not ask for"):
        resume(two_turns(), tape)


def test_a_branch_inherits_by_position_and_both_keys_are_told():
    tape = recorded(two_turns(), "a", "b")
    frontier, fed = inherit(two_turns("opened"), tape, 1)
    assert isinstance(frontier, Frontier)
    assert (frontier.turn, frontier.missing, dict(frontier.known)) == (1, (0,), {})
    assert "a|b" in frontier.asks[0].messages[0].text
    assert [one.ask.place for one in fed] == [Place(0, 0), Place(0, 1)]
    assert [one.reply.text for one in fed] == ["a", "b"]
    assert all(one.parent_key == tape[one.ask.place].key != one.ask.key for one in fed)  # type: ignore[index]


def test_after_the_fed_turns_equal_asks_are_known_and_others_are_not():
    frontier, fed = inherit(two_turns("opened"), WHOLE, 1)
    assert isinstance(frontier, Frontier)
    assert (frontier.missing, frontier.known[0].text, len(fed)) == ((), "c", 3)
    frontier, fed = inherit(two_turns("opened"), WHOLE, 0)
    assert isinstance(frontier, Frontier)
    assert (frontier.missing, dict(frontier.known), fed) == ((0, 1), {}, ())


def test_a_branch_of_the_same_session_differs_in_nothing():
    finished, fed = inherit(two_turns(), WHOLE, 9)
    assert finished == Finished("c")
    assert [one.parent_key for one in fed] == [one.ask.key for one in fed]
    assert len(fed) == len(WHOLE)


def test_a_fed_turn_needs_all_its_replies():
    tape = {Place(0, 0): WHOLE[Place(0, 0)]}
    with pytest.raises(ForkImpossible, match="no reply at turn 0, slot 1"):
        inherit(two_turns(), tape, 1)


@pytest.mark.parametrize("width", [1, 3])
def test_another_number_of_slots_cannot_be_forked(width):
    with pytest.raises(ForkImpossible):
        inherit(two_turns(width=width), WHOLE, 1)


def test_together_merges_turns_and_drops_what_is_over():
    def one(name: str, turns: int) -> Session[str]:
        said = []
        for turn in range(turns):
            reply = yield from ask_one(ask(f"{name}{turn}"))
            said.append(reply.text)
        return "".join(said)

    def echo(session: Session[tuple[str, ...]]) -> tuple[list[int], tuple[str, ...]]:
        live, widths = Live(session), []
        current = advance(live, None)
        while not isinstance(current, Finished):
            widths.append(len(current))
            current = advance(live, tuple(Reply(a.messages[0].text) for a in current))
        return widths, current.outcome

    widths, said = echo(together(one("x", 1), one("y", 3), one("z", 0), one("w", 2)))
    assert widths == [3, 2, 1]
    assert said == ("x0", "y0y1y2", "", "w0w1")
    assert echo(together()) == ([], ())
    nested = together(together(one("a", 1), one("b", 2)), together(one("c", 2)))
    assert echo(nested) == ([3, 2], (("a0", "b0b1"), ("c0c1",)))  # type: ignore[arg-type, comparison-overlap]


def test_a_failure_is_sent_in_like_any_reply():
    def session() -> Session[str]:
        reply = yield from ask_one(ask("x"))
        return reply.failure.boundary if reply.failure else "fine"

    live = Live(session())
    advance(live, None)
    assert advance(live, (failed("refused", "no"),)) == Finished("refused")


def test_equal_asks_to_other_models_or_samplings_are_other_requests():
    seats = [CAST.seat("solver", 0), CAST.seat("solver", 1),
             CAST.seat("solver", 0, sampling=Sampling(temperature=0.1))]  # fmt: skip
    message = (Message("user", (Part("task", "x"),)),)
    assert len({Ask(seat, message).key for seat in seats}) == 3
