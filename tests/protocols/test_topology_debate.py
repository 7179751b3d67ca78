"""Topology debate: who hears whom, how the graph is mended, and when it ends."""

from __future__ import annotations

import re

import pytest

from protocols.asks import Ask
from protocols.cast import Asset, Cast
from protocols.chance import Rng
from protocols.contract import CallBound
from protocols.edges import changed, edges_text, heard_by, read_scores, start_edges
from protocols.errors import Mistake
from protocols.messages import find_part, find_parts
from protocols.plurality import Plurality
from protocols.quoting import unquoted
from protocols.replies import Reply, failed
from protocols.topology_debate import TopologyDebate
from tests.protocols.examples import CHOICE, PROFILED, cast_of
from tests.protocols.harness import AnswerFn, everything_said, play

NAMES = ("ada", "bob", "cy", "dee")


def table(*solvers: str, assets: dict[str, Asset] | None = None) -> Cast:
    """Return a cast with these agents, a reflector and an actor."""
    return cast_of(solver=solvers, reflector=("ray",), actor=("amy",), assets=assets)


CAST = table(*NAMES)
COMPLETE3 = ((1, 2), (1, 3), (2, 1), (2, 3), (3, 1), (3, 2))


def scored(ask: Ask) -> str:
    """Score every exchange that is listed."""
    edges = find_part(ask.messages, "edges")
    assert edges is not None
    return "\n".join(f"{line}: robustness 7, coherence 4" for line in edges.text.splitlines())


def group(labels: str = "ABCD", *, act: str = "", **special: Reply) -> AnswerFn:
    """Agents that keep to their labels, a reflector that scores all, an actor that says `act`."""

    def answer(ask: Ask) -> Reply:
        assert ask.place is not None
        key = f"{ask.seat.expert}_{ask.place.turn}"
        if key in special:
            return special[key]
        if ask.seat.role == "reflector":
            return Reply(scored(ask))
        if ask.seat.role == "actor":
            return Reply(act)
        label = labels[NAMES.index(ask.seat.expert)]
        return Reply(f"{ask.seat.expert}-{ask.place.turn}.\nAnswer: {label}")

    return answer


def heard(ask: Ask) -> list[str]:
    return [unquoted(part.text).splitlines()[0] for part in find_parts(ask.messages, "answer")]


def test_agents_answer_then_reflector_actor_and_agents_take_turns():
    played = play(TopologyDebate(cycles=2), CHOICE, CAST, group())
    assert [[ask.seat.role for ask in turn] for turn in played.asks_by_turn] == [
        ["solver"] * 4,
        *([["reflector"], ["actor"], ["solver"] * 4] * 2),
    ]
    first = play(Plurality(), CHOICE, CAST, group()).asks_by_turn[0]
    assert [ask.key for ask in played.asks_by_turn[0]] == [ask.key for ask in first]


@pytest.mark.parametrize(
    ("topology", "edges"),
    [
        ("complete", {1: (2, 3, 4), 2: (1, 3, 4), 3: (1, 2, 4), 4: (1, 2, 3)}),
        ("ring", {1: (2, 4), 2: (1, 3), 3: (2, 4), 4: (1, 3)}),
        ("star", {1: (2, 3, 4), 2: (1,), 3: (1,), 4: (1,)}),
    ],
)
def test_agents_hear_whom_the_topology_says(topology, edges):
    played = play(TopologyDebate(topology=topology, cycles=1), CHOICE, CAST, group())
    for number, ask in enumerate(played.asks_by_turn[-1], start=1):
        others = [f"{NAMES[one - 1]}-0." for one in edges[number]]
        assert heard(ask) == [f"{NAMES[number - 1]}-0.", *others]


@pytest.mark.parametrize("seed", range(3))
def test_a_sparse_start_is_drawn_and_regular(seed):
    protocol = TopologyDebate(topology="sparse", degree=3, cycles=1)
    cast = table(*NAMES, "eve", "flo")
    played = play(protocol, CHOICE, cast, lambda a: Reply(f"Answer: {a.seat.name[-1:]}"), seed=seed)
    edges = played.outcome.detail["rounds"][0]["edges"]
    assert [sum(hearer == n for _, hearer in edges) for n in range(1, 7)] == [3] * 6


