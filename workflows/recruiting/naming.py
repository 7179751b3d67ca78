"""Skills of new questions, named as those of a profile were, and read as skills that it knows.

Both are computed once, outside sessions, and enter them as assets: ``skills`` (question -> skills)
and ``matches`` (unseen skill -> known skill).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, get_args

from agents.annotators import AnnotatorName
from agents.profile_file import Measured
from agents.roster import Expert
from protocols.annotation import RULE
from protocols.cast import Asset
from protocols.errors import Mistake
from protocols.similarity import SimilarityName, named_similarity
from protocols.skills import SKILLS, check_skills
from workflows.recruiting.profiling import annotator_of
from workflows.settings.configuration import Workflow

if TYPE_CHECKING:
    from orchestrator.store import RunRow, Store


def naming_workflow(
    workflow: Workflow, skills: AnnotatorName, annotator: str | None, menu: Any
) -> Workflow:
    """Return the workflow in which an expert names the skills of another workflow's questions.

    Raises:
        Mistake: there is nobody to name them.
    """
    from workflows.recruiting.exams import annotation_spec

    changes: dict[str, Any] = {
        "name": f"{workflow.name}-skills" if workflow.name else None,
        "protocols": (annotation_spec(workflow, skills, annotator, menu),),
        "profile": None,
        "crossplay": None,
        "teams": {},
        "cast": {},
        "assets": {},
    }
    made = workflow.model_copy(update=changes)
    made._stem = f"{workflow.stem}-skills"
    return made


def read_skills(store: Store, run: RunRow) -> dict[str, list[str]]:
    """Return the skills that an expert named in a run, by question id; none where it failed."""
    from workflows.comparing.results import WANTED, session_outcome

    found: dict[str, list[str]] = {}
    for session in store.sessions(run.id, statuses=WANTED):
        outcome = session_outcome(session)
        if outcome is not None and outcome.rule == RULE:
            found[session.question_id] = sorted(outcome.detail.get("skills") or {})
    return dict(sorted(found.items()))


def named_like(measured: Measured, workflow: Workflow) -> dict[str, list[str]]:
    """Return the skills of a workflow's questions, by id, named as a profile's were.

    Raises:
        Mistake: an expert named them, so that an expert must be asked.
    """
    from workflows.questions.data_files import load_questions

    name = annotator_of(measured)
    if name is None:
        raise Mistake("the profile's skills were named by an expert; write --annotator NAME")
    questions = load_questions(workflow.questions).questions
    return {question.id: list(name(question)) for question in questions}


def matches_of(
    skills: Mapping[str, Any],
    known: Iterable[str],
    by: str,
    roster: Mapping[str, Expert] | None = None,
) -> dict[str, str]:
    """Return which known skill each unseen one stands for.

    Args:
        skills: question -> its skills.
        known: the skills that experts were measured in.
        by: ``tfidf``, ``trigram``, or an embedding expert: a label in the roster, or
            ``provider/model``.
        roster: experts by label.

    Raises:
        Mistake: `skills` is something else, or there is no such similarity.
    """
    from agents.embedding import embedded_similarity, make_embedder, nearest_known

    check_skills(Asset.model_validate({"kind": SKILLS, "content": skills}))
    names = {skill for found in skills.values() for skill in found}
    there = sorted(set(known))
    if by in get_args(SimilarityName):
        return nearest_known(names, there, named_similarity(_simple(by), there))
    expert = dict(roster or {}).get(by)
    if expert is None:
        if "/" not in by:
            there_is = ", ".join([*get_args(SimilarityName), *(roster or ())])
            raise Mistake(f"no similarity {by!r}; there is {there_is}, or provider/model")
        expert = Expert(label=by, model=by)
    if not names - set(there):
        return {}
    embedder = make_embedder(expert)
    return nearest_known(names, there, embedded_similarity({*names, *there}, embedder))


def _simple(by: str) -> SimilarityName:
    return "trigram" if by == "trigram" else "tfidf"
