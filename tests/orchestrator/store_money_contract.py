"""What every database must do for money: what was spent, what a crash left, leases, the cache."""

from __future__ import annotations

import asyncio

import pytest

from orchestrator.journal import (
    AskRecord,
    DispatchRecord,
    JournalRecord,
    ProgressRecord,
    ReplyRecord,
    Source,
)
from orchestrator.money.ledger import RUN, Amount, Budget, Limits
from orchestrator.store import Store
from orchestrator.store.leases import amounts_json
from protocols.messages import Place
from protocols.replies import Reply, Usage
from tests.orchestrator.store_drivers_contract import make_as_of
from tests.orchestrator.store_examples import OneStore, an_ask, change, new_run, new_session, write

USAGE = Usage(100, 20)
KEY = b"k" * 32


def reply(
    session: int,
    place: Place,
    *,
    attempt: int = 0,
    accepted: bool = True,
    price: float | None = 0.5,
    source: Source | None = None,
    cache_key: bytes | None = None,
    said: str = "Answer: A",
) -> ReplyRecord:
    paid = None if price is None else 0.0 if source else price
    return ReplyRecord(
        *(session, place, attempt, accepted, Reply(said, usage=USAGE, latency_s=2.0), price, paid),
        source=source,
        cache_key=cache_key,
    )


def asked(session: int, *slots: int) -> list[JournalRecord]:
    return [AskRecord(session, an_ask(Place(0, slot), f"{session} {slot}")) for slot in slots]


