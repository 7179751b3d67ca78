"""A profile as a picture: experts by skills, right less wrong answers as colours around zero."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from protocols.errors import Mistake
from workflows.recruiting.profile_table import ExpertLine, common_skills, expert_lines, shortened

if TYPE_CHECKING:
    from agents.profile_file import Measured

MOST_SKILLS = 60
"""The most rows that a picture shows: the skills of the most questions."""
MOST_EXPERTS = 40
FORMATS = (".png", ".svg", ".pdf")
LONGEST_LABEL = 30
_WRITTEN = 20
"""With more experts than this the cells hold no figures."""


def draw_profile(measured: Measured, path: str, *, title: str = "") -> None:
    """Draw a heat map into a file.

    A row is a skill, a column an expert, best accuracy first. The colour is (right - wrong) /
    answered, from -1 to 1; white is even. The figure in a cell is right - wrong, the score that
    experts are recruited by. A cell without answers is grey.

    Args:
        measured: what is drawn.
        path: ``.png``, ``.svg`` or ``.pdf``.
        title: stands above it.

    Raises:
        Mistake: the format is none of these, there is nothing to draw, matplotlib is missing, or
            the file cannot be written.
    """
    if Path(path).suffix.lower() not in FORMATS:
        raise Mistake(f"{path}: pictures are {', '.join(FORMATS)}; name the file so")
    lines = [line for line in expert_lines(measured) if line.asked][:MOST_EXPERTS]
    skills = common_skills(lines)
    if not skills:
        raise Mistake("nothing to draw: no expert was measured in any skill")
    try:
        from matplotlib import rc_context
    except ImportError:
        raise Mistake("pictures need matplotlib; pip install 'moot[plots]'") from None
    with rc_context({"svg.hashsalt": "moot"}), warnings.catch_warnings():
        # Ids in the file follow from what is drawn; letters that the font lacks become boxes.
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        figure = _figure(lines, skills[:MOST_SKILLS], len(skills), title)
        try:
            figure.savefig(
                path, dpi=150, bbox_inches="tight", pad_inches=0.15, metadata=_metadata(path)
            )
        except OSError as error:
            raise Mistake(f"{path}: cannot be written: {error.strerror or error}") from None


def _metadata(path: str) -> dict[str, Any]:
    """Leave the date out, so that the same profile gives the same file."""
    suffix = Path(path).suffix.lower()
    return {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}.get(suffix, {})


def _figure(lines: list[ExpertLine], skills: list[str], known: int, title: str) -> Any:
    import numpy as np
    from matplotlib.figure import Figure

    cells = [[line.skills.get(skill) for line in lines] for skill in skills]
    shares = np.array([[np.nan if cell is None else cell.share for cell in row] for row in cells])
    labels = [shortened(skill, LONGEST_LABEL) for skill in skills]
    names = [shortened(line.expert, LONGEST_LABEL) for line in lines]
    narrow = len(lines) > _WRITTEN
    size = (max((0.32 if narrow else 0.52) * len(lines), 1.5), max(0.27 * len(skills), 1.2))
    figure = Figure(figsize=size)
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set_facecolor("0.85")
    image = axes.imshow(shares, cmap="RdBu", vmin=-1.0, vmax=1.0, aspect="auto")
    places = range(len(names))
    axes.set_xticks(places, names, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(labels)), labels)
    axes.tick_params(length=0, labelsize=8)
    for label in (*axes.get_xticklabels(), *axes.get_yticklabels()):
        label.set_parse_math(False)
    if not narrow:
        _write(axes, cells)
    side = figure.add_axes((1.0 + 0.25 / size[0], 0.0, 0.14 / size[0], min(1.0, 3 / size[1])))
    bar = figure.colorbar(image, cax=side, ticks=(-1, 0, 1))
    bar.ax.set_yticklabels(["all wrong", "even", "all right"], fontsize=8)
    bar.outline.set_visible(False)
    left_out = f"\n{len(skills)} of {known} skills" if len(skills) < known else ""
    heading = f"{shortened(title, LONGEST_LABEL)}: right less wrong answers{left_out}"
    axes.set_title(heading, fontsize=9, loc="left", parse_math=False)
    return figure


def _write(axes: Any, cells: list[list[Any]]) -> None:
    """Write each score into its cell, legible on its colour."""
    for row, found in enumerate(cells):
        for column, cell in enumerate(found):
            if cell is not None:
                axes.text(
                    column,
                    row,
                    _score(cell.score),
                    ha="center",
                    va="center",
                    fontsize=7,
                    color="white" if abs(cell.share) > 0.6 else "black",
                )


def _score(score: float) -> str:
    return f"{score:+.0f}".replace("-", "\N{MINUS SIGN}") if score else "0"
