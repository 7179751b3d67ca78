"""Golden tapes: recorded sessions in ``tests/tapes``, and how each must replay.

Every example of ``examples.py`` has a complete tape and, where a turn holds several asks or there
are several turns, a partial one; one tape is diverged on purpose. The files are written
deliberately, never by a test::

    python -m tests.protocols.tape_files --write

A change of a golden tape means that sessions recorded by users would diverge: raise the
protocol's version together with it.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from protocols.canonical import canonical_json
from protocols.errors import ReplayDiverged
from protocols.messages import Place
from protocols.replies import Failure, Reply
from protocols.tape import Finished, Recorded, resume
from tests.protocols.examples import BY_NAME, EXAMPLES
from tests.protocols.harness import keyed_answer, play, start

FORMAT = 1
FOLDER = Path(__file__).parent.parent / "tapes"
DIVERGED = "plurality"
"""The example whose diverged tape is kept."""

State = Literal["complete", "partial", "diverged"]


def reply_to_json(reply: Reply) -> dict[str, Any]:
    """Return what tests record of a reply; what stands at its default is left out."""
    data: dict[str, Any] = {}
    if reply.text:
        data["text"] = reply.text
    if reply.failure is not None:
        data["failure"] = [reply.failure.boundary, reply.failure.message]
    if reply.distribution is not None:
        data["distribution"] = [list(reply.distribution), reply.distribution_source]
    return data


def reply_from_json(data: dict[str, Any]) -> Reply:
    reply = Reply(data.get("text", ""))
    if "failure" in data:
        reply = replace(reply, failure=Failure(*data["failure"]), finish="failure")
    if "distribution" in data:
        values, source = data["distribution"]
        reply = replace(reply, distribution=tuple(values), distribution_source=source)
    return reply


def tape_to_json(tape: dict[Place, Recorded]) -> list[dict[str, Any]]:
    return [
        {"turn": place.turn, "slot": place.slot, "key": key, "reply": reply_to_json(reply)}
        for place, (key, reply) in sorted(tape.items())
    ]


def tape_from_json(slots: list[dict[str, Any]]) -> dict[Place, Recorded]:
    return {
        Place(slot["turn"], slot["slot"]): Recorded(slot["key"], reply_from_json(slot["reply"]))
        for slot in slots
    }


def read(path: Path) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if data["format"] != FORMAT:
        raise ValueError(f"{path.name} has format {data['format']}, this reads {FORMAT}")
    return data


def replay(data: dict[str, Any]) -> dict[str, Any]:
    """Return how a recorded session replays, in the form in which a file says how it must."""
    example = BY_NAME[data["example"]]
    session = start(example.protocol, example.question, example.cast)
    try:
        result = resume(session, tape_from_json(data["slots"]))
    except ReplayDiverged as diverged:
        return {"diverged": [diverged.turn, diverged.slot]}
    if isinstance(result, Finished):
        return {"outcome": json.loads(result.outcome.as_json())}
    missing = [
        [ask.place.slot, ask.key]
        for ask in result.asks
        if ask.place and ask.place.slot in result.missing
    ]
    return {"turn": result.turn, "missing": missing}


def goldens() -> dict[str, dict[str, Any]]:
    """Return every golden tape by file name, freshly made."""
    files: dict[str, dict[str, Any]] = {}
    for example in EXAMPLES:
        played = play(example.protocol, example.question, example.cast, keyed_answer)
        tape = played.tape
        files[f"{example.name}.complete.json"] = _golden(example.name, "complete", tape)
        if len(tape) > 1:
            last = max(tape)
            partial = {place: slot for place, slot in tape.items() if place != last}
            files[f"{example.name}.partial.json"] = _golden(example.name, "partial", partial)
        if example.name == DIVERGED:
            bad = {**tape, Place(0, 1): Recorded("0" * 64, tape[Place(0, 1)].reply)}
            files[f"{example.name}.diverged.json"] = _golden(example.name, "diverged", bad)
    return files


def _golden(example: str, state: State, tape: dict[Place, Recorded]) -> dict[str, Any]:
    data = {"format": FORMAT, "example": example, "state": state, "slots": tape_to_json(tape)}
    return {**data, "replays_as": replay(data)}


def main(arguments: list[str]) -> int:
    """Write the golden tapes, or (``--replay``) print how each file replays."""
    if arguments == ["--replay"]:
        found = {path.name: replay(read(path)) for path in sorted(FOLDER.glob("*.json"))}
        sys.stdout.write(canonical_json(found) + "\n")
        return 0
    if arguments != ["--write"]:
        sys.stderr.write("usage: python -m tests.protocols.tape_files --write | --replay\n")
        return 2
    FOLDER.mkdir(exist_ok=True)
    fresh = goldens()
    for path in FOLDER.glob("*.json"):
        if path.name not in fresh:
            path.unlink()
    for name, data in sorted(fresh.items()):
        text = json.dumps(data, indent=1, ensure_ascii=False, sort_keys=True)
        (FOLDER / name).write_text(text + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
