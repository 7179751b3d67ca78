"""Reads a page as a strict reader would: with the parser of the standard library alone."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from html.parser import HTMLParser
from itertools import pairwise
from typing import Any

VOID = {"meta", "link", "br", "wbr", "hr", "img", "input", "path", "circle", "rect"}
LOADS = ("src", "srcset", "data", "poster", "action", "formaction", "background", "xlink:href")


@dataclass
class Element:
    tag: str
    attributes: dict[str, str | None]
    text: str = ""
    parents: tuple[str, ...] = ()


@dataclass
class Read:
    """What stands in a page."""

    elements: list[Element] = field(default_factory=list)
    text: str = ""

    def all(self, *tags: str) -> list[Element]:
        return [one for one in self.elements if one.tag in tags]


class _Parser(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.read = Read()
        self.open: list[Element] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, dict(attrs), parents=tuple(one.tag for one in self.open))
        assert len(element.attributes) == len(attrs), f"an attribute of {tag} stands there twice"
        self.read.elements.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open[-1].tag == tag, f"</{tag}> closes {self.open[-1].tag}"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        for element in self.open:
            element.text += data
        if not {"script", "style"} & {one.tag for one in self.open}:
            self.read.text += data


def read_page(html: str) -> Read:
    """Return what stands in a page that is well formed, accessible and loads nothing."""
    parser = _Parser()
    parser.feed(html)
    parser.close()
    assert not parser.open, f"not closed: {parser.open[-1].tag}"
    read = parser.read
    _check_names(read)
    _check_headings(read)
    _check_tables(read)
    _check_nothing_loaded(read)
    return read


def _check_names(read: Read) -> None:
    ids = Counter(one.attributes["id"] for one in read.elements if "id" in one.attributes)
    assert [id for id, count in ids.items() if count > 1] == []
    for one in read.elements:
        names = (one.attributes.get("aria-labelledby") or "").split()
        assert set(names) <= set(ids), names
        target = one.attributes.get("href") or "#main"
        assert target.startswith("#"), target
        assert target[1:] in ids, target
    for picture in read.all("svg", "img"):
        assert picture.attributes.get("role") == "img"
        named = (picture.attributes["aria-labelledby"] or "").split()
        assert len(named) == 2
    for title in read.all("title", "desc"):
        assert title.text.strip()
    for landmark in ("header", "main", "nav", "footer"):
        assert len(read.all(landmark)) == 1


def _check_headings(read: Read) -> None:
    levels = [int(one.tag[1]) for one in read.all("h1", "h2", "h3", "h4", "h5", "h6")]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b <= a + 1 for a, b in pairwise(levels)), levels
    assert all(one.text.strip() for one in read.all("h1", "h2", "h3", "h4", "summary"))


def _check_tables(read: Read) -> None:
    assert len(read.all("table")) == len(read.all("caption"))
    assert all(one.attributes.get("scope") in ("row", "col") for one in read.all("th"))


def _check_nothing_loaded(read: Read) -> None:
    for one in read.elements:
        assert not set(LOADS) & set(one.attributes), one
        assert not any(name.startswith("on") for name in one.attributes), one
        assert one.tag not in ("link", "iframe", "object", "embed", "base", "form", "img")
    for sheet in read.all("style"):
        assert "url(" not in sheet.text
        assert "@import" not in sheet.text
    assert len(read.all("script")) == 1
    policies = [one.attributes.get("content") or "" for one in read.all("meta")]
    assert any("default-src 'none'" in policy for policy in policies)


def cells(read: Read, caption: str) -> list[list[str]]:
    """Return the rows of the first table of that caption, its header first."""
    found: list[list[str]] = []
    wanted: Any = None
    for one in read.elements:
        if one.tag == "table":
            wanted = caption in one.text
            if wanted and found:
                break
        elif wanted and one.tag == "tr":
            found.append([])
        elif wanted and one.tag in ("th", "td"):
            found[-1].append(one.text)
    return found
