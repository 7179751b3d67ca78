"""The page in a real Chromium: no overflow, legible plots, nothing loaded, nothing complained."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from orchestrator.store import Store
from tests.browser import Tab, browser_tab, find_chromium
from tests.workflows.played import store_sessions
from workflows import run
from workflows.page.render import make_page

CHROMIUM = find_chromium()
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        CHROMIUM is None, reason="NO CHROMIUM: apt-get install chromium-headless-shell"
    ),
]
WIDTHS = (360, 1400)
NAMES = ("skills", "oversight", "deliberation", "examples")
OVERFLOW = "document.scrollingElement.scrollWidth - window.innerWidth"
OPEN_ALL = "document.querySelectorAll('details').forEach(one => { one.open = true })"
SMALLEST = """
Math.min(...[...document.querySelectorAll('svg text')]
  .filter(one => one.getClientRects().length)
  .map(one => parseFloat(getComputedStyle(one).fontSize) * one.getScreenCTM().a))
"""
CUT = """
[...document.querySelectorAll('svg')].filter(one => one.getClientRects().length).flatMap(one => {
  const frame = one.getBoundingClientRect();
  return [...one.querySelectorAll('text')].filter(text => {
    const box = text.getBoundingClientRect();
    return box.left < frame.left - 1 || box.right > frame.right + 1
  }).map(text => text.textContent)
})
"""
UNREACHABLE = """
[...document.querySelectorAll('main *')].filter(one =>
  one.scrollWidth > one.clientWidth + 1 && getComputedStyle(one).overflowX === 'auto' &&
  one.tabIndex < 0).length
"""


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the pages of all runs."""
    import asyncio

    folder = tmp_path_factory.mktemp("pages")
    path = str(folder / "s.db")
    for workflow in NAMES[:3]:
        run(workflow, overrides=[f"store={path}"])
    with Store.open(path) as opened:
        asyncio.run(store_sessions(opened))
        for name in NAMES:
            make_page(opened, [name]).save(folder / f"{name}.html")
    return folder


@pytest.fixture
async def tab(tmp_path: Path) -> AsyncIterator[Tab]:
    assert CHROMIUM is not None
    async with browser_tab(CHROMIUM, tmp_path / "profile") as opened:
        yield opened


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("width", WIDTHS)
async def test_a_page_fits_and_can_be_read(pages: Path, tab: Tab, name: str, width: int) -> None:
    file = pages / f"{name}.html"
    await tab.open(file.as_uri(), width=width, dark=width == 360)
    assert await tab.value(OVERFLOW) <= 0
    await tab.value(OPEN_ALL)
    assert await tab.value(OVERFLOW) <= 0
    assert await tab.value(SMALLEST) >= 10
    assert await tab.value(CUT) == []
    assert await tab.value(UNREACHABLE) == 0
    assert tab.complaints == []
    assert tab.requests == [file.as_uri()]
    assert file.stat().st_size < 3_000_000


async def test_a_page_needs_no_script_and_can_be_printed(pages: Path, tab: Tab) -> None:
    await tab.open((pages / "oversight.html").as_uri(), width=360, script=False)
    found = await tab.call("DOM.getDocument", depth=-1)
    assert "BUTTON" not in str(found)
    assert "Transcripts" in str(found)
    printed = await tab.pdf()
    assert printed.startswith(b"%PDF")
    assert tab.complaints == []


async def test_the_buttons_open_and_close_all_transcripts(pages: Path, tab: Tab) -> None:
    await tab.open((pages / "oversight.html").as_uri(), width=1400)
    opened = "document.querySelectorAll('details.session[open]').length"
    assert await tab.value(opened) == 0
    await tab.value("document.querySelectorAll('#folds button')[0].click()")
    assert await tab.value(opened) > 0
    await tab.value("document.querySelectorAll('#folds button')[1].click()")
    assert await tab.value(opened) == 0
