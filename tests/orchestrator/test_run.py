"""Runs on a real store: prepared, executed, stopped, resumed, edited."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from agents.engine import Attempted
from orchestrator.driver import Driver
from orchestrator.fleets.local_fleet import LocalFleet
from orchestrator.run import execute, prepare, stored_roster
from orchestrator.spec import Entry
from orchestrator.store import Store, StoreMistake
from protocols.asks import Ask
from protocols.debate import Debate
from protocols.errors import Mistake
from protocols.outcome import Outcome
from protocols.replies import failed
from tests.orchestrator.run_examples import (
    DEBATE,
    DIRECT,
    EXPERTS,
    GOLD,
    Troubled,
    Watched,
    a_cast,
    a_spec,
    outcomes,
    run,
    statuses,
)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(str(tmp_path / "runs.db")) as store:
        yield store


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Store]:
    """A store for an undisturbed run beside the one that is tested."""
    with Store.open(str(tmp_path / "other.db")) as store:
        yield store


async def test_a_run_goes_from_its_specification_to_outcomes(store: Store) -> None:
    done = await run(store, a_spec(DEBATE, DIRECT))
    assert not done.prepared.resumed
    assert done.prepared.difference.describe() == "0 kept, 12 new"
    assert (done.prepared.sessions, done.prepared.done) == (12, 0)
    assert done.ended.ending == "finished"
    progress = done.ended.progress
    assert (progress.sessions, progress.sessions_done, progress.asks_done) == (12, 12, 42)
    assert done.calls.total() == 42
    assert statuses(store, done.run_id) == {"finished": 12}
    for outcome in outcomes(store, done.run_id).values():
        assert outcome is not None
        assert Outcome.from_json(outcome).status in ("answered", "tied")
    (row,) = store.runs()
    assert (row.name, row.status) == ("run", "finished")
    assert row.finished_at is not None
    assert stored_roster(row) == EXPERTS


async def test_the_same_command_again_asks_nothing(store: Store) -> None:
    first = await run(store, a_spec(DEBATE, DIRECT))
    before = outcomes(store, first.run_id)
    again = await run(store, a_spec(DEBATE, DIRECT))
    assert again.run_id == first.run_id
    assert again.prepared.resumed
    assert (again.prepared.sessions, again.prepared.done) == (12, 12)
    assert again.prepared.difference.describe() == "12 kept, 0 new"
    assert again.calls == {}
    assert outcomes(store, first.run_id) == before
    assert again.ended.progress.sessions_done == 12


@pytest.mark.parametrize("calls", [0, 1, 2, 7, 20, 35])
async def test_a_run_that_was_stopped_goes_on_where_it_was(
    store: Store, other: Store, calls: int
) -> None:
    spec = a_spec(numbers=range(6))
    whole = await run(other, spec)
    stopped = await run(store, spec, calls=calls)
    assert stopped.ended.ending == "budget"
    assert stopped.calls.total() == calls
    assert store.runs()[0].status == "stopped"
    rest = await run(store, spec)
    assert rest.ended.ending == "finished"
    assert stopped.calls + rest.calls == whole.calls
    assert outcomes(store, rest.run_id) == outcomes(other, whole.run_id)
    assert store.runs()[0].status == "finished"


async def test_a_budget_counts_the_attempts_of_earlier_commands(store: Store) -> None:
    spec = a_spec()
    for calls, made in ((10, 10), (10, 0), (25, 15)):
        done = await run(store, spec, calls=calls)
        assert (done.ended.ending, done.calls.total()) == ("budget", made)


async def test_a_driver_that_is_told_to_stop_stops_and_the_run_goes_on(store: Store) -> None:
    watched = Watched()
    drivers: list[Driver] = []

    def stop(ask: Ask) -> None:
        if watched.total == 9:
            drivers[0].stop()

    watched.on_call = stop
    stopped = await run(store, a_spec(), watched, on_driver=drivers.append)
    assert stopped.ended.ending == "stopped"
    assert 9 <= stopped.calls.total() < 36
    rest = await run(store, a_spec())
    assert stopped.calls.total() + rest.calls.total() == 36
    assert set((stopped.calls + rest.calls).values()) == {1}


async def test_an_edited_run_keeps_what_did_not_change(store: Store) -> None:
    first = await run(store, a_spec(DEBATE, DIRECT))
    before = outcomes(store, first.run_id)
    longer = Entry("debate", Debate(rounds=1, orders=2), a_cast())
    edited = await run(store, a_spec(longer, DIRECT))
    assert edited.prepared.difference.describe() == "6 kept, 6 new, 6 superseded"
    assert edited.calls.total() == 6 * 4
    after = outcomes(store, first.run_id)
    assert {k: v for k, v in after.items() if k[0] == "direct"} == {
        k: v for k, v in before.items() if k[0] == "direct"
    }
    assert statuses(store, first.run_id) == {"finished": 12, "superseded": 6}


async def test_what_was_superseded_comes_back_for_nothing(store: Store) -> None:
    first = await run(store, a_spec(DEBATE, DIRECT))
    before = outcomes(store, first.run_id)
    fewer = await run(store, a_spec(DEBATE, numbers=range(3)))
    assert fewer.prepared.difference.describe() == "3 kept, 0 new, 9 superseded"
    assert (fewer.prepared.sessions, fewer.prepared.done) == (3, 3)
    assert len(outcomes(store, first.run_id)) == 3
    again = await run(store, a_spec(DEBATE, DIRECT))
    assert again.prepared.difference.describe() == "12 kept, 0 new"
    assert again.calls == {}
    assert outcomes(store, first.run_id) == before


async def test_what_was_superseded_unfinished_comes_back_unfinished(store: Store) -> None:
    await run(store, a_spec(), calls=13)
    await run(store, a_spec(numbers=[77]), calls=13)
    rest = await run(store, a_spec())
    assert rest.calls.total() == 36 - 13
    assert statuses(store, rest.run_id) == {"finished": 6, "superseded": 1}


async def test_sessions_of_another_protocol_version_are_stale(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await run(store, a_spec(DEBATE, DIRECT))
    before = outcomes(store, first.run_id)
    with monkeypatch.context() as newer:
        newer.setattr(Debate, "version", Debate.version + 1)
        done = await run(store, a_spec(DEBATE, DIRECT))
        assert done.prepared.difference.describe() == (
            "6 kept, 6 new, 6 stale (recorded by another protocol version)"
        )
        assert done.calls.total() == 36
        assert statuses(store, done.run_id) == {"finished": 12, "stale": 6}
    back = await run(store, a_spec(DEBATE, DIRECT))
    assert back.calls == {}
    assert outcomes(store, first.run_id) == before


async def test_one_name_with_other_questions_is_an_edit_and_new_is_another_run(
    store: Store,
) -> None:
    first = await run(store, a_spec(numbers=range(3)))
    edited = await run(store, a_spec(numbers=range(10, 14)))
    assert edited.run_id == first.run_id
    assert edited.prepared.difference.describe() == "0 kept, 4 new, 3 superseded"
    (row,) = store.runs()
    assert json.loads(row.answer_key_json or "").keys() == {"q10", "q11", "q12", "q13"}
    another = await run(store, a_spec(numbers=range(3)), new=True)
    third = await run(store, a_spec(numbers=range(3)), new=True)
    assert [one.name for one in store.runs()] == ["run", "run-2", "run-3"]
    assert another.calls.total() == third.calls.total() == 18
    assert len({first.run_id, another.run_id, third.run_id}) == 3


async def test_two_names_with_two_question_files_are_two_runs(store: Store) -> None:
    one = await run(store, a_spec(name="one", numbers=range(3)))
    two = await run(store, a_spec(name="two", numbers=range(2, 6)))
    assert one.run_id != two.run_id
    assert len(outcomes(store, one.run_id)) == 3
    assert len(outcomes(store, two.run_id)) == 4


async def test_an_entry_under_a_new_name_is_the_same_sessions(store: Store) -> None:
    first = await run(store, a_spec(numbers=range(3)))
    renamed = Entry("oversight", DEBATE.protocol, DEBATE.cast)
    again = await run(store, a_spec(renamed, numbers=range(4)))
    assert again.prepared.difference.describe() == "3 kept, 1 new"
    assert again.calls.total() == 6
    assert {entry for entry, _, _ in outcomes(store, first.run_id)} == {"oversight"}


@pytest.mark.parametrize(
    ("trouble", "message"),
    [
        ("raises", "RuntimeError: broken \ufffd \ufffd x"),
        ("raises at once", "RuntimeError: broken"),
        ("no outcome", "the protocol returned NoneType, not an Outcome"),
        ("no json", "PydanticSerializationError: "),
    ],
)
async def test_a_protocol_in_trouble_fails_alone(store: Store, trouble: str, message: str) -> None:
    protocol = Troubled.model_validate({"trouble": trouble, "only": "q2"})
    entry = Entry("odd", protocol, a_cast())
    done = await run(store, a_spec(entry, DIRECT))
    assert done.ended.ending == "finished"
    assert statuses(store, done.run_id) == {"finished": 11, "failed": 1}
    (failure,) = store.sessions(done.run_id, statuses=("failed",))
    assert (failure.question_id, failure.outcome_json) == ("q2", None)
    assert failure.message.startswith(message)
    assert len(failure.message) < 1_000
    assert "\n" not in failure.message
    again = await run(store, a_spec(entry, DIRECT))
    assert again.prepared.done == 12
    assert again.calls == {}
    assert statuses(store, done.run_id) == {"finished": 11, "failed": 1}


async def test_an_expert_that_fails_is_an_outcome(store: Store) -> None:
    def wrong(ask: Ask) -> Attempted | None:
        return failed("provider", "down") if ask.question == "q1" else None

    done = await run(store, a_spec(DIRECT), Watched(wrong=wrong))
    assert statuses(store, done.run_id) == {"finished": 6}
    outcome = outcomes(store, done.run_id)["direct", "q1", 0]
    assert outcome is not None
    assert Outcome.from_json(outcome).missing
    assert done.ended.progress.replies_failed == 1
    again = await run(store, a_spec(DIRECT))
    assert again.calls == {}, "what is missing is repeated only on request"


async def test_a_fleet_that_cannot_start_leaves_the_run_free_to_go_on(store: Store) -> None:
    def broken(expert: object) -> None:
        raise Mistake("no such engine")

    spec = a_spec()
    prepared = prepare(store, spec)
    with pytest.raises(Mistake, match="no such engine"):
        await execute(store, prepared, spec, LocalFleet(factory=broken))  # type: ignore[arg-type]
    assert store.runs()[0].status == "stopped"
    assert (await run(store, spec)).ended.ending == "finished"


async def test_a_hook_that_raises_leaves_the_run_free_to_go_on(store: Store) -> None:
    def interrupted(driver: Driver) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await run(store, a_spec(), on_driver=interrupted)
    assert (await run(store, a_spec())).ended.ending == "finished"


async def test_a_run_that_another_process_works_on_is_refused(store: Store) -> None:
    prepared = prepare(store, a_spec())
    with (
        store.journal(prepared.run_id),
        pytest.raises(StoreMistake, match="worked on by another process"),
    ):
        await run(store, a_spec())


async def test_gold_answers_lie_beside_the_run_and_in_no_session(store: Store) -> None:
    done = await run(store, a_spec(DEBATE, DIRECT))
    rows = store.sessions(done.run_id)
    asks = list(store.ask_rows([row.id for row in rows]))
    parts = {part for row in rows for part in (row.question_part, row.cast_part)}
    seen = json.dumps(asks) + json.dumps([*store.documents(parts).values()])
    assert "What about 3?" in seen
    assert GOLD not in seen
    assert GOLD in (store.runs()[0].answer_key_json or "")


async def test_repeats_are_sessions_of_their_own(store: Store) -> None:
    from dataclasses import replace

    spec = replace(a_spec(DIRECT, numbers=range(2)), repeats=3)
    done = await run(store, spec)
    assert Counter(repeat for _, _, repeat in outcomes(store, done.run_id)) == {0: 2, 1: 2, 2: 2}
    assert done.calls.total() == 6


async def test_a_question_that_stands_twice_is_refused(store: Store) -> None:
    with pytest.raises(Mistake, match="two questions have the id 'q1'"):
        prepare(store, a_spec(numbers=[1, 2, 1]))
    assert store.runs() == []


async def test_a_run_without_questions_is_over_at_once(store: Store) -> None:
    done = await run(store, a_spec(numbers=[]))
    assert (done.ended.ending, done.prepared.sessions) == ("finished", 0)


async def test_a_run_that_died_before_its_sessions_were_stored_is_repaired(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as dying:
        dying.setattr(Store, "add_sessions", dies)
        with pytest.raises(KeyboardInterrupt):
            prepare(store, a_spec())
    assert [run.name for run in store.runs()] == ["run"]
    done = await run(store, a_spec())
    assert (done.prepared.resumed, len(outcomes(store, done.run_id))) == (True, 6)


async def test_an_open_run_reads_its_sessions_chunk_by_chunk(
    store: Store, other: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = await run(other, a_spec(DEBATE, DIRECT))
    monkeypatch.setattr("orchestrator.jobs.CHUNK", 5)
    await run(store, a_spec(DEBATE, DIRECT), calls=17)
    rest = await run(store, a_spec(DEBATE, DIRECT))
    assert rest.calls.total() == 42 - 17
    assert outcomes(store, rest.run_id) == outcomes(other, whole.run_id)
