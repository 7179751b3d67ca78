"""The page on all protocols, written from their code.

It is published as ``docs/protocols.md``; ``python -m workflows.catalogue.protocol_docs FILE``
writes it. The schedules are played (:mod:`workflows.forecast.rehearsal`), not told: who speaks in
which turn is read off the asks.
"""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from protocols.aggregator_bench import BENCH
from protocols.aggregators import AGGREGATORS, AggregatorScores
from protocols.asks import Model
from protocols.cast import Asset, Cast, Member
from protocols.contract import Protocol, Turn
from protocols.errors import Mistake
from protocols.evidence import EVIDENCE, Evidence, EvidenceQuestion
from protocols.memory import MEMORY, Memory
from protocols.profile import PROFILE, SkillProfile
from protocols.question import Question
from protocols.registry import PROTOCOLS, make_protocol
from workflows.catalogue.describing import module_doc, own_doc, parameters_of, plain, price_of
from workflows.forecast.rehearsal import rehearse

_TITLE = """# Protocols

Written from the code by `python -m workflows.catalogue.protocol_docs docs/protocols.md`; do not
edit it here.

Notation of schedules: `{x, y}` are asked at once and do not hear each other; `x > y`: y is asked
after x; `judge x2`: asked twice at once (a judge in both answer orders, a solver for several
draws). Each schedule was played with made-up replies that differ from each other, three experts
in a role that takes several (two debaters), and the parameters that are named, else the defaults.
In prices, r counts rounds and n experts; re-asks and drafts count too.

Every protocol takes `prompts`: its prompts in your own words, as `template.section: text`, or a
file of them with a line `[[template.section]]` above each; the sections are in
`protocols/templates`. Every seat may be filled by a team, a protocol with a cast of its own:
`teams: {panel: {kind: plurality, cast: {solver: [a, b, c]}}}` and `cast: {judge: panel}`, as in
`moot run panel-judge` and `moot run team-debater`.
"""

_QUESTIONS = (
    Question(id="q", text="Who opened it?", options=("Ann", "Ben"), passage="Ben opened it."),
    Question(id="q", text="How good is it?", kind="number", passage="It stands."),
)
_REPEATS = 4
"""What is repeated so often in a schedule is written once."""
_EXPERTS = ("ada", "bob", "cy")
_EVIDENCE = Evidence(
    questions=tuple(EvidenceQuestion(id=f"v{n}", text=f"Who opened box {n}?") for n in range(9)),
    right={name: "1" * (6 - place) + "0" * (3 + place) for place, name in enumerate(_EXPERTS)},
    measured_on="an example",
)
_ASSETS = {
    BENCH: Asset(kind=BENCH, content={"q": ["Answer: Ann", "Answer: Ben", "Answer: Ben"]}),
    EVIDENCE: _EVIDENCE.as_asset(),
    AGGREGATORS: AggregatorScores.of([("ada", "", True)]).as_asset(),
    MEMORY: Memory().as_asset(),
    PROFILE: SkillProfile(
        skills={name: {"any": 3 - place} for place, name in enumerate(_EXPERTS)},
        asked=dict.fromkeys(_EXPERTS, 9),
        right={name: 6 - place for place, name in enumerate(_EXPERTS)},
        measured_on="an example",
    ).as_asset(),
    "transcripts": Asset(
        kind="transcripts",
        content={"q": {"rounds": [{"A": "Ann did.", "B": "Ben did."}, {"A": "No.", "B": "Yes."}]}},
    ),
}


def protocols_page() -> str:
    """Return the page."""
    links = [f"[{kind}](#{kind})" for kind in PROTOCOLS]
    sections = [_section(cls) for cls in PROTOCOLS.values()]
    return "\n".join([_TITLE, "In alphabetical order: " + ", ".join(links) + ".", "", *sections])


