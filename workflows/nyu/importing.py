"""Import of recorded NYU sessions: ``moot import nyu FILE...``.

What the files hold becomes the sessions of one run (``folding.py``), written through the
journal of its store as if they had been run. Gold answers and the source's figures go to the
answer key. The same files again change nothing; an import that was stopped goes on.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agents.roster import Expert
from protocols.canonical import canonical_json, sha256_hex
from protocols.errors import Mistake
from workflows.nyu.folding import Folded, fold
from workflows.nyu.sessions import RecordedSession, is_session, read_sessions
from workflows.questions.answer_key import AnswerKey
from workflows.questions.sources import Row, Source, open_source, read_rows

if TYPE_CHECKING:
    from orchestrator.run import Prepared
    from orchestrator.store import Store


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import brought."""

    run_id: int
    name: str
    store: str
    sessions: int
    off_rules: Mapping[str, str]
    """Session id -> where it left its declared rules."""
    without_judge: int
    """Sessions that no live judge decided."""
    added: int
    """Sessions that the run did not hold before."""
    superseded: int
    """Sessions that an earlier import under this name brought, and these files do not hold."""
    notes: tuple[str, ...]

    @property
    def folded(self) -> int:
        """How many sessions keep the rules that they declare."""
        return self.sessions - len(self.off_rules)

    def as_json(self) -> dict[str, Any]:
        """Return the import as a JSON object."""
        return {
            "run_id": self.run_id,
            "name": self.name,
            "store": self.store,
            "sessions": self.sessions,
            "folded": self.folded,
            "off_rules": dict(self.off_rules),
            "without_judge": self.without_judge,
            "added": self.added,
            "superseded": self.superseded,
            "notes": list(self.notes),
        }


def import_nyu(
    files: Sequence[str],
    *,
    store: str = "moot.db",
    name: str | None = None,
    passages: Sequence[str] = (),
) -> Imported:
    """Import recorded sessions as one run; the same files again change nothing.

    Args:
        files: of the ``debates`` schema.
        store: a file of SQLite, or a database URL.
        name: the run's name; by default ``nyu-`` and eight hex digits of the files' contents.
        passages: files of ``questions_with_passages``: the stories that are quoted from.

    Raises:
        Mistake: a file or a line is not what it should be; the message names it.
    """
    return asyncio.run(import_nyu_async(files, store=store, name=name, passages=passages))


async def import_nyu_async(
    files: Sequence[str],
    *,
    store: str = "moot.db",
    name: str | None = None,
    passages: Sequence[str] = (),
) -> Imported:
    """Import recorded sessions as one run; see :func:`import_nyu`."""
    from orchestrator.store import Store

    sources = [_sessions_file(path) for path in _distinct(files)]
    stories = [open_source(path) for path in _distinct(passages)]
    rows = [row for _, found in sources for row in found]
    sessions = read_sessions(rows, _stories(stories))
    folded = [fold(session) for session in sessions]
    name = name or _run_name([source for source, _ in sources] + stories)
    with Store.open(store) as opened:
        prepared = _prepare(opened, name, sessions, folded)
        by_key = {one.wanted.key: one for one in folded}
        open_rows = opened.sessions(prepared.run_id, statuses=("pending",))
        if open_rows:
            with opened.journal(prepared.run_id) as journal:
                journal.start(lambda tokens: None)
                for row in open_rows:
                    journal.append(by_key[row.key].records(row.id))
                await journal.close()
        opened.update_run(prepared.run_id, status="finished", finished=True)
        return _told(opened, prepared, sessions, folded, len(rows))


def _prepare(
    store: Store, name: str, sessions: Sequence[RecordedSession], folded: Sequence[Folded]
) -> Prepared:
    """Find or create the run; the sessions that these files hold are what it asks for."""
    from orchestrator.run import prepare_sessions, roster_json

    config = {"import": "nyu", "roster": roster_json(_experts(folded))}
    present = next((run for run in store.runs() if run.name == name), None)
    if present is not None and not is_import(present.config_json):
        raise Mistake(f"run {name!r} is there and no import; give this one another --name")
    return prepare_sessions(
        store,
        name,
        [one.wanted for one in folded],
        config=config,
        answer_key=_key(sessions).as_json(),
    )


def is_import(config_json: str) -> bool:
    """Whether a run of this configuration was imported."""
    return bool(json.loads(config_json).get("import") == "nyu")


def _experts(folded: Sequence[Folded]) -> list[Expert]:
    models = {ask.seat.expert: ask.seat.model.name for one in folded for ask, _ in one.said}
    return [Expert(label=label, model=model) for label, model in sorted(models.items())]


def _key(sessions: Sequence[RecordedSession]) -> AnswerKey:
    return AnswerKey(
        gold={one.question.id: one.gold for one in sessions if one.gold is not None},
        kinds={one.question.id: one.question.kind for one in sessions},
        clusters={one.question.id: one.question.unit for one in sessions},
        recorded={one.question.id: one.facts for one in sessions},
    )


def _told(
    store: Store,
    prepared: Prepared,
    sessions: Sequence[RecordedSession],
    folded: Sequence[Folded],
    lines: int,
) -> Imported:
    notes = []
    if lines > len(sessions):
        notes.append(f"{lines - len(sessions)} lines repeat a session and count once")
    unread = sum(one.question.passage is None for one in sessions)
    if unread:
        notes.append(
            f"{unread} of {len(sessions)} sessions have no passage, so that their quotations count "
            "as not verified; --passages names the files of the passages"
        )
    offline = sum(bool(one.offline) for one in sessions)
    if offline:
        notes.append(f"what offline judges wrote on {offline} sessions is not imported")
    return Imported(
        run_id=prepared.run_id,
        name=prepared.name,
        store=store.shown,
        sessions=len(sessions),
        off_rules={one.wanted.question.id: one.off_rules for one in folded if one.off_rules},
        without_judge=sum(one.outcome.status == "abstained" for one in folded),
        added=len(prepared.difference.added),
        superseded=len(prepared.difference.superseded),
        notes=tuple(notes),
    )


def _distinct(files: Sequence[str]) -> list[str]:
    """Return `files`, each path once."""
    return list(dict.fromkeys(files))


def _sessions_file(path: str) -> tuple[Source, list[Row]]:
    source = open_source(path)
    if not source.content.strip():
        raise Mistake(f"{path}: is empty; an import needs at least one session")
    rows = read_rows(source)
    if not is_session(rows[0]):
        raise Mistake(f"{rows[0].at}: not a file of recorded debate sessions")
    return source, rows


def _stories(sources: Sequence[Source]) -> dict[str, str]:
    """Return the passages of files by the id of their story."""
    found: dict[str, str] = {}
    for source in sources:
        for row in read_rows(source):
            id, text = row.values.get("id"), row.values.get("text")
            if not isinstance(id, str) or not isinstance(text, str):
                raise Mistake(f"{row.at}: not a passage: it needs id and text")
            found[id.rpartition("/")[2]] = text
    return found


def _run_name(sources: Sequence[Source]) -> str:
    """Return the name of a run by its contents, in whatever order the files are named."""
    digest = sha256_hex(canonical_json(sorted({source.digest for source in sources})))
    return f"nyu-{digest[:8]}"
