"""Casts: which expert sits in which role, who may read the passage, and which assets exist.

A seat may also be filled by a :class:`Team`: a protocol with a cast of its own, that answers in
the place of one expert. How it is asked stands in ``teams.py``; no protocol needs to know.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, JsonValue, field_serializer

from protocols.asks import Model, Sampling, Seat
from protocols.canonical import canonical_json, sha256_hex
from protocols.errors import Mistake

if TYPE_CHECKING:
    from protocols.contract import Protocol


class Member(BaseModel):
    """An expert as a cast knows it: its label and what generates."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    expert: str
    """The label in the roster."""
    model: Model
    """Name and revision of what generates."""
    sampling: Sampling = Sampling()
    """The expert's defaults."""


class Team(BaseModel):
    """A protocol that fills a seat, as a cast knows it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    expert: str
    """Its label."""
    kind: str
    """The protocol's kind, or ``package.module:Class``."""
    parameters: dict[str, JsonValue] = {}
    """The protocol's parameters."""
    version: int
    """The protocol's version when the team was cast; by another one it cannot be replayed."""
    cast: Cast
    """Who sits where in it."""

    @classmethod
    def of(cls, label: str, protocol: Protocol, cast: Cast, *, kind: str = "") -> Team:
        """Return the team that `protocol` makes of `cast`.

        Args:
            label: what it is called.
            protocol: what it does.
            cast: who sits in it; its readers get the seat's passage, or all where none is named.
            kind: how the protocol is found again, where its kind does not say it.
        """
        return cls(
            expert=label,
            kind=kind or protocol.kind,
            parameters=protocol.parameters(),
            version=protocol.version,
            cast=cast,
        )

    @cached_property
    def protocol(self) -> Protocol:
        """The protocol, at its present version.

        Raises:
            Mistake: there is none of that kind, or it does not take the parameters.
        """
        from protocols.registry import make_protocol

        return make_protocol(self.kind, self.parameters)

    @cached_property
    def model(self) -> Model:
        """What stands for it where a model is named: by what it does and who sits in it."""
        from protocols.prompts import templates_digest

        words = templates_digest(("team",))
        identity = canonical_json([self.protocol.digest(), self.cast.digest, words])
        return Model(f"team/{self.kind}", sha256_hex(identity))

    @property
    def sampling(self) -> Sampling:
        """Nothing of its own: its members have theirs."""
        return Sampling()

    def sampled(self, sampling: Sampling) -> Team:
        """Return the team with settings that take precedence over its members' own."""
        cast = self.cast.sampled(sampling)
        return Team(**{**_fields(self), "cast": cast})

    @property
    def stale(self) -> str | None:
        """Say which protocol in it has another version now; None where none has."""
        if self.protocol.version != self.version:
            return (
                f"version of {self.kind} in {self.expert!r} {self.version} -> "
                f"{self.protocol.version}"
            )
        return self.cast.stale


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

    members: Mapping[str, tuple[Member | Team, ...]]
    """The experts (or teams) of each role, in seat order."""
    readers: frozenset[str] = frozenset()
    """The roles that may read the passage."""
    assets: dict[str, Asset] = {}
    """What sessions may read beside the question, by name."""

    @field_serializer("readers")
    def _sorted_readers(self, readers: frozenset[str]) -> list[str]:
        return sorted(readers)  # a set has no order of its own

    @cached_property
    def _seats(self) -> dict[tuple[str, int, str, Sampling | None], Seat]:
        """The seats that were asked for."""
        return {}

    @cached_property
    def teams(self) -> dict[Model, Team]:
        """The teams that sit somewhere, by what stands for them in a seat."""
        return {
            member.model: member
            for role in sorted(self.members)
            for member in self.members[role]
            if isinstance(member, Team)
        }

    def sampled(self, sampling: Sampling) -> Cast:
        """Return the cast with settings that take precedence over its members' own."""

        def over(member: Member | Team) -> Member | Team:
            if isinstance(member, Team):
                return member.sampled(sampling)
            settings = sampling.over(member.sampling)
            return Member(expert=member.expert, model=member.model, sampling=settings)

        members = {role: tuple(map(over, members)) for role, members in self.members.items()}
        return Cast(members=members, readers=self.readers, assets=self.assets)

    @property
    def stale(self) -> str | None:
        """Say which team's protocol has another version now than when it was cast, or None."""
        return next((team.stale for team in self.teams.values() if team.stale), None)

    def role(self, role: str) -> tuple[Member | Team, ...]:
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


def _fields(model: BaseModel) -> dict[str, Any]:
    return {name: getattr(model, name) for name in type(model).model_fields}


Team.model_rebuild()
