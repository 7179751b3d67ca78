"""A provider in a process of its own, on loopback: it keeps rates, or goes wrong now and then."""

from __future__ import annotations

import hashlib
import json
import random
import subprocess
import sys
import time
from collections import Counter
from functools import partial
from importlib import import_module
from types import TracebackType
from typing import Any, Self

from benchmarks.measuring import ROOT
from tests.servers.openai_server import Answer, OpenAIServer

CHARACTERS_A_TOKEN = 4
KEEP_ALIVE_S = 600
"""Longer than any run: a request on a connection that was closed meanwhile would not be counted."""


def prompt_tokens(body: dict[str, Any]) -> int:
    """Return what the provider counts for a prompt."""
    return sum(len(str(message["content"])) for message in body["messages"]) // CHARACTERS_A_TOKEN


def ask_of(body: dict[str, Any]) -> str:
    """Return what tells one ask from another."""
    text = json.dumps([body["model"], body["messages"]], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def usage(prompt: int, completion: int) -> dict[str, int]:
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    }


class _Allowance:
    """What may still be taken of a rate: its own arithmetic, not that of the client."""

    def __init__(self, per_minute: float, burst_s: float) -> None:
        self.rate = per_minute / 60.0
        self.most = self.left = self.rate * burst_s
        self.at = time.monotonic()

    def refill(self, now: float) -> None:
        self.left = min(self.most, self.left + (now - self.at) * self.rate)
        self.at = now


class RateLimited:
    """Allows so many requests and tokens a minute; what goes beyond is answered 429."""

    def __init__(
        self,
        *,
        requests_per_minute: float,
        tokens_per_minute: float,
        burst_s: float,
        completion: int,
        delay_s: float,
        retry_after: bool,
    ) -> None:
        self.requests = _Allowance(requests_per_minute, burst_s)
        self.tokens = _Allowance(tokens_per_minute, burst_s)
        self.completion, self.delay_s, self.retry_after = completion, delay_s, retry_after
        self.turned_away = 0
        self.taken: list[tuple[float, int]] = []
        """(when, tokens) of every request that was let in."""

    def __call__(self, body: dict[str, Any], number: int) -> Answer:
        now = time.monotonic()
        prompt = prompt_tokens(body)
        completion = round(self.completion * random.Random(ask_of(body)).uniform(0.5, 1.5))
        for allowance in (self.requests, self.tokens):
            allowance.refill(now)
        short = max(
            (1.0 - self.requests.left) / self.requests.rate,
            (prompt + completion - self.tokens.left) / self.tokens.rate,
        )
        if short > 0.0:
            self.turned_away += 1
            headers = {"Retry-After": f"{short:.3f}"} if self.retry_after else {}
            return Answer(status=429, headers=headers, error="rate limit reached")
        self.requests.left -= 1.0
        self.tokens.left -= prompt + completion
        self.taken.append((now, prompt + completion))
        return Answer(usage=usage(prompt, completion), delay_s=self.delay_s)

    def counts(self) -> dict[str, Any]:
        return {"turned_away": self.turned_away, "taken": self.taken}


class Faulty:
    """Goes wrong for a random share of the requests: 429, 500, or a connection that is cut."""

    def __init__(self, share: float, seed: int, delay_s: float) -> None:
        self.share, self.delay_s = share, delay_s
        self.draws = random.Random(seed)
        self.faults: Counter[str] = Counter()
        self.answered: Counter[str] = Counter()
        """Good answers by ask."""

    def __call__(self, body: dict[str, Any], number: int) -> Answer:
        if self.draws.random() >= self.share:
            self.answered[ask_of(body)] += 1
            return Answer(usage=usage(prompt_tokens(body), 20), delay_s=self.delay_s)
        fault = self.draws.choice(("429", "500", "before", "during"))
        self.faults[fault] += 1
        if fault == "429":
            return Answer(status=429, headers={"Retry-After": "0.05"}, delay_s=self.delay_s)
        if fault == "500":
            return Answer(status=500, delay_s=self.delay_s)
        return Answer(cut="before" if fault == "before" else "during", delay_s=self.delay_s)

    def counts(self) -> dict[str, Any]:
        return {"faults": dict(self.faults), "answered": dict(self.answered)}


class Loopback:
    """The client's end of the process: where it listens, and what it has counted."""

    def __init__(self, kind: str, **arguments: Any) -> None:
        self._command = [sys.executable, "-m", "benchmarks.loopback", kind, json.dumps(arguments)]

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.url: str = self._read()["url"]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        pipes = self._process.stdin, self._process.stdout
        assert pipes[0] is not None
        assert pipes[1] is not None
        pipes[0].close()
        self._process.wait(30.0)
        pipes[1].close()

    def counts(self) -> dict[str, Any]:
        """Return what the rule has counted, and all requests as ``requests``."""
        assert self._process.stdin is not None
        self._process.stdin.write("counts\n")
        self._process.stdin.flush()
        return self._read()

    def wait(self, requests: int) -> None:
        """Return once so many requests have arrived."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{requests}\n")
        self._process.stdin.flush()
        self._read()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        found: dict[str, Any] = json.loads(self._process.stdout.readline())
        return found


def serve(kind: str, arguments: dict[str, Any]) -> None:
    """Be the process: answer each line on standard input, until it is closed."""
    rule = getattr(import_module("benchmarks.loopback"), kind)(**arguments)
    server = OpenAIServer(rule=rule)
    server._server.config.timeout_keep_alive = KEEP_ALIVE_S
    with server:
        print(json.dumps({"url": server.url}), flush=True)
        for line in sys.stdin:
            if line.strip() != "counts":
                server.wait_until(partial(_has, requests=int(line)), 600.0)
            print(json.dumps({"requests": server.requests, **rule.counts()}), flush=True)


def _has(server: OpenAIServer, requests: int) -> bool:
    return server.requests >= requests


if __name__ == "__main__":
    serve(sys.argv[1], json.loads(sys.argv[2]))
