"""A session as text for people: who said what, which quotations hold, how it ended."""

from __future__ import annotations

import math
import re
import textwrap
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import NamedTuple

from protocols.question import LABELS
from protocols.quotes import FUZZY_THRESHOLD, verify_quotes
from protocols.quoting import unquoted
from protocols.speeches import shown
from workflows.comparing.wording import counted_of
from workflows.exports.endings import course, verdict
from workflows.exports.export import Record
from workflows.settings.conversations import ARGUING
from workflows.simulated import simulated_line

VERIFIED, UNVERIFIED, UNCHECKED = "✓", "✗ not in the passage", "(not checked)"
_PLAIN_TASKS = ("", "task", "speech", "verdict")
"""What needs no name: the seat's usual work."""
_ROUND = re.compile("(?:This is round|Round) ([0-9]+)")
_NUMBER = re.compile("_([0-9]+)$")
_THINKING = re.compile(r"<[\s/]*thinking\s*>", re.IGNORECASE)
_ABOUT = ("reviewer", "rater", "critic", "author", "solver")
"""The roles of which it is told whose words they speak about, where that is not clear."""
_SOURCES = {
    "logprobs": "from log-probabilities",
    "probe": "from log-probabilities of a probe",
    "samples": "from draws",
    "stated": "as stated",
}
"""Where a distribution comes from, where that is not plain."""
_QUOTED = 80
"""Characters of a scored text that are shown; the prompts hold all of it."""
WIDEST = 100
"""Columns; longer lines are hard to read."""


class Told(NamedTuple):
    """What happened in one turn of a session."""

    heading: str
    outside: tuple[tuple[str, str], ...]
    """Speeches that are read here for the first time and were said in no turn, each behind the
    line that announces it."""
    said: tuple[tuple[str, str], ...]
    """Who said what."""


Marking = Callable[[str, bool], str]
"""Replaces the tags of checked quotations in a text; told whether there is a passage."""


def told_turns(record: Record, mark: Marking) -> list[Told]:
    """Return the turns of a session for another form than lines of text.

    Args:
        record: a session as :func:`workflows.exports.export.session_records` gives it.
        mark: replaces ``<v_quote>`` (verified) and ``<u_quote>`` (not) with what the form shows.
            Only what was checked here stands in these tags, whatever a reply holds.
    """
    return list(_Transcript(record, WIDEST, mark).told())


def transcript(record: Record, width: int = WIDEST, *, question: bool = True) -> list[str]:
    """Return the lines of a session.

    Args:
        record: a session as :func:`workflows.exports.export.session_records` gives it.
        width: of the terminal.
        question: whether the question is told; several sessions on one need it once.
    """
    width = max(40, min(width, WIDEST))
    lines = _wrapped(_title(record), width)
    if record["simulated"]:
        lines += _wrapped(simulated_line(record["simulated"]), width)
    if question:
        lines += ["", *question_lines(record["question"], width)]
    lines += _Transcript(record, width).turns()
    ending = [verdict(record), *course(record), _spent(record)]
    return [*lines, "", *(line for text in ending for line in _wrapped(text, width, "  ", "    "))]


def question_lines(question: Record, width: int) -> list[str]:
    """Return the lines of a question with its options."""
    width = max(40, min(width, WIDEST))
    lines = _wrapped(question["text"], width, "  ")
    for label, option in zip(LABELS, question["options"], strict=False):
        lines += _wrapped(f"{label}  {' '.join(option.split())}", width, "  ", "     ")
    return lines


