"""Recorded sessions in the schema of the NYU debates: one JSON object a line.

A line becomes a :class:`RecordedSession`: the question without its gold answer, who spoke, the
rounds, and the replies turn by turn as the protocol would be sent them. What its source tells
beside that (setting, gold, figures) is kept apart, for the answer key.

What offline judges wrote later about a finished session is counted and left out: it is no part of
the session.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from protocols.canonical import canonical_json, clean_text
from protocols.errors import Mistake
from protocols.nyu_rules import PlayedRound, read_rounds
from protocols.nyu_staging import belief_text
from protocols.question import LABELS, Question
from protocols.replies import Reply
from workflows.questions.answer_key import RecordedFacts
from workflows.questions.fields import make_question
from workflows.questions.sources import Row

JUDGE = "J"
UNNAMED = "unnamed"
ROUNDING = 0.02
"""How far the sum of two stated probabilities may be from 1."""

Side = Literal[0, 1]
Letter = Literal["A", "B"]


def _clean(value: object) -> object:
    return clean_text(value)[0] if isinstance(value, str) else value


def _said(value: object) -> object:
    """Check what somebody wrote; it is cleaned later, where that is noted down."""
    if value is not None and not isinstance(value, str):
        raise ValueError("is not text")
    return value or ""


Text = Annotated[str, BeforeValidator(_clean)]
Said = Annotated[Any, BeforeValidator(_said)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]


class _Line(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", coerce_numbers_to_str=True)


class _Speech(_Line):
    argues_for: Side
    text: Said = ""


class _SpeechRound(_Line):
    type: Literal["simultaneous", "sequential"]
    speeches: tuple[_Speech, ...]


class _JudgeRound(_Line):
    type: Literal["judge"]
    probs: tuple[Share, Share]
    text: Said = ""
    end: bool


class _VoteRound(_Line):
    type: Literal["negotiate_end"]
    votes: dict[Letter, bool]


class _OfflineRound(_Line):
    type: Literal["offline"]


_Round = Annotated[
    _SpeechRound | _JudgeRound | _VoteRound | _OfflineRound, Field(discriminator="type")
]


class _Session(_Line):
    id: Text = Field(min_length=1)
    story_id: Text = ""
    story_title: Text = ""
    question_id: Text = ""
    question: Text
    answers: tuple[Text, Text]
    gold: Side | None = None
    setting: Text = Field(min_length=1)
    in_paper: bool = False
    judge: Text | None = None
    debaters: dict[Letter, Text] = Field(min_length=1)
    rounds: tuple[_Round, ...]
    rules: Any = None
    ended_by: Text | None = None
    final_probs: tuple[Share, Share] | None = None
    correct: bool | None = None
    num_continues: int | None = None
    judge_reward: Annotated[float, Field(allow_inf_nan=False)] | None = None


@dataclass(frozen=True, slots=True)
class Utterance:
    """What one seat said when it was asked."""

    who: str
    """``A`` or ``B`` for one that argues, else ``J``."""
    reply: Reply


@dataclass(frozen=True, slots=True)
class RecordedSession:
    """One session as it was held."""

    at: str
    """``FILE:LINE``."""
    question: Question
    """Its id is the session's; it holds no gold answer."""
    setting: str
    debaters: dict[str, str]
    """Who argues for A, for B, or for both."""
    judge: str | None
    rounds: tuple[PlayedRound, ...]
    turns: tuple[tuple[Utterance, ...], ...]
    rules: Any
    """The rules that it declares, as they are written."""
    gold: str | None
    """The right option's label; never part of a session."""
    facts: RecordedFacts
    offline: int
    """Rounds of offline judges, which are left out."""

    @property
    def sides(self) -> str:
        """The letters of those that argue: ``A``, ``B`` or ``AB``."""
        return "".join(sorted(self.debaters))


def read_sessions(rows: Iterable[Row], passages: dict[str, str]) -> tuple[RecordedSession, ...]:
    """Return the sessions of `rows`, each once.

    Args:
        rows: of one or more files.
        passages: story id -> text, for the quotations; a story may be absent.

    Raises:
        Mistake: a line is no session, or two different sessions share an id.
    """
    found: dict[str, tuple[str, RecordedSession]] = {}
    for row in rows:
        session = _session(row, passages)
        try:
            content = canonical_json(_comparable(row.values))
        except RecursionError:
            raise Mistake(f"{row.at}: malformed session: it is nested too deeply") from None
        first = found.setdefault(session.question.id, (content, session))
        if first[0] != content:
            raise Mistake(
                f"{row.at}: session {session.question.id!r} stands at {first[1].at} with another "
                "content; ids must differ"
            )
    return tuple(session for _, session in found.values())


def is_session(row: Row) -> bool:
    """Whether a row looks like a recorded session."""
    return {"id", "question", "answers", "rounds", "debaters"} <= row.values.keys()


