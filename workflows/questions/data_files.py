"""From the files that a workflow names to questions and their answer key.

The key leaves here beside the questions, never inside them. What a file is, its content says;
``moot:NAME`` is data that comes with moot.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from agents.recorded_file import RecordedFile, read_recorded
from agents.settings import suggestion
from protocols.canonical import canonical_json, sha256_hex
from protocols.cast import Asset
from protocols.errors import Mistake
from protocols.parsing import canonical_answer
from protocols.question import Question
from workflows.questions.answer_key import AnswerKey, make_key
from workflows.questions.fields import Item, own_items
from workflows.questions.loaders import LOADERS, recognise
from workflows.questions.pairing import pair_questions
from workflows.questions.sources import RowFormat, Source, open_source, read_rows
from workflows.recruiting.measuring import ProfileSource, profile_source
from workflows.settings.assets import load_assets
from workflows.settings.configuration import Workflow
from workflows.settings.sections import QuestionsSpec

_ROW_FORMATS: dict[str, RowFormat] = {"jsonl": "jsonl", "csv": "csv", "parquet": "parquet"}


@dataclass(frozen=True, slots=True)
class LoadedQuestions:
    """What a workflow asks, and what is right."""

    questions: tuple[Question, ...]
    """At least one, in the order of the file, with different ids."""
    key: AnswerKey
    """Joined to outcomes only when they are scored."""
    recorded: RecordedFile | None
    """The recorded answers to exactly these questions; None after pairing."""
    content_digest: str
    """SHA-256 (hex) of the file's content, whatever part of it is asked."""
    notes: tuple[str, ...] = ()
    """What was left out or changed, for people."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """All that a workflow reads."""

    questions: LoadedQuestions
    profile: ProfileSource | None = None
    """What the experts were measured on: other questions."""
    assets: Mapping[str, Asset] = field(default_factory=dict)
    """What sessions read beside their question, by name."""


def load_inputs(workflow: Workflow) -> Inputs:
    """Read the files that `workflow` names.

    Raises:
        Mistake: one of them is missing, malformed or empty; see :func:`load_questions`.
    """
    spec = workflow.profile
    profile = None if spec is None else profile_source(spec, workflow.store)
    assets: dict[str, Asset] = {}
    if workflow.assets:
        specs = (*workflow.protocols, *workflow.teams.values())
        assets = load_assets(workflow.assets, [spec.build() for spec in specs])
    return Inputs(load_questions(workflow.questions), profile, assets)


def load_questions(spec: QuestionsSpec) -> LoadedQuestions:
    """Read questions: recorded answers, votes, debates, passages, or a user's own rows.

    Raises:
        Mistake: the file is missing, unreadable or empty; a line is malformed, lacks a field, has
            an id that another has, or a gold answer that is not among its options.
    """
    source = open_source(spec.path)
    items, recorded, notes = _items(spec, source)
    _check_ids(items)
    chosen = _choose(items, spec)
    questions = tuple(item.question for item in chosen)
    gold = {item.question.id: item.gold for item in chosen if item.gold is not None}
    if not gold and (recorded is None or not recorded.flags):
        notes.append(f"{spec.path}: no gold answers, so nothing can be scored")
    if len(chosen) < len(items):
        notes.append(f"{len(chosen)} of {len(items)} questions are asked")
    if spec.pair is None:
        key = make_key(questions, gold, recorded)
    else:
        can_be = [q for q in questions if not q.options or gold.get(q.id) in q.labels]
        if not gold or not can_be:
            raise Mistake(
                f"{spec.path}: questions.pair needs a gold answer to each question, and no row has "
                "one; name its field as questions.fields.gold, or leave pair out"
            )
        questions, gold = pair_questions(can_be, gold, spec.pair, recorded)
        key, recorded = make_key(questions, gold), None
        notes.append("every question is a pair: its gold answer and one wrong answer")
    return LoadedQuestions(questions, key, recorded, source.digest, tuple(notes))


def run_name(workflow: Workflow, inputs: Inputs) -> str:
    """Return the name that the user gave, else the file's stem and a hash of the data.

    Eight hexadecimal digits of the content of the questions and of the profile: two question
    files give two runs, and the same file with another limit the same run.
    """
    if workflow.name:
        return workflow.name
    profile = None if inputs.profile is None else inputs.profile.digest
    digest = sha256_hex(canonical_json([inputs.questions.content_digest, profile]))
    return f"{workflow.stem}-{digest[:8]}"


def _items(
    spec: QuestionsSpec, source: Source
) -> tuple[list[Item], RecordedFile | None, list[str]]:
    """Return the questions of a file, its recorded answers, and what was left out."""
    row_format = _ROW_FORMATS.get(spec.format)
    rows = read_rows(source, row_format)
    kind: str = "own" if row_format else spec.format
    if kind == "auto":
        kind = "own" if spec.fields else recognise(rows[0])
    if kind == "own":
        return own_items(rows, spec.fields), None, []
    if spec.fields:
        raise Mistake(f"{spec.path}: format {kind} knows its fields; leave questions.fields out")
    if recognise(rows[0]) != kind:
        raise Mistake(f"{rows[0].at}: not a row of the format {kind}; leave questions.format out")
    if kind == "recorded":
        recorded = read_recorded(source.path)
        items, notes = _recorded_items(recorded)
        return items, recorded, notes
    loaded = LOADERS[kind](rows)
    if not loaded.items:
        raise Mistake(f"{spec.path}: holds no question that can be asked: {loaded.notes[0]}")
    return loaded.items, None, loaded.notes


def _recorded_items(recorded: RecordedFile) -> tuple[list[Item], list[str]]:
    """Return the questions of recorded answers, and what is odd about their gold answers.

    A gold answer that no answer can equal stays as it is written: whatever is answered is wrong.
    Where only correctness was recorded it is left out: there the flags score.
    """
    items, odd = [], []
    for row in recorded.rows:
        question = recorded.question(row)
        gold = _recorded_gold(row.gold, question)
        if gold is None and row.answers is not None:
            odd.append(row.id)
            gold = row.gold
        items.append(Item(question, gold, f"{recorded.path}:{row.id}"))
    if not odd:
        return items, []
    return items, [
        f"the gold answer of {odd[0]!r} is no answer to it, so nothing counts as right there"
        + (f" (and of {len(odd) - 1} more)" if len(odd) > 1 else "")
    ]


def _recorded_gold(written: str, question: Question) -> str | None:
    """Return a gold answer in canonical form; of a choice also when its option is written out."""
    gold = canonical_answer(written, question.kind)
    if not question.options or gold in question.labels:
        return gold
    same = [
        label
        for label, option in zip(question.labels, question.options, strict=True)
        if canonical_answer(option, "text") == canonical_answer(written, "text")
    ]
    return same[0] if len(same) == 1 else None


def _check_ids(items: Sequence[Item]) -> None:
    seen: dict[str, str] = {}
    for item in items:
        id = item.question.id
        first = seen.setdefault(id, item.at)
        if first is not item.at:
            raise Mistake(f"{item.at}: id {id!r} stands at {first} already; ids must differ")


def _choose(items: list[Item], spec: QuestionsSpec) -> list[Item]:
    """Return the items that are asked, in the order of the file."""
    if spec.ids is not None:
        known = {item.question.id for item in items}
        for id in spec.ids:
            if id not in known:
                raise Mistake(f"{spec.path}: no question {id!r}; {suggestion(id, known)}")
        wanted = set(spec.ids)
        items = [item for item in items if item.question.id in wanted]
        if not items:
            raise Mistake(f"{spec.path}: questions.ids is empty; leave it out to ask all")
    if spec.limit is None or spec.limit >= len(items):
        return items
    order = sorted(items, key=lambda item: sha256_hex(f"{spec.seed}|{item.question.id}"))
    drawn = {item.question.id for item in order[: spec.limit]}
    return [item for item in items if item.question.id in drawn]
