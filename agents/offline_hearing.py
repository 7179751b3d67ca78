"""What a prompt says, read by its shape: who answered what, and which lines are asked for.

For experts without a model that must work with every protocol's prompts, those of protocols to
come among them. What stands behind ``> `` was said by somebody; all else that follows the
question is the protocol speaking.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from protocols.asks import Ask
from protocols.messages import Part
from protocols.parsing import answer_text, canonical_answer, parse_number
from protocols.quoting import MARK

_GIVEN = frozenset({"passage", "question", "options"})
_OTHER_QUESTIONS = frozenset({"sample", "sample_text", "exemplar", "exemplar_text"})
_EACH = re.compile(r"\beach: ([^.\n]+)\.")
_EXCHANGE = re.compile(r"^[0-9]+ -> [0-9]+(?=$|[ :])", re.MULTILINE)
_FORM = "of this form:\n"
_SHOWN = 60
"""The most characters of an answer that are repeated in running text."""


@dataclass(frozen=True, slots=True)
class Heard:
    """What stands in a prompt; answers are in canonical form."""

    own: str | None
    """The answer in the reader's own last words that hold one."""
    others: tuple[str, ...]
    """The answers in others' words, in reading order."""
    wants: frozenset[str]
    """The lines that are asked for: ``answer``, ``confidence``, ``verdict``..."""
    forms: tuple[str, ...]
    """Lines that are to be filled in with numbers of one's own: ``clarity: 6``..."""
    written: dict[str, str]
    """Every answer as it was first written."""
    labels: tuple[str, ...]
    """The labels of the options; empty where there are none."""

    def canonical(self, written: str) -> str | None:
        """Return an answer in canonical form; None where it is none of the options."""
        return _canonical(written, self.labels)


def listen(ask: Ask) -> Heard:
    """Read the prompt of an ask."""
    labels: tuple[str, ...] = ()
    own: str | None = None
    others: list[str] = []
    written: dict[str, str] = {}
    wants: set[str] = set()
    instructions: list[str] = []
    for before, part in _user_parts(ask):
        if part.name == "options":
            labels = tuple(line[0] for line in part.text.split("\n") if line[1:3] == ". ")
        if part.name in _GIVEN or part.name in _OTHER_QUESTIONS:
            continue
        said, spoken = _apart(part.text)
        if spoken:
            wants.update(_wanted(spoken))
            instructions.append(spoken)
        text = answer_text(said) if said else None
        answer = None if text is None else _canonical(text, labels)
        if text is None or answer is None:
            continue
        written.setdefault(answer, " ".join(text.split()))
        if before.startswith(("your", "own")) or part.name.startswith(("your", "own")):
            own = answer
        else:
            others.append(answer)
    forms = tuple(_forms(instructions))
    return Heard(own, tuple(others), frozenset(wants), forms, written, labels)


def counted(answers: Sequence[str]) -> str:
    """Return how often each answer was given, in words."""
    pieces = [f"{clipped(answer)} ({n})" for answer, n in Counter(answers).items()]
    return ", ".join(pieces[:10])


def clipped(answer: str) -> str:
    """Return an answer for running text: one line, not too long."""
    line = " ".join(answer.split())
    return line if len(line) <= _SHOWN else line[:_SHOWN] + "..."


def _user_parts(ask: Ask) -> Iterator[tuple[str, Part]]:
    """Yield the text parts that are put to the reader, behind the name of the part before."""
    for message in ask.messages:
        if message.speaker == "user":
            before = ""
            for part in message.parts:
                if part.kind == "text":
                    yield before, part
                before = part.name


def _apart(text: str) -> tuple[str, str]:
    """Return what somebody said in a part, without its marks, and what the protocol says."""
    said: list[str] = []
    spoken: list[str] = []
    for line in text.split("\n"):
        if line.startswith(MARK):
            said.append(line.removeprefix(MARK))
        elif line != MARK.strip():
            spoken.append(line)
    return "\n".join(said), "\n".join(spoken)


def _wanted(spoken: str) -> Iterator[str]:
    """Yield the lines that a text asks for: the word in ``"Word: ``."""
    for piece in spoken.split('"')[1:]:
        word, colon, _ = piece.partition(": ")
        if colon and word.isalpha():
            yield word.lower()


def _forms(instructions: Sequence[str]) -> Iterator[str]:
    """Yield the lines to fill in: those behind ``of this form:``, once for each thing to rate."""
    task = next((text for text in reversed(instructions) if _FORM in text), "")
    others = [text for text in instructions if text is not task]
    before, _, behind = task.rpartition(_FORM)
    each = _EACH.search(before)
    for line in behind.split("\n"):
        name, colon, values = line.partition(":")
        if not colon:
            return
        names = [name]
        if "->" in name:
            names = list(dict.fromkeys(_EXCHANGE.findall("\n".join((*others, before)))))
        elif each is not None:
            names = [criterion.strip() for criterion in each[1].split(",")]
        yield from (f"{one}:{values}" for one in names)


def _canonical(text: str, labels: tuple[str, ...]) -> str | None:
    if labels:
        label = canonical_answer(text, "choice")
        return label if label in labels else None
    return parse_number(text) or canonical_answer(text, "text")
