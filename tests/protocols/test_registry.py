from __future__ import annotations

import re
import subprocess
import sys
from typing import ClassVar

import pytest

import protocols
from protocols import registry
from protocols.cast import Cast
from protocols.chance import Rng
from protocols.contract import CallBound, Protocol, Role, Session
from protocols.errors import Mistake
from protocols.outcome import Outcome
from protocols.question import Question
from protocols.registry import PROTOCOLS, load_protocol, make_protocol, protocol_class, register


class Silent(Protocol):
    kind: ClassVar[str] = "silent"
    about: ClassVar[str] = "asks nobody"

    words: int = 0

    def roles(self) -> tuple[Role, ...]:
        return ()

    def calls(self, question: Question, cast: Cast) -> CallBound:
        return CallBound(0, 0)

    def session(self, question: Question, cast: Cast, rng: Rng) -> Session[Outcome]:
        yield from ()
        return Outcome(status="abstained", rule="none")


class Rival(Silent):
    about: ClassVar[str] = "wants the same kind"


class Unnamed(Protocol):
    pass


@pytest.fixture
def own_kinds(monkeypatch):
    """Let a test register kinds of its own."""
    monkeypatch.setattr(registry._REGISTRY, "_classes", dict(registry._REGISTRY._classes))


def test_every_kind_is_its_class_and_is_complete():
    assert list(PROTOCOLS) == sorted(PROTOCOLS)
    assert len(PROTOCOLS) == len(list(PROTOCOLS)) >= 5
    for kind, cls in PROTOCOLS.items():
        assert cls.kind == kind
        assert cls.about
        assert "\n" not in cls.about
        assert cls.model_config["frozen"]
        assert make_protocol(kind).digest() == make_protocol(kind, {}).digest()


@pytest.mark.usefixtures("own_kinds")
def test_users_register_their_own():
    assert register(Silent) is Silent
    assert register(Silent) is Silent
    assert PROTOCOLS["silent"] is Silent
    assert make_protocol("silent", {"words": 3}) == Silent(words=3)
    with pytest.raises(Mistake, match="already names"):
        register(Rival)
    with pytest.raises(Mistake, match="lacks kind, about, calls, roles, session"):
        register(Unnamed)  # type: ignore[type-abstract]


def test_a_class_may_stand_where_a_kind_is_wanted():
    name = f"{Silent.__module__}:Silent"
    assert protocol_class(name).about == "asks nobody"
    assert "silent" not in PROTOCOLS


@pytest.mark.parametrize(
    "reference",
    ["no_such_module:X", "protocols.plurality:Nothing", "protocols.plurality:SOLVER",
     "protocols.question:Question", ":X", "protocols.contract:", "protocols.contract:Protocol",
     "..x:Y"],
)  # fmt: skip
def test_a_reference_to_nothing_is_a_mistake(reference):
    with pytest.raises(Mistake) as caught:
        load_protocol(reference)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "parameters", "message"),
    [
        ("pluralty", {}, "did you mean 'plurality'?"),
        ("zzz", {}, "choose one of"),
        ("self_consistency", {"draws": 3}, "no parameter 'draws'; its parameters: n, shuffle"),
        ("self_consistency", {"n": 0}, "parameter 'n'"),
        ("self_consistency", {"n": "many"}, "parameter 'n'"),
        ("plurality", {"k": 1}, "no parameter 'k'; its parameters: prompts"),
        ("symbolic_moe", {"aggregate": "x" * 500}, "parameter 'aggregate'"),
    ],
)
def test_a_wrong_kind_or_parameter_is_one_line(kind, parameters, message):
    with pytest.raises(Mistake, match=re.escape(message)) as caught:
        make_protocol(kind, parameters)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


def test_exported_names_are_exact():
    assert set(protocols.__all__) == set(protocols._HOMES)
    for name in protocols.__all__:
        assert getattr(protocols, name).__module__.startswith("protocols") or name in {
            "PROTOCOLS",
            "Session",
        }
    assert set(protocols.__all__) <= set(dir(protocols))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = protocols.nothing


def test_importing_the_package_loads_next_to_nothing():
    code = (
        "import sys, protocols\n"
        "assert not [m for m in sys.modules if m.startswith('protocols.')]\n"
        "protocols.Plurality, protocols.SymbolicMoE, list(protocols.PROTOCOLS.values())\n"
        "heavy = {'networkx', 'jinja2', 'numpy', 'sklearn', 'rapidfuzz'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
