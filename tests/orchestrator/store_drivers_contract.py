"""What every database must do for drivers: locks of shards, signs of life, older stores."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest
from sqlalchemy import text

from orchestrator.journal import OutcomeRecord, ProgressRecord
from orchestrator.store import AllHeld, Store, StoreConflict, StoreMistake
from orchestrator.store.migrate import HEAD, MIGRATIONS
from protocols.messages import Place
from tests.orchestrator.store_examples import (
    ROOT,
    OneStore,
    new_run,
    new_session,
    pair,
    raw,
    write,
)

HOLD = """
import sys
from orchestrator.store import Store
with Store.open(sys.argv[1]) as store, store.journal(int(sys.argv[2]), shards=[1, 2]):
    store.start_driver(int(sys.argv[2]), "victim")
    print("held", flush=True)
    sys.stdin.read()
"""


def make_as_of(url: str, revision: str) -> None:
    """Make a store as the moot of an earlier format did, with a run and two sessions."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with raw(url) as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
        connection.execute(
            text(
                "INSERT INTO run (name, status, config, config_hash, code_revision, packages, "
                "created_at) VALUES ('old', 'stopped', '{}', 'c', 'r', '{}', "
                "'2026-01-01T00:00:00.000+00:00')"
            )
        )
        connection.execute(
            text(
                "INSERT INTO part (shared, hash, kind, body) "
                "VALUES ((1 = 1), :hash, 'document', '{}')"
            ),
            {"hash": b"h"},
        )
        for number in range(2):
            connection.execute(
                text(
                    "INSERT INTO session (run, ordinal, shard, key, entry, kind, version, "
                    "question_id, question_key, seed, repeat, parameters_part, question_part, "
                    "cast_part, status, message) VALUES (1, :n, 0, :key, 'direct', "
                    "'direct_answer', 1, 'q', 'k', 0, 0, 1, 1, 1, 'pending', '')"
                ),
                {"n": number, "key": f"{number}"},
            )
        connection.commit()


def revision_of(url: str) -> str:
    with raw(url) as connection:
        return str(connection.execute(text("SELECT version_num FROM alembic_version")).scalar())


