"""The offline experts: what they quote, what they weigh, and that they say when they cannot."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from agents.engines import make_engine
from agents.offline import MOST_QUOTED_WORDS, OFFLINE, supporting_sentences
from agents.roster import Expert
from protocols.asks import Ask, Model, Seat
from protocols.cast import Cast, Member
from protocols.debate import Debate
from protocols.direct_answer import DirectAnswer
from protocols.errors import Mistake
from protocols.messages import Message, Part, find_part, find_parts
from protocols.question import Question
from protocols.quotes import verify_quotes
from protocols.quoting import quoted, unquoted
from protocols.registry import make_protocol
from protocols.replies import Reply
from tests.protocols.harness import AnswerFn, play

DEBATER, JUDGE = "offline/quote-debater", "offline/lexical-judge"

STORY = Question(
    id="q/gate",
    text="Who opened the gate of the mill?",
    options=("The miller with his hammer", "The cook with a brass key"),
    passage=(
        "It was late. The miller slept beside his hammer, and nobody dared to wake him!\n\n"
        'The cook took a brass key from the shelf. "Now," she said, "we shall see."\n'
        "She went down to the gate of the mill; the brass key turned. The cook smiled.\n"
        "A hammer hung on the wall. Somewhere a dog barked? The key was put back."
    ),
)


PLAIN = (JUDGE, DEBATER)
"""Those without settings; the reviser has a test file of its own."""


def expert(model: str) -> Member:
    return Member(expert=model.partition("/")[2], model=Model(model))


def cast_of(*readers: str) -> Cast:
    return Cast(
        members={"debater": (expert(DEBATER),), "judge": (expert(JUDGE),)},
        readers=frozenset(readers),
    )


def offline() -> AnswerFn:
    """Answers with fresh engines, as the seats' models say."""
    engines = {name: OFFLINE[name](Expert(model=name)) for name in PLAIN}
    return lambda ask: engines[ask.seat.model.name].reply(ask)


def ask_of(model: str, *parts: Part, options: tuple[str, ...] = ()) -> Ask:
    return Ask(Seat("x", "x", "x", Model(model)), (Message("user", parts),), options=options)


def say(model: str, *parts: Part, options: tuple[str, ...] = ()) -> Reply:
    return OFFLINE[model](Expert(model=model)).reply(ask_of(model, *parts, options=options))


def quotes_in(reply: Reply) -> list[str]:
    return [piece.partition("</quote>")[0] for piece in reply.text.split("<quote>")[1:]]


def test_every_quote_of_a_debate_is_verified_and_new():
    passage = " ".join(f"The cook hid key {i}. The miller broke hammer {i}." for i in range(20))
    long = Question(**{**STORY.model_dump(), "passage": passage})
    played = play(Debate(rounds=3), long, cast_of("debater"), offline())
    for slot in (0, 1):
        places = [turn[slot].place for turn in played.asks_by_turn[:3]]
        speeches = [quotes_in(played.tape[place].reply) for place in places if place]
        assert [len(speech) for speech in speeches] == [3, 3, 3]
        assert len({quote for speech in speeches for quote in speech}) == 9
    judge = played.asks_by_turn[-1][0]
    heard = "\n".join(unquoted(part.text) for part in find_parts(judge.messages, "speech"))
    assert heard.count("<v_quote>") == 18
    assert "<u_quote>" not in heard


def test_each_side_first_quotes_what_speaks_for_it():
    played = play(Debate(rounds=1), STORY, cast_of("debater"), offline())
    first = [quotes_in(played.tape[ask.place].reply)[0] for ask in played.asks_by_turn[0]]  # type: ignore[index]
    assert "hammer" in first[0]
    assert "brass key" in first[1]


def test_a_debate_between_offline_experts_ends_with_the_better_supported_answer():
    played = play(Debate(), STORY, cast_of("debater"), offline())
    assert played.outcome.answer == "B"
    assert played.outcome.detail["consistent"] is True
    first, second = played.outcome.readings
    assert first == pytest.approx(second)


