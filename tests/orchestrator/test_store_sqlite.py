"""The store on SQLite, and what only files can do wrong."""

from __future__ import annotations

import asyncio
import fcntl
import os
import sqlite3
import stat
from pathlib import Path

import pytest

from orchestrator.store import Store, StoreMistake
from orchestrator.store.address import parse_address
from orchestrator.store.locks import FileLock
from orchestrator.store.parts import KnownParts
from protocols.messages import Place
from tests.orchestrator.store_contract import StoreContract
from tests.orchestrator.store_drivers_contract import DriversContract
from tests.orchestrator.store_examples import new_run, new_session, pair, write
from tests.orchestrator.store_journal_contract import JournalContract
from tests.orchestrator.store_money_contract import MoneyContract
from tests.orchestrator.store_profile_contract import ProfileContract


@pytest.fixture
def url(tmp_path: Path) -> str:
    return str(tmp_path / "a store, 100% ünïcode?#.db")


class TestSqlite(StoreContract, JournalContract, DriversContract, MoneyContract, ProfileContract):
    @pytest.fixture
    def empty(self, url: str) -> None:
        sqlite3.connect(url).close()


def filled(url: str) -> int:
    """Make a store with one finished ask; return its session."""
    with Store.open(url) as store:
        run = store.create_run(new_run())
        (session,) = store.add_sessions(run, [new_session(0)])
        asyncio.run(write(store, run, pair(session, Place(0, 0))))
    return session


def test_a_new_file_is_its_owners_alone(url: str):
    umask = os.umask(0)
    try:
        with Store.open(url) as store:
            store.create_run(new_run())
            files = [Path(url), Path(url + "-wal"), Path(url + "-shm")]
            assert [stat.S_IMODE(file.stat().st_mode) for file in files] == [0o600] * 3
    finally:
        os.umask(umask)


@pytest.mark.parametrize(("durability", "level"), [("process", 1), ("power", 2)])
def test_durability_sets_how_far_commits_go(url: str, durability, level: int):
    with Store.open(url, durability=durability) as store, store.journal(1) as journal:
        pragma = journal._connection.exec_driver_sql("PRAGMA synchronous")
        assert pragma.scalar_one() == level


def test_a_closed_store_is_one_file(url: str):
    filled(url)
    assert [path.name for path in Path(url).parent.iterdir()] == [Path(url).name]


def test_a_read_only_file_is_read_and_not_written(url: str):
    session = filled(url)
    before = Path(url).read_bytes()
    Path(url).chmod(0o444)
    with pytest.raises(StoreMistake, match="read-only"):
        Store.open(url)
    with Store.read(url) as store:
        (loaded,) = store.tapes([session], verify=True)
        assert list(loaded.tape) == [Place(0, 0)]
        assert store.find_run("demo") is not None
    assert Path(url).read_bytes() == before
    assert [path.name for path in Path(url).parent.iterdir()] == [Path(url).name]


def test_a_read_only_file_with_a_log_is_read(url: str):
    session = filled(url)
    with Store.open(url) as writer:
        writer.create_run(new_run("second"))
        Path(url).chmod(0o444)
        with Store.read(url) as store:
            assert [run.name for run in store.runs()] == ["demo", "second"]
            assert len(list(store.tapes([session]))) == 1


@pytest.mark.parametrize("opening", [lambda url: Store.open(url, create=False), Store.read])
def test_a_missing_file_is_not_made(url: str, opening):
    with pytest.raises(StoreMistake, match="there is no store"):
        opening(url)
    assert not Path(url).exists()


def test_a_file_of_something_else_is_left_alone(url: str):
    Path(url).write_text("dear diary, " * 50)
    for opening in (Store.open, Store.read):
        with pytest.raises(StoreMistake, match="not a moot store"):
            opening(url)
    assert Path(url).read_text().startswith("dear diary")


def test_a_damaged_file_gives_one_line(url: str):
    filled(url)
    with Path(url).open("r+b") as file:
        file.seek(16)
        file.write(b"\xff" * 4_000)
    for opening in (Store.open, Store.read):
        with pytest.raises(StoreMistake) as caught:
            opening(url)
        assert "\n" not in str(caught.value)


def test_a_folder_and_a_missing_folder(tmp_path: Path):
    with pytest.raises(StoreMistake, match="not a file"):
        Store.open(str(tmp_path))
    with pytest.raises(StoreMistake, match="cannot be created"):
        Store.open(str(tmp_path / "none" / "a.db"))


def test_an_empty_file_is_a_new_store(url: str):
    Path(url).touch()
    with pytest.raises(StoreMistake, match="no moot store"):
        Store.read(url)
    with Store.open(url) as store:
        assert store.runs() == []


async def test_a_full_disk_stops_the_journal(url: str):
    with Store.open(url) as store:
        run = store.create_run(new_run())
        (session,) = store.add_sessions(run, [new_session(0)])
        reported: list[int] = []
        with store.journal(run) as journal:
            journal._connection.exec_driver_sql("PRAGMA max_page_count = 60")
            journal.start(reported.extend)
            journal.append(pair(session, Place(0, 0), "x" * 1_000_000), 0)
            with pytest.raises(StoreMistake, match=r"full.*repeat the command"):
                await journal.close()
        assert reported == []
        assert list(store.ask_rows([session])) == []
        assert await write(store, run, pair(session, Place(0, 0))) == [0]


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("demo.db", "demo.db"),
        ("sqlite:///demo.db", "demo.db"),
        ("sqlite:////srv/demo.db", "/srv/demo.db"),
        ("~/demo.db", str(Path.home() / "demo.db")),
    ],
)
def test_addresses_of_files(text: str, path: str):
    assert parse_address(text).path == Path(path)


@pytest.mark.parametrize(
    "text", ["", "sqlite:///", ":memory:", "sqlite://", "mysql://u:hush@h/d", "postgresql://h:x/d"]
)
def test_addresses_that_are_none(text: str):
    with pytest.raises(StoreMistake) as caught:
        parse_address(text)
    assert "hush" not in str(caught.value)


def test_an_address_hides_its_password():
    assert parse_address("postgresql://me:hush@h/d").shown == "postgresql://me:***@h/d"


def test_a_lock_survives_its_file_being_removed_meanwhile(tmp_path: Path):
    path = tmp_path / "lock"
    first, second = FileLock(path), FileLock(path)
    assert first.acquire()
    assert not second.acquire()
    first.release()
    first.release()
    assert not path.exists()
    assert second.acquire()
    with path.open() as file, pytest.raises(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    second.release()


def test_known_parts_forget_what_was_not_used_longest():
    known = KnownParts(limit=4)
    for number in range(20):
        known.put(bytes([number]), number)
        assert known.get(b"\x00") == 0
    assert known.get(b"\x13") == 19
    assert known.get(b"\x05") is None
