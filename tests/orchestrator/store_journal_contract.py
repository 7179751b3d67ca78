"""What every database must do for the journal: durability, locks, twins."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Sequence

import pytest
from sqlalchemy import text

from orchestrator.journal import AskRecord, JournalRecord, ReplyRecord
from orchestrator.store import (
    Store,
    StoreFailed,
    StoreJournal,
    StoreMistake,
)
from protocols.asks import Ask
from protocols.messages import Message, Part, Place
from protocols.replies import Reply, failed
from tests.orchestrator.store_examples import (
    HOSTILE,
    ROOT,
    SEAT,
    SYSTEM,
    OneStore,
    an_ask,
    change,
    new_session,
    pair,
    raw,
    write,
)


class JournalContract(OneStore):
    # attempts, twins and repeated asks

    async def test_attempts_of_open_asks(self, store: Store, run: int, sessions: list[int]):
        lost = failed("provider", "gone")
        await write(
            store,
            run,
            [
                *[AskRecord(sessions[0], an_ask(Place(0, slot), "x")) for slot in range(3)],
                ReplyRecord(sessions[0], Place(0, 0), 0, False, lost),
                ReplyRecord(sessions[0], Place(0, 0), 1, False, lost),
                ReplyRecord(sessions[0], Place(0, 1), 0, False, lost),
                ReplyRecord(sessions[0], Place(0, 1), 1, True, Reply("A")),
            ],
        )
        assert store.attempts(sessions) == {(sessions[0], 0, 0): 2}
        (loaded,) = store.tapes(sessions[:1])
        assert list(loaded.tape) == [Place(0, 1)]

    async def test_an_ask_may_be_recorded_again(self, store: Store, run: int, sessions: list[int]):
        records = pair(sessions[0], Place(0, 0))
        assert await write(store, run, records[:1]) == [0]
        assert await write(store, run, records[:1], records[1:], records) == [0, 1, 2]
        assert len(list(store.ask_rows(sessions))) == 1
        assert len(list(store.reply_rows(sessions))) == 1

    async def test_a_late_twin_is_kept_but_not_accepted(
        self, store: Store, run: int, sessions: list[int]
    ):
        place = Place(0, 0)
        twins: list[JournalRecord] = [
            ReplyRecord(sessions[0], place, attempt, True, Reply(answer))
            for attempt, answer in [(0, "first"), (1, "second"), (0, "third")]
        ]
        reported = await write(
            store,
            run,
            pair(sessions[0], place, "first"),
            [*twins, *[r for n in range(40) for r in pair(sessions[1], Place(n, 0))]],
            twins[:2],
        )
        assert reported == [0, 1, 2]
        rows = [row for row in store.reply_rows(sessions) if row["session"] == sessions[0]]
        assert [(row["attempt"], row["text"], bool(row["accepted"])) for row in rows] == [
            (0, "first", True),
            (1, "second", False),
            (2, "third", False),
        ]
        (loaded,) = store.tapes(sessions[1:2])
        assert loaded.tape[place].reply.text == "Answer: A"

    # durability

    async def test_hostile_texts_in_bulk(self, store: Store, run: int, sessions: list[int]):
        texts = [HOSTILE, "\\N", "\\.", "", "\t", "\\", "NULL", "'", "{}", "\r\n", "\x01"] * 60
        records: list[JournalRecord] = []
        for turn, said in enumerate(texts):
            place = Place(turn, 0)
            reply = Reply(said, None, (0.1, 1 / 3), "stated", model_served=said, latency_s=0.1)
            records.append(AskRecord(sessions[0], an_ask(place, said, str(turn))))
            records.append(ReplyRecord(sessions[0], place, 0, True, reply, 0.1, 1e-9))
        await write(store, run, records)
        (loaded,) = store.tapes(sessions[:1], verify=True)
        assert loaded.tampered == ()
        assert [recorded.reply.text for recorded in loaded.tape.values()] == texts
        assert {one.reply.latency_s for one in loaded.tape.values()} == {0.1}
        assert [one.reply.model_served for one in loaded.tape.values()] == texts
        asked = [row["messages"][1]["parts"][0]["text"] for row in store.ask_rows(sessions[:1])]
        assert asked == texts
        assert {row["paid_price"] for row in store.reply_rows(sessions[:1])} == {1e-9}
        assert store.check_parts(run) == []

    async def test_quotes_are_stored_once_by_one_writer(
        self, store: Store, url: str, run: int, sessions: list[int]
    ):
        said = Part("speech", HOSTILE, origin=Place(0, 0))
        message = Message("user", (said, Part("again", HOSTILE), SYSTEM, said))
        asks = [Ask(SEAT, (message,), place=Place(1, slot)) for slot in range(2)]
        for session in sessions[:2]:
            await write(store, run, *[[AskRecord(session, ask)] for ask in asks])
        rows = list(store.ask_rows(sessions))
        assert len(rows) == 4
        for row in rows:
            texts = [part["text"] for part in row["messages"][0]["parts"]]
            assert texts == [HOSTILE, HOSTILE, SYSTEM.text, HOSTILE]
        assert store.check_parts(run) == []
        with raw(url) as connection:
            query = text("SELECT shared, count(*) FROM part WHERE kind = 'text' GROUP BY shared")
            counts = {bool(row[0]): row[1] for row in connection.execute(query)}
        assert counts == {False: 2, True: 2}

    async def test_a_token_is_reported_when_others_can_see_the_row(
        self, store: Store, url: str, run: int, sessions: list[int]
    ):
        seen: list[tuple[int, int]] = []
        reported: list[int] = []
        with raw(url) as other, store.journal(run) as journal:

            def on_durable(tokens: Sequence[int]) -> None:
                rows = other.execute(text("SELECT count(*) FROM reply")).scalar_one()
                other.rollback()
                seen.append((len(tokens), rows))
                reported.extend(tokens)

            journal.start(on_durable)
            for number in range(300):
                journal.append(pair(sessions[0], Place(number, 0)), number)
                await asyncio.sleep(0)
            await journal.close()
        assert reported == list(range(300))
        total = 0
        for tokens, rows in seen:
            total += tokens
            assert rows >= total

    async def test_records_without_token_and_tokens_without_records(
        self, store: Store, run: int, sessions: list[int]
    ):
        reported: list[str] = []
        with store.journal(run) as journal:
            journal.start(reported.extend)
            journal.append(pair(sessions[0], Place(0, 0)))
            journal.append([], "token")
            journal.append([])
            await journal.close()
            await journal.close()
            with pytest.raises(RuntimeError, match="closed"):
                journal.append([])
        assert reported == ["token"]
        assert len(list(store.reply_rows(sessions))) == 1

    async def test_a_failed_commit_stops_the_journal(
        self, store: Store, url: str, run: int, sessions: list[int]
    ):
        reported: list[int] = []
        woken = asyncio.Event()

        def on_durable(tokens: Sequence[int]) -> None:
            reported.extend(tokens)
            woken.set()

        journal = store.journal(run)
        journal.start(on_durable)
        journal.append(pair(sessions[0], Place(0, 0)), 0)
        await woken.wait()
        woken.clear()
        change(url, "ALTER TABLE reply RENAME TO gone")
        journal.append(pair(sessions[0], Place(1, 0)), 1)
        await woken.wait()
        assert reported == [0]
        assert journal.failure is not None
        with pytest.raises(StoreFailed, match="could not be written"):
            journal.append([])
        with pytest.raises(StoreFailed, match="could not be written"):
            await journal.close()
        change(url, "ALTER TABLE gone RENAME TO reply")
        rows = list(store.ask_rows(sessions))
        assert [row["turn"] for row in rows] == [0]
        store.journal(run).__exit__(None, None, None)  # the lock was given up

    async def test_an_ask_without_a_place_is_refused(
        self, store: Store, run: int, sessions: list[int]
    ):
        misplaced = Ask(SEAT, (Message("user", (SYSTEM,)),))
        with pytest.raises(StoreFailed, match="no place"):
            await write(store, run, [AskRecord(sessions[0], misplaced)])

    @pytest.mark.slow
    def test_what_was_durable_survives_kill_9(self, store: Store, url: str, run: int):
        command = [sys.executable, "-m", "tests.orchestrator.store_examples", url, str(run)]
        ids = store.add_sessions(run, [new_session(0)])
        with subprocess.Popen(
            [*command, str(ids[0])], cwd=ROOT, stdout=subprocess.PIPE, text=True
        ) as writer:
            assert writer.stdout is not None
            try:
                printed = [writer.stdout.readline().strip() for _ in range(400)]
                with pytest.raises(StoreMistake, match="worked on by another process"):
                    store.journal(run)
            finally:
                writer.kill()
            printed += [line.strip() for line in writer.stdout if line.endswith("\n")]
        durable = {int(number) for number in printed}
        assert len(durable) >= 400
        there = {row["turn"] for row in store.reply_rows(ids)}
        assert durable <= there
        assert there == set(range(len(there)))
        (loaded,) = store.tapes(ids, verify=True)
        assert loaded.tampered == ()
        with store.journal(run):  # the lock went with the process
            pass

    # locks

    async def test_a_closed_journal_gives_its_lock_up(self, store: Store, run: int):
        journal = store.journal(run)
        await journal.close()
        with pytest.raises(RuntimeError):
            journal.start(lambda tokens: None)
        assert await write(store, run, []) == [0]

    async def test_two_shards_write_at_once(self, store: Store, run: int, sessions: list[int]):
        reported: list[int] = []
        journals: list[StoreJournal] = []
        for shard in range(2):
            journals.append(store.journal(run, shards=[shard]))
            journals[-1].start(reported.extend)
        for number in range(200):
            session = sessions[number % 2]
            # both store the same parts
            ask = AskRecord(session, an_ask(Place(number, 0), f"{number // 2}", "b", "a"))
            journals[number % 2].append([ask], number)
        for journal in journals:
            await journal.close()
        assert sorted(reported) == list(range(200))
        assert store.check_parts(run) == []

    async def test_reading_while_writing(self, store: Store, url: str, run: int):
        ids = store.add_sessions(run, [new_session(i) for i in range(500)])
        with Store.read(url) as reader, store.journal(run) as journal:
            done = asyncio.Event()
            journal.start(lambda tokens: done.set())
            journal.append([r for one in ids for r in pair(one, Place(0, 0))])
            tapes = reader.tapes(ids, verify=True)
            first = next(tapes)
            journal.append([r for one in ids for r in pair(one, Place(1, 0))], "last")
            store.update_run(run, status="stopped")
            await done.wait()
            rest = list(tapes)
            again = list(reader.tapes(ids))
            await journal.close()
        assert len(first.tape) in (0, 1, 2)
        assert len(rest) == 499
        assert not any(loaded.tampered for loaded in rest)
        assert {len(loaded.tape) for loaded in again} == {2}
