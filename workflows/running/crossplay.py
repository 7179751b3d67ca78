"""Cross-play: how persuasive debaters are, and how well the judge does with them.

Every debater argues both sides of every question against every other (``settings/meetings.py``).
Who wins a debate, and by how much, is the judge's probability: 0.7 for A is 0.7 of a win for who
argued for A and 0.3 for who argued for B. From the wins follow Bradley-Terry ratings, overall and,
once the answer key is joined, by side: there every debater is two players, one that argues for the
right answer and one that argues for the wrong one, and whoever argues for the right one only ever
meets one that argues for the wrong one. Debates of a debater with itself count there too.

Beside the ratings stands the field's main question: does the judge do better with more persuasive
debaters? Each row has the judge's accuracy in the debater's debates with others, with itself (two
equals) and, where they were run, in its consultancies.

A session without a verdict (missing, unread, refused) is nobody's win; it is counted as such, and
the judge's accuracy counts it as any table does. Everything is computed from the store alone.

Source: Khan et al. 2402.06782, section 4. Departures: the source rates whole wins, here wins are
the judge's probabilities; it draws who meets whom, here all meet; intervals resample stories.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from protocols.errors import Mistake
from workflows.comparing.table import Row, Scored, protocol_row
from workflows.questions.answer_key import AnswerKey
from workflows.settings.meetings import Meeting, meeting_of
from workflows.statistics.ratings import (
    Strengths,
    bradley_terry,
    connected_groups,
    elo,
    rating_intervals,
)

if TYPE_CHECKING:
    from orchestrator.store import RunRow, SessionRow, Store
    from workflows.api import Hooks, RunResult

Players = list[str]
Wins = list[list[float]]
Rated = dict[str, tuple[float | None, float | None, float | None]]
"""Rating and the ends of its interval, by player."""


@dataclass(frozen=True, slots=True)
class Match:
    """One session in which two debaters met, or one met itself."""

    meeting: Meeting
    question: str
    share: float
    """The judge's probability of A, which the meeting's first debater argued for."""


@dataclass(frozen=True, slots=True)
class Rating:
    """How persuasive somebody is, on the scale of Elo; None where it could not be rated."""

    rating: float | None
    ci_low: float | None
    ci_high: float | None
    share: float | None
    """Mean probability that the judge gave its answer."""
    matches: int
    """Debates with a verdict. Of a side: those with itself among them."""


@dataclass(frozen=True, slots=True)
class Accuracy:
    """How often the judge was right."""

    accuracy: float | None
    ci_low: float | None
    ci_high: float | None
    n: int
    """Questions."""

    @classmethod
    def of(cls, row: Row) -> Accuracy:
        """Return the accuracy of a table's row."""
        return cls(row.accuracy, row.ci_low, row.ci_high, row.n)


@dataclass(frozen=True, slots=True)
class DebaterRow:
    """What is known of one debater."""

    name: str
    overall: Rating
    right: Rating
    """When it argued for the right answer."""
    wrong: Rating
    """When it argued for the wrong one."""
    judge: Accuracy
    """The judge's accuracy in its debates with others."""
    judge_self_play: Accuracy | None
    """In its debates with itself; None where it had none."""
    judge_consultancy: Accuracy | None
    """In its consultancies, one for each side; None where it had none."""


@dataclass(frozen=True, slots=True)
class PairRow:
    """Two debaters, over both ways to seat them."""

    first: str
    second: str
    matches: int
    share: float | None
    """Mean probability that the judge gave the first one's answer."""
    mean_rating: float | None
    """The mean of both ratings: how skilled this debate was."""
    judge: Accuracy


@dataclass(frozen=True, slots=True)
class Crossplay:
    """The result of a cross-play."""

    debaters: tuple[DebaterRow, ...]
    """The most persuasive first."""
    pairs: tuple[PairRow, ...]
    """By the names of the two."""
    notes: tuple[str, ...] = field(default=())
    """What must be said beside the figures."""

    def as_json(self) -> dict[str, Any]:
        """Return the result as a JSON object."""
        data = asdict(self)
        return {name: list(value) for name, value in data.items()}


