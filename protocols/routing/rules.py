"""Every rule of recruitment, as one type discriminated by its field ``rule``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, get_args

from pydantic import BeforeValidator, Field, TypeAdapter

from protocols.routing.cascade import Cascade
from protocols.routing.scoring import ScoringRules, spelled_out
from protocols.routing.teams import AdaptiveBar, ExpertChoice, Subset, TopP

Rules = ScoringRules | AdaptiveBar | Cascade | ExpertChoice | Subset | TopP

AnyRule = Annotated[
    Annotated[Rules, Field(discriminator="rule")],
    BeforeValidator(spelled_out, json_schema_input_type=str | Rules),
]
"""A rule of recruitment; a bare name is short for the rule with its defaults."""

RULES: dict[str, type[Rules]] = {
    rule.model_fields["rule"].default: rule
    for rule in sorted(get_args(Rules), key=lambda rule: str(rule.model_fields["rule"].default))
}
"""The rules by name, sorted."""


def make_rule(rule: str | Mapping[str, Any]) -> Rules:
    """Return a rule with its parameters.

    Args:
        rule: its name, or its name (``rule``) and parameters.
    """
    found: Rules = _ADAPTER.validate_python(rule)
    return found


_ADAPTER: TypeAdapter[Any] = TypeAdapter(AnyRule)
