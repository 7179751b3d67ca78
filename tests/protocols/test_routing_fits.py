"""What rules fit to evidence, against values by hand or known in advance."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.feature_extraction.text import TfidfVectorizer

from protocols.chance import Rng
from protocols.errors import Mistake
from protocols.evidence import Evidence, EvidenceQuestion
from protocols.question import Question
from protocols.routing.cascade import Cascade, expected_top, posterior
from protocols.routing.clusters import k_means
from protocols.routing.features import Ridge
from protocols.routing.irt import fit_responses, sigmoid
from protocols.routing.measured import measured_pool, task_of
from protocols.routing.pairs import Threshold, _rates
from protocols.routing.rules import make_rule
from protocols.routing.terms import Vocabulary, Weighted, character_fours, words_and_pairs
from protocols.routing.texts import Texts, unit_rows

MOONS, SUMS = "How many moons has the planet {}?", "Add the two numbers {} and seven."


def evidence_of(
    right: dict[str, str], *, cost: dict[str, float] | None = None, topics: bool = True
) -> Evidence:
    """Return evidence whose first half is about moons and whose second half about sums."""
    half = len(next(iter(right.values()))) // 2
    return Evidence(
        questions=tuple(
            EvidenceQuestion(
                id=str(n),
                text=(MOONS if n < half else SUMS).format(n),
                category=("moons" if n < half else "sums") if topics else "",
            )
            for n in range(2 * half)
        ),
        right=right,
        cost=cost or {},
    )


def question(text: str, category: str = "") -> Question:
    return Question(id="q", text=text, kind="text", category=category)


ABOUT_MOONS, ABOUT_SUMS = question(MOONS.format("Saturn")), question(SUMS.format("twelve"))
NOTHING_LIKE_IT = question("zzz")


def test_similarity_is_a_cosine_and_embeddings_keep_it():
    texts = Texts(["the red planet", "the blue planet", "seven and eight", "seven and nine"])
    for row in range(4):
        assert texts.cosines[row, row] == pytest.approx(1.0)
    assert texts.similarities("the red planet")[0] == pytest.approx(1.0)
    assert texts.similarities("the red planet")[2] == 0.0
    assert not texts.similarities("").any()
    whole = texts.embedded(9)
    assert whole @ whole.T == pytest.approx(texts.cosines, abs=1e-9)
    # a text of the evidence is folded in where it stands
    assert texts.embedding("seven and nine", 9) == pytest.approx(whole[3], abs=1e-9)
    assert not Texts(["", ""]).similarities("x").any()
    assert Texts([]).embedding("x", 4).shape == (0,)


SPLITS = (
    (words_and_pairs, {"analyzer": "word", "ngram_range": (1, 2), "token_pattern": r"\w+"}),
    (character_fours, {"analyzer": "char_wb", "ngram_range": (4, 4)}),
)


@pytest.mark.parametrize(("split", "settings_"), SPLITS)
@settings(max_examples=50, deadline=None)
@given(texts=st.lists(st.text(st.sampled_from("abcA É_1 \n\t-."), max_size=30), min_size=2))
def test_cosines_are_those_of_scikit_learn(split, settings_, texts):
    known, asked = texts[1:], texts
    reference = TfidfVectorizer(sublinear_tf=True, dtype=np.float64, **settings_)
    weighted = Weighted(split, known)
    try:
        matrix = reference.fit_transform(known)
    except ValueError:  # there is not one term
        assert weighted.empty
        return
    assert weighted.cosines() == pytest.approx((matrix @ matrix.T).toarray())
    against = (reference.transform(asked) @ matrix.T).toarray()
    assert weighted.compared(asked) == pytest.approx(against)


def test_cosines_do_not_depend_on_what_else_was_counted(monkeypatch):
    texts = [f"{MOONS} {SUMS}".format(n, n * n) for n in range(30)]
    monkeypatch.setattr("protocols.routing.terms._VOCABULARIES", {})
    alone = [Weighted(split, texts[:20]).compared(texts) for split, _ in SPLITS]
    monkeypatch.setattr("protocols.routing.terms._VOCABULARIES", {})
    for split, _ in SPLITS:
        Weighted(split, [" ".join(reversed(text.split())) for text in reversed(texts)])
    after = [Weighted(split, texts[:20]).compared(texts) for split, _ in SPLITS]
    monkeypatch.setattr("protocols.routing.terms._MOST_COUNTED", 1)
    full = [Weighted(split, texts[:20]).compared(texts) for split, _ in SPLITS]
    for one, other, third in zip(alone, after, full, strict=True):
        assert (one == other).all()
        assert (one == third).all()


def test_a_full_vocabulary_learns_what_it_is_fitted_to_and_no_more(monkeypatch):
    monkeypatch.setattr("protocols.routing.terms._MOST_COUNTED", 3)
    vocabulary = Vocabulary(str.split)
    assert vocabulary.rows(["a b c d"], learn=True).shape == (1, 4)
    assert vocabulary.full
    assert vocabulary.rows(["a e f"], learn=False).shape == (1, 4)


def test_unit_rows_leave_zeros():
    rows = unit_rows(np.array([[3.0, 4.0], [0.0, 0.0]]))
    assert rows.tolist() == [[0.6, 0.8], [0.0, 0.0]]


TOPICAL = {"ada": "111100", "bob": "000111", "cy": "100100"}


@pytest.mark.parametrize(
    "rule", ["neighbours", "predicted_quality", "cluster_ranks", "pilots", "category_map"]
)
@pytest.mark.parametrize("topics", [True, False])
def test_the_text_alone_finds_the_expert(rule, topics):
    known = evidence_of(TOPICAL, topics=topics)
    if rule == "category_map" and not topics:
        return
    few: dict[str, dict[str, float]] = {
        "neighbours": {"n": 3},
        "cluster_ranks": {"clusters": 2},
        "predicted_quality": {"penalty": 0.1},
    }
    made = make_rule({"rule": rule, **few.get(rule, {})})
    for asked, expert in ((ABOUT_MOONS, "ada"), (ABOUT_SUMS, "bob")):
        scores = made.score(task_of(asked, tuple(TOPICAL), evidence=known))
        assert scores.experts[scores.order[0]] == expert


def test_neighbours_by_hand():
    known = evidence_of(TOPICAL)
    rule = make_rule({"rule": "neighbours", "n": 3, "sharpness": 0, "prior": 2})
    scores = rule.score(task_of(ABOUT_MOONS, tuple(TOPICAL), evidence=known))
    # three neighbours about moons: ada 3 of 3, bob 0, cy 1; overall 4/6, 3/6, 2/6, weight 2
    assert scores.values == pytest.approx(
        ((3 + 2 * 4 / 6) / 5, (0 + 2 * 3 / 6) / 5, (1 + 2 * 2 / 6) / 5), rel=1e-8
    )
    far = rule.score(task_of(NOTHING_LIKE_IT, tuple(TOPICAL), evidence=known))
    assert far.values == pytest.approx((4 / 6, 3 / 6, 2 / 6), rel=1e-8)


def test_cluster_ranks_by_hand():
    known = evidence_of(TOPICAL)
    rule = make_rule({"rule": "cluster_ranks", "clusters": 2, "beta": 1000.0})
    scores = rule.score(task_of(ABOUT_MOONS, tuple(TOPICAL), evidence=known))
    # all weight on the cluster about moons; ranks ada 0, cy 1, bob 2
    assert scores.values == pytest.approx((1 / 0.1, 1 / 2.1, 1 / 1.1), rel=1e-6)
    even = make_rule({"rule": "cluster_ranks", "clusters": 2, "beta": 0.0})
    scores = even.score(task_of(ABOUT_MOONS, tuple(TOPICAL), evidence=known))
    # sums: bob 0, then ada and cy with one each, ada the better one overall
    expected = [(1 / 0.1 + 1 / 1.1) / 2, (1 / 2.1 + 1 / 0.1) / 2, (1 / 1.1 + 1 / 2.1) / 2]
    assert scores.values == pytest.approx(expected, rel=1e-6)


def test_k_means_separates_what_is_apart_and_survives_copies():
    points = unit_rows(np.array([[1.0, 0.01], [1.0, 0.0], [0.0, 1.0], [0.02, 1.0]]))
    _, member = k_means(points, 2, Rng("k"), rounds=20)
    assert member[0] == member[1] != member[2] == member[3]
    centres, member = k_means(np.tile(points[:1], (5, 1)), 3, Rng("k"), rounds=20)
    assert (len(centres), set(member.tolist())) == (1, {0})


def test_ridge_shrinks_to_the_mean():
    rows, targets = np.array([[1.0], [-1.0]]), np.array([[1.0, 0.0], [0.0, 0.0]])
    seen = np.array([[1.0, 0.0], [1.0, 0.0]])
    model = Ridge(rows, targets, seen, 2.0)
    # x'x = 2, x'y = 1: w = 1 / (2 + 2); the second target was never seen
    assert model.predict(np.array([1.0])) == pytest.approx([0.75, 0.0])
    assert Ridge(rows, targets, seen, 1e12).predict(rows)[:, 0] == pytest.approx([0.5, 0.5])


def test_a_response_model_finds_what_made_the_data():
    rng = Rng("responses")
    theta, beta = np.linspace(-2, 2, 8), np.linspace(-2, 2, 200)
    chance = sigmoid(theta[None, :] - beta[:, None])
    right = np.array([[float(rng.random() < p) for p in row] for row in chance])
    seen = np.array([[float(rng.random() < 0.9) for _ in row] for row in chance])
    fit = fit_responses(right * seen, seen, 1, free=False, spread=0.5, rounds=30)
    assert np.corrcoef(fit.theta[:, 0], theta)[0, 1] > 0.98
    assert np.corrcoef(fit.beta, beta)[0, 1] > 0.75
    assert (fit.alpha == 1.0).all()
    # the gradient of the penalised likelihood is zero there
    left = seen * (right - sigmoid(fit.theta[:, 0][None, :] - fit.beta[:, None]))
    assert left.sum(axis=0) - fit.theta[:, 0] == pytest.approx(np.zeros(8), abs=1e-3)
    assert -left.sum(axis=1) - fit.beta == pytest.approx(np.zeros(200), abs=1e-3)
    free = fit_responses(right * seen, seen, 3, free=True, spread=0.5, rounds=30)
    assert all(np.isfinite(part).all() for part in free)


def test_a_response_model_with_several_abilities_tells_topics_apart():
    known = evidence_of({"ada": "1" * 20 + "0" * 20, "bob": "0" * 20 + "1" * 20})
    rule = make_rule({"rule": "irt", "penalty": 1.0})
    for asked, best in ((ABOUT_MOONS, 0), (ABOUT_SUMS, 1)):
        assert rule.score(task_of(asked, ("ada", "bob"), evidence=known)).order[0] == best
    one = make_rule({"rule": "irt", "model": "1pl"})
    orders = {
        one.score(task_of(asked, tuple(TOPICAL), evidence=evidence_of(TOPICAL))).order
        for asked in (ABOUT_MOONS, ABOUT_SUMS)
    }
    assert len(orders) == 1


def test_a_price_prefers_the_cheap():
    known = evidence_of({"ada": "1111", "bob": "1110"}, cost={"ada": 9.0, "bob": 1.0})
    for name in ("predicted_quality", "irt"):
        for weight, best in ((0.0, 0), (1.0, 1)):
            rule = make_rule({"rule": name, "cost_weight": weight})
            assert rule.score(task_of(ABOUT_SUMS, ("ada", "bob"), evidence=known)).order[0] == best


PAIRED = {
    "strong": "11111111111111111100",
    "weak": "11111111110000000011",
}  # fmt: skip
DEAR = {"strong": 10.0, "weak": 1.0}


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 1.0])
def test_the_bar_gives_the_strong_expert_its_share(share):
    known = evidence_of(PAIRED, cost=DEAR)
    rule = make_rule({"rule": "threshold", "strong_share": share, "good": 0.0})
    taken = [
        rule.select(rule.score(task_of(_asked(q), tuple(PAIRED), evidence=known)), 3, Rng(0)).team
        for q in known.questions
    ]
    assert {len(team) for team in taken} == {1}
    strong = sum(team == (0,) for team in taken) / len(taken)
    assert strong == pytest.approx(share, abs=0.16)  # calibrated without a question itself


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.9])
def test_the_bar_is_a_quantile_of_the_scores_without_each_question_itself(share):
    words = [
        "moon",
        "sun",
        "star",
        "court",
        "judge",
        "law",
        "sum",
        "prime",
        "root",
        "cook",
        "key",
        "door",
    ]
    rng = Rng("texts")
    asked = [" ".join(rng.choice(words) for _ in range(6)) for _ in range(20)]
    known = Evidence(
        questions=tuple(EvidenceQuestion(id=str(n), text=text) for n, text in enumerate(asked)),
        right={name: "".join(rng.choice("01") for _ in asked) for name in ("a", "b")},
    )
    rule = Threshold(strong="a", weak="b", strong_share=share)
    pool = measured_pool(known, ("a", "b"))
    pair = rule._pair(pool)
    near = pool.texts.cosines.copy()
    np.fill_diagonal(near, -np.inf)
    scores = _rates(near, pair, 10.0)
    by_hand = [
        sum(w * pair.wins[j] for j, w in enumerate(weights) if j != i)
        / sum(w for j, w in enumerate(weights) if j != i)
        for i, weights in enumerate(
            10.0 ** (1 + row / max(v for j, v in enumerate(row) if j != i))
            for i, row in enumerate(pool.texts.cosines)
        )
    ]
    assert scores == pytest.approx(by_hand)
    assert (scores >= pair.bar).sum() == round(share * 20)


def _asked(kept: EvidenceQuestion) -> Question:
    return Question(id="q", text=kept.text, kind="text", category=kept.category)


def test_the_strong_expert_is_asked_where_it_wins():
    known = evidence_of(PAIRED, cost=DEAR)
    rule = make_rule({"rule": "threshold", "good": 0.0})
    sums = rule.score(task_of(ABOUT_SUMS, tuple(PAIRED), evidence=known))
    moons = rule.score(task_of(ABOUT_MOONS, tuple(PAIRED), evidence=known))
    assert (sums.order[0], moons.order[0]) == (0, 1)
    assert (sums.why["strong"], sums.why["weak"]) == ("strong", "weak")
    named = make_rule({"rule": "threshold", "strong": "weak", "weak": "strong"})
    assert named.score(task_of(ABOUT_SUMS, tuple(PAIRED), evidence=known)).why["strong"] == "weak"
    stranger = make_rule({"rule": "threshold", "strong": "nobody"})
    with pytest.raises(Mistake, match="'nobody' of rule 'threshold' is not in the pool"):
        stranger.score(task_of(ABOUT_SUMS, tuple(PAIRED), evidence=known))


def test_the_category_map_keeps_to_its_budget():
    known = evidence_of({"dear": "1" * 8, "cheap": "11110000"}, cost={"dear": 9.0, "cheap": 1.0})
    free = make_rule("category_map")
    asked = question(SUMS.format("x"), "sums")
    assert free.score(task_of(asked, ("dear", "cheap"), evidence=known)).order[0] == 1
    # both are perfect on moons, where the cheap one is within the budget; sums cost 1.8
    for budget, moons, sums in ((2.0, 0, 1), (1.2, 0, 1), (0.5, 0, 0)):
        rule = make_rule({"rule": "category_map", "budget": budget})
        for category, best in (("moons", moons), ("sums", sums)):
            text = (MOONS if category == "moons" else SUMS).format("x")
            task = task_of(question(text, category), ("dear", "cheap"), evidence=known)
            place = rule.score(task).order[0]
            assert budget == 2.0 or place == best
    # an unknown category is found by its text; what resembles nothing is general
    why = free.score(task_of(ABOUT_SUMS, ("dear", "cheap"), evidence=known)).why
    assert why == {"category": "sums"}
    why = free.score(task_of(NOTHING_LIKE_IT, ("dear", "cheap"), evidence=known)).why
    assert why == {"category": None}


def test_a_posterior_by_hand():
    # A by 0.8, B by 0.6 of four options: .8*.4/3, .2/3*.6, twice .2/3*.4/3
    parts = {"A": 0.8 * 0.4 / 3, "B": 0.2 / 3 * 0.6, "": 0.2 / 3 * 0.4 / 3}
    total = parts["A"] + parts["B"] + 2 * parts[""]
    found = posterior([(0.8, "A"), (0.6, "B")], 4)
    assert found == pytest.approx({key: value / total for key, value in parts.items()})
    assert posterior([(0.5, "A"), (0.5, "B")], 2) == pytest.approx({"A": 0.5, "B": 0.5})


def test_the_expected_gain_by_hand():
    # two options, A by 0.6 and a second expert of 0.9: it decides whatever it says
    assert expected_top([(0.6, "A")], [0.9], 2) == pytest.approx(0.9)
    # a second expert of 0.6 can agree, or make it even
    agree = 0.6 * 0.6 + 0.4 * 0.4
    top = 0.36 / agree
    assert expected_top([(0.6, "A")], [0.6], 2) == pytest.approx(agree * top + (1 - agree) * 0.5)
    # so one more is worth nothing, but two more are
    assert expected_top([(0.6, "A")], [0.6], 2) == pytest.approx(0.6)
    assert expected_top([(0.6, "A")], [0.6, 0.6], 2) > 0.64
    said, rest = [(0.6, "A")], [(0.6, 1.0), (0.6, 1.0)]
    assert Cascade(price=0.02, ahead=2).pays(said, rest, 2)
    assert not Cascade(price=0.02, ahead=1).pays(said, rest, 2)
    assert not Cascade(price=0.05, ahead=2).pays(said, rest, 2)
    assert not Cascade(price=0.02, ahead=2).pays(said, [(0.6, 1.0), (0.6, 9.0)], 2)
    assert not Cascade(price=0.0).pays(said, [], 2)


SAID = st.lists(st.tuples(st.floats(0.0, 1.0), st.sampled_from("ABCD")), min_size=1, max_size=4)


@settings(max_examples=40)
@given(SAID, st.lists(st.floats(0.0, 1.0), max_size=2), st.integers(4, 10))
def test_more_answers_are_never_expected_to_hurt(said, further, options):
    now = posterior(said, options)
    seen = len({answer for _, answer in said})
    total = sum(p * (options - seen if key == "" else 1) for key, p in now.items())
    assert total == pytest.approx(1.0)
    gain = expected_top(said, further, options) - max(now.values())
    assert gain >= -1e-9
    assert math.isfinite(gain)
