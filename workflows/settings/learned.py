"""Assets that are made of what is finished: recorded answers, or the sessions of a run.

===============  =================================================================================
``bench``        three recorded answers a question, one right and two wrong; candidates for
                 aggregator are tried on it by the protocol ``aggregator_bench``
``aggregators``  what such a run found: who is chosen, for which task
``memory``       past problems with the best solution that a run found to each
===============  =================================================================================

A fuser needs none of them: its weights follow from the evidence of the profile.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from protocols.aggregator_bench import AggregatorBench, bench_material
from protocols.aggregators import AGGREGATOR, AggregatorScores, Per
from protocols.cast import Asset
from protocols.errors import Mistake
from protocols.evidence import RIGHT, Evidence, EvidenceQuestion
from protocols.memory import MEMORY, Memory, next_memory
from protocols.plurality import Plurality
from protocols.question import Question
from workflows.comparing.results import WANTED, answer_key, session_outcome
from workflows.questions.fields import options_meant
from workflows.questions.sources import PACKED, open_source, read_rows
from workflows.settings.sections import ProfileSpec

if TYPE_CHECKING:
    from orchestrator.store import RunRow, Store

Texts = dict[str, dict[str, str]]
"""Expert -> question id -> what it wrote, in full."""


@dataclass(frozen=True, slots=True)
class Bench:
    """What candidates for aggregator are tried on."""

    content: dict[str, list[str]]
    """Question id -> three answers, one of them right; the asset ``bench``."""
    questions: tuple[dict[str, Any], ...]
    """The questions of it, as rows that a workflow reads, with their gold answers."""


def is_file(source: str) -> bool:
    """Whether `source` means a file rather than the name of a run."""
    return (
        source.startswith(PACKED)
        or Path(source).suffix in (".gz", ".json", ".jsonl")
        or Path(source).is_file()
    )


def read_bench(source: str, store: str, texts: str | None = None, *, seed: int = 0) -> Bench:
    """Return the bench that graded answers give.

    Args:
        source: a file of recorded answers, what ``moot experts profile --out`` wrote, or a run in
            which experts answered: measured by ``moot experts profile``, or with a plurality.
        store: where runs are.
        texts: a file of what was written, one JSON object a line with ``id``, ``model`` and
            ``text``; without it bare answers are shown, and of a run what its experts wrote.
        seed: which of several answers are taken.

    Raises:
        Mistake: there is no such file or run, or it holds no question with one right and two
            wrong answers.
    """
    from workflows.recruiting.measuring import profile_source

    written: Texts = {}
    if is_file(source):
        found = profile_source(ProfileSpec(path=source), store)
        evidence = found.skilled({model: model for model in found.experts}).evidence
    else:
        evidence, written = _from_run(source, store)
    if evidence is None:
        raise Mistake(
            f"{source}: holds sums by skill alone, not who answered what; export it again with  "
            "moot experts profile --out FILE"
        )
    if texts is not None:
        written = read_texts(texts)
    try:
        return bench_of(evidence, written, seed=seed)
    except Mistake as mistake:
        raise Mistake(f"{source}: {mistake}") from None


def bench_of(evidence: Evidence, texts: Texts | None = None, *, seed: int = 0) -> Bench:
    """Return the bench that evidence gives; see :func:`protocols.aggregator_bench.bench_material`.

    The gold answer of a question is the one that most of the experts gave who were right.

    Raises:
        Mistake: no question has one right and two wrong answers.
    """
    content: Any = bench_material(evidence, texts, seed=seed).content
    rows = []
    for number, question in enumerate(evidence.questions):
        if question.id in content:
            right = Counter(
                str(answers[number])
                for expert, answers in sorted(evidence.answers.items())
                if evidence.right[expert][number] == RIGHT and answers[number] is not None
            )
            gold = min(right, key=lambda answer: (-right[answer], answer))
            row = question.model_dump(mode="json", exclude={"skills"})
            told = {name: value for name, value in row.items() if value}
            rows.append(told | {"gold": _written(gold, question)})
    return Bench(content, tuple(rows))


def _written(gold: str, question: EvidenceQuestion) -> str:
    """Return a gold answer so that no reader can take it for another option: options may be "B"."""
    asked = Question(id=question.id, text=question.text, options=question.options)
    forms = [gold]
    if gold in asked.labels:
        place = asked.labels.index(gold)
        forms += [question.options[place].strip(), str(place)]
    return next((form for form in forms if options_meant(form, asked) == {gold}), gold)


def read_texts(path: str) -> Texts:
    """Return what models wrote, from a file with ``id``, ``model`` and ``text`` in each line.

    Raises:
        Mistake: there is no such file, or a line lacks one of them.
    """
    found: Texts = {}
    for row in read_rows(open_source(path)):
        id, model, text = (row.values.get(name) for name in ("id", "model", "text"))
        if not (isinstance(id, str) and isinstance(model, str) and isinstance(text, str)):
            raise Mistake(f"{row.at}: needs 'id', 'model' and 'text', each a text")
        found.setdefault(model, {})[id] = text
    return found


def _from_run(name: str, store: str) -> tuple[Evidence, Texts]:
    """Return how the experts of a run did, and what they wrote."""
    from orchestrator.store import Store
    from workflows.api import find_run
    from workflows.exports.export import session_records
    from workflows.recruiting.exams import read_exam
    from workflows.recruiting.profiling import stored_measured

    with Store.read(store) as opened:
        run = find_run(opened, name)
        if opened.profile(run.id) is None:
            measured = read_exam(opened, run).measured
        else:
            measured = stored_measured(opened, name)[1]
        alone = [
            session
            for session in opened.sessions(run.id, statuses=("finished",))
            if session.kind == Plurality.kind
        ]
        written: Texts = {}
        for record in session_records(opened, run, alone):
            for ask in (ask for turn in record["turns"] for ask in turn):
                if ask["reply"] and ask["reply"]["text"]:
                    here = written.setdefault(ask["expert"], {})
                    here.setdefault(record["question"]["id"], ask["reply"]["text"])
    return measured.evidence, written


def bench_scores(store: Store, run: RunRow, *, per: Per = "all", least: int = 5) -> Asset:
    """Return the asset ``aggregators``: what a run of ``aggregator_bench`` found.

    Args:
        store: open for reading.
        run: with one row of the bench for each candidate.
        per: whether every category gets the candidate that is best in it.
        least: a category for which no candidate was asked as often goes by all questions.

    Raises:
        Mistake: the run has no graded session of the bench.
    """
    from orchestrator.rebuild import Rebuilder

    key, rebuilder = answer_key(run), Rebuilder(store)
    sessions = [
        one for one in store.sessions(run.id, statuses=WANTED) if one.kind == AggregatorBench.kind
    ]
    rebuilder.preload(sessions)
    graded: list[tuple[str, str, bool]] = []
    for session in sessions:
        outcome = session_outcome(session)
        correct = None if outcome is None else key.correctness(outcome, session.question_id)
        if correct is not None:
            candidate = rebuilder.cast(session).role(AGGREGATOR)[0].expert
            task = rebuilder.question(session).category
            graded.append((candidate, task, correct > 0.5))
    try:
        return AggregatorScores.of(graded, per=per, least=least).as_asset()
    except Mistake as mistake:
        raise Mistake(f"run {run.name}: {mistake}") from None


def run_memory(
    store: Store, run: RunRow, memory: Memory | None = None, *, most: int | None = None
) -> Memory:
    """Return a memory with the best solutions of a run added.

    Args:
        store: open for reading.
        run: whose sessions tell a best solution, as those of ``xolver`` do.
        memory: what is added to; by default an empty one.
        most: how many problems stay, the best scored ones.

    Raises:
        Mistake: no session of the run tells a solution.
    """
    from orchestrator.rebuild import Rebuilder

    rebuilder = Rebuilder(store)
    sessions = store.sessions(run.id, statuses=("finished",))
    rebuilder.preload(sessions)
    solved = []
    for session in sessions:
        outcome = session_outcome(session)
        if outcome is not None:
            solved.append((rebuilder.question(session), outcome))
    if not next_memory(Memory(), solved).entries:
        raise Mistake(
            f"run {run.name}: no session tells a scored solution to remember; run the protocol "
            "xolver, whose judge scores them"
        )
    return next_memory(memory or Memory(), solved, most=most)


def read_memory(path: str) -> Memory:
    """Read a memory that ``moot experts memory --out`` wrote.

    Raises:
        Mistake: there is no such file, or it holds something else.
    """
    try:
        content = json.loads(open_source(path).content.decode("utf-8-sig"))
    except (UnicodeDecodeError, ValueError, RecursionError):
        raise Mistake(f"{path}: is no memory; moot experts memory writes such a file") from None
    try:
        return Memory.from_asset(Asset(kind=MEMORY, content=content))
    except Mistake as mistake:
        raise Mistake(f"{path}: {mistake}") from None


def chosen_by_task(asset: Asset) -> Mapping[str, str]:
    """Return whom an asset ``aggregators`` chooses, by task; "" stands for all others."""
    return AggregatorScores.from_asset(asset).chosen
