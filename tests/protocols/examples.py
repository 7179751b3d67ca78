"""One table of (protocol, question, cast): every protocol's shared tests run over it.

Add a line to EXAMPLES for a new protocol or a variant that asks in another way; then write its
golden tapes with ``python -m tests.protocols.tape_files --write``.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from protocols.asks import Model, Sampling
from protocols.cast import Asset, Cast, Member, Team
from protocols.contract import Protocol
from protocols.convincing import ConvincingSample, ConvincingSamples
from protocols.direct_answer import DirectAnswer
from protocols.grouping import group_stage
from protocols.memory import Memory, MemoryEntry
from protocols.plurality import Plurality
from protocols.profile import SkillProfile
from protocols.question import Question
from protocols.registry import make_protocol
from protocols.routing.group import TEAMS
from protocols.self_consistency import SelfConsistency
from protocols.symbolic_moe import SymbolicMoE
from tests.protocols.recruits import EVIDENCE_OF_POOL


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
PAPER = Question(
    id="q/paper",
    text="Should this manuscript be accepted?",
    options=("Accept", "Reject"),
    passage="We measured 40 bridges. All of them stood in 1999. We conclude that bridges stand.",
)
RATED = Question(id="q/rated", text="How good is it?", kind="number", passage=PAPER.passage)
NUMBER = Question(id="q/number", text="What is 3 times 14?", kind="number", category="math")
TEXT = Question(id="q/text", text="Name the capital of Peru.", kind="text")

POOL = ("ada", "bob", "cy", "dee", "eve")
TABLE = ("ada", "bob", "cy")

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


def settled(name: str, protocol: Protocol) -> Example:
    """Return an example whose teams were settled over a few questions before."""
    cast = cast_of(solver=POOL, assets={"evidence": EVIDENCE_OF_POOL.as_asset(), **PROFILED})
    asked = (CHOICE, PAIR, NUMBER, TEXT)
    by_key: Any = group_stage(protocol, asked, cast, 0).content
    teams = Asset(kind=TEAMS, content={q.id: by_key[q.key] for q in asked})
    return Example(name, protocol, CHOICE, cast.model_copy(
        update={"assets": {**cast.assets, TEAMS: teams}}
    ))  # fmt: skip


SAMPLES = ConvincingSamples(
    samples={
        "bob": (
            ConvincingSample(question="2 + 2 * 2?", explanation="Times comes first.", answer="6"),
        )
    }
)

EXEMPLARS = Asset(
    kind="exemplars",
    content=[
        {"question": "Who ran?", "options": ["The hare", "The snail"], "answer": "A"},
        {
            "question": "Who slept?",
            "options": ["The owl", "The cat"],
            "transcript": "Debater A: it was day.\nAnswer: B",
            "reasoning": "Owls sleep by day.",
            "answer": "A",
        },
    ],
)


TRANSCRIPT = Asset(
    kind="transcripts",
    content={
        PAIR.id: {
            "rounds": [
                {"A": "<quote>The miller slept</quote>", "B": "<quote>took the key</quote>"},
                {"A": "Nobody saw the cook.", "B": ""},
            ]
        }
    },
)


def overseen(kind: str, name: str, parameters: dict[str, Any], **more: Any) -> Example:
    """Return an example of a protocol with speakers and a judge."""
    role = "debater" if kind.endswith("debate") else "consultant"
    cast: dict[str, Any] = {"judge": ("cy",), "readers": (role,), role: ("ada",), **more}
    return Example(name, make_protocol(kind, parameters), PAIR, cast_of(**cast))


OVERSIGHT = [
    overseen(
        "debate",
        "debate_sequential",
        {"rounds": 2, "order": "sequential", "max_characters": 20, "overrun": "reask"},
        debater=("ada", "bob"),
    ),
    overseen(
        "debate",
        "debate_interactive",
        {"rounds": 2, "interactive": "each", "sides": "both"},
        debater=("ada", "bob"),
        questioner=("eve",),
    ),
    overseen(
        "debate",
        "debate_open",
        {"rounds": 2, "open": True, "judge_every_round": True, "min_rounds": 1, "judge_shots": 2},
        debater=("bob",),
        assets={"judge_exemplars": EXEMPLARS},
    ),
    overseen(
        "debate",
        "debate_persuasive",
        {"rounds": 2, "best_of": [3, 1], "critiques": 2, "refinements": 2, "sides": "A"},
        debater=("ada", "bob"),
        rater=("dee",),
        critic=("eve",),
        readers=("debater", "critic"),
    ),
    overseen("consultancy", "consultancy", {"rounds": 2}),
    overseen("consultancy", "consultancy_open", {"rounds": 2, "open": True}),
    overseen(
        "consultancy",
        "consultancy_interactive",
        {"rounds": 3, "interactive": True, "sides": "random", "quotes": "span"},
    ),
    overseen("double_consultancy", "double_consultancy", {"rounds": 2}),
    overseen("nyu_debate", "nyu_debate", {"max_rounds": 3}),
    overseen(
        "nyu_debate",
        "nyu_debate_by_agreement",
        {
            "max_rounds": 3,
            "sides": "both",
            "rules": {
                "opening": ["simultaneous", "negotiate_end"],
                "repeat": ["sequential", "negotiate_end"],
                "closing": ["simultaneous", "judge"],
            },
        },
        debater=("ada", "bob"),
    ),
    overseen("nyu_consultancy", "nyu_consultancy", {"max_rounds": 3, "sides": "both"}),
    Example(
        "offline_judge",
        make_protocol("offline_judge", {"orders": 2, "min_rounds": 1}),
        PAIR,
        cast_of(judge=("cy",), assets={"transcripts": TRANSCRIPT}),
    ),
    Example(
        "offline_judge_at_once",
        make_protocol("offline_judge", {"mode": "all_at_once"}),
        PAIR,
        cast_of(judge=("cy",), assets={"transcripts": TRANSCRIPT}),
    ),
]

REFINERS = Team.of(
    "refiners", make_protocol("self_refine", {"rounds": 1}), cast_of(solver=("ada",))
)
PANEL = Team.of("panel", Plurality(), cast_of(solver=TABLE))
RECRUITS = Team.of(
    "recruits",
    SymbolicMoE(k=2, aggregate="model"),
    cast_of(solver=POOL, aggregator=("zoe",), assets=PROFILED),
)
COUNCIL = Team.of(
    "council",
    make_protocol("multiagent_debate"),
    Cast(members={"solver": (RECRUITS, member("dee"))}),
)

COMPOSED = [
    Example(
        "composed_debate",
        make_protocol("debate", {"rounds": 2}),
        PAIR,
        Cast(
            members={"debater": (REFINERS, member("bob")), "judge": (PANEL,)},
            readers=frozenset({"debater"}),
        ),
    ),
    Example(
        "composed_interactive",
        make_protocol("debate", {"rounds": 2, "interactive": "each", "orders": 1, "open": True}),
        PAIR,
        Cast(
            members={"debater": (REFINERS, RECRUITS), "judge": (COUNCIL,)},
            readers=frozenset({"debater"}),
        ),
    ),
    Example(
        "composed_nested",
        Plurality(),
        CHOICE,
        Cast(members={"solver": (COUNCIL, member("cy"), PANEL)}),
    ),
    Example(
        "composed_number",
        make_protocol("self_refine", {"rounds": 1}),
        NUMBER,
        Cast(members={"solver": (PANEL,)}),
    ),
]

MEMORY = Memory(
    entries=tuple(
        MemoryEntry(key=f"{i:064d}", question=text, solution=said, answer="A", score=7.0)
        for i, (text, said) in enumerate(
            [("Which planet is red?", "Mars is.\nAnswer: A"), ("Who ran?", "The hare.\nAnswer: A")]
        )
    )
)
BENCH = Asset(
    kind="bench",
    content={
        CHOICE.id: ["Answer: A", "It has 145.\nAnswer: B", "None.\nAnswer: C"],
        PAIR.id: ["Answer: A", "Answer: B", "He slept.\nAnswer: B"],
    },
)
JOINED: dict[str, Any] = {"solver": TABLE, "aggregator": ("zoe",)}

AGGREGATED = [
    Example("mixture_of_agents", make_protocol("mixture_of_agents"), CHOICE, cast_of(**JOINED)),
    Example(
        "mixture_of_agents_shallow",
        make_protocol("mixture_of_agents", {"agents": 4, "layers": 2}),
        NUMBER,
        cast_of(solver=("ada",), aggregator=("ada",)),
    ),
    Example(
        "rank_and_fuse",
        make_protocol("rank_and_fuse", {"top": 2}),
        CHOICE,
        cast_of(**JOINED, comparer=("dee",)),
    ),
    Example(
        "rank_and_fuse_one_order",
        make_protocol("rank_and_fuse", {"orders": 1}),
        TEXT,
        cast_of(solver=POOL, aggregator=("zoe",), comparer=("dee",)),
    ),
    Example(
        "speculative_verdict",
        make_protocol("speculative_verdict"),
        CHOICE,
        cast_of(solver=POOL, aggregator=("zoe",)),
    ),
    Example(
        "eigen_refine",
        make_protocol("eigen_refine"),
        CHOICE,
        cast_of(solver=TABLE, critic=("dee",)),
    ),
    Example(
        "xolver",
        make_protocol("xolver"),
        CHOICE,
        cast_of(solver=TABLE, judge=("dee",), assets={"memory": MEMORY.as_asset()}),
    ),
    Example(
        "xolver_without_memory",
        make_protocol("xolver", {"agents": 2, "rounds": 3, "recall": 0}),
        NUMBER,
        cast_of(solver=("ada",), judge=("ada",)),
    ),
    Example(
        "aggregator_bench",
        make_protocol("aggregator_bench"),
        CHOICE,
        cast_of(aggregator=("zoe",), assets={"bench": BENCH}),
    ),
]

MEASURED = {"evidence": EVIDENCE_OF_POOL.as_asset(), **PROFILED}
ROUTED = [
    Example("routed", make_protocol("routed", {"rule": "task_best", "k": 3}), CHOICE,
            cast_of(solver=POOL, assets=MEASURED)),
    Example("routed_cascade", make_protocol("routed", {"rule": {"rule": "cascade", "price": 0.0}}),
            CHOICE, cast_of(solver=POOL, assets=MEASURED)),
    Example("routed_draws", make_protocol(
            "routed", {"rule": "symbolic_moe", "k": 5, "repeat_draws": "ask"}), NUMBER,
            cast_of(solver=TABLE, assets=MEASURED)),
    Example("symbolic_moe_annotated", SymbolicMoE(annotate=True, aggregate="model"), CHOICE,
            cast_of(solver=POOL, aggregator=("zoe",), annotator=("dee",), assets=PROFILED)),
    Example(
        "routed_rated",
        make_protocol("routed", {"rule": {"rule": "adaptive_bar", "over": "best_single"}}),
        CHOICE,
        cast_of(solver=POOL, judge=("zoe",), assets=MEASURED),
    ),
    settled("routed_expert_choice", make_protocol("routed", {"rule": "expert_choice", "k": 2})),
    settled("symbolic_moe_trimmed", SymbolicMoE(trim=0.2)),
]  # fmt: skip

EXAMPLES: list[Example] = [
    *COMPOSED,
    *ROUTED,
    Example("direct_answer", DirectAnswer(), CHOICE, cast_of(judge=("ada",))),
    Example(
        "direct_answer_both_orders",
        DirectAnswer(orders=2, passage=True),
        PAIR,
        cast_of(readers=("judge",), judge=("ada",)),
    ),
    Example(
        "direct_answer_shots",
        DirectAnswer(orders=2, judge_reasoning="none", judge_shots=2),
        PAIR,
        cast_of(judge=("ada",), assets={"judge_exemplars": EXEMPLARS}),
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
    Example("self_refine", make_protocol("self_refine"), CHOICE, cast_of(solver=("ada",))),
    Example(
        "multiagent_debate",
        make_protocol("multiagent_debate", {"rounds": 2}),
        CHOICE,
        cast_of(solver=TABLE),
    ),
    Example(
        "multiagent_debate_sparse",
        make_protocol("multiagent_debate", {"agents": 5, "topology": "sparse"}),
        NUMBER,
        cast_of(solver=("ada",)),
    ),
    Example(
        "multiagent_debate_shared",
        make_protocol("multiagent_debate", {"summary": "shared"}),
        TEXT,
        cast_of(solver=TABLE, summariser=("zoe",)),
    ),
    Example(
        "multiagent_debate_each",
        make_protocol("multiagent_debate", {"summary": "each", "topology": "ring"}),
        CHOICE,
        cast_of(solver=POOL, summariser=("zoe",), assets=PROFILED),
    ),
    Example(
        "moderated_debate",
        make_protocol("moderated_debate", {"rounds": 2}),
        CHOICE,
        cast_of(solver=("ada",), debater=("bob", "cy"), moderator=("dee",), judge=("eve",)),
    ),
    Example("reconcile", make_protocol("reconcile"), CHOICE, cast_of(solver=TABLE)),
    Example(
        "reconcile_convincing",
        make_protocol("reconcile", {"rounds": 1, "first_confidence": False, "convincing": 1}),
        TEXT,
        cast_of(solver=TABLE, assets={"convincing": SAMPLES.as_asset()}),
    ),
    Example("peer_review", make_protocol("peer_review"), CHOICE, cast_of(solver=TABLE)),
    Example(
        "peer_review_sharing",
        make_protocol("peer_review", {"variant": "sharing"}),
        NUMBER,
        cast_of(solver=TABLE),
    ),
    Example(
        "peer_review_self_correction",
        make_protocol("peer_review", {"variant": "self_correction"}),
        PAIR,
        cast_of(readers=("solver",), solver=TABLE),
    ),
    *OVERSIGHT,
    *AGGREGATED,
    Example(
        "diverse_debate",
        make_protocol("diverse_debate", {"agents": 2}),
        CHOICE,
        cast_of(solver=POOL, assets=PROFILED),
    ),
    Example(
        "diverse_debate_confidence",
        make_protocol("diverse_debate", {"candidates": 6, "vote": "confidence"}),
        TEXT,
        cast_of(solver=("ada",)),
    ),
    Example(
        "topology_debate",
        make_protocol("topology_debate"),
        CHOICE,
        cast_of(solver=TABLE, reflector=("dee",), actor=("eve",)),
    ),
    Example(
        "topology_debate_sparse",
        make_protocol("topology_debate", {"agents": 5, "topology": "sparse", "cycles": 1}),
        NUMBER,
        cast_of(solver=("ada",), reflector=("ada",), actor=("ada",)),
    ),
    Example(
        "recursive_critique",
        make_protocol("recursive_critique", {"baseline": True}),
        CHOICE,
        cast_of(solver=("ada", "bob"), critic=("cy",)),
    ),
    Example(
        "recursive_critique_chooser",
        make_protocol("recursive_critique", {"widths": [2, 2], "chooser": True}),
        PAIR,
        cast_of(readers=("solver",), solver=("ada",), critic=TABLE, chooser=("dee",)),
    ),
    Example("annotate_skills", make_protocol("annotate_skills"), PAIR, cast_of(annotator=("ada",))),
    Example(
        "annotate_skills_menu",
        make_protocol("annotate_skills", {"passes": 2, "menu": {"text": ["law", "logic"]}}),
        CHOICE,
        cast_of(annotator=("ada",)),
    ),
    Example(
        "review_dialogue",
        make_protocol("review_dialogue"),
        PAPER,
        cast_of(readers=("reviewer", "author"), reviewer=TABLE, author=("dee",), chair=("eve",)),
    ),
    Example(
        "review_panel",
        make_protocol("review_panel"),
        PAPER,
        cast_of(
            readers=("reviewer", "author", "librarian"),
            librarian=("ada",),
            reviewer=("bob",),
            author=("dee",),
            chair=("eve",),
        ),
    ),
    Example(
        "review_and_revise",
        make_protocol("review_and_revise", {"least_kept": 0.0}),
        RATED,
        cast_of(
            readers=("scorer", "author", "rater"), scorer=("ada",), author=("bob",), rater=("cy",)
        ),
    ),
]
BY_NAME = {example.name: example for example in EXAMPLES}
