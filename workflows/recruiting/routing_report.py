"""What recruiting was worth: a report of every rule of a run, computed from the store alone.

=================  ===============================================================================
team holds         share of the questions whose team holds an expert whose own answer is right
picks a right one  the same share of those questions for which the pool holds one at all
regret             accuracy of the oracle (any expert of the pool is right) less that of the rule
experts            different experts a question, in the mean
load               share of all recruitments that an expert has; its entropy as a part of the
                   pool's largest possible: 1 is an even load, 0 one expert for everything
price              asks and list price a question, and what an answer costs by the evidence
set-up             what it took to measure the pool before: asks of the exam, the annotation and
                   the bench of aggregators, paid once
loads              models to load where one fits at a time: session by session, each time that
                   another expert is asked than before, against one load of every expert in each
                   wave (turn) of the rule, as the planner groups all sessions' asks by expert
=================  ===============================================================================

Denominators: questions with single experts' own answers and an outcome; a missing one is left out.
Missing answers of single experts are not right.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from math import log2
from statistics import fmean
from typing import TYPE_CHECKING, Any

from protocols.errors import Mistake
from protocols.evidence import EVIDENCE, MISSING, Evidence
from protocols.profile import PROFILE, SkillProfile
from protocols.registry import make_protocol
from workflows.comparing.results import Singles, own_answers, session_outcome
from workflows.comparing.table import Difference, Row
from workflows.questions.answer_key import AnswerKey
from workflows.recruiting.strong_weak import Sent, StrongWeak, strong_weak
from workflows.statistics.paired import paired_difference

if TYPE_CHECKING:
    from orchestrator.store import AskedExpert, RunRow, SessionRow, Store
    from protocols.cast import Cast
    from protocols.contract import Protocol

SOLVER = "solver"
AGGREGATOR = "aggregator"


@dataclass(frozen=True, slots=True)
class SetUp:
    """What was paid once, before the first question."""

    questions: int = 0
    """|V|: the questions that the pool was measured on."""
    exam_calls: int = 0
    """Answers of the pool to them."""
    annotation_calls: int = 0
    """Passes of the annotator over them."""
    bench_calls: int = 0
    """Answers of the candidates for aggregator on the bench."""
    price: float | None = None
    """Of the exam, in the unit of the evidence's cost; None where it is not known."""

    @property
    def calls(self) -> int:
        """All of them."""
        return self.exam_calls + self.annotation_calls + self.bench_calls


@dataclass(frozen=True, slots=True)
class Loads:
    """Models to load where one fits at a time."""

    in_order: int
    """Session by session."""
    grouped: int
    """Every expert once a wave."""

    @property
    def saved(self) -> float:
        """The share of the loads that grouping saves."""
        return 1.0 - self.grouped / self.in_order if self.in_order else 0.0


@dataclass(frozen=True, slots=True)
class RuleReport:
    """What one rule was worth."""

    name: str
    rule: str
    """The rule of recruitment."""
    n: int
    """Questions that count."""
    accuracy: float | None
    holds_right: float | None
    picks_right: float | None
    regret: Difference | None
    """The oracle less the rule."""
    over_random: Difference | None
    """The rule less a random expert of the pool."""
    over_best_single: Difference | None
    distinct: float
    """Experts a question."""
    load: Mapping[str, float]
    """Expert -> its share of the recruitments, largest first."""
    evenness: float | None
    """Entropy of the load over its largest; None for a pool of one."""
    calls: float
    """Asks a question."""
    price: float | None
    """What the team's answers cost a question, by the evidence; None where it is not known."""
    price_unit: str
    usd: float
    """List price a question, as far as prices are known."""
    set_up: SetUp
    loads: Loads

    def as_json(self) -> dict[str, Any]:
        """Return the figures as a JSON object."""
        set_up = {**asdict(self.set_up), "calls": self.set_up.calls}
        loads = {**asdict(self.loads), "saved": self.loads.saved}
        return {**asdict(self), "set_up": set_up, "loads": loads}


@dataclass(frozen=True, slots=True)
class RoutingReport:
    """What recruiting was worth in a run."""

    rules: tuple[RuleReport, ...]
    pairs: tuple[StrongWeak, ...] = ()
    """Rules that send each question to one of two experts."""
    loads: Loads = field(default_factory=lambda: Loads(0, 0))
    """Of the whole run, whatever rule asks."""

    def as_json(self) -> dict[str, Any]:
        """Return the report as a JSON object."""
        return {
            "rules": [rule.as_json() for rule in self.rules],
            "pairs": [pair.as_json() for pair in self.pairs],
            "loads": {**asdict(self.loads), "saved": self.loads.saved},
        }