def test_the_reflector_reads_all_answers_and_the_actor_only_the_reflection():
    played = play(TopologyDebate(cycles=1), CHOICE, CAST, group())
    (reflector,), (actor,) = played.asks_by_turn[1:3]
    assert heard(reflector) == [f"{name}-0." for name in NAMES]
    assert heard(actor) == []
    (reflection,) = find_parts(actor.messages, "reflection")[-1:]
    assert reflection.origin == (1, 0)
    assert "-0." not in everything_said([actor])


def test_the_actors_changes_hold_from_the_next_turn_on():
    act = "I see.\nCut: 2 -> 1\nCut: 3 -> 1\nAdd: 1 -> 2\n**Cut: 1 -> 4**"
    cast = table(*NAMES)
    played = play(TopologyDebate(topology="ring", cycles=1), CHOICE, cast, group(act=act))
    ada, bob, _, dee = played.asks_by_turn[3]
    assert heard(ada) == ["ada-0.", "dee-0."]
    assert heard(bob) == ["bob-0.", "ada-0.", "cy-0."]
    assert heard(dee) == ["dee-0.", "cy-0."]
    told = played.outcome.detail["rounds"][1]
    assert told["cut"] == [[1, 4], [2, 1]]
    assert (told["added"], told["ignored"]) == ([], 2)
    assert len(told["scores"]) == 8
    assert told["scores"][0] == [1, 2, 7.0, 4.0]


@pytest.mark.parametrize(("n", "cycles"), [(2, 1), (3, 2), (4, 3)])
def test_calls(n, cycles):
    cast = table("ada")
    protocol = TopologyDebate(agents=n, cycles=cycles)
    assert protocol.calls(CHOICE, cast) == CallBound(n, n + cycles * (2 + n))

    def answer(ask: Ask) -> Reply:
        if ask.seat.role != "solver":
            return group()(ask)
        return Reply(f"Answer: {'B' if ask.seat.name == 'solver' else 'A'}")

    assert len(play(protocol, CHOICE, cast, answer).asks) == n + cycles * (2 + n)


def test_agreement_ends_it_and_disagreement_does_not():
    assert len(play(TopologyDebate(), CHOICE, CAST, group("BBBB")).asks) == 4
    assert len(play(TopologyDebate(), CHOICE, CAST, group("BBBC")).asks) == 4 + 2 * 6
    played = play(TopologyDebate(cycles=3), CHOICE, CAST, group("BBBC", dee_3=Reply("Answer: B")))
    assert len(played.asks) == 4 + 6
    assert played.outcome.answer == "B"


def test_an_unreadable_answer_does_not_hold_up_agreement_but_one_answer_is_no_agreement():
    hm = Reply("Hm.")
    assert len(play(TopologyDebate(), CHOICE, CAST, group("BBBB", dee_0=hm)).asks) == 4
    alone = group("BBBB", bob_0=hm, cy_0=hm, dee_0=hm)
    assert len(play(TopologyDebate(cycles=1), CHOICE, CAST, alone).asks) == 4 + 6


def test_it_ends_where_nobody_says_anything():
    outcome = play(TopologyDebate(), CHOICE, CAST, lambda _: failed("timeout", "")).outcome
    assert (outcome.status, outcome.missing, outcome.failures) == ("failed", True, {"timeout": 4})


@pytest.mark.parametrize(
    "lost", [failed("provider", ""), failed("refused", ""), Reply(""), Reply("All is well.")]
)
def test_without_readable_scores_the_graph_stays_and_nobody_acts(lost):
    played = play(TopologyDebate(cycles=1), CHOICE, CAST, group(ray_1=lost))
    assert [turn[0].seat.role for turn in played.asks_by_turn] == ["solver", "reflector", "solver"]
    rounds = played.outcome.detail["rounds"]
    assert rounds[0]["edges"] == rounds[1]["edges"]
    assert (rounds[1]["scores"], rounds[1]["unscored"]) == ([], 12)
    assert played.outcome.failures == ({lost.failure.boundary: 1} if lost.failure else {})


def test_a_lost_actor_leaves_the_graph_as_it_is():
    played = play(TopologyDebate(cycles=1), CHOICE, CAST, group(amy_2=failed("malformed", "")))
    rounds = played.outcome.detail["rounds"]
    assert rounds[0]["edges"] == rounds[1]["edges"]
    assert played.outcome.failures == {"malformed": 1}


def test_the_silent_have_no_exchanges_to_score_and_are_heard_by_nobody():
    played = play(TopologyDebate(cycles=1), CHOICE, CAST, group(bob_0=failed("refused", "")))
    edges = find_part(played.asks_by_turn[1][0].messages, "edges")
    assert edges is not None
    assert not re.search(r"\b2\b", edges.text)
    assert heard(played.asks_by_turn[3][0]) == ["ada-0.", "cy-0.", "dee-0."]
    assert played.outcome.detail["rounds"][1]["answers"]["bob"] == "B"


