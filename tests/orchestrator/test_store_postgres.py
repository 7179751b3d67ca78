"""The store on PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import text

from orchestrator.store import Store, StoreFailed, StoreMistake
from protocols.messages import Place
from tests import postgres
from tests.orchestrator.store_contract import StoreContract
from tests.orchestrator.store_drivers_contract import DriversContract
from tests.orchestrator.store_examples import new_run, new_session, pair, raw, write
from tests.orchestrator.store_journal_contract import JournalContract
from tests.orchestrator.store_money_contract import MoneyContract
from tests.orchestrator.store_profile_contract import ProfileContract

pytestmark = [pytest.mark.postgres, pytest.mark.slow]


@pytest.fixture
def url() -> Iterator[str]:
    with postgres.database() as url:
        yield url


class TestPostgres(StoreContract, JournalContract, DriversContract, MoneyContract, ProfileContract):
    @pytest.fixture
    def empty(self) -> None:
        """A database is empty when it is created."""

    def test_sessions_get_another_entry(self, store: Store, run: int, sessions: list[int]):
        """On SQLite the tests of edited runs show it."""
        store.rename_entries({sessions[0]: "first", sessions[2]: "last"})
        assert [row.entry for row in store.sessions(run)] == ["first", "direct", "last"]

    async def test_a_lost_connection_stops_the_journal(self, url: str):
        with Store.open(url) as store:
            run = store.create_run(new_run())
            (session,) = store.add_sessions(run, [new_session(0)])
            reported: list[int] = []
            with store.journal(run) as journal:
                journal.start(reported.extend)
                with raw(url) as admin:
                    admin.execute(
                        text(
                            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
                        )
                    )
                journal.append(pair(session, Place(0, 0)), 0)
                with pytest.raises(StoreFailed, match="could not be written"):
                    await journal.close()
            assert reported == []
        with Store.open(url) as store:
            assert await write(store, run, pair(session, Place(0, 0))) == [0]

    def test_the_scheme_may_be_short(self, url: str):
        with Store.open(url.replace("postgresql://", "postgres://")) as store:
            assert store.runs() == []

    def test_a_server_that_is_not_there(self):
        with pytest.raises(StoreMistake, match=r"cannot be reached") as caught:
            Store.open("postgresql://moot:hush@127.0.0.1:1/moot")
        assert "hush" not in str(caught.value)
        assert "\n" not in str(caught.value)

    def test_a_database_that_is_not_there(self, url: str):
        missing = url.replace("@/moot_", "@/other_")
        for opening in (Store.open, Store.read):
            with pytest.raises(StoreMistake, match="does not exist"):
                opening(missing)

    def test_the_digest_function_of_the_server_agrees(self, url: str):
        """Hashes can be checked in plain SQL."""
        with Store.open(url) as store:
            store.create_run(new_run(answer_key_json='{"é":1}'))
        with raw(url) as connection:
            checked = connection.execute(
                text("SELECT hash = sha256(convert_to(kind || E'\\n' || body, 'UTF8')) FROM part")
            )
            assert checked.scalars().all() == [True]
