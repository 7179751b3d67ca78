"""Best-of-N and critique-and-refine: what is drafted, rated and heard."""

from __future__ import annotations

import re

import pytest

from protocols.asks import Ask
from protocols.consultancy import Consultancy
from protocols.contract import CallBound
from protocols.debate import Debate
from protocols.errors import Mistake
from protocols.messages import find_part
from protocols.nyu import NyuDebate
from protocols.question import Question
from protocols.replies import Reply, failed
from tests.protocols.examples import PAIR
from tests.protocols.harness import everything_said, play
from tests.protocols.overseeing import CONTINUE, cast_for, playing, seats, texts

CAST = cast_for("debater", rater=("dee",))
CRITIC = cast_for("debater", rater=("dee",), critic=("eve",), readers=("debater", "critic"))
TWO = cast_for("debater", "ada", "bob", rater=("dee",))
TURNED = Question(**{**PAIR.model_dump(), "options": PAIR.options[::-1]})


class Drafts:
    """Debaters whose drafts are numbered, by side: ``draft-2-of-The cook``."""

    def __init__(self) -> None:
        self.count: dict[str, int] = {}

    def __call__(self, ask: Ask) -> Reply:
        assigned = find_part(ask.messages, "assigned")
        assert assigned is not None
        kind = "refined" if find_part(ask.messages, "refine_task") else "draft"
        self.count[assigned.text] = number = self.count.get(assigned.text, 0) + 1
        return Reply(f"{kind}-{number}-of-{assigned.text}.")


def likes(*numbers: int):
    """A rater that gives candidate i the probability numbers[i - 1] / 100 of being side A."""

    def rate(ask: Ask) -> Reply:
        found = re.findall(r"(?:draft|refined|critique)-(\d+)", everything_said([ask]))
        p = numbers[int(found[-1]) - 1] / 100
        return Reply("", distribution=(p, 1 - p), distribution_source="exact")

    return rate


@pytest.mark.parametrize("question", [PAIR, TURNED], ids=["as it is", "exchanged"])
def test_under_exchanged_sides_the_best_draft_is_heard_on_both_sides(question):
    """The public code of the source took the worst one where the sides were swapped."""
    answer = playing(debater=Drafts(), rater=likes(20, 90, 50))
    played = play(Debate(rounds=1, best_of=3), question, CAST, answer)
    heard = texts(played.asks_by_turn[-1][0], "speech")
    assert heard == [f"draft-2-of-{option}." for option in question.options]
    told = played.outcome.detail["ratings"]
    assert [one["drafts"] for one in told] == [[0.2, 0.9, 0.5]] * 2


def test_the_rater_is_asked_the_same_whichever_option_the_speaker_has():
    asked = []
    for question in (PAIR, TURNED):
        answer = playing(debater=lambda ask: Reply("I speak."), rater="Answer: A")
        played = play(Debate(rounds=2, best_of=2), question, CAST, answer)
        asked.append(sorted(ask.key for ask in played.asks if ask.seat.role == "rater"))
    assert asked[0] == asked[1]


def test_the_rater_reads_closed_rounds_and_the_candidate_against_an_empty_speech():
    answer = playing(debater=Drafts(), rater=likes(10, 20, 30, 40))
    played = play(Debate(rounds=2, best_of=2), PAIR, CAST, answer)
    assert seats(played) == [
        ["debater_a", "debater_a", "debater_b", "debater_b"],
        ["rater"] * 4,
        ["debater_a", "debater_a", "debater_b", "debater_b"],
        ["rater"] * 4,
        ["judge", "judge"],
    ]
    first, second = played.asks_by_turn[3][0], played.asks_by_turn[3][2]
    assert texts(first, "speech") == [
        "draft-2-of-The miller.", "draft-2-of-The cook.", "draft-3-of-The miller."
    ]  # fmt: skip
    assert texts(second, "speech") == [
        "draft-2-of-The cook.", "draft-2-of-The miller.", "draft-3-of-The cook."
    ]  # fmt: skip
    for ask, option in ((first, "The miller"), (second, "The cook")):
        options = find_part(ask.messages, "options")
        assert options is not None
        assert options.text.startswith(f"A. {option}\n")
        names = [part.name for part in ask.messages[1].parts]
        assert names[-5:] == ["debater_a", "speech", "debater_b", "contentless", "rating_task"]
        assert find_part(ask.messages, "passage") is None