def _session(row: Row, passages: dict[str, str]) -> RecordedSession:
    """Return the session of one line."""
    if not is_session(row):
        raise Mistake(
            f"{row.at}: not a recorded debate session: it needs id, question, answers, debaters "
            "and rounds"
        )
    try:
        line = _Session.model_validate(row.values)
    except ValidationError as error:
        raise Mistake(f"{row.at}: malformed session: {_first(error)}") from None
    rounds = _rounds(row.at, line)
    question = make_question(
        row.at,
        id=line.id,
        text=line.question,
        options=line.answers,
        passage=passages.get(line.story_id),
        subject=line.story_title,
        cluster=line.story_id,
    )
    judged = any(isinstance(one, _JudgeRound) for one in rounds)
    judge = line.judge or (UNNAMED if judged else None)
    return RecordedSession(
        at=row.at,
        question=question,
        setting=line.setting,
        debaters={letter: name.strip() or UNNAMED for letter, name in line.debaters.items()},
        judge=judge,
        rounds=read_rounds([one.model_dump() for one in rounds]),
        turns=tuple(_turns(rounds, sorted(line.debaters), question)),
        rules=line.rules,
        gold=None if line.gold is None else LABELS[line.gold],
        facts=RecordedFacts(
            setting=line.setting,
            in_paper=line.in_paper,
            judge=judge,
            question=line.question_id or line.id,
            ended_by=line.ended_by,
            final_probs=line.final_probs,
            correct=line.correct,
            continues=line.num_continues,
            reward=line.judge_reward,
        ),
        offline=sum(isinstance(one, _OfflineRound) for one in line.rounds),
    )


def _rounds(at: str, line: _Session) -> list[_SpeechRound | _JudgeRound | _VoteRound]:
    """Return the live rounds; one in which a side speaks twice counts as several."""
    rounds: list[_SpeechRound | _JudgeRound | _VoteRound] = []
    for one in line.rounds:
        if isinstance(one, _OfflineRound):
            continue
        if not isinstance(one, _SpeechRound):
            rounds.append(one)
            continue
        for speech in one.speeches:
            if LABELS[speech.argues_for] not in line.debaters:
                letter = LABELS[speech.argues_for]
                raise Mistake(f"{at}: {letter} speaks and is not among the debaters")
        rounds += [_SpeechRound(type=one.type, speeches=tuple(p)) for p in _apart(one.speeches)]
    if not any(isinstance(one, _SpeechRound) and one.speeches for one in rounds):
        raise Mistake(f"{at}: holds no speech; a session needs one")
    return rounds


def _apart(speeches: Sequence[_Speech]) -> list[list[_Speech]]:
    """Return speeches in groups, in each of which no side speaks twice; at least one group."""
    groups: list[list[_Speech]] = [[]]
    for speech in speeches:
        if any(other.argues_for == speech.argues_for for other in groups[-1]):
            groups.append([])
        groups[-1].append(speech)
    return groups


def _turns(
    rounds: Sequence[_SpeechRound | _JudgeRound | _VoteRound],
    letters: Sequence[str],
    question: Question,
) -> Iterable[tuple[Utterance, ...]]:
    """Yield what was said, turn by turn, in the order in which a protocol asks for it."""
    spoken = False
    for one in rounds:
        if isinstance(one, _JudgeRound):
            yield (Utterance(JUDGE, _belief(one, question, decides=spoken or one.end)),)
        elif isinstance(one, _VoteRound):
            votes = {str(letter): vote for letter, vote in one.votes.items()}
            yield tuple(Utterance(letter, _vote(votes.get(letter))) for letter in letters)
        elif one.type == "simultaneous":
            said = sorted(one.speeches, key=lambda speech: speech.argues_for)
            spoken = True
            if said:
                yield tuple(_spoken(speech) for speech in said)
        else:
            spoken = True
            for speech in one.speeches:
                yield (_spoken(speech),)


def _spoken(speech: _Speech) -> Utterance:
    text, repaired = clean_text(speech.text)
    return Utterance(LABELS[speech.argues_for], Reply(text, repaired=repaired))


def _belief(one: _JudgeRound, question: Question, *, decides: bool) -> Reply:
    """Return a judge's reply: what it wrote, and its belief and decision as a form took them."""
    text, repaired = clean_text(one.text)
    total = math.fsum(one.probs)
    lines = [text] if text.strip() else []
    stated = one.probs if abs(total - 1.0) <= 1e-6 else None
    if stated is None and abs(total - 1.0) <= ROUNDING:
        stated = (one.probs[0] / total, one.probs[1] / total)
    if stated is None:
        lines.append(f"Belief: {belief_text(question, one.probs)}")
    if decides:
        lines.append(f"Decision: {'end' if one.end else 'continue'}")
    source: Literal["stated"] | None = None if stated is None else "stated"
    return Reply(
        "\n\n".join(lines), distribution=stated, distribution_source=source, repaired=repaired
    )


def _vote(vote: bool | None) -> Reply:
    return Reply("" if vote is None else f"End: {'yes' if vote else 'no'}")


def _comparable(value: Any) -> Any:
    """Return JSON that canonical JSON can be made of, whatever characters and numbers it holds."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, list):
        return [_comparable(one) for one in value]
    if isinstance(value, dict):
        return {str(_comparable(name)): _comparable(one) for name, one in value.items()}
    return value


def _first(error: ValidationError) -> str:
    """Return what is wrong in one line."""
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(step) for step in first["loc"])
    return f"{where}: {first['msg'].removeprefix('Value error, ')}"
