"""The words of docs/scale.md around the figures that ``scale.py`` computed."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import Any

from benchmarks.scale import (
    ASKS,
    CONSTANTS,
    EXPERTS,
    FIGURES,
    GPUS_A_NODE,
    NODES,
    REPORT_S,
    SESSIONS,
    SLOTS,
)

PARTS = {
    "gpu_alone_s": ("the GPUs, their batches always full", "GPUs"),
    "driver_alone_s": ("one driver, its store included", "driver"),
    "planner_alone_s": ("one planner for all experts and GPUs", "planner"),
    "sqlite_alone_s": ("one SQLite file", "sqlite"),
    "postgres_alone_s": ("one PostgreSQL writer", "postgres"),
    "ray_alone_s": ("one process that sends asks to Ray workers and hears of replies", "ray"),
}
CHANGES = {
    "planner": """\
For every worker that may turn to another expert the planner weighs the experts that have work, so
its cost grows with both. What changes: no planner sees the whole. As sessions are sharded over
drivers, the GPUs have to be dealt out to them, so that no two planners decide about one GPU and
each weighs its own alone. A planner that keeps its order of experts, and looks again only at what
an event touched, would put this off.""",
    "driver": """\
A driver steps sessions, keys asks and records them on one core. What changes: nothing in the
design, as a run is sharded over driver processes by its questions, each shard under a lock that
vanishes with its process; only their number, which is given below.""",
    "postgres": """\
An ask is two rows, and its new texts are further ones. One connection commits them in groups.
What changes: each driver writes over a connection of its own, and beyond what one server takes the
tables are partitioned by run and shard, which no foreign key across sessions prevents.""",
    "sqlite": """\
A file has one writer at a time and lies on one node's disk. What changes: drivers on several nodes
share PostgreSQL; SQLite remains for runs of one driver.""",
    "ray": """\
A call carries a batch of asks, and replies come back in portions; what is left is the cost of a
message. What changes: each driver talks to its own workers, so it is divided by their number.""",
    "GPUs": """\
This is the limit that one wants: the hardware is busy. What changes: more or faster GPUs, larger
batches, shorter replies.""",
}


def text(computed: dict[str, Any]) -> str:
    """Return the document."""
    blocks = [*_head(computed), *_alone(computed), *_order(computed), *_memory(computed)]
    blocks += [*_planner(computed), *_sharded(computed), *_unknown(computed)]
    return "\n\n".join([_filled(block) for block in blocks]) + "\n"


def _filled(block: str) -> str:
    """Return a paragraph in lines of the width of a page; headings and tables stay."""
    if block.startswith(("#", "|")):
        return block
    words = " ".join(block.split())
    return textwrap.fill(words, 100, break_long_words=False, break_on_hyphens=False)


def _head(computed: dict[str, Any]) -> Iterator[str]:
    needs, known = computed["needs"], computed["constants"]
    yield f"# {SESSIONS:,} sessions, {EXPERTS:,} experts, {NODES} nodes"
    yield """\
Every figure here is printed by `python -m benchmarks.scale`, which writes this page: constants from
`benchmarks/results/`, and simulations with the product's own planner."""
    yield f"""\
The run: debates of three experts in three rounds ({ASKS} asks), {NODES} nodes with {GPUS_A_NODE}
GPUs each that hold {SLOTS} experts at once, loads of {FIGURES.load_s:g} s, steps of
{FIGURES.t0_s * 1e3:g} ms + {FIGURES.t1_s * 1e3:g} ms an ask, batches of {FIGURES.batch_limit}.
That is {needs["asks"]:,.0f} asks, {needs["gpu_s"]:,.0f} s of GPU time, and with all
{needs["gpus"]:,.0f} GPUs at work {needs["asks_a_second"]:,.0f} asks a second."""
    rows = [
        f"| `{one['benchmark']}` | {one['name']} | {_number(one['value'])} {one['unit']} |"
        for one in known.values()
    ]
    yield "\n".join(["| constant | what | measured |", "| --- | --- | --- |", *rows])


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1_000 else f"{value:.3g}"


def _ranked(computed: dict[str, Any]) -> list[tuple[str, str, float]]:
    needs = computed["needs"]
    parts = [(*names, needs[key]) for key, names in PARTS.items() if key in needs]
    return sorted(parts, key=lambda part: -part[2])


