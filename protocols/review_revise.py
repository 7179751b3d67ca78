"""Review and revise: a manuscript is scored by a rubric and rewritten; the best version is found.

Schedule: ``(scorer > author)*`` for r rounds, then one turn in which raters compare the versions
in pairs. Price: 2·r asks and, for v versions that stand (the original among them), v(v - 1)/2
pairs in each of the orders: at most 2r + orders·r(r + 1)/2, and 2r where no revision stands.

Who sees what. The scorer sees the manuscript and the version that stands; the author also what
the scorer wrote about it. A rater sees two versions, both quoted alike, as first and second,
without knowing which is older; in the second order they are exchanged. Only roles that read the
passage see the original.

Content kept. A revision stands if it holds at least ``least_kept`` of the original's content words
(numbers, and words of four letters or more, each counted once); else it is dropped, told as such,
and the next round revises the version before it. Numbers that changed are counted in ``detail``.

Outcome: each comparison rates both versions from 1 to 10; the higher wins a point, equal ratings
half each. The best version has the largest share of points (ties: higher mean rating, then the
earlier). ``score`` is its mean rating; the answer is that number, or, where the question asks for
a decision, accept from ``accept_from`` on. ``detail["best"]`` is its round, 0 the original.
Without a revision that stands there is nothing to compare: the outcome is abstained where authors
wrote and were dropped, failed where they all failed or data is missing. One readable comparison is
a quorum; a scorer that fails is left out and counted.

Source: arXiv 2603.03142 (APRES). Departures: the rubric is given, not searched for on citations;
ratings in pairs instead of Glicko-2, both orders by default as raters favour a position; the check
of content counts words, where the source asks a model; round numbers and thresholds are ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from protocols.asks import Ask
from protocols.ballots import TOLERANCE, failure_counts, session_boundary
from protocols.canonical import clean_text
from protocols.cast import Cast
from protocols.chance import Rng
from protocols.compose import ask_one
from protocols.contract import CallBound, Protocol, Role, Session
from protocols.deliberation import said_part
from protocols.messages import Message, Part
from protocols.outcome import Outcome, failed_outcome
from protocols.parsing import parse_number
from protocols.prompts import prompt
from protocols.question import Question
from protocols.quoting import quoted, quoted_part
from protocols.replies import MISSING_BOUNDARIES, Reply
from protocols.reviewing import (
    AUTHOR,
    accepting,
    check_manuscript,
    mean,
    read_score,
    require_manuscript,
    review_ask,
    silent_part,
)
from protocols.reviewing import TEMPLATE as REVIEWING
from protocols.speeches import shown
from protocols.versions import (
    Version,
    best_version,
    changed_numbers,
    content_words,
    kept_share,
)

SCORER, RATER = "scorer", "rater"
OWN_TEMPLATE = "review_revise"
RULE = "pairwise_ratings"

Criterion = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z -]{0,39}$")]


class ReviewAndRevise(Protocol):
    """A manuscript is scored and rewritten in rounds; its versions are rated in pairs."""

    kind: ClassVar[str] = "review_and_revise"
    about: ClassVar[str] = "a manuscript is scored and rewritten; its versions are rated in pairs"
    templates: ClassVar[tuple[str, ...]] = (REVIEWING, OWN_TEMPLATE)

    rounds: int = Field(2, ge=1)
    """r, the rounds of scoring and revising."""
    rubric: tuple[Criterion, ...] = Field(
        ("Clarity", "Rigour", "Evidence", "Contribution"), min_length=1
    )
    """What is scored, each from 1 to 10."""
    orders: Literal[1, 2] = 2
    """Orders in which every pair of versions is compared."""
    least_kept: float = Field(0.6, ge=0.0, le=1.0)
    """The least share of the original's content words that a revision must hold (ours)."""
    accept_from: float = Field(6.0, ge=1.0, le=10.0)
    """The least mean rating at which the manuscript is accepted (ours)."""

    def roles(self) -> tuple[Role, ...]:
        """Return the roles: scorer, author, rater."""
        return (
            Role(SCORER, "scores a version by the rubric", reads_passage=True, draws=True),
            Role(AUTHOR, "writes the next version", reads_passage=True, draws=True),
            Role(RATER, "rates two versions", reads_passage=True, draws=True),
        )

    def check_question(self, question: Question) -> str | None:
        """Say why a question is not one about a manuscript."""
        return check_manuscript(question)

    def calls(self, question: Question, cast: Cast) -> CallBound:
        """From the rounds alone to every pair of versions in all orders."""
        r = self.rounds
        return CallBound(2 * r, 2 * r + self.orders * r * (r + 1) // 2)

    def session(self, question: Question, cast: Cast, rng: Rng) -> Session[Outcome]:
        """Score and revise in rounds, then compare."""
        require_manuscript(question)
        shop = _Workshop(self, question, cast)
        for number in range(1, self.rounds + 1):
            yield from shop.round(number)
        if len(shop.versions) > 1:
            yield from shop.compare()
        return shop.outcome()

    def scores(self, reply: Reply) -> dict[str, float | None]:
        """Read the scores of an assessment, None where a criterion has no readable one."""
        return {name: read_score(reply.text, name) for name in self.rubric}


class _Workshop:
    """The account of one session: the versions, who wrote and judged them, and how."""

    __slots__ = (
        "assessed",
        "cast",
        "compared",
        "dropped",
        "original",
        "protocol",
        "question",
        "revised",
        "unparsed",
        "versions",
    )

    def __init__(self, protocol: ReviewAndRevise, question: Question, cast: Cast) -> None:
        passage = question.passage or ""
        shown_to_raters = cast.reads_passage(RATER)
        self.protocol = protocol
        self.question = question
        self.cast = cast
        self.original = content_words(passage)
        self.versions = [Version(0, Part("version", quoted(passage)) if shown_to_raters else None)]
        """The versions that stand, the original first."""
        self.dropped: list[Version] = []
        """The versions that lost too much of the original."""
        self.assessed: list[Reply] = []
        self.revised: list[Reply] = []
        self.compared: list[Reply] = []
        self.unparsed = 0

    def round(self, number: int) -> Session[None]:
        """Have the version that stands scored and rewritten."""
        base, criteria = self.versions[-1], self.protocol.rubric
        said = self._base(SCORER, base)
        task = prompt(OWN_TEMPLATE, "rubric_task", criteria=criteria)
        assessed = yield from self._ask(SCORER, (*said, task))
        self.assessed.append(assessed)
        if not assessed.failed:
            base.rubric = self.protocol.scores(assessed)
            self.unparsed += None in base.rubric.values()
        said = self._base(AUTHOR, base)
        assessment = said_part("assessment_of_version", assessed) or silent_part()
        task = prompt(OWN_TEMPLATE, "revise_task", criteria=criteria)
        heading = prompt(OWN_TEMPLATE, "assessment")
        revised = yield from self._ask(AUTHOR, (*said, heading, assessment, task))
        self.revised.append(revised)
        self._admit(number, revised)

    def _ask(self, role: str, said: Sequence[Part]) -> Session[Reply]:
        system = prompt(OWN_TEMPLATE, f"{role}_system")
        seat = self.cast.seat(role)
        reply = yield from ask_one(review_ask(self.question, self.cast, seat, system, said))
        return reply

    def _base(self, role: str, base: Version) -> tuple[Part, ...]:
        """Return the version that is to be treated, as `role` sees it."""
        if base.number and base.part is not None:
            return (prompt(OWN_TEMPLATE, "version"), base.part)
        reads = self.cast.reads_passage(role)
        return (prompt(OWN_TEMPLATE, "as_above" if reads else "hidden"),)

    def _admit(self, number: int, reply: Reply) -> None:
        """Take in a revision: it stands, or it is dropped."""
        text = shown(clean_text(reply.text)[0])
        if not text:
            self.unparsed += not reply.failed
            return
        words = content_words(text)
        version = Version(
            number,
            quoted_part("version", reply, text=text),
            kept_share(self.original, words),
            changed_numbers(self.original, words),
        )
        stands = version.kept >= self.protocol.least_kept
        (self.versions if stands else self.dropped).append(version)

    def compare(self) -> Session[None]:
        """Have every pair of versions rated, in all orders at once."""
        pairs = list(combinations(self.versions, 2))
        if self.protocol.orders == 2:
            pairs += [(other, one) for one, other in pairs]
        task = prompt(OWN_TEMPLATE, "rate_task", criteria=self.protocol.rubric)
        self.compared += yield tuple([self._rate_ask(one, other, task) for one, other in pairs])
        for (one, other), reply in zip(pairs, self.compared, strict=True):
            first, second = read_score(reply.text, "first"), read_score(reply.text, "second")
            if first is not None and second is not None:
                one.meet(other, first, second)
            else:
                self.unparsed += not reply.failed

    def _rate_ask(self, one: Version, other: Version, task: Part) -> Ask:
        """Return the ask that shows two versions alike: quoted, without their age."""
        hidden = prompt(OWN_TEMPLATE, "hidden")
        parts = (
            self.question.text_part,
            prompt(OWN_TEMPLATE, "first"),
            one.part or hidden,
            prompt(OWN_TEMPLATE, "second"),
            other.part or hidden,
            task,
        )
        system = Message("system", (prompt(OWN_TEMPLATE, "rater_system"),))
        messages = (system, Message("user", parts))
        return Ask(self.cast.seat(RATER), messages, question=self.question.id)

    def outcome(self) -> Outcome:
        """Conclude from the comparisons."""
        best, tied = best_version(self.versions)
        failures = failure_counts([*self.assessed, *self.revised, *self.compared])
        detail = {
            "best": None if best is None else best.number,
            "versions": [version.as_json() for version in self.versions],
            "dropped": [version.as_json() for version in self.dropped],
        }
        common: dict[str, Any] = {"rule": RULE, "unparsed": self.unparsed, "failures": failures}
        common |= {"tie_rule": "first", "detail": detail}
        if best is not None:
            score = mean(best.ratings)
            answer = self._answer(score or 0.0)
            return Outcome(status="answered", answer=answer, score=score, tie_broken=tied, **common)
        asked = self.compared or self.revised
        boundary = session_boundary(asked)
        missing = boundary in MISSING_BOUNDARIES and not self.compared
        if boundary is not None and (missing or all(reply.failed for reply in asked)):
            return failed_outcome(boundary, **common)
        return Outcome(status="unparsed" if self.compared else "abstained", **common)

    def _answer(self, score: float) -> str | None:
        """Return the rating as a number, or the decision that follows from it."""
        accept = accepting(self.question)
        if accept is None:
            return parse_number(str(score))
        if score >= self.protocol.accept_from - TOLERANCE:
            return accept
        return next(label for label in self.question.labels if label != accept)
