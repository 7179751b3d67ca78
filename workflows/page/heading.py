"""The head of a page: what was compared, when, by which revision, and what a reader must know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from workflows.comparing import findings
from workflows.comparing.wording import are
from workflows.page.material import Lane, Material
from workflows.page.parts import Head, counted, listed
from workflows.simulated import simulated_line

ENDED = {
    "finished": "finished",
    "stopped": "stopped before its end",
    "running": "not finished",
    "waiting": "not finished: it waits for replies",
    "failed": "failed",
}


def head_of(
    materials: Sequence[Material], lanes: Sequence[Lane], clusters: Mapping[str, str]
) -> Head:
    """Return the head of a page about runs."""
    names = [one.name for one in materials]
    rows = [lane.row for lane in lanes]
    ran = [lane.name for lane in lanes if lane.is_protocol]
    title = names[0] if len(names) == 1 else f"{len(names)} runs compared"
    summary = f"{counted(len(ran), 'protocol')} on the same questions: {listed(ran)}"
    if len(names) > 1:
        summary = f"{listed(names)}: {counted(len(ran), 'protocol')}"
    elif materials[0].report.imported is not None:
        summary = f"imported sessions, as they were held: {listed(ran)}"
    elif len(ran) < 2:
        summary = listed(ran) or "no session is in this run"
    facts = [
        ("compared", summary),
        ("questions", findings.counted(rows, clusters) if rows else "none"),
        *[(one.name if len(names) > 1 else "run", _told(one)) for one in materials],
        ("experts", _experts(materials)),
    ]
    for one in materials:
        line = findings.power(one.rows, clusters)
        if line is not None:
            before = f"{one.name}: " if len(names) > 1 else ""
            facts.append(("could have shown", before + line))
    return Head(title, summary, tuple(facts), tuple(_warnings(materials, lanes)))


def _told(one: Material) -> str:
    """Return when a run was made, how it ended and by which revision."""
    begun = one.run.created_at[:16].replace("T", " ")
    revision = one.run.code_revision or "not recorded"
    changed = ", with changes that are in no commit" if revision.endswith("+") else ""
    return (
        f"begun {begun} UTC, {ENDED.get(one.run.status, one.run.status)}; "
        f"{counted(len(one.sessions), 'session')}; revision {revision.rstrip('+')}{changed}"
    )


def _experts(materials: Sequence[Material]) -> str:
    labels = [str(expert.get("label")) for one in materials for expert in roster(one)]
    return listed(list(dict.fromkeys(labels)), 12) or "none named"


def roster(one: Material) -> list[Mapping[str, Any]]:
    """Return the experts of a run as its configuration holds them."""
    found = one.config.get("roster") or ()
    return [expert for expert in found if isinstance(expert, dict)]


def _warnings(materials: Sequence[Material], lanes: Sequence[Lane]) -> list[str]:
    """Return what a reader must know before any figure."""
    said: list[str] = []
    for one in materials:
        before = f"{one.name}: " if len(materials) > 1 else ""
        said += [f"{before}{line}" for line in _about(one)]
    if len(materials) > 1:
        said += _shared(materials)
    missing = [
        f"{lane.name} ({lane.row.failed:,} of {len(lane.row.values):,})"
        for lane in lanes
        if lane.row.failed and lane.material.report.imported is None
    ]
    if missing:
        said.append(
            f"Questions are missing (provider failures, timeouts, not reached): {listed(missing)}. "
            "They are left out of n, never counted as wrong; the table has bounds for them."
        )
    if lanes and not any(lane.row.n for lane in lanes):
        said.append("Nothing could be scored: no question has both an outcome and a gold answer.")
    return said


def _about(one: Material) -> list[str]:
    said = []
    models = [str(expert.get("model", "")) for expert in roster(one)]
    if not one.sessions:
        said.append("The run holds no session, so there is nothing to tell.")
    if one.report.simulated:
        line = simulated_line(one.report.simulated)
        said.append(f"{line[0].upper()}{line[1:]}.")
    if any(m.startswith("offline/") and not m.endswith("/reviser") for m in models):
        said.append("Offline experts are retrieval baselines, not language models: expect chance.")
    if one.report.imported is not None:
        said.append("Imported sessions: they were held earlier, and nobody was asked in this run.")
    elif any(model.startswith("recorded/") for model in models):
        said.append("Recorded answers: real models gave them earlier, none was called in this run.")
    if any(model.startswith("scripted/") for model in models):
        said.append("Scripted experts say what they are told to; their figures mean nothing.")
    if one.sessions and one.run.status != "finished":
        every = f"{counted(len(one.sessions), 'session')} {are(len(one.sessions))}"
        over = sum(session.outcome is not None for session in one.sessions)
        said.append(f"It is not finished: {over:,} of {every} over.")
    profile, asked = one.config.get("profile") or {}, one.config.get("questions") or {}
    if profile and profile.get("path") == asked.get("path"):
        said.append("The profile was made of the same file as the questions, so it may know them.")
    return said


def _shared(materials: Sequence[Material]) -> list[str]:
    """Say how many questions the runs have in common."""
    asked = [set(one.topics) for one in materials]
    common, every = set.intersection(*asked), set.union(*asked)
    if common == every:
        return []
    if not common:
        return ["The runs share no question, so nothing can be compared in pairs."]
    return [
        (
            f"The runs share {len(common):,} of {counted(len(every), 'question')}; pairs are over "
            "those that both have."
        )
    ]