def _section(cls: type[Protocol]) -> str:
    """Return the section on one protocol."""
    protocol = cls()
    first, _, rest = module_doc(cls).partition("\n\n")
    first_own, _, own = own_doc(cls).partition("\n\n")
    lines = [f"## {cls.kind}", "", plain(first_own), "", "```text", *_schedules(cls), "```", ""]
    lines += [f"Price: {price_of(cls)}.", "", f"Version {cls.version}.", ""]
    lines += ["| role | who | what |", "| --- | --- | --- |"]
    for role in protocol.roles():
        marks = ("several" if role.many else "one", "optional" if role.optional else "")
        reads = "reads the passage" if role.reads_passage else ""
        who = ", ".join(mark for mark in (*marks, reads) if mark)
        lines.append(f"| `{role.name}` | {who} | {_cell(role.about)} |")
    own_parameters = [one for one in parameters_of(cls) if one.name not in Protocol.model_fields]
    if own_parameters:
        lines += ["", "| parameter | takes | default | what |", "| --- | --- | --- | --- |"]
    for one in own_parameters:
        default = one.default if isinstance(one.default, str) else _short(one.default)
        cells = (f"`{one.name}`", one.takes, f"`{default}`", one.about)
        lines.append(f"| {' | '.join(map(_cell, cells))} |")
    return "\n".join([*lines, "", f"*{plain(first)}*", "", *_notes(own, own=True), *_notes(rest)])


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _notes(text: str, *, own: bool = False) -> Iterator[str]:
    """Yield a docstring's paragraphs as Markdown; the price in a class's `own` stands above."""
    for paragraph in text.split("\n\n"):
        if paragraph.strip() and not (own and paragraph.startswith("Price:")):
            words = re.sub(r":\w+:`~?([^`]+)`", r"``\1``", paragraph)
            yield words.replace("``", "`").rstrip()
            yield ""


def _schedules(cls: type[Protocol]) -> Iterator[str]:
    """Yield the schedule by default, and those of single parameters that make another one."""
    default = _schedule(cls.kind, {})
    yield default
    seen = {default}
    for name, value in _variants(cls):
        try:
            other = _schedule(cls.kind, {name: value})
        except Mistake:
            continue  # the value needs another parameter beside it
        if other not in seen:
            seen.add(other)
            yield f"{name}: {value if isinstance(value, str) else json.dumps(value)}"
            yield f"    {other}"


def _variants(cls: type[Protocol]) -> Iterator[tuple[str, Any]]:
    """Yield every other value of the parameters that choose among a few."""
    defaults = cls().parameters()
    for name, default in defaults.items():
        annotation = cls.model_fields[name].annotation
        values: Sequence[Any] = ()
        if get_origin(annotation) is Literal:
            values = get_args(annotation)
        elif annotation is bool:
            values = (True, False)
        yield from ((name, value) for value in values if value != default)


def _schedule(kind: str, parameters: dict[str, Any]) -> str:
    """Return who is asked in which turn.

    Raises:
        Mistake: the parameters do not fit.
    """
    protocol = make_protocol(kind, parameters)
    fitting = [one for one in _QUESTIONS if protocol.check_question(one) is None]
    if not fitting:
        raise Mistake("no example fits")
    turns = rehearse(protocol, fitting[0], _cast(protocol)).turns
    return " > ".join(_folded([_told(turn) for turn in turns]))


def _folded(turns: list[str]) -> list[str]:
    """Return the turns with the first long repetition in them written once."""
    for start in range(len(turns)):
        for period in range(1, (len(turns) - start) // _REPEATS + 1):
            unit = turns[start : start + period]
            count = 1
            while turns[start + count * period : start + (count + 1) * period] == unit:
                count += 1
            if count >= _REPEATS:
                rest = turns[start + count * period :]
                return [*turns[:start], f"({' > '.join(unit)}) x{count}", *rest]
    return turns


def _told(turn: Turn) -> str:
    seats = Counter(ask.seat.name for ask in turn)
    names = [name if count == 1 else f"{name} x{count}" for name, count in seats.items()]
    return names[0] if len(names) == 1 else f"{{{', '.join(names)}}}"


def _cast(protocol: Protocol) -> Cast:
    """Return a cast with everybody that the protocol needs; two debaters where it has debaters."""
    members: dict[str, tuple[Member, ...]] = {}
    for role in protocol.roles():
        if not role.optional:
            count = 1 if not role.many else 2 if role.name in ("debater", "consultant") else 3
            members[role.name] = tuple(
                Member(expert=name, model=Model(f"scripted/{name}")) for name in _EXPERTS[:count]
            )
    assets = {name: _ASSETS[name] for name in protocol.assets() if name in _ASSETS}
    readers = frozenset(role.name for role in protocol.roles() if role.reads_passage)
    return Cast(members=members, readers=readers & frozenset(members), assets=assets)


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(protocols_page(), encoding="utf-8")
