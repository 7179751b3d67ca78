"""Finished conversations as the asset that offline judges read (``protocols/offline_judge.py``).

What a session's own judge heard last, in the question's own order, is taken apart into what each
side said in each round: a draft that was dropped, hidden thinking and what was cut off are not in
it. Quotations become plain ones again, for the next judge's verifier to mark. What was not said by
a side (questions, beliefs and comments of the live judge, votes) stays out. Without a live judge
what the side that was asked last had read serves.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from protocols.errors import Mistake
from protocols.question import LABELS
from protocols.quoting import unquoted
from protocols.transcript import SIDES
from workflows.exports.export import Record

ARGUING = ("debater", "consultant")
"""The roles whose speeches make a conversation."""
_TAGS = re.compile("<(/?)[vu]_quote>")
_SAID = ("speech", "silence")
_SEAT = re.compile(r"^[a-z]+_[ab](?=_|[.(]|$)|[.(].*")

Rounds = list[dict[str, str]]


@dataclass(frozen=True, slots=True)
class Transcripts:
    """Conversations of a run, one for each question."""

    protocol: str
    """What the table calls the protocol that held them."""
    content: dict[str, Any]
    """The asset: question id -> ``{"rounds": [{"A": ..., "B": ...}]}``."""
    several: int
    """Questions on which more conversations were held than the one that is here."""
    skipped: int
    """Sessions without one: not finished, failed, or without a speech."""


def run_transcripts(
    records: Iterable[Record], *, protocol: str | None = None, conversation: int = 1
) -> Transcripts:
    """Return the conversations of a run.

    Args:
        records: its sessions, as :func:`workflows.exports.export.session_records` gives them.
        protocol: whose, as the table calls it; None where only one holds any.
        conversation: which of those that were held on one question, from 1: both sides of a
            consultancy and repeats are conversations of their own.

    Raises:
        Mistake: no protocol of the run holds conversations, or several do.
    """
    found: dict[str, dict[str, list[Rounds]]] = {}
    lost: dict[str, int] = {}
    for record in records:
        if not record["question"]["options"] or not set(record["cast"]) & set(ARGUING):
            continue
        of_protocol = found.setdefault(record["name"], {})
        held = session_conversations(record)
        of_protocol.setdefault(record["question"]["id"], []).extend(held)
        lost[record["name"]] = lost.get(record["name"], 0) + (not held)
    name = _chosen([name for name, held in found.items() if any(held.values())], protocol)
    content = {
        question: {"rounds": held[conversation - 1]}
        for question, held in found[name].items()
        if len(held) >= conversation
    }
    if not content:
        most = max(map(len, found[name].values()), default=0)
        raise Mistake(f"--conversation {conversation}: {name!r} holds {most} on a question at most")
    several = sum(len(held) > 1 for held in found[name].values())
    return Transcripts(name, content, several, lost[name])


def run_questions(records: Iterable[Record]) -> list[Record]:
    """Return the questions of a run, once each, as rows that a workflow reads, gold answers too."""
    rows = {}
    for record in records:
        row = {**record["question"], "gold": record["gold"]}
        rows[row["id"]] = {
            name: value for name, value in row.items() if value not in (None, "", [])
        }
    return list(rows.values())


def session_conversations(record: Record) -> list[Rounds]:
    """Return the conversations of one session, in the order in which they began."""
    outcome = record["outcome"]
    if outcome is None or outcome["status"] == "failed":
        return []
    heard: dict[str, list[tuple[str, str]]] = {}
    for reader in ("judge", *ARGUING):
        for ask in (ask for turn in record["turns"] for ask in turn if ask["role"] == reader):
            said = _speeches(ask)
            if said and (reader != "judge" or _in_own_order(ask, record)):
                heard[_conversation(ask, said, record)] = said
        if heard:
            break
    return [_rounds(said) for said in heard.values()]


def _chosen(names: Sequence[str], wanted: str | None) -> str:
    """Return the protocol whose conversations are wanted.

    Raises:
        Mistake: there is none, or it is not clear which.
    """
    if not names:
        raise Mistake("nobody argues in this run; transcripts are those of debates, consultancies")
    name = names[0] if wanted is None and len(names) == 1 else wanted
    if name is None or name not in names:
        raise Mistake(f"say with --protocol whose transcripts; there are {', '.join(names)}")
    return name


def _speeches(ask: Record) -> list[tuple[str, str]]:
    """Return the speeches in a prompt: the side of each, and its words."""
    sides = {f"{role}_{side.lower()}": side for role in ARGUING for side in SIDES}
    own = ask["seat"].removeprefix(f"{ask['role']}_")[:1].upper()
    if ask["role"] in ARGUING and own in tuple(SIDES):
        sides |= {"yours": own, "theirs": SIDES[1 - SIDES.index(own)]}
    said = []
    before = ""
    for part in (part for message in ask["messages"] for part in message["parts"]):
        side = sides.get(before)
        if side and part["name"] in _SAID:
            text = unquoted(part["text"]) if part["name"] == "speech" else ""
            said.append((side, _TAGS.sub(r"<\1quote>", text)))
        before = part["name"]
    return said


def _conversation(ask: Record, said: Sequence[tuple[str, str]], record: Record) -> str:
    """Return what tells the conversation in a prompt from others of its session.

    That is the only side that speaks, or else what the names of its seats end with.
    """
    sides = {side for side, _ in said}
    if len(sides) == 1:
        return sides.pop()
    seats = [ask["seat"]] if ask["role"] in ARGUING else []
    for part in (part for message in ask["messages"] for part in message["parts"]):
        if part["name"] == "speech" and part.get("origin"):
            turn, slot = part["origin"]
            seats.append(record["turns"][turn][slot]["seat"])
    return "" if not seats else _SEAT.sub("", min(seats))


def _in_own_order(ask: Record, record: Record) -> bool:
    """Whether the options are shown in the question's own order."""
    parts = (part for message in ask["messages"] for part in message["parts"])
    shown = next((part["text"] for part in parts if part["name"] == "options"), "")
    options = zip(LABELS, record["question"]["options"], strict=False)
    return bool(shown == "\n".join(f"{label}. {' '.join(text.split())}" for label, text in options))


def _rounds(said: Sequence[tuple[str, str]]) -> Rounds:
    """Return speeches by round: a side's n-th speech belongs to round n."""
    by_side: dict[str, list[str]] = {}
    for side, text in said:
        by_side.setdefault(side, []).append(text)
    count = max(map(len, by_side.values()))
    return [
        {
            side: texts[number] if number < len(texts) else ""
            for side, texts in sorted(by_side.items())
        }
        for number in range(count)
    ]
