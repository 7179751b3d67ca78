"""One NYU conversation: rounds of speeches, beliefs and votes, in the order that its rules give."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from protocols.asks import Ask
from protocols.ballots import session_boundary
from protocols.beliefs import read_belief, read_consent, read_decision
from protocols.compose import together
from protocols.contract import Session
from protocols.judging import judge_ask
from protocols.messages import Message, Part
from protocols.nyu_rules import NyuRules, RoundKind
from protocols.question import Question
from protocols.quoting import quoted
from protocols.replies import MISSING_BOUNDARIES, Boundary, Reply
from protocols.speaking import Manner, SpeechTurn, Spoken, speak
from protocols.speeches import Speech, take_speech
from protocols.staging import JUDGE, Plan, coach_for, reads, speaker_system
from protocols.transcript import SIDES, Party, Transcript

TEMPLATE = "nyu"

EndedBy = Literal["judge", "agreement", "cap"]


class NyuStaging:
    """One conversation; :meth:`run` lets it take place, and fills what stands here."""

    def __init__(
        self,
        plan: Plan,
        rules: NyuRules,
        parties: Sequence[Party],
        manners: Sequence[Manner],
        *,
        min_rounds: int,
        side: int,
    ) -> None:
        """Prepare it.

        Args:
            plan: question, cast and words.
            rules: the structure.
            parties: those who argue, A before B.
            manners: how each makes its speeches.
            min_rounds: how many rounds of speeches the judge cannot end it before.
            side: the side of the one whose side is told.
        """
        self.plan = plan
        self.rules = rules
        self.parties = tuple(parties)
        self.side = side
        self.by = next((p.seat.expert for p in parties if p.side == side), "")
        self.transcript = Transcript(plan.words, parties)
        self.verdict: Reply | None = None
        """The judge's last reply."""
        self.reading: tuple[float, ...] = ()
        """The belief in it; empty where none could be read."""
        self.missing: Boundary | None = None
        """Why the staging ended without a verdict."""
        self.lost: list[Reply] = []
        """Failed replies, but for the last verdict."""
        self.unparsed = 0
        """Unread replies, but for the last verdict."""
        self.beliefs: list[tuple[float, ...]] = []
        """The judge's beliefs, one for each of its rounds; empty where none could be read."""
        self.votes: list[dict[str, bool | None]] = []
        """The votes on ending it, by side; None where one could not be read."""
        self.ended_by: EndedBy = "cap"
        self.continues = 0
        """t: how often the judge continued."""
        self.spoken = 0
        """Rounds of speeches that are closed."""
        self.ratings: list[dict[str, Any]] = []
        self._manners = tuple(manners)
        self._min_rounds = min_rounds

    def run(self) -> Session[None]:
        """Let the conversation take place."""
        kinds = self.rules.schedule(self.plan.rounds)
        record = self.rules.as_recorded
        for index, kind in enumerate(kinds):
            last = index == len(kinds) - 1 and not record
            ended = yield from self._round(kind, index, last=last)
            if self.missing is not None:
                return
            if kind == "judge" and not ended and not last:
                self.continues += 1
            if ended:
                self.ended_by = "judge" if kind == "judge" else "agreement"
                if not record:
                    break
        for kind in self.rules.closing:
            yield from self._round(kind, None, last=True)
            if self.missing is not None:
                return

    def detail(self) -> dict[str, Any]:
        """Tell how it went: beliefs, t, who ended it, how quotations fared."""
        told: dict[str, Any] = {
            f"{self.plan.words.role}s": {SIDES[p.side]: p.seat.expert for p in self.parties},
            "speeches": self.transcript.speeches_detail(),
            "beliefs": [list(belief) if belief else None for belief in self.beliefs],
            "continues": self.continues,
            "ended_by": self.ended_by,
        }
        if self.votes:
            told["votes"] = self.votes
        if self.ratings:
            told["ratings"] = self.ratings
        if self.rules.off_rules:
            told["off_rules"] = self.rules.off_rules
        return told

    def _round(self, kind: RoundKind, index: int | None, *, last: bool) -> Session[bool]:
        """Play one round, number `index` of the schedule; return whether somebody ended it there.

        Rounds of the closing have no number.
        """
        if kind == "judge":
            return (yield from self._judge(last))
        if kind == "negotiate_end":
            return (yield from self._vote())
        speakers = tuple(range(len(self.parties)))
        if index is not None and self.rules.as_recorded:
            sides = [party.side for party in self.parties]
            speakers = tuple(sides.index(side) for side in self.rules.speakers[index])
        yield from self._speeches(kind, speakers)
        return False

    def _speeches(self, kind: RoundKind, speakers: Sequence[int]) -> Session[None]:
        """Let each of `speakers`, indices of the parties, speak once, and close the round."""
        number = self.spoken + 1
        speeches: list[Speech | None] = [None] * len(self.parties)
        if kind == "sequential" or len(speakers) < 2:
            before: tuple[Speech | None, ...] = ()
            for index in speakers:
                spoken = yield from self._speech(number, index, before)
                speeches[index] = self._taken(number, index, spoken)
                before += (speeches[index],)
                if self.missing is not None:
                    return
        else:
            each = yield from together(*[self._speech(number, index, ()) for index in speakers])
            for index, spoken in zip(speakers, each, strict=True):
                speeches[index] = self._taken(number, index, spoken)
        if self.missing is None:
            self.transcript.close(number, speeches)
            self.spoken = number

    def _taken(self, number: int, index: int, spoken: Spoken) -> Speech | None:
        """Book what a speech brought beside itself, and return it."""
        self.lost += spoken.lost
        self.unparsed += spoken.unparsed
        self.missing = self.missing or spoken.missing
        if spoken.ratings:
            side = SIDES[self.parties[index].side]
            self.ratings.append({"round": number, "side": side, **spoken.detail()})
        return spoken.speech

    def _speech(
        self, number: int, index: int, current: tuple[Speech | None, ...]
    ) -> Session[Spoken]:
        """Let one party speak; `current` is what has been said before it in this round."""
        plan, speaker, manner = self.plan, self.parties[index], self._manners[index]
        read = self.transcript.heard[index]
        for speech in current:
            read += self.transcript.overheard(number, speech)
        task = plan.section(
            "speech_task",
            round=number,
            opponent=self.transcript.two_sided,
            limit=plan.rules.max_characters,
            quoted=plan.rules.max_quoted,
        )
        system = speaker_system(plan, speaker.seat.role)
        turn = SpeechTurn(plan.question, speaker.side, speaker.seat, system, read, task)
        if manner.plain:
            return speak(turn, manner)
        coach = coach_for(plan, self.transcript, speaker, number, rates=manner.rates)
        return speak(turn, manner, coach)

    def _judge(self, last: bool) -> Session[bool]:
        """Ask the judge for its belief; return whether it ends the session."""
        plan, number = self.plan, self.spoken
        if self.verdict is not None:
            self.lost += [self.verdict] if self.verdict.failed else []
            self.unparsed += not self.verdict.failed and not self.reading
        may_end = number >= max(1, self._min_rounds) or self.rules.as_recorded
        task = plan.section("belief_task", round=number, may_end=may_end and not last, last=last)
        system = judge_system(plan, len(self.parties), self.parties[0].seat.role)
        (reply,) = yield (
            judge_ask(
                plan.cast.seat(JUDGE),
                plan.question,
                passage=reads(plan, JUDGE),
                system=system,
                said=self.transcript.views[0],
                task=task,
            ),
        )
        self.verdict, self.reading = reply, read_belief(reply, plan.question) or ()
        self.beliefs.append(self.reading)
        if session_boundary([reply]) in MISSING_BOUNDARIES:
            self.missing, self.verdict = session_boundary([reply]), None
            self.lost.append(reply)
            return False
        heard, own = belief_parts(plan, number, reply, self.reading)
        self.transcript.tell([heard for _ in self.parties], own)
        return may_end and read_decision(reply) == "end"

    def _vote(self) -> Session[bool]:
        """Ask everybody whether to end it; return whether all want to."""
        plan, number = self.plan, self.spoken
        opponent = self.transcript.two_sided
        task = plan.section("negotiate_task", round=number, opponent=opponent)
        system = speaker_system(plan, plan.words.role)
        replies = yield tuple(
            Ask(
                speaker.seat,
                (system, Message("user", (*self.transcript.heard[index], task))),
                question=plan.question.id,
            )
            for index, speaker in enumerate(self.parties)
        )
        self.lost += [reply for reply in replies if reply.failed]
        votes = [read_consent(reply) for reply in replies]
        self.unparsed += sum(
            vote is None and not reply.failed for vote, reply in zip(votes, replies, strict=True)
        )
        self.votes.append(
            {SIDES[p.side]: vote for p, vote in zip(self.parties, votes, strict=True)}
        )
        missing = session_boundary(replies)
        if missing in MISSING_BOUNDARIES:
            self.missing = missing
            return False
        told = tuple(
            f"{SIDES[p.side]} {'wanted to' if vote else 'did not'}"
            for p, vote in zip(self.parties, votes, strict=True)
        )
        heading = plan.section("votes_heading", round=number)
        parts = (heading, plan.section("votes", votes=told))
        self.transcript.tell([parts for _ in self.parties], parts)
        return number > 0 and all(votes)


