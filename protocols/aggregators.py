"""Aggregators: experts that read what others answered and write the final answer.

How the aggregator of a session is found: it is the one that is cast, or, of several candidates,
the one that did best on the bench of one right and two wrong answers a question
(``aggregator_bench.py``), over all questions or for the question's task, its category. What the
bench found is an asset of the cast.

Source: Symbolic-MoE (arXiv 2503.05641), section 3: the aggregator is the model that most often
finds the right answer between two wrong ones of the same validation question.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from protocols.asks import Ask, Seat
from protocols.cast import Asset, Cast
from protocols.errors import Mistake
from protocols.messages import Part
from protocols.prompts import headed, prompt
from protocols.question import Question
from protocols.quoting import quoted
from protocols.replies import Reply
from protocols.solving import solver_messages

AGGREGATOR = "aggregator"
"""The role."""
AGGREGATE_TEMPLATE = "aggregate"
AGGREGATORS = "aggregators"
"""The name under which a cast holds what the bench found, and the kind of such an asset."""
ALL = ""
"""The task that stands for all questions together."""

Per = Literal["task", "all"]


class Solution(NamedTuple):
    """An answer that an aggregator is shown."""

    reply: Reply
    draws: int = 1
    """How often its author was recruited."""


def aggregator_ask(
    question: Question, cast: Cast, solutions: Sequence[Solution], *, seat: Seat | None = None
) -> Ask:
    """Return the ask that shows an aggregator every answer that came, numbered, not named.

    Args:
        question: what is asked.
        cast: who sits where, and which roles read the passage.
        solutions: the answers; failed ones are left out.
        seat: who aggregates; by default the first place of the role.
    """
    seat = cast.seat(AGGREGATOR) if seat is None else seat
    said: list[Part] = []
    for reply, draws in solutions:
        if not reply.failed:
            number = len(said) + 1
            heading = prompt(AGGREGATE_TEMPLATE, "solution", number=number, weight=draws)
            said.append(headed(heading, "answer", quoted(reply.text), reply.place))
    messages = solver_messages(
        question,
        passage=cast.reads_passage(seat.role),
        said=(*said, prompt(AGGREGATE_TEMPLATE, "review")),
        system=prompt(AGGREGATE_TEMPLATE, "system"),
    )
    return Ask(seat, messages, question=question.id)


class BenchScore(BaseModel):
    """How a candidate did on some of the bench's questions."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    right: int = Field(ge=0)
    """How often it found the right answer."""
    asked: int = Field(ge=0)
    """How often it was asked; missing replies are left out."""

    @property
    def share(self) -> float:
        """The share that it found; -1 where it was asked nothing."""
        return self.right / self.asked if self.asked else -1.0

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.right > self.asked:
            raise ValueError(f"{self.right} right of {self.asked} asked")
        return self


class AggregatorScores(BaseModel):
    """What the bench found, and which candidate is chosen for which task."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    scores: dict[str, dict[str, BenchScore]]
    """Candidate -> task -> score; the task "" holds all questions."""
    chosen: dict[str, str]
    """Task -> candidate; that of "" serves every task that is not named."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if ALL not in self.chosen:
            raise ValueError("nobody is chosen for the task ''")
        for task, candidate in sorted(self.chosen.items()):
            if candidate not in self.scores:
                raise ValueError(f"{candidate!r}, chosen for {task!r}, has no scores")
        return self

    @classmethod
    def of(
        cls, found: Iterable[tuple[str, str, bool]], *, per: Per = "all", least: int = 5
    ) -> AggregatorScores:
        """Return the scores that graded sessions of the bench give, and who is chosen.

        The candidate with the largest share of right answers is chosen; of equal ones the one
        that is better over all, then the first by name.

        Args:
            found: (candidate, task, whether it found the right answer); missing data is left out.
            per: whether every task gets the candidate that is best in it.
            least: a task for which no candidate was asked as often goes by all questions (ours).

        Raises:
            Mistake: there is nothing to choose from.
        """
        counts: dict[str, dict[str, list[int]]] = {}
        for candidate, task, right in found:
            of_candidate = counts.setdefault(candidate, {})
            for name in dict.fromkeys((ALL, task)):
                count = of_candidate.setdefault(name, [0, 0])
                count[0] += int(right)
                count[1] += 1
        if not counts:
            raise Mistake(
                "the bench has no graded sessions; run aggregator_bench on some questions"
            )
        scores = {
            candidate: {
                task: BenchScore(right=count[0], asked=count[1])
                for task, count in sorted(tasks.items())
            }
            for candidate, tasks in sorted(counts.items())
        }
        tasks = {ALL}
        if per == "task":
            known = {task for of_candidate in scores.values() for task in of_candidate}
            tasks |= {t for t in known if any(_asked(scores[c], t) >= least for c in scores)}
        chosen = {task: _best(scores, task, least) for task in sorted(tasks)}
        return cls(scores=scores, chosen=chosen)

    def expert(self, task: str) -> str:
        """Return who is chosen for a task."""
        return self.chosen.get(task, self.chosen[ALL])

    def as_asset(self) -> Asset:
        """Return the scores as an asset of a cast."""
        return Asset(kind=AGGREGATORS, content=self.model_dump(mode="json"))

    @classmethod
    def from_asset(cls, asset: Asset) -> AggregatorScores:
        """Return the scores that an asset holds; read once per content.

        Raises:
            Mistake: the asset does not hold them.
        """
        known = _READ.get(asset.digest)
        if known is not None:
            return known
        try:
            if asset.kind != AGGREGATORS:
                raise Mistake(f"an asset of kind {asset.kind!r} holds no aggregators; give one")
            scores = cls.model_validate(asset.content)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(step) for step in first["loc"]) or "content"
            raise Mistake(f"the aggregators cannot be read at {where}: {first['msg']}") from None
        if len(_READ) >= _MOST_READ:
            _READ.clear()
        _READ[asset.digest] = scores
        return scores


def _asked(scores: Mapping[str, BenchScore], task: str) -> int:
    return scores[task].asked if task in scores else 0


def _best(scores: Mapping[str, Mapping[str, BenchScore]], task: str, least: int) -> str:
    """Return the candidate best in a task, among those that were asked often enough in it."""
    enough = [c for c in scores if task == ALL or _asked(scores[c], task) >= least]
    return min(enough, key=lambda c: (-scores[c][task].share, -scores[c][ALL].share, c))


_MOST_READ = 16
_READ: dict[str, AggregatorScores] = {}
# Scores by digest, as thousands of sessions of a run read the same.


def chosen_seat(question: Question, cast: Cast) -> Seat:
    """Return the seat of the aggregator that the bench chose for the question's category.

    Raises:
        Mistake: the cast has no such asset, or does not seat the one that is chosen.
    """
    asset = cast.assets.get(AGGREGATORS)
    if asset is None:
        raise Mistake(
            f"a chosen aggregator needs the asset {AGGREGATORS!r}; make it from a run of "
            "aggregator_bench"
        )
    expert = AggregatorScores.from_asset(asset).expert(question.category)
    for place, member in enumerate(cast.role(AGGREGATOR)):
        if member.expert == expert:
            return cast.seat(AGGREGATOR, place, name=AGGREGATOR)
    raise Mistake(
        f"the bench chose {expert!r}, who is not cast as {AGGREGATOR!r}; cast all candidates of "
        f"the asset {AGGREGATORS!r} there"
    )
