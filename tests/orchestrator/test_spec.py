"""What a run keeps, adds and gives up after an edit."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

from orchestrator.spec import (
    Difference,
    Entry,
    Known,
    RunSpec,
    Wanted,
    reconcile,
    wanted_sessions,
)
from protocols.asks import Model
from protocols.cast import Asset, Cast, Member
from protocols.chance import Rng
from protocols.contract import CallBound, Protocol, Role, Session
from protocols.errors import Mistake
from protocols.outcome import Outcome
from protocols.question import Question


class Nothing(Protocol):
    """A protocol with a parameter that never asks."""

    kind: ClassVar[str] = "nothing"
    about: ClassVar[str] = "asks nothing"
    n: int = 1

    def roles(self) -> tuple[Role, ...]:
        return ()

    def session(self, question: Question, cast: Cast, rng: Rng) -> Session[Outcome]:
        yield ()
        return Outcome(status="abstained", rule="none")

    def calls(self, question: Question, cast: Cast) -> CallBound:
        return CallBound(0, 0)


QUESTIONS = tuple(Question(id=f"q{i}", text=f"Question {i}?", kind="text") for i in range(20))


def a_cast(model: str = "scripted/echo", **assets: Asset) -> Cast:
    return Cast(
        members={"solver": (Member(expert="x", model=Model(model)),)},
        assets=assets,
    )


def a_spec(*entries: Entry, **fields: Any) -> RunSpec:
    return RunSpec("run", entries, fields.pop("questions", QUESTIONS), (), **fields)


def stored(wanted: list[Wanted], **fields: Any) -> list[Known]:
    return [
        Known(id=i, key=w.key, status="finished", kind="nothing", version=1, **fields)
        for i, w in enumerate(wanted, start=1)
    ]


def difference(known: list[Known], *entries: Entry, version: int = 1, **fields: Any) -> Difference:
    wanted = list(wanted_sessions(a_spec(*entries, **fields)))
    return reconcile(known, wanted, {"nothing": version})


PLAIN = Entry("plain", Nothing(), a_cast())


def test_the_same_run_keeps_everything() -> None:
    known = stored(list(wanted_sessions(a_spec(PLAIN))))
    found = difference(known, PLAIN)
    assert len(found.kept) == 20
    given_up = [*found.added, *found.superseded, *found.stale, *found.revived]
    assert given_up == []


@pytest.mark.parametrize(
    "entry",
    [
        pytest.param(Entry("plain", Nothing(n=2), a_cast()), id="parameter"),
        pytest.param(Entry("plain", Nothing(), a_cast("scripted/slow")), id="model"),
        pytest.param(
            Entry("plain", Nothing(), a_cast(profile=Asset(kind="profile", content={}))),
            id="asset",
        ),
    ],
)
def test_what_changes_the_outcome_changes_every_session(entry: Entry) -> None:
    known = stored(list(wanted_sessions(a_spec(PLAIN))))
    found = difference(known, entry)
    assert (len(found.kept), len(found.added), len(found.superseded)) == (0, 20, 20)


def test_a_seed_is_identity() -> None:
    known = stored(list(wanted_sessions(a_spec(PLAIN))))
    assert len(difference(known, PLAIN, seed=1).added) == 20


def test_a_new_name_is_not() -> None:
    known = stored(list(wanted_sessions(a_spec(PLAIN))))
    assert len(difference(known, Entry("other", Nothing(), a_cast())).kept) == 20


def test_an_added_protocol_keeps_the_others() -> None:
    known = stored(list(wanted_sessions(a_spec(PLAIN))))
    found = difference(known, PLAIN, Entry("two", Nothing(n=2), a_cast()))
    assert (len(found.kept), len(found.added), len(found.superseded)) == (20, 20, 0)


def test_a_question_that_goes_is_superseded_and_comes_back() -> None:
    known = stored(list(wanted_sessions(a_spec(PLAIN))))
    fewer = difference(known, PLAIN, questions=QUESTIONS[:15])
    assert (len(fewer.kept), len(fewer.superseded)) == (15, 5)
    given_up = [
        Known(k.id, k.key, "superseded" if k.id in fewer.superseded else k.status, k.kind, 1)
        for k in known
    ]
    again = difference(given_up, PLAIN)
    assert (len(again.kept), set(again.revived)) == (20, set(fewer.superseded))


def test_another_protocol_version_makes_sessions_stale() -> None:
    wanted = list(wanted_sessions(a_spec(PLAIN)))
    known = [Known(1, "an-old-key", "finished", "nothing", 1)]
    found = reconcile(known, wanted, {"nothing": 2})
    assert (found.stale, found.superseded) == ((1,), ())


def test_a_repetition_stands_for_its_parent() -> None:
    known = stored(list(wanted_sessions(a_spec(PLAIN))))
    first = known[0]
    known[0] = Known(first.id, first.key, "superseded", "nothing", 1)
    known.append(Known(99, "retry-key", "pending", "nothing", 1, parent=first.id))
    found = difference(known, PLAIN)
    assert 99 in found.kept
    assert first.id not in found.kept
    assert [*found.added, *found.superseded] == []


def test_two_equal_protocols_are_refused() -> None:
    with pytest.raises(Mistake, match="are the same with the same cast"):
        list(wanted_sessions(a_spec(PLAIN, Entry("twin", Nothing(), a_cast()))))
    with pytest.raises(Mistake, match="two protocols are called 'plain'"):
        list(wanted_sessions(a_spec(PLAIN, Entry("plain", Nothing(n=2), a_cast()))))


def test_questions_come_in_a_seeded_order_with_their_protocols_together() -> None:
    two = Entry("two", Nothing(n=2), a_cast())
    wanted = list(wanted_sessions(a_spec(PLAIN, two)))
    assert [w.entry.name for w in wanted[:4]] == ["plain", "two", "plain", "two"]
    assert all(a.question == b.question for a, b in zip(wanted[::2], wanted[1::2], strict=True))
    order = [w.question.id for w in wanted[::2]]
    assert sorted(order) == sorted(q.id for q in QUESTIONS)
    assert order != [q.id for q in QUESTIONS]
    assert order == [w.question.id for w in wanted_sessions(a_spec(PLAIN))]
