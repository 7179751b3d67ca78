"""A session as text for people: who said what, which quotations hold, how it ended."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

from protocols.question import LABELS
from protocols.quotes import FUZZY_THRESHOLD, verify_quotes
from workflows.export import Record

VERIFIED, UNVERIFIED = "✓", "✗ not in the passage"
WIDEST = 100
"""Columns; longer lines are hard to read."""


def transcript(record: Record, width: int = WIDEST, *, question: bool = True) -> list[str]:
    """Return the lines of a session.

    Args:
        record: a session as :func:`workflows.export.session_records` gives it.
        width: of the terminal.
        question: whether the question is told; several sessions on one need it once.
    """
    width = max(40, min(width, WIDEST))
    lines = _wrapped(_title(record), width)
    if question:
        lines += ["", *question_lines(record["question"], width)]
    for number, turn in enumerate(record["turns"]):
        lines += ["", f"  {_turn_name(record, number, turn)}"]
        name_width = max((len(_speaker(record, ask)) for ask in turn), default=0)
        for ask in turn:
            lines += _speech(record, ask, width, name_width)
    return [*lines, "", *_wrapped(verdict(record), width, "  "), f"  {_spent(record)}"]


def question_lines(question: Record, width: int) -> list[str]:
    """Return the lines of a question with its options."""
    width = max(40, min(width, WIDEST))
    lines = _wrapped(question["text"], width, "  ")
    for label, option in zip(LABELS, question["options"], strict=False):
        lines += _wrapped(f"{label}  {' '.join(option.split())}", width, "  ", "     ")
    return lines


def verdict(record: Record) -> str:
    """Return how a session ended, in one line: outcome, gold answer, right or wrong."""
    words = [_outcome(record)]
    if record["gold"] is not None:
        words.append(f"gold {record['gold']}")
    correct = record["correct"]
    if correct is not None:
        marks = {1.0: "✓ right", 0.0: "✗ wrong"}
        words.append(marks.get(correct, f"half right ({correct:g})"))
    elif record["outcome"] is not None and record["gold"] is not None:
        words.append("missing, not scored")
    return "   ".join(words)


def _title(record: Record) -> str:
    parameters = _parameters(record)
    cast = "   ".join(
        f"{role} {', '.join(labels) if len(labels) <= 2 else f'{len(labels)} experts'}"
        for role, labels in sorted(record["cast"].items())
    )
    return (
        f"{record['name']}{parameters}   session {record['session']}   "
        f"question {record['question']['id']}   {cast}"
    )


def _parameters(record: Record) -> str:
    """Return the parameters that tell most: how long, how large."""
    told = []
    for name, unit in (("rounds", "rounds"), ("k", "draws"), ("draws", "draws"), ("n", "draws")):
        if name in record["parameters"]:
            told.append(f"{record['parameters'][name]} {unit}")
    return f" ({', '.join(told)})" if told else ""


def _turn_name(record: Record, number: int, turn: Sequence[Record]) -> str:
    roles = {ask["role"] for ask in turn}
    inherited = record["fork_turn"] is not None and number < record["fork_turn"]
    kept = " (inherited)" if inherited else ""
    if roles == {"debater"}:
        return f"round {number + 1}{kept}"
    if len(roles) == 1:
        return f"{next(iter(roles))}{kept}"
    return f"turn {number + 1}{kept}"


def _speaker(record: Record, ask: Record) -> str:
    """Return how a seat is called: a debater by its letter, a judge by the order it reads."""
    seat = str(ask["seat"])
    if ask["role"] == "debater":
        return seat.removeprefix("debater_").upper()
    if ask["role"] == "judge" and _orders(record) == 2:
        return "A first" if ask["slot"] == 0 else "B first"
    return str(ask["expert"]) if ask["role"] == "solver" else seat


def _orders(record: Record) -> int:
    return int(record["parameters"].get("orders", 1))


def _speech(record: Record, ask: Record, width: int, name_width: int) -> list[str]:
    """Return the lines of one reply, beside the name of who gave it."""
    name = _speaker(record, ask).ljust(name_width)
    paragraphs = _said(record, ask).splitlines() or [""]
    first, later = f"  {name} │ ", f"  {' ' * name_width} │ "
    lines: list[str] = []
    for paragraph in paragraphs:
        if paragraph.strip():
            lines += _wrapped(paragraph, width, later if lines else first, later)
    return lines or [first.rstrip()]


def _said(record: Record, ask: Record) -> str:
    """Return what a reply says: quotations marked, a failure named."""
    reply = ask["reply"]
    if reply is None:
        return "(no reply yet)"
    if reply["failure_boundary"] is not None:
        return f"(failed: {reply['failure_boundary']}: {reply['failure_message']})"
    text = _marked(reply["text"], record) or "(said nothing)"
    exchanged = ask["role"] == "judge" and _orders(record) == 2 and ask["slot"] == 1
    if exchanged:
        text = f"(it read both sides with their letters exchanged: its A is B)\n{text}"
    shares = reply["distribution"] or []
    told = zip(ask["options"], reversed(shares) if exchanged else shares, strict=False)
    distribution = "  ".join(f"{label} {share:.2f}" for label, share in told)
    return f"{text}\n→ {distribution}" if distribution else text


def _marked(text: str, record: Record) -> str:
    """Return `text` with its quotations in quotation marks and checked against the passage."""
    if "<" not in text:
        return text
    parameters = record["parameters"]
    verified = verify_quotes(
        text,
        record["question"].get("passage"),
        mode=parameters.get("quotes", "strict"),
        threshold=parameters.get("fuzzy_threshold", FUZZY_THRESHOLD),
    ).text
    for letter, mark in (("v", VERIFIED), ("u", UNVERIFIED)):
        verified = verified.replace(f"<{letter}_quote>", "“")
        verified = verified.replace(f"</{letter}_quote>", f"” {mark}")
    return verified


def _outcome(record: Record) -> str:
    outcome = record["outcome"]
    if outcome is None:
        return f"→ failed: {record['message']}" if record["message"] else "→ not finished"
    status = outcome["status"]
    words = {
        "answered": outcome["answer"],
        "tied": "a tie",
        "abstained": "abstained",
        "unparsed": "no answer could be read",
        "failed": f"failed ({outcome['boundary']})",
    }
    text = f"→ {words[status]}{_share(outcome)}{_votes(outcome)}"
    consistent = outcome["detail"].get("consistent")
    if consistent is not None:
        text += ", consistent" if consistent else ", not consistent"
    if outcome["tie_broken"]:
        text += f", a tie broken by the rule {outcome['tie_rule']!r}"
    return text


def _share(outcome: dict[str, Any]) -> str:
    """Return the probability of the answer, where there is one."""
    if not outcome["distribution"] or not outcome["answer"]:
        return ""
    return f" {outcome['distribution'][LABELS.index(outcome['answer'])]:.3f}"


def _votes(outcome: dict[str, Any]) -> str:
    votes = sorted(outcome["votes"].items(), key=lambda vote: (-vote[1], vote[0]))
    return f" ({', '.join(f'{answer}: {weight:g}' for answer, weight in votes)})" if votes else ""


def _spent(record: Record) -> str:
    asks = [ask for turn in record["turns"] for ask in turn]
    attempts = [
        attempt
        for ask in asks
        for attempt in ([ask["reply"]] if ask["reply"] else []) + ask["other_attempts"]
    ]
    tokens = sum(one["prompt_tokens"] + one["completion_tokens"] for one in attempts)
    price = sum(one["list_price"] or 0.0 for one in attempts)
    text = f"{len(asks)} asks, {tokens:,} tokens"
    return text + (f", ${price:.4f}" if price else "")


def _wrapped(text: str, width: int, indent: str = "", later: str | None = None) -> list[str]:
    lines: list[str] = []
    for paragraph in text.splitlines() or [""]:
        first = indent if not lines else (indent if later is None else later)
        lines += textwrap.wrap(
            paragraph,
            width,
            initial_indent=first,
            subsequent_indent=indent if later is None else later,
            break_on_hyphens=False,
        )
    return lines