@pytest.mark.parametrize("n", [2, 3, 7])
@pytest.mark.parametrize("rounds", [1, 2, 3])
def test_best_of_n_costs_n_drafts_and_n_ratings(n, rounds):
    debate = Debate(rounds=rounds, best_of=n)
    played = play(debate, PAIR, CAST, playing(rater="Answer: A"))
    assert len(played.asks) == 4 * n * rounds + 2
    assert debate.calls(PAIR, CAST) == CallBound(2 * n, 4 * n * rounds + 2)


@pytest.mark.parametrize(
    ("drafts", "critiques", "refinements", "price"),
    [(1, 1, 1, 3), (1, 3, 1, 8), (4, 2, 3, 8 + 4 + 6), (2, 1, 2, 4 + 1 + 4), (1, 2, 2, 1 + 4 + 4)],
)
def test_critique_and_refine_prices(drafts, critiques, refinements, price):
    parameters = {"best_of": drafts, "critiques": critiques, "refinements": refinements}
    for cast in (CAST, CRITIC):
        debate = Debate(rounds=2, **parameters)
        played = play(debate, PAIR, cast, playing(rater="Answer: A"))
        assert len(played.asks) == 4 * price + 2 == debate.calls(PAIR, cast).most


def test_each_of_two_debaters_has_its_own_number_of_drafts():
    debate = Debate(rounds=1, best_of=(3, 1), sides="B", orders=1)
    played = play(debate, PAIR, TWO, playing(rater="Answer: A"))
    assert seats(played)[:2] == [["debater_a"] + ["debater_b"] * 3, ["rater"] * 3]
    assert {ask.seat.expert for ask in played.asks_by_turn[0][1:]} == {"ada"}
    assert len(played.asks) == debate.calls(PAIR, TWO).most == 8


def test_critics_read_the_passage_and_the_best_refinement_by_the_best_critique_is_heard():
    count = iter(range(1, 100))

    def critic(ask: Ask) -> Reply:
        return Reply(f"critique-{next(count) % 3 + 1}\nAnswer: B")

    debate = Debate(rounds=1, best_of=2, critiques=3, refinements=2, orders=1)
    answer = playing(debater=Drafts(), rater=likes(30, 80, 20, 90), critic=critic)
    played = play(debate, PAIR, CRITIC, answer)
    drafts, rated, critics, judged, refined, again, _ = played.asks_by_turn
    assert [len(turn) for turn in (drafts, rated, critics, judged, refined, again)] == [
        4, 4, 6, 6, 4, 4,
    ]  # fmt: skip
    for ask in critics:
        assert find_part(ask.messages, "passage") is not None
        assert texts(ask, "speech")[-1].startswith("draft-2-of")
    for ask in refined:
        assert texts(ask, "critique") == ["critique-2\nAnswer: B"]
    for ask in judged:
        assert find_part(ask.messages, "options") is not None
    assert texts(played.asks[-1], "speech") == [
        "refined-4-of-The miller.",
        "refined-4-of-The cook.",
    ]


def test_without_a_critic_the_speaker_criticises_itself():
    debate = Debate(rounds=1, critiques=1, refinements=1, orders=1)
    played = play(debate, PAIR, cast_for("debater"), playing())
    assert seats(played) == [["debater_a", "debater_b"]] * 3 + [["judge"]]


@pytest.mark.parametrize(
    ("replies", "heard"),
    [
        (["Answer: B", "Answer: A", "Answer: A"], 2),
        (["Answer: A", "Answer: A", "Answer: A"], 1),
        (["Hm.", "Answer: B", "Hm."], 2),
        (["Hm.", "Hm.", "Hm."], 1),
        ([failed("refused", ""), failed("provider", ""), "Answer: B"], 3),
        ([failed("refused", "")] * 3, 1),
    ],
    ids=["best", "tie", "unparsed", "none read", "some lost", "all refused"],
)
def test_what_is_heard_where_ratings_tie_or_are_lost(replies, heard):
    count: dict[str, int] = {}

    def rater(ask: Ask) -> Reply:
        options = find_part(ask.messages, "options")
        assert options is not None
        number = count[options.text] = count.get(options.text, 0) + 1
        reply = replies[number - 1]
        return Reply(reply) if isinstance(reply, str) else reply

    debate = Debate(rounds=1, best_of=3, orders=1)
    played = play(debate, PAIR, CAST, playing(debater=Drafts(), rater=rater))
    assert texts(played.asks[-1], "speech")[0] == f"draft-{heard}-of-The miller."
    assert played.outcome.unparsed == 2 * sum(reply == "Hm." for reply in replies)


