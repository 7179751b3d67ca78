"""Pages about runs: what a command writes into files instead of printing it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from protocols.errors import Mistake
from workflows.cli.screen import say
from workflows.comparing.wording import counted_of


def put_pages(
    names: Sequence[str],
    store: str,
    *,
    html: str | None = None,
    markdown: str | None = None,
    plots: str | None = None,
    open_page: bool = False,
) -> bool:
    """Write the page about runs in every form that is asked for, and say which files there are.

    Args:
        names: of the runs.
        store: that holds them; it is not written.
        html: the file of the page.
        markdown: the file of the same as Markdown.
        plots: the folder for the plots.
        open_page: whether to show the page in a browser.

    Returns:
        Whether anything was asked for.

    Raises:
        Mistake: there is no such store or run, or a file cannot be written.
    """
    if not (html or markdown or plots or open_page):
        return False
    from orchestrator.store import Store
    from workflows.page.render import make_page, write

    with Store.read(store) as opened:
        page = make_page(opened, names)
    if open_page and not html:
        html = f"{page.data.head.title.replace(' ', '-')}.html"
        if Path(html).exists():
            raise Mistake(f"{html} is there already; --html {html} writes over it")
    if html:
        say(_wrote(write(Path(html), page.html())))
    if markdown:
        say(_wrote(write(Path(markdown), page.markdown())))
    if plots:
        written = page.save_plots(plots)
        drawn = counted_of(len(page.data.plots), "plot")
        say(f"wrote {counted_of(len(written), 'file')} of {drawn} into {plots}")
    if open_page and html:
        import webbrowser

        if not webbrowser.open(Path(html).resolve().as_uri()):
            say(f"no browser could be opened; the page is {html}")
    return True


def _wrote(file: Path) -> str:
    return f"wrote {file} ({file.stat().st_size / 1000:,.0f} kB)"
