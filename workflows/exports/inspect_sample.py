"""A session as a sample of Inspect: question, words, calls, score, tokens, prices."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from workflows.exports.export import Record
from workflows.exports.inspect_words import chat_message, generate_config

if TYPE_CHECKING:
    from inspect_ai.event import ModelEvent
    from inspect_ai.log import EvalSample
    from inspect_ai.model import ChatMessage, ModelOutput, ModelUsage

    from orchestrator.store import RunRow

SCORER = "moot"
"""What the score of a sample is called."""
_FINISH = {
    "stop": "stop",
    "length": "max_tokens",
    "content_filter": "content_filter",
    "failure": "unknown",
}


def make_sample(run: RunRow, record: Record, epoch: int) -> EvalSample:
    """Return a session as a sample."""
    from inspect_ai.log import EvalError, EvalSample

    question, outcome = record["question"], record["outcome"]
    asks = [ask for turn in record["turns"] for ask in turn]
    answer = "" if outcome is None else outcome["answer"] or ""
    error = record["message"] or f"no outcome: the protocol raised ({record['status']})"
    by_model: dict[str, list[ModelUsage]] = {}
    by_role: dict[str, list[ModelUsage]] = {}
    for ask in asks:
        for reply in _attempts(ask):
            by_model.setdefault(ask["model"], []).append(_usage(reply))
            by_role.setdefault(ask["role"], []).append(_usage(reply))
    return EvalSample(
        id=question["id"],
        epoch=epoch,
        input=question["text"],
        choices=list(question["options"]) or None,
        target=record["gold"] or "",
        messages=_transcript(record),
        output=_completed(SCORER, answer, id=f"{record['session']}-answer"),
        scores=_scores(record),
        metadata=_metadata(record),
        events=list(_events(run, record)),
        model_usage={model: sum_usage(some) for model, some in by_model.items()},
        role_usage={role: sum_usage(some) for role, some in by_role.items()},
        started_at=run.created_at,
        total_time=sum(one["latency_s"] for ask in asks for one in _attempts(ask)),
        uuid=f"{run.name}-{record['session']}",
        error=None
        if outcome is not None
        else EvalError(message=error, traceback="", traceback_ansi=""),
    )


def _attempts(ask: Record) -> list[Record]:
    """Return what came back for an ask, the accepted reply first."""
    return ([ask["reply"]] if ask["reply"] else []) + list(ask["other_attempts"])


def _scores(record: Record) -> dict[str, Any] | None:
    """Return the score; none where nothing is known about it: missing, not wrong."""
    from inspect_ai.scorer import Score

    outcome = record["outcome"]
    if outcome is None or record["correct"] is None:
        return None
    told = {
        name: outcome[name]
        for name in ("status", "rule", "tie_rule", "tie_broken", "boundary", "unparsed")
    }
    return {SCORER: Score(value=record["correct"], answer=outcome["answer"], metadata=told)}


def _metadata(record: Record) -> dict[str, Any]:
    asks = [ask for turn in record["turns"] for ask in turn]
    replies = [reply for ask in asks for reply in _attempts(ask)]
    question = record["question"]
    return {
        "session": record["session"],
        "protocol": record["name"],
        "kind": record["protocol"],
        "version": record["version"],
        "parameters": record["parameters"],
        "cast": record["cast"],
        "readers": record["readers"],
        "simulated": record["simulated"],
        "seed": record["seed"],
        "repeat": record["repeat"],
        "parent": record["parent"],
        "fork_turn": record["fork_turn"],
        "status": record["status"],
        "outcome": record["outcome"],
        "asks": len(asks),
        "attempts": len(replies),
        "list_price": _priced(replies, "list_price"),
        "paid_price": _priced(replies, "paid_price"),
        **{name: question[name] for name in ("category", "subject", "cluster", "passage")},
    }


def _priced(replies: Sequence[Record], name: str) -> float | None:
    """Return a sum in US dollars; None where no price is known."""
    known = [reply[name] for reply in replies if reply[name] is not None]
    return sum(known) if known else None


def _transcript(record: Record) -> list[ChatMessage]:
    """Return what was said: the question, then the accepted replies in their order."""
    from inspect_ai.model import ChatMessageAssistant, ChatMessageUser

    session = record["session"]
    said: list[ChatMessage] = [
        ChatMessageUser(id=f"{session}-question", content=record["question"]["text"])
    ]
    for turn, asks in enumerate(record["turns"]):
        for ask in asks:
            reply = ask["reply"]
            if reply is None:
                continue
            about = {"turn": turn, "slot": ask["slot"], "seat": ask["seat"], "role": ask["role"]}
            if reply["failure_boundary"]:
                about["failure"] = f"{reply['failure_boundary']}: {reply['failure_message']}"
            said.append(
                ChatMessageAssistant(
                    id=f"{session}-{turn}-{ask['slot']}",
                    content=reply["text"],
                    model=ask["model"],
                    metadata={**about, "expert": ask["expert"]},
                )
            )
    return said


def _events(run: RunRow, record: Record) -> Iterator[ModelEvent]:
    """Yield every attempt as a call of a model, with its prompt."""
    from inspect_ai.event import ModelEvent

    for turn, asks in enumerate(record["turns"]):
        for ask in asks:
            place = f"{record['session']}-{turn}-{ask['slot']}"
            prompt = _prompt(ask, record["question"].get("passage"), place)
            for reply in _attempts(ask):
                failure = reply["failure_boundary"]
                yield ModelEvent(
                    uuid=f"{place}-{reply['attempt']}",
                    timestamp=datetime.fromisoformat(run.created_at),
                    working_start=0.0,
                    model=ask["model"],
                    role=ask["role"],
                    input=prompt,
                    tools=[],
                    tool_choice="none",
                    config=generate_config(ask["sampling"]),
                    output=_output(ask, reply, place),
                    error=f"{failure}: {reply['failure_message']}" if failure else None,
                    working_time=reply["latency_s"],
                    metadata={
                        "seat": ask["seat"],
                        "expert": ask["expert"],
                        "attempt": reply["attempt"],
                        "accepted": bool(reply["accepted"]),
                        "distribution": reply["distribution"],
                        "distribution_source": reply["distribution_source"],
                        "model_served": reply["model_served"],
                        "list_price": reply["list_price"],
                        "paid_price": reply["paid_price"],
                    },
                )


def _prompt(ask: Record, passage: str | None, place: str) -> list[ChatMessage]:
    """Return a prompt as the messages that a chat model reads."""
    return [
        chat_message(
            message["speaker"],
            [
                (part["kind"], (passage or "") if "same_as" in part else part["text"])
                for part in message["parts"]
            ],
            id=f"{place}-{number}",
        )
        for number, message in enumerate(ask["messages"])
    ]


def _output(ask: Record, reply: Record, place: str) -> ModelOutput:
    output = _completed(
        reply["model_served"] or ask["model"],
        reply["text"],
        id=f"{place}-{reply['attempt']}-reply",
        finish=_FINISH[reply["finish"]],
    )
    output.usage, output.time = _usage(reply), reply["latency_s"]
    return output


def _completed(model: str, text: str, *, id: str, finish: str = "stop") -> ModelOutput:
    """Return an output with one choice; the id makes the same log of the same run."""
    from inspect_ai.model import ChatCompletionChoice, ChatMessageAssistant, ModelOutput

    message = ChatMessageAssistant(id=id, content=text, model=model)
    choice = {"message": message, "stop_reason": finish}
    return ModelOutput(model=model, choices=[ChatCompletionChoice.model_validate(choice)])


def _usage(reply: Record) -> ModelUsage:
    """Return the tokens of one attempt; Inspect counts cached ones apart from the others."""
    from inspect_ai.model import ModelUsage

    cached = min(reply["cached_tokens"], reply["prompt_tokens"])
    return ModelUsage(
        input_tokens=reply["prompt_tokens"] - cached,
        output_tokens=reply["completion_tokens"],
        total_tokens=reply["prompt_tokens"] + reply["completion_tokens"],
        input_tokens_cache_read=cached,
        reasoning_tokens=reply["reasoning_tokens"],
        total_cost=reply["list_price"],
    )


def sum_usage(usages: Sequence[ModelUsage]) -> ModelUsage:
    """Return the tokens and prices of several calls; there is one at least."""
    total = usages[0]
    for one in usages[1:]:
        total = total + one
    return total