@pytest.mark.parametrize("boundary", ["provider", "timeout"])
def test_a_speech_that_nobody_could_rate_is_missing(boundary):
    answer = playing(rater=lambda ask: failed(boundary, ""))
    outcome = play(Debate(rounds=1, best_of=2), PAIR, CAST, answer).outcome
    assert outcome.missing
    assert outcome.failures == {boundary: 4}


@pytest.mark.parametrize(
    ("lost", "asked"), [(1, 4), (2, 2), (3, 0)], ids=["one", "all but one", "all"]
)
@pytest.mark.parametrize("boundary", ["refused", "provider"])
def test_drafts_that_fail_are_left_out(lost, asked, boundary):
    drafts = Drafts()

    def debater(ask: Ask) -> Reply:
        reply = drafts(ask)
        number = int(reply.text.split("-")[1])
        return failed(boundary, "") if number <= lost else reply

    debate = Debate(rounds=1, best_of=3, orders=1)
    played = play(debate, PAIR, CAST, playing(debater=debater, rater="Answer: A"))
    assert sum(ask.seat.role == "rater" for ask in played.asks) == (0 if lost > 1 else asked)
    assert played.outcome.failures == {boundary: 2 * lost}
    assert played.outcome.missing == (lost == 3 and boundary == "provider")


@pytest.mark.parametrize("boundary", ["refused", "provider"])
def test_the_draft_is_heard_where_critics_or_refinements_fail(boundary):
    for task in ("critique_task", "refine_task"):
        drafts = Drafts()

        def debater(ask: Ask, task: str = task, drafts: Drafts = drafts) -> Reply:
            return failed(boundary, "") if find_part(ask.messages, task) else drafts(ask)

        debate = Debate(rounds=1, critiques=1, refinements=1, orders=1)
        played = play(debate, PAIR, CAST, playing(debater=debater))
        assert texts(played.asks[-1], "speech")[0] == "draft-1-of-The miller."
        assert not played.outcome.missing


def test_every_draft_that_runs_over_is_asked_for_again():
    debate = Debate(rounds=1, best_of=2, max_characters=30, overrun="reask", orders=1)

    def debater(ask: Ask) -> Reply:
        return Reply("Short." if find_part(ask.messages, "reask_task") else "long " * 20)

    played = play(debate, PAIR, CAST, playing(debater=debater, rater="Answer: A"))
    assert [len(turn) for turn in played.asks_by_turn] == [4, 4, 4, 1]
    assert len(played.asks) == debate.calls(PAIR, CAST).most


def test_a_rater_is_needed():
    assert {role.name for role in Debate(best_of=2).roles()} == {"debater", "judge", "rater"}
    assert "rater" not in {role.name for role in Debate().roles()}
    with pytest.raises(Mistake, match="rater"):
        play(Debate(best_of=2), PAIR, cast_for("debater"), playing())


@pytest.mark.parametrize(
    ("protocol", "role"),
    [
        (Consultancy(rounds=2, best_of=3), "consultant"),
        (NyuDebate(max_rounds=2, best_of=3), "debater"),
    ],
)
def test_other_speakers_draft_too(protocol, role):
    cast = cast_for(role, rater=("dee",))
    played = play(protocol, PAIR, cast, playing(CONTINUE, rater="Answer: A"))
    assert sum(ask.seat.role == "rater" for ask in played.asks) == 3 * 2 * 2
    assert len(played.asks) == protocol.calls(PAIR, cast).most
    rated = next(ask for ask in played.asks if ask.seat.role == "rater")
    assert (find_part(rated.messages, "contentless") is None) == (role == "consultant")