class DriversContract(OneStore):
    # locks

    def test_a_run_is_locked(self, store: Store, url: str, run: int):
        assert not store.is_worked_on(run)
        with store.journal(run), Store.open(url) as other:
            with pytest.raises(AllHeld, match="worked on by another process"):
                other.journal(run)
            with pytest.raises(AllHeld):
                other.journal(run, shards=[1])
            assert other.is_worked_on(run)
            assert not other.is_worked_on(run + 1)
            with other.journal(run + 1):
                pass
        assert not store.is_worked_on(run)
        with Store.open(url) as other, other.journal(run):
            pass

    def test_shards_are_locked_one_by_one(self, store: Store, url: str, run: int):
        with Store.open(url) as other, store.journal(run, shards=[1, 2]) as first:
            with other.journal(run, shards=()) as second:
                assert second.claim([0, 1, 2, 3]) == {0, 3}
                assert second.claim([0, 3]) == frozenset(), "it holds them already"
                assert first.claim([2, 3, 4]) == {4}
                assert (set(first.shards), set(second.shards)) == ({1, 2, 4}, {0, 3})
            assert first.claim(range(4)) == {0, 3}
            assert store.is_worked_on(run)

    async def test_shards_are_locked_while_it_writes(
        self, store: Store, url: str, run: int, sessions: list[int]
    ):
        reported: list[int] = []
        with Store.open(url) as other, other.journal(run, shards=[5]):
            journal = store.journal(run, shards=[1])
            journal.start(reported.extend)
            journal.append(pair(sessions[0], Place(0, 0)), 0)
            assert journal.claim([4, 5, 6]) == {4, 6}
            journal.append(pair(sessions[1], Place(0, 0)), 1)
            await journal.close()
            with other.journal(run, shards=[1, 4, 6]):
                pass
        assert reported == [0, 1]

    async def test_a_journal_that_failed_gets_no_more_shards(
        self, store: Store, run: int, sessions: list[int]
    ):
        stopped = asyncio.Event()
        with store.journal(run, shards=[1]) as journal:
            journal.start(lambda tokens: stopped.set())
            journal.append([object()])  # type: ignore[list-item]
            await stopped.wait()
            assert journal.claim([2]) == frozenset()

    # drivers

    async def test_a_driver_tells_how_far_it_is(self, store: Store, run: int, sessions: list[int]):
        driver = store.start_driver(run, "host:1")
        (row,) = store.drivers(run)
        assert (row.id, row.name, row.progress_json, row.ending) == (driver, "host:1", "{}", None)
        assert row.started_at == row.seen_at
        first, last = ProgressRecord(driver, '{"asks":1}'), ProgressRecord(driver, '{"asks":2}')
        assert await write(store, run, [first], [first, last], pair(sessions[0], Place(0, 0)))
        (row,) = store.drivers(run)
        assert row.progress_json == '{"asks":2}'
        assert row.seen_at >= row.started_at
        assert row.ended_at is None
        store.end_driver(driver, "budget", '{"asks":3}')
        (row,) = store.drivers(run)
        assert (row.ending, row.progress_json) == ("budget", '{"asks":3}')
        assert row.ended_at == row.seen_at
        assert store.drivers(run + 1) == []

    async def test_the_last_driver_sets_the_status_of_the_run(
        self, store: Store, url: str, run: int, sessions: list[int]
    ):
        store.update_run(run, status="stopped")
        first, second = store.start_driver(run, "a"), store.start_driver(run, "b")
        assert store.runs()[0].status == "running"
        with Store.open(url) as other, other.journal(run, shards=[7]):
            store.end_driver(first, "stopped", "{}")
            store.settle(run)
            assert store.runs()[0].status == "running", "the other one works on"
        store.end_driver(second, "stopped", "{}")
        store.settle(run)
        assert (store.runs()[0].status, store.runs()[0].finished_at) == ("stopped", None)
        outcomes = [OutcomeRecord(one, "finished", "{}") for one in sessions]
        await write(store, run, outcomes)
        store.settle(run)
        assert store.runs()[0].status == "finished"
        assert store.runs()[0].finished_at

    # who died

    @pytest.mark.slow
    def test_locks_go_with_a_process_that_is_killed(
        self, store: Store, url: str, run: int, sessions: list[int]
    ):
        command = [sys.executable, "-c", HOLD, url, str(run)]
        with subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as victim:
            assert victim.stdout is not None
            assert victim.stdout.readline() == "held\n"
            with store.journal(run, shards=()) as journal:
                assert journal.claim([1, 2, 3]) == {3}
            assert store.is_worked_on(run)
            victim.kill()
            victim.wait()
        with store.journal(run, shards=()) as journal:
            assert journal.claim([1, 2], patience_s=10.0) == {1, 2}
        assert not store.is_worked_on(run)
        (row,) = store.drivers(run)
        assert (row.name, row.ended_at) == ("victim", None)
        store.settle(run)
        assert store.runs()[0].status == "stopped", "a dead driver does not keep a run running"

    # conflicts

    def test_what_another_process_did_meanwhile_is_a_conflict(self, store: Store, run: int):
        store.add_sessions(run, [new_session(0)])
        with pytest.raises(StoreConflict):
            store.add_sessions(run, [new_session(0)])
        with pytest.raises(StoreConflict):
            store.create_run(new_run())

    # shards

    def test_sessions_by_shard(self, store: Store, run: int):
        ids = store.add_sessions(run, [new_session(n, shard=n % 3) for n in range(7)])
        other = store.create_run(new_run("other"))
        (stranger,) = store.add_sessions(other, [new_session(0, shard=1)])
        store.set_session_status(ids[:1], "finished")
        assert store.pending_by_shard(run) == {0: 2, 1: 2, 2: 2}
        assert store.session_counts(run) == {"finished": 1, "pending": 6}
        rows = store.sessions(run, shards=[0, 2])
        assert [row.id for row in rows] == [ids[n] for n in (0, 2, 3, 5, 6)]
        assert store.sessions(run, statuses=["finished"], shards=[1]) == []
        assert store.run_ids([*ids, stranger, 999]) == {**dict.fromkeys(ids, run), stranger: other}
        assert store.pending_by_shard(99) == {}

    # stores of the previous version

    async def test_an_older_store_is_read_as_it_is(self, url: str, empty: None):
        make_as_of(url, "0001")
        with Store.read(url) as reader:
            (row,) = reader.runs()
            assert (row.name, len(reader.sessions(row.id))) == ("old", 2)
            assert reader.drivers(row.id) == []
            assert reader.pending_by_shard(row.id) == {0: 2}
        with raw(url) as connection:
            assert (
                connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
                == "0001"
            )

    async def test_an_older_store_is_brought_up_to_date(self, url: str, empty: None):
        make_as_of(url, "0001")
        with Store.open(url) as store:
            (row,) = store.runs()
            first, second = (one.id for one in store.sessions(row.id))
            await write(store, row.id, pair(first, Place(0, 0)), pair(second, Place(0, 0)))
            driver = store.start_driver(row.id, "new")
            store.end_driver(driver, "stopped", "{}")
            assert [len(loaded.tape) for loaded in store.tapes([first, second])] == [1, 1]
            assert [one.name for one in store.drivers(row.id)] == ["new"]
        with raw(url) as connection:
            assert (
                connection.execute(text("SELECT version_num FROM alembic_version")).scalar() == HEAD
            )

    def test_a_format_between_is_refused_to_readers(self, store: Store, url: str, monkeypatch):
        monkeypatch.setattr("orchestrator.store.migrate.READABLE", ())
        with pytest.raises(StoreMistake, match="older moot"):
            Store.read(url)
