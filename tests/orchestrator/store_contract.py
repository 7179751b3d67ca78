"""What every database must do for the store: runs, sessions, transcripts, versions."""

from __future__ import annotations

import subprocess
import sys

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from orchestrator.journal import AskRecord, JournalRecord, OutcomeRecord, ReplyRecord
from orchestrator.store import (
    Store,
    StoreMistake,
)
from protocols.asks import Ask
from protocols.messages import Message, Part, Place
from protocols.replies import Reply, Usage, failed
from tests.orchestrator.store_examples import (
    HOSTILE,
    ROOT,
    SEAT,
    SYSTEM,
    OneStore,
    an_ask,
    change,
    found,
    new_run,
    new_session,
    pair,
    raw,
    write,
)


class StoreContract(OneStore):
    # runs

    def test_a_run_is_kept(self, store: Store):
        run_id = store.create_run(new_run(answer_key_json='{"q":"é"}'))
        row = store.find_run("demo")
        assert row is not None
        assert (row.id, row.name, row.status) == (run_id, "demo", "running")
        assert (row.config_json, row.packages) == ('{"seed":1}', {"pydantic": "2"})
        assert row.answer_key_json == '{"q":"é"}'
        assert row.created_at
        assert row.finished_at is None
        assert store.runs() == [row]

    def test_a_run_is_changed(self, store: Store, run: int):
        store.update_run(run, status="finished", config_json="{}", finished=True)
        store.update_run(run, answer_key_json="[]", config_hash="h")
        store.update_run(run)
        row = store.find_run(str(run))
        assert row is not None
        assert (row.status, row.config_json, row.config_hash) == ("finished", "{}", "h")
        assert row.answer_key_json == "[]"
        assert row.finished_at

    def test_a_run_is_found_by_name_then_id_then_prefix(self, store: Store):
        first = store.create_run(new_run("demo-1"))
        store.create_run(new_run("demo-2"))
        named = store.create_run(new_run(str(first)))
        assert found(store, "demo-1") == first
        assert found(store, str(first)) == named
        assert found(store, str(named)) == named
        assert found(store, "demo-2") == first + 1
        for missing in ("", "x", "DEMO-1", "99", "9" * 30, "demo_", "%"):
            assert found(store, missing) is None, missing
        with pytest.raises(StoreMistake, match=r"several runs.*demo-1"):
            store.find_run("demo")

    def test_a_name_is_taken_once(self, store: Store, run: int):
        with pytest.raises(StoreMistake, match="already"):
            store.create_run(new_run())
        assert len(store.runs()) == 1

    def test_a_run_has_a_parent(self, store: Store, run: int):
        child = store.create_run(new_run("child", parent=run))
        assert [row.parent for row in store.runs()] == [None, run]
        assert child != run

    # sessions

    def test_sessions_are_kept_in_order(self, store: Store, run: int):
        ids = store.add_sessions(run, [new_session(2), new_session(0), new_session(1)])
        rows = store.sessions(run)
        assert [row.ordinal for row in rows] == [0, 1, 2]
        assert [row.id for row in rows] == [ids[1], ids[2], ids[0]]
        row = store.session(ids[0])
        assert row == rows[2]
        assert row is not None
        assert (row.run_id, row.key, row.seed, row.status) == (run, f"{2:064x}", 2**40, "pending")
        assert (row.outcome_json, row.message, row.parent) == (None, "", None)
        documents = store.documents([row.question_part, row.cast_part, row.parameters_part])
        assert documents[row.question_part] == '{"id": "q/2"}'
        assert documents[row.cast_part] == '{"members":{}}'
        assert documents[row.parameters_part] == "{}"

    def test_equal_documents_are_stored_once(self, store: Store, run: int, sessions: list[int]):
        more = store.add_sessions(run, [new_session(9, question_json='{"id": "q/1"}')])
        rows = {row.id: row for row in store.sessions(run)}
        assert len({row.cast_part for row in rows.values()}) == 1
        assert rows[more[0]].question_part == rows[sessions[1]].question_part

    def test_nothing_is_found_where_nothing_is(self, store: Store, run: int):
        assert store.add_sessions(run, []) == []
        assert store.sessions(run) == []
        assert store.session(77) is None
        assert store.documents([77]) == {}
        assert list(store.tapes([])) == []
        assert [tape.tape for tape in store.tapes([77])] == [{}]
        assert store.attempts([]) == {}
        assert store.check_parts(run) == []
        assert list(store.ask_rows([77])) == []
        assert list(store.reply_rows([])) == []
        assert store.totals(run) == {}
        store.set_session_status([], "stale")

    def test_sessions_by_status(self, store: Store, run: int, sessions: list[int]):
        store.set_session_status(sessions[:2], "superseded")
        assert [row.id for row in store.sessions(run, statuses=("pending",))] == sessions[2:]
        assert len(store.sessions(run, statuses={"superseded", "pending"})) == 3
        assert store.sessions(run, statuses=()) == []

    def test_a_branch_may_share_its_parents_key(self, store: Store, run: int, sessions: list[int]):
        branch = new_session(3, key=f"{0:064x}", parent=sessions[0], fork_turn=1)
        (branch_id,) = store.add_sessions(run, [branch])
        row = store.session(branch_id)
        assert row is not None
        assert (row.parent, row.fork_turn) == (sessions[0], 1)

    def test_a_session_is_added_once_or_not_at_all(
        self, store: Store, run: int, sessions: list[int]
    ):
        with pytest.raises(StoreMistake, match="twice"):
            store.add_sessions(run, [new_session(7), new_session(0)])
        assert len(store.sessions(run)) == 3

    @pytest.mark.slow
    def test_twenty_thousand_sessions(self, store: Store, run: int):
        ids = store.add_sessions(run, [new_session(i) for i in range(20_000)])
        rows = store.sessions(run)
        assert [row.id for row in rows] == ids
        assert len(store.documents([row.question_part for row in rows])) == 20_000
        store.set_session_status(ids, "stale")
        assert store.sessions(run, statuses=("pending",)) == []

    # transcripts

    async def test_a_tape_comes_back_as_it_was(self, store: Store, run: int, sessions: list[int]):
        places = [Place(0, 0), Place(0, 1), Place(1, 0)]
        asks = [an_ask(place, HOSTILE, options=("A", "B")) for place in places]
        replies = [
            Reply(
                HOSTILE,
                None,
                (0.1, 0.9),
                "logprobs",
                Usage(1, 2, 3, 70_000),
                "length",
                True,
                places[0],
                1.25,
                "smith-2",
            ),
            Reply("", place=places[1]),
            failed("malformed", HOSTILE, cause="schema").at(places[2]),
        ]
        records: list[JournalRecord] = [AskRecord(sessions[1], ask) for ask in asks]
        records += [
            ReplyRecord(sessions[1], place, 0, True, reply, 0.25, 0.0)
            for place, reply in zip(places, replies, strict=True)
        ]
        assert await write(store, run, records) == [0]
        loaded = list(store.tapes([sessions[2], sessions[1]], verify=True))
        assert [one.session for one in loaded] == [sessions[2], sessions[1]]
        assert loaded[0].tape == {}
        tape = loaded[1].tape
        assert [tape[place].key for place in places] == [ask.key for ask in asks]
        assert [tape[place].reply for place in places] == replies
        assert loaded[1].tampered == ()

    @pytest.mark.parametrize("size", [0, 1, 1_000_000], ids=["empty", "one", "huge"])
    async def test_texts_of_all_sizes(self, store: Store, run: int, sessions: list[int], size: int):
        place, body = Place(0, 0), "漢" * size
        records: list[JournalRecord] = [
            AskRecord(sessions[0], an_ask(place, body)),
            ReplyRecord(sessions[0], place, 0, True, Reply(body)),
        ]
        await write(store, run, records)
        (loaded,) = store.tapes(sessions[:1], verify=True)
        assert loaded.tape[place].reply.text == body
        assert loaded.tampered == ()
        (row,) = store.ask_rows(sessions[:1])
        assert row["messages"][1]["parts"][0]["text"] == body
        assert store.check_parts(run) == []

    async def test_views_show_everything(self, store: Store, run: int, sessions: list[int]):
        image = Part("picture", "data:image/png;base64,AA==", "image")
        quoted = Part("speech", HOSTILE, origin=Place(0, 1))
        messages = (Message("system", (SYSTEM,)), Message("user", (image, quoted, SYSTEM)))
        place = Place(1, 0)
        ask = Ask(SEAT, messages, ("A", "B"), '{"type":"string"}', "q/1", place, 2)
        await write(
            store,
            run,
            [
                AskRecord(sessions[1], ask, inherited="f" * 64),
                ReplyRecord(sessions[1], place, 0, False, failed("timeout", "slow"), 0.5, 0.5),
                ReplyRecord(
                    sessions[1],
                    place,
                    1,
                    True,
                    Reply("A", None, (0.5, 0.5), "stated", Usage(3, 4)),
                    1.0,
                    0.0,
                ),
            ],
            pair(sessions[0], Place(0, 0)),
        )
        rows = list(store.ask_rows([sessions[1], sessions[0]]))
        assert [row["session"] for row in rows] == [sessions[1], sessions[0]]
        row = rows[0]
        assert (row["turn"], row["slot"], row["key"]) == (1, 0, ask.key)
        assert (row["seat"], row["role"], row["expert"]) == ("judge", "judge", "smith")
        assert (row["model"], row["revision"]) == ("scripted/smith", "r1")
        assert (row["options"], row["inherited"]) == (["A", "B"], "f" * 64)
        assert (row["reply_schema"], row["occurrence"]) == ('{"type":"string"}', 2)
        assert row["sampling"]["temperature"] == 0.5
        assert [message["speaker"] for message in row["messages"]] == ["system", "user"]
        assert row["messages"][1]["parts"] == [
            {"name": "picture", "text": image.text, "kind": "image", "origin": None},
            {"name": "speech", "text": HOSTILE, "kind": "text", "origin": [0, 1]},
            {"name": "system", "text": SYSTEM.text, "kind": "text", "origin": None},
        ]
        attempts = list(store.reply_rows(sessions))
        assert [(one["session"], one["attempt"]) for one in attempts] == [
            (sessions[0], 0),
            (sessions[1], 0),
            (sessions[1], 1),
        ]
        assert attempts[1]["failure_boundary"] == "timeout"
        assert attempts[1]["failure_message"] == "slow"
        assert attempts[2]["distribution"] == [0.5, 0.5]
        assert (
            attempts[2]["digest"]
            == Reply("A", None, (0.5, 0.5), "stated", Usage(3, 4)).digest.hex()
        )
        (loaded,) = store.tapes([sessions[1]])
        assert loaded.inherited == {place: "f" * 64}

    async def test_totals_count_every_attempt(self, store: Store, run: int):
        ids = store.add_sessions(
            run, [new_session(0, entry="b"), new_session(1, entry="a"), new_session(2, entry="c")]
        )
        place, usage = Place(0, 0), Usage(10, 20)
        await write(
            store,
            run,
            [
                *[AskRecord(one, an_ask(place, "x")) for one in ids[:2]],
                ReplyRecord(ids[0], place, 0, False, Reply(usage=usage), 0.25, 0.125),
                ReplyRecord(ids[0], place, 1, True, Reply(usage=usage), 0.25, 0.0),
            ],
        )
        totals = store.totals(run)
        assert list(totals) == ["b", "a", "c"]
        assert totals["b"] == {
            "asks": 1,
            "attempts": 2,
            "prompt_tokens": 20,
            "completion_tokens": 40,
            "list_price": 0.5,
            "paid_price": 0.125,
        }
        assert (totals["a"]["asks"], totals["a"]["attempts"]) == (0, 0), "it was never answered"
        assert totals["c"]["asks"] == 0
        store.set_session_status([ids[0]], "superseded")
        assert list(store.totals(run, statuses=("pending",))) == ["a", "c"]

    async def test_outcomes_end_sessions(self, store: Store, run: int, sessions: list[int]):
        outcome = '{"answer":"é"}'
        await write(
            store,
            run,
            [
                OutcomeRecord(sessions[0], "failed", None, "early"),
                OutcomeRecord(sessions[0], "finished", outcome),
                OutcomeRecord(sessions[1], "failed", None, "it broke"),
            ],
        )
        rows = store.sessions(run)
        assert [row.status for row in rows] == ["finished", "failed", "pending"]
        assert (rows[0].outcome_json, rows[0].message) == (outcome, "")
        assert (rows[1].outcome_json, rows[1].message) == (None, "it broke")

    async def test_many_outcomes_at_once(self, store: Store, run: int):
        ids = store.add_sessions(run, [new_session(i) for i in range(1_234)])
        await write(store, run, [OutcomeRecord(one, "finished", f"[{one}]") for one in ids])
        assert [row.outcome_json for row in store.sessions(run)] == [f"[{one}]" for one in ids]

    async def test_parts_are_stored_once(self, store: Store, url: str, run: int):
        ids = store.add_sessions(run, [new_session(i) for i in range(700)])
        for _ in range(2):
            await write(store, run, [r for one in ids for r in pair(one, Place(0, 0))])
        with raw(url) as connection:
            rows = connection.execute(text("SELECT kind, count(*) FROM part GROUP BY kind"))
            assert {kind: n for kind, n in rows} == {"document": 702, "text": 701}  # noqa: C416

    # tampering

    @pytest.mark.parametrize(
        "tampering",
        [
            "text = 'Answer: B'",
            "failure_boundary = 'refused', failure_cause = '', failure_message = ''",
            "distribution = '[0.5,0.5]'",
            "prompt_tokens = 5",
            "finish = 'length'",
            "repaired = (1 = 1)",
        ],
    )
    async def test_a_tampered_reply_is_seen(
        self, store: Store, url: str, run: int, sessions: list[int], tampering: str
    ):
        await write(store, run, *[pair(one, Place(0, 0)) for one in sessions])
        change(url, f"UPDATE reply SET {tampering} WHERE session = :session", session=sessions[1])
        tampered = [loaded.tampered for loaded in store.tapes(sessions, verify=True)]
        assert tampered == [(), (Place(0, 0),), ()]

    async def test_a_tampered_part_is_seen(
        self, store: Store, url: str, run: int, sessions: list[int]
    ):
        await write(store, run, *[pair(one, Place(0, 0)) for one in sessions])
        assert store.check_parts(run) == []
        body = f"question {sessions[2]} {Place(0, 0)}"
        change(url, "UPDATE part SET body = 'else' WHERE body = :body", body=body)
        assert store.check_parts(run) == [(sessions[2], 0, 0)]
        change(url, "DELETE FROM part WHERE kind = 'text'")
        assert store.check_parts(run) == [(one, 0, 0) for one in sessions]
        assert list(store.ask_rows(sessions))

    # versions

    def test_opening_again_changes_nothing(self, store: Store, url: str, run: int):
        with Store.open(url) as again, Store.open(url, create=False, durability="power") as third:
            assert [row.id for row in again.runs()] == [run]
            assert [row.id for row in third.runs()] == [run]
        with Store.read(url) as reader:
            assert [row.id for row in reader.runs()] == [run]

    def test_a_newer_store_is_refused(self, store: Store, url: str, run: int):
        change(url, "UPDATE alembic_version SET version_num = '9999'")
        for opening in (Store.open, Store.read):
            with pytest.raises(StoreMistake, match=r"newer moot.*9999.*upgrade moot"):
                opening(url)
        with raw(url) as connection:
            assert connection.execute(text("SELECT name FROM run")).scalars().all() == ["demo"]

    def test_a_store_without_version_is_refused_to_readers(self, url: str, store: Store):
        change(url, "DELETE FROM alembic_version")
        with pytest.raises(StoreMistake, match="no moot store"):
            Store.read(url)

    def test_another_database_is_refused(self, url: str, empty: None):
        change(url, "CREATE TABLE recipe (id integer)")
        with pytest.raises(StoreMistake, match=r"recipe.*no moot store"):
            Store.open(url)

    def test_a_reader_does_not_write(self, store: Store, url: str, run: int):
        with Store.read(url) as reader:
            with pytest.raises(StoreMistake, match="reading only"):
                reader.create_run(new_run("other"))
            with pytest.raises(StoreMistake, match="reading only"):
                reader.journal(run)
            with reader._engine.connect() as connection, pytest.raises(DBAPIError):
                connection.exec_driver_sql("DELETE FROM run")

    def test_the_migrations_make_the_tables(self, store: Store, url: str):
        from alembic.autogenerate import compare_metadata
        from alembic.migration import MigrationContext
        from alembic.script import ScriptDirectory

        from orchestrator.store.migrate import HEAD, MIGRATIONS
        from orchestrator.store.tables import METADATA

        assert ScriptDirectory(str(MIGRATIONS)).get_current_head() == HEAD
        with raw(url) as connection:
            differences = compare_metadata(MigrationContext.configure(connection), METADATA)
        assert differences == [], differences

    @pytest.mark.slow
    def test_several_processes_create_a_store_at_once(self, url: str, empty: None):
        script = "import sys; from orchestrator.store import Store; Store.open(sys.argv[1]).close()"
        command = [sys.executable, "-W", "error", "-c", script, url]
        processes = [subprocess.Popen(command, cwd=ROOT) for _ in range(3)]
        assert [process.wait() for process in processes] == [0, 0, 0]
        with Store.read(url) as store:
            assert store.runs() == []
