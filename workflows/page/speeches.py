"""The transcripts of a page: which are shown, and what of them.

Shown are questions on which the sessions end differently, those first on which some are right and
some wrong: of every pattern of who is right and who is wrong one question in turn, the commonest
pattern first, by a seeded order, so that nobody picks.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from hashlib import sha256
from html import escape
from typing import TYPE_CHECKING, Any

from protocols.question import LABELS
from workflows.exports.endings import course, verdict
from workflows.exports.export import Record, session_records
from workflows.exports.transcripts import told_turns
from workflows.page.material import Lane, Session
from workflows.page.parts import Discussed, Discussion, Speech, Transcript, Turn, counted, listed

if TYPE_CHECKING:
    from orchestrator.store import Store

QUESTIONS = 12
"""Questions whose transcripts are on the page."""
SESSIONS = 12
"""Sessions shown on one question."""
SHOWN, LONGEST = 600, 6_000
"""Characters of a speech before it is folded, and that are on the page at all."""
OF_SESSION, OF_PAGE = 60_000, 1_400_000
"""Bytes, as they stand in the file, of what is said in one session, and on the page."""
SEED = 0

_OPEN = {"v": "\ue000", "u": "\ue001", "n": "\ue002"}
_CLOSE = "\ue003"
_KINDS = {"\ue000": "verified", "\ue001": "unverified", "\ue002": "unchecked"}
_PIECE = re.compile("([\ue000-\ue002])([^\ue003]*)\ue003?")
_ODD = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ue000-\ue003\ufffe\uffff]"
)
"""Control characters, what turns the direction of writing, and what quotations are marked with."""

Pieces = tuple[tuple[str, str], ...]
Asked = dict[str, list[tuple[Lane, Session]]]


def discussion_of(store: Store, lanes: Sequence[Lane], *, seed: int = SEED) -> Discussion:
    """Return the transcripts of a page and how they were chosen.

    Args:
        store: that holds the runs.
        lanes: the rows of the page.
        seed: of the choice.
    """
    asked: Asked = {}
    for lane in lanes:
        for one in lane.sessions:
            asked.setdefault(one.question, []).append((lane, one))
    differ = {id: found for id, found in asked.items() if len(set(map(_ending, found))) > 1}
    shown_of = {id: differing(found) for id, found in (differ or asked).items()}
    patterns = {id: tuple(map(_pattern, found)) for id, found in shown_of.items()}
    split = {id: one for id, one in patterns.items() if {0.0, 1.0} <= {right for _, right in one}}
    others = {id: one for id, one in patterns.items() if id not in split}
    chosen = [*chosen_questions(split, seed), *chosen_questions(others, seed)][:QUESTIONS]
    shown, left = [], OF_PAGE
    for question in chosen:
        if left <= 0:
            break
        hidden = len(asked[question]) - len(shown_of[question])
        discussed, took = _discussed(store, shown_of[question], left, hidden)
        shown.append(discussed)
        left -= took
    counts = len(asked), len(differ), len(split)
    return Discussion(tuple(_chosen_how(counts, len(shown), seed)), tuple(shown))


def chosen_questions(
    patterns: Mapping[str, tuple[object, ...]], seed: int, most: int = QUESTIONS
) -> list[str]:
    """Return questions, one of every pattern in turn, the commonest pattern first.

    Args:
        patterns: question -> who was right and who was wrong.
        seed: of the order within a pattern.
        most: how many are wanted.
    """
    groups: dict[tuple[object, ...], list[str]] = {}
    for question in sorted(patterns, key=lambda id: sha256(f"{seed}:{id}".encode()).digest()):
        groups.setdefault(patterns[question], []).append(question)
    queues = sorted(groups.values(), key=len, reverse=True)
    found: list[str] = []
    while queues and len(found) < most:
        found += [queue.pop(0) for queue in queues]
        queues = [queue for queue in queues if queue]
    return found[:most]


def differing(
    found: Sequence[tuple[Lane, Session]], most: int = SESSIONS
) -> list[tuple[Lane, Session]]:
    """Return the sessions of a question that are shown: of every ending one in turn, if many."""
    groups: dict[tuple[object, ...], list[int]] = {}
    for place, one in enumerate(found):
        groups.setdefault((one[1].correct, *_ending(one)), []).append(place)
    taken: list[int] = []
    queues = list(groups.values())
    while queues and len(taken) < most:
        taken += [queue.pop(0) for queue in queues]
        queues = [queue for queue in queues if queue]
    return [found[place] for place in sorted(taken[:most])]


def _ending(of: tuple[Lane, Session]) -> tuple[str, str]:
    outcome = of[1].outcome
    return (of[1].status, "") if outcome is None else (outcome.status, outcome.answer or "")


def _pattern(of: tuple[Lane, Session]) -> tuple[str, float | None]:
    return of[0].name, of[1].correct


def _chosen_how(counts: tuple[int, int, int], shown: int, seed: int) -> list[str]:
    """Say how many questions were asked, end differently, are right and wrong, and are here."""
    asked, differ, split = counts
    if not asked:
        return ["There is no session to read."]
    if differ:
        return [
            (
                f"Sessions end differently on {differ:,} of {counted(asked, 'question')}; on "
                f"{split:,} of them some are right and some wrong, and these come first. "
                f"{shown:,} are here, one of every pattern of right and wrong in turn, by a seeded "
                f"order (seed {seed})."
            )
        ]
    return [f"{shown:,} of {counted(asked, 'question')}, by a seeded order (seed {seed})."]


def _discussed(
    store: Store, found: Sequence[tuple[Lane, Session]], room: int, hidden: int
) -> tuple[Discussed, int]:
    """Return a question with its sessions, and how many bytes they take."""
    records = []
    for lane, one in found:
        row = store.session(one.id)
        if row is not None:
            records += [(lane, r) for r in session_records(store, lane.material.run, [row])]
    transcripts, took = [], 0
    for lane, record in records:
        shown, length = _transcript(lane, cleaned(record), min(OF_SESSION, max(room - took, 0)))
        transcripts.append(shown)
        took += length
    question = cleaned(records[0][1]["question"])
    options = zip(LABELS, question["options"], strict=False)
    return (
        Discussed(
            question=question["id"],
            text=_cut(question["text"].strip()),
            options=tuple(f"{label}  {_cut(' '.join(o.split()))}" for label, o in options),
            gold=str(cleaned(records[0][1]["gold"]) or ""),
            passage=len(question.get("passage") or ""),
            transcripts=tuple(transcripts),
            left_out=hidden,
        ),
        took,
    )


def _transcript(lane: Lane, record: Record, room: int) -> tuple[Transcript, int]:
    told = told_turns(record, _marked)
    turns: list[Turn] = []
    took = 0
    for turn in told:
        if took >= room:
            break
        said = [*turn.outside, *turn.said]
        speeches = tuple(speech(who, text) for who, text in said)
        took += sum(map(_bytes, speeches))
        turns.append(Turn(turn.heading, speeches))
    cast = "; ".join(
        f"{role}: {listed(labels, 4)}" for role, labels in sorted(record["cast"].items())
    )
    marks = {1.0: "right", 0.0: "wrong", 0.5: "half"}
    return (
        Transcript(
            session=record["session"],
            name=lane.name,
            ending=verdict(record).replace("   ", "; "),
            mark=marks.get(record["correct"], ""),
            cast=cast,
            turns=tuple(turns),
            course=tuple(course(record)),
            left_out=len(told) - len(turns),
        ),
        took,
    )


def speech(who: str, text: str) -> Speech:
    """Return what somebody said in pieces: folded where it is long, cut where it is very long."""
    pieces = _pieces(text.strip())
    whole = sum(len(piece) for _, piece in pieces)
    shown, rest = _split(pieces, SHOWN if whole > SHOWN * 1.3 else LONGEST)
    folded, cut = _split(rest, LONGEST - SHOWN)
    return Speech(
        who,
        shown or (("text", "(said nothing)"),),
        folded,
        hidden=sum(len(piece) for _, piece in cut),
        more=sum(len(piece) for _, piece in folded),
    )


def _bytes(one: Speech) -> int:
    """Return how much a speech takes in the file, where signs such as < are written in full."""
    text = "".join(text for _, text in (*one.shown, *one.folded))
    return len(escape(text).encode())


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def cleaned(value: Any) -> Any:
    """Return JSON with every character replaced that a page must not obey."""
    if isinstance(value, str):
        return _ODD.sub("\ufffd", value.replace("\r\n", "\n"))
    if isinstance(value, dict):
        return {name: cleaned(found) for name, found in value.items()}
    if isinstance(value, list):
        return [cleaned(found) for found in value]
    return value


def _marked(text: str, passage: bool) -> str:
    """Return a text with its checked quotations between marks that no text may hold."""
    for letter in "vu":
        sign = _OPEN[letter if letter == "v" or passage else "n"]
        text = text.replace(f"<{letter}_quote>", sign).replace(f"</{letter}_quote>", _CLOSE)
    return text


def _pieces(text: str) -> Pieces:
    """Return a marked text as (kind, text)."""
    found: list[tuple[str, str]] = []
    at = 0
    for match in _PIECE.finditer(text):
        found.append(("text", text[at : match.start()]))
        found.append((_KINDS[match[1]], match[2]))
        at = match.end()
    found.append(("text", text[at:]))
    return tuple((kind, piece.replace(_CLOSE, "")) for kind, piece in found if piece)


def _split(pieces: Pieces, length: int) -> tuple[Pieces, Pieces]:
    """Return the pieces up to a length, and what follows; a quotation is not taken apart."""
    kept: list[tuple[str, str]] = []
    for place, (kind, text) in enumerate(pieces):
        if len(text) <= length:
            kept.append((kind, text))
            length -= len(text)
            continue
        if kind != "text" and kept:
            return tuple(kept), pieces[place:]
        end = text.rfind(" ", 0, max(length, 1)) if length < len(text) else length
        end = end if end > length // 2 else length
        kept += [(kind, text[:end])] if end else []
        return tuple(kept), ((kind, text[end:]), *pieces[place + 1 :])
    return tuple(kept), ()
