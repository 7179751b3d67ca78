"""Review and revise: rounds of scoring and rewriting, content kept, versions rated in pairs."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from protocols.asks import Ask
from protocols.contract import CallBound
from protocols.messages import find_part, find_parts
from protocols.question import Question
from protocols.quoting import unquoted
from protocols.replies import Reply, failed
from protocols.review_revise import ReviewAndRevise
from protocols.versions import Version, best_version, changed_numbers, content_words, kept_share
from tests.protocols.examples import PAPER, RATED
from tests.protocols.harness import AnswerFn, everything_said, play
from tests.protocols.reviewers import CAST

RUBRIC = "Clarity: 5\nRigour: 6\nEvidence: 7\nContribution: 8"
PASSAGE = PAPER.passage or ""


def shop(rate: dict[str, int] | None = None, **special: Reply) -> AnswerFn:
    """An author that adds a word a round, and raters that rate a version by its last word."""
    rates = {"stand.": 5, "v1": 6, "v2": 7, "v3": 4, **(rate or {})}

    def answer(ask: Ask) -> Reply:
        assert ask.place is not None
        turn = ask.place.turn
        name = f"{ask.seat.role}_{turn}"
        given = special.get(f"{name}_{ask.place.slot}", special.get(name))
        if given is not None:
            return given
        if ask.seat.role == "scorer":
            return Reply(f"scored-{turn}\n{RUBRIC}")
        if ask.seat.role == "author":
            return Reply(f"{PASSAGE} v{turn // 2 + 1}")
        first, second = (rates[words(part)] for part in find_parts(ask.messages, "version"))
        return Reply(f"Hm.\nFirst: {first}\nSecond: {second}")

    return answer


def words(part) -> str:
    return unquoted(part.text).split()[-1]


def test_scorer_and_author_take_turns_and_raters_compare_all_pairs_at_once():
    played = play(ReviewAndRevise(rounds=2), PAPER, CAST, shop())
    assert [[ask.seat.role for ask in turn] for turn in played.asks_by_turn] == [
        *[["scorer"], ["author"]] * 2,
        ["rater"] * 6,
    ]
    pairs = [
        tuple(words(part) for part in find_parts(ask.messages, "version"))
        for ask in played.asks_by_turn[-1]
    ]
    own = [("stand.", "v1"), ("stand.", "v2"), ("v1", "v2")]
    assert pairs == own + [(second, first) for first, second in own]


def test_who_sees_which_version_and_what_was_said_about_it():
    played = play(ReviewAndRevise(rounds=2), PAPER, CAST, shop())
    (score1,), (revise1,), (score2,), (revise2,), _ = played.asks_by_turn
    assert find_parts(score1.messages, "version") == ()
    assert "manuscript above" in everything_said([score1])
    assert find_part(revise1.messages, "assessment_of_version").origin == (0, 0)  # type: ignore[union-attr]
    for ask in (score2, revise2):
        (_, version) = find_parts(ask.messages, "version")
        assert (words(version), version.origin) == ("v1", (1, 0))
    assert find_part(revise2.messages, "assessment_of_version").origin == (2, 0)  # type: ignore[union-attr]


def test_raters_cannot_tell_which_version_is_the_original():
    for ask in play(ReviewAndRevise(rounds=1), PAPER, CAST, shop()).asks_by_turn[-1]:
        assert find_part(ask.messages, "passage") is None
        assert all(part.text.startswith("> ") for part in find_parts(ask.messages, "version"))


@pytest.mark.parametrize("orders", [1, 2])
@pytest.mark.parametrize("rounds", [1, 2, 4])
def test_calls(rounds, orders):
    protocol = ReviewAndRevise(rounds=rounds, orders=orders)
    most = 2 * rounds + orders * rounds * (rounds + 1) // 2
    assert protocol.calls(PAPER, CAST) == CallBound(2 * rounds, most)
    assert len(play(protocol, PAPER, CAST, shop({"v4": 1})).asks) == most


def test_the_best_version_has_the_most_points_and_its_rating_decides():
    outcome = play(ReviewAndRevise(rounds=3), PAPER, CAST, shop()).outcome
    assert outcome.detail["best"] == 2
    assert (outcome.answer, outcome.score, outcome.rule) == ("A", 7.0, "pairwise_ratings")
    told = outcome.detail["versions"]
    assert [one["points"] for one in told] == [pytest.approx(1 / 3), pytest.approx(2 / 3), 1, 0]
    assert [one["rating"] for one in told] == [5, 6, 7, 4]
    assert told[0]["rubric"] == {"Clarity": 5, "Rigour": 6, "Evidence": 7, "Contribution": 8}
    assert told[3]["rubric"] is None


@pytest.mark.parametrize(("score", "label"), [(5, "B"), (6, "A")])
def test_the_decision_follows_the_rating_wherever_accept_stands(score, label):
    turned = Question(**{**PAPER.model_dump(), "options": PAPER.options[::-1]})
    given = shop({"stand.": 1, "v1": score})
    assert play(ReviewAndRevise(rounds=1), PAPER, CAST, given).outcome.answer == label
    assert play(ReviewAndRevise(rounds=1), turned, CAST, given).outcome.answer != label


def test_a_number_is_the_rating():
    outcome = play(ReviewAndRevise(rounds=1), RATED, CAST, shop({"stand.": 8})).outcome
    assert (outcome.answer, outcome.score, outcome.detail["best"]) == ("8", 8.0, 0)


def test_a_rater_that_favours_a_position_leaves_a_tie_in_two_orders():
    favour = Reply("First: 9\nSecond: 3")
    both = play(ReviewAndRevise(rounds=1), PAPER, CAST, shop(rater_2=favour)).outcome
    assert (both.detail["best"], both.tie_broken, both.score) == (0, True, 6.0)
    single = ReviewAndRevise(rounds=1, orders=1)
    one = play(single, PAPER, CAST, shop(rater_2=favour)).outcome
    assert (one.detail["best"], one.tie_broken, one.score) == (0, False, 9.0)


def test_a_revision_that_loses_the_content_is_dropped_and_the_one_before_revised_again():
    lost = Reply("We looked at 41 boats.")
    played = play(ReviewAndRevise(rounds=2), PAPER, CAST, shop(author_1=lost))
    assert "manuscript above" in everything_said([played.asks_by_turn[2][0]])
    assert "boats" not in everything_said([ask for turn in played.asks_by_turn[2:] for ask in turn])
    detail = played.outcome.detail
    assert [one["version"] for one in detail["versions"]] == [0, 2]
    assert [one["version"] for one in detail["dropped"]] == [1]
    assert detail["dropped"][0]["changed_numbers"] == 3
    assert detail["dropped"][0]["kept"] < 0.6


@pytest.mark.parametrize(
    ("first", "second", "status", "missing"),
    [
        (Reply("Boats."), Reply("Ships."), "abstained", False),
        (Reply("Boats."), Reply(""), "abstained", False),
        (Reply("Boats."), failed("refused", ""), "abstained", False),
        (Reply("Boats."), failed("timeout", ""), "failed", True),
        (failed("refused", ""), failed("overlong", ""), "failed", False),
    ],
)
def test_without_a_revision_that_stands_nothing_is_compared(first, second, status, missing):
    played = play(ReviewAndRevise(), PAPER, CAST, shop(author_1=first, author_3=second))
    assert len(played.asks) == 4
    outcome = played.outcome
    assert (outcome.status, outcome.missing, outcome.answer) == (status, missing, None)
    assert outcome.detail["best"] is None


def test_unread_and_lost_comparisons_are_left_out():
    given = shop(rater_2_0=Reply("First: 6"), rater_2_1=failed("timeout", ""))
    outcome = play(ReviewAndRevise(rounds=1), PAPER, CAST, given).outcome
    assert (outcome.status, outcome.boundary, outcome.unparsed) == ("unparsed", None, 1)
    given = shop(rater_2_0=failed("refused", ""))
    outcome = play(ReviewAndRevise(rounds=1), PAPER, CAST, given).outcome
    assert (outcome.answer, outcome.failures) == ("A", {"refused": 1})
    given = shop(rater_2=failed("provider", ""))
    assert play(ReviewAndRevise(rounds=1), PAPER, CAST, given).outcome.missing


def test_a_lost_or_unread_assessment_does_not_stop_the_author():
    given = shop(scorer_0=failed("timeout", ""), scorer_2=Reply("Nice."))
    played = play(ReviewAndRevise(), PAPER, CAST, given)
    assert "(nothing was said)" in everything_said([played.asks_by_turn[1][0]])
    outcome = played.outcome
    assert (outcome.answer, outcome.unparsed, outcome.failures) == ("A", 1, {"timeout": 1})
    assert set(outcome.detail["versions"][1]["rubric"].values()) == {None}


def test_thinking_is_no_part_of_a_version():
    given = shop(author_1=Reply(f"<thinking>SECRET</thinking>{PASSAGE} v1"))
    played = play(ReviewAndRevise(rounds=1), PAPER, CAST, given)
    assert "SECRET" not in everything_said(played.asks)


def test_a_rater_that_may_not_read_is_not_shown_the_original():
    cast = CAST.model_copy(update={"readers": frozenset({"scorer", "author"})})
    played = play(
        ReviewAndRevise(rounds=1), PAPER, cast, shop(rater_2=Reply("First: 5\nSecond: 6"))
    )
    for ask in played.asks_by_turn[-1]:
        assert len(find_parts(ask.messages, "version")) == 1
        assert find_part(ask.messages, "hidden") is not None


def test_content_is_numbers_and_longer_words():
    one, other = content_words("In 1999 we saw 3.5 Bridges fall."), content_words("bridges 1998")
    assert one == {"1999", "3.5", "bridges", "fall"}
    assert kept_share(one, other) == 0.25
    assert changed_numbers(one, other) == 3
    assert kept_share(content_words("a b"), other) == 1.0


def test_ties_go_to_the_higher_rating_then_to_the_earlier_version():
    one, two, three = (Version(number, None) for number in range(3))
    assert best_version([one, two]) == (None, False)
    one.meet(two, 5.0, 5.0)
    assert best_version([one, two, three]) == (one, True)
    two.meet(three, 9.0, 9.0)
    best, tied = best_version([one, two, three])
    assert (best, tied) == (three, True)


@pytest.mark.parametrize(
    "wrong", [{"rounds": 0}, {"orders": 3}, {"rubric": []}, {"rubric": ["a:b"]}, {"least_kept": 2}]
)
def test_wrong_parameters_are_refused(wrong):
    with pytest.raises(ValidationError):
        ReviewAndRevise(**wrong)
