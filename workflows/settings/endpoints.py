"""How endpoints are treated: the keys ``retry`` and ``limits`` of a workflow file. Not identity."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, get_args

from agents.roster import Expert
from agents.settings import checked
from orchestrator.limits.gates import Change, ChangeKind
from orchestrator.limits.limits import Limit
from orchestrator.limits.retry import RetryPolicy
from protocols.errors import Mistake

CHANGES: tuple[ChangeKind, ...] = get_args(ChangeKind)
"""The kinds of events that tell of an endpoint."""


@dataclass(frozen=True, slots=True)
class Rules:
    """When to try again, and what endpoints allow."""

    retry: RetryPolicy = RetryPolicy()
    limits: Mapping[str, Limit] = field(default_factory=dict)
    """By endpoint: a provider, ``provider:KEY_ENV``, or a server's address."""

    def part(self, place: int, parts: int) -> dict[str, Limit]:
        """Return the share of the limits of one of several drivers (the first is 0)."""
        return {name: limit.part(place, parts) for name, limit in self.limits.items()}

    def as_json(self) -> dict[str, Any]:
        """Return the rules as JSON, to hand them to another process."""
        return {
            "retry": self.retry.model_dump(),
            "limits": {name: limit.model_dump() for name, limit in self.limits.items()},
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Rules:
        """Return what :meth:`as_json` gave, or what a resolved workflow says."""
        limits = {name: Limit.model_validate(one) for name, one in data.get("limits", {}).items()}
        return cls(RetryPolicy.model_validate(data.get("retry", {})), limits)


def checked_limits(data: object, where: str) -> dict[str, Limit]:
    """Return the limits of a workflow file by endpoint.

    Raises:
        Mistake: they are not a mapping, or one of them is not a limit.
    """
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise Mistake(f"{where}: not a mapping; write openai: {{requests_per_minute: 600}}")
    return {
        str(name): entry if isinstance(entry, Limit) else checked(Limit, entry, f"{where}.{name}")
        for name, entry in data.items()
    }


def fallbacks_of(experts: Iterable[Expert]) -> Iterator[str]:
    """Yield the labels of those who stand in for `experts`.

    Raises:
        Mistake: one of them would stand in for itself, or is named twice.
    """
    for expert in experts:
        for number, label in enumerate(expert.fallbacks):
            if label == expert.label or label in expert.fallbacks[:number]:
                who = "the expert itself" if label == expert.label else "somebody named before"
                raise Mistake(
                    f"experts.{expert.label}.fallbacks: {label!r} is {who}; name another expert"
                )
            yield label


def tell_changes(
    changes: list[Change],
    emit: Callable[..., None] | None,
    on_note: Callable[[str], None] | None = None,
) -> None:
    """Tell of endpoints that stopped answering, or answer again, in events and as notes."""
    for change in changes:
        if emit is not None:
            emit(change.kind, endpoint=change.endpoint, message=change.message)
        if on_note is not None:
            on_note(change.message)
