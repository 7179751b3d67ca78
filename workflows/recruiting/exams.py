"""Exams: every expert answers the validation questions alone, and is graded.

An exam is an ordinary run with one row for each expert, so that it resumes, is priced and kept
like any other, and another expert or more questions ask only what is new. Where skills are named
by an expert, the annotation is one more row of the same run. What comes out is graded against the
answer key and summed up by skill; ``profiling.py`` keeps it.

Price: |V| (p + E) calls for |V| questions, p annotation passes a question (5; 0 where no expert
names skills) and E experts. The bench on which an aggregator is chosen takes |V| E more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from agents.annotators import AnnotatorName, annotator_called
from agents.grading import grade
from agents.profile_file import Measured, content_of, measured_on
from protocols.annotation import ANNOTATOR, RULE
from protocols.errors import Mistake
from protocols.evidence import MISSING, RIGHT, WRONG, CostUnit, Evidence, EvidenceQuestion
from protocols.outcome import Outcome
from protocols.question import Question
from workflows.comparing.results import NAMES_SKILLS
from workflows.questions.answer_key import AnswerKey
from workflows.settings.configuration import ProtocolSpec, RoleCast, Workflow

if TYPE_CHECKING:
    from orchestrator.store import RunRow, SessionRow, Store

EXAM = "exam "
"""What the rows of an exam are called: this, and the expert."""
_CHARACTERS_A_TOKEN = 4  # of engines without a tokenizer, see agents/counting.py


@dataclass(frozen=True, slots=True)
class Price:
    """What it took to measure a profile, as if all of it were paid today."""

    questions: int
    experts: int
    exam_calls: int
    """Asks of the experts: |V| E, where none is left out."""
    annotation_calls: int
    """Asks of the annotator: |V| times its passes."""
    bench_calls: int
    """What a bench of aggregators on the same questions would take beside: |V| E."""
    usd: float | None
    """List price of the calls made; None where the price of an expert is not known."""

    def as_json(self) -> dict[str, Any]:
        """Return the price as a JSON object."""
        return {
            "questions": self.questions,
            "experts": self.experts,
            "exam_calls": self.exam_calls,
            "annotation_calls": self.annotation_calls,
            "calls": self.exam_calls + self.annotation_calls,
            "bench_calls": self.bench_calls,
            "usd": self.usd,
        }


@dataclass(frozen=True, slots=True)
class Exam:
    """What a run measured."""

    run: str
    measured: Measured
    price: Price
    notes: tuple[str, ...] = ()
    """What was left out, and who could not be measured."""


@dataclass
class _Found:
    """What is read off the sessions of a run."""

    questions: dict[str, Question] = field(default_factory=dict)
    answers: dict[str, dict[str, str | None]] = field(default_factory=dict)
    """Expert -> question id -> answer; absent where it is missing."""
    skills: dict[str, tuple[str, ...]] = field(default_factory=dict)
    unread: int = 0
    """Questions that the annotator was asked about in vain."""
    entries: dict[str, str] = field(default_factory=dict)
    """Expert -> its row of the run."""


def exam_workflow(
    workflow: Workflow,
    pool: Sequence[str],
    *,
    skills: AnnotatorName = "subject",
    annotator: str | None = None,
    menu: Any = (),
) -> Workflow:
    """Return the workflow that measures experts on another workflow's questions.

    Args:
        workflow: names questions, experts, store, seed, budget and fleet; its protocols are not
            run, but an ``annotate_skills`` among them says who names skills, and how.
        pool: the experts that are measured.
        skills: who names the skills.
        annotator: the expert that does, where one does; by default who is cast for it.
        menu: the closed menu, for ``menu``.

    Raises:
        Mistake: there is nobody to measure, or nobody to name skills.
    """
    if not pool:
        raise Mistake("nobody to measure: name experts, with --pool A,B or as pool in the workflow")
    specs = [_exam(label) for label in dict.fromkeys(pool)]
    if annotator_called(skills).asks_model:
        specs.append(annotation_spec(workflow, skills, annotator, menu))
    own = f"{workflow.name}-experts" if workflow.name else None
    changes: dict[str, Any] = {
        "name": own,
        "protocols": tuple(specs),
        "pool": tuple(dict.fromkeys(pool)),
        "profile": None,
        "crossplay": None,
        "teams": {},
        "cast": {},
        "assets": {},
    }
    made = workflow.model_copy(update=changes)
    made._stem = "experts" if workflow.stem == "profile" else f"{workflow.stem}-experts"
    return made


def _exam(label: str) -> ProtocolSpec:
    from protocols.plurality import SOLVER, Plurality

    return ProtocolSpec(
        kind=Plurality.kind,
        name=f"{EXAM}{label}",
        cast={SOLVER: RoleCast(experts=(label,))},
        parameters=Plurality().parameters(),
    )


def annotation_spec(
    workflow: Workflow, skills: AnnotatorName, annotator: str | None, menu: Any
) -> ProtocolSpec:
    """Return the row that names skills: what the workflow says, but for what is given.

    Raises:
        Mistake: there is nobody to name them, or no menu to choose from.
    """
    from protocols.registry import make_protocol

    written = next((spec for spec in workflow.protocols if spec.kind == NAMES_SKILLS), None)
    parameters = dict(written.parameters) if written else {}
    if skills == "annotated":
        parameters["menu"] = ()
    elif menu:
        parameters["menu"] = menu
        parameters.setdefault("passes", annotator_called(skills).passes)
    if skills == "menu" and not parameters.get("menu"):
        raise Mistake("--skills menu needs a menu; write  --menu SKILL,SKILL or --menu FILE")
    said = (written.cast if written else {}).get(ANNOTATOR) or workflow.cast.get(ANNOTATOR)
    if annotator is None and said is None:
        raise Mistake(f"--skills {skills} needs an expert that names them; write --annotator NAME")
    cast = said if annotator is None else RoleCast(experts=(annotator,))
    assert cast is not None
    checked = make_protocol(NAMES_SKILLS, parameters).parameters()
    return ProtocolSpec(
        kind=NAMES_SKILLS, name="skills", cast={ANNOTATOR: cast}, parameters=checked
    )


def read_exam(store: Store, run: RunRow, skills: AnnotatorName = "subject") -> Exam:
    """Grade what the experts of a run answered alone and sum it up by skill.

    Every plurality of the run counts, of one expert or of many: what an expert says there it says
    alone. A failed question without recorded score is missing; what was refused, overlong,
    malformed or could not be read is wrong.

    Raises:
        Mistake: nobody was measured on anything.
    """
    from workflows.comparing.results import WANTED, answer_key

    key = answer_key(run)
    sessions = store.sessions(run.id, statuses=WANTED)
    found = _read(store, sessions)
    annotated = annotator_called(skills).asks_model
    experts = sorted({*found.answers, *found.entries, *_examined(sessions)})
    notes: list[str] = []
    evidence = _evidence(found, key, experts, annotated=annotated, notes=notes)
    if annotated and found.unread:
        notes.append(f"{found.unread} questions have no skill: the annotator named none twice")
    measured = Measured.of(_with_costs(evidence, store, run, found), skills)
    for expert in experts:
        if not measured.profile.asked.get(expert):
            notes.append(f"{expert}: failed on every question, so nothing was measured")
    if not any(measured.profile.asked.values()):
        raise Mistake(
            f"run {run.name}: nobody was measured: no expert answered a question whose answer is "
            "known"
        )
    return Exam(run.name, measured, _price(store, run, sessions, len(experts)), tuple(notes))


def _examined(sessions: Sequence[SessionRow]) -> set[str]:
    """Return the experts that the rows of an exam are about, answered or not."""
    return {s.entry.removeprefix(EXAM) for s in sessions if s.entry.startswith(EXAM)}


def _read(store: Store, sessions: Sequence[SessionRow]) -> _Found:
    from orchestrator.rebuild import Rebuilder
    from workflows.comparing.results import session_outcome

    found = _Found()
    rebuilder = Rebuilder(store)
    rebuilder.preload(sessions)
    for session in sessions:
        outcome = session_outcome(session)
        if outcome is None or session.kind not in ("plurality", NAMES_SKILLS):
            continue
        if session.question_id not in found.questions:
            found.questions[session.question_id] = rebuilder.question(session)
        if session.kind == NAMES_SKILLS:
            _read_skills(found, session.question_id, outcome)
            continue
        for expert, answer in dict(outcome.detail.get("answers") or {}).items():
            found.answers.setdefault(expert, {})[session.question_id] = answer
        if outcome.answered_by is not None:
            found.entries[outcome.answered_by] = session.entry
    return found


def _read_skills(found: _Found, question: str, outcome: Outcome) -> None:
    named = outcome.detail.get("skills") if outcome.rule == RULE else None
    skills = tuple(sorted(named)) if isinstance(named, dict) else ()
    found.skills[question] = skills
    found.unread += not skills


def _evidence(
    found: _Found,
    key: AnswerKey,
    experts: Sequence[str],
    *,
    annotated: bool,
    notes: list[str],
) -> Evidence:
    """Return the graded answers; a question that stands twice counts once."""
    kept: dict[tuple[str, tuple[str, ...]], EvidenceQuestion] = {}
    twice = unknown = 0
    for id, question in sorted(found.questions.items()):
        if id not in key.gold and not any(id in flags for flags in key.flags.values()):
            unknown += 1
            continue
        skills = found.skills.get(id, ()) if annotated else None
        entry = EvidenceQuestion.of(question, skills)
        twice += content_of(entry) in kept
        kept.setdefault(content_of(entry), entry)
    if unknown:
        notes.append(f"{unknown} questions have no gold answer and are left out")
    if twice:
        notes.append(f"{twice} questions stand there twice and count once")
    questions = tuple(kept.values())
    graded = {expert: [_graded(found, key, expert, q.id) for q in questions] for expert in experts}
    answered = {
        expert: tuple(found.answers.get(expert, {}).get(q.id) for q in questions)
        for expert in experts
        if expert in found.answers
    }
    return Evidence(
        questions=questions,
        right={expert: "".join(flags) for expert, flags in graded.items()},
        answers=answered,
        measured_on=measured_on(questions),
    )


def _graded(found: _Found, key: AnswerKey, expert: str, question: str) -> str:
    """Return how an expert did on a question: as the source scored it, else against gold."""
    flag = key.flags.get(expert, {}).get(question)
    if flag is not None:
        return RIGHT if flag == 1 else WRONG
    answers = found.answers.get(expert, {})
    if question not in answers or question not in key.gold:
        return MISSING
    return RIGHT if grade(answers[question], key.gold[question], key.kinds[question]) else WRONG


def _with_costs(evidence: Evidence, store: Store, run: RunRow, found: _Found) -> Evidence:
    """Return the evidence with the mean price of one answer.

    In US dollars where every expert has a list price, else in characters that were written (four
    a token).
    """
    from workflows.comparing.results import WANTED

    totals = store.totals(run.id, statuses=WANTED)
    mine = {e: totals[row] for e, row in found.entries.items() if totals[row]["asks"]}
    dollars = {e: t["list_price"] / t["asks"] for e, t in mine.items()}
    written = {
        e: _CHARACTERS_A_TOKEN * t["completion_tokens"] / t["attempts"] for e, t in mine.items()
    }
    cost, unit = dollars, _unit(dollars)
    if not unit and any(written.values()):
        cost, unit = written, "characters"
    if not unit:
        return evidence
    rounded = {expert: float(f"{value:.12g}") for expert, value in sorted(cost.items())}
    return evidence.model_copy(update={"cost": rounded, "cost_unit": unit})


def _unit(dollars: Mapping[str, float]) -> CostUnit:
    return "usd" if dollars and all(value > 0.0 for value in dollars.values()) else ""


def _price(store: Store, run: RunRow, sessions: Sequence[SessionRow], experts: int) -> Price:
    from agents.engines import price_of
    from orchestrator.run import stored_roster
    from protocols.replies import Usage
    from workflows.comparing.results import WANTED

    totals = store.totals(run.id, statuses=WANTED)
    naming = {s.entry for s in sessions if s.kind == NAMES_SKILLS}
    exams = {s.entry for s in sessions if s.kind == "plurality"}
    questions = len({s.question_id for s in sessions if s.entry in exams})
    some = Usage(prompt_tokens=1, completion_tokens=1)
    priced = all(price_of(expert, some) is not None for expert in stored_roster(run).values())
    spent = sum(totals[entry]["list_price"] for entry in {*naming, *exams} if entry in totals)
    return Price(
        questions=questions,
        experts=experts,
        exam_calls=sum(totals[entry]["asks"] for entry in exams if entry in totals),
        annotation_calls=sum(totals[entry]["asks"] for entry in naming if entry in totals),
        bench_calls=questions * experts,
        usd=spent if priced else None,
    )
