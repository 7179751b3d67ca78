"""Forks on a real store: only what comes after the branch is asked, and all else is kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from agents.engine import Attempted
from orchestrator.fork import Changes, fork_run, retry_failed
from orchestrator.replay import replay
from orchestrator.run import prepare
from orchestrator.sharing import first_turn_of
from orchestrator.spec import Entry, RunSpec
from orchestrator.store import Store
from protocols.asks import Ask
from protocols.errors import Mistake
from protocols.outcome import Outcome
from protocols.replies import failed
from tests.orchestrator.run_examples import (
    DEBATE,
    DIRECT,
    EXPERTS,
    Done,
    Troubled,
    Watched,
    a_cast,
    a_spec,
    drive,
    member,
    outcomes,
    run,
    session_of,
    statuses,
)

NO_SPEC = RunSpec("fork", (), (), tuple(EXPERTS.values()))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(str(tmp_path / "runs.db")) as store:
        yield store


async def fork(
    store: Store,
    parent: Done,
    *,
    cast: Mapping[str, str] | None = None,
    parameters: Mapping[str, Any] | None = None,
    turn: int | None = None,
    name: str = "fork",
    calls: int | None = None,
) -> Done:
    """Do what ``moot fork`` does."""
    cast, parameters = dict(cast or {}), dict(parameters or {})
    run_row = store.find_run(str(parent.run_id))
    assert run_row is not None
    changes = Changes({role: (member(label),) for role, label in cast.items()}, parameters)
    config = {"cast": cast, "parameters": parameters, "turn": turn}
    prepared = fork_run(store, run_row, name, changes, turn=turn, config=config)
    return await drive(store, prepared, NO_SPEC, calls=calls)


def replies_by_turn(store: Store, session: int) -> dict[int, list[str]]:
    found: dict[int, list[str]] = {}
    for row in store.reply_rows([session]):
        if row["accepted"]:
            found.setdefault(row["turn"], []).append(row["text"])
    return found


def asks_by_turn(store: Store, session: int) -> dict[int, list[tuple[str, str | None]]]:
    """Return (key, inherited) of the asks of each turn."""
    found: dict[int, list[tuple[str, str | None]]] = {}
    for row in store.ask_rows([session]):
        found.setdefault(row["turn"], []).append((row["key"], row["inherited"]))
    return found


async def test_rejudging_pays_only_the_judge(store: Store) -> None:
    parent = await run(store, a_spec())
    before = outcomes(store, parent.run_id)
    branch = await fork(store, parent, cast={"judge": "other_judge"})
    assert branch.ended.ending == "finished"
    assert branch.calls.total() == 6 * 2
    assert not set(branch.calls) & set(parent.calls)
    assert (branch.prepared.sessions, len(branch.prepared.difference.added)) == (6, 6)
    assert outcomes(store, parent.run_id) == before
    assert statuses(store, branch.run_id) == {"finished": 6}
    for question in ("q0", "q5"):
        old = session_of(store, parent.run_id, question)
        new = session_of(store, branch.run_id, question)
        assert (new.parent, new.fork_turn) == (old.id, 2)
        said = replies_by_turn(store, new.id)
        assert {t: said[t] for t in (0, 1)} == {
            t: replies_by_turn(store, old.id)[t] for t in (0, 1)
        }
        assert said[2] == ["ok", "ok"]
    (_, row) = store.runs()
    assert (row.parent, row.name, row.status) == (parent.run_id, "fork", "finished")
    assert row.answer_key_json == store.runs()[0].answer_key_json


async def test_inherited_keys_are_kept_beside_the_branch_s_own(store: Store) -> None:
    parent = await run(store, a_spec(numbers=[0]))
    branch = await fork(store, parent, cast={"debater": "other_speaker"}, turn=1)
    assert branch.calls.total() == 4
    old = asks_by_turn(store, session_of(store, parent.run_id, "q0").id)
    new = asks_by_turn(store, session_of(store, branch.run_id, "q0").id)
    assert [inherited for _, inherited in new[0]] == [key for key, _ in old[0]]
    assert [key for key, _ in new[0]] != [key for key, _ in old[0]]
    assert {inherited for turn in (1, 2) for _, inherited in new[turn]} == {None}
    same = await fork(store, parent, cast={"judge": "other_judge"}, name="same")
    rejudged = asks_by_turn(store, session_of(store, same.run_id, "q0").id)
    assert rejudged[0] == old[0], "equal keys are not kept twice"


@pytest.mark.parametrize(("turn", "paid"), [(0, 6), (1, 4), (2, 2), (3, 0), (9, 0)])
async def test_a_fork_by_turn_inherits_that_many_turns(store: Store, turn: int, paid: int) -> None:
    parent = await run(store, a_spec(numbers=[3]))
    branch = await fork(store, parent, turn=turn)
    assert branch.calls.total() == paid
    assert outcomes(store, branch.run_id) == outcomes(store, parent.run_id)
    first = session_of(store, branch.run_id, "q3").id
    assert len(list(store.ask_rows([first]))) == 6


async def test_changed_parameters_ask_from_the_start_or_from_a_turn(store: Store) -> None:
    parent = await run(store, a_spec(numbers=[1]))
    afresh = await fork(store, parent, parameters={"rounds": 1}, name="afresh")
    assert afresh.calls.total() == 4
    later = await fork(store, parent, parameters={"orders": 1}, turn=2, name="later")
    assert later.calls.total() == 1
    for odd, why in (({"colour": 1}, "with the parameters colour"), ({"rounds": 0}, "'rounds'")):
        with pytest.raises(Mistake, match=why):
            await fork(store, parent, parameters=odd, name="odd")
    assert [row.name for row in store.runs()] == ["run", "afresh", "later"]


async def test_a_branch_that_cannot_be_made_fails_alone(store: Store) -> None:
    parent = await run(store, a_spec(DEBATE, DIRECT, numbers=range(3)))
    branch = await fork(store, parent, parameters={"orders": 2}, turn=1)
    assert branch.ended.ending == "finished"
    assert statuses(store, branch.run_id) == {"finished": 3, "failed": 3}
    for row in store.sessions(branch.run_id, statuses=["failed"]):
        assert row.entry == "direct"
        assert row.message == "ForkImpossible: the parent has no reply at turn 0, slot 1"
    assert branch.calls.total() == 3 * 4
    again = await fork(store, parent, parameters={"orders": 2}, turn=1)
    assert (again.calls, again.prepared.done) == ({}, 6)
    report = replay(store, branch.run_id)
    assert (report.identical, report.incomplete, report.diverged) == (6, 3, 0)


async def test_a_parent_that_asked_more_slots_cannot_be_inherited(store: Store) -> None:
    parent = await run(store, a_spec(numbers=[1]))
    branch = await fork(store, parent, parameters={"orders": 1}, turn=3)
    (row,) = store.sessions(branch.run_id)
    assert row.message == "ForkImpossible: in turn 2 the parent asked more than 1"


@pytest.mark.parametrize("calls", [0, 1, 5, 8])
async def test_a_fork_with_the_same_name_goes_on(store: Store, calls: int) -> None:
    parent = await run(store, a_spec())
    whole = await fork(store, parent, cast={"judge": "other_judge"}, name="whole")
    stopped = await fork(store, parent, cast={"judge": "other_judge"}, calls=calls)
    assert (stopped.ended.ending, stopped.calls.total()) == ("budget", calls)
    rest = await fork(store, parent, cast={"judge": "other_judge"})
    assert rest.run_id == stopped.run_id
    assert rest.prepared.resumed
    assert stopped.calls + rest.calls == whole.calls
    assert outcomes(store, rest.run_id) == outcomes(store, whole.run_id)
    assert replay(store, rest.run_id).identical == 6


async def test_a_name_is_not_given_to_another_fork(store: Store) -> None:
    parent = await run(store, a_spec())
    await fork(store, parent, cast={"judge": "other_judge"})
    with pytest.raises(Mistake, match="another run called 'fork'"):
        await fork(store, parent, cast={"judge": "speaker"})
    with pytest.raises(Mistake, match="another run called 'run'"):
        await fork(store, parent, cast={"judge": "other_judge"}, name="run")


async def test_a_fork_that_died_before_its_sessions_were_stored_is_made_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(*_: object) -> None:
        raise KeyboardInterrupt

    parent = await run(store, a_spec())
    with monkeypatch.context() as dying:
        dying.setattr(Store, "add_sessions", dies)
        with pytest.raises(KeyboardInterrupt):
            await fork(store, parent, cast={"judge": "other_judge"})
    assert [row.name for row in store.runs()] == ["run", "fork"]
    branch = await fork(store, parent, cast={"judge": "other_judge"})
    assert statuses(store, branch.run_id) == {"finished": 6}


async def test_only_finished_sessions_that_ask_the_role_are_forked(store: Store) -> None:
    parent = await run(store, a_spec(DEBATE, DIRECT), calls=39)
    finished = store.sessions(parent.run_id, statuses=["finished"])
    assert 0 < len(finished) < 12
    branch = await fork(store, parent, cast={"debater": "other_speaker"})
    assert {row.parent for row in store.sessions(branch.run_id)} == {
        row.id for row in finished if row.entry == "debate"
    }
    with pytest.raises(Mistake, match=r"no finished session that asks a role 'chair' to branch"):
        await fork(store, parent, cast={"chair": "judge"}, name="chaired")
    nothing = await run(store, a_spec(name="nothing"), calls=0)
    with pytest.raises(Mistake, match=r"no finished session to branch off"):
        await fork(store, nothing, turn=0, name="none")


async def test_sessions_without_a_changed_parameter_are_not_forked(store: Store) -> None:
    parent = await run(store, a_spec(DEBATE, DIRECT, numbers=range(3)))
    branch = await fork(store, parent, parameters={"rounds": 3}, turn=1)
    assert {row.entry for row in store.sessions(branch.run_id)} == {"debate"}
    assert branch.calls.total() == 3 * 6


async def test_the_first_turn_of_a_role(store: Store) -> None:
    parent = await run(store, a_spec(DEBATE, DIRECT, numbers=[1]))
    debate = session_of(store, parent.run_id, "q1").id
    direct = session_of(store, parent.run_id, "q1", "direct").id
    assert first_turn_of(store, [debate, direct], "judge") == {debate: 2, direct: 0}
    assert first_turn_of(store, [debate, direct], "debater") == {debate: 0}
    assert first_turn_of(store, [debate, direct], "chair") == {}


async def test_a_fork_of_a_fork(store: Store) -> None:
    parent = await run(store, a_spec())
    first = await fork(store, parent, cast={"debater": "other_speaker"}, turn=1)
    second = await fork(store, first, cast={"judge": "other_judge"}, name="second")
    assert second.calls.total() == 12
    assert replay(store, second.run_id).identical == 6


async def test_users_own_protocols_can_be_forked(store: Store) -> None:
    parent = await run(store, a_spec(Entry("own", Troubled(), a_cast()), numbers=range(3)))
    branch = await fork(store, parent, cast={"judge": "other_judge"})
    assert branch.calls.total() == 3


# repeating what failed


def failing(*, question: str, role: str, slot: int) -> Callable[[Ask], Attempted | None]:
    """Let the asks of a role about a question fail, at one slot of each turn."""

    def wrong(ask: Ask) -> Attempted | None:
        assert ask.place is not None
        hit = ask.question == question and ask.seat.role == role and ask.place.slot == slot
        return failed("timeout", "too slow") if hit else None

    return wrong


async def retry(store: Store, spec: RunSpec, watched: Watched | None = None) -> tuple[int, Done]:
    """Do what ``moot run --retry-failed`` does."""
    prepared = prepare(store, spec)
    repeated = retry_failed(store, prepared.run_id)
    return repeated, await drive(store, prepared, spec, watched)


async def test_what_failed_is_repeated_and_what_did_not_is_kept(store: Store) -> None:
    spec = a_spec(DEBATE, DIRECT)
    judge_fails = Watched(wrong=failing(question="q2", role="judge", slot=1))
    first = await run(store, spec, judge_fails)
    before = outcomes(store, first.run_id)
    lost = Outcome.from_json(before["debate", "q2", 0] or "")
    assert lost.missing
    repeated, again = await retry(store, spec)
    assert repeated == 1
    assert again.calls.total() == 1, "only the order that failed is asked again"
    after = outcomes(store, first.run_id)
    assert not Outcome.from_json(after["debate", "q2", 0] or "").missing
    del before["debate", "q2", 0], after["debate", "q2", 0]
    assert after == before
    assert statuses(store, first.run_id) == {"finished": 12, "superseded": 1}
    assert replay(store, first.run_id).identical == 13


async def test_a_failure_in_an_early_turn_is_repeated_with_all_that_follows(store: Store) -> None:
    spec = a_spec(numbers=range(3))
    speaker_fails = Watched(wrong=failing(question="q1", role="debater", slot=0))
    first = await run(store, spec, speaker_fails)
    assert first.calls.total() == 2 * 6 + 2
    repeated, again = await retry(store, spec)
    assert repeated == 1
    assert again.calls.total() == 1 + 2 + 2


async def test_the_command_after_it_keeps_the_repetition(store: Store) -> None:
    spec = a_spec(numbers=range(3))
    await run(store, spec, Watched(wrong=failing(question="q1", role="judge", slot=0)))
    _, again = await retry(store, spec)
    before = outcomes(store, again.run_id)
    same = await run(store, spec)
    assert same.prepared.difference.describe() == "3 kept, 0 new"
    assert (same.prepared.done, same.calls) == (3, {})
    assert outcomes(store, again.run_id) == before
    assert (await retry(store, spec))[0] == 0


async def test_a_repetition_that_fails_again_is_repeated_again(store: Store) -> None:
    spec = a_spec(numbers=range(3))
    fails = failing(question="q1", role="judge", slot=0)
    await run(store, spec, Watched(wrong=fails))
    for _ in range(2):
        repeated, again = await retry(store, spec, Watched(wrong=fails))
        assert (repeated, again.calls.total()) == (1, 1)
    repeated, last = await retry(store, spec)
    assert (repeated, last.calls.total()) == (1, 1)
    assert not Outcome.from_json(outcomes(store, last.run_id)["debate", "q1", 0] or "").missing
    assert statuses(store, last.run_id) == {"finished": 3, "superseded": 3}
    assert (await run(store, spec)).prepared.difference.describe() == "3 kept, 0 new"


async def test_a_repetition_that_was_stopped_goes_on(store: Store) -> None:
    spec = a_spec(numbers=range(3))
    first = await run(store, spec, Watched(wrong=failing(question="q1", role="debater", slot=1)))
    prepared = prepare(store, spec)
    assert retry_failed(store, prepared.run_id) == 1
    made = sum(total["attempts"] for total in store.totals(prepared.run_id).values())
    stopped = await drive(store, prepared, spec, calls=made + 1)
    assert (stopped.ended.ending, stopped.calls.total()) == ("budget", 1)
    rest = await run(store, spec)
    assert rest.prepared.difference.describe() == "3 kept, 0 new"
    assert rest.calls.total() == 4
    assert statuses(store, first.run_id) == {"finished": 3, "superseded": 1}


async def test_a_repetition_that_died_half_way_leaves_one_session_standing(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = a_spec(numbers=range(3))
    first = await run(store, spec, Watched(wrong=failing(question="q1", role="judge", slot=0)))

    def dies(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as dying:
        dying.setattr(Store, "set_session_status", dies)
        with pytest.raises(KeyboardInterrupt):
            retry_failed(store, first.run_id)
    done = await run(store, spec)
    assert len(outcomes(store, done.run_id)) == 3
    assert statuses(store, done.run_id) == {"finished": 3, "superseded": 1}


async def test_a_repetition_is_given_up_and_comes_back_with_its_question(store: Store) -> None:
    spec = a_spec(numbers=range(3))
    await run(store, spec, Watched(wrong=failing(question="q1", role="judge", slot=0)))
    _, again = await retry(store, spec)
    before = outcomes(store, again.run_id)
    fewer = await run(store, a_spec(numbers=[0]))
    assert fewer.prepared.difference.describe() == "1 kept, 0 new, 2 superseded"
    back = await run(store, spec)
    assert (back.prepared.difference.describe(), back.calls) == ("3 kept, 0 new", {})
    assert outcomes(store, again.run_id) == before


async def test_what_was_not_recorded_or_refused_is_not_repeated(store: Store) -> None:
    def wrong(ask: Ask) -> Attempted | None:
        if ask.question == "q0":
            return failed("provider", "no such answer", cause="not_recorded")
        return failed("refused", "no") if ask.question == "q1" else None

    spec = a_spec(DIRECT, numbers=range(3))
    await run(store, spec, Watched(wrong=wrong))
    repeated, again = await retry(store, spec)
    assert (repeated, again.calls) == (0, {})
