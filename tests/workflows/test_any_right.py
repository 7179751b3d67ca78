"""That any one agent was right is never accuracy: an outcome is graded by what its rule decided."""

from __future__ import annotations

from typing import Any

import pytest

from protocols.registry import PROTOCOLS, make_protocol
from tests.protocols.examples import CHOICE, EXAMPLES, TABLE, Example, cast_of
from tests.protocols.harness import answers, keyed_answer, play
from workflows.questions.answer_key import AnswerKey

KEY = AnswerKey(gold={CHOICE.id: "B"}, kinds={CHOICE.id: "choice"})
JUDGED = {"single", "mean_of_orders"}
ARGUED = JUDGED | {"choice", "mean_of_sides", "mean_of_sides_and_orders"}
VOTED = {"plurality", "weighted_plurality", "accuracy_weighted", "fuser"}
JOINED = VOTED | {"aggregator", "chosen_aggregator"}
RULES: dict[str, set[str]] = {
    "aggregator_bench": {"single"},
    "annotate_skills": {"repeated_keywords"},
    "consultancy": ARGUED,
    "debate": ARGUED,
    "direct_answer": JUDGED,
    "diverse_debate": {"plurality", "confidence_weighted"},
    "double_consultancy": ARGUED,
    "eigen_refine": {"gated_plurality"},
    "mixture_of_agents": {"aggregator"},
    "moderated_debate": {"moderator", "judge"},
    "multiagent_debate": {"plurality"},
    "nyu_consultancy": {"last_belief"},
    "nyu_debate": {"last_belief"},
    "offline_judge": JUDGED,
    "peer_review": {"plurality"},
    "plurality": {"plurality"},
    "rank_and_fuse": {"rank_and_fuse"},
    "reconcile": {"confidence_weighted"},
    "recursive_critique": {"chooser", "top_level_plurality"},
    "review_and_revise": {"pairwise_ratings"},
    "review_dialogue": {"chair"},
    "review_panel": {"chair"},
    "routed": JOINED,
    "self_consistency": {"plurality"},
    "self_refine": {"last"},
    "speculative_verdict": {"speculative_verdict"},
    "symbolic_moe": JOINED,
    "topology_debate": {"plurality"},
    "xolver": {"best_scored"},
}
"""The rules by which the outcomes of each protocol may be decided; none asks whether any agent was
right."""
VOTES: list[tuple[str, dict[str, Any]]] = [
    ("plurality", {}),
    ("multiagent_debate", {"rounds": 2}),
    ("peer_review", {}),
]


def correctness(kind: str, parameters: dict[str, Any], **given: str) -> float | None:
    protocol = make_protocol(kind, parameters)
    played = play(protocol, CHOICE, cast_of(solver=TABLE), answers(dict(given)))
    assert played.outcome.rule == "plurality"
    return KEY.correctness(played.outcome, CHOICE.id)


@pytest.mark.parametrize("right", TABLE)
@pytest.mark.parametrize(("kind", "parameters"), VOTES)
def test_one_right_agent_of_three_counts_nothing(kind, parameters, right) -> None:
    given = {expert: "B" if expert == right else "A" for expert in TABLE}
    assert correctness(kind, parameters, **given) == 0.0


@pytest.mark.parametrize("wrong", TABLE)
@pytest.mark.parametrize(("kind", "parameters"), VOTES)
def test_two_right_agents_of_three_count_in_full(kind, parameters, wrong) -> None:
    given = {expert: "A" if expert == wrong else "B" for expert in TABLE}
    assert correctness(kind, parameters, **given) == 1.0


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_every_outcome_names_a_rule_that_decides(example: Example) -> None:
    for seed in range(3):
        played = play(example.protocol, example.question, example.cast, keyed_answer, seed)
        assert played.outcome.rule in RULES[example.protocol.kind]


def test_the_rules_of_every_protocol_are_known() -> None:
    assert set(RULES) == set(PROTOCOLS)
    assert {example.protocol.kind for example in EXAMPLES} == set(PROTOCOLS)
