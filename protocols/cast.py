"""Casts: which expert sits in which role, who may read the passage, and which assets exist."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from pydantic import BaseModel, ConfigDict, JsonValue, PrivateAttr, field_serializer

from protocols.asks import Model, Sampling, Seat
from protocols.canonical import canonical_json, sha256_hex
from protocols.errors import Mistake


class Member(BaseModel):
    """An expert as a cast knows it: its label and what generates."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    expert: str
    """The label in the roster."""
    model: Model
    """Name and revision of what generates."""
    sampling: Sampling = Sampling()
    """The expert's defaults."""


class Asset(BaseModel):
    """Something immutable that a session may read: a profile, a memory, exemplars."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str
    """``profile``, ``memory``, ``exemplars``..."""
    content: JsonValue
    """The content, as JSON."""

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) over kind and content: the asset's identity."""
        return sha256_hex(canonical_json([self.kind, self.content]))


class Cast(BaseModel):
    """Who sits where. The same cast serves all sessions of a protocol in a run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    members: dict[str, tuple[Member, ...]]
    """The experts of each role, in seat order."""
    readers: frozenset[str] = frozenset()
    """The roles that may read the passage."""
    assets: dict[str, Asset] = {}
    """What sessions may read beside the question, by name."""

    @field_serializer("readers")
    def _sorted_readers(self, readers: frozenset[str]) -> list[str]:
        return sorted(readers)  # a set has no order of its own

    _seats: dict[tuple[str, int, str, Sampling | None], Seat] = PrivateAttr(default_factory=dict)

    def role(self, role: str) -> tuple[Member, ...]:
        """Return the members of `role`.

        Raises:
            Mistake: nobody is cast in `role`.
        """
        members = self.members.get(role, ())
        if not members:
            raise Mistake(f"nobody is cast as {role!r}; cast an expert in that role")
        return members

    def seat(
        self, role: str, index: int = 0, *, name: str = "", sampling: Sampling | None = None
    ) -> Seat:
        """Return the place number `index` of `role`; a role's only member fills all its places.

        Args:
            role: the role.
            index: which of its places, from 0.
            name: the seat's name; by default the role, with ``_1``, ``_2``... from the second on.
            sampling: settings that take precedence over the expert's own.
        """
        key = (role, index, name, sampling)
        seat = self._seats.get(key)
        if seat is None:
            members = self.role(role)
            member = members[0] if len(members) == 1 else members[index]
            seat = Seat(
                name=name or (role if index == 0 else f"{role}_{index}"),
                role=role,
                expert=member.expert,
                model=member.model,
                sampling=member.sampling if sampling is None else sampling.over(member.sampling),
            )
            self._seats[key] = seat
        return seat

    def reads_passage(self, role: str) -> bool:
        """Whether `role` may read the passage."""
        return role in self.readers

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex): experts with model and sampling by role, readers, assets by hash."""
        identity: dict[str, Any] = {
            "members": {
                role: [
                    [m.expert, m.model.name, m.model.revision, m.sampling.as_json()]
                    for m in members
                ]
                for role, members in self.members.items()
            },
            "readers": sorted(self.readers),
            "assets": {name: asset.digest for name, asset in self.assets.items()},
        }
        return sha256_hex(canonical_json(identity))
