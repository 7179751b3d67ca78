"""Prompts in a user's own words: exact, pure, checked beforehand, absent where there are none."""

from __future__ import annotations

import inspect
import re
from typing import Any

import pytest

from protocols.contract import Protocol, session_key
from protocols.direct_answer import DirectAnswer
from protocols.errors import Mistake
from protocols.plurality import Plurality
from protocols.prompts import section_sources
from protocols.registry import make_protocol
from protocols.wording import read_prompts
from tests.protocols.examples import BY_NAME, CHOICE, COMPOSED, EXAMPLES, Example, cast_of
from tests.protocols.harness import everything_said, keyed_answer, play, start

ALONE = [example for example in EXAMPLES if example not in COMPOSED]
TAGS = re.compile(r"\{[{%].*?[%}]\}", re.DOTALL)
LONG = 15
"""Characters of a section's own words that cannot stand in a prompt by chance."""


def with_prompts(protocol: Protocol, prompts: dict[str, Any]) -> Protocol:
    return make_protocol(protocol.kind, {**protocol.parameters(), "prompts": prompts})


def sections_of(protocol: Protocol) -> dict[str, str]:
    return {
        f"{template}.{section}": text
        for template in protocol.templates
        for section, text in section_sources(template).items()
    }


@pytest.mark.parametrize("example", ALONE, ids=lambda example: example.name)
def test_every_prompt_of_every_protocol_can_be_replaced(example: Example) -> None:
    sections = sections_of(example.protocol)
    mine = {name: f"<<{name}>>" for name in sections}
    protocol = with_prompts(example.protocol, mine)
    played = play(protocol, example.question, example.cast, keyed_answer)
    said = everything_said(played.asks)
    for name, text in sections.items():
        for words in (piece.strip() for piece in TAGS.split(text)):
            assert len(words) < LONG or words not in said, f"{name} is still said"
    for ask in played.asks:
        for message in ask.messages:
            for part in message.parts:
                if part.source is not None:
                    assert part.text.startswith("<<")
    again = play(protocol, example.question, example.cast, keyed_answer)
    assert [ask.key for ask in again.asks] == [ask.key for ask in played.asks]


@pytest.mark.parametrize("example", ALONE, ids=lambda example: example.name)
def test_a_prompt_may_use_what_its_section_uses(example: Example) -> None:
    plain = play(example.protocol, example.question, example.cast, keyed_answer)
    parts = [part for ask in plain.asks for message in ask.messages for part in message.parts]
    used = {part.source for part in parts if part.source is not None}
    mine = {
        f"{source.template}.{source.section}": section_sources(source.template)[source.section]
        for source in used
    }
    protocol = with_prompts(example.protocol, mine)
    same = play(protocol, example.question, example.cast, keyed_answer)
    assert [ask.key for ask in same.asks] == [ask.key for ask in plain.asks]
    assert same.outcome.as_json() == plain.outcome.as_json()


def test_one_replaced_prompt_changes_that_part_alone() -> None:
    example = BY_NAME["debate"]
    mine = {"debate.verdict_task": "Decide{% if may_end %} or end it{% endif %}."}
    plain = play(example.protocol, example.question, example.cast, keyed_answer)
    other = play(with_prompts(example.protocol, mine), example.question, example.cast, keyed_answer)
    for before, after in zip(plain.asks, other.asks, strict=True):
        asked = before.messages[1].parts
        if before.seat.role == "judge":
            assert after.messages[1].parts[-1].text == "Decide."
            assert after.messages[1].parts[-1].name == "verdict_task"
            assert after.messages[1].parts[:-1] == asked[:-1]
        else:
            assert after.key == before.key


def test_prompts_are_identity_and_none_leave_it_as_it_was() -> None:
    cast = cast_of(solver=("ada",))
    plain, other = Plurality(), Plurality(prompts={"answer.system": "Think."})
    assert "prompts" not in plain.parameters()
    assert other.parameters()["prompts"] == {"answer.system": "Think."}
    keys = [
        session_key(protocol.digest(), CHOICE, cast, seed=0, repeat=0)
        for protocol in (plain, Plurality(prompts={}), other)
    ]
    assert keys[0] == keys[1] != keys[2]
    session = inspect.getgeneratorlocals(start(plain, CHOICE, cast))
    assert "question" in session  # the protocol's own generator: there is nothing to exchange


def test_names_may_be_nested_and_text_is_cleaned() -> None:
    protocol = make_protocol("debate", {"prompts": {"debate": {"judge_system": " Judge\0. "}}})
    assert protocol.prompts == {"debate.judge_system": "Judge�."}


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        ({"answer.tsk": "x"}, "did you mean 'answer.task'"),
        ({"debate.judge_system": "x"}, "there is no prompt 'debate.judge_system'"),
        ({"answer.task": "{{ lables }}"}, "has no variable 'lables'; there is: kind, labels"),
        ({"answer.task": "{{ labels"}, "line 1: unexpected end of template"),
        ({"answer.task": "{% include 'x' %}{{ labels|nope }}"}, "No filter named 'nope'"),
        ({"answer.task": "{{ labels|random }}"}, "No filter named 'random'"),
        ({"answer.task": "{{ range(9) }}"}, "has no variable 'range'"),
        ({"answer.system": "  "}, "is empty"),
        ({"answer.system": 5}, "valid string"),
        (5, "valid dictionary"),
    ],
)
def test_a_mistake_in_a_prompt_is_one_line(prompts: Any, message: str) -> None:
    with pytest.raises(Mistake, match=re.escape(message)) as error:
        make_protocol("plurality", {"prompts": prompts})
    assert "\n" not in str(error.value)


def test_a_prompt_cannot_reach_out_of_its_template() -> None:
    protocol = DirectAnswer(prompts={"answer.task": "{{ labels.__class__.__mro__ }}"})
    with pytest.raises(Mistake, match=r"answer\.task cannot be rendered"):
        play(protocol, CHOICE, cast_of(judge=("ada",)), keyed_answer)


def test_a_file_of_prompts() -> None:
    text = "[[debate.judge_system]]\nYou judge.\n\nCarefully.\n[[answer.task]]\nGo.\n"
    assert read_prompts(text) == {
        "debate.judge_system": "You judge.\n\nCarefully.",
        "answer.task": "Go.",
    }
    for wrong in ("", "words before\n[[a.b]]\nx", "[[a.b]]\nx\n[[a.b]]\ny"):
        with pytest.raises(ValueError, match="section"):
            read_prompts(wrong)
