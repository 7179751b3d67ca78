"""Recorded sessions to import, and what came of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from orchestrator.store import Store
from protocols.errors import Mistake
from protocols.outcome import Outcome
from tests.workflows.making import DATA, write_lines
from workflows.api import replay
from workflows.nyu.importing import Imported, import_nyu

PACKED = str(DATA / "nyu_sessions.jsonl.gz")
RULES = {
    "opening": ["JudgeFeedbackRound", "SimultaneousSpeechesRound", "JudgeFeedbackRound"],
    "repeat": ["SequentialSpeechesRound", "JudgeFeedbackRound"],
}
Round = dict[str, Any]


def judge(p: float = 0.5, *, end: bool = False, text: str = "Go on.") -> Round:
    return {"type": "judge", "probs": [p, 1 - p], "text": text, "end": end, "at": 1}


def speeches(kind: str, who: str = "AB", text: str = "So it is.") -> Round:
    said = [
        {"role": one, "argues_for": "AB".index(one), "text": f"{one}: {text}", "at": 1}
        for one in who
    ]
    return {"type": kind, "speeches": said}


def votes(a: bool, b: bool) -> Round:
    return {"type": "negotiate_end", "votes": {"A": a, "B": b}}


PRIOR, SIM, SEQ, BELIEF = judge(), speeches("simultaneous"), speeches("sequential"), judge(0.7)
END = judge(0.8, end=True)
KEPT = [PRIOR, SIM, BELIEF, SEQ, END]


def session(rounds: list[Round] | None = None, **fields: Any) -> dict[str, Any]:
    return {
        "id": "nyu/story-0",
        "story_id": "1",
        "story_title": "A story",
        "question_id": "q",
        "question": "Who?",
        "answers": ["he", "she"],
        "gold": 0,
        "setting": "human_debate",
        "in_paper": True,
        "judge": "Judy",
        "debaters": {"B": "Bob", "A": "Ann"},
        "rounds": KEPT if rounds is None else rounds,
        "rules": RULES,
        **fields,
    }


def brought(path: Path, *sessions: Any, **more: Any) -> Imported:
    return import_nyu([write_lines(path / "s.jsonl", list(sessions))], store="s.db", **more)


def outcomes(name: str, store: str = "s.db") -> dict[str, Outcome]:
    with Store.read(store) as opened:
        run = opened.find_run(name)
        assert run is not None
        rows = opened.sessions(run.id, statuses=("finished",))
        return {row.question_id: Outcome.from_json(row.outcome_json or "") for row in rows}


def is_replayed(name: str, count: int, store: str = "s.db") -> bool:
    report = replay(name, store=store)
    return (report.sessions, report.identical, report.incomplete) == (count, count, 0)


def refused(*files: str, **more: Any) -> str:
    with pytest.raises(Mistake) as caught:
        import_nyu(files, store="s.db", **more)
    text = str(caught.value)
    assert "\n" not in text
    return text
