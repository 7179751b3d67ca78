"""From runs in a store to the values of a page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from workflows.page import breakdowns, imported, judging, pricing, sections
from workflows.page.figures import pairs_of, prices_of
from workflows.page.heading import head_of
from workflows.page.making import made_of
from workflows.page.material import Lane, Material, clusters_of, lanes_of, read_material
from workflows.page.parts import PageData, Section
from workflows.page.speeches import discussion_of

if TYPE_CHECKING:
    from orchestrator.store import RunRow, Store


def page_data(store: Store, runs: Sequence[RunRow]) -> PageData:
    """Return the page about runs; one that is named twice is told once.

    Args:
        store: that holds them.
        runs: in the order in which they are told.
    """
    once = {run.id: run for run in runs}
    materials = [read_material(store, run) for run in once.values()]
    lanes, clusters = lanes_of(materials), clusters_of(materials)
    return PageData(
        head=head_of(materials, lanes, clusters),
        sections=tuple(_sections(materials, lanes, clusters)),
        discussion=discussion_of(store, lanes),
        made=made_of(materials),
    )


def _sections(
    materials: Sequence[Material], lanes: Sequence[Lane], clusters: dict[str, str]
) -> list[Section]:
    told = [one for one in materials if one.report.imported is not None]
    found: list[Section | None] = [
        imported.settings(
            one.report.imported,
            {lane.row.name: lane.series for lane in lanes if lane.material is one},
            one.name if len(materials) > 1 else "",
            number,
        )
        for number, one in enumerate(told)
        if one.report.imported is not None
    ]
    if len(told) < len(materials):  # no baseline and no pair belongs to sessions of others
        pairs = pairs_of(lanes, clusters)
        found = [
            sections.shows(lanes, clusters, pairs),
            *found,
            sections.results(lanes, pairs),
            sections.differences(pairs, lanes),
            pricing.prices(prices_of(lanes, clusters), lanes),
        ]
    found += [
        judging.probabilities(lanes),
        breakdowns.topics(lanes),
        breakdowns.difficulty(lanes),
        breakdowns.talking(lanes, clusters),
        breakdowns.strata(lanes),
    ]
    return [section for section in found if section is not None]