def judge_system(plan: Plan, parties: int, role: str) -> Message:
    """Return the system message of a judge who states beliefs about what `role` argues."""
    part = plan.section(
        "judge_system",
        parties=parties,
        speakers_read=reads(plan, role),
        judge_reads=reads(plan, JUDGE),
    )
    return Message("system", (part,))


def belief_parts(
    plan: Plan, number: int, reply: Reply, belief: tuple[float, ...]
) -> tuple[tuple[Part, ...], tuple[Part, ...]]:
    """Return a judge's belief and comment, as others and as the judge itself read them later."""
    stated = plan.section("no_belief")
    if belief:
        stated = Part("belief", quoted(belief_text(plan.question, belief)), origin=reply.place)
    rules = plan.rules._replace(max_quoted=None)
    comment = take_speech(reply, plan.question.passage, rules, name="feedback")
    others, own = (
        (plan.section(f"{which}belief_heading", round=number), stated) for which in ("", "own_")
    )
    if comment is None:
        return others, own
    return (
        (*others, plan.section("feedback_heading"), comment.part),
        (*own, plan.section("own_feedback_heading"), comment.part),
    )


def belief_text(question: Question, belief: tuple[float, ...]) -> str:
    """Return a belief as people read it: ``A 0.70, B 0.30``."""
    pairs = zip(question.labels, belief, strict=True)
    return ", ".join(f"{label} {share:.2f}" for label, share in pairs)
