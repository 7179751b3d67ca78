from __future__ import annotations

import math

import pytest

from protocols.cast import Asset, Cast
from protocols.errors import Mistake
from protocols.recruitment import match_skills, trigram_similarity
from protocols.similarity import (
    MatchedSimilarity,
    TfidfSimilarity,
    VectorSimilarity,
    cast_similarity,
    check_vectors,
    named_similarity,
    tfidf_similarity,
)
from protocols.skills import check_matches, check_skills, skills_asset, skills_of
from tests.protocols.examples import CHOICE, PAIR

KNOWN = ("algebra", "cell biology", "criminal law", "linear algebra", "statistics")


def cast_with(**contents) -> Cast:
    assets = {name: Asset(kind=name, content=content) for name, content in contents.items()}
    return Cast(members={}, assets=assets)


def test_annotated_skills_count_before_topics():
    cast = Cast(members={}, assets={"skills": skills_asset({CHOICE.key: ["moons", "counting"]})})
    assert skills_of(CHOICE, cast) == ("counting", "moons")
    assert skills_of(PAIR, cast) == ("fiction",)
    assert skills_of(CHOICE, Cast(members={})) == ("astronomy", "science")


def test_a_question_is_found_by_its_id_too_and_an_empty_list_is_no_skill():
    assert skills_of(CHOICE, cast_with(skills={CHOICE.id: ["x", "", "x"]})) == ("x",)
    assert skills_of(CHOICE, cast_with(skills={CHOICE.id: []})) == ()


@pytest.mark.parametrize("content", [["law"], {"q": "law"}, {"q": [1]}, "law"])
def test_what_is_no_skills_asset_is_refused(content):
    with pytest.raises(Mistake, match="write"):
        check_skills(Asset(kind="skills", content=content))


def test_tfidf_by_hand():
    """One known skill, one word: every idf is ln(2/2) + 1 = 1, so cosines are of plain counts."""
    similarity = TfidfSimilarity(("ab",))
    assert similarity("ab", "ab") == 1.0
    # " ab " has the grams " a", "ab", "b ", " ab", "ab ", " ab "; of " a " only " a" is known.
    assert similarity("a", "ab") == pytest.approx((1 / math.sqrt(6)) / 2)
    assert similarity("zz", "ab") == 0.0


def test_rare_terms_weigh_more():
    known = ("organic chemistry", "inorganic chemistry", "chemistry of metals")
    similarity = tfidf_similarity(tuple(sorted(known)))
    assert similarity("metals", "chemistry of metals") > similarity(
        "chemistry", "chemistry of metals"
    )


@pytest.mark.parametrize(
    ("skill", "known"),
    [
        ("molecular biology", "cell biology"),
        ("law", "criminal law"),
        ("stats", "statistics"),
        ("algebras", "algebra"),
    ],
)
def test_unseen_skills_go_to_the_nearest(skill, known):
    similarity = named_similarity("tfidf", KNOWN)
    assert match_skills([skill], KNOWN, similarity)[0].known == known


def test_what_has_nothing_in_common_matches_nothing():
    similarity = named_similarity("tfidf", KNOWN)
    assert match_skills(["qqq", "", "漢字"], KNOWN, similarity) == ()
    assert match_skills(["law"], (), named_similarity("tfidf", ())) == ()


@pytest.mark.parametrize("skill", ["x" * 100_000, "\x00", "\u2028", "🦉" * 50])
def test_hostile_names_are_compared(skill):
    for name in ("tfidf", "trigram"):
        assert 0.0 <= named_similarity(name, KNOWN)(skill, "algebra") <= 1.0


def test_similarities_are_made_once():
    assert named_similarity("tfidf", KNOWN) is named_similarity("tfidf", KNOWN[::-1])
    assert named_similarity("trigram", KNOWN) is trigram_similarity
    cast = cast_with(matches={"lex": "criminal law"})
    assert cast_similarity(cast, KNOWN) is cast_similarity(cast, KNOWN)


def test_a_map_counts_first_then_vectors_then_names():
    cast = cast_with(
        matches={"lex": "criminal law"},
        vectors={"algebra": [1, 0], "statistics": [0, 2], "sums": [0.9, 0.1], "law": [0, 0]},
    )
    similarity = cast_similarity(cast, KNOWN)
    found = match_skills(["lex", "sums", "law", "unheard"], KNOWN, similarity)
    assert [tuple(match) for match in found] == [("lex", "criminal law"), ("sums", "algebra")]
    plain = cast_similarity(cast_with(matches={"lex": "criminal law"}), KNOWN)
    assert isinstance(plain, MatchedSimilarity)
    assert match_skills(["law"], KNOWN, plain)[0].known == "criminal law"


def test_vectors_that_point_apart_are_not_alike():
    similarity = VectorSimilarity({"a": [1, 0], "b": [-1, 0], "c": [1, 0, 0]})
    assert similarity("a", "b") == 0.0
    assert similarity("a", "c") == 0.0
    assert similarity("a", "a") == 1.0


@pytest.mark.parametrize(
    "content",
    [[], {"a": 1}, {"a": []}, {"a": ["x"]}, {"a": [True]}, {"a": [1], "b": [1, 2]}],
)
def test_what_is_no_vector_is_refused(content):
    with pytest.raises(Mistake):
        check_vectors(Asset(kind="vectors", content=content))


@pytest.mark.parametrize("content", [[], {"a": 1}, {"a": ["b"]}])
def test_what_is_no_map_is_refused(content):
    with pytest.raises(Mistake, match="unseen skill -> known skill"):
        check_matches(Asset(kind="matches", content=content))
