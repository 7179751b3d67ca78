"""The table of a run: one row for each protocol, and the baselines that belong beside them.

Denominators follow one rule: accuracy is right / (questions asked - missing). What a method does
itself (refuses, abstains, cannot be read) counts as not correct and has a column of its own;
provider failures, timeouts and sessions not reached are missing (`failed`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from statistics import fmean
from typing import Any, Literal

from protocols.outcome import Outcome
from workflows.comparing.rounds import FirstAnswers, Round, by_round, first_answers
from workflows.comparing.strata import Stratum, strata
from workflows.questions.answer_key import AnswerKey
from workflows.statistics.agreement import ExpertEntropy, RunSpread, expert_entropy, run_spread
from workflows.statistics.intervals import mean_outcome
from workflows.statistics.paired import PairedDifference, paired_difference

RowKind = Literal["protocol", "baseline"]


@dataclass(frozen=True, slots=True)
class Difference:
    """How much better a row is than another one, on the same questions."""

    mean: float
    ci_low: float
    ci_high: float
    p: float
    """Two-sided sign-flip permutation test over clusters."""

    @classmethod
    def of(cls, found: PairedDifference) -> Difference:
        """Return the figures of a paired difference."""
        return cls(found.mean, found.interval.low, found.interval.high, found.p_value)


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    name: str
    kind: RowKind
    n: int
    """Questions asked, less the missing ones."""
    correct: float
    """How many of them are right; a tie may count half."""
    accuracy: float | None
    """correct / n; None without questions."""
    ci_low: float | None
    ci_high: float | None
    """95 % interval: Wilson for single questions, else a cluster bootstrap (or t); Wilson over the
    units where all came out the same."""
    calls: float
    """Asks; of a baseline those that it implies."""
    failed: int
    """Questions that are missing: provider failures, timeouts, sessions not reached."""
    unparsed: float
    """Questions whose outcome could not be read; they count as not correct."""
    abstained: int = 0
    """Questions left open on purpose; they count as not correct."""
    refused: int = 0
    """Questions that the method failed on by its own doing (refused, overlong, malformed); they
    count as not correct."""
    unparsed_replies: int = 0
    """Single replies from which no answer could be read."""
    interval: str = "wilson"
    """How the interval was made."""
    rule: str = ""
    """The aggregation rule."""
    tie_rule: str = ""
    diff_best_single: Difference | None = None
    """Paired difference from the best single expert."""
    diff_plurality: Difference | None = None
    """Paired difference from the row called ``plurality``."""
    selected: bool = False
    """Whether this rule was chosen on the profile's questions, by cross-validation."""
    cross_validated: float | None = None
    """Its accuracy there, on the parts that it had not learned from."""
    strata: Mapping[str, Stratum] = field(default_factory=dict)
    """By whether the one who argued was right; empty where nobody's side tells anything."""
    first_answers: FirstAnswers | None = None
    """Of a deliberation: how the plurality of its first answers did, on the same sessions."""
    by_round: tuple[Round, ...] = ()
    """Of a deliberation: how it did after its first answers and after every round."""
    spread: RunSpread | None = None
    """How much it differs from repeat to repeat; None without repeats."""
    entropy: ExpertEntropy | None = None
    """Of a vote: how much its experts' own answers differ."""
    values: Mapping[str, float | None] = field(default_factory=dict, repr=False)
    """Share right by question id; None is missing. Not part of the JSON."""

    def as_json(self) -> dict[str, Any]:
        """Return the row as a JSON object, without `values`."""
        data = asdict(self)
        del data["values"]
        return {**data, "by_round": list(data["by_round"])}


@dataclass(frozen=True, slots=True)
class Scored:
    """What became of one question under one protocol (a repeat counts as a session of its own)."""

    question: str
    outcome: Outcome | None
    """None: not reached, or its protocol raised."""


def protocol_row(
    name: str,
    scored: Sequence[Scored],
    key: AnswerKey,
    clusters: Mapping[str, str],
    *,
    calls: int,
) -> Row:
    """Return the row of a protocol.

    Args:
        name: what the table calls it.
        scored: its sessions; of several repeats of a question the mean counts.
        key: the gold answers.
        clusters: question id -> what repeats together.
        calls: the asks of all its sessions.
    """
    shares: dict[str, list[float | None]] = {}
    for one in scored:
        right = None if one.outcome is None else key.correctness(one.outcome, one.question)
        shares.setdefault(one.question, []).append(right)
    values = {question: _mean_present(found) for question, found in shares.items()}
    ended = [(one.question, one.outcome) for one in scored if one.outcome is not None]
    outcomes = [outcome for _, outcome in ended]
    first = outcomes[0] if outcomes else None
    return _row(
        name,
        "protocol",
        values,
        clusters,
        calls=calls,
        unparsed=sum(outcome.status == "unparsed" for outcome in outcomes),
        abstained=sum(outcome.status == "abstained" for outcome in outcomes),
        refused=sum(outcome.status == "failed" and not outcome.missing for outcome in outcomes),
        unparsed_replies=sum(outcome.unparsed for outcome in outcomes),
        rule=first.rule if first else "",
        tie_rule=first.tie_rule if first else "",
        spread=_spread(shares),
        entropy=_entropy(ended),
        strata=strata(ended, key),
        first_answers=first_answers(ended, key),
        by_round=by_round(ended, key),
    )


def _spread(shares: Mapping[str, Sequence[float | None]]) -> RunSpread | None:
    """Return how repeats differ; None where no question has several."""
    repeats = max((len(found) for found in shares.values()), default=0)
    if repeats < 2:
        return None
    return run_spread(
        [{q: found[i] for q, found in shares.items() if i < len(found)} for i in range(repeats)]
    )


