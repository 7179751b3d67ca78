"""Folding: a recorded NYU session as its protocol plays it.

The protocol's generator runs under the rules that the session declares and is sent what was said
as accepted replies, so that what comes out is a session like any other and replays as one. A
session that left its rules is folded under the rules as played instead (the recorded sequence
itself), and its outcome says in ``off_rules`` where it left them.

People are experts called ``human/NAME``, models ``recorded/nyu/NAME``; nobody is asked. Limits of
length were held by the source's own form, which counted in its own tokens: speeches are accepted
as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from orchestrator.journal import AskRecord, JournalRecord, ReplyRecord
from orchestrator.live import outcome_json
from orchestrator.spec import Entry, Wanted
from protocols.asks import Ask, Model
from protocols.cast import Cast, Member
from protocols.contract import session_key, session_rng
from protocols.errors import Mistake
from protocols.nyu import Nyu, NyuConsultancy, NyuDebate
from protocols.nyu_rules import NyuRules, check_rounds
from protocols.outcome import Outcome
from protocols.replies import Reply
from protocols.tape import Finished, Live, advance
from workflows.nyu.sessions import JUDGE, RecordedSession

CAP = 100
"""Rounds of speeches: the recorded sessions had no cap, so one that none comes near."""
AI = "AI:"
"""How the source marks the names of models."""
_PARTS = ("opening", "repeat", "closing")


@dataclass(frozen=True, slots=True)
class Folded:
    """A session as the protocol plays it."""

    wanted: Wanted
    said: tuple[tuple[Ask, Reply], ...]
    """Every ask with its reply, in order."""
    outcome: Outcome
    off_rules: str
    """Where it left its declared rules; empty where it kept them."""

    def records(self, session: int) -> list[JournalRecord]:
        """Return what a store keeps of it, under the session's id there."""
        records: list[JournalRecord] = []
        for ask, reply in self.said:
            assert ask.place is not None
            records.append(AskRecord(session, ask))
            records.append(ReplyRecord(session, ask.place, 0, True, reply))
        return [*records, outcome_json(session, self.outcome)]


class _Departs(Exception):
    """The protocol asks for something else than what is recorded."""


def fold(session: RecordedSession) -> Folded:
    """Return a session as the protocol plays it: under its declared rules, else as played.

    Raises:
        Mistake: the session cannot be played at all.
    """
    rules, departs = declared_rules(session)
    if rules is not None and not departs:
        try:
            return _played(session, rules)
        except _Departs as departure:
            departs = str(departure)
    rules = NyuRules.as_played(session.rounds, max_quoted=None, off_rules=departs)
    try:
        return _played(session, rules)
    except _Departs as departure:
        raise Mistake(f"{session.at}: the session cannot be played: {departure}") from None


def declared_rules(session: RecordedSession) -> tuple[NyuRules | None, str]:
    """Return the rules that a session declares, and where it departs from them, if it does."""
    declared = session.rules
    if not isinstance(declared, dict):
        return None, "it declares no rules"
    structure: dict[str, Any] = {
        part: declared[part] for part in _PARTS if declared.get(part) is not None
    }
    try:
        rules = NyuRules.from_recorded(structure, max_quoted=None)
    except (KeyError, TypeError, ValidationError):
        return None, f"the rules that it declares cannot be read: {structure!a:.200}"
    departure = check_rounds(rules, session.rounds)
    if departure is None:
        return rules, ""
    return rules, (
        f"round {departure.round + 1}: its rules want {departure.expected}, the record holds "
        f"{departure.found}"
    )


def _played(session: RecordedSession, rules: NyuRules) -> Folded:
    """Return the session under `rules`.

    Raises:
        _Departs: under these rules somebody else is asked than spoke.
    """
    protocol, cast = _protocol(session, rules), _cast(session)
    question = session.question
    key = session_key(protocol.digest(), question, cast, seed=0, repeat=0)
    live = Live(protocol.session(question, cast, session_rng(question, seed=0, repeat=0)))
    said: list[tuple[Ask, Reply]] = []
    try:
        current = advance(live, None)
        for turn in session.turns:
            speakers = [utterance.who for utterance in turn]
            asked = [] if isinstance(current, Finished) else [_who(ask) for ask in current]
            if isinstance(current, Finished) or asked != speakers:
                raise _Departs(_unlike(live.turn, asked, speakers))
            replies = tuple(
                utterance.reply.at(ask.place)
                for ask, utterance in zip(current, turn, strict=True)
                if ask.place is not None
            )
            said += zip(current, replies, strict=True)
            current = advance(live, replies)
    except Mistake as mistake:
        raise _Departs(str(mistake)) from None
    if not isinstance(current, Finished):
        raise _Departs(_unlike(live.turn, [_who(ask) for ask in current], []))
    entry = Entry(session.setting, protocol, cast)
    wanted = Wanted(key, entry, question, 0, 0)
    return Folded(wanted, tuple(said), current.outcome, rules.off_rules)


def _unlike(turn: int, asked: Sequence[str], speakers: Sequence[str]) -> str:
    names = {JUDGE: "the judge", "A": "A", "B": "B"}
    wants, holds = (
        " and ".join(names[who] for who in group) or "the end" for group in (asked, speakers)
    )
    return f"turn {turn + 1}: its rules want {wants}, the record holds {holds}"


def _who(ask: Ask) -> str:
    return JUDGE if ask.seat.role == "judge" else ask.seat.name[-1].upper()


def _protocol(session: RecordedSession, rules: NyuRules) -> Nyu:
    """Return the protocol of a session: A's debater is cast first, a consultant's side is told."""
    parameters: dict[str, Any] = {
        "rules": rules,
        "max_rounds": max(CAP, len(session.rounds) + 1),
        "overrun": "accept",
    }
    if len(session.sides) == 2:
        return NyuDebate(sides="A", **parameters)
    return NyuConsultancy(sides="A" if session.sides == "A" else "B", **parameters)


def _cast(session: RecordedSession) -> Cast:
    role = "debater" if len(session.sides) == 2 else "consultant"
    arguing = tuple(_member(session.debaters[letter], session.setting) for letter in session.sides)
    judge = () if session.judge is None else (_member(session.judge, "human"),)
    members = {role: arguing, "judge": judge} if judge else {role: arguing}
    return Cast(members={**members}, readers=frozenset({role}))


def _member(name: str, setting: str) -> Member:
    is_model = name.startswith(AI) or setting.startswith("ai")
    model = f"recorded/nyu/{name}" if is_model else f"human/{name}"
    return Member(expert=name, model=Model(model))
