"""What reaches the terminal: results on standard output, everything else on standard error.

Tables fit a terminal; where output goes into a file or a pipe they are plain, aligned and as wide
as they need. Texts of models are cleaned of control characters, which a terminal would obey.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import sys
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

WIDE = 10_000
"""Columns of a pipe: nothing is cut or wrapped."""
DASH = "\N{EN DASH}"
"""Between two figures, and for none."""
READABLE = 100
"""Columns of running text where no terminal says how wide it is."""


def say(text: str) -> None:
    """Write a line for people to standard error, after what was printed before."""
    sys.stdout.flush()
    sys.stderr.write(clean(text) + "\n")
    sys.stderr.flush()


def put(text: str = "") -> None:
    """Write a line of the result to standard output."""
    sys.stdout.write(clean(text) + "\n")


def put_json(value: Any) -> None:
    """Write a result as JSON to standard output."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=2) + "\n")


def put_text(text: Text) -> None:
    """Write a line with styles to standard output; a pipe gets it without them."""
    if sys.stdout.isatty():
        Console(highlight=False, soft_wrap=True).print(text)
    else:
        sys.stdout.write(text.plain + "\n")


def put_table(
    header: Sequence[str], rows: Sequence[Sequence[str]], *, left: int = 1, indent: int = 0
) -> None:
    """Write a table to standard output.

    Args:
        header: names of the columns.
        rows: cells; a row that starts with a name in parentheses is dimmed.
        left: how many columns are text; the rest are figures and stand to the right.
        indent: spaces before each line.
    """
    terminal = sys.stdout.isatty()
    width = text_width() if terminal else WIDE
    for gap in (2, 1):
        table = _table(header, rows, left, gap)
        console = Console(width=WIDE)
        if gap == 1 or console.measure(table).maximum + indent <= width:
            break
    # Left over is folding: a column of text gives way before any figure does.
    console = Console(width=width - indent, no_color=not terminal, highlight=False)
    with console.capture() as capture:
        console.print(table)
    for line in capture.get().splitlines():
        sys.stdout.write((" " * indent + line).rstrip() + "\n")


def _table(header: Sequence[str], rows: Sequence[Sequence[str]], left: int, gap: int) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, gap, 0, 0), header_style="bold")
    for place, name in enumerate(header):
        if place < left:
            table.add_column(name, overflow="fold")
        else:
            narrow = name if gap > 1 else "\n".join(name.rsplit(" ", 1))
            table.add_column(narrow, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*[Text(clean(cell)) for cell in row])
    return table


def text_width() -> int:
    """Return the columns that running text may take."""
    return shutil.get_terminal_size(fallback=(READABLE, 24)).columns


def clean(text: str) -> str:
    """Return `text` without what a terminal would obey: control characters but line breaks."""
    if text.isprintable():
        return text
    return "".join(
        char
        if char in "\n\t" or unicodedata.category(char) not in ("Cc", "Cs")
        else "\N{REPLACEMENT CHARACTER}"
        for char in text
    )


def one_line(error: BaseException | str) -> str:
    """Return a message in one line."""
    return " ".join(clean(str(error)).split())


def command_name() -> str:
    """Return how this command is called, so that what is printed can be typed."""
    started = Path(sys.argv[0])
    if started.parts[-2:] == ("cli", "__main__.py"):
        return f"{Path(sys.executable).name} -m workflows.cli"
    if started.name != "moot" or not started.is_file():
        return "moot"
    found = shutil.which("moot")
    if found and Path(found).resolve() == started.resolve():
        return "moot"
    return os.path.relpath(started) if not started.is_absolute() else near(str(started))


def store_option(store: str) -> str:
    """Return ``--store ...`` as it can be typed; a password is left for the user to put in."""
    return f"--store {shlex.quote(near(store))}"


def near(path: str) -> str:
    """Return a store's address for people: without a password, a path as short as it can be."""
    path = re.sub(r"(://[^/@:]*):[^/@]*@", r"\1:***@", path)
    place = Path(path)
    if "://" in path or not place.is_absolute():
        return path
    try:
        return str(place.relative_to(Path.cwd()))
    except ValueError:
        return path


def number(value: float) -> str:
    """Return a count: ``2,800``, or ``25.9`` where it is no whole number."""
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.1f}"
