"""Where protocols do well: by topic, by difficulty, by who argued, and what talking changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean

from agents.grading import grade
from workflows.page.charts import Course, Flip, flips, lines
from workflows.page.drawing import SERIES
from workflows.page.material import Lane, Material, Session
from workflows.page.parts import (
    DASH,
    Plot,
    Section,
    Table,
    amount,
    p_value,
    percentage,
    plotted,
    signed,
    signed_span,
    span,
)
from workflows.page.strips import Strip, strips
from workflows.statistics.intervals import wilson
from workflows.statistics.paired import paired_difference

TOPICS, FEW = 24, 4
"""Topics beyond which a breakdown says nothing, and questions in each on average below which."""
LEVELS = ("none", "≤ 1/3", "≤ 2/3", "< all", "all")
STRATUM = {
    "honest": "consultant honest",
    "dishonest": "consultant dishonest",
    "protagonist_right": "protagonist chose the right side",
    "protagonist_wrong": "protagonist chose a wrong side",
    "first_right": "the expert cast first argues for the right answer",
    "first_wrong": "the expert cast first argues for a wrong answer",
}


def told_apart(lanes: Sequence[Lane]) -> list[Lane]:
    """Return the rows that a plot shows: as many as can be told apart, protocols first."""
    scored = [lane for lane in lanes if lane.row.n]
    wanted = [lane for lane in scored if lane.is_protocol]
    wanted += [lane for lane in scored if lane.row.name == "best_single"]
    return [lane for lane in wanted if lane.series < SERIES][:SERIES]


def topics(lanes: Sequence[Lane]) -> Section | None:
    """Return accuracy by category, else by subject; None where each has too few questions."""
    known: dict[str, tuple[str, str]] = {}
    for lane in lanes:
        known |= lane.material.topics
    for place, word in ((0, "category"), (1, "subject")):
        groups = {id: found[place] for id, found in known.items() if found[place]}
        names = sorted(set(groups.values()))
        if 1 < len(names) <= TOPICS and len(groups) >= FEW * len(names):
            return _topics(lanes, groups, names, word)
    return None


def _topics(
    lanes: Sequence[Lane], groups: Mapping[str, str], names: Sequence[str], word: str
) -> Section:
    shown = [lane for lane in lanes if lane.row.n and lane.row.interval != "exact"]
    rows = []
    for name in names:
        ids = [id for id, group in groups.items() if group == name]
        rows.append((name, amount(len(ids)), *(_share(lane, ids) for lane in shown)))
    title = f"By {word}"
    drawn = told_apart(lanes)
    strip = [
        Strip(
            f"{name} (n = {sum(group == name for group in groups.values())})",
            tuple(_accuracy(lane, [id for id, g in groups.items() if g == name]) for lane in drawn),
        )
        for name in names
    ]
    about = (
        f"Accuracy by {word}; a question without one is not here. With few questions it moves by "
        "chance."
    )
    legend = [(lane.name, lane.series) for lane in drawn]
    plots = (plotted("topics", title, about, strips, strip, legend),) if drawn else ()
    header = (word, "questions", *(lane.name for lane in shown))
    table = Table(f"Accuracy by {word}: per cent (n)", header, tuple(rows), folded=bool(plots))
    return Section("topics", title, (about, *_undrawn(drawn, lanes)), plots, (table,))


def _undrawn(drawn: Sequence[Lane], lanes: Sequence[Lane]) -> list[str]:
    protocols = sum(lane.is_protocol and bool(lane.row.n) for lane in lanes)
    shown = sum(lane.is_protocol for lane in drawn)
    if shown >= protocols:
        return []
    return [f"Drawn are {shown} of {protocols} protocols; the table holds all."]


def _accuracy(lane: Lane, ids: Sequence[str]) -> float | None:
    values = [value for id in ids if (value := lane.row.values.get(id)) is not None]
    return fmean(values) if values else None


def _share(lane: Lane, ids: Sequence[str]) -> str:
    n = sum(lane.row.values.get(id) is not None for id in ids)
    return f"{percentage(_accuracy(lane, ids))} ({n:,})" if n else DASH


def difficulty(lanes: Sequence[Lane]) -> Section | None:
    """Return accuracy by the share of single experts that are right."""
    easy: dict[str, float] = {}
    for one in dict.fromkeys(lane.material.name for lane in lanes):
        easy |= _ease(next(lane.material for lane in lanes if lane.material.name == one))
    if not easy:
        return None
    levels = {id: _level(share) for id, share in easy.items()}
    held = [place for place in range(len(LEVELS)) if place in levels.values()]
    shown = [lane for lane in lanes if lane.row.n and lane.row.interval != "exact"]
    ids = {place: [id for id, level in levels.items() if level == place] for place in held}
    drawn = told_apart(lanes)
    title = "By difficulty"
    about = "A question is the harder the fewer single experts are right on it by themselves."
    courses = [
        Course(lane.name, tuple(_accuracy(lane, ids[place]) for place in held), lane.series)
        for lane in drawn
    ]
    steps = [LEVELS[place] for place in held]
    plots: tuple[Plot, ...] = ()
    if drawn and len(held) > 1:
        axis = "share of single experts that are right"
        plots = (plotted("difficulty", title, about, lines, courses, steps, axis),)
    rows = tuple(
        (LEVELS[place], amount(len(ids[place])), *(_share(lane, ids[place]) for lane in shown))
        for place in held
    )
    header = ("experts right", "questions", *(lane.name for lane in shown))
    table = Table("Accuracy by difficulty: per cent (n)", header, rows, folded=bool(plots))
    return Section("difficulty", title, (about, *_undrawn(drawn, lanes)), plots, (table,))


def _ease(one: Material) -> dict[str, float]:
    """Return the share of single experts that are right, by question; missing ones left out.

    From recorded answers, else from the answers that experts gave in a vote of the run.
    """
    found: dict[str, list[bool]] = {}
    for column in one.key.singles.values():
        for question, right in column.items():
            if question in one.topics:
                found.setdefault(question, []).append(right)
    if not found:
        for session in one.sessions:
            for right in _voters(session, one):
                found.setdefault(session.question, []).append(right)
    return {question: fmean(rights) for question, rights in found.items()}


def _voters(session: Session, one: Material) -> list[bool]:
    answers = None if session.outcome is None else session.outcome.detail.get("answers")
    gold = one.key.gold.get(session.question)
    if not isinstance(answers, dict) or gold is None:
        return []
    kind = one.key.kinds[session.question]
    return [grade(said if isinstance(said, str) else None, gold, kind) for said in answers.values()]


def _level(share: float) -> int:
    if share <= 0:
        return 0
    if share >= 1:
        return 4
    return 1 if share <= 1 / 3 + 1e-9 else 2 if share <= 2 / 3 + 1e-9 else 3


def talking(lanes: Sequence[Lane], clusters: Mapping[str, str]) -> Section | None:
    """Return what deliberations changed: flips against their first answers, and round by round."""
    found = [(lane, _changes(lane)) for lane in lanes]
    told = [(lane, changes) for lane, changes in found if changes]
    if not told:
        return None
    bars, rows = [], []
    for lane, changes in told:
        turned = {(first, last): 0 for first in (0, 1) for last in (0, 1)}
        for first, last in changes.values():
            turned[round(first), round(last)] += 1
        bars.append(Flip(lane.name, turned[0, 1], turned[1, 0]))
        net = paired_difference(
            {q: last for q, (_, last) in changes.items()},
            {q: first for q, (first, _) in changes.items()},
            clusters,
        )
        rows.append(
            (
                lane.name,
                amount(len(changes)),
                *(amount(turned[pair]) for pair in ((1, 1), (0, 0), (1, 0), (0, 1))),
                f"{signed(net.mean)} {signed_span(net.interval if net.method != 'none' else None)}",
                p_value(net.p_value),
            )
        )
    title = "What talking changed"
    about = "How often a protocol ended otherwise than the majority of its own first answers."
    header = (
        *("protocol", "questions", "stayed right", "stayed wrong", "right → wrong"),
        *("wrong → right", "gain, points", "p"),
    )
    note = "p is not adjusted: each protocol is compared with its own first answers only."
    tables = [Table("Flips", header, tuple(rows), folded=True, note=note)]
    plots = [plotted("flips", "Flips", about, flips, bars)]
    _rounds(lanes, plots, tables)
    return Section("talking", title, (about,), tuple(plots), tuple(tables))


def _changes(lane: Lane) -> dict[str, tuple[float, float]]:
    """Return by question whether the first answers' majority, and the end, were right."""
    key = lane.material.key
    found: dict[str, list[tuple[float, float]]] = {}
    for one in lane.sessions:
        outcome = one.outcome
        if outcome is None or one.correct is None or one.question not in key.gold:
            continue
        if "first_plurality" not in outcome.detail:
            continue
        said = outcome.detail["first_plurality"]
        answer = said if isinstance(said, str) else None
        first = float(grade(answer, key.gold[one.question], key.kinds[one.question]))
        found.setdefault(one.question, []).append((first, one.correct))
    return {
        question: (fmean(a for a, _ in pairs), fmean(b for _, b in pairs))
        for question, pairs in found.items()
    }


