"""One speech, from the first draft to what is heard.

A plain speech is one ask. With ``overrun: reask`` an over-long one is asked for once again, and
cut if it is still too long. With more than one draft the best is heard (best-of-N); with critiques
the best draft is criticised, and refined by the best critique. Each candidate is rated by a role
of its own, ``rater``, so that the judge is not optimised against itself: its rating is the
rater's probability of the speaker's answer when the speech stands against one that says nothing.

Schedule of one speech, where each step is one turn and those with one candidate need no rating::

    {draft x N}, {rate x N}, {critique x C}, {rate x C}, {refine x M}, {rate x M}

Symmetry. The rater always reads the speaker's answer as answer A, whichever option of the question
it is, so exchanging the options exchanges nothing for it. (The public code of the source read the
rater's first option even where the speaker had the second, and then took the worst candidate.)

Quorum. A candidate that failed or shows nothing is left out; one whose rating is missing or cannot
be read comes after all that are rated. Equal candidates: the first. If the rater gives nothing at
all because data is missing, the speech is missing; if critics give nothing, the draft is heard.

Source: Khan et al. 2402.06782, section 3.3 and appendix (best-of-N, critique-and-refine).
Departures: the rater reads one order only, as only the order of candidates matters; a critique is
rated by whether it is called useful; where N differs between debaters, so it is in cross-play.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from protocols.asks import Ask, Seat
from protocols.ballots import session_boundary
from protocols.compose import together
from protocols.contract import Session
from protocols.judging import judge_ask, shown_in
from protocols.messages import Message, Part
from protocols.parsing import option_distribution
from protocols.prompts import prompt
from protocols.question import Question
from protocols.replies import MISSING_BOUNDARIES, Boundary, Reply
from protocols.speeches import Speech, SpeechRules, runs_over, take_speech

TEMPLATE = "speaking"


class Manner(NamedTuple):
    """How a speech comes about."""

    rules: SpeechRules
    words: int
    """The length that is asked for."""
    drafts: int = 1
    critiques: int = 0
    refinements: int = 0

    @property
    def plain(self) -> bool:
        """Whether one ask makes the speech, whatever comes back."""
        return self.drafts == 1 and not self.critiques and self.rules.overrun != "reask"

    @property
    def rates(self) -> bool:
        """Whether there is anything to choose by its rating."""
        return max(self.drafts, self.critiques, self.refinements) > 1

    @property
    def most(self) -> int:
        """The most asks that one speech takes."""
        again = 2 if self.rules.overrun == "reask" and self.rules.max_characters else 1
        written = again * (self.drafts + self.refinements) + self.critiques
        rated = (n for n in (self.drafts, self.critiques, self.refinements) if n > 1)
        return written + sum(rated)


class SpeechTurn(NamedTuple):
    """Who speaks now, and what it has read."""

    question: Question
    side: int
    """The place of the speaker's option in the question."""
    seat: Seat
    system: Message
    read: tuple[Part, ...]
    task: Part


class Coach(NamedTuple):
    """What best-of-N and critique-and-refine need beside the speaker."""

    rater: Seat | None
    """Who rates; None where nothing is rated."""
    rater_reads: bool
    critic: Seat
    """Who criticises: the role ``critic``, or the speaker itself."""
    critic_reads: bool
    view: tuple[Part, ...]
    """The closed rounds as a judge hears them, the speaker's side first."""
    own_heading: Part
    opposed_heading: Part | None
    """None where there is no opponent."""


class Speaker(NamedTuple):
    """One who makes a speech."""

    turn: SpeechTurn
    manner: Manner
    coach: Coach | None = None
    """Needed unless the manner is plain."""


@dataclass(slots=True)
class Spoken:
    """What became of one speech."""

    speech: Speech | None = None
    missing: Boundary | None = None
    """Why it is missing; None where it was given or the speaker was silent."""
    lost: tuple[Reply, ...] = ()
    """Every reply that failed on the way."""
    unparsed: int = 0
    """Ratings that could not be read."""
    ratings: tuple[tuple[str, list[float | None]], ...] = ()
    """The ratings of each step, in the order of the candidates."""

    def lose(self, replies: Sequence[Reply]) -> None:
        """Book those of `replies` that failed."""
        self.lost += tuple([reply for reply in replies if reply.failed])

    def detail(self) -> dict[str, Any]:
        """Tell the ratings, rounded to what matters."""
        return {
            step: [None if rating is None else round(rating, 6) for rating in ratings]
            for step, ratings in sorted(self.ratings)
        }


