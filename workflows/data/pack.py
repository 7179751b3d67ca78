"""Packs the data that comes with moot, and the small files that its tests read.

Run from the repository's root::

    python -m workflows.data.pack SOURCES [--tests tests/data]

SOURCES is a folder with ``recorded_answers/`` and ``questions_with_passages/`` as ``README.md``
describes them. What is kept is chosen by the hash of an id, never by content, and compressed so
that the same sources give the same bytes.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
DEMO_MODELS = (
    "Mixtral-8x7B-Instruct-v0.1",
    "mathstral-7B",
    "Meta-Llama-3_1-8B-Instruct",
    "Phi-3-mini-4k-instruct",
    "Yi-34B",
    "Qwen1.5-72B-Chat",
    "jamba-1.5-large",
)
DEMO_QUESTIONS = 400
PASSAGE_QUESTIONS = 100
TEST_ROWS = {"gsm8k": 40, "bbh": 40, "llmrouter9": 40}

Record = dict[str, Any]


def by_hash(records: Iterable[Record], salt: str) -> list[Record]:
    """Return `records` ordered by the hash of their ids: a draw that content cannot bias."""
    return sorted(records, key=lambda r: hashlib.sha256(f"{salt}|{r['id']}".encode()).hexdigest())


def read(path: Path) -> list[Record]:
    """Return the records of a file of JSON lines."""
    with path.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def write(path: Path, records: Iterable[Record]) -> None:
    """Write JSON lines with gzip, sorted by id; neither time nor name gets into the bytes."""
    text = "".join(
        json.dumps(record, ensure_ascii=False, separators=(",", ":")) + "\n"
        for record in sorted(records, key=lambda r: str(r["id"]))
    )
    buffer = io.BytesIO()
    with gzip.GzipFile(filename="", fileobj=buffer, mode="wb", compresslevel=9, mtime=0) as file:
        file.write(text.encode())
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(buffer.getvalue())


def only_models(record: Record, models: Iterable[str]) -> Record:
    """Return a row of recorded answers with only these models in it."""
    kept = tuple(models)
    result = dict(record)
    for column in ("answers", "correct", "chars"):
        if record[column] is not None:
            result[column] = {m: record[column][m] for m in kept if m in record[column]}
    return result


def pack_recorded(sources: Path, folder: Path) -> None:
    """Write MMLU-Pro with the demo's seven models: 400 questions, the rest as profile."""
    rows = [
        only_models(row, DEMO_MODELS)
        for row in read(sources / "recorded_answers/mmlu_pro/questions.dev.jsonl")
    ]
    drawn = by_hash(rows, "demo")
    write(folder / "mmlu_pro_questions.jsonl.gz", drawn[:DEMO_QUESTIONS])
    write(folder / "mmlu_pro_profile.jsonl.gz", drawn[DEMO_QUESTIONS:])


def pack_passages(sources: Path, folder: Path) -> None:
    """Write whole stories, in hashed order, until they hold a hundred questions."""
    kept: list[Record] = []
    for story in by_hash(read(sources / "questions_with_passages/nyu/passages.dev.jsonl"), "demo"):
        wanted = PASSAGE_QUESTIONS - sum(len(one["questions"]) for one in kept)
        if wanted > 0:
            kept.append({**story, "questions": story["questions"][:wanted]})
    write(folder / "nyu_passages.jsonl.gz", kept)


def votes_only(record: Record) -> Record:
    """Return a pair without its texts, but with their lengths."""
    texts = ("instruction", "input", "response_1", "response_2")
    kept = {name: value for name, value in record.items() if name not in texts}
    if "response_1" in record:
        kept |= {f"chars_{n}": len(record[f"response_{n}"]) for n in (1, 2)}
    return kept


def pack_tests(sources: Path, folder: Path) -> None:
    """Write the small files that tests read: every kind of row, forty rows a source."""
    for source, number in TEST_ROWS.items():
        rows = read(sources / f"recorded_answers/{source}/questions.dev.jsonl")
        write(folder / f"{source}.jsonl.gz", by_hash(rows, "tests")[:number])
    pairs = by_hash(read(sources / "pairwise_votes/pandalm/pairs.dev.jsonl"), "tests")[:30]
    write(folder / "pandalm.jsonl.gz", pairs)
    votes = by_hash(read(sources / "pairwise_votes/llmbar/pairs.dev.jsonl"), "tests")[:60]
    write(folder / "llmbar.jsonl.gz", map(votes_only, votes))
    sessions = by_hash(read(sources / "debates/nyu/sessions.dev.jsonl"), "tests")[:12]
    write(folder / "nyu_sessions.jsonl.gz", sessions)


def main() -> None:
    """Pack what the command line says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("sources", type=Path, help="the folder that holds the sources")
    parser.add_argument("--into", type=Path, default=HERE, help="where the demo's data go")
    parser.add_argument("--tests", type=Path, help="where the tests' data go; left out: nowhere")
    arguments = parser.parse_args()
    pack_recorded(arguments.sources, arguments.into)
    pack_passages(arguments.sources, arguments.into)
    if arguments.tests:
        pack_tests(arguments.sources, arguments.tests)


if __name__ == "__main__":
    main()
