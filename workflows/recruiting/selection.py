"""Which rule of recruitment to trust: chosen by cross-validation on the profile's questions.

The questions that the experts were measured on are dealt into folds. Each rule learns on all folds
but one and is tried on the one it has not seen, with the answers that were recorded there; so no
question of the run has a say, and nothing is asked. The rule with the most right answers is
selected; of equal ones the one that asks fewer experts, then the first. A missing outcome is no
right answer here: a rule that recruits experts without an answer gains nothing by it.

Source: k-fold cross-validation (Stone 1974); the folds are dealt by a hash of seed and id.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from orchestrator.spec import Entry
from protocols.canonical import sha256_hex
from protocols.cast import Asset, Cast
from protocols.contract import Protocol, Replies, session_rng
from protocols.errors import MootError
from protocols.evidence import EVIDENCE, MISSING, RIGHT, Evidence, EvidenceQuestion
from protocols.outcome import Outcome
from protocols.profile import PROFILE
from protocols.question import Question
from protocols.replies import Reply, failed
from protocols.skills import SKILLS, skills_asset
from protocols.tape import Finished, step
from protocols.teams import start_session
from workflows.running.settling import settled

UNREAD = "No answer could be read."


@dataclass(frozen=True, slots=True)
class Tried:
    """How a rule did on questions that it had not learned from."""

    name: str
    right: Mapping[str, bool]
    """By question id; a missing outcome is absent."""
    calls: int
    """What it asked."""

    @property
    def accuracy(self) -> float | None:
        """Share right; None where nothing could be tried."""
        return fmean(self.right.values()) if self.right else None


@dataclass(frozen=True, slots=True)
class Fold:
    """A part of the questions, and what is known without it."""

    questions: tuple[Question, ...]
    assets: Mapping[str, Asset]


def folds_of(evidence: Evidence, folds: int, seed: int = 0) -> tuple[Fold, ...]:
    """Deal the questions of `evidence` into parts of almost equal size.

    Args:
        evidence: graded answers.
        folds: how many parts; of fewer questions there are as many parts as questions.
        seed: of the deal.
    """
    dealt = sorted(evidence.questions, key=lambda q: sha256_hex(f"{seed}|{q.id}"))
    parts = [dealt[start::folds] for start in range(folds)]
    made = []
    for part in filter(None, parts):
        out = {question.id for question in part}
        rest = evidence.subset(q.id for q in evidence.questions if q.id not in out)
        profile = rest.profile()
        assets = {
            PROFILE: profile.as_asset(),
            EVIDENCE: rest.as_asset(),
            SKILLS: skills_asset({question.id: question.skills for question in part}),
        }
        made.append(Fold(tuple(map(_question, part)), assets))
    return tuple(made)


class Answers:
    """The recorded answers of experts, as replies."""

    def __init__(self, evidence: Evidence) -> None:
        self._places = {question.id: i for i, question in enumerate(evidence.questions)}
        self._evidence = evidence
        self._replies: dict[tuple[str, str], Reply] = {}

    def reply(self, expert: str, question: str) -> Reply:
        """Return what an expert answered; a missing answer is a provider failure."""
        found = self._replies.get((expert, question))
        if found is None:
            found = self._replies[expert, question] = self._reply(expert, question)
        return found

    def _reply(self, expert: str, question: str) -> Reply:
        place = self._places[question]
        flags = self._evidence.right.get(expert)
        if flags is None or flags[place] == MISSING:
            return failed("provider", "not recorded", cause="not_recorded")
        given = self._evidence.answers.get(expert)
        if given is None:
            return failed("provider", "only the correctness is known", cause="not_recorded")
        answer = given[place]
        return Reply(UNREAD if answer is None else f"Answer: {answer}")

    def right(self, outcome: Outcome, question: str) -> bool | None:
        """Whether an outcome is right, as an expert with the same answer was; None: missing."""
        place = self._places[question]
        flags = self._evidence.right
        if outcome.answered_by in flags and flags[outcome.answered_by][place] != MISSING:
            return flags[outcome.answered_by][place] == RIGHT
        if outcome.missing:
            return None
        return any(
            given[place] == outcome.answer and flags[expert][place] == RIGHT
            for expert, given in self._evidence.answers.items()
            if outcome.answer is not None
        )


def cross_validated(
    name: str,
    protocol: Protocol,
    cast: Cast,
    answers: Answers,
    folds: Sequence[Fold],
    *,
    seed: int = 0,
) -> Tried:
    """Try a rule on every fold with what it learned on the others.

    Args:
        name: what the table calls it.
        protocol: the rule.
        cast: whose members are the measured experts; its own assets stay, but for
            those on what was measured: profile, evidence and the skills of questions.
        answers: of all of them.
        folds: from :func:`folds_of`.
        seed: of the sessions.
    """
    right: dict[str, bool] = {}
    calls = 0
    for fold in folds:
        kept = {key: asset for key, asset in cast.assets.items() if key not in fold.assets}
        read = {key: fold.assets[key] for key in fold.assets if key in cast.assets}
        within = Cast(members=cast.members, readers=cast.readers, assets={**kept, **read})
        within = settled(protocol, fold.questions, within, seed)
        for question, outcome, asks in _played(protocol, within, fold.questions, answers, seed):
            calls += asks
            verdict = None if outcome is None else answers.right(outcome, question)
            if verdict is not None:
                right[question] = verdict
    return Tried(name, right, calls)


def _played(
    protocol: Protocol,
    cast: Cast,
    questions: Sequence[Question],
    answers: Answers,
    seed: int,
) -> Iterator[tuple[str, Outcome | None, int]]:
    """Yield (question id, outcome or None where the rule broke, asks) of each session."""
    for question in questions:
        session = start_session(
            protocol, question, cast, session_rng(question, seed=seed, repeat=0)
        )
        replies: Replies | None = None
        asks = 0
        try:
            while not isinstance(turn := step(session, replies), Finished):
                asks += len(turn)
                replies = tuple([answers.reply(ask.seat.expert, question.id) for ask in turn])
        except MootError:
            yield question.id, None, asks
            continue
        yield question.id, turn.outcome, asks


def _question(asked: EvidenceQuestion) -> Question:
    """Return a question of the evidence as a session is asked it."""
    return Question(
        id=asked.id,
        text=asked.text,
        options=asked.options,
        kind=asked.kind,
        category=asked.category,
        subject=asked.subject,
    )


def selected(tried: Sequence[Tried]) -> str | None:
    """Return the name of the one with the most right answers; None where nothing could be tried."""
    found = [(-sum(one.right.values()), one.calls, i) for i, one in enumerate(tried) if one.right]
    return tried[min(found)[2]].name if found else None


def selection(
    entries: Sequence[Entry], evidence: Evidence, folds: int, *, seed: int = 0
) -> tuple[dict[str, float], str | None]:
    """Try every rule of a run that learns from the measured experts, and select the best.

    Args:
        entries: the run's protocols; one is tried if it reads the profile or the evidence and asks
            nobody but measured experts.
        evidence: the answers of the pool.
        folds: how many parts.
        seed: of the deal and of the sessions.

    Returns:
        The accuracy of each rule that was tried, by name, and the name of the best.
    """
    parts = folds_of(evidence, folds, seed)
    answers = Answers(evidence)
    tried = [
        cross_validated(entry.name, entry.protocol, entry.cast, answers, parts, seed=seed)
        for entry in entries
        if _is_rule(entry, evidence)
    ]
    found = {one.name: one.accuracy for one in tried if one.accuracy is not None}
    return found, selected(tried)


def _is_rule(entry: Entry, evidence: Evidence) -> bool:
    """Whether an entry recruits from measured experts and asks nobody else."""
    if not {PROFILE, EVIDENCE} & set(entry.protocol.assets()):
        return False
    seated = [member.expert for members in entry.cast.members.values() for member in members]
    return not entry.cast.teams and all(expert in evidence.right for expert in seated)