def test_the_same_prompt_gives_the_same_reply_in_another_process():
    code = (
        "from tests.agents.test_offline import *\n"
        "played = play(Debate(), STORY, cast_of('debater'), offline())\n"
        "print(*(r.reply.digest.hex() for r in played.tape.values()), played.outcome.as_json())"
    )
    runs = [
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            cwd=Path(__file__).parents[2],
            env={"PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    ]
    assert runs[0] == runs[1] != ""


def test_a_debater_without_a_passage_says_so():
    played = play(Debate(rounds=1), STORY, cast_of(), offline())
    for ask in played.asks_by_turn[0]:
        assert ask.place is not None
        text = played.tape[ask.place].reply.text
        assert "nothing to quote" in text
        assert "<quote>" not in text


def test_a_debater_runs_out_of_quotes_and_says_so():
    small = STORY.model_copy(update={"passage": "The miller slept. The cook smiled."})
    small = Question(**small.model_dump())
    played = play(Debate(rounds=4), small, cast_of("debater"), offline())
    last = [played.tape[ask.place].reply.text for ask in played.asks_by_turn[3]]  # type: ignore[index]
    assert all("nothing more" in text and "<quote>" not in text for text in last)


@pytest.mark.parametrize("passage", ["", "...", "\n\n", "?!"])
def test_a_passage_without_words_has_nothing_to_quote(passage):
    assert supporting_sentences(passage, question="Who?", answer="The cook") == []
    reply = say(DEBATER, Part("passage", passage), Part("assigned", "The cook"))
    assert "<quote>" not in reply.text


def test_a_long_sentence_is_quoted_up_to_a_limit():
    passage = "The cook said " + "key and lock " * 200 + "."
    (quote,) = supporting_sentences(passage, question="Who?", answer="cook")
    assert len(quote.split()) == MOST_QUOTED_WORDS
    assert verify_quotes(f"<quote>{quote}</quote>", passage).verified == 1


def test_an_answer_of_common_words_alone_is_still_looked_for():
    assert supporting_sentences("It rained. He was not.", question="?", answer="was not") == [
        "He was not."
    ]


def test_a_debater_without_a_side_refuses():
    reply = say(DEBATER, STORY.passage_part, STORY.text_part, STORY.options_part)
    assert reply.failure is not None
    assert reply.failure.boundary == "refused"


@pytest.mark.parametrize("parts", [(), (Part("options", "one of these"),)])
def test_a_judge_without_labelled_options_refuses(parts):
    reply = say(JUDGE, STORY.text_part, *parts)
    assert reply.failure is not None
    assert reply.failure.boundary == "refused"
    other = say(JUDGE, STORY.text_part, STORY.options_part, options=("X", "Y"))
    assert other.failed


def speeches(a: str, b: str) -> tuple[Part, ...]:
    return (
        STORY.text_part,
        STORY.options_part,
        Part("debater_a", "A:"),
        Part("speech", quoted(a)),
        Part("debater_b", "B:"),
        Part("speech", quoted(b)),
    )


@pytest.mark.parametrize(
    ("a", "b", "favoured"),
    [
        ("<v_quote>The hammer of the miller</v_quote>", "<v_quote>A dog barked</v_quote>", "A"),
        ("<v_quote>A dog barked</v_quote>", "<v_quote>a brass\nkey of the cook</v_quote>", "B"),
        ("<u_quote>The miller's hammer</u_quote>", "<v_quote>the cook</v_quote>", "B"),
        ("The miller's hammer did it. Answer: A", "<v_quote>the cook</v_quote>", "B"),
        ("<u_quote>hammer</u_quote>", "Answer: B", "even"),
        ("<v_quote></v_quote>", "<v_quote>barked</v_quote>", "even"),
    ],
)
def test_a_judge_weighs_verified_quotes_only(a, b, favoured):
    reply = say(JUDGE, *speeches(a, b), options=("A", "B"))
    assert reply.distribution is not None
    first, second = reply.distribution
    assert first + second == pytest.approx(1.0)
    assert reply.distribution_source == "exact"
    if favoured == "even":
        assert first == second
        assert "Nothing speaks" in reply.text
    else:
        assert reply.text.endswith(f"\nAnswer: {favoured}")
        assert (first > second) == (favoured == "A")


def test_a_repeated_quote_counts_once():
    once = "<v_quote>The cook</v_quote>"
    replies = [say(JUDGE, *speeches("", b), options=("A", "B")) for b in (once, once * 50)]
    assert replies[0].distribution == replies[1].distribution


@pytest.mark.parametrize("reads", [True, False])
def test_a_direct_answer_with_and_without_the_passage(reads):
    cast = cast_of(*(["judge"] if reads else []))
    played = play(DirectAnswer(passage=True), STORY, cast, offline())
    assert (find_part(played.asks[0].messages, "passage") is not None) == reads
    outcome = played.outcome
    assert outcome.distribution is not None
    assert sum(outcome.distribution) == pytest.approx(1.0)
    assert (outcome.status, outcome.answer) == (("answered", "B") if reads else ("tied", None))


def test_a_direct_answer_weighs_words_shared_with_the_question():
    question = Question(id="q", text="Is the gate of the mill open?", options=("The gate", "Rain"))
    played = play(DirectAnswer(), question, cast_of(), offline())
    assert played.outcome.answer == "A"


def test_many_options_and_no_wish_for_a_distribution():
    options = ("red", "green", "brass key", "blue")
    question = Question(id="q", text="Which?", options=options, passage=STORY.passage)
    parts = (question.passage_part, question.text_part, question.options_part)
    reply = say(JUDGE, *parts)
    assert reply.text.endswith("Answer: C")
    assert reply.distribution is None
    reply = say(JUDGE, *parts, options=question.labels)
    assert reply.distribution is not None
    assert len(reply.distribution) == 4


def test_usage_is_estimated():
    reply = say(JUDGE, *speeches("", ""), options=("A", "B"))
    assert reply.usage.prompt_tokens > 10
    assert reply.usage.completion_tokens > 2


@pytest.mark.parametrize("model", PLAIN)
def test_settings_are_refused(model):
    with pytest.raises(Mistake, match="no settings; delete depth"):
        make_engine(Expert(label="x", model=model, options={"depth": 2}))


@pytest.mark.parametrize("model", PLAIN)
async def test_replies_come_in_order_through_the_stream(model):
    engine = make_engine(Expert(label="x", model=model))
    cast, answer = cast_of("debater"), offline()
    role = "judge" if model == JUDGE else "debater"
    played = play(Debate(), STORY, cast, answer)
    asks = [ask for ask in played.asks if ask.seat.role == role]
    replies = await engine.generate(asks)
    assert [reply.text for reply in replies if isinstance(reply, Reply)] == [
        answer(ask).text for ask in asks
    ]


def choice(passage: str | None, options: str = "A. The miller\nB. The brass key") -> Reply:
    read = [] if passage is None else [Part("passage", passage)]
    asked = (Part("question", "Who?"), Part("options", options), Part("choice_task", "Choose."))
    return say(DEBATER, *read, *asked, options=("A", "B"))


@pytest.mark.parametrize(
    ("passage", "answer", "why"),
    [
        (STORY.passage, "B", "The passage speaks more for B."),
        ("The miller slept. Nobody else was there.", "A", "The passage speaks more for A."),
        ("Nothing of the kind happened.", "A", "I take A, the first."),
        ("", "A", "I take A, the first."),
        (None, "A", "I take A, the first."),
    ],
    ids=["second", "first", "even", "empty", "none"],
)
def test_the_debater_chooses_the_side_that_its_sentences_support(
    passage: str | None, answer: str, why: str
):
    reply = choice(passage)
    assert why in reply.text
    assert reply.text.endswith(f"Answer: {answer}")


def test_a_choice_does_not_depend_on_the_order_of_the_options():
    turned = choice(STORY.passage, "A. The brass key\nB. The miller")
    assert turned.text.endswith("Answer: A")


def test_the_debater_chooses_among_options_only():
    reply = say(DEBATER, Part("question", "Who?"), Part("choice_task", "Choose."))
    assert reply.failure is not None
    assert reply.failure.boundary == "refused"


@pytest.mark.parametrize(("said", "vote"), [("", "no"), ("The brass key turned.", "yes")])
def test_the_debater_wants_to_end_when_it_has_quoted_all(said: str, vote: str):
    speech = quoted(f"<v_quote>{said}</v_quote>") if said else "> (nothing)"
    reply = say(
        DEBATER,
        Part("passage", "The brass key turned. Somewhere a dog barked."),
        Part("question", "What turned?"),
        Part("assigned", "The brass key"),
        Part("yours", "What you said:"),
        Part("speech", speech),
        Part("negotiate_task", "Enough?"),
    )
    assert reply.text.endswith(f"End: {vote}")


def test_the_judge_asks_one_question():
    reply = say(JUDGE, Part("question", "Who?"), Part("question_task", "Ask."))
    assert reply.text == "Which words of the passage speak for your answer?"


@pytest.mark.parametrize(
    ("kind", "parameters"),
    [
        ("debate", {"open": True}),
        ("debate", {"interactive": "shared"}),
        ("debate", {"interactive": "each", "sides": "both"}),
        ("debate", {"order": "sequential", "judge_every_round": True, "min_rounds": 1}),
        ("consultancy", {"open": True}),
        ("consultancy", {"interactive": True}),
        ("double_consultancy", {}),
        ("nyu_debate", {"max_rounds": 2}),
        ("nyu_debate", {"rules": {"opening": ["simultaneous", "negotiate_end"]}}),
        ("nyu_consultancy", {"sides": "both", "max_rounds": 2}),
    ],
)
def test_every_form_of_oversight_runs_between_offline_experts(
    kind: str, parameters: dict[str, Any]
):
    role = "debater" if kind.endswith("debate") else "consultant"
    members = {role: (expert(DEBATER),), "judge": (expert(JUDGE),)}
    protocol = make_protocol(kind, parameters)
    played = play(protocol, STORY, Cast(members=members, readers=frozenset({role})), offline())
    assert not played.outcome.failures
    assert played.outcome.unparsed == 0
    agreed = "negotiate_end" in str(parameters)
    assert played.outcome.status == ("abstained" if agreed else "answered")
