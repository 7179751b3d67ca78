"""Pairs: many options, or a number, become two options before any session sees the question.

The pair is the gold answer and one wrong answer, in a seeded order, and the key follows. Which
wrong answer and which order hang on the seed and the question's id alone, so that every protocol
and every baseline runs on the same pair, whatever else is in the file.

A wrong option is one of the question's other options. A wrong number is, by ``numbers``, one that
a recorded expert gave (each distinct one as likely), and where there is none, or always, one made
by rule from the gold number g: the rules are g+1, g-1, g+10, g-10, 2g, g/2, 10g, g/10, and g with
two neighbouring digits exchanged. A result is dropped if it equals g, changes the sign, or has
more decimal places than g; one of the distinct rest is drawn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal

from agents.recorded_file import RecordedFile
from protocols.chance import Rng
from protocols.errors import Mistake
from protocols.parsing import canonical_answer
from protocols.question import Question
from workflows.settings.sections import PairSpec


def pair_questions(
    questions: Sequence[Question],
    gold: Mapping[str, str],
    spec: PairSpec,
    recorded: RecordedFile | None = None,
) -> tuple[tuple[Question, ...], dict[str, str]]:
    """Return the questions as pairs, with their ids kept, and the key of the pairs.

    Args:
        questions: with two or more options, or of kind number.
        gold: canonical answers by id.
        spec: seed, and where wrong numbers come from.
        recorded: recorded answers to the questions, for wrong numbers.

    Raises:
        Mistake: a question has no gold answer, no wrong answer, or is free text.
    """
    paired, key = [], {}
    for question in questions:
        rng = Rng("pair", spec.seed, question.id)
        right, wrong = _answers(question, gold.get(question.id), spec, recorded, rng)
        first = rng.random() < 0.5
        options = (right, wrong) if first else (wrong, right)
        fields = question.model_dump() | {"options": options, "kind": "choice"}
        paired.append(Question(**fields))
        key[question.id] = "A" if first else "B"
    return tuple(paired), key


def _answers(
    question: Question,
    gold: str | None,
    spec: PairSpec,
    recorded: RecordedFile | None,
    rng: Rng,
) -> tuple[str, str]:
    """Return the right and one wrong answer of a question, as texts."""
    if gold is None:
        raise Mistake(f"question {question.id!r} has no gold answer; a pair needs one")
    if question.options:
        right = question.options[question.labels.index(gold)]
        others = [option for option in question.options if not _same(option, right)]
        if not others:
            raise Mistake(f"question {question.id!r}: no option differs from its gold answer")
        return right, rng.choice(others)
    if question.kind != "number":
        raise Mistake(
            f"question {question.id!r} is neither multiple choice nor a number; pair: cannot make "
            "two options of it, so leave pair: out or choose other questions"
        )
    wrong = _recorded_numbers(question.id, gold, recorded) if spec.numbers == "recorded" else []
    return gold, rng.choice(wrong or made_numbers(gold))


def _same(one: str, other: str) -> bool:
    """Whether two options are shown alike."""
    return one.split() == other.split()


def _recorded_numbers(id: str, gold: str, recorded: RecordedFile | None) -> list[str]:
    """Return the distinct wrong numbers that recorded experts gave, sorted."""
    if recorded is None:
        return []
    answers = {column[id] for column in recorded.answers.values() if column.get(id)}
    numbers = {canonical_answer(answer, "number") for answer in answers if answer}
    return sorted(number for number in numbers if number is not None and number != gold)


def made_numbers(gold: str) -> list[str]:
    """Return the wrong numbers that the rules make of `gold`, sorted; never none.

    Args:
        gold: a number in canonical form.
    """
    number = Decimal(gold)
    near = [number + step for step in (1, -1, 10, -10)]
    scaled = [number * 2, number / 2, number * 10, number / 10]
    results = {canonical_answer(format(n, "f"), "number") for n in [*near, *scaled]}
    results |= {canonical_answer(text, "number") for text in _exchanged(gold)}
    return sorted(
        result
        for result in results
        if result is not None
        and result != gold
        and (not number or result.startswith("-") == (number < 0))
        and _places(result) <= _places(gold)
    )


def _exchanged(gold: str) -> list[str]:
    """Return `gold` with each two neighbouring digits exchanged, where that leaves no leading 0."""
    texts = []
    for i in range(len(gold) - 1):
        if gold[i].isdigit() and gold[i + 1].isdigit():
            text = gold[:i] + gold[i + 1] + gold[i] + gold[i + 2 :]
            if not text.lstrip("-").startswith("0") or gold.lstrip("-").startswith("0"):
                texts.append(text)
    return texts


def _places(number: str) -> int:
    """Return the decimal places of a canonical number."""
    return len(number.partition(".")[2])
