"""A grid of casts: every protocol with every combination of who may sit in its roles.

``casts: {judge: [a, b], debater: [x, y]}`` makes four entries of a debate, called
``debate[judge=a,debater=x]`` and so on, and two of a protocol that has a judge alone. A role that
a protocol casts itself, or does not have, stays as it is; a role with one choice varies nothing
and is not named. Sessions that differ only in the judge share their tape up to the judge's first
turn; see ``orchestrator/sharing.py``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import TYPE_CHECKING, Any

from agents.settings import checked
from protocols.errors import Mistake

if TYPE_CHECKING:
    from workflows.settings.configuration import ProtocolSpec, RoleCast

Casts = Mapping[str, "tuple[RoleCast, ...]"]


def read_grid(
    kind: type[RoleCast], data: Mapping[str, Any], where: str
) -> dict[str, tuple[RoleCast, ...]]:
    """Return the grid of a workflow's plain data: a list holds choices, else there is one.

    Args:
        kind: what checks a choice.
        data: the workflow's; its other sections are checked already.
        where: how messages name the grid.

    Raises:
        Mistake: something in it is wrong, or stands elsewhere too.
    """
    given = data.get("casts") or {}
    if not isinstance(given, dict):
        raise Mistake(f"{where}: not a mapping; write role: [expert, expert]")
    casts: dict[str, tuple[RoleCast, ...]] = {}
    for role, entry in given.items():
        if entry is None:  # an override may take a role out of it
            continue
        found = list(entry) if isinstance(entry, (list, tuple)) else [entry]
        if not found:
            raise Mistake(f"{where}.{role}: names nobody; write [EXPERT, EXPERT]")
        casts[str(role)] = tuple(
            checked(kind, one, f"{where}.{role}[{place}]") for place, one in enumerate(found)
        )
    if casts and data.get("crossplay"):
        raise Mistake(f"{where}: a cross-play casts its debates itself; run the two apart")
    _refuse_doubles(casts, data["cast"], where)
    return casts


def _refuse_doubles(casts: Casts, cast: Mapping[str, object], where: str) -> None:
    for role, choices in casts.items():
        if role in cast:
            raise Mistake(f"{where}.{role}: stands under cast too; leave it in one of them")
        names = [told(one) for one in choices]
        for name in names:
            if names.count(name) > 1:
                raise Mistake(f"{where}.{role}: names {name!r} twice")


def on_grid(specs: object, casts: Casts) -> object:
    """Return protocols with every combination of `casts`, in the order in which they stand.

    What is no tuple of protocols is returned as it is: whoever checks the whole says so.
    """
    if not casts or not isinstance(specs, tuple):
        return specs
    return tuple(made for spec in specs for made in _filled(spec, casts))


def _filled(spec: ProtocolSpec, casts: Casts) -> Iterator[ProtocolSpec]:
    own = {role.name for role in spec.build().roles()}
    grid = {role: found for role, found in casts.items() if role in own and role not in spec.cast}
    if not grid:
        yield spec
        return
    written = spec.name or spec.kind
    varied = [role for role, found in grid.items() if len(found) > 1]
    for combination in product(*grid.values()):
        seated = dict(zip(grid, combination, strict=True))
        cell = ",".join(f"{role}={told(seated[role])}" for role in varied)
        yield spec.model_copy(
            update={
                "name": f"{written}[{cell}]" if cell else spec.name,
                "cast": {**spec.cast, **seated},
                "written_as": spec.name,
                "filled": tuple(grid),
            }
        )


def as_written(specs: Sequence[ProtocolSpec]) -> tuple[ProtocolSpec, ...]:
    """Return protocols as they were before :func:`on_grid`."""
    found: dict[str, ProtocolSpec] = {}
    for spec in specs:
        plain = spec
        if spec.filled:
            cast = {role: who for role, who in spec.cast.items() if role not in spec.filled}
            plain = spec.model_copy(
                update={"name": spec.written_as, "cast": cast, "written_as": "", "filled": ()}
            )
        found.setdefault(plain.name or plain.kind, plain)
    return tuple(found.values())


def told(one: RoleCast) -> str:
    """Return a choice as it is named: ``a``, ``a+b``, ``a without passage``."""
    passage = {None: "", True: " with passage", False: " without passage"}[one.reads_passage]
    return "+".join(one.experts) + passage
