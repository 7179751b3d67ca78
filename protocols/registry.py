"""The protocols by kind, loaded when they are first used.

Users add their own with :func:`register`, or name a class where a kind is wanted:
``package.module:Class``.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from importlib import import_module
from typing import Any, TypeVar

from pydantic import ValidationError

from protocols.contract import Protocol
from protocols.errors import Mistake

P = TypeVar("P", bound=Protocol)

_BUILT_IN = {
    "aggregator_bench": "protocols.aggregator_bench:AggregatorBench",
    "annotate_skills": "protocols.annotation:AnnotateSkills",
    "consultancy": "protocols.consultancy:Consultancy",
    "debate": "protocols.debate:Debate",
    "direct_answer": "protocols.direct_answer:DirectAnswer",
    "diverse_debate": "protocols.diverse_debate:DiverseDebate",
    "double_consultancy": "protocols.consultancy:DoubleConsultancy",
    "eigen_refine": "protocols.eigen_refine:EigenRefine",
    "mixture_of_agents": "protocols.mixture_of_agents:MixtureOfAgents",
    "moderated_debate": "protocols.moderated_debate:ModeratedDebate",
    "multiagent_debate": "protocols.multiagent_debate:MultiagentDebate",
    "nyu_consultancy": "protocols.nyu:NyuConsultancy",
    "nyu_debate": "protocols.nyu:NyuDebate",
    "offline_judge": "protocols.offline_judge:OfflineJudge",
    "peer_review": "protocols.peer_review:PeerReview",
    "plurality": "protocols.plurality:Plurality",
    "rank_and_fuse": "protocols.rank_and_fuse:RankAndFuse",
    "reconcile": "protocols.reconcile:Reconcile",
    "recursive_critique": "protocols.recursive_critique:RecursiveCritique",
    "review_and_revise": "protocols.review_revise:ReviewAndRevise",
    "review_dialogue": "protocols.review_dialogue:ReviewDialogue",
    "review_panel": "protocols.review_panel:ReviewPanel",
    "routed": "protocols.routed:Routed",
    "self_consistency": "protocols.self_consistency:SelfConsistency",
    "self_refine": "protocols.self_refine:SelfRefine",
    "speculative_verdict": "protocols.speculative_verdict:SpeculativeVerdict",
    "symbolic_moe": "protocols.symbolic_moe:SymbolicMoE",
    "topology_debate": "protocols.topology_debate:TopologyDebate",
    "xolver": "protocols.xolver:Xolver",
}


class _Registry(Mapping[str, type[Protocol]]):
    """Kinds in sorted order; a class is imported when it is looked up."""

    def __init__(self) -> None:
        self._classes: dict[str, type[Protocol] | str] = dict(_BUILT_IN)

    def __getitem__(self, kind: str) -> type[Protocol]:
        entry = self._classes[kind]
        return load_protocol(entry) if isinstance(entry, str) else entry

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._classes))

    def __len__(self) -> int:
        return len(self._classes)

    def __contains__(self, kind: object) -> bool:
        return kind in self._classes

    def add(self, cls: type[Protocol]) -> None:
        """Add a class under its kind."""
        name = f"{cls.__module__}:{cls.__qualname__}"
        known = self._classes.get(cls.kind, name)
        if not isinstance(known, str):
            known = f"{known.__module__}:{known.__qualname__}"
        if known != name:
            raise Mistake(
                f"the kind {cls.kind!r} already names {known}; give {name} another 'kind'"
            )
        self._classes[cls.kind] = cls


_REGISTRY = _Registry()
PROTOCOLS: Mapping[str, type[Protocol]] = _REGISTRY
"""Every registered protocol class by its kind, sorted by kind."""


def register(cls: type[P]) -> type[P]:
    """Add a protocol class under its ``kind``; may be used as a decorator.

    Raises:
        Mistake: another class has that kind, or `cls` is not a complete protocol.
    """
    _REGISTRY.add(_checked(cls, cls.__qualname__))
    return cls


def load_protocol(reference: str) -> type[Protocol]:
    """Return the class that ``package.module:Class`` names.

    Raises:
        Mistake: there is no such module or class, or it is not a complete protocol.
    """
    module, _, name = reference.partition(":")
    try:
        found = getattr(import_module(module), name)
    except (ImportError, AttributeError, SyntaxError, TypeError, ValueError) as error:
        raise Mistake(
            f"cannot load the protocol {reference!r}: {error}; write package.module:Class and "
            "check that it can be imported"
        ) from error
    return _checked(found, reference)


def _checked(found: object, reference: str) -> type[Protocol]:
    """Return `found` if it is a protocol class that can be used."""
    if not (isinstance(found, type) and issubclass(found, Protocol)):
        raise Mistake(f"{reference!r} is not a protocol; derive it from protocols.Protocol")
    wanted = [name for name in ("kind", "about") if not isinstance(getattr(found, name, 0), str)]
    wanted.extend(sorted(getattr(found, "__abstractmethods__", ())))
    if inspect.isabstract(found) or wanted:
        raise Mistake(f"the protocol {reference!r} lacks {', '.join(wanted)}; define it there")
    return found


def protocol_class(kind: str) -> type[Protocol]:
    """Return the class of a kind, or the one that ``package.module:Class`` names.

    Raises:
        Mistake: there is no such protocol.
    """
    if kind in PROTOCOLS:
        return PROTOCOLS[kind]
    if ":" in kind:
        return load_protocol(kind)
    near = get_close_matches(kind, PROTOCOLS, n=1)
    some = ", ".join(list(PROTOCOLS)[:6])
    hint = (
        f"did you mean {near[0]!r}?" if near else f"choose one of {some}... (moot list protocols)"
    )
    raise Mistake(f"there is no protocol {kind!r}; {hint}")


def make_protocol(kind: str, parameters: Mapping[str, Any] | None = None) -> Protocol:
    """Return a protocol with its parameters.

    Raises:
        Mistake: there is no such protocol, or a parameter is unknown or wrong.
    """
    cls = protocol_class(kind)
    try:
        return cls.model_validate(dict(parameters or {}))
    except ValidationError as error:
        raise Mistake(_explained(cls, kind, error)) from None


def _explained(cls: type[Protocol], kind: str, error: ValidationError) -> str:
    """Return one line on the first wrong parameter."""
    first = error.errors()[0]
    where = ".".join(str(step) for step in first["loc"])
    if first["type"] == "extra_forbidden":
        shared = Protocol.model_fields
        names = ", ".join(sorted(cls.model_fields, key=lambda name: (name in shared, name)))
        return f"protocol {kind!r} has no parameter {where!r}; its parameters: {names}"
    place = f"parameter {where!r}" if where else "parameters"
    return f"protocol {kind!r}, {place}: {first['msg']} (given {first['input']!r:.60})"
