"""What the same money buys: plurality, best-of-n and the judge alone at a protocol's own spend.

For a protocol that takes s a question, and an expert's draw that takes d (both stand-alone, means
over questions), n = floor(s / d) draws cost at most as much. They are taken from the run's own
recorded draws: of several experts in turn, beginning with another one on every question (seeded).

* ``plurality``: the most frequent answer of n draws; an even vote counts its share.
* ``best_of_n``: right if any of n draws is. No way of choosing among them can do better.
* ``judge_alone``: plurality of n draws of the judge, where a protocol has a judge of others.

A question with fewer draws, or with a lost one among its n, is missing. Where the run does not hold
n draws of anything, the row says why instead of a figure.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import floor
from statistics import fmean
from typing import Any, Literal

from agents.grading import grade
from protocols.chance import Rng
from workflows.comparing.draws import DRAWING, Draw
from workflows.comparing.spend import NAMES, Spending, Unit
from workflows.comparing.table import Row
from workflows.comparing.wording import counted_of
from workflows.questions.answer_key import AnswerKey
from workflows.statistics.intervals import MeanOutcome, mean_outcome
from workflows.statistics.paired import PairedDifference, paired_difference

Baseline = Literal["plurality", "best_of_n", "judge_alone"]
_EVEN = 1e-9


@dataclass(frozen=True, slots=True)
class EqualSpend:
    """A baseline at the spend of a protocol."""

    protocol: str
    baseline: Baseline
    unit: Unit
    spend: float | None
    """Of the protocol, a question."""
    draws: int | None = None
    """n; None where it cannot be told."""
    baseline_spend: float | None = None
    """Of n draws, a question: at most `spend`."""
    outcome: MeanOutcome | None = None
    """How the baseline did; None where it is not computable."""
    difference: PairedDifference | None = None
    """The protocol less the baseline, on the same questions."""
    why_not: str = ""
    """Why it is not computable."""

    def as_json(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        found, difference = self.outcome, self.difference
        interval = None if found is None else found.interval
        return {
            "protocol": self.protocol,
            "baseline": self.baseline,
            "unit": self.unit,
            "spend": self.spend,
            "draws": self.draws,
            "baseline_spend": self.baseline_spend,
            "accuracy": None if found is None else found.mean,
            "ci_low": None if interval is None else interval.low,
            "ci_high": None if interval is None else interval.high,
            "n": None if found is None else found.n,
            "missing": None if found is None else found.missing,
            "difference": None if difference is None else difference.mean,
            "difference_low": None if difference is None else difference.interval.low,
            "difference_high": None if difference is None else difference.interval.high,
            "p": None if difference is None else difference.p_value,
            "not_computable": self.why_not or None,
        }

    def __str__(self) -> str:
        """Say it in one line."""
        head = f"{self.baseline} at the spend of {self.protocol}"
        if self.outcome is None or self.outcome.mean is None or self.difference is None:
            return f"{head}: not computable, {self.why_not}"
        draws = f"{self.draws:,} draw" + ("" if self.draws == 1 else "s")
        return (
            f"{head}: {100 * self.outcome.mean:.1f} % with {draws} "
            f"({self.baseline_spend:,.6g} of {self.spend:,.6g} {NAMES[self.unit]} a question)"
        )


def equal_spend(
    rows: Sequence[Row], spending: Spending, key: AnswerKey, unit: Unit
) -> list[EqualSpend]:
    """Return the baselines at the spend of every protocol that is none of them itself.

    Args:
        rows: of the run.
        spending: of the same run.
        key: the gold answers.
        unit: what is held equal.
    """
    found = []
    for row in rows:
        here = spending.seated.get(row.name)
        if row.kind != "protocol" or here is None or here.kind in DRAWING:
            continue
        if here.judge is not None:
            judge = _Pool((here.judge,), "judge" in here.readers, spending, unit)
            found.append(_one(row, "judge_alone", judge, key))
            continue
        pool = _Pool(here.experts, bool(here.readers), spending, unit)
        found += [_one(row, name, pool, key) for name in ("plurality", "best_of_n")]
    return found


@dataclass(frozen=True, slots=True)
class _Pool:
    """Whose draws count."""

    experts: tuple[str, ...]
    reads: bool
    spending: Spending
    unit: Unit

    def draws(self) -> list[Draw]:
        """Return their draws under the same conditions."""
        return [
            one
            for one in self.spending.draws
            if one.expert in self.experts and one.reads == self.reads
        ]

    def price(self, drawn: Sequence[Draw]) -> float | None:
        """Return what a draw takes, the mean over all; None where a price is not known."""
        prices = []
        for one in drawn:
            spent = self.spending.protocols[one.entry].by_question[one.question].of(self.unit)
            if spent is None:
                return None
            prices.append(spent / one.of)
        return fmean(prices) if prices else None

    def not_priced(self, spend: float | None, price: float | None, drawn: Sequence[Draw]) -> str:
        """Say why it cannot be told how many draws cost the same; nothing where it can."""
        if not drawn:
            return f"the run holds no draw of {self.names} by itself{self.remedy()}"
        if spend is None or price is None:
            return f"prices in {NAMES[self.unit]} are not known for all"
        if not spend or not price:
            return f"nothing is spent in {NAMES[self.unit]}; name another unit"
        return ""

    def too_few(self, n: int, most: int) -> str:
        """Say why n draws are not there."""
        if n < 1:
            return "it takes less than a single draw"
        if self.recorded:
            verb = "hold" if self.experts[1:] else "holds"
            return f"{_draws(n)} needed, and {self.names} {verb} one recorded answer each"
        return f"{_draws(n)} needed and the run holds {most}{self.remedy(n)}"

    def remedy(self, n: int | None = None) -> str:
        """Say how the run would hold draws, where its experts can give any."""
        if self.recorded:
            return ""
        if self.experts[1:]:
            return "; add plurality to the protocols, and repeats"
        count = "" if n is None else f" with n: {n}"
        passage = "" if self.reads else ", which reads no passage"
        return f"; add self_consistency{count} with it as solver{passage}"

    @property
    def recorded(self) -> bool:
        """Whether somebody among them cannot draw again."""
        return any(expert in self.spending.recorded for expert in self.experts)

    @property
    def names(self) -> str:
        """Return who they are, for people."""
        return ", ".join(self.experts[:3]) + (" ..." if len(self.experts) > 3 else "")


def _one(row: Row, baseline: Baseline, pool: _Pool, key: AnswerKey) -> EqualSpend:
    """Return a baseline at the spend of a protocol, or why it cannot be computed."""
    protocol = pool.spending.protocols.get(row.name)
    mean = None if protocol is None else protocol.a_question
    spend = None if mean is None else mean.of(pool.unit)
    found = EqualSpend(row.name, baseline, pool.unit, spend)
    drawn = pool.draws()
    price = pool.price(drawn)
    why = pool.not_priced(spend, price, drawn)
    if why or spend is None or not price:
        return replace(found, why_not=why)
    n = floor(spend / price + 1e-9)
    found = replace(found, draws=n, baseline_spend=n * price)
    lined_up = _lined_up(drawn, pool.experts)
    most = max(map(len, lined_up.values()), default=0)
    if not 0 < n <= most:
        return replace(found, why_not=pool.too_few(n, most))
    values = {
        question: _value(baseline, lined_up.get(question, [])[:n], n, question, key)
        for question in row.values
    }
    outcome = mean_outcome(values, key.clusters)
    if outcome.mean is None:
        return replace(found, why_not="no question has a gold answer and that many draws")
    difference = paired_difference(row.values, values, key.clusters)
    return replace(found, outcome=outcome, difference=difference)


def _lined_up(drawn: Sequence[Draw], experts: Sequence[str]) -> dict[str, list[Draw]]:
    """Return the draws on every question: the experts in turn, beginning with a seeded one."""
    by_expert: dict[str, dict[str, list[Draw]]] = defaultdict(lambda: defaultdict(list))
    for one in drawn:
        by_expert[one.question][one.expert].append(one)
    found = {}
    for question, own in by_expert.items():
        first = Rng("equal spend", question).integer(len(experts))
        turns = [own[expert] for expert in (*experts[first:], *experts[:first]) if expert in own]
        rounds = range(max(map(len, turns)))
        found[question] = [draws[at] for at in rounds for draws in turns if at < len(draws)]
    return found


def _value(
    baseline: Baseline, draws: Sequence[Draw], n: int, question: str, key: AnswerKey
) -> float | None:
    """Return how right n draws are together; None is missing."""
    gold = key.gold.get(question)
    if gold is None or len(draws) < n or any(one.missing for one in draws):
        return None
    votes: dict[str, float] = defaultdict(float)
    for one in draws:
        for answer, weight in one.votes.items():
            votes[answer] += weight
    kind = key.kinds[question]
    if baseline == "best_of_n":
        shares = [
            sum(w for answer, w in one.votes.items() if grade(answer, gold, kind)) for one in draws
        ]
        return max(shares)
    top = max(votes.values(), default=0.0)
    even = [answer for answer, weight in votes.items() if weight >= top - _EVEN]
    return sum(grade(answer, gold, kind) for answer in even) / len(even) if even else 0.0


def _draws(n: int) -> str:
    return f"{counted_of(n, 'draw')} {'is' if n == 1 else 'are'}"