def speak(turn: SpeechTurn, manner: Manner, coach: Coach | None = None) -> Session[Spoken]:
    """Let one speaker make one speech; `coach` is needed unless the manner is plain."""
    (spoken,) = yield from speak_at_once([Speaker(turn, manner, coach)])
    return spoken


def speak_at_once(speakers: Sequence[Speaker]) -> Session[list[Spoken]]:
    """Let each of `speakers` make one speech; none hears what another says."""
    asks: list[Ask] = []
    for turn, manner, _ in speakers:
        asks += (_speech_ask(turn, (turn.task,)),) * manner.drafts
    replies = yield tuple(asks)
    each: list[Spoken] = []
    unfinished: list[Session[None]] = []
    for speaker in speakers:
        turn, manner, _ = speaker
        drafts, replies = replies[: manner.drafts], replies[manner.drafts :]
        spoken = Spoken()
        each.append(spoken)
        if manner.plain:
            spoken.speech = next(iter(_heard(turn, drafts, manner.rules, spoken)), None)
        else:
            unfinished.append(_finish(speaker, drafts, spoken))
    if unfinished:
        yield from together(*unfinished)
    return each


def _finish(speaker: Speaker, drafted: Sequence[Reply], spoken: Spoken) -> Session[None]:
    """Make a speech of its drafts: shorten, rate, criticise and refine, as the manner says."""
    turn, manner, coach = speaker
    assert coach is not None
    task = (turn.task,)
    drafts = yield from _shortened(turn, task, drafted, manner.rules, spoken)
    best = yield from _best(turn, coach, drafts, "drafts", spoken)
    if best is None or spoken.missing is not None:
        return
    spoken.speech = best
    if manner.critiques:
        critique = yield from _criticise(turn, manner, coach, best, spoken)
        if critique is not None and spoken.missing is None:
            said = (prompt(TEMPLATE, "draft_heading"), best.part)
            limit = manner.rules.stated_limit
            advice = (prompt(TEMPLATE, "critique_heading"), critique.part)
            task = (prompt(TEMPLATE, "refine_task", words=manner.words, limit=limit),)
            parts = (*said, *advice, *task)
            again = yield (_speech_ask(turn, parts),) * manner.refinements
            refined = yield from _shortened(turn, parts, again, manner.rules, spoken)
            spoken.missing = None
            spoken.speech = (yield from _best(turn, coach, refined, "refinements", spoken)) or best


def _speech_ask(turn: SpeechTurn, parts: tuple[Part, ...]) -> Ask:
    """Return the ask that puts `parts` to the speaker, after what it has read."""
    messages = (turn.system, Message("user", (*turn.read, *parts)))
    return Ask(turn.seat, messages, question=turn.question.id)


def _shortened(
    turn: SpeechTurn,
    parts: tuple[Part, ...],
    replies: Sequence[Reply],
    rules: SpeechRules,
    spoken: Spoken,
) -> Session[list[Speech]]:
    """Return the speeches of replies to `parts`; what is too long is asked for once again."""
    over = []
    if rules.overrun == "reask":
        over = [index for index, reply in enumerate(replies) if runs_over(reply, rules)]
    if over:
        replies = list(replies)
        again = yield tuple(_ask_again(turn, parts, replies[index], rules) for index in over)
        spoken.lose(again)
        for index, reply in zip(over, again, strict=True):
            if take_speech(reply, turn.question.passage, rules) is not None:
                replies[index] = reply
    return _heard(turn, replies, rules, spoken)


def _heard(
    turn: SpeechTurn, replies: Sequence[Reply], rules: SpeechRules, spoken: Spoken
) -> list[Speech]:
    """Return the speeches that came back, and book what did not."""
    passage = turn.question.passage
    speeches: list[Speech] = []
    for reply in replies:
        speech = take_speech(reply, passage, rules)
        if speech is not None:
            speeches.append(speech)
        elif reply.failed:
            spoken.lost += (reply,)
    if not speeches:
        boundary = session_boundary(replies)
        spoken.missing = boundary if boundary in MISSING_BOUNDARIES else None
    return speeches