def _alone(computed: dict[str, Any]) -> Iterator[str]:
    yield "## What each part would take, were it alone in the way"
    rows = [f"| {words} | {seconds:,.0f} s |" for words, _, seconds in _ranked(computed)]
    yield "\n".join(["| part | seconds |", "| --- | --- |", *rows])


def _order(computed: dict[str, Any]) -> Iterator[str]:
    ranked = _ranked(computed)
    for place, (words, key, seconds) in enumerate(ranked, 1):
        if key == "GPUs":
            yield f"## {place}. Then {words}"
            yield f"{seconds:,.0f} s. {CHANGES[key]}"
            return
        yield f"## {place}. {'The first bottleneck' if place == 1 else 'The next'}: {words}"
        times = seconds / computed["needs"]["gpu_alone_s"]
        yield f"{seconds:,.0f} s, {times:,.1f} times what the GPUs need. {CHANGES[key]}"


def _memory(computed: dict[str, Any]) -> Iterator[str]:
    needs = computed["needs"]
    yield "## Room"
    room = ""
    if "memory_gb" in needs:
        room = f", which hold {needs['memory_gb']:,.1f} GB with their transcripts"
    yield f"""\
Full batches everywhere are {needs["running"]:,.0f} asks that run at once, so at least
{needs["live"]:,.0f} live sessions{room}. The window of a driver has to be that many divided by the
number of drivers. The GPUs have {needs["places"]:,.0f} places for {EXPERTS:,} experts: each expert
may be loaded once and stay, {needs["loads"]:,.0f} loads; with one place on each GPU the debates
would need {needs["loads_one_slot"]:,.0f}. At the start {needs["queue"]:,.0f} asks wait for each."""


def _planner(computed: dict[str, Any]) -> Iterator[str]:
    yield "## The planner as fleets grow"
    yield f"""\
Simulated debates; the simulated fleet tells what happened every {REPORT_S * 1e3:g} ms. An operation
is an ask that arrives, is dispatched or is answered."""
    rows = [
        f"| {one['experts']} | {one['gpus']} | {one['asks']:,} | "
        f"{one['planner_us_per_operation']:.1f} | {one['planner_share']:.2%} |"
        for one in computed["planner"]
    ]
    head = ["| experts | GPUs | asks | us an operation | share of the run |", "| --- " * 5 + "|"]
    yield "\n".join([*head, *rows])
    there = computed["needs"]["planner_us_there"]
    yield f"""\
On the line through the last two, one planner for {EXPERTS:,} experts would take {there:,.0f} us an
operation."""


def _sharded(computed: dict[str, Any]) -> Iterator[str]:
    whole, part, count = computed["whole"], computed["part"], computed["needs"]["drivers"]
    yield "## Drivers"
    yield f"""\
{count:,.0f} drivers keep up with the GPUs. What it costs that each has its own GPUs and its own
share of the sessions, and loads what it needs itself, shows in a small model of the run (as many
asks and as many GPUs for each expert):"""
    rows = [
        f"| {name} | {one['experts']} | {one['gpus']} | {one['sessions']:,} | "
        f"{one['makespan_s']:,.0f} s | {one['over_bound']:.2f} | {one['loads']} | "
        f"{one['gpu_busy_share']:.1%} | {one['planner_share']:.2%} |"
        for name, one in (("one driver for all", whole), ("one of the drivers", part))
    ]
    names = (
        "| | experts | GPUs | sessions | makespan | over the bound | loads | GPUs busy | planner |"
    )
    yield "\n".join([names, "| --- " * 9 + "|", *rows])


def _unknown(computed: dict[str, Any]) -> Iterator[str]:
    missing = [name for key, (name, _) in CONSTANTS.items() if key not in computed["constants"]]
    yield "## What this does not show"
    told = """\
Networks between nodes, a PostgreSQL server on a machine of its own, Ray's own control plane with so
many nodes, and failures were not measured at this size. Each constant was measured on one shared
machine, and ratios carry over better than times."""
    if missing:
        told += f" Not measured here, and so left out: {', '.join(sorted(set(missing)))}."
    yield told
