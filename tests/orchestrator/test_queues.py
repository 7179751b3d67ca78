"""The order inside the queue of an expert that must be loaded."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.planner.queues import CRITICAL, RAISED, Entry, Ordered, Turns
from tests.orchestrator.plan_examples import Thing


def entry(number: int, tokens: float, **fields: object) -> Entry:
    return Entry(Thing("a", number, **fields), tokens)  # type: ignore[arg-type]


def numbers(entries: list[Entry]) -> list[int]:
    return [one.item.number for one in entries if isinstance(one.item, Thing)]


ENTRIES = st.lists(
    st.tuples(st.integers(1, 5), st.sampled_from(["", "p", "q"]), st.integers(0, 2)), max_size=40
)


@given(ENTRIES, st.integers(1, 7))
def test_everything_comes_out_once_and_in_order(
    kinds: list[tuple[int, str, int]], count: int
) -> None:
    queue = Ordered()
    for number, (tokens, passage, rank) in enumerate(kinds):
        one = entry(number, float(tokens), passage=passage)
        one.rank = rank
        queue.push(one)
    assert len(queue) == len(kinds)
    assert queue.tokens == sum(tokens for tokens, _, _ in kinds)
    taken: list[Entry] = []
    while queue:
        taken += queue.take(count)
    assert queue.tokens == 0.0
    assert sorted(numbers(taken)) == list(range(len(kinds)))
    assert [one.rank for one in taken] == sorted(one.rank for one in taken)
    for rank in range(3):
        groups = [kinds[n][1] for n in numbers([one for one in taken if one.rank == rank])]
        changes = sum(a != b for a, b in pairwise(groups))
        assert changes <= 2, "those that share a passage come together"
        for passage in ("", "p", "q"):
            lengths = [
                one.tokens
                for one, kind in ((one, kinds[numbers([one])[0]]) for one in taken)
                if kind[1] == passage and one.rank == rank
            ]
            assert lengths == sorted(lengths, reverse=True), "the longest first"


@given(ENTRIES, st.lists(st.tuples(st.integers(0, 39), st.integers(0, 2)), max_size=20))
def test_lifting_loses_nothing(
    kinds: list[tuple[int, str, int]], lifts: list[tuple[int, int]]
) -> None:
    queue = Ordered()
    entries = [entry(n, float(kind[0]), passage=kind[1]) for n, kind in enumerate(kinds)]
    for one in entries:
        queue.push(one)
    for number, rank in lifts:
        if number < len(entries):
            before = entries[number].rank
            queue.lift(entries[number], rank)
            assert entries[number].rank == min(before, rank)
    assert queue.critical == any(one.rank == CRITICAL for one in entries)
    taken = queue.drain()
    assert sorted(numbers(taken)) == list(range(len(kinds)))
    assert [one.rank for one in taken] == sorted(one.rank for one in taken)
    assert not any(one.waits for one in taken)


def test_what_a_lost_worker_gave_back_comes_first_and_in_its_order() -> None:
    queue = Ordered()
    queue.push(entry(0, 500.0))
    queue.push_front([entry(1, 1.0), entry(2, 9.0)])
    assert len(queue) == 3
    assert numbers(queue.take(10)) == [1, 2, 0]


def test_deadlines_are_found_in_order_and_lifted_once() -> None:
    queue = Ordered()
    for number, due in enumerate((30.0, 10.0, None, 20.0)):
        queue.push(entry(number, 5.0, due=due))
    assert queue.earliest_due() == 10.0
    assert not queue.lift_due(10.0)
    assert queue.lift_due(20.5)
    assert queue.earliest_due() == 30.0
    assert (queue.critical, numbers(queue.take(2))) == (True, [1, 3])
    assert (queue.critical, numbers(queue.drain())) == (False, [0, 2])
    assert queue.earliest_due() is None


def test_the_last_missing_ask_of_a_turn_is_found() -> None:
    turns = Turns()
    items = [Thing("a", n, team="t") for n in range(3)]
    turns.expect(items)
    entries = [Entry(item, 1.0) for item in items]
    assert not any(turns.queued(one) for one in entries)
    entries[0].waits = False
    assert turns.answered(items[0]) is None, "two are missing"
    entries[1].waits = False
    assert turns.answered(items[1]) is entries[2]
    entries[2].waits = False
    assert turns.answered(items[2]) is None
    again = Thing("a", 7, team="t")
    turns.expect([again])
    assert turns.queued(Entry(again, 1.0)), "the only one of its turn"
    assert turns.answered(Thing("a", 8, team="unknown")) is None


def test_the_last_missing_ask_is_not_found_while_it_runs() -> None:
    turns = Turns()
    items = [Thing("a", n, team="t") for n in range(2)]
    turns.expect(items)
    entries = [Entry(item, 1.0) for item in items]
    for one in entries:
        turns.queued(one)
        one.waits = False
    assert turns.answered(items[0]) is None


def test_raised_is_between_critical_and_usual() -> None:
    queue = Ordered()
    ranks = {0: 2, 1: RAISED, 2: CRITICAL}
    for number, rank in ranks.items():
        one = entry(number, 1.0)
        one.rank = rank
        queue.push(one)
    assert numbers(queue.take(3)) == [2, 1, 0]
