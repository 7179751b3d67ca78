"""The verb that tells how good judges are: judges."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, get_args

import typer

from protocols.errors import Mistake
from workflows.cli import options
from workflows.cli.screen import DASH, number, put, put_json, put_table
from workflows.cli.tables import p_text, put_wrapped
from workflows.comparing.findings import points, signed_interval
from workflows.comparing.wording import counted_of

if TYPE_CHECKING:
    from workflows.judges.agreement import AgreementFigures
    from workflows.judges.calibration import After, ForecastFigures, Kept
    from workflows.judges.figures import Excess, JudgeFigures
    from workflows.judges.panels import Panels
    from workflows.judges.report import JudgeReport
    from workflows.judges.verdicts import Rule, Tie, VerdictSet
    from workflows.statistics.intervals import MeanOutcome

BOTH = ("flips", "first", "both right", "consistent")
"""Columns that need both orders."""
JUDGES = ("judge", "n", "accuracy", "95 % interval", *BOTH, "ties", "unread")
BIAS = (
    "judge",
    "longer",
    "gold longer",
    "less gold",
    "own answer",
    "gold own",
    "triples",
    "broken",
)
AGREE = ("judge", "with", "same", "95 % interval", "kappa", "pairs", "unread")
PANELS = ("panel", "accuracy", "95 % interval", "ties", "vs equal", "p", "p (Holm)")
CALIBRATION = (
    *("calibration", "n", "accuracy", "Brier", "log2 score", "ECE", "ECE if calibrated"),
    *("Brier less before", "p"),
)
HOW = {
    "fitted": "",
    "nothing": " (nothing to fit on)",
    "even": " (all alike)",
    "bound": " (at its bound)",
}
"""How a map was fitted."""


def judges(
    target: Annotated[
        list[str] | None,
        typer.Argument(metavar="FILE|RUN", help="Recorded votes or sessions, or a stored run."),
    ] = None,
    *,
    sessions: Annotated[
        list[str] | None,
        typer.Option("--sessions", metavar="FILE", help="Also a file of debate sessions. Repeats."),
    ] = None,
    rule: Annotated[
        str, typer.Option(metavar="sum|agree|mean|first", help="How both orders become a verdict.")
    ] = "sum",
    tie: Annotated[
        str | None,
        typer.Option(metavar="half|wrong", help="What a tie counts; by default as the source."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the bootstraps, folds and splits.")] = 0,
    store: options.Store = "moot.db",
    as_json: options.Json = False,
) -> None:
    """Tell how good judges are: accuracy, order and length bias, panels, calibration.

    Example: moot judges votes.jsonl --sessions debates.jsonl
    """
    from workflows.judges.report import judge_report

    how, scored = _rule(rule), _tie(tie)
    named = [*(target or []), *(sessions or [])]
    if not named:
        raise Mistake("name a file of recorded votes or debate sessions, or a run")
    sets = [_verdicts(one, store) for one in named]
    reports = [judge_report(found, how, scored, seed=seed) for found in sets]
    if as_json:
        put_json({"sets": [one.as_json() for one in reports]})
        return
    for place, one in enumerate(reports):
        if place:
            put()
        _put_report(one)


def _rule(text: str) -> Rule:
    from workflows.judges.verdicts import RULES

    for one in RULES:
        if one == text:
            return one
    raise Mistake(f"--rule {text!r}: there is {', '.join(RULES)}")


def _tie(text: str | None) -> Tie | None:
    from workflows.judges.verdicts import Tie as Ties

    if text is None:
        return None
    for one in get_args(Ties):
        if one == text:
            chosen: Tie = one
            return chosen
    raise Mistake(f"--tie {text!r}: a tie counts half, or is wrong")


def _verdicts(target: str, store: str) -> VerdictSet:
    """Return the verdicts of a file, or of a run where there is no such file."""
    from pathlib import Path

    from workflows.judges.run_verdicts import verdicts_of_run
    from workflows.judges.sources import verdicts_of_file
    from workflows.questions.sources import PACKED

    place = Path(target).expanduser()
    if target.startswith(PACKED) or place.exists():
        return verdicts_of_file(target)
    if place.suffix or len(place.parts) > 1:
        raise Mistake(f"{target}: no such file; check the path, or name a run of --store")
    return verdicts_of_run(target, store=store)


def _put_report(found: JudgeReport) -> None:
    put_wrapped(
        f"{found.name}: {counted_of(found.pairs, 'pair')} in {counted_of(found.clusters, 'unit')}, "
        f"{counted_of(len(found.judges), 'judge')}; rule: {found.rule}, a tie "
        f"{'counts half' if found.tie == 'half' else 'is wrong'}"
    )
    put()
    _put_judges(found)
    _put_bias(found.judges)
    if found.agreement is not None:
        _put_agreement(found.agreement)
    _put_panels(found.panels)
    if found.calibration:
        _put_calibration(found)


def _put_judges(found: JudgeReport) -> None:
    """Print the table of judges, and how to read it."""
    both = any(one.two_orders for one in found.judges)
    header = JUDGES if both else tuple(name for name in JUDGES if name not in BOTH)
    rows = []
    for one in found.judges:
        name = f"{one.judge} *" if one.person else one.judge
        cells = [name, number(one.accuracy.n), _percent(one.accuracy), _interval(one.accuracy)]
        if both:
            shares = (one.flips, one.first_position, one.both_right, one.consistent)
            cells += [_percent(share) for share in shares]
        rows.append((*cells, _percent(one.ties), number(one.unread)))
    put_table(header, rows)
    put()
    for line in _reading(found, both):
        put_wrapped(line)


def _reading(found: JudgeReport, both: bool) -> list[str]:
    """Say what the columns are, and what could not be computed."""
    lines = [f"{note[0].upper()}{note[1:]}." for note in found.notes]
    if both:
        lines.append(
            "In per cent. Flips: votes that change with the order; first: votes for the answer "
            "shown first, 50 without bias; both over verdicts with both orders read. Both right, "
            "consistent: over verdicts asked in both orders. Unread verdicts are not correct."
        )
    else:
        lines.append(
            "One order was recorded: flips, first-position share and consistency cannot be "
            "computed. Unread verdicts are not correct."
        )
    missing = sum(one.missing for one in found.judges)
    if missing:
        lines.append(f"{missing:,} verdicts are missing and are in no denominator.")
    if len({one.verdicts for one in found.judges}) > 1 and found.panels is not None:
        lines.append(
            "Not all judges were asked on the same pairs: accuracies compare only where n is that "
            "of the same pairs."
        )
    if any(one.person for one in found.judges):
        lines.append("*: one of the people whose majority is the gold answer.")
    return lines


def _put_bias(judges: tuple[JudgeFigures, ...]) -> None:
    """Print how often judges take longer answers and their own, and which triples are broken."""
    own = any(one.own for one in judges)
    triples = any(one.transitivity.triples for one in judges)
    if not (own or triples or any(one.length for one in judges)):
        return
    wanted = [0, 1, 2, 3, *((4, 5) if own else ()), *((6, 7) if triples else ())]
    rows = []
    for one in judges:
        cells = (
            one.judge,
            *_excess(one.length),
            *_excess(one.own)[:2],
            number(one.transitivity.triples),
            number(one.transitivity.broken),
        )
        rows.append([cells[place] for place in wanted])
    put()
    put_table([BIAS[place] for place in wanted], rows)
    put()
    put_wrapped(
        "Longer: verdicts for the longer answer, in per cent, beside the gold answers that are the "
        "longer one on the same pairs; less gold: the paired difference in points over units."
    )
    if not own:
        put_wrapped("Self-preference cannot be computed: no pair names a judge's own model.")
    if triples:
        put_wrapped("Broken: triples of answers ordered in a way that no ranking allows.")


def _excess(found: Excess | None) -> tuple[str, str, str]:
    if found is None:
        return DASH, DASH, DASH
    difference = found.difference
    told = f"{points(difference.mean)} {signed_interval(*difference.interval)}"
    return _percent(found.chosen), f"{100 * found.gold:.1f}", told


def _put_agreement(found: AgreementFigures) -> None:
    rows = [
        (
            one.first,
            one.second,
            _percent(one.share),
            _interval(one.share),
            DASH if one.kappa is None else f"{one.kappa:.3f}",
            number(one.share.n),
            number(one.unread),
        )
        for one in found.pairs
    ]
    put()
    put_table(AGREE, rows, left=2)
    put()
    for group in found.groups:
        alpha = "not defined" if group.alpha is None else f"{group.alpha:.3f}"
        put_wrapped(f"Krippendorff's alpha of {group.judges} {group.name}: {alpha}")


def _put_panels(found: Panels | None) -> None:
    put()
    if found is None:
        put_wrapped("No panel: no pair with a gold answer was judged by two of the judges.")
        return
    rows = []
    for one in found.panels:
        difference = one.difference
        told, p = (
            ("", "")
            if difference is None
            else (
                f"{points(difference.mean)} {signed_interval(*difference.interval)}",
                p_text(difference.p_value),
            )
        )
        adjusted = "" if one.p_holm is None else p_text(one.p_holm)
        accuracy = (_percent(one.accuracy), _interval(one.accuracy))
        rows.append((one.name, *accuracy, number(one.ties), told, p, adjusted))
    put_table(PANELS, rows)
    put()
    fitted = (
        f"weights by {found.folds}-fold cross-validation over units"
        if found.folds > 1
        else "no weights: all pairs are one unit, so that none are left to fit them on"
    )
    put_wrapped(
        f"Panels of {len(found.judges):,} judges on {found.items:,} pairs in {found.clusters:,} "
        f"units; {fitted}. Vs equal: paired difference from the equal-vote panel, in points."
    )
    for one in found.panels:
        if one.silent:
            put_wrapped(f"{one.name}: nobody could be read on {one.silent:,} pairs; not correct.")


def _put_calibration(found: JudgeReport) -> None:
    """Print probabilities before and after calibration, and what abstaining would leave."""
    rows = []
    for one in found.calibration:
        heated = f"  temperature {one.temperature.value:.2f}{HOW[one.temperature.how]}"
        rows.append((one.name, *_forecasts(one.before), "", ""))
        rows.append((heated, *_after(one.after_temperature)))
        rows.append((f"  isotonic{HOW[one.isotonic.how]}", *_after(one.after_isotonic)))
    put()
    put_table(CALIBRATION, rows)
    put()
    counts = ", ".join(
        f"{one.name} on {one.fitted_on:,} in {one.fitted_clusters:,}" for one in found.calibration
    )
    put_wrapped(
        f"Measured on half of the units, fitted on the other half (seed {found.seed}): {counts} "
        "units. Brier: 0 is best; log2 score: 0 is best, -1 is a coin's; a tie counts half here. "
        "Brier less before: paired over units; below 0 calibration helped."
    )
    sources = sorted({source for one in found.judges for source in one.sources})
    if len(sources) > 1:
        put_wrapped(f"Probabilities from {', '.join(sources)} are not comparable.")
    put()
    thresholds = [f"{kept.threshold:g}" for kept in found.calibration[0].curve]
    put_table(
        ("abstaining below", *thresholds),
        [(one.name, *map(_kept, one.curve)) for one in found.calibration],
    )
    put()
    put_wrapped("Accuracy of what is kept, and its share, before calibration; in per cent.")


def _kept(one: Kept) -> str:
    if one.accuracy is None:
        return DASH
    return f"{_percent(one.accuracy)} of {100 * one.coverage:.0f}"


def _forecasts(found: ForecastFigures) -> tuple[str, ...]:
    return (
        number(found.n),
        f"{100 * found.accuracy:.1f}",
        f"{found.brier:.3f}",
        f"{found.log2_score:.3f}",
        f"{found.ece:.4f}",
        f"{found.ece_if_calibrated:.4f}",
    )


def _after(after: After) -> tuple[str, ...]:
    found = after.brier_difference
    told = f"{found.mean:+.3f}"
    if found.method != "none":
        told += f" [{found.interval.low:+.3f}, {found.interval.high:+.3f}]"
    return (*_forecasts(after.figures), told, p_text(found.p_value))


def _percent(found: MeanOutcome | None) -> str:
    return DASH if found is None or found.mean is None else f"{100 * found.mean:.1f}"


def _interval(found: MeanOutcome) -> str:
    if found.interval is None or found.method == "none":
        return DASH
    return f"{100 * found.interval.low:.1f} {DASH} {100 * found.interval.high:.1f}"