def crossplay_of(store: Store, run: RunRow, *, seed: int = 0) -> Crossplay:
    """Return the ratings of a run, or of a fork of it with another judge.

    Args:
        store: the store, open for reading at least.
        run: a run with meetings; it need not be finished.
        seed: of the resampling.

    Raises:
        Mistake: nobody meets anybody in it.
    """
    from workflows.comparing.results import WANTED, answer_key
    from workflows.simulated import simulated_in, simulated_line

    sessions = store.sessions(run.id, statuses=WANTED)
    table = _Table(sessions, answer_key(run), seed)
    if not table.debaters:
        raise Mistake(
            f"run {run.name!r} holds no cross-play; write  crossplay: {{debaters: [A, B]}}  in a "
            "workflow, or try: moot crossplay crossplay"
        )
    found, simulated = table.result(), simulated_in(run)
    if not simulated:
        return found
    return replace(found, notes=(*found.notes, simulated_line(simulated)))


def run_crossplay(
    workflow: str | Path,
    *,
    overrides: Sequence[str] = (),
    hooks: Hooks | None = None,
    **settings: Any,
) -> tuple[RunResult, Crossplay]:
    """Run a workflow with a cross-play, or go on with it, and rate its debaters.

    Args:
        workflow: the path of a workflow file, or the name of a library workflow.
        overrides: dotted settings, for example ``crossplay.debate.rounds=2``.
        hooks: what to hear on the way.
        settings: further settings of :func:`workflows.api.run`: ``fleet``, ``new``...

    Raises:
        Mistake: something in the workflow or its data is wrong, or it has no cross-play.
    """
    from workflows.api import run
    from workflows.settings.configuration import load_workflow

    loaded = load_workflow(workflow, [*overrides])
    if loaded.crossplay is None:
        raise Mistake(f"{workflow}: no key 'crossplay'; write  crossplay: {{debaters: [A, B]}}")
    result = run(loaded, hooks=hooks, **settings)
    return result, read_crossplay(result.run_id, store=loaded.store)


def read_crossplay(run: str | int, *, store: str = "moot.db") -> Crossplay:
    """Return the ratings of a stored run.

    Args:
        run: name or id.
        store: a file of SQLite, or a database URL; it is not written.

    Raises:
        Mistake: there is no such run, or nobody meets anybody in it.
    """
    from orchestrator.store import Store
    from workflows.api import find_run

    with Store.read(store) as opened:
        return crossplay_of(opened, find_run(opened, str(run)))


