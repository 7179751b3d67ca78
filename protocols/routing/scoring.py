"""The rules that score single questions, as one type; a bare name is short for its defaults."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field

from protocols.routing.baselines import BestSingle, CategoryMap, RandomTeam, TaskBest
from protocols.routing.clusters import ClusterRanks
from protocols.routing.irt import ItemResponse
from protocols.routing.pairs import Threshold
from protocols.routing.predicted import Neighbours, Pilots, PredictedQuality
from protocols.routing.skill_rule import SkillRule

ScoringRules = (
    BestSingle
    | CategoryMap
    | ClusterRanks
    | ItemResponse
    | Neighbours
    | Pilots
    | PredictedQuality
    | RandomTeam
    | SkillRule
    | TaskBest
    | Threshold
)


def spelled_out(rule: object) -> object:
    """Return ``{"rule": NAME}`` for a bare name; anything else stays."""
    return {"rule": rule} if isinstance(rule, str) else rule


ScoringRule = Annotated[
    Annotated[ScoringRules, Field(discriminator="rule")],
    BeforeValidator(spelled_out, json_schema_input_type=str | ScoringRules),
]
"""A rule that scores every expert on one question."""