def _ask_again(turn: SpeechTurn, parts: tuple[Part, ...], reply: Reply, rules: SpeechRules) -> Ask:
    """Return the ask for a shorter version of an over-long speech, which is shown in full."""
    limit = rules.max_characters
    whole = take_speech(reply, turn.question.passage, rules._replace(overrun="accept"))
    assert whole is not None
    heading = prompt(TEMPLATE, "overlong_heading", characters=len(reply.text), limit=limit)
    said = (*parts, heading, whole.part, prompt(TEMPLATE, "reask_task", limit=limit))
    return _speech_ask(turn, said)


def _criticise(
    turn: SpeechTurn, manner: Manner, coach: Coach, draft: Speech, spoken: Spoken
) -> Session[Speech | None]:
    """Return the best critique of a draft; None where nobody gave one."""
    system = Message("system", (prompt(TEMPLATE, "critic_system", passage=coach.critic_reads),))
    read = tuple(part for part in turn.read if part.name != "passage")
    if coach.critic_reads:
        read = (turn.question.passage_part, *read)
    said = (prompt(TEMPLATE, "draft_heading"), draft.part, prompt(TEMPLATE, "critique_task"))
    asked = Ask(coach.critic, _user(system, read, said), question=turn.question.id)
    replies = yield (asked,) * manner.critiques
    spoken.lose(replies)
    rules = manner.rules._replace(overrun="accept", max_quoted=None)
    taken = (take_speech(reply, turn.question.passage, rules, name="critique") for reply in replies)
    critiques = [critique for critique in taken if critique is not None]
    best = yield from _best(turn, coach, critiques, "critiques", spoken, draft=draft)
    return best


def _best(
    turn: SpeechTurn,
    coach: Coach,
    candidates: Sequence[Speech],
    step: str,
    spoken: Spoken,
    *,
    draft: Speech | None = None,
) -> Session[Speech | None]:
    """Return the candidate with the highest rating, the first of equals; None without any."""
    if len(candidates) < 2 or coach.rater is None:
        return candidates[0] if candidates else None
    rate = _rating_ask if draft is None else _critique_rating_ask
    replies = yield tuple(rate(turn, coach, candidate, draft) for candidate in candidates)
    spoken.lose(replies)
    readings = [option_distribution(reply, turn.question) for reply in replies]
    ratings = [None if reading is None else reading[0] for reading in readings]
    spoken.ratings += ((step, ratings),)
    spoken.unparsed += sum(
        rating is None and not reply.failed for rating, reply in zip(ratings, replies, strict=True)
    )
    rated = [index for index, rating in enumerate(ratings) if rating is not None]
    if not rated:
        boundary = session_boundary(replies)
        if boundary in MISSING_BOUNDARIES:
            spoken.missing = boundary
        return candidates[0]
    return candidates[max(rated, key=lambda index: (ratings[index] or 0.0, -index))]


def _rating_ask(turn: SpeechTurn, coach: Coach, candidate: Speech, draft: Speech | None) -> Ask:
    """Return the ask that rates a speech: the speaker's side is A, its opponent says nothing."""
    assert coach.rater is not None
    said = (*coach.view, coach.own_heading, candidate.part)
    if coach.opposed_heading is not None:
        said = (*said, coach.opposed_heading, prompt(TEMPLATE, "contentless"))
    return judge_ask(
        coach.rater,
        shown_in(turn.question, (turn.side, 1 - turn.side)),
        passage=coach.rater_reads,
        system=Message("system", (prompt(TEMPLATE, "rater_system"),)),
        said=said,
        task=prompt(TEMPLATE, "rating_task"),
    )


def _critique_rating_ask(
    turn: SpeechTurn, coach: Coach, candidate: Speech, draft: Speech | None
) -> Ask:
    """Return the ask that rates a critique: option A says that it is useful."""
    assert coach.rater is not None
    assert draft is not None
    read = (turn.question.passage_part,) if coach.rater_reads else ()
    options = replace(prompt(TEMPLATE, "critique_options"), name="options")
    heading = prompt(TEMPLATE, "draft_heading")
    advice = (prompt(TEMPLATE, "critique_heading"), candidate.part)
    parts = (*read, turn.question.text_part, options, heading, draft.part, *advice)
    system = Message("system", (prompt(TEMPLATE, "rater_system"),))
    messages = _user(system, parts, (prompt(TEMPLATE, "critique_rating_task"),))
    return Ask(coach.rater, messages, ("A", "B"), question=turn.question.id)


def _user(system: Message, read: tuple[Part, ...], parts: tuple[Part, ...]) -> tuple[Message, ...]:
    return system, Message("user", (*read, *parts))
