"""Profiles that a store keeps: what a run measured, written, found again and added to."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agents.annotators import annotator_called
from agents.profile_file import Measured, read_measured
from protocols.errors import Mistake
from protocols.evidence import Evidence
from protocols.profile import SkillProfile
from protocols.question import Question

if TYPE_CHECKING:
    from orchestrator.store import RunRow, Store


def save_measured(store: Store, run: RunRow, measured: Measured) -> None:
    """Keep what a run measured, in the tables ``profile`` and ``expert``."""
    from orchestrator.run import stored_roster
    from orchestrator.store import ExpertRow, ProfileRows

    profile = measured.profile
    scores = {
        expert: json.dumps(
            {
                "skills": profile.skills.get(expert, {}),
                "asked": profile.asked.get(expert, 0),
                "right": profile.right.get(expert, 0),
            },
            sort_keys=True,
        )
        for expert in profile.experts
    }
    whole = json.dumps(measured.model_dump(mode="json", exclude_none=True), sort_keys=True)
    rows = ProfileRows(hash=profile.as_asset().digest, scores=scores, measured=whole)
    experts = [
        ExpertRow(expert.label, expert.model, expert.revision, *_list_price(expert.price))
        for expert in stored_roster(run).values()
    ]
    store.save_profile(run.id, rows, experts)


def _list_price(price: Any) -> tuple[float | None, float | None]:
    from agents.roster import Price as ListPrice

    return (price.prompt, price.completion) if isinstance(price, ListPrice) else (None, None)


def stored_measured(store: Store, run: str | None) -> tuple[str, Measured]:
    """Return the experts that a run of a store measured, and the run's name.

    Args:
        store: an open store.
        run: a run's name or id; None for the newest that measured something.

    Raises:
        Mistake: there is no such run, or it measured nothing.
    """
    from workflows.api import find_run

    if run is None:
        newest = store.latest_profiled()
        if newest is None:
            raise Mistake(f"{store.shown}: no run measured experts yet; moot experts profile does")
        run = str(newest)
    row = find_run(store, run)
    kept = store.profile(row.id)
    if kept is None:
        raise Mistake(f"run {row.name} measured no experts; moot experts profile does")
    try:
        return row.name, Measured.from_json(json.loads(kept.measured))
    except ValueError:
        raise Mistake(f"the profile of run {row.name} was damaged in the store") from None


def stored_profile(store: Store, run: str) -> tuple[SkillProfile, Evidence]:
    """Return the profile that a run measured, and the evidence that it follows from.

    Raises:
        Mistake: there is no such run, or it measured nothing.
    """
    _, measured = stored_measured(store, run)
    return measured.profile, measured.evidence


def annotator_of(measured: Measured) -> Callable[[Question], tuple[str, ...]] | None:
    """Return what names a new question's skills as the profile's were named.

    None where an expert named them: that takes a run of its own, see ``protocols/annotation.py``.
    """
    if measured.text_skills is not None:
        return measured.text_skills.skills
    if annotator_called(measured.skills_by).asks_model:
        return None
    from protocols.profile import question_skills

    return question_skills


def find_measured(source: str | None, store: str) -> tuple[str, Measured]:
    """Return measured experts and what they are called: from a file, or from a run of a store.

    Args:
        source: a file that was exported, or a run; None for the newest run that measured some.
        store: where runs are.

    Raises:
        Mistake: it is neither.
    """
    from orchestrator.store import Store

    if source is not None and (Path(source).is_file() or source.endswith(".json")):
        return Path(source).name, read_measured(source)
    with Store.read(store) as opened:
        return stored_measured(opened, source)
