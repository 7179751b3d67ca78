"""The tables of a comparison: as text, as HTML, as flat records."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from workflows.comparing.findings import Pair, points, signed_interval
from workflows.comparing.spend import ProtocolSpend
from workflows.comparing.table import Row
from workflows.statistics.frontier import Placed

DASH = "\N{EN DASH}"
HEADER = (
    *("protocol", "n", "accuracy", "95 % interval", "calls"),
    *("missing", "refused", "abstained", "unparsed"),
)
PAIRS = ("first", "less second", "points", "Holm interval", "p (Holm)", "could show", "questions")


def record(name: str, run: str, row: Row, spent: ProtocolSpend | None) -> dict[str, Any]:
    """Return a row as flat figures, with what a question takes of it."""
    one = None if spent is None else spent.a_question
    judge = None if spent is None or not spent.by_question else spent.judge
    difference = row.diff_best_single
    return {
        "name": name,
        "run": run,
        "kind": row.kind,
        "n": row.n,
        "correct": float(row.correct),
        "accuracy": row.accuracy,
        "ci_low": row.ci_low,
        "ci_high": row.ci_high,
        "interval": row.interval,
        "missing": row.failed,
        "refused": row.refused,
        "abstained": row.abstained,
        "unparsed": float(row.unparsed),
        "rule": row.rule,
        "tie_rule": row.tie_rule,
        "calls": float(row.calls),
        "vs_best_single": None if difference is None else difference.mean,
        "price_a_question": None if one is None else one.price,
        "calls_a_question": None if one is None else float(one.calls),
        "prompt_tokens_a_question": None if one is None else float(one.prompt),
        "output_tokens_a_question": None if one is None else float(one.output),
        "reasoning_tokens_a_question": None if one is None else float(one.reasoning),
        "seconds_a_question": None if one is None else one.seconds,
        "list_price": None if spent is None else spent.whole.price,
        "paid_price": None if spent is None else spent.whole.paid,
        "judge_price": None if judge is None else judge.price,
        "judge_calls": None if judge is None else float(judge.calls),
    }


def placed_json(one: Placed) -> dict[str, Any]:
    """Return where a protocol stands as a JSON object."""
    row = one.row
    return {
        "name": row.name,
        "accuracy": row.accuracy,
        "price": row.price,
        "price_low": None if row.price_interval is None else row.price_interval.low,
        "price_high": None if row.price_interval is None else row.price_interval.high,
        "on_frontier": one.on_frontier,
        "dominated_by": list(one.dominated_by),
        "clearly": list(one.clearly),
    }


def cells(name: str, row: Row) -> tuple[str, ...]:
    """Return the cells of a row, in the order of `HEADER`."""
    interval = DASH
    if row.ci_low is not None and row.ci_high is not None and row.interval != "exact":
        interval = f"{100 * row.ci_low:.1f} {DASH} {100 * row.ci_high:.1f}"
    return (
        name,
        f"{row.n:,}",
        DASH if row.accuracy is None else f"{100 * row.accuracy:.1f}",
        interval,
        *(
            f"{value:,g}"
            for value in (row.calls, row.failed, row.refused, row.abstained, row.unparsed)
        ),
    )


def pair_cells(pair: Pair) -> tuple[str, ...]:
    """Return the cells of a pair, in the order of `PAIRS`."""
    return (
        pair.first,
        pair.second,
        points(pair.difference.mean),
        signed_interval(*pair.interval_holm),
        f"{pair.p_holm:.3f}",
        DASH if pair.could_show is None else f"{100 * pair.could_show:.1f}",
        f"{pair.difference.questions:,}",
    )


def pair_text(pairs: Sequence[Pair]) -> str:
    """Return pairs as text."""
    return aligned(PAIRS, [pair_cells(pair) for pair in pairs], left=2)


def aligned(header: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """Return a table as text: `left` columns of words, then figures to the right."""
    lines = [header, *rows]
    widths = [max(len(line[place]) for line in lines) for place in range(len(header))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if place < left else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def html(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table as HTML."""
    head = "".join(f"<th>{escape(name)}</th>" for name in header)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
