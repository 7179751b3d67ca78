"""What a run is: its sessions, and the difference between what is wanted and what is stored.

Theory. A run is found again by its name. A session is known by its key, which hashes everything
that can change its outcome. So the same command resumes, and an edited workflow keeps the
sessions it still asks for, adds new ones and supersedes the rest; :func:`reconcile` decides this
in one pure function, and the difference is shown before anything is spent.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from agents.roster import Expert
from protocols.canonical import canonical_json
from protocols.cast import Cast
from protocols.chance import Rng
from protocols.contract import Protocol, session_key
from protocols.errors import Mistake
from protocols.question import Question

GIVEN_UP = ("superseded", "stale")
"""The states of sessions that a run does not ask for; both come back when it does again."""


@dataclass(frozen=True)
class Entry:
    """A protocol with its cast, under the name it has in tables."""

    name: str
    protocol: Protocol
    cast: Cast

    @cached_property
    def parameters_json(self) -> str:
        """The protocol's parameters as canonical JSON."""
        return canonical_json(self.protocol.parameters())

    @cached_property
    def cast_json(self) -> str:
        """The cast as canonical JSON."""
        return canonical_json(self.cast.model_dump(mode="json"))


@dataclass(frozen=True, slots=True)
class RunSpec:
    """A run, wholly resolved."""

    name: str
    entries: tuple[Entry, ...]
    questions: tuple[Question, ...]
    experts: tuple[Expert, ...]
    seed: int = 0
    repeats: int = 1
    config: Mapping[str, Any] = field(default_factory=dict)
    """The resolved configuration, as JSON; without secrets."""
    answer_key: Mapping[str, Any] | None = None
    """Gold answers, stored beside the run for scoring; no session ever sees them."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A session that a run asks for."""

    key: str
    entry: Entry
    question: Question
    seed: int
    repeat: int


@dataclass(frozen=True, slots=True)
class Known:
    """A stored session, as far as :func:`reconcile` needs it."""

    id: int
    key: str
    status: str
    kind: str
    version: int
    parent: int | None = None
    entry: str = ""


@dataclass(frozen=True, slots=True)
class Difference:
    """What a run keeps, adds and gives up."""

    kept: tuple[int, ...]
    """Sessions that stay, finished or not."""
    revived: tuple[int, ...]
    """Of the kept ones: those that an earlier edit had given up."""
    added: tuple[Wanted, ...]
    superseded: tuple[int, ...]
    """Sessions that nothing asks for any more."""
    stale: tuple[int, ...]
    """Of those: recorded by another version of their protocol."""
    renamed: tuple[tuple[int, str], ...] = ()
    """Of the kept ones: those whose entry has another name now, with that name."""

    @property
    def changes(self) -> bool:
        """Whether anything is to be written."""
        return bool(self.revived or self.added or self.superseded or self.stale or self.renamed)

    def describe(self) -> str:
        """Return the difference in one line."""
        words = [f"{len(self.kept)} kept", f"{len(self.added)} new"]
        if self.superseded:
            words.append(f"{len(self.superseded)} superseded")
        if self.stale:
            words.append(f"{len(self.stale)} stale (recorded by another protocol version)")
        return ", ".join(words)


def wanted_sessions(spec: RunSpec) -> Iterator[Wanted]:
    """Yield the sessions of a run in the order in which they are asked.

    What repeats together (a story with several questions) comes in a seeded order and stands
    together, with all protocols of a question, so that a run that is stopped at any moment is a
    fair sample of it.

    Raises:
        Mistake: two entries are the same protocol with the same cast, or share a name; two
            questions share an id.
    """
    digests = [entry.protocol.digest() for entry in spec.entries]
    _refuse_twins(spec.entries, digests)
    _refuse_repeated(spec.questions)
    for question in asked_order(spec.questions, spec.seed):
        for entry, digest in zip(spec.entries, digests, strict=True):
            for repeat in range(spec.repeats):
                key = session_key(digest, question, entry.cast, seed=spec.seed, repeat=repeat)
                yield Wanted(key, entry, question, spec.seed, repeat)


def asked_order(questions: Sequence[Question], seed: int) -> list[Question]:
    """Return questions in the order in which they are asked: unit by unit, the units shuffled."""
    units: dict[str, list[Question]] = {}
    for question in questions:
        units.setdefault(question.unit, []).append(question)
    return [one for unit in Rng("order", seed).shuffled(list(units)) for one in units[unit]]


def reconcile(
    known: Sequence[Known], wanted: Sequence[Wanted], versions: Mapping[str, int]
) -> Difference:
    """Compare what is stored with what is wanted.

    Args:
        known: the stored sessions of the run.
        wanted: the sessions that the run asks for now.
        versions: the present version of each protocol kind.
    """
    latest = _latest_by_key(known)
    kept = [(latest[w.key], w) for w in wanted if w.key in latest]
    kept_ids = {session.id for session, _ in kept}
    dropped = [s for s in known if s.id not in kept_ids and s.status not in GIVEN_UP]
    stale = {s.id for s in dropped if versions.get(s.kind, s.version) != s.version}
    return Difference(
        kept=tuple(session.id for session, _ in kept),
        revived=tuple(session.id for session, _ in kept if session.status in GIVEN_UP),
        added=tuple(w for w in wanted if w.key not in latest),
        superseded=tuple(s.id for s in dropped if s.id not in stale),
        stale=tuple(sorted(stale)),
        renamed=tuple((s.id, w.entry.name) for s, w in kept if s.entry != w.entry.name),
    )


def _latest_by_key(known: Sequence[Known]) -> dict[str, Known]:
    """Return the session that stands for each key: a repetition takes its parent's place."""
    by_id = {session.id: session for session in known}
    latest: dict[str, Known] = {}
    for session in known:
        origin = session
        while origin.parent is not None and origin.parent in by_id:
            origin = by_id[origin.parent]
        present = latest.get(origin.key)
        if present is None or session.id > present.id:
            latest[origin.key] = session
    return latest


def _refuse_twins(entries: Sequence[Entry], digests: Sequence[str]) -> None:
    names: set[str] = set()
    seen: dict[tuple[str, str], str] = {}
    for entry, digest in zip(entries, digests, strict=True):
        if entry.name in names:
            raise Mistake(f"two protocols are called {entry.name!r}; give one another 'name'")
        names.add(entry.name)
        twin = seen.setdefault((digest, entry.cast.digest), entry.name)
        if twin != entry.name:
            raise Mistake(
                f"protocols {twin!r} and {entry.name!r} are the same with the same cast; "
                "remove one, or use 'repeats' to ask again"
            )


def _refuse_repeated(questions: Sequence[Question]) -> None:
    seen: set[str] = set()
    for question in questions:
        if question.id in seen:
            raise Mistake(f"two questions have the id {question.id!r}; give one another id")
        seen.add(question.id)