def _rounds(lanes: Sequence[Lane], plots: list[Plot], tables: list[Table]) -> None:
    """Add how protocols would have done had they ended after each round."""
    told = [lane for lane in lanes if len(lane.row.by_round) > 1]
    if not told:
        return
    longest = max(len(lane.row.by_round) for lane in told)
    about = "Accuracy had the protocol ended after each round; one that ended before counts on."
    courses = [
        Course(
            lane.name,
            tuple(
                lane.row.by_round[place].accuracy if place < len(lane.row.by_round) else None
                for place in range(longest)
            ),
            lane.series,
        )
        for lane in told
        if lane.series < SERIES
    ][:SERIES]
    steps = ["first answers", *(f"round {number}" for number in range(1, longest))]
    if courses:
        plots.append(
            plotted("rounds", "Round by round", about, lines, courses, steps, "ended after")
        )
    rows = tuple(
        (
            lane.name,
            "first answers" if not one.round else f"round {one.round}",
            amount(one.n),
            percentage(one.accuracy),
            amount(one.held),
        )
        for lane in told
        for one in lane.row.by_round
    )
    header = ("protocol", "ended after", "n", "accuracy, %", "sessions that came so far")
    tables.append(Table("Round by round", header, rows, 2, folded=True))


def strata(lanes: Sequence[Lane]) -> Section | None:
    """Return accuracy where the one who argues is right, and where it is wrong."""
    rows = tuple(
        (
            lane.name,
            STRATUM.get(name, name),
            f"{found.correct:,.1f}".removesuffix(".0"),
            amount(found.n),
            percentage(found.accuracy),
            span(wilson(found.correct, found.n)),
        )
        for lane in lanes
        for name, found in lane.row.strata.items()
    )
    if not rows:
        return None
    header = ("protocol", "stratum", "right", "n", "accuracy, %", "95 % interval")
    note = "Wilson's intervals, as if questions were independent."
    table = Table("Accuracy by who argued for what", header, rows, 2, note=note)
    about = (
        "A protocol that helps the right side only is worth little where nobody knows which it is."
    )
    return Section("strata", "By who argued for what", (about,), (), (table,))
