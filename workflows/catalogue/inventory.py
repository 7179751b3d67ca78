"""What there is: runs of a store, protocols, experts, engines and workflows, as plain rows."""

from __future__ import annotations

import json
from typing import Any

from workflows.settings.configuration import library_workflows

Rows = list[dict[str, Any]]


def runs(store: str) -> Rows:
    """Return the runs of a store, newest last.

    Raises:
        Mistake: there is no such store.
    """
    from orchestrator.store import Store

    found: Rows = []
    with Store.read(store) as opened:
        rows = opened.runs()
        names = {row.id: row.name for row in rows}
        for row in rows:
            sessions = opened.sessions(row.id, statuses=("pending", "finished", "failed"))
            over = sum(session.status != "pending" for session in sessions)
            found.append(
                {
                    "id": row.id,
                    "name": row.name,
                    "status": row.status,
                    "done": over,
                    "sessions": len(sessions),
                    "protocols": ", ".join(dict.fromkeys(session.entry for session in sessions)),
                    "created": row.created_at[:19].replace("T", " "),
                    "fork_of": None if row.parent is None else names.get(row.parent),
                }
            )
    return found


def protocols() -> Rows:
    """Return the protocols with their versions, roles, parameters and prices."""
    from protocols.registry import PROTOCOLS
    from workflows.catalogue.describing import parameters_of, price_of

    found: Rows = []
    for kind, cls in PROTOCOLS.items():
        found.append(
            {
                "kind": kind,
                "version": cls.version,
                "about": cls.about.rstrip("."),
                "roles": {
                    role.name: {
                        "about": role.about,
                        "many": role.many,
                        "optional": role.optional,
                        "reads_passage": role.reads_passage,
                    }
                    for role in cls().roles()
                },
                "parameters": {
                    one.name: {"default": one.default, "takes": one.takes, "about": one.about}
                    for one in parameters_of(cls)
                },
                "calls": price_of(cls),
            }
        )
    return found


def protocols_in_short() -> Rows:
    """Return the protocols as a table: roles and parameters in one line each."""
    from protocols.registry import PROTOCOLS

    found: Rows = []
    for kind in PROTOCOLS:
        protocol = PROTOCOLS[kind]()
        found.append(
            {
                "kind": kind,
                "about": protocol.about.rstrip("."),
                "roles": ", ".join(
                    role.name + (" (optional)" if role.optional else "")
                    for role in protocol.roles()
                ),
                "parameters": ", ".join(
                    f"{name}={value if isinstance(value, str) else json.dumps(value)}"
                    for name, value in protocol.parameters().items()
                ),
            }
        )
    return found


def experts() -> Rows:
    """Return the experts that need no key, and how others are named."""
    from agents.offline import OFFLINE
    from agents.recorded_file import read_recorded
    from workflows.questions.sources import PACKED, locate

    rows = [
        {"expert": name, "needs": OFFLINE[name].needs, "about": _first_line(OFFLINE[name])}
        for name in sorted(OFFLINE)
    ]
    data = PACKED + "mmlu_pro_questions"
    rows += [
        {"expert": model, "needs": f"questions.path: {data}", "about": "recorded answers"}
        for model in read_recorded(locate(data)).models
    ]
    rows.append({"expert": "scripted/...", "needs": "nothing", "about": "fakes for your own tests"})
    rows.append(
        {
            "expert": "provider/model",
            "needs": "its key",
            "about": "any model that LiteLLM reaches, for example openai/gpt-4o-mini",
        }
    )
    return rows


def engines() -> Rows:
    """Return what generates, by provider, and whether it is built."""
    from agents.engines import NOT_BUILT

    about = {
        "offline": "weak, honest baselines that read a passage and need no model",
        "recorded": "published answers of real models",
        "scripted": "scripts, echoes, flaky and slow experts",
        "transformers": "models in folders or of a hub, on this machine's GPUs or its CPU",
        "vllm": "the same through vLLM, where it is installed; not run on a GPU yet",
        "any other": "hosted models and OpenAI-compatible servers, through LiteLLM",
    }
    rows: Rows = [
        {"provider": name, "state": "built", "about": text} for name, text in about.items()
    ]
    return rows + [{"provider": name, "state": "not built yet", "about": ""} for name in NOT_BUILT]


def workflows() -> Rows:
    """Return the workflows of the library with the first sentence of each."""
    found: Rows = []
    for name, path in library_workflows().items():
        lines = path.read_text(encoding="utf-8").splitlines()
        comment = " ".join(line.lstrip("# ") for line in lines[:3] if line.startswith("#"))
        end = min((comment.find(mark) for mark in "?." if mark in comment), default=-1)
        found.append({"workflow": name, "about": comment[: end + 1] if end >= 0 else comment})
    return found


def _first_line(kind: object) -> str:
    return (kind.__doc__ or "").strip().partition("\n")[0].rstrip(".")
