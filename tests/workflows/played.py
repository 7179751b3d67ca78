"""Example sessions in a store, as if a run had asked experts for them."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.journal import AskRecord, JournalRecord, ReplyRecord
from orchestrator.live import outcome_json
from orchestrator.run import prepare_sessions
from orchestrator.spec import Entry, Wanted
from orchestrator.store import RunRow, Store
from protocols.contract import session_key
from tests.protocols.examples import EXAMPLES, Example
from tests.protocols.harness import AnswerFn, Played, keyed_answer, play
from workflows.exports.export import Record, session_records
from workflows.questions.answer_key import AnswerKey


async def store_sessions(
    store: Store, examples: Sequence[Example] = tuple(EXAMPLES), answer: AnswerFn = keyed_answer
) -> RunRow:
    """Play examples and write them as the sessions of one run; A is the right answer to all."""
    wanted: dict[str, Wanted] = {}
    played: dict[str, Played] = {}
    for name, protocol, question, cast in examples:
        key = session_key(protocol.digest(), question, cast, seed=0, repeat=0)
        wanted[key] = Wanted(key, Entry(name, protocol, cast), question, 0, 0)
        played[key] = play(protocol, question, cast, answer)
    questions = {one.question.id: one.question for one in wanted.values()}
    answer_key = AnswerKey(
        gold={id: "A" for id, question in questions.items() if question.options},
        kinds={id: question.kind for id, question in questions.items()},
    )
    prepared = prepare_sessions(
        store,
        "examples",
        list(wanted.values()),
        config={"roster": {}},
        answer_key=answer_key.as_json(),
    )
    with store.journal(prepared.run_id) as journal:
        journal.start(lambda tokens: None)
        for row in store.sessions(prepared.run_id):
            journal.append(_records(row.id, played[row.key]))
        await journal.close()
    return next(run for run in store.runs() if run.id == prepared.run_id)


async def example_records(
    path: str, examples: Sequence[Example] = tuple(EXAMPLES), answer: AnswerFn = keyed_answer
) -> dict[str, Record]:
    """Return example sessions as ``moot export`` writes them, by the name of the example."""
    with Store.open(path) as store:
        run = await store_sessions(store, examples, answer)
        return {record["name"]: record for record in session_records(store, run)}


def _records(session: int, played: Played) -> list[JournalRecord]:
    records: list[JournalRecord] = []
    for ask in played.asks:
        assert ask.place is not None
        records.append(AskRecord(session, ask))
        records.append(ReplyRecord(session, ask.place, 0, True, played.tape[ask.place].reply))
    return [*records, outcome_json(session, played.outcome)]
