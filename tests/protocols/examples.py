"""One table of (protocol, question, cast): every protocol's shared tests run over it.

Add a line to EXAMPLES for a new protocol or a variant that asks in another way; then write its
golden tapes with ``python -m tests.protocols.tape_files --write``.
"""

from __future__ import annotations

from typing import NamedTuple

from protocols.asks import Model, Sampling
from protocols.cast import Asset, Cast, Member
from protocols.contract import Protocol
from protocols.direct_answer import DirectAnswer
from protocols.plurality import Plurality
from protocols.profile import SkillProfile
from protocols.question import Question
from protocols.registry import make_protocol
from protocols.self_consistency import SelfConsistency
from protocols.symbolic_moe import SymbolicMoE


class Example(NamedTuple):
    name: str
    """Also the stem of its golden tapes."""
    protocol: Protocol
    question: Question
    cast: Cast


def member(expert: str, **sampling: float) -> Member:
    return Member(
        expert=expert,
        model=Model(f"scripted/{expert}", "r1"),
        sampling=Sampling(temperature=sampling.get("temperature")),
    )


def cast_of(
    readers: tuple[str, ...] = (),
    assets: dict[str, Asset] | None = None,
    **roles: tuple[str, ...],
) -> Cast:
    """Return a cast from role names and expert labels."""
    return Cast(
        members={role: tuple(member(expert) for expert in names) for role, names in roles.items()},
        readers=frozenset(readers),
        assets=assets or {},
    )


CHOICE = Question(
    id="q/choice",
    text="Which planet has the most moons?",
    options=("Mars", "Saturn", "Venus", "Earth"),
    category="science",
    subject="astronomy",
)
PAIR = Question(
    id="q/pair",
    text="Who opened the gate?",
    options=("The miller", "The cook"),
    passage="The miller slept. The cook took the key, went down and opened the gate.",
    category="fiction",
)
NUMBER = Question(id="q/number", text="What is 3 times 14?", kind="number", category="math")
TEXT = Question(id="q/text", text="Name the capital of Peru.", kind="text")

POOL = ("ada", "bob", "cy", "dee", "eve")

PROFILE = SkillProfile(
    skills={
        "ada": {"math": 4, "science": 3, "law": -1, "fiction": 0},
        "bob": {"math": -2, "science": 2, "law": 3, "fiction": 1},
        "cy": {"math": 1, "science": -1, "law": 0, "fiction": 2},
        "dee": {"math": 0, "science": 1, "law": 1, "fiction": -4},
        "eve": {"math": 2, "science": 0, "law": -3, "fiction": 3},
    },
    asked=dict.fromkeys(POOL, 20),
    right={"ada": 13, "bob": 12, "cy": 11, "dee": 9, "eve": 12},
    measured_on="four skills, by hand",
)
PROFILED = {"profile": PROFILE.as_asset()}

EXAMPLES: list[Example] = [
    Example("direct_answer", DirectAnswer(), CHOICE, cast_of(judge=("ada",))),
    Example(
        "direct_answer_both_orders",
        DirectAnswer(orders=2, passage=True),
        PAIR,
        cast_of(readers=("judge",), judge=("ada",)),
    ),
    Example("direct_answer_text", DirectAnswer(), TEXT, cast_of(judge=("ada",))),
    Example("self_consistency", SelfConsistency(), NUMBER, cast_of(solver=("ada",))),
    Example(
        "self_consistency_shuffled",
        SelfConsistency(n=4, shuffle_options=True),
        CHOICE,
        cast_of(solver=("ada",)),
    ),
    Example("plurality", Plurality(), CHOICE, cast_of(solver=POOL)),
    Example("plurality_profile", Plurality(), CHOICE, cast_of(solver=POOL, assets=PROFILED)),
    Example("symbolic_moe", SymbolicMoE(), CHOICE, cast_of(solver=POOL, assets=PROFILED)),
    Example(
        "symbolic_moe_top",
        SymbolicMoE(replacement=False, aggregate="weighted", variant="softmax"),
        NUMBER,
        cast_of(solver=POOL, assets=PROFILED),
    ),
    Example(
        "symbolic_moe_model",
        SymbolicMoE(k=4, aggregate="model"),
        CHOICE,
        cast_of(solver=POOL, aggregator=("zoe",), assets=PROFILED),
    ),
    Example(
        "debate",
        make_protocol("debate", {"rounds": 2}),
        PAIR,
        cast_of(readers=("debater",), debater=("ada", "bob"), judge=("cy",)),
    ),
]
BY_NAME = {example.name: example for example in EXAMPLES}