class _Table:
    """The sessions of a run, and what follows from them."""

    def __init__(self, sessions: Sequence[SessionRow], key: AnswerKey, seed: int) -> None:
        self._key = key
        self._seed = seed
        self._notes: list[str] = []
        self._scored: dict[Meeting, list[Scored]] = {}
        self._matches: list[Match] = []
        self._without = 0
        for session in sessions:
            meeting = meeting_of(session.entry, session.kind)
            if meeting is not None:
                self._take(meeting, session)
        met = [meeting for meeting in self._scored if meeting.kind == "crossplay"]
        self.debaters = sorted({name for m in met for name in (m.first, m.second)})

    def result(self) -> Crossplay:
        """Return what the table says."""
        if self._without:
            self._notes.append(f"{self._without:,} debates without a verdict count for nobody")
        between = [match for match in self._matches if match.meeting.kind == "crossplay"]
        overall = self._ratings(between, by_side=False)
        sides = self._ratings([m for m in self._matches if self._gold(m)], by_side=True)
        rows = [self._row(name, overall[name], sides) for name in self.debaters]
        rows.sort(key=lambda row: (-(row.overall.rating or 0.0), row.name))
        pairs = [
            self._pair(a, b, overall)
            for place, a in enumerate(self.debaters)
            for b in self.debaters[place + 1 :]
        ]
        return Crossplay(tuple(rows), tuple(pairs), tuple(dict.fromkeys(self._notes)))

    def _take(self, meeting: Meeting, session: SessionRow) -> None:
        from workflows.comparing.results import session_outcome

        outcome = session_outcome(session)
        question = session.question_id
        self._scored.setdefault(meeting, []).append(Scored(question, outcome))
        if meeting.kind == "consultancy":
            return
        if outcome is None or not outcome.distribution:
            self._without += 1
            return
        self._matches.append(Match(meeting, question, outcome.distribution[0]))

    def _gold(self, match: Match) -> str | None:
        """Return which side was right: A or B; None where that is not known."""
        gold = self._key.gold.get(match.question)
        return gold if gold in ("A", "B") else None

    def _ratings(self, matches: Sequence[Match], *, by_side: bool) -> dict[str, Rating]:
        """Return the rating of each player; by side, players are ``NAME/right``, ``NAME/wrong``."""
        players: Players = list(self.debaters)
        if by_side:
            players = [f"{name}/{side}" for name in players for side in ("right", "wrong")]
        place = {player: number for number, player in enumerate(players)}
        by_cluster: dict[str, Wins] = {}
        won = dict.fromkeys(players, 0.0)
        count = dict.fromkeys(players, 0)
        for match in matches:
            first, second = self._players(match, by_side)
            unit = self._key.clusters.get(match.question, match.question)
            wins = by_cluster.setdefault(unit, [[0.0] * len(players) for _ in players])
            for player, other, share in (
                (first, second, match.share),
                (second, first, 1 - match.share),
            ):
                wins[place[player]][place[other]] += share
                won[player] += share
                count[player] += 1
        what = "right and wrong sides" if by_side else "debaters"
        rated = self._rated(players, by_cluster, what)
        return {
            player: Rating(*rated[player], won[player] / n if (n := count[player]) else None, n)
            for player in players
        }

    def _players(self, match: Match, by_side: bool) -> tuple[str, str]:
        first, second = match.meeting.first, match.meeting.second
        if not by_side:
            return first, second
        sides = ("right", "wrong") if self._gold(match) == "A" else ("wrong", "right")
        return f"{first}/{sides[0]}", f"{second}/{sides[1]}"

    def _rated(self, players: Players, by_cluster: Mapping[str, Wins], what: str) -> Rated:
        """Return rating and interval of each player, and note what must be said about them."""
        nothing: Rated = dict.fromkeys(players, (None, None, None))
        if not by_cluster:
            self._notes.append(f"{what} are not rated: no debate has a verdict and a key")
            return nothing
        total = [
            [sum(wins[i][j] for wins in by_cluster.values()) for j in range(len(players))]
            for i in range(len(players))
        ]
        strengths = bradley_terry(total)
        if strengths is None:
            groups = [", ".join(players[i] for i in group) for group in connected_groups(total)]
            self._notes.append(f"{what} are not rated: {' | '.join(groups)} never met")
            return nothing
        found = rating_intervals(by_cluster, seed=self._seed)
        self._note_intervals(players, strengths, found.clusters, found.few, found.left_out)
        return {
            player: (elo(value), *((None, None) if interval is None else interval))
            for player, value, interval in zip(
                players, strengths.values, found.intervals, strict=True
            )
        }

    def _note_intervals(
        self, players: Players, strengths: Strengths, clusters: int, few: bool, left_out: int
    ) -> None:
        if strengths.virtual:
            names = ", ".join(players[place] for place in strengths.virtual)
            self._notes.append(
                f"never beaten, or never a winner: {names}; a virtual win and a "
                "virtual loss were added for each to keep its rating finite"
            )
        if few:
            self._notes.append(
                f"intervals are over {clusters} units that share a passage; with so few they are "
                "too short"
            )
        if left_out:
            self._notes.append(f"{left_out} of the resamples could not be rated and are left out")

    def _row(self, name: str, overall: Rating, sides: Mapping[str, Rating]) -> DebaterRow:
        judge = self._accuracy("crossplay", name)
        return DebaterRow(
            name=name,
            overall=overall,
            right=sides[f"{name}/right"],
            wrong=sides[f"{name}/wrong"],
            judge=judge or Accuracy(None, None, None, 0),
            judge_self_play=self._accuracy("self_play", name),
            judge_consultancy=self._accuracy("consultancy", name),
        )

    def _pair(self, first: str, second: str, ratings: Mapping[str, Rating]) -> PairRow:
        shares = [
            match.share if match.meeting.first == first else 1 - match.share
            for match in self._matches
            if {match.meeting.first, match.meeting.second} == {first, second}
        ]
        both = (ratings[first].rating, ratings[second].rating)
        judge = self._accuracy("crossplay", first, second)
        return PairRow(
            first=first,
            second=second,
            matches=len(shares),
            share=sum(shares) / len(shares) if shares else None,
            mean_rating=None if both[0] is None or both[1] is None else (both[0] + both[1]) / 2,
            judge=judge or Accuracy(None, None, None, 0),
        )

    def _accuracy(self, kind: str, *names: str) -> Accuracy | None:
        """Return the judge's accuracy in the meetings of these; None where there are none."""
        scored = [
            one
            for meeting, sessions in self._scored.items()
            if meeting.kind == kind and set(names) <= {meeting.first, meeting.second}
            for one in sessions
        ]
        if not scored:
            return None
        return Accuracy.of(protocol_row(kind, scored, self._key, self._key.clusters, calls=0))
