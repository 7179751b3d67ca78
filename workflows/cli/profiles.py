"""Profiles on the terminal: experts, their skills, and what it took to measure them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agents.annotators import ANNOTATORS
from workflows.cli.screen import DASH, number, put, put_table
from workflows.cli.tables import put_wrapped
from workflows.recruiting.profile_table import ExpertLine, common_skills, expert_lines, shortened

if TYPE_CHECKING:
    from agents.profile_file import Measured
    from workflows.recruiting.exams import Price

SKILLS_SHOWN = 20
SKILL_WIDTH = 40
BEST_WIDTH = 26
HEADER = ("", "expert", "accuracy", "questions", "competency", "best at", "worst at")


def put_measured(measured: Measured) -> None:
    """Print a table of the experts, and one of their accuracy by skill."""
    lines = expert_lines(measured)
    skills = common_skills(lines)
    put_table(
        HEADER,
        [(f"[{place}]", *_cells(line)) for place, line in enumerate(lines, start=1)],
        left=2,
    )
    put()
    about = ANNOTATORS[measured.skills_by].about
    put_wrapped(
        f"Measured on {number(len(measured.evidence.questions))} questions. Skills: {about}. "
        "Competency: right less wrong answers, over all skills."
    )
    if not skills:
        put_wrapped("No question has a skill, so experts can only be told apart by accuracy.")
        return
    put()
    numbers = [f"[{place}]" for place in range(1, len(lines) + 1)]
    put_table(
        ("skill", "questions", *numbers),
        [_skill_cells(skill, lines) for skill in skills[:SKILLS_SHOWN]],
    )
    put()
    put_wrapped("Accuracy by skill, in per cent; the columns are the experts above.")
    if len(skills) > SKILLS_SHOWN:
        put_wrapped(
            f"{number(len(skills) - SKILLS_SHOWN)} more skills, of fewer questions, are in --json."
        )


def _cells(line: ExpertLine) -> tuple[str, ...]:
    if line.accuracy is None:
        return (line.expert, DASH, "0", DASH, DASH, DASH)
    ranked = sorted(line.skills, key=lambda skill: (-line.skills[skill].score, skill))
    best, worst = (ranked[0], ranked[-1]) if ranked else (DASH, DASH)
    return (
        line.expert,
        f"{100 * line.accuracy:.1f}",
        number(line.asked),
        _signed(line.competency),
        shortened(best, BEST_WIDTH),
        shortened(worst, BEST_WIDTH),
    )


def _skill_cells(skill: str, lines: list[ExpertLine]) -> tuple[str, ...]:
    cells = [line.skills.get(skill) for line in lines]
    most = max((cell.asked for cell in cells if cell), default=0)
    shares = [f"{100 * cell.right / cell.asked:.0f}" if cell else DASH for cell in cells]
    return (shortened(skill, SKILL_WIDTH), number(most), *shares)


def _signed(value: float) -> str:
    return f"{value:+,.0f}".replace("-", "\N{MINUS SIGN}")


def put_price(price: Price) -> None:
    """Say what it takes to measure this profile, in calls and money."""
    calls = price.exam_calls + price.annotation_calls
    money = (
        "the price of an expert is not known"
        if price.usd is None
        else f"list price {price.usd:,.4f} USD"
    )
    put()
    put_wrapped(
        f"Set-up: {number(calls)} calls ({number(price.annotation_calls)} to name skills, "
        f"{number(price.exam_calls)} answers of {price.experts} experts to "
        f"{number(price.questions)} questions), {money}. A bench of aggregators on the same "
        f"questions takes {number(price.bench_calls)} more."
    )