@dataclass(frozen=True, slots=True)
class _Recruited:
    """One session of a rule."""

    question: str
    team: tuple[str, ...]
    rule: str
    why: Mapping[str, Any]


def routing_report(
    store: Store, run: RunRow, sessions: list[SessionRow], key: AnswerKey, rows: Sequence[Row]
) -> RoutingReport | None:
    """Return what recruiting was worth in a run; None where nobody was recruited.

    Args:
        store: open for reading.
        run: the run.
        sessions: those that it still asks for.
        key: its answer key.
        rows: its table.
    """
    from workflows.comparing.results import WANTED

    recruited: dict[str, list[_Recruited]] = {}
    casts: dict[str, SessionRow] = {}
    for session in sessions:
        found = _recruited(session)
        if found is not None:
            recruited.setdefault(session.entry, []).append(found)
            casts.setdefault(session.entry, session)
    if not recruited:
        return None
    asked = store.experts_asked(run.id, statuses=WANTED)
    totals = store.totals(run.id, statuses=WANTED)
    named = {row.name: row for row in rows}
    setting = _Setting(store)
    known = {name: setting.of(session) for name, session in casts.items()}
    evidence = next((e for _, cast in known.values() if (e := _evidence(cast))), None)
    singles, _ = own_answers(key, sessions)
    rules, pairs = [], []
    for name, found_here in recruited.items():
        protocol, cast = known[name]
        usd = totals[name]["list_price"] / len(found_here) if name in totals else 0.0
        rules.append(
            _rule(
                named[name],
                found_here,
                named,
                singles,
                key.clusters,
                protocol=protocol,
                cast=cast,
                evidence=_evidence(cast) or evidence,
                usd=usd,
                loads=_loads(one for one in asked if one.entry == name),
            )
        )
        pair = _pair(name, found_here, singles, key.clusters)
        if pair is not None:
            pairs.append(pair)
    return RoutingReport(tuple(rules), tuple(pairs), _loads(asked))


class _Setting:
    """Rebuilds the protocol and the cast of a rule."""

    def __init__(self, store: Store) -> None:
        from orchestrator.rebuild import Rebuilder

        self._store = store
        self._rebuilder = Rebuilder(store)

    def of(self, session: SessionRow) -> tuple[Protocol | None, Cast]:
        """Return the protocol (None where it is gone or takes other parameters) and the cast."""
        parameters = self._store.documents([session.parameters_part])[session.parameters_part]
        try:
            protocol = make_protocol(session.kind, json.loads(parameters))
        except Mistake:
            protocol = None
        return protocol, self._rebuilder.cast(session)


def _recruited(session: SessionRow) -> _Recruited | None:
    """Return whom a session recruited; None where it has no outcome or recruits nobody."""
    outcome = session_outcome(session)
    if outcome is None or "recruitment" not in outcome.detail:
        return None
    team = [member["expert"] for member in outcome.detail.get("team", ())]
    rule, why = outcome.detail.get("rule", session.kind), outcome.detail.get("why") or {}
    return _Recruited(session.question_id, tuple(team), str(rule), why)


def _rule(
    row: Row,
    found: Sequence[_Recruited],
    named: Mapping[str, Row],
    singles: Singles,
    clusters: Mapping[str, str],
    *,
    protocol: Protocol | None,
    cast: Cast,
    evidence: Evidence | None,
    usd: float,
    loads: Loads,
) -> RuleReport:
    pool = sorted({member.expert for member in cast.members.get(SOLVER, ())})
    shares = _load(found)
    price, unit = _price(found, evidence)
    holds, possible = _right_in(found, singles, pool)
    return RuleReport(
        name=row.name,
        rule=found[0].rule,
        n=row.n,
        accuracy=row.accuracy,
        holds_right=fmean(holds.values()) if holds else None,
        picks_right=fmean([holds[q] for q in possible]) if possible else None,
        regret=_difference(named.get("oracle"), row, clusters),
        over_random=_difference(row, named.get("random"), clusters),
        over_best_single=row.diff_best_single,
        distinct=fmean([len(set(one.team)) for one in found]),
        load=shares,
        evenness=_evenness(shares, len(pool)),
        calls=row.calls / len(found),
        price=price,
        price_unit=unit,
        usd=usd,
        set_up=_set_up(protocol, cast, evidence),
        loads=loads,
    )


