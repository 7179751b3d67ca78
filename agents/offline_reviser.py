"""``offline/reviser``: a simulated peer that starts from a recorded answer and revises it by rule.

Its first answer to a question is the recorded one of a real model; what it does once it hears
others is not recorded anywhere and is made up by a named, seeded rule. So every deliberation can
be run, counted and compared without a model, but what comes out says how protocols treat such
rules and nothing about models: every text starts with ``[simulated]``, and the model's name says
``reviser``. An expert of a roster::

    ada:
      model: offline/reviser
      data: questions.jsonl
      options: {model: mathstral-7B, rule: persuadable, p: 0.3}

It reads prompts by their shape (:mod:`agents.offline_hearing`): a part whose name, or the name of
the part before it, starts with ``your`` or ``own`` holds its own words; the last ``Answer:`` line
of each quoted text is what that one answers. It then writes the lines that the prompt asks for:
``Confidence:`` (5 to 10 of 10), ``Score:`` and the lines of a form (1 to 10), all drawn by the
ask's key, ``Verdict:`` (settled where all others answer alike) and ``Answer:``. A critique or a
review says what was read and what it holds itself.

=================  ==============================================================================
``stay``           keeps its answer
``stubborn``       changes it only where all others agree on another one, and are two at least
``majority``       takes the most frequent of the answers that it reads, its own among them; of
                   tied ones its own, else the one that it read first
``persuadable``    takes, with probability `p`, the most frequent of the others' answers that
                   differ from its own; drawn by the ask's key
=================  ==============================================================================
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from agents.engine import Capabilities
from agents.offline_engine import PromptEngine, spoken
from agents.offline_hearing import Heard, clipped, counted, listen
from agents.recorded_file import RecordedFile, read_recorded
from agents.roster import Expert
from agents.settings import checked, suggestion
from protocols.asks import Ask
from protocols.canonical import canonical_json, sha256_hex
from protocols.errors import Mistake
from protocols.messages import find_part
from protocols.replies import Reply, failed

REVISER = "offline/reviser"
LABEL = "[simulated]"
"""How every text of a reviser starts."""
UNANSWERED = "I have no answer."
"""What it says where the recorded text held none; there is no answer line on purpose."""


class Revision(BaseModel):
    """The options of a reviser."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    """Whose recorded answers it starts from: a model of the data file."""
    rule: Literal["stay", "stubborn", "majority", "persuadable"] = "majority"
    """How it revises."""
    p: float = Field(0.5, ge=0.0, le=1.0)
    """The probability with which a persuadable one changes its answer."""
    seed: int = 0
    """Another seed draws anew what is drawn by the ask's key."""


def read_revision(expert: Expert) -> Revision:
    """Return the options of a reviser.

    Raises:
        Mistake: an option is missing, unknown or malformed.
    """
    return checked(Revision, expert.options, f"{expert.label or expert.model}.options")


def first_answers(expert: Expert) -> RecordedFile:
    """Return the recorded answers that a reviser starts from.

    Raises:
        Mistake: there is no such file, or the model is not in it.
    """
    who = expert.label or expert.model
    if expert.data is None:
        raise Mistake(f"{who}: a reviser starts from recorded answers; write  data: FILE")
    file = read_recorded(expert.data)
    model = read_revision(expert).model
    if model not in file.answers:
        raise Mistake(
            f"{who}.options.model: {expert.data} holds no answers of {model!r}; "
            f"{suggestion(model, file.answers)}"
        )
    return file


def reviser_revision(expert: Expert) -> str:
    """Return the identity of a reviser: 16 hexadecimal digits over its data and its options.

    Raises:
        Mistake: see :func:`first_answers` and :func:`read_revision`.
    """
    options = read_revision(expert)
    data = first_answers(expert).revision(options.model)
    return sha256_hex(canonical_json([data, options.model_dump(mode="json")]))[:16]


