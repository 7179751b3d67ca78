"""A page as HTML, as Markdown, and its plots as files."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from protocols.errors import Mistake
from workflows.page.drawing import svg
from workflows.page.parts import PageData, Plot, Table
from workflows.page.styles import DARK, LIGHT, drawing_css, file_css, variables

if TYPE_CHECKING:
    from jinja2 import Environment

    from orchestrator.store import Store

TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True, slots=True)
class Page:
    """A page about one run or several."""

    data: PageData

    def html(self) -> str:
        """Return it as one HTML file that loads nothing; the same runs give the same bytes."""
        script = (TEMPLATES / "page.js").read_text(encoding="utf-8")
        colours = (
            f":root{{color-scheme:light dark;{variables(LIGHT)}}}"
            f"@media (prefers-color-scheme:dark){{:root{{{variables(DARK)}}}}}"
            f"@media print{{:root{{color-scheme:light;{variables(LIGHT)}}}}}"
        )
        sheet = (TEMPLATES / "page.css").read_text(encoding="utf-8")
        return (
            _environment()
            .get_template("page.html.j2")
            .render(
                page=self.data,
                style=colours + sheet + drawing_css(),
                script=script,
                script_hash=b64encode(sha256(script.encode()).digest()).decode(),
                drawn=_drawn,
                broken=broken,
            )
        )

    def markdown(self) -> str:
        """Return it as GitHub-flavoured Markdown: sentences and tables, without transcripts."""
        return (
            _environment()
            .get_template("page.md.j2")
            .render(page=self.data, table=_pipes, line=_plain)
        )

    def save(self, path: str | Path) -> Path:
        """Write it as HTML; as Markdown where the name ends in ``.md``.

        Raises:
            Mistake: the file cannot be written.
        """
        file = Path(path)
        write(file, self.markdown() if file.suffix == ".md" else self.html())
        return file

    def save_plots(self, folder: str | Path) -> list[Path]:
        """Write every plot as SVG and, where matplotlib is installed, as PNG.

        Raises:
            Mistake: a file cannot be written.
        """
        from importlib.util import find_spec

        from workflows.page.png import write_png

        where = Path(folder)
        written = []
        for plot in self.data.plots:
            text = svg(plot.wide, plot.title, plot.about, id=plot.name, style=file_css())
            written.append(write(where / f"{plot.name}.svg", text))
            if find_spec("matplotlib") is not None:
                target = where / f"{plot.name}.png"
                write_png(plot.wide, target)
                written.append(target)
        return written


def make_page(store: Store, names: Sequence[str]) -> Page:
    """Return the page about runs.

    Args:
        store: that holds them.
        names: of the runs, their ids, or the beginnings of their names.

    Raises:
        Mistake: there is no such run.
    """
    from workflows.api import find_run
    from workflows.page.build import page_data

    return Page(page_data(store, [find_run(store, name) for name in names]))


def write(file: Path, text: str) -> Path:
    """Write a text, and the folder that it lies in.

    Raises:
        Mistake: it cannot be written.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise Mistake(f"{file}: cannot be written ({error.strerror or error})") from None
    return file


@lru_cache(maxsize=1)
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=lambda name: name is not None and name.endswith(".html.j2"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def _drawn(plot: Plot) -> str:
    """Return a plot's two drawings; the style sheet shows the one that fits."""
    about = (plot.title, plot.about)
    both = (
        svg(plot.wide, *about, id=f"{plot.name}-w", classes="plot wide"),
        svg(plot.narrow, *about, id=f"{plot.name}-n", classes="plot narrow"),
    )
    return "".join(both)


def broken(name: str, most: int = 16) -> tuple[str, ...]:
    """Return a long name in the two pieces that it may be broken into, at an underscore."""
    places = [place + 1 for place, sign in enumerate(name[:-1]) if sign == "_"]
    if len(name) <= most or not places:
        return (name,)
    middle = min(places, key=lambda place: abs(place - len(name) / 2))
    return name[:middle], name[middle:]


def _pipes(table: Table) -> str:
    """Return a table of GitHub's Markdown."""
    sides = [":--" if place < table.left else "--:" for place in range(len(table.header))]
    lines = [table.header, tuple(sides), *table.rows]
    return "\n".join("| " + " | ".join(map(_plain, line)) + " |" for line in lines)


def _plain(text: str) -> str:
    """Return a text that Markdown shows as it is, in one line."""
    for sign in "\\`*_[]<>|#":
        text = text.replace(sign, f"\\{sign}")
    return " ".join(text.split())
