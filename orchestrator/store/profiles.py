"""Measured experts in the tables ``expert`` and ``profile``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, delete, func, insert, select

from orchestrator.store.tables import EXPERT, PROFILE

WHOLE = ""
"""The name under which ``profile`` holds what the experts were measured on."""


@dataclass(frozen=True, slots=True)
class ExpertRow:
    """An expert that a run measured; prices in US dollars per million tokens."""

    label: str
    model: str
    revision: str = ""
    prompt_price: float | None = None
    completion_price: float | None = None


@dataclass(frozen=True, slots=True)
class ProfileRows:
    """The profile that a run measured."""

    hash: str
    """Of the whole profile, as casts name it."""
    scores: Mapping[str, str]
    """Expert -> JSON."""
    measured: str
    """JSON: the questions and who was right."""


def replace_profile(
    connection: Connection, run_id: int, profile: ProfileRows, experts: Sequence[ExpertRow]
) -> None:
    """Store a run's profile in the place of the one it had, and the experts it is about."""
    connection.execute(delete(PROFILE).where(PROFILE.c.run == run_id))
    rows = {**profile.scores, WHOLE: profile.measured}
    connection.execute(
        insert(PROFILE),
        [
            {"run": run_id, "expert": expert, "hash": profile.hash, "scores": scores}
            for expert, scores in sorted(rows.items())
        ],
    )
    connection.execute(delete(EXPERT).where(EXPERT.c.run == run_id))
    if experts:
        connection.execute(
            insert(EXPERT),
            [
                {
                    "run": run_id,
                    "label": expert.label,
                    "model": expert.model,
                    "revision": expert.revision,
                    "prompt_price": expert.prompt_price,
                    "completion_price": expert.completion_price,
                }
                for expert in experts
            ],
        )


def read_profile(connection: Connection, run_id: int) -> ProfileRows | None:
    """Return the profile that a run measured; None where it measured none."""
    query = select(PROFILE).where(PROFILE.c.run == run_id).order_by(PROFILE.c.expert)
    rows = connection.execute(query).all()
    scores = {row.expert: row.scores for row in rows}
    measured = scores.pop(WHOLE, None)
    if measured is None:
        return None
    return ProfileRows(hash=rows[0].hash, scores=scores, measured=measured)


def latest_profiled(connection: Connection) -> int | None:
    """Return the newest run that measured a profile; None where none did."""
    found = connection.execute(select(func.max(PROFILE.c.run)).where(PROFILE.c.expert == WHOLE))
    newest = found.scalar_one()
    return None if newest is None else int(newest)