def _right_in(
    found: Sequence[_Recruited], singles: Singles, pool: Sequence[str]
) -> tuple[dict[str, bool], list[str]]:
    """Return by question whether its team holds a right expert, and where the pool holds one."""
    holds: dict[str, bool] = {}
    possible: list[str] = []
    for one in found:
        known = [e for e in pool if one.question in singles.get(e, {})]
        if known:
            right = {e for e in known if singles[e][one.question]}
            holds[one.question] = bool(right & set(one.team))
            if right:
                possible.append(one.question)
    return holds, possible


def _difference(
    first: Row | None, second: Row | None, clusters: Mapping[str, str]
) -> Difference | None:
    """Return how much better the first is, on the questions that both scored."""
    if first is None or second is None or not first.n or not second.n:
        return None
    return Difference.of(paired_difference(first.values, second.values, clusters))


def _load(found: Iterable[_Recruited]) -> dict[str, float]:
    """Return each expert's share of the recruitments, largest first, equal ones by name."""
    counts = Counter(expert for one in found for expert in one.team)
    total = sum(counts.values())
    order = sorted(counts, key=lambda expert: (-counts[expert], expert))
    return {expert: counts[expert] / total for expert in order}


def _evenness(shares: Mapping[str, float], pool: int) -> float | None:
    if pool < 2:
        return None
    entropy = -sum(share * log2(share) for share in shares.values())
    return max(0.0, entropy) / log2(pool)


def _evidence(cast: Cast) -> Evidence | None:
    asset = cast.assets.get(EVIDENCE)
    return None if asset is None else Evidence.from_asset(asset)


def _price(found: Sequence[_Recruited], evidence: Evidence | None) -> tuple[float | None, str]:
    """Return what the team's answers cost a question, by the evidence, and the unit."""
    if evidence is None or not evidence.cost_unit:
        return None, ""
    asked = {expert for one in found for expert in one.team}
    if not asked <= evidence.cost.keys():
        return None, evidence.cost_unit
    return fmean([sum(evidence.cost[e] for e in one.team) for one in found]), evidence.cost_unit


def _set_up(protocol: Protocol | None, cast: Cast, evidence: Evidence | None) -> SetUp:
    """Return what a rule needs to have been measured before."""
    read = set() if protocol is None else {PROFILE, EVIDENCE} & set(protocol.assets())
    if not read:
        return SetUp()
    pool = {member.expert for member in cast.members.get(SOLVER, ())}
    price = None
    if evidence is not None:
        questions = len(evidence.questions)
        exams = {e: questions - flags.count(MISSING) for e, flags in evidence.right.items()}
        if pool <= evidence.cost.keys():
            price = sum(evidence.cost[e] * exams[e] for e in sorted(pool))
    else:
        exams = SkillProfile.from_asset(cast.assets[PROFILE]).asked
        questions = max(exams.values(), default=0)
    passes = getattr(protocol, "passes", 0) if getattr(protocol, "annotate", False) else 0
    chosen = getattr(protocol, "aggregate", "") == "chosen"
    return SetUp(
        questions=questions,
        exam_calls=sum(exams.get(expert, 0) for expert in pool),
        annotation_calls=questions * passes,
        bench_calls=questions * len(cast.members.get(AGGREGATOR, ())) if chosen else 0,
        price=price,
    )


def _loads(asked: Iterable[AskedExpert]) -> Loads:
    """Count loads where one model fits at a time; see the head of this file."""
    before, in_order = "", 0
    waves: set[tuple[int, str]] = set()
    for one in asked:
        in_order += one.expert != before
        before = one.expert
        waves.add((one.turn, one.expert))
    return Loads(in_order, len(waves))


def _pair(
    name: str, found: Sequence[_Recruited], singles: Singles, clusters: Mapping[str, str]
) -> StrongWeak | None:
    """Return what a rule of two experts recovers; None for any other rule."""
    told = [one for one in found if {"strong", "weak", "win_rate"} <= one.why.keys()]
    if not told:
        return None
    pair = (str(told[0].why["strong"]), str(told[0].why["weak"]))
    sent = [
        Sent(one.question, float(one.why["win_rate"]), one.team == pair[:1])
        for one in told
        if (one.why["strong"], one.why["weak"]) == pair
    ]
    return strong_weak(name, pair, sent, singles, clusters)