class Reviser(PromptEngine):
    """Starts from a recorded answer and revises it by a seeded rule (simulated).

    Deterministic: the same ask has the same reply.
    """

    capabilities = Capabilities(draws=True)
    batch_limit = 4096
    needs: ClassVar[str] = "data: FILE of recorded answers, options: {model: ...}"

    def __init__(self, expert: Expert) -> None:
        super().__init__(expert)
        self._options = read_revision(expert)
        self._file: RecordedFile | None = None

    async def load(self) -> None:
        """Read the recorded answers.

        Raises:
            Mistake: see :func:`first_answers`.
        """
        self._file = await asyncio.to_thread(first_answers, self.expert)

    async def unload(self) -> None:
        """Let go of them."""
        self._file = None

    def reply(self, ask: Ask) -> Reply:
        """Return what the rule makes of the prompt.

        Where the first answer is wanted and was not recorded, that is a provider failure, as with
        a recorded expert.
        """
        heard = listen(ask)
        own, known = (heard.own, True) if heard.own is not None else self._recorded(ask, heard)
        if not known and not heard.others and "answer" in heard.wants:
            why = f"no answer of {self._options.model!r} to {ask.question!r} was recorded as asked"
            return failed("provider", why, cause="not_recorded")
        return spoken(ask, "\n".join(self._lines(ask, heard, own)))

    def _lines(self, ask: Ask, heard: Heard, own: str | None) -> list[str]:
        """Return the text of a reply, line by line; the answer stands last."""
        answers = "answer" in heard.wants
        now = self._revised(ask, own, heard.others) if answers else own
        lines = [f"{LABEL} {REVISER}, rule {self._options.rule}", _account(heard, own, now)]
        if "confidence" in heard.wants:
            lines.append(f"Confidence: {5 + int(6 * self._draw(ask, 'confidence'))}/10")
        if "score" in heard.wants:
            lines.append(f"Score: {self._score(ask, 'score')}")
        lines += [self._filled(ask, form) for form in heard.forms]
        if "verdict" in heard.wants:
            lines.append(f"Verdict: {'settled' if len(set(heard.others)) == 1 else 'open'}")
        if answers:
            lines.append(UNANSWERED if now is None else f"Answer: {heard.written.get(now, now)}")
        return lines

    def _recorded(self, ask: Ask, heard: Heard) -> tuple[str | None, bool]:
        """Return the recorded first answer, and whether there is a record of the question."""
        file = self._file or first_answers(self.expert)
        text = find_part(ask.messages, "question")
        options = find_part(ask.messages, "options")
        if text is None:
            return None, False
        row = file.find(text.text, "" if options is None else options.text, ask.question)
        answers = None if row is None else row.answers
        if answers is None or self._options.model not in answers:
            return None, False
        answer = answers[self._options.model]
        return (None if answer is None else " ".join(answer.split()) or None), True

    def _revised(self, ask: Ask, own: str | None, others: Sequence[str]) -> str | None:
        """Return the answer that the rule gives; `own` where it keeps it."""
        rule = self._options.rule
        if rule == "majority":
            return _majority(own, others)
        if rule == "stubborn":
            agreed = len(others) > 1 and len(set(others)) == 1
            return others[0] if agreed else own
        if rule == "persuadable" and self._draw(ask, "change") < self._options.p:
            differing = [answer for answer in others if answer != own]
            return _most_frequent(differing) if differing else own
        return own

    def _filled(self, ask: Ask, form: str) -> str:
        """Return a line of a form with a score in the place of every number behind its colon."""
        name, _, values = form.partition(":")
        words = [
            re.sub("[0-9]+", str(self._score(ask, f"{name}/{place}")), word)
            for place, word in enumerate(values.split(" "))
        ]
        return f"{name}:{' '.join(words)}"

    def _score(self, ask: Ask, what: str) -> int:
        return 1 + int(10 * self._draw(ask, what))

    def _draw(self, ask: Ask, what: str) -> float:
        """Return a number in [0, 1) that the ask's key, the seed and the purpose pick."""
        digest = hashlib.sha256(f"{self._options.seed}|{what}|{ask.key}".encode()).digest()
        return int.from_bytes(digest[:6], "big") / (1 << 48)


def _majority(own: str | None, others: Sequence[str]) -> str | None:
    """Return the most frequent answer, one's own before others that are as frequent."""
    return _most_frequent([*([] if own is None else [own]), *others])


def _most_frequent(answers: Sequence[str]) -> str | None:
    """Return the most frequent answer, of tied ones the one that stands first."""
    return Counter(answers).most_common(1)[0][0] if answers else None


def _account(heard: Heard, own: str | None, now: str | None) -> str:
    """Say in a line what was read and what it holds."""
    holds = "I hold no answer" if own is None else f"I hold {clipped(own)}"
    if not heard.others:
        return f"{holds}; nobody else's answer was read."
    read = f"I read {counted(heard.others)}"
    if now == own:
        return f"{read}. {holds}."
    return f"{read}. {holds} and change to {clipped(now or 'none')}."
