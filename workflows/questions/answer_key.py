"""The answer key: what is right, kept apart from sessions and joined to outcomes for scoring.

It is stored as a document of the run, so that a run can be scored without the files it came from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from agents.grading import grade, graded_singles
from agents.recorded_file import RecordedFile
from protocols.errors import Mistake
from protocols.outcome import Outcome
from protocols.question import LABELS, Question, QuestionKind

V = TypeVar("V")

_EVEN = 1e-9
"""Probabilities this close are equal: means of readings differ in their last bits."""


class RecordedFacts(BaseModel):
    """What a source tells of a session that people or models held, beside its transcript."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    setting: str
    """``human_debate``, ``ai_consultancy``..."""
    in_paper: bool
    """Whether the published figures count it."""
    judge: str | None
    """Who judged it live, to be able to count what repeats together; None where nobody did."""
    question: str
    """The question's own id; several sessions are about one question."""
    ended_by: str | None = None
    final_probs: tuple[float, float] | None = None
    """The judge's last belief; this and what follows as the source computed it."""
    correct: bool | None = None
    continues: int | None = None
    """How often the judge continued."""
    reward: float | None = None
    """The judge's score in bits."""


class AnswerKey(BaseModel):
    """Gold answers, and how single experts did where that is recorded."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    """The version of this form."""
    gold: dict[str, str] = {}
    """The right answer in canonical form, by question id; absent where none is known."""
    kinds: dict[str, QuestionKind] = {}
    """How answers are compared, by question id."""
    clusters: dict[str, str] = {}
    """What repeats together, by question id."""
    flags: dict[str, dict[str, int]] = {}
    """Expert -> question id -> 1 (right) or 0, as the source scored it."""
    singles: dict[str, dict[str, bool]] = {}
    """Expert -> question id -> whether its recorded answer is right: by flag, else against gold.
    What was not recorded is absent: missing, not wrong."""
    unread: dict[str, tuple[str, ...]] = {}
    """Expert -> ids of the questions where no answer could be read in what it wrote."""
    recorded: dict[str, RecordedFacts] = {}
    """Of an imported run: what the source tells of each session, by question id."""
    best_single: str | None = None
    """The expert that was best on other data; None where nothing was measured."""
    cross_validated: dict[str, float] = {}
    """Rule -> its accuracy on the profile's questions, each judged without having seen it."""
    selected: str | None = None
    """The best of them; None where no rule was tried."""

    def as_json(self) -> dict[str, Any]:
        """Return the key as a JSON object."""
        return self.model_dump(mode="json")

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Return the key that :meth:`as_json` gave.

        Raises:
            Mistake: it is of another format.
        """
        try:
            return cls.model_validate(dict(data))
        except ValidationError:
            raise Mistake("the stored answer key is of another format; use a newer moot") from None

    def for_experts(self, models: Mapping[str, str]) -> Self:
        """Return the key with only the recorded experts of a roster, by their labels.

        Args:
            models: label in the roster -> model as the file names it.
        """

        def by_label(column: Mapping[str, Any]) -> dict[str, Any]:
            return {label: column[m] for label, m in models.items() if m in column}

        return self.model_copy(
            update={
                "flags": by_label(self.flags),
                "singles": by_label(self.singles),
                "unread": by_label(self.unread),
            }
        )

    def correctness(self, outcome: Outcome, question_id: str) -> float | None:
        """Return how right an outcome is, from 0 to 1; None is missing, never wrong.

        A single expert's outcome counts as the source scored it, where it did; so does that of a
        rule that recruited one expert, or came down to one of whom only the score was recorded.
        Everything else counts by its readings (the mean over orders or sides) or by its answer.
        What was refused, overlong, malformed, unparsed or abstained is not correct; a recorded
        session that had no judge is missing.
        """
        flag = self.flags.get(outcome.answered_by or "", {}).get(question_id)
        alone = outcome.rule == "single" or "recruitment" in outcome.detail
        if flag is not None and (alone or outcome.missing):
            return float(flag)
        gold = self.gold.get(question_id)
        recorded = self.recorded.get(question_id)
        unjudged = recorded is not None and recorded.judge is None
        if outcome.missing or gold is None or (unjudged and outcome.status == "abstained"):
            return None
        if outcome.status not in ("answered", "tied"):
            return 0.0
        if outcome.readings:
            scores = [
                _reading(reading, _place(gold), outcome.tie_rule) for reading in outcome.readings
            ]
            return sum(scores) / len(scores)
        if outcome.status == "tied":
            return self._tied(outcome, gold, question_id)
        return float(grade(outcome.answer, gold, self.kinds[question_id]))

    def _tied(self, outcome: Outcome, gold: str, question_id: str) -> float:
        """Return what an even vote or distribution is worth."""
        if outcome.distribution:
            return _reading(outcome.distribution, _place(gold), outcome.tie_rule)
        top = max(outcome.votes.values(), default=0.0)
        tied = [a for a, weight in outcome.votes.items() if weight >= top - _EVEN]
        right = any(grade(answer, gold, self.kinds[question_id]) for answer in tied)
        return 1 / len(tied) if right and outcome.tie_rule == "half" else 0.0


def _place(gold: str) -> int:
    """Return the place of an option from its label; -1 for what is none."""
    return LABELS.index(gold) if len(gold) == 1 and gold in LABELS else -1


def _reading(reading: Sequence[float], gold: int, tie_rule: str) -> float:
    """Return what one distribution is worth; an empty one could not be read and is not correct.

    Of several equally likely options the gold one counts its share by the rule ``half``, in full
    by ``first`` if it stands first, and nothing by any other.
    """
    top = max(reading, default=0.0)
    tied = [place for place, value in enumerate(reading) if value >= top - _EVEN]
    if gold not in tied:
        return 0.0
    if len(tied) == 1:
        return 1.0
    if tie_rule == "first":
        return float(tied[0] == gold)
    return 1 / len(tied) if tie_rule == "half" else 0.0


def make_key(
    questions: Sequence[Question], gold: Mapping[str, str], recorded: RecordedFile | None = None
) -> AnswerKey:
    """Return the key of `questions`.

    Args:
        questions: what is asked.
        gold: canonical answers by id; ids that are not asked are left out.
        recorded: the recorded answers to the same questions, if there are any.
    """
    asked = {question.id for question in questions}
    flags: dict[str, dict[str, int]] = {}
    singles: dict[str, dict[str, bool]] = {}
    unread: dict[str, tuple[str, ...]] = {}
    if recorded is not None:
        flags = {model: _among(column, asked) for model, column in recorded.flags.items()}
        graded = graded_singles(recorded, recorded.models)
        singles = {model: _among(column, asked) for model, column in graded.items()}
        unread = {
            model: tuple(id for id, answer in column.items() if answer is None and id in asked)
            for model, column in recorded.answers.items()
        }
    return AnswerKey(
        gold=_among(gold, asked),
        kinds={question.id: question.kind for question in questions},
        clusters={question.id: question.unit for question in questions},
        flags=flags,
        singles=singles,
        unread=unread,
    )


def _among(column: Mapping[str, V], asked: set[str]) -> dict[str, V]:
    return {id: value for id, value in column.items() if id in asked}
