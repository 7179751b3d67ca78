"""docs/protocols.md and ``moot list protocols`` are read off the code and say what they must."""

from __future__ import annotations

import re
from pathlib import Path
from typing import ClassVar

import pytest

from protocols.plurality import Plurality
from protocols.registry import PROTOCOLS
from tests.workflows.terminal import moot
from workflows.catalogue.describing import module_doc, own_doc, parameters_of, price_of
from workflows.catalogue.protocol_docs import _folded, _schedule, protocols_page

pytestmark = pytest.mark.slow

PAGE = Path(__file__).resolve().parents[2] / "docs" / "protocols.md"


def test_the_published_page_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == protocols_page(), (
        "write it anew: python -m workflows.catalogue.protocol_docs docs/protocols.md"
    )


@pytest.mark.parametrize("kind", PROTOCOLS)
def test_every_protocol_has_price_source_departures_and_documented_parameters(kind: str) -> None:
    cls = PROTOCOLS[kind]
    assert price_of(cls)
    said = own_doc(cls) + module_doc(cls)
    assert re.search(r"\bSources?: ", said)
    assert re.search(r"\bDepartures?: ", said)
    for one in parameters_of(cls):
        assert one.about, f"{kind}.{one.name} has no docstring"
        assert one.takes
    section = protocols_page().partition(f"## {kind}\n")[2].partition("\n## ")[0]
    assert all(f"| `{role.name}` |" in section for role in cls().roles())


def test_schedules_are_those_that_are_played() -> None:
    simultaneous = "{debater_a, debater_b}"
    assert _schedule("debate", {"rounds": 2}) == f"{simultaneous} > {simultaneous} > judge x2"
    sequential = _schedule("debate", {"rounds": 2, "order": "sequential", "orders": 1})
    assert sequential == f"{simultaneous} > debater_a > debater_b > judge"
    assert _schedule("nyu_consultancy", {"max_rounds": 2, "sides": "A"}) == (
        "judge > consultant_a > judge > consultant_a > judge"
    )
    assert _folded(["a", *["b", "c"] * 4, "d"]) == ["a", "(b > c) x4", "d"]
    assert _folded(["b"] * 3) == ["b"] * 3


def test_protocols_are_listed_as_objects() -> None:
    listed = moot("list", "protocols", "--json").json
    assert [one["kind"] for one in listed] == list(PROTOCOLS)
    debate = next(one for one in listed if one["kind"] == "debate")
    assert set(debate) == {"kind", "version", "about", "roles", "parameters", "calls"}
    assert debate["version"] == PROTOCOLS["debate"].version
    assert debate["calls"].startswith("2r + 2")
    assert debate["roles"]["debater"]["reads_passage"]
    assert debate["parameters"]["rounds"]["default"] == 3
    assert debate["parameters"]["overrun"]["takes"] == "cut | reask | accept"
    assert "debate" in moot("list", "protocols").out


def test_a_users_protocol_without_notes_has_no_price() -> None:
    class Bare(Plurality):
        kind: ClassVar[str] = "bare"

    assert price_of(Bare) == ""
