"""Scripted experts: fakes for users' own tests, shipped because users need them too.

=====================  ==========================================================================
``scripted/constant``  says ``text``
``scripted/echo``      says the last part that the last user message holds
``scripted/script``    says one of ``replies``: of a list the one that the ask's key picks; of a
                       mapping from seat (or role) to lists the one of the ask's turn, the last
                       one in all later turns. ``{key}`` stands for the ask's key
``scripted/voter``     says ``Answer: X``, X picked by the ask's key from ``answers``: ``letters``
                       (the ask's options, else A and B) or a list
``scripted/flaky``     fails or throttles a share of the attempts, else speaks as ``inner`` does
``scripted/slow``      takes ``latency_s`` for each ask, then speaks as ``inner`` does
``scripted/gpu``       loads and generates as slowly as a model on a GPU, then speaks as ``inner``
                       does, a voter unless told (:mod:`agents.scripted_gpu`)
=====================  ==========================================================================

Every one of them takes the options of all others, so a slow voter may be flaky as well. What is
said is a function of the ask alone. Whether an attempt goes wrong is a function of the ask's key
and of how many attempts at it this process has seen go wrong, so a run that is killed and resumed
ends with the same replies as one that is not. Where a text is to be scored, all of them give it a
log-likelihood that the ask's key picks. Usage is estimated (:mod:`agents.counting`).
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from agents.counting import estimated_tokens, prompt_tokens
from agents.engine import Attempted, Capabilities, Engine, Throttled, as_finished
from agents.roster import Expert
from agents.settings import checked, suggestion
from protocols.asks import Ask
from protocols.canonical import canonical_json, sha256_hex
from protocols.errors import Mistake
from protocols.replies import Boundary, Reply, Usage, failed, scored

NAMES = ("constant", "echo", "flaky", "gpu", "script", "slow", "voter")

_TIMING = {"latency_s", "batch_limit", "wait_s", "load_s", "t0_s", "t1_s"}
_SPEAKS_AS_INNER = {"flaky", "gpu", "slow"}
_WORST_SCORE = 3.0


class Script(BaseModel):
    """The options of a scripted expert."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    text: str = "ok"
    """What a constant expert says."""
    replies: tuple[str, ...] | dict[str, tuple[str, ...]] = ()
    """The lines of a script, for all or by seat or role."""
    answers: Literal["letters"] | tuple[str, ...] = "letters"
    """What a voter picks from."""
    inner: Literal["constant", "echo", "script", "voter"] = "constant"
    """How a flaky or slow expert speaks."""
    fail_share: float = Field(0.0, ge=0.0, le=1.0)
    """The share of attempts that fail."""
    boundary: Boundary = "provider"
    """How they fail."""
    throttle_share: float = Field(0.0, ge=0.0, le=1.0)
    """The share of attempts that are throttled."""
    wait_s: float = Field(0.0, ge=0.0)
    """Seconds that a throttled attempt says to wait."""
    latency_s: float = Field(0.0, ge=0.0)
    """Seconds that each ask takes."""
    batch_limit: int = Field(4096, ge=1)
    """The most asks that run at once."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.fail_share + self.throttle_share > 1.0:
            raise ValueError("fail_share and throttle_share are more than 1 together")
        if self.answers == ():
            raise ValueError("answers must not be empty")
        return self


class GpuScript(Script):
    """The options of a scripted expert on a GPU; it takes ``latency_s`` of no ask."""

    inner: Literal["constant", "echo", "script", "voter"] = "voter"
    """How it speaks."""
    batch_limit: int = Field(256, ge=1)
    """The most asks that generate at once; what comes beyond waits in the engine."""
    load_s: float = Field(0.0, ge=0.0)
    """Seconds that loading takes."""
    t0_s: float = Field(0.010, ge=0.0)
    """Seconds that a step takes, whatever runs."""
    t1_s: float = Field(0.000_05, ge=0.0)
    """Seconds more for each ask that runs; each of them gets one token a step."""
    mean_tokens: float = Field(400.0, ge=1.0)
    """Mean length of a reply. Lengths are identity, as they are part of the reply."""
    sigma: float = Field(0.0, ge=0.0, le=3.0)
    """How lengths spread: the standard deviation of their logarithm; 0 makes all equal."""
    seed: int = 0
    """Another seed draws other lengths."""

    @model_validator(mode="after")
    def _check_times(self) -> Self:
        if self.latency_s:
            raise ValueError("a GPU's time is load_s, t0_s and t1_s; leave latency_s out")
        if self.t0_s + self.t1_s == 0.0:
            raise ValueError("t0_s and t1_s are both 0; a step takes some time")
        return self


def script_name(expert: Expert) -> str:
    """Return which of the scripted experts this is.

    Raises:
        Mistake: there is none of that name.
    """
    name = expert.model.partition("/")[2]
    if name not in NAMES:
        raise Mistake(f"no expert 'scripted/{name}'; {suggestion(name, NAMES)}")
    return name


def read_script(expert: Expert) -> Script:
    """Return the options of a scripted expert.

    Raises:
        Mistake: an option is unknown or malformed, or the script has no replies.
    """
    name = script_name(expert)
    kind = GpuScript if name == "gpu" else Script
    script = checked(kind, expert.options, f"{expert.label or expert.model}.options")
    if "script" in (name, script.inner) and not script.replies:
        raise Mistake(f"{expert.label or expert.model}.options: a script needs 'replies'")
    if isinstance(script.replies, dict) and not all(script.replies.values()):
        raise Mistake(f"{expert.label or expert.model}.options.replies: a seat has no lines")
    return script


def script_revision(expert: Expert) -> str:
    """Return the identity of what the expert says: 16 hexadecimal digits, "" without options.

    Options that change only timing are left out.
    """
    options = read_script(expert).model_dump(mode="json", exclude=_TIMING, exclude_defaults=True)
    return sha256_hex(canonical_json(options))[:16] if options else ""


class ScriptedEngine(Engine):
    """Says what its script says."""

    capabilities = Capabilities(prompt_scoring=True)

    def __init__(self, expert: Expert) -> None:
        self._script = read_script(expert)
        self.batch_limit = self._script.batch_limit
        name = script_name(expert)
        self._says = _speaker(self._script.inner if name in _SPEAKS_AS_INNER else name)
        self._gone_wrong: dict[str, int] = {}
        self._flaky = self._script.fail_share + self._script.throttle_share > 0.0
        self._slots = asyncio.Semaphore(self.batch_limit)

    async def stream(self, asks: Sequence[Ask]) -> AsyncIterator[tuple[int, Attempted]]:
        """Yield what the script says, after `latency_s` for each ask."""
        if self._script.latency_s == 0.0:
            for index, ask in enumerate(asks):
                yield index, self._attempt(ask)
            return
        async with aclosing(as_finished(asks, self._slowly)) as results:
            async for result in results:
                yield result

    async def _slowly(self, ask: Ask) -> Attempted:
        async with self._slots:
            start = time.perf_counter()
            await asyncio.sleep(self._script.latency_s)
            result = self._attempt(ask)
        if isinstance(result, Reply):
            result = replace(result, latency_s=time.perf_counter() - start)
        return result

    def _attempt(self, ask: Ask) -> Attempted:
        """Return what one attempt gives."""
        if self._flaky:
            wrong = self._go_wrong(ask)
            if wrong is not None:
                return wrong
        if ask.score:
            share = 1 + int(ask.key[:8], 16)
            usage = Usage(prompt_tokens(ask.messages), 0)
            return scored(-_WORST_SCORE * share / (1 << 32), usage=usage)
        text = self._says(self._script, ask)
        if text is None:
            return failed("provider", f"the script has no lines for the seat {ask.seat.name!r}")
        usage = Usage(prompt_tokens(ask.messages), estimated_tokens(len(text)))
        return Reply(text, usage=usage)

    def _go_wrong(self, ask: Ask) -> Attempted | None:
        """Return a failed or throttled attempt, where this one is to go wrong."""
        script, key = self._script, ask.key
        count = self._gone_wrong.get(key, 0)
        digest = hashlib.sha256(f"{key}|{count}".encode()).digest()
        share = int.from_bytes(digest[:7], "big") / (1 << 56)
        if share >= script.fail_share + script.throttle_share:
            self._gone_wrong.pop(key, None)
            return None
        self._gone_wrong[key] = count + 1
        if share < script.throttle_share:
            return Throttled(script.wait_s, "scripted: come back later")
        return failed(script.boundary, f"scripted failure number {count + 1} of this ask")


Speaker = Callable[[Script, Ask], str | None]


def _speaker(name: str) -> Speaker:
    """Return the function from an ask to what is said; it gives None where nothing is scripted."""
    return {"constant": _constant, "echo": _echo, "script": _line, "voter": _vote}[name]


def _pick(ask: Ask, items: Sequence[str]) -> str:
    """Return the item that the ask's key picks."""
    return items[int(ask.key[:12], 16) % len(items)]


def _constant(script: Script, ask: Ask) -> str:
    return script.text


def _echo(script: Script, ask: Ask) -> str:
    for message in reversed(ask.messages):
        if message.speaker == "user":
            texts = [part.text for part in message.parts if part.kind == "text"]
            return texts[-1] if texts else ""
    return ""


def _line(script: Script, ask: Ask) -> str | None:
    replies = script.replies
    if isinstance(replies, dict):
        lines = replies.get(ask.seat.name) or replies.get(ask.seat.role)
        if lines is None:
            return None
        turn = 0 if ask.place is None else ask.place.turn
        text = lines[min(turn, len(lines) - 1)]
    else:
        text = _pick(ask, replies)
    return text.replace("{key}", ask.key)


def _vote(script: Script, ask: Ask) -> str:
    choices = (ask.options or ("A", "B")) if script.answers == "letters" else script.answers
    return f"Answer: {_pick(ask, choices)}"