def test_missing_data_leaves_the_last_answer_standing_and_own_failures_do_not():
    given = group(ada_3=failed("timeout", ""), bob_3=failed("refused", ""), cy_3=Reply("?"))
    outcome = play(TopologyDebate(cycles=1), CHOICE, CAST, given).outcome
    assert outcome.votes == {"A": 1, "D": 1}
    assert (outcome.failures, outcome.unparsed) == ({"refused": 1, "timeout": 1}, 1)


def test_a_split_goes_by_slot_or_by_profile():
    outcome = play(TopologyDebate(), CHOICE, CAST, group("DCBA")).outcome
    assert (outcome.answer, outcome.tie_rule, outcome.tie_broken) == ("D", "first", True)
    ranked = table("dee", "ada", "cy", assets=PROFILED)
    outcome = play(TopologyDebate(cycles=1), CHOICE, ranked, group("DCBA")).outcome
    assert (outcome.answer, outcome.tie_rule) == ("D", "best_expert")


def test_one_agent_has_nobody_to_hear():
    with pytest.raises(Mistake, match="agents"):
        TopologyDebate().calls(CHOICE, table("ada"))
    protocol = TopologyDebate(topology="sparse", degree=4)
    with pytest.raises(Mistake, match="degree"):
        play(protocol, CHOICE, CAST, group())


@pytest.mark.parametrize(
    ("line", "score"),
    [
        ("1 -> 2: robustness 7, coherence 4", (7, 4)),
        ("- 1 → 2: Robustness: 7.5; coherence = 4/10.", (7.5, 4)),
        ("**1->2: robustness 10, coherence 1**", (10, 1)),
        ("1 -> 2: robustness 11, coherence 4", None),
        ("1 -> 2: robustness 0, coherence 4", None),
        ("1 -> 2: 7, 4", None),
        ("1 -> 2: robustness high, coherence 4", None),
        ("> 1 -> 2: robustness 7, coherence 4", None),
        ("4 -> 2: robustness 7, coherence 4", None),
        ("so 1 -> 2: robustness 7, coherence 4", None),
        ("1 -> 2: robustness 7, coherence 4" + " " * 300, None),
    ],
)
def test_reading_scores(line, score):
    assert read_scores(line, COMPLETE3).get((1, 2)) == score
    assert (4, 2) not in read_scores(line, COMPLETE3)


def test_the_last_score_of_an_exchange_counts():
    text = "1 -> 2: robustness 7, coherence 4\n1 -> 2: robustness 2, coherence 3"
    assert read_scores(text, COMPLETE3) == {(1, 2): (2, 3)}
    assert edges_text(((1, 2), (2, 1)), read_scores(text, COMPLETE3)) == (
        "1 -> 2: robustness 2, coherence 3\n2 -> 1"
    )


@pytest.mark.parametrize(
    ("text", "edges", "ignored"),
    [
        ("Cut: 1 -> 2", ((1, 3), (2, 1), (2, 3), (3, 1), (3, 2)), 0),
        ("Cut: 1 -> 2\nadd: 1 -> 2.", COMPLETE3, 0),
        ("Add: 1 -> 2", COMPLETE3, 1),
        ("Cut: 1 -> 1\nCut: 1 -> 9\nAdd: 0 -> 1\nCut: all", COMPLETE3, 4),
        ("> Cut: 1 -> 2\nI would Cut: 1 -> 2", COMPLETE3, 0),
        ("", COMPLETE3, 0),
    ],
)
def test_changes(text, edges, ignored):
    changes = changed(COMPLETE3, text, 3)
    assert (changes.edges, changes.ignored) == (edges, ignored)


def test_nobody_is_left_alone():
    text = "Cut: 1 -> 3\nCut: 2 -> 3"
    changes = changed(COMPLETE3, text, 3)
    assert heard_by(changes.edges, 3) == (2,)
    assert (changes.cut, changes.ignored) == (((1, 3),), 1)


def test_two_agents_on_any_start_hear_each_other():
    for topology in ("complete", "ring", "star"):
        assert start_edges(topology, 2, 2, Rng("x")) == ((1, 2), (2, 1))
    assert start_edges("sparse", 2, 1, Rng("x")) == ((1, 2), (2, 1))
