"""Annotation: a model names the skills that a question takes, several times over.

Schedule: ``{1..n}``, all of one annotator. Price: n asks.

Source: Symbolic-MoE (arXiv 2503.05641), section 3: two to five keywords a question, five passes at
temperature 0.7, and of the keywords of at most 20 characters those that more than one pass named.
With a closed menu: MEXA (arXiv 2506.17113), whose menu goes by modality. Departures: keywords are
compared in lower case with white space collapsed; of a pass that names more than five the first
five count; with a single pass, as MEXA makes it, what it named is kept. Names of a menu are as long
as they are. A pass that failed or cannot be read names nothing, and nothing stands in for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import BeforeValidator, Field, JsonValue

from protocols.asks import Ask, Sampling
from protocols.ballots import count_unparsed, failure_counts, session_boundary
from protocols.canonical import clean_text
from protocols.cast import Cast
from protocols.chance import Rng
from protocols.contract import CallBound, Protocol, Replies, Role, Session
from protocols.outcome import Outcome
from protocols.parsing import Parsed, Reading, Unparsed, marked_text
from protocols.prompts import prompt
from protocols.question import Question
from protocols.replies import Reply
from protocols.solving import solver_messages

ANNOTATOR = "annotator"
TEMPLATE = "annotation"
RULE = "repeated_keywords"
"""The aggregation rule of an annotation: its outcome names skills and answers nothing."""

FEWEST, MOST = 2, 5
"""Keywords that a pass is asked for."""
LONGEST = 20
"""Characters of a keyword; a longer one is dropped."""
_SHOWN = 60
_LONGEST_LINE = 2_000
"""Characters that are read of what a pass names (ours)."""

Menu = Sequence[str] | Mapping[str, Sequence[str]]
"""A closed menu: skills, or modality -> skills. By modality a skill is called MODALITY/SKILL."""


@dataclass(frozen=True, slots=True)
class Annotation:
    """What the passes over one question came to."""

    counts: dict[str, int]
    """The kept skills and the passes that named each: most often named first, then by name."""
    dropped: dict[str, str]
    """What was named and not kept, with the reason, by name."""
    read: int
    """Passes that could be read."""
    replies: Replies
    readings: tuple[Reading, ...]
    """One for each reply: its keywords, joined with commas."""

    @property
    def skills(self) -> tuple[str, ...]:
        """The kept skills, by name."""
        return tuple(sorted(self.counts))


def menu_names(menu: Menu) -> tuple[str, ...]:
    """Return the skills of a menu as they are to be written, each once, in its order."""
    if isinstance(menu, Mapping):
        return tuple(
            dict.fromkeys(
                f"{_line(modality)}/{_line(skill)}"
                for modality, skills in menu.items()
                for skill in skills
                if _line(skill)
            )
        )
    return tuple(dict.fromkeys(_line(skill) for skill in menu if _line(skill)))


def annotate(
    question: Question,
    cast: Cast,
    *,
    passes: int = 5,
    temperature: float | None = 0.7,
    menu: Menu = (),
) -> Session[tuple[str, ...]]:
    """Have the skills of a question named, and return them by name.

    Args:
        question: what is sorted; its passage is shown if the cast lets annotators read it.
        cast: who sits in the role ``annotator``.
        passes: how often it is asked.
        temperature: of these asks; None leaves the expert's own.
        menu: the skills to choose from; none for free keywords.
    """
    found = yield from annotation(question, cast, passes=passes, temperature=temperature, menu=menu)
    return found.skills


def annotation(
    question: Question,
    cast: Cast,
    *,
    passes: int = 5,
    temperature: float | None = 0.7,
    menu: Menu = (),
) -> Session[Annotation]:
    """Have the skills of a question named; see :func:`annotate`. Says what was dropped, too."""
    names = menu_names(menu)
    seat = cast.seat(ANNOTATOR, sampling=Sampling(temperature=temperature))
    task = prompt(TEMPLATE, "skills_task", menu=names, fewest=FEWEST, most=MOST, longest=LONGEST)
    messages = solver_messages(
        question,
        passage=cast.reads_passage(ANNOTATOR),
        system=prompt(TEMPLATE, "system"),
        task=task,
    )
    replies = yield (Ask(seat, messages, question=question.id),) * passes
    return count_keywords(replies, names)


def read_keywords(reply: Reply) -> tuple[str, ...] | Unparsed:
    """Return the keywords of one pass, each once, in lower case: at most five.

    They stand on the last line that starts with ``Skills:``, with commas or semicolons in between.
    """
    if reply.failure is not None:
        return Unparsed(f"the ask failed: {reply.failure.boundary}")
    written = marked_text(reply.text, "Skills")
    if written is None:
        return Unparsed("no line starts with 'Skills:'")
    pieces = clean_text(written[:_LONGEST_LINE])[0].replace(";", ",").split(",")
    named = tuple(dict.fromkeys(filter(None, map(_keyword, pieces))))
    return named[:MOST] or Unparsed("the line names no skill")


def _line(text: str) -> str:
    """Return a name of a menu in one line."""
    return " ".join(clean_text(str(text))[0].replace(",", " ").replace(";", " ").split())


def _keyword(piece: str) -> str:
    """Return a keyword without decoration: lower case, one blank between words."""
    return " ".join(piece.split()).strip("*_`\"'.-[]() ").casefold()


def count_keywords(replies: Sequence[Reply], menu: Sequence[str] = ()) -> Annotation:
    """Return what is kept of the keywords that the passes named.

    Kept is what more than one pass named (with one pass: what it named), if it is on the menu or,
    without one, at most 20 characters long.
    """
    listed = {_keyword(name): name for name in menu}
    counts: dict[str, int] = {}
    readings: list[Reading] = []
    for reply in replies:
        named = read_keywords(reply)
        if isinstance(named, Unparsed):
            readings.append(named)
            continue
        readings.append(Parsed(", ".join(named)))
        for keyword in named:
            name = listed.get(keyword, keyword)
            counts[name] = counts.get(name, 0) + 1
    kept: dict[str, int] = {}
    dropped: dict[str, str] = {}
    for name in sorted(counts, key=lambda name: (-counts[name], name)):
        if menu and name not in menu:
            dropped[name[:_SHOWN]] = "not on the menu"
        elif not menu and len(name) > LONGEST:
            dropped[name[:_SHOWN]] = f"longer than {LONGEST} characters"
        elif counts[name] < min(2, len(replies)):
            dropped[name] = "named once"
        else:
            kept[name] = counts[name]
    read = sum(isinstance(reading, Parsed) for reading in readings)
    return Annotation(kept, dict(sorted(dropped.items())), read, tuple(replies), tuple(readings))


def _tuples(menu: object) -> object:
    """Take a single list of names, or one list for each modality; a text is no list."""
    if isinstance(menu, Mapping):
        return {str(modality): skills for modality, skills in menu.items()}
    return menu


class AnnotateSkills(Protocol):
    """An expert names a question's skills in several passes; kept is what is named repeatedly.

    The outcome answers nothing, so it is an abstention, whose detail holds the skills with the
    passes that named each, and what was dropped and why. A session is unparsed where no pass that
    came could be read, and failed where none came.
    """

    kind: ClassVar[str] = "annotate_skills"
    about: ClassVar[str] = "an expert names the skills that a question takes, in several passes"
    templates: ClassVar[tuple[str, ...]] = (TEMPLATE,)

    passes: int = Field(default=5, ge=1)
    """How often the annotator is asked."""
    temperature: float | None = Field(default=0.7, ge=0.0, allow_inf_nan=False)
    """Temperature of the passes; null leaves the expert's own."""
    menu: Annotated[tuple[str, ...] | dict[str, tuple[str, ...]], BeforeValidator(_tuples)] = ()
    """The skills to choose from, or modality -> skills; empty for free keywords."""

    def roles(self) -> tuple[Role, ...]:
        """Return the one role: the annotator."""
        about = "names the skills that a question takes"
        return (Role(ANNOTATOR, about, reads_passage=True, draws=True),)

    def calls(self, question: Question, cast: Cast) -> CallBound:
        """One ask for each pass."""
        return CallBound(self.passes, self.passes)

    def session(self, question: Question, cast: Cast, rng: Rng) -> Session[Outcome]:
        """Ask for the skills and tell what was kept."""
        found = yield from annotation(
            question, cast, passes=self.passes, temperature=self.temperature, menu=self.menu
        )
        failed = all(reply.failed for reply in found.replies)
        return Outcome(
            status="failed" if failed else "abstained" if found.read else "unparsed",
            rule=RULE,
            unparsed=count_unparsed(found.replies, found.readings),
            failures=failure_counts(found.replies),
            boundary=session_boundary(found.replies) if failed else None,
            detail=_detail(found),
        )


def _detail(found: Annotation) -> dict[str, JsonValue]:
    return {
        "skills": dict(found.counts),
        "dropped": dict(found.dropped),
        "passes": found.read,
    }
