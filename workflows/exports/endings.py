"""How a session ended, for people: its outcome, what is right, and how it got there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean
from typing import Any

from protocols.question import LABELS
from workflows.exports.export import Record
from workflows.recruiting.recruited import recruitment_lines

_ENDED_BY = {
    "judge": "ended by the judge",
    "agreement": "ended by agreement",
    "cap": "ended by the cap on rounds",
}
_NONE = "\N{EN DASH}"
"""What stands for a belief or an answer that could not be read."""


def verdict(record: Record) -> str:
    """Return how a session ended, in one line: outcome, gold answer, right or wrong."""
    words = [_outcome(record)]
    if record["gold"] is not None:
        words.append(f"gold {record['gold']}")
    correct = record["correct"]
    if correct is not None:
        marks = {1.0: "✓ right", 0.0: "✗ wrong", 0.5: "half right"}
        words.append(marks.get(correct, f"partly right ({correct:.2f})"))
    elif record["outcome"] is not None and record["gold"] is not None:
        words.append("missing, not scored")
    return "   ".join(words)


def course(record: Record) -> list[str]:
    """Return the lines that tell how a session got to its end; none where that says nothing."""
    if record["outcome"] is None:
        return []
    detail = record["outcome"]["detail"]
    stagings = detail.get("stagings") or [detail]
    if record["outcome"]["status"] == "failed":
        stagings = []  # how far it came before that, the turns show
    lines = [*recruitment_lines(detail), *_sides(record), *_consensus(detail)]
    for number, staging in enumerate(stagings):
        which = f"conversation {number + 1}: " if len(stagings) > 1 else ""
        lines += [f"{which}{line}" for line in _staging(staging)]
    rounds = [one.get("answer") for one in detail.get("rounds", ()) if isinstance(one, dict)]
    if len(rounds) > 1:
        lines.append(f"answers by round: {' → '.join(answer or _NONE for answer in rounds)}")
    return lines


def _sides(record: Record) -> Iterator[str]:
    """Yield for each side that was given or chosen what the judge made of it."""
    outcome = record["outcome"]
    for entry in outcome["detail"].get("sides", ()):
        side, gold = entry["side"], record["gold"]
        places = [place for place in entry["readings"] if place < len(outcome["readings"])]
        read = [outcome["readings"][place] for place in places if outcome["readings"][place]]
        text = f"{entry['by']} {'chose' if entry.get('chosen') else 'argued for'} {side}"
        if gold is not None:
            text += ", the right answer" if side == gold else ", a wrong answer"
        if read:
            mean = [fmean(reading[place] for reading in read) for place in range(len(read[0]))]
            text += f": the judge believed {_distribution(mean)}"
        yield text


def _consensus(detail: Mapping[str, Any]) -> Iterator[str]:
    """Yield how far each draft was from the others' views, and which went to the verdict."""
    scores = detail.get("consensus")
    if isinstance(scores, Mapping) and scores:
        known = [(score, name) for name, score in scores.items() if score is not None]
        told = [f"{name} {score:.3f}" for score, name in sorted(known)]
        told += [f"{name} {_NONE}" for name, score in sorted(scores.items()) if score is None]
        yield f"consensus, lowest first: {', '.join(told)}"
        yield f"to the verdict: {', '.join(detail.get('selected') or ()) or 'none'}"


def _staging(staging: Mapping[str, Any]) -> Iterator[str]:
    """Yield how beliefs moved in a conversation, and why it ended."""
    if len(staging.get("beliefs", ())) > 1:
        shares = [belief[0] if belief else None for belief in staging["beliefs"]]
        yield f"belief in A: {_path(shares)}"
    path = staging.get("path", ())
    if path and "debaters" not in staging and "consultants" not in staging:
        path = list(zip(*path, strict=True))  # an offline judge's is told by order, not by round
    if len(path) > 1:
        read = [[reading[0] for reading in readings if reading] for readings in path]
        yield f"belief in A: {_path([fmean(shares) if shares else None for shares in read])}"
    ended = _ENDED_BY.get(staging.get("ended_by", ""))
    if ended:
        times = staging.get("continues", 0)
        continued = f"; the judge continued {times} {'time' if times == 1 else 'times'}"
        yield ended + (continued if staging.get("beliefs") else "")
    if staging.get("off_rules"):
        yield f"off its declared rules: {staging['off_rules']}"


def _path(shares: Sequence[float | None]) -> str:
    return " → ".join(_NONE if share is None else f"{share:.2f}" for share in shares)


def _distribution(shares: Sequence[float]) -> str:
    return ", ".join(f"{label} {share:.2f}" for label, share in zip(LABELS, shares, strict=False))


def _outcome(record: Record) -> str:
    outcome = record["outcome"]
    if outcome is None:
        return f"→ failed: {record['message']}" if record["message"] else "→ not finished"
    status = outcome["status"]
    words = {
        "answered": outcome["answer"] or "answered",
        "tied": "a tie",
        "abstained": "abstained",
        "unparsed": "no answer could be read",
        "failed": f"failed ({outcome['boundary']})",
    }
    text = f"→ {words[status]}{_share(outcome)}{_votes(outcome)}"
    if outcome["score"] is not None and f"{outcome['score']:g}" != outcome["answer"]:
        text += f", score {outcome['score']:g}"
    consistent = outcome["detail"].get("consistent")
    if consistent is not None:
        text += ", consistent" if consistent else ", not consistent"
    if outcome["tie_broken"]:
        text += f", a tie broken by the rule {outcome['tie_rule']!r}"
    return text


def _share(outcome: Mapping[str, Any]) -> str:
    """Return the probability of the answer, where there is one."""
    if not outcome["distribution"] or not outcome["answer"]:
        return ""
    return f" {outcome['distribution'][LABELS.index(outcome['answer'])]:.3f}"


def _votes(outcome: Mapping[str, Any]) -> str:
    votes = sorted(outcome["votes"].items(), key=lambda vote: (-vote[1], vote[0]))
    return f" ({', '.join(f'{answer}: {weight:g}' for answer, weight in votes)})" if votes else ""
