"""The recruitment graph of a session as a picture: question, skills, experts, aggregator."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from protocols.errors import Mistake
from workflows.recruiting.profile_table import shortened

FORMATS = (".png", ".svg", ".pdf", ".json")
LAYERS = ("question", "skill", "expert", "aggregator")
LONGEST_LABEL = 30
_COLOURS = {
    "question": "#dddddd",
    "skill": "#fde3b5",
    "expert": "#cfe2f3",
    "aggregator": "#d9ead3",
}
_FOR, _AGAINST = "#33658a", "#b23a48"
_ROW, _COLUMN = 0.75, 3.6
"""Inches between nodes of a layer, and between layers."""
_FIRST, _LAST = 0.4, 0.72
"""Where on an edge its weight stands: those of each source in a column of their own, so that they
do not cover one another."""

Place = tuple[float, float]


def draw_recruitment(outcome: Mapping[str, Any] | None, path: str, *, title: str = "") -> None:
    """Write the recruitment graph of an outcome into a file.

    Layers stand from left to right. A skill's line is as wide as its weight is large among its
    layer's; a negative weight (a skill that the expert is bad at) is red and dashed.

    Args:
        outcome: of the session, as JSON.
        path: ``.png``, ``.svg`` or ``.pdf``, or ``.json`` for the graph as node-link JSON.
        title: stands above it.

    Raises:
        Mistake: the session recruited nobody, the format is none of these, matplotlib is missing,
            or the file cannot be written.
    """
    if Path(path).suffix.lower() not in FORMATS:
        raise Mistake(f"{path}: graphs are {', '.join(FORMATS)}; name the file so")
    graph = ((outcome or {}).get("detail") or {}).get("recruitment")
    if not isinstance(graph, dict):
        raise Mistake("this session recruited nobody; moot show RUN lists others")
    try:
        if Path(path).suffix.lower() == ".json":
            text = json.dumps(graph, ensure_ascii=False, indent=1, sort_keys=True)
            Path(path).write_text(text + "\n", "utf-8")
        else:
            _draw(graph, path, title)
    except OSError as error:
        raise Mistake(f"{path}: cannot be written: {error.strerror or error}") from None


def _draw(graph: Mapping[str, Any], path: str, title: str) -> None:
    try:
        from matplotlib import rc_context
    except ImportError:
        raise Mistake("pictures need matplotlib; pip install 'moot[plots]'") from None
    with rc_context({"svg.hashsalt": "moot"}), warnings.catch_warnings():
        # Ids in the file follow from what is drawn; letters that the font lacks become boxes.
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        figure = _figure(graph, title)
        dates = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}
        suffix = Path(path).suffix.lower()
        figure.savefig(
            path, dpi=150, bbox_inches="tight", pad_inches=0.15, metadata=dates.get(suffix, {})
        )


def places_of(nodes: Sequence[Mapping[str, Any]]) -> dict[str, Place]:
    """Return where each node stands, in inches: layers from left to right, each centred."""
    layers = [[n["id"] for n in nodes if n["kind"] == kind] for kind in LAYERS]
    layers = [layer for layer in layers if layer]
    tallest = max(map(len, layers))
    return {
        node: (column * _COLUMN, ((tallest - len(layer)) / 2 + len(layer) - 1 - row) * _ROW)
        for column, layer in enumerate(layers)
        for row, node in enumerate(layer)
    }


def _columns(nodes: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Return for each node where on its outgoing edges the weights stand."""
    found = {}
    for kind in LAYERS:
        layer = [node["id"] for node in nodes if node["kind"] == kind]
        for row, node in enumerate(layer):
            found[node] = _FIRST + (_LAST - _FIRST) * (row + 0.5) / len(layer)
    return found


def _figure(graph: Mapping[str, Any], title: str) -> Any:
    from matplotlib.figure import Figure

    places = places_of(graph["nodes"])
    width = max(x for x, _ in places.values())
    height = max(y for _, y in places.values())
    figure = Figure(figsize=(max(width + 2.4, 3.0), max(height + 0.8, 1.4)))
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set_axis_off()
    axes.set_xlim(-1.2, width + 1.2)
    axes.set_ylim(-0.4, height + 0.4)
    kinds = {node["id"]: node["kind"] for node in graph["nodes"]}
    widest: dict[str, float] = {}
    for edge in graph["edges"]:
        layer = kinds[edge["source"]]
        widest[layer] = max(widest.get(layer, 0.0), abs(edge["weight"]))
    columns = _columns(graph["nodes"])
    for edge in graph["edges"]:
        source = edge["source"]
        ends = places[source], places[edge["target"]]
        _edge(axes, ends, edge["weight"], widest[kinds[source]], columns[source])
    for node in graph["nodes"]:
        axes.text(
            *places[node["id"]],
            shortened(node["label"], LONGEST_LABEL),
            ha="center",
            va="center",
            fontsize=9,
            parse_math=False,
            zorder=3,
            bbox={
                "boxstyle": "round,pad=0.35",
                "facecolor": _COLOURS[node["kind"]],
                "edgecolor": "0.4",
            },
        )
    if title:
        axes.set_title(shortened(title, 90), fontsize=9, loc="left", parse_math=False)
    return figure


def _edge(axes: Any, ends: tuple[Place, Place], weight: float, widest: float, where: float) -> None:
    """Draw an edge with its weight written on it."""
    (x, y), (to_x, to_y) = ends
    against = weight < 0.0
    share = abs(weight) / widest if widest else 0.0
    axes.plot(
        (x, to_x),
        (y, to_y),
        color=_AGAINST if against else _FOR,
        linestyle="--" if against else "-",
        linewidth=0.6 + 2.4 * share,
        zorder=1,
    )
    axes.text(
        x + where * (to_x - x),
        y + where * (to_y - y),
        f"{weight:.3g}".replace("-", "\N{MINUS SIGN}"),
        ha="center",
        va="center",
        fontsize=7,
        zorder=2,
        bbox={"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": "none"},
    )