def _entropy(ended: Sequence[tuple[str, Outcome]]) -> ExpertEntropy | None:
    """Return how much the experts of a vote differ; None where outcomes tell no answers by expert.

    Every session is one observation: repeats draw anew.
    """
    answers = {
        f"{place}": [one if isinstance(one, str) else None for one in given.values()]
        for place, (_, outcome) in enumerate(ended)
        if isinstance(given := outcome.detail.get("answers"), dict)
    }
    return expert_entropy(answers) if answers else None


def baseline_rows(
    singles: Mapping[str, Mapping[str, bool]],
    unparsed: Mapping[str, frozenset[str]],
    questions: Sequence[str],
    clusters: Mapping[str, str],
    best: str | None,
) -> list[Row]:
    """Return the rows that need nothing but each expert's own answer.

    Args:
        singles: expert -> question id -> right; an absent question is missing.
        unparsed: expert -> ids of the questions whose answer could not be read.
        questions: the ids of all questions asked.
        clusters: question id -> what repeats together.
        best: the expert that is best on other data; None leaves the row out.
    """
    rows = []
    if best is not None:
        values = {q: _share(singles[best].get(q)) for q in questions}
        rows.append(
            _row(
                "best_single",
                "baseline",
                values,
                clusters,
                calls=len(questions),
                unparsed=len(unparsed.get(best, frozenset()) & set(questions)),
                rule=f"single ({best})",
            )
        )
    experts = sorted(singles)
    answered = {q: [singles[e][q] for e in experts if q in singles[e]] for q in questions}
    nobody_read = [
        q
        for q in questions
        if answered[q] and all(_unread(q, e, singles, unparsed) for e in experts)
    ]
    oracle = {q: float(any(found)) if found else None for q, found in answered.items()}
    rows.append(_random_row(singles, unparsed, questions, clusters))
    rows.append(
        _row(
            "oracle",
            "baseline",
            oracle,
            clusters,
            calls=len(questions) * len(experts),
            unparsed=len(nobody_read),
            rule="any expert right",
        )
    )
    return rows


def chance_row(options: Mapping[str, int], clusters: Mapping[str, str]) -> Row:
    """Return what guessing among the options gives, for questions that no expert pool answers."""
    values: dict[str, float | None] = {q: 1 / n for q, n in options.items() if n}
    n = len(values)
    mean = fmean(v for v in values.values() if v is not None) if n else None
    return Row(
        name="random",
        kind="baseline",
        n=n,
        correct=(mean or 0.0) * n,
        accuracy=mean,
        ci_low=mean,
        ci_high=mean,
        calls=0,
        failed=0,
        unparsed=0,
        interval="exact",
        rule="a guess among the options",
        values=values,
    )


def with_differences(rows: Sequence[Row], clusters: Mapping[str, str]) -> list[Row]:
    """Return `rows` with their paired differences from ``best_single`` and ``plurality``.

    A row has none from itself, and none where either row holds no scored question.
    """
    named = {row.name: row for row in rows if row.n}
    best, plurality = named.get("best_single"), named.get("plurality")
    return [
        replace(
            row,
            diff_best_single=_difference(row, best, clusters),
            diff_plurality=_difference(row, plurality, clusters),
        )
        for row in rows
    ]


def _difference(row: Row, other: Row | None, clusters: Mapping[str, str]) -> Difference | None:
    if other is None or row is other or not row.n:
        return None
    return Difference.of(paired_difference(row.values, other.values, clusters))


def _random_row(
    singles: Mapping[str, Mapping[str, bool]],
    unparsed: Mapping[str, frozenset[str]],
    questions: Sequence[str],
    clusters: Mapping[str, str],
) -> Row:
    """Return the mean over the pool's experts of each one's accuracy."""
    asked = set(questions)
    accuracies, unread = [], []
    for expert in sorted(singles):
        found = [right for q, right in singles[expert].items() if q in asked]
        if found:
            accuracies.append(fmean(found))
            unread.append(len(unparsed.get(expert, frozenset()) & asked))
    values: dict[str, float | None] = {}
    for question in questions:
        here = [singles[e][question] for e in singles if question in singles[e]]
        values[question] = fmean(here) if here else None
    row = _row(
        "random",
        "baseline",
        values,
        clusters,
        calls=len(questions),
        unparsed=fmean(unread) if unread else 0,
        rule="mean over the experts",
    )
    if not accuracies:
        return row
    mean = fmean(accuracies)
    return replace(row, accuracy=mean, correct=mean * row.n)


def _row(
    name: str,
    kind: RowKind,
    values: Mapping[str, float | None],
    clusters: Mapping[str, str],
    **fields: Any,
) -> Row:
    found = mean_outcome(values, clusters)
    interval = found.interval
    how = found.method if "wilson" in found.method else f"cluster {found.method}"
    return Row(
        name=name,
        kind=kind,
        n=found.n,
        correct=sum(value for value in values.values() if value is not None),
        accuracy=found.mean,
        ci_low=None if interval is None else interval.low,
        ci_high=None if interval is None else interval.high,
        failed=found.missing,
        interval=how,
        values=values,
        **fields,
    )


def _mean_present(values: Sequence[float | None]) -> float | None:
    present = [value for value in values if value is not None]
    return fmean(present) if present else None


def _share(right: bool | None) -> float | None:
    return None if right is None else float(right)


def _unread(
    question: str,
    expert: str,
    singles: Mapping[str, Mapping[str, bool]],
    unparsed: Mapping[str, frozenset[str]],
) -> bool:
    return question not in singles[expert] or question in unparsed.get(expert, frozenset())