class MoneyContract(OneStore):
    async def test_what_is_spent_counts_what_was_asked(
        self, store: Store, run: int, sessions: list[int]
    ) -> None:
        one = sessions[0]
        await write(
            store,
            run,
            [
                *asked(one, 0, 1, 2, 3),
                reply(one, Place(0, 0), accepted=False),
                reply(one, Place(0, 0), attempt=1),
                reply(one, Place(0, 1), source="inherited"),
                reply(one, Place(0, 2), source="cache"),
                reply(one, Place(0, 3), price=None),
            ],
        )
        spent = store.spent(run)["judge"]
        assert (spent.calls, spent.tokens, spent.paid, spent.list_price) == (3, 360, 1.0, 2.0)
        assert (spent.seconds, spent.unpriced) == (6.0, 1)
        total = store.totals(run)["direct"]
        assert (total["attempts"], total["asks"], total["list_price"]) == (3, 4, 2.0)
        sources = [row["source"] for row in store.reply_rows([one])]
        assert sources == [None, None, "inherited", "cache", None]

    async def test_what_is_under_way_counts_at_its_reserved_price(
        self, store: Store, run: int, sessions: list[int]
    ) -> None:
        one = sessions[0]
        await write(
            store,
            run,
            [
                *asked(one, 0, 1),
                DispatchRecord(one, Place(0, 0), 0, 0.7, 100, 50),
                DispatchRecord(one, Place(0, 1), 0, None, 10, 5),
            ],
        )
        spent = store.spent(run)["judge"]
        assert (spent.calls, spent.tokens, spent.paid, spent.unpriced) == (2, 165, 0.7, 1)
        await write(store, run, [reply(one, Place(0, 0))])
        assert store.spent(run)["judge"].paid == 0.5, "its reply takes the reservation's place"
        assert store.book_lost(run, []) == 0
        assert store.book_lost(run, [5]) == 0, "that is another shard's"
        assert store.book_lost(run, [0]) == 1
        after = store.spent(run)["judge"]
        assert (after.calls, after.tokens, after.paid, after.unpriced) == (2, 135, 0.5, 1)
        assert store.book_lost(run, [0]) == 0, "booked once"
        lost = [row for row in store.reply_rows([one]) if row["slot"] == 1]
        assert [(row["attempt"], row["failure_cause"]) for row in lost] == [(0, "lost")]
        assert not lost[0]["accepted"]
        assert store.attempts([one]) == {(one, 0, 1): 1}, "it is asked again as another attempt"
        (loaded,) = store.tapes([one], verify=True)
        assert not loaded.tampered

    async def test_a_slice_is_leased_once(self, store: Store, run: int) -> None:
        budget = Budget(calls=10, roles={"judge": Limits(usd=1.0)})
        first, second = (store.start_driver(run, name) for name in ("a", "b"))
        need = {RUN: Amount(calls=1), "judge": Amount(usd=0.25)}
        got = store.take_slice(run, first, budget, left={}, need=need, parts=2)
        assert got.granted == {RUN: Amount(calls=5), "judge": Amount(usd=0.5)}
        assert store.lessees(run) == [first]
        more = store.take_slice(run, second, budget, left={}, need=need, parts=1)
        assert more.granted == {RUN: Amount(calls=5), "judge": Amount(usd=0.5)}, (
            "what the first left"
        )
        held = got.granted or {}
        denied = store.take_slice(run, first, budget, left=held, need=need, parts=1)
        assert denied == (None, True), "the second holds it"
        store.end_leases([second])
        again = store.take_slice(run, first, budget, left=held, need=need, parts=1)
        assert again.granted == {RUN: Amount(calls=5), "judge": Amount(usd=0.5)}

    async def test_what_a_lessee_spent_is_spent(
        self, store: Store, run: int, sessions: list[int]
    ) -> None:
        driver, other = (store.start_driver(run, name) for name in ("a", "b"))
        budget, need = Budget(calls=4), {RUN: Amount(calls=1)}
        store.take_slice(run, driver, budget, left={}, need=need, parts=1)
        told = amounts_json({RUN: Amount(calls=2)})
        records: list[JournalRecord] = [
            *asked(sessions[0], 0, 1),
            reply(sessions[0], Place(0, 0)),
            reply(sessions[0], Place(0, 1)),
            ProgressRecord(driver, "{}", told),
        ]
        await write(store, run, records)
        denied = store.take_slice(run, other, budget, left={}, need=need, parts=1)
        assert denied == (None, True)
        store.end_leases([driver])
        got = store.take_slice(run, other, budget, left={}, need=need, parts=1)
        assert got.granted == {RUN: Amount(calls=2)}
        store.end_leases([other])
        much = {RUN: Amount(calls=3)}
        assert store.take_slice(run, other, budget, left={}, need=much, parts=1) == (None, False)

    async def test_two_that_lease_at_once_get_no_more_than_there_is(
        self, store: Store, run: int
    ) -> None:
        drivers = [store.start_driver(run, str(number)) for number in range(4)]
        budget, need = Budget(calls=12), {RUN: Amount(calls=1)}

        def lease(driver: int) -> int:
            held = Amount()
            while True:
                got = store.take_slice(run, driver, budget, left={RUN: held}, need=need, parts=8)
                if got.granted is None:
                    return held.calls
                held = held.plus(got.granted[RUN])

        taken = await asyncio.gather(*(asyncio.to_thread(lease, driver) for driver in drivers))
        assert sum(taken) == 12

    async def test_a_reply_is_found_again(
        self, store: Store, run: int, sessions: list[int]
    ) -> None:
        one = sessions[0]
        assert store.cached_replies([KEY]) == {}
        await write(store, run, [*asked(one, 0), reply(one, Place(0, 0), cache_key=KEY)])
        (hit,) = store.cached_replies([KEY, b"other" * 4]).values()
        assert (hit.reply.text, hit.reply.latency_s, hit.list_price) == ("Answer: A", 0.0, 0.5)
        assert hit.reply.usage == USAGE
        await write(
            store, run, [*asked(one, 1), reply(one, Place(0, 1), cache_key=KEY, said="newer")]
        )
        assert store.cached_replies([KEY])[KEY].reply.text == "newer"
        (model,) = store.cached_models()
        assert (model.model, model.entries, model.list_price) == ("scripted/smith", 1, 0.5)

    async def test_old_replies_are_not_found(
        self, store: Store, url: str, run: int, sessions: list[int]
    ) -> None:
        one, keys = sessions[0], [KEY, b"x" * 32]
        await write(
            store,
            run,
            [*asked(one, 0, 1), *(reply(one, Place(0, i), cache_key=keys[i]) for i in range(2))],
        )
        change(
            url,
            "UPDATE cache_entry SET stored_at = '2020-01-01T00:00:00.000+00:00' WHERE key = :key",
            key=KEY,
        )
        assert set(store.cached_replies(keys, max_age_s=3600.0)) == {keys[1]}
        assert set(store.cached_replies(keys)) == set(keys)
        assert store.forget_cached(max_age_s=3600.0) == 1
        assert store.forget_cached() == 1
        assert store.cached_replies(keys) == {}
        assert len(list(store.reply_rows([one]))) == 2, "the replies stay"

    async def test_lengths_are_means_by_role_and_expert(
        self, store: Store, run: int, sessions: list[int]
    ) -> None:
        one = sessions[0]
        longer = ReplyRecord(one, Place(0, 1), 0, True, Reply("x", usage=Usage(300, 60)))
        await write(store, run, [*asked(one, 0, 1), reply(one, Place(0, 0)), longer])
        (found,) = store.lengths(run)
        assert found == ("direct", "judge", "smith", 200.0, 40.0)

    def test_branches_of_an_older_store_inherited_what_is_their_parents(
        self, url: str, empty: None
    ) -> None:
        make_as_of(url, "0002")
        change(url, "UPDATE session SET parent = 1, fork_turn = 1 WHERE id = 2")
        for session, turn, said in ((1, 0, "a"), (1, 1, "b"), (2, 0, "a"), (2, 1, "c")):
            change(
                url,
                "INSERT INTO reply (session, turn, slot, attempt, accepted, text, prompt_tokens, "
                "completion_tokens, reasoning_tokens, cached_tokens, finish, repaired, digest, "
                "latency_s) VALUES (:session, :turn, 0, 0, (1 = 1), :said, 1, 1, 0, 0, 'stop', "
                "(1 = 0), :digest, 0.0)",
                session=session,
                turn=turn,
                said=said,
                digest=said.encode(),
            )
        with Store.read(url) as old:
            assert [row["source"] for row in old.reply_rows([2])] == [None, None]
            assert old.cached_models() == []
        with Store.open(url) as store:
            rows = list(store.reply_rows([1, 2]))
        sources = {(row["session"], row["turn"]): row["source"] for row in rows}
        assert sources == {(1, 0): None, (1, 1): None, (2, 0): "inherited", (2, 1): None}

    def test_a_store_without_dispatches_books_nothing(self, store: Store, run: int) -> None:
        assert store.book_lost(run, range(64)) == 0
        assert store.spent(run) == {}
        other = store.create_run(new_run("other"))
        store.add_sessions(other, [new_session(0)])
        assert store.spent(other) == {}

    @pytest.mark.parametrize("price", [None, 0.0])
    async def test_free_and_unpriced_replies(
        self, store: Store, run: int, sessions: list[int], price: float | None
    ) -> None:
        one = sessions[0]
        await write(store, run, [*asked(one, 0), reply(one, Place(0, 0), price=price)])
        spent = store.spent(run)["judge"]
        assert (spent.paid, spent.list_price, spent.unpriced) == (0.0, 0.0, int(price is None))
