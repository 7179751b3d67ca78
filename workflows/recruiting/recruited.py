"""A recruitment for people: who was recruited, with which odds, and what would have been."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

MOST_OTHERS = 4
"""How many of those who were not taken are named with their odds."""


def recruitment_lines(detail: Mapping[str, Any]) -> Iterator[str]:
    """Yield what an outcome's detail tells of a recruitment; nothing where nobody was recruited."""
    team = detail.get("team")
    if "recruitment" not in detail or not isinstance(team, list):
        return
    skills = ", ".join(map(str, detail.get("skills") or ()))
    by = f"recruited by {detail.get('rule', 'a rule')}" + (f" for {skills}" if skills else "")
    yield f"{by}: {', '.join(map(_member, team)) or 'nobody'}"
    counterfactual = detail.get("counterfactual") or {}
    yield from _next(counterfactual)
    taken = sorted(member["expert"] for member in team)
    certain = counterfactual.get("without_chance")
    if certain is not None and sorted(certain) != taken:
        yield f"without chance: {', '.join(certain)}"
    odds = detail.get("odds") or {}
    others = sorted((e for e in odds if e not in taken and odds[e]), key=lambda e: (-odds[e], e))
    if others:
        told = ", ".join(f"{expert} {odds[expert]:.2f}" for expert in others[:MOST_OTHERS])
        more = len(others) - MOST_OTHERS
        yield f"odds of the others: {told}" + (f" and {more} more" if more > 0 else "")


def _member(member: Mapping[str, Any]) -> str:
    """Return one recruit: who, how often, with which weight and odds."""
    told = [f"weight {member['weight']:.3g}"]
    if member["draws"] > 1:
        told.insert(0, f"{member['draws']} draws")
    if member["odds"] < 1.0:
        told.append(f"odds {member['odds']:.2f}")
    return f"{member['expert']} ({', '.join(told)})"


def _next(counterfactual: Mapping[str, Any]) -> Iterator[str]:
    """Yield who came next and by how much."""
    expert, lead = counterfactual.get("next"), counterfactual.get("lead")
    if expert is None:
        return
    if lead is None:
        yield f"next: {expert}"
    elif lead < 0:
        yield f"next: {expert}, worth {-lead:.3g} more than the last one taken"
    else:
        yield f"next: {expert}, {lead:.3g} behind the last one taken"