class _Transcript:
    """The turns of one session as text."""

    def __init__(self, record: Record, width: int, mark: Marking | None = None) -> None:
        self.record = record
        self.width = width
        self._mark = mark or _with_marks
        self._outside: set[str] = set()

    def turns(self) -> Iterator[str]:
        """Yield the lines of all turns."""
        for told in self.told():
            yield ""
            yield from _wrapped(told.heading, self.width, "  ")
            for before, text in told.outside:
                yield from _wrapped(before, self.width, "  ")
                yield from self._beside("", text)
            names = [name for name, _ in told.said]
            room = max(map(len, names), default=0)
            for name, text in told.said:
                yield from self._beside(name.ljust(room), text)

    def told(self) -> Iterator[Told]:
        """Yield what happened in each turn."""
        record = self.record
        headings = [_heading(number, turn) for number, turn in enumerate(record["turns"])]
        often, seen = Counter(headings), Counter[str]()
        for number, (turn, heading) in enumerate(zip(record["turns"], headings, strict=True)):
            seen[heading] += 1
            counted = often[heading] > 1 and "round" not in heading
            which = f" ({seen[heading]} of {often[heading]})" if counted else ""
            inherited = record["fork_turn"] is not None and number < record["fork_turn"]
            kept = " (inherited)" if inherited else ""
            outside = tuple(self._read_from_outside(turn))
            said = zip(self._names(turn), map(self._said, turn), strict=True)
            yield Told(f"{heading}{which}{kept}", outside, tuple(said))

    def _beside(self, name: str, text: str) -> Iterator[str]:
        """Yield the lines of a text beside the name of who said it."""
        first, later = f"  {name} │ ", f"  {' ' * len(name)} │ "
        begun = False
        for paragraph in text.splitlines():
            if paragraph.strip():
                yield from _wrapped(paragraph, self.width, later if begun else first, later)
                begun = True
        if not begun:
            yield first.rstrip()

    def _names(self, turn: Sequence[Record]) -> list[str]:
        """Return who speaks in a turn; the second time that a name stands there it is ``#2``."""
        plain = [self._name(ask) for ask in turn]
        several = Counter(plain)
        names: list[str] = []
        seen = Counter[str]()
        for name, ask in zip(plain, turn, strict=True):
            told = name + (self._about(ask, name) if several[name] > 1 else "")
            seen[told] += 1
            names.append(told + (f" #{seen[told]}" if seen[told] > 1 else ""))
        most = max(12, self.width // 3)
        return [name if len(name) <= most else f"{name[: most - 1]}…" for name in names]

    def _name(self, ask: Record) -> str:
        """Return how a seat is called: a debater by its letter, a judge by the order it reads.

        Behind the name of a seat that a team fills stands who speaks in the team.
        """
        seat, _, member = str(ask["seat"]).partition(".")
        seat = seat.partition("(")[0]
        name = seat
        if ask["role"] in ARGUING:
            letter = seat.removeprefix(f"{ask['role']}_")
            side, _, case = letter.partition("_")
            name = f"{side.upper()} {case}".rstrip() if len(side) == 1 else letter
        elif ask["role"] == seat == "judge" and self._judged_in_orders:
            name = f"{LABELS[(_order(self.record, ask) or (0,))[0]]} first"
        elif ask["role"] == "solver" and not member:
            number = _NUMBER.search(seat)
            name = str(ask["expert"])
            if self._solver_seats[name] > 1:
                name += f" {int(number[1]) + 1 if number else 1}"
        return f"{name} {member}" if member else name

    def _about(self, ask: Record, name: str) -> str:
        """Return whose words a seat speaks about: those that it read last."""
        heard = [part["origin"] for part in _parts(ask) if part.get("origin")]
        if ask["role"] not in _ABOUT or not heard:
            return ""
        turn, slot = heard[-1]
        whose = self._name(self.record["turns"][turn][slot])
        return "" if whose == name else f" on {whose}"

    @cached_property
    def _asks(self) -> list[Record]:
        return [ask for turn in self.record["turns"] for ask in turn]

    @cached_property
    def _judged_in_orders(self) -> bool:
        return any(_order(self.record, ask) for ask in self._asks if ask["role"] == "judge")

    @cached_property
    def _solver_seats(self) -> Counter[str]:
        """In how many seats each expert answers."""
        seats = {(ask["expert"], ask["seat"]) for ask in self._asks if ask["role"] == "solver"}
        return Counter(str(expert) for expert, _ in seats)

    def _read_from_outside(self, turn: Sequence[Record]) -> Iterator[tuple[str, str]]:
        """Yield speeches that are read here for the first time and were said in no turn."""
        if set(self.record["cast"]) & set(ARGUING):
            return
        before, checked = "", bool(self.record["question"].get("passage"))
        for part in (part for ask in turn for part in _parts(ask)):
            text = part.get("text") or ""
            new = part["name"] == "speech" and not part.get("origin")
            if new and text not in self._outside:
                self._outside.add(text)
                yield before, self._mark(unquoted(text), checked)
            before = text

    def _said(self, ask: Record) -> str:
        """Return what a reply says: quotations marked, a failure named."""
        reply = ask["reply"]
        if reply is None:
            return "(no reply yet)"
        if reply["failure_boundary"] is not None:
            return f"(failed: {reply['failure_boundary']}: {reply['failure_message']})"
        if reply["distribution_source"] == "score":
            return _likelihood(ask, reply["distribution"])
        said = [self._marked(ask, reply["text"]) or "(said nothing)"]
        order = _order(self.record, ask)
        if order is not None:
            said.insert(0, _exchange(order, sides="judge" in ask["role"]))
        limit = self._limits(ask)[0]
        length = len(shown(reply["text"])) if limit else 0
        if limit and length > limit and self.record["parameters"].get("overrun") != "accept":
            said.append(f"(too long: {length:,} characters, {limit:,} are allowed)")
        shares = reply["distribution"] or []
        if order is not None and len(shares) == len(order):
            shares = [shares[order.index(place)] for place in range(len(order))]
        told = zip(ask["options"], shares, strict=False)
        if shares:
            beliefs = "  ".join(f"{label} {share:.2f}" for label, share in told)
            source = _SOURCES.get(reply["distribution_source"])
            said.append(f"→ {beliefs}" + (f"  ({source})" if source else ""))
        return "\n".join(said)

    def _marked(self, ask: Record, text: str) -> str:
        """Return `text` with its quotations checked and with hidden thinking told as such."""
        if "<" not in text:
            return text
        parameters = self.record["parameters"]
        passage = self.record["question"].get("passage")
        verified = verify_quotes(
            text,
            passage,
            mode=parameters.get("quotes", "strict"),
            threshold=parameters.get("fuzzy_threshold", FUZZY_THRESHOLD),
            budget=self._limits(ask)[1],
        )
        return _THINKING.sub(_thinking, self._mark(verified.text, bool(passage)))

    def _limits(self, ask: Record) -> tuple[int | None, int | None]:
        """Return how long a speech may be and how much may be quoted; None without a limit."""
        parameters = self.record["parameters"]
        rules = parameters.get("rules")
        if ask["role"] not in ARGUING:
            return None, None
        if not isinstance(rules, dict):
            return parameters.get("max_characters"), parameters.get("max_quoted")
        factor = 2 if ask["role"] == "consultant" else 1
        most, quoted = (rules.get(name) for name in ("max_characters", "max_quoted"))
        return most and most * factor, quoted and quoted * factor


def _title(record: Record) -> str:
    parameters = _parameters(record)
    cast = "   ".join(
        f"{role} {', '.join(labels) if len(labels) <= 2 else f'{len(labels)} experts'}"
        for role, labels in sorted(record["cast"].items())
    )
    return (
        f"{record['name']}{parameters}   session {record['session']}   "
        f"question {record['question']['id']}   {cast}"
    )


def _parameters(record: Record) -> str:
    """Return the parameters that tell most: how long, how large."""
    told = []
    for name, unit in (("rounds", "round"), ("k", "draw"), ("draws", "draw"), ("n", "draw")):
        count = record["parameters"].get(name)
        if count is not None:
            told.append(f"{count} {unit}{'' if count == 1 else 's'}")
    return f" ({', '.join(told)})" if told else ""


def _heading(number: int, turn: Sequence[Record]) -> str:
    """Return what happens in a turn: whose round it is, or who does what."""
    names = list(dict.fromkeys(_activity(ask) for ask in turn))
    return "; ".join(names) if len(names) <= 3 else f"turn {number + 1}"


def _activity(ask: Record) -> str:
    """Return what an ask is for, by role, round and task: ``round 2``, ``solver: critique``..."""
    parts = _parts(ask)
    starts = (_ROUND.match(part.get("text") or "") for part in reversed(parts))
    round_ = next((found[1] for found in starts if found), None)
    last = parts[-1]["name"].removesuffix("_task") if parts else ""
    task = "" if last in _PLAIN_TASKS else f": {last.replace('_', ' ')}"
    if round_ is None:
        return f"{ask['role']}{task}"
    if ask["role"] in ARGUING:
        return f"round {round_}{task}"
    return f"{ask['role']}{task}, round {round_}"


def _parts(ask: Record) -> list[Record]:
    return [part for message in ask["messages"] for part in message["parts"]]


def _order(record: Record, ask: Record) -> tuple[int, ...] | None:
    """Return the order in which the question's options were shown; None for its own, or others.

    The place in the question of each option that was shown.
    """
    options = [" ".join(option.split()) for option in record["question"]["options"]]
    text = next((part.get("text") or "" for part in _parts(ask) if part["name"] == "options"), "")
    lines = text.split("\n")
    if len(options) < 2 or len(lines) != len(options):
        return None
    order: list[int] = []
    for line in lines:
        places = [i for i, one in enumerate(options) if line[3:] == one and i not in order]
        if not places:
            return None
        order.append(places[0])
    return None if order == sorted(order) else tuple(order)


def _exchange(order: Sequence[int], *, sides: bool) -> str:
    """Say how the letters that somebody read differ from the question's own."""
    if sides and len(order) == 2:
        return "(it read both sides with their letters exchanged: its A is B)"
    pairs = ", ".join(f"{LABELS[at]} is {LABELS[place]}" for at, place in enumerate(order))
    return f"(it read the options in another order: its {pairs})"


def _with_marks(text: str, passage: bool) -> str:
    """Return `text` with its quotations in quotation marks, checked where there is a passage."""
    for letter, mark in (("v", VERIFIED), ("u", UNVERIFIED if passage else UNCHECKED)):
        text = text.replace(f"<{letter}_quote>", "“").replace(f"</{letter}_quote>", f"” {mark}")
    return text


def _likelihood(ask: Record, shares: Sequence[float] | None) -> str:
    """Say how likely somebody found a text that was given, its score (``Reply.score``)."""
    parts = ask["messages"][-1]["parts"] if ask["messages"] else []
    text = " ".join(" ".join(part.get("text") or "" for part in parts).split())
    brief = text if len(text) <= _QUOTED else f"{text[: _QUOTED - 1]}…"
    share = shares[0] if shares else 0.0
    if not 0.0 < share <= 1.0:
        return f"(no score of “{brief}”)"
    likelihood = f"{math.log(share):.3f}".replace("-", "\N{MINUS SIGN}")
    return f"“{brief}”: log-likelihood {likelihood} a token (perplexity {1.0 / share:,.2f})"


def _thinking(tag: re.Match[str]) -> str:
    return "\n(end of thinking)\n" if "/" in tag[0] else "\n(thinking, shown to nobody)\n"


def _spent(record: Record) -> str:
    asks = [ask for turn in record["turns"] for ask in turn]
    attempts = [
        attempt
        for ask in asks
        for attempt in ([ask["reply"]] if ask["reply"] else []) + ask["other_attempts"]
    ]
    tokens = sum(one["prompt_tokens"] + one["completion_tokens"] for one in attempts)
    price = sum(one["list_price"] or 0.0 for one in attempts)
    text = f"{counted_of(len(asks), 'ask')}, {counted_of(tokens, 'token')}"
    return text + (f", ${price:.4f}" if price else "")


def _wrapped(text: str, width: int, indent: str = "", later: str | None = None) -> list[str]:
    lines: list[str] = []
    after = indent if later is None else later
    for paragraph in text.splitlines() or [""]:
        lines += textwrap.wrap(
            paragraph,
            width,
            initial_indent=after if lines else indent,
            subsequent_indent=after,
            break_on_hyphens=False,
        )
    return lines
