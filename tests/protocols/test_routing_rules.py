"""What holds for every rule of recruitment, and what each does with evidence made by hand."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.chance import Rng
from protocols.errors import Mistake
from protocols.evidence import Evidence, EvidenceQuestion
from protocols.question import Question
from protocols.routing import measured
from protocols.routing.measured import Task, task_of
from protocols.routing.rules import RULES, make_rule
from protocols.routing.skill_rule import SkillRule
from protocols.routing.steps import Scores, Selection, counterfactual, plan
from tests.protocols.examples import CHOICE, POOL
from tests.protocols.recruits import EVIDENCE_OF_POOL

NAMES = list(RULES)
WORDS = st.sampled_from(["moon", "sum", "court", "cook", "planet", "prime", "", "?", "2"])
TEXTS = st.lists(WORDS, min_size=1, max_size=4).map(lambda words: " ".join(words) or "?")
TOPICS = st.sampled_from(["", "math", "law"])


@st.composite
def pools(draw: st.DrawFn) -> tuple[Evidence, tuple[str, ...]]:
    asked = draw(st.lists(st.tuples(TEXTS, TOPICS), max_size=7))
    pool = draw(st.lists(st.sampled_from(POOL), min_size=1, max_size=4, unique=True))
    measured = draw(st.lists(st.sampled_from(POOL), max_size=5, unique=True))
    flags = st.text("10-", min_size=len(asked), max_size=len(asked))
    costs = st.dictionaries(st.sampled_from(POOL), st.floats(0, 1e6))
    evidence = Evidence(
        questions=tuple(
            EvidenceQuestion(id=str(i), text=text, category=topic)
            for i, (text, topic) in enumerate(asked)
        ),
        right={expert: draw(flags) for expert in measured},
        cost=draw(costs),
    )
    return evidence, tuple(pool)


@st.composite
def questions(draw: st.DrawFn) -> Question:
    text = draw(TEXTS)
    return Question(id="q", text=text if text.strip() else "?", kind="text", category=draw(TOPICS))


def task_for(evidence: Evidence, pool: tuple[str, ...], question: Question) -> Task:
    skills = (question.category,) if question.category else ()
    return task_of(question, pool, skills=skills, evidence=evidence)


def recruited(name: str, task: Task, k: int) -> tuple[Scores, Selection]:
    rule = make_rule(name)
    scores = rule.score(task)
    return scores, rule.select(scores, k, Rng("any", k))


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=25)
@given(known=pools(), question=questions(), k=st.integers(1, 6))
def test_any_evidence_recruits_a_team(name, known, question, k):
    evidence, pool = known
    scores, selection = recruited(name, task_for(evidence, pool, question), k)
    assert scores.experts == tuple(sorted(pool))
    assert all(math.isfinite(value) for value in (*scores.values, *scores.weights))
    assert sum(scores.chances) == pytest.approx(1)
    assert min(scores.weights) >= 0.0
    assert all(0.0 <= odds <= 1.0 for odds in selection.odds)
    assert all(selection.odds[i] > 0.0 for i in selection.team)
    expected = sum(selection.odds)
    if name == "symbolic_moe":
        assert sum(selection.draws) == k
        assert expected == pytest.approx(sum(1 - (1 - p) ** k for p in scores.chances))
    else:
        assert expected == pytest.approx(len(selection.team))
        assert max(selection.draws) == 1
    assert 1 <= len(selection.team) <= min(make_rule(name).most(k), len(pool))
    team = plan(selection, pool).team
    assert [recruit.index for recruit in team] == sorted(recruit.index for recruit in team)
    assert all(pool[recruit.index] == recruit.expert for recruit in team)
    assert len(selection.settled) >= 1
    told = counterfactual(selection)
    assert (told["lead"] is None) == (told["next"] is None)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=15)
@given(known=pools(), question=questions(), k=st.integers(1, 4))
def test_neither_the_order_of_the_pool_nor_what_was_kept_matters(name, known, question, k):
    evidence, pool = known
    first = recruited(name, task_for(evidence, pool, question), k)
    assert recruited(name, task_for(evidence, pool[::-1], question), k) == first
    measured._KEPT.clear()
    measured._TEXTS.clear()
    again = Evidence.model_validate_json(evidence.model_dump_json())
    assert recruited(name, task_for(again, pool, question), k) == first


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_short_for_the_defaults_and_every_rule_is_documented(name):
    rule = make_rule(name)
    assert rule == make_rule({"rule": name}) == make_rule(rule.model_dump(mode="json"))
    assert rule.name == name
    text = type(rule).__doc__ or ""
    assert all(word in text for word in ("Price:", "Source:", "Departures:"))
    for field, info in type(rule).model_fields.items():
        assert field == "rule" or field in text or info.default is not None or "budget" in field


def test_an_unknown_rule_or_parameter_is_refused():
    two_abilities = {"rule": "irt", "model": "1pl", "abilities": 2}
    for wrong in ("best", {"rule": "irt", "depth": 2}, two_abilities):
        with pytest.raises(ValueError, match=r"does not match|not permitted|one ability"):
            make_rule(wrong)


SCIENCE = Question(
    id="q/s", text="How many moons has Saturn, the planet?", kind="text", category="science"
)
MATH = Question(id="q/m", text="What is the sum of 7 and 8?", kind="text", category="math")


TOPICAL = ("ada", "bob", "cy", "dee")


@pytest.mark.parametrize("name", [name for name in NAMES if name != "random"])
def test_the_expert_of_the_topic_is_found(name):
    scores = make_rule(name).score(task_for(EVIDENCE_OF_POOL, TOPICAL, MATH))
    best = [scores.experts[i] for i in scores.order[:2]]
    # ada has all of math right; over everything bob and cy have 7 of 12 and ada 6
    if name in ("best_single", "task_best"):  # three questions are too few to be a task
        assert best == ["bob", "cy"]
    elif name == "threshold":
        assert set(best) == {"bob", "cy"}  # cy is the cheapest of the good
    elif name == "irt":
        assert "dee" not in best
    else:
        assert best[0] == "ada"


def test_a_task_with_few_questions_counts_as_all():
    few = make_rule({"rule": "task_best", "least": 4})
    scores = few.score(task_for(EVIDENCE_OF_POOL, TOPICAL, MATH))
    assert scores.values == pytest.approx((6 / 12, 7 / 12, 7 / 12, 0), rel=1e-8)
    drawn = make_rule({"rule": "task_best", "least": 1, "prior": 3})
    scores = drawn.score(task_for(EVIDENCE_OF_POOL, TOPICAL, MATH))
    assert scores.values == pytest.approx((4.5 / 6, 2.75 / 6, 2.75 / 6, 0), rel=1e-8)


@pytest.mark.parametrize("name", NAMES)
def test_who_fails_on_everything_or_is_unknown_comes_last(name):
    task = task_for(EVIDENCE_OF_POOL, ("dee", "cy", "stranger", "ada"), SCIENCE)
    scores, selection = recruited(name, task, 1)
    if name in ("random", "expert_choice"):
        return
    assert scores.order[0] not in (2, 3)
    assert not {scores.experts[i] for i in selection.team} & {"dee", "stranger"}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "evidence",
    [
        Evidence(questions=(), right={}),
        Evidence(
            questions=EVIDENCE_OF_POOL.questions,
            right=dict.fromkeys(POOL, EVIDENCE_OF_POOL.right["cy"]),
        ),
    ],
    ids=["empty evidence", "all equal"],
)
def test_equal_experts_go_by_name(name, evidence):
    scores, selection = recruited(name, task_for(evidence, POOL[::-1], SCIENCE), 2)
    if name in ("random", "symbolic_moe"):
        assert scores.chances == pytest.approx([0.2] * 5)
    else:
        assert scores.order[0] == 0
        assert selection.team[0] == 0


@pytest.mark.parametrize("name", NAMES)
def test_a_pool_of_one_and_more_asked_for_than_there_are(name):
    _, selection = recruited(name, task_for(EVIDENCE_OF_POOL, ("dee",), SCIENCE), 3)
    assert selection.team == (0,)
    assert selection.odds == (1.0,)
    _, selection = recruited(name, task_for(EVIDENCE_OF_POOL, POOL, SCIENCE), 50)
    assert 1 <= len(selection.team) <= 5


def test_what_is_needed_is_said():
    bare = task_of(CHOICE, POOL)
    for name in NAMES:
        rule = make_rule(name)
        if name == "random":
            assert rule.assets() == ()
            rule.score(bare)
            continue
        assert rule.assets() == (("profile",) if name == "symbolic_moe" else ("evidence",))
        with pytest.raises(Mistake, match="asset"):
            rule.score(bare)
    over = make_rule({"rule": "top_p", "over": "symbolic_moe"})
    assert over.assets() == ("profile",)


def test_the_skill_rule_reads_a_profile_or_else_the_evidence():
    by_evidence = SkillRule().score(task_for(EVIDENCE_OF_POOL, POOL, MATH))
    profile = EVIDENCE_OF_POOL.profile(POOL)
    assert by_evidence == SkillRule().score(task_of(MATH, POOL, skills=("math",), profile=profile))
