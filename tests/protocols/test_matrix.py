"""What every protocol has to show, in tables: options and experts exchanged, splits and ties.

Every kind stands in each table, or beside it with the reason why it does not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest

from protocols.cast import Asset, Cast
from protocols.chance import Rng
from protocols.outcome import Outcome
from protocols.question import Question
from protocols.registry import make_protocol
from protocols.replies import Reply
from protocols.solving import reordered
from protocols.tape import Live, advance
from protocols.teams import start_session
from tests.protocols.examples import (
    BY_NAME,
    CHOICE,
    EXAMPLES,
    MEASURED,
    PAIR,
    PAPER,
    POOL,
    PROFILED,
    TRANSCRIPT,
    Example,
    cast_of,
)
from tests.protocols.harness import AnswerFn, Played, finish, play
from tests.protocols.voices import (
    CONSULTANT,
    KINDS,
    TOPOLOGISTS,
    agreeing_on,
    by_expert,
    divided,
    drawing,
    overseen,
    recorded,
)

MINDS = {"ada": 1, "bob": 0, "cy": 1, "dee": 0, "eve": 1, "zoe": 0}
"""Which of the two options each expert finds, wherever it stands."""


def swapped_cast(cast: Cast) -> Cast:
    """The same cast; what was said for a letter follows its option."""
    if "transcripts" not in cast.assets:
        return cast
    content: Any = TRANSCRIPT.content
    rounds: list[Any] = [{"A": one["B"], "B": one["A"]} for one in content[PAIR.id]["rounds"]]
    asset = Asset(kind="transcripts", content={PAIR.id: {"rounds": rounds}})
    return cast.model_copy(update={"assets": {**cast.assets, "transcripts": asset}})


def played_with(example: Example, question: Question, cast: Cast, answer: AnswerFn) -> Played:
    """Play with a chance that does not depend on how the question is written."""
    live = Live(start_session(example.protocol, question, cast, Rng("swap")))
    return finish(live, advance(live, None), {}, answer)


def told(outcome: Outcome, *, mirrored: bool = False) -> dict[str, Any]:
    """What an outcome says, but for its detail; mirrored: of the options in the other order."""
    labels, step = ({"A": "B", "B": "A"}, -1) if mirrored else ({"A": "A", "B": "B"}, 1)
    spread = outcome.distribution
    return {
        **outcome.model_dump(exclude={"detail"}),
        "answer": None if outcome.answer is None else labels[outcome.answer],
        "votes": {labels[answer]: weight for answer, weight in outcome.votes.items()},
        "distribution": None if spread is None else spread[::step],
        "readings": tuple(reading[::step] for reading in outcome.readings),
    }


NAMES_SKILLS = "annotate_skills"
"""It answers nothing, so no option can be exchanged, no vote split and nobody outvoted."""
ANSWERING = [example for example in EXAMPLES if example.protocol.kind != NAMES_SKILLS]


@pytest.mark.parametrize("example", ANSWERING, ids=lambda example: example.name)
def test_exchanging_the_options_mirrors_the_outcome(example: Example):
    question = PAPER if PAPER.passage == example.question.passage else PAIR
    answer = by_expert({name: question.options[place] for name, place in MINDS.items()})
    other = reordered(question, (1, 0))
    one = played_with(example, question, example.cast, answer)
    two = played_with(example, other, swapped_cast(example.cast), answer)
    assert one.outcome.status == "answered"
    assert told(two.outcome) == told(one.outcome, mirrored=True)
    labels, options = question.labels, question.options
    text = options[labels.index(one.outcome.answer or "")]
    assert other.options[labels.index(two.outcome.answer or "")] == text
    if not example.cast.teams:  # a team in another seat draws its recruits anew
        assert [len(turn) for turn in one.asks_by_turn] == [len(turn) for turn in two.asks_by_turn]


RATING = "review_and_revise"
"""Its decision follows from a rating: nobody is asked which option it finds."""


@pytest.mark.parametrize("order", [(0, 1), (1, 0)], ids=["own order", "exchanged"])
@pytest.mark.parametrize(
    "example", [one for one in ANSWERING if one.protocol.kind != RATING], ids=lambda one: one.name
)
def test_what_everybody_finds_is_the_answer_wherever_it_stands(example: Example, order):
    question = reordered(PAPER if PAPER.passage == example.question.passage else PAIR, order)
    cast = example.cast if order == (0, 1) else swapped_cast(example.cast)
    for label, option in zip(question.labels, question.options, strict=True):
        outcome = played_with(example, question, cast, agreeing_on(option)).outcome
        assert (outcome.status, outcome.answer) == ("answered", label)
        assert set(outcome.votes) <= {label}
        place = question.labels.index(label)
        assert all(reading[place] >= 0.75 for reading in outcome.readings)


def test_every_protocol_is_swapped():
    kinds = {example.protocol.kind for example in EXAMPLES}
    assert sorted(kinds) == KINDS


VIEWS = {"ada": "Saturn", "bob": "Mars", "cy": "Saturn", "dee": "Venus", "eve": "Saturn"}
ORDERS = [POOL[shift:] + POOL[:shift] for shift in range(len(POOL))] + [POOL[::-1]]
NOTHING: Mapping[str, Any] = MappingProxyType({})


class Pool(NamedTuple):
    """A protocol whose pool of five is seated in other orders."""

    parameters: Mapping[str, Any] = NOTHING
    others: Mapping[str, tuple[str, ...]] = NOTHING
    assets: Mapping[str, Asset] = NOTHING
    roles: tuple[str, ...] = ("solver",)


POOLS: dict[str, list[Pool]] = {
    "plurality": [Pool(), Pool(assets=PROFILED)],
    "multiagent_debate": [
        Pool({"rounds": 2, "topology": topology})
        for topology in ("complete", "ring", "star", "sparse")
    ],
    "peer_review": [Pool({"variant": "feedback"}), Pool({"variant": "sharing"})],
    "reconcile": [Pool()],
    "diverse_debate": [Pool({"agents": 5}), Pool({"agents": 5, "vote": "confidence"})],
    "topology_debate": [Pool(others=TOPOLOGISTS)],
    "recursive_critique": [Pool({"widths": [5, 5]}, roles=("solver", "critic"))],
    "symbolic_moe": [Pool({"k": 5, "replacement": False}, assets=PROFILED)],
    "routed": [
        Pool({"rule": rule, "k": 5}, assets=MEASURED)
        for rule in ("best_single", "random", "cluster_ranks")
    ],
    "eigen_refine": [Pool(others={"critic": ("ada",)})],
}
SPEAKERS = "no pool: speakers argue for the side they are given, and one judge decides"
ONE_SOLVER = "one expert gives all answers"
CHAIRED = "the chair decides, and nobody votes"
JOINED = "the aggregator decides, and nobody votes"
NO_POOL = {
    "consultancy": SPEAKERS,
    "debate": SPEAKERS,
    "double_consultancy": SPEAKERS,
    "moderated_debate": SPEAKERS,
    "nyu_consultancy": SPEAKERS,
    "nyu_debate": SPEAKERS,
    NAMES_SKILLS: "one annotator names skills",
    "direct_answer": "one judge answers",
    "offline_judge": "one judge answers",
    "self_consistency": ONE_SOLVER,
    "self_refine": ONE_SOLVER,
    "aggregator_bench": "one candidate reads recorded answers",
    "mixture_of_agents": JOINED,
    "rank_and_fuse": JOINED,
    "speculative_verdict": JOINED,
    "xolver": "the judge's score decides, and equal ones go by seat",
    "review_and_revise": "one expert in every role",
    "review_dialogue": CHAIRED,
    "review_panel": CHAIRED,
}

PLAIN = Question(id="q/plain", text=CHOICE.text, options=CHOICE.options)
"""Without a skill, so that every expert of a pool is as suitable as the others."""


@pytest.mark.parametrize(
    ("kind", "case"), [(kind, case) for kind, cases in POOLS.items() for case in cases]
)
def test_seating_the_experts_in_another_order_changes_nothing(kind: str, case: Pool):
    protocol = make_protocol(kind, case.parameters)
    outcomes = []
    for order in ORDERS:
        seated = dict.fromkeys(case.roles, order)
        cast = cast_of(assets=dict(case.assets), **{**case.others, **seated})
        outcomes.append(play(protocol, PLAIN, cast, by_expert(VIEWS)).outcome)
    seen = [outcome.model_dump(exclude={"detail"}) for outcome in outcomes]
    assert seen == seen[:1] * len(ORDERS)
    assert (outcomes[0].answer, outcomes[0].tie_broken) == ("B", False)
    assert set(outcomes[0].votes) == {"A", "B", "C"}


def test_every_protocol_has_its_pool_permuted_or_none():
    assert sorted([*POOLS, *NO_POOL]) == KINDS


class Voters(NamedTuple):
    """How n voters are seated in a protocol; each keeps to its answer."""

    parameters: Callable[[int], dict[str, Any]] = lambda n: {}
    others: Mapping[str, tuple[str, ...]] = NOTHING
    roles: tuple[str, ...] = ("solver",)
    tie_rules: tuple[str, ...] = ("first", "best_expert")
    """Which it knows: by slot order, and by the profile where there is one."""


VOTES: dict[str, Voters] = {
    "plurality": Voters(),
    "multiagent_debate": Voters(),
    "peer_review": Voters(),
    "reconcile": Voters(),
    "diverse_debate": Voters(lambda n: {"agents": n}),
    "topology_debate": Voters(others={"reflector": ("zoe",), "actor": ("zoe",)}),
    "recursive_critique": Voters(lambda n: {"widths": [n, n]}, roles=("solver", "critic")),
    "symbolic_moe": Voters(lambda n: {"k": n, "replacement": False}, tie_rules=("best_expert",)),
    "routed": Voters(lambda n: {"rule": "best_single", "k": n}, tie_rules=("best_expert",)),
    "self_consistency": Voters(lambda n: {"n": n}, tie_rules=("first",)),
    "eigen_refine": Voters(others={"critic": ("zoe",)}),
}
SPLIT = {"cy": "Mars", "bob": "Saturn", "ada": "Venus"}
TWO_TO_TWO = {"cy": "Mars", "bob": "Saturn", "dee": "Mars", "ada": "Saturn"}
"""In slot order; ada is the best on the profile."""


@pytest.mark.parametrize("views", [SPLIT, TWO_TO_TWO], ids=["three ways", "two to two"])
@pytest.mark.parametrize(
    ("kind", "rule"), [(kind, rule) for kind, voters in VOTES.items() for rule in voters.tie_rules]
)
def test_a_split_or_tied_vote_keeps_every_answer_and_says_how_it_was_decided(kind, rule, views):
    voters = VOTES[kind]
    alone = kind == "self_consistency"
    seated = dict.fromkeys(voters.roles, ("ada",) if alone else tuple(views))
    cast = cast_of(assets=MEASURED if rule == "best_expert" else {}, **{**voters.others, **seated})
    answer = drawing(views) if alone else by_expert({**views, "zoe": "Mars"})
    protocol = make_protocol(kind, voters.parameters(len(views)))
    outcome = play(protocol, PLAIN, cast, answer).outcome
    labels = {text: label for label, text in zip(PLAIN.labels, PLAIN.options, strict=True)}
    assert (outcome.status, outcome.tie_rule, outcome.tie_broken) == ("answered", rule, True)
    assert outcome.answer == labels[views["ada" if rule == "best_expert" else "cy"]]
    assert set(outcome.votes) == {labels[text] for text in views.values()}
    assert len(set(outcome.votes.values())) == 1
    assert (outcome.unparsed, outcome.failures) == (0, {})


JUDGED: dict[str, tuple[dict[str, Any], Cast]] = {
    "direct_answer": ({"orders": 2}, cast_of(judge=("cy",))),
    "consultancy": ({}, CONSULTANT),
    "double_consultancy": ({}, overseen("ada", "bob", role="consultant")),
    "debate": ({"sides": "both"}, overseen("ada", "bob")),
    "nyu_debate": ({"max_rounds": 2}, overseen("ada", "bob")),
    "nyu_consultancy": ({"max_rounds": 2, "sides": "both"}, CONSULTANT),
    "offline_judge": ({"orders": 2}, recorded(2)),
}
"""With a judge over two options a split three ways cannot be; an even verdict stays even."""


@pytest.mark.parametrize("tie", ["half", "wrong"])
@pytest.mark.parametrize("kind", JUDGED)
def test_an_even_verdict_stays_a_tie_and_says_what_it_counts(kind: str, tie: str):
    parameters, cast = JUDGED[kind]
    protocol = make_protocol(kind, {**parameters, "tie": tie})
    even = Reply("Hm.", distribution=(0.5, 0.5), distribution_source="stated")
    outcome = play(protocol, PAIR, cast, lambda ask: even).outcome
    assert (outcome.status, outcome.answer, outcome.tie_rule) == ("tied", None, tie)
    assert (outcome.distribution, outcome.tie_broken) == ((0.5, 0.5), False)
    assert outcome.readings
    assert set(outcome.readings) == {(0.5, 0.5)}


NO_VOTE = {
    "moderated_debate": ("judge", "the moderator, or else the judge, decides alone"),
    "self_refine": ("last", "one solver, whose last answer counts"),
    "aggregator_bench": ("single", "one candidate, whose answer counts"),
    "mixture_of_agents": ("aggregator", JOINED),
    "rank_and_fuse": ("rank_and_fuse", JOINED),
    "speculative_verdict": ("speculative_verdict", JOINED),
    "xolver": ("best_scored", "the judge's score decides, not a count"),
    "review_and_revise": ("pairwise_ratings", "versions are compared, not answers"),
    "review_dialogue": ("chair", CHAIRED),
    "review_panel": ("chair", CHAIRED),
}
"""The rule that decides, and why there is no vote that could be split."""


@pytest.mark.parametrize("kind", NO_VOTE)
def test_where_nobody_votes_the_one_who_decides_is_named(kind: str):
    example = BY_NAME[kind]
    question = PAPER if kind.startswith("review") else CHOICE
    outcome = play(example.protocol, question, example.cast, divided(question)).outcome
    assert (outcome.status, outcome.rule) == ("answered", NO_VOTE[kind][0])
    assert len(outcome.votes) <= 1


def test_every_protocol_is_tied_or_has_no_vote():
    assert sorted([*VOTES, *JUDGED, *NO_VOTE, NAMES_SKILLS]) == KINDS
