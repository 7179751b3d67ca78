"""A real HTTP server on loopback that speaks the OpenAI chat protocol, well or badly.

It runs in a thread of the test process on a free port, answers what a test tells it to, counts
the requests and keeps their bodies. Nothing here imports litellm or any client.
"""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, ClassVar, Literal, Self

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from uvicorn.protocols.http.h11_impl import H11Protocol

USAGE: Mapping[str, Any] = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server does with one request. The default is a good answer."""

    text: str | None = "Answer: A"
    """The content; None is JSON null."""
    finish: str = "stop"
    """``stop``, ``length``, ``content_filter``."""
    usage: Mapping[str, Any] | None = field(default_factory=lambda: USAGE)
    """The usage object; None leaves it out."""
    model: str = "served-model-2026-11-01"
    """The model that the answer names."""
    choices: int = 1
    """How many choices; 0 gives an empty list."""
    refusal: str | None = None
    """The message's ``refusal``."""
    logprobs: tuple[tuple[str, float], ...] = ()
    """(token, log-probability) pairs: alternatives of the first token, best first."""
    status: int = 200
    """The HTTP status; from 400 on the body is an OpenAI error object."""
    error: str = "the server was told to fail"
    """The error's message."""
    error_code: str | None = None
    """The error's code, for example ``context_length_exceeded``."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """More response headers, for example ``Retry-After``."""
    body: bytes | None = None
    """These bytes instead of the JSON."""
    content_type: str = "application/json"
    """The content type."""
    cut: Literal["no", "before", "during"] = "no"
    """Close the connection before the first byte, or in the middle of the body."""
    hold: bool = False
    """Do not answer until :meth:`OpenAIServer.release` or until the client goes away."""
    drip: bool = False
    """Send white space, a byte at a time, until the client goes away: alive, and never done."""
    delay_s: float = 0.0
    """Wait this long before answering."""


Rule = Callable[[dict[str, Any], int], Answer]
"""(request body, its number from 0) -> what to do."""


def error_body(answer: Answer) -> bytes:
    """Return an OpenAI error object."""
    error = {
        "message": answer.error,
        "type": "test_error",
        "param": None,
        "code": answer.error_code,
    }
    return json.dumps({"error": error}).encode()


def completion_body(answer: Answer, number: int) -> bytes:
    """Return a chat completion object."""
    message = {"role": "assistant", "content": answer.text, "refusal": answer.refusal}
    choice: dict[str, Any] = {"index": 0, "message": message, "finish_reason": answer.finish}
    if answer.logprobs:
        top = [
            {"token": token, "logprob": value, "bytes": None} for token, value in answer.logprobs
        ]
        choice["logprobs"] = {"content": [{**top[0], "top_logprobs": top}], "refusal": None}
    completion: dict[str, Any] = {
        "id": f"chatcmpl-{number}",
        "object": "chat.completion",
        "created": 1_790_000_000,
        "model": answer.model,
        "choices": [{**choice, "index": index} for index in range(answer.choices)],
    }
    if answer.usage is not None:
        completion["usage"] = dict(answer.usage)
    return json.dumps(completion).encode()


class _Tracked(H11Protocol):
    """An HTTP connection that can be found by the client's port, to cut it."""

    transports: ClassVar[dict[int, asyncio.BaseTransport]] = {}

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self.transports[transport.get_extra_info("peername")[1]] = transport

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self.client is not None:
            self.transports.pop(self.client[1], None)


class _Server(uvicorn.Server):
    """Starts and stops at once, where uvicorn looks around every tenth of a second."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = threading.Event()
        self.released = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopped = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._loop = asyncio.get_running_loop()
        self.listening.set()

    async def main_loop(self) -> None:
        await self._stopped.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        tasks = list(self.server_state.tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def release(self) -> None:
        """Let held requests go on; from any thread."""
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self.released.set)

    def stop(self) -> None:
        """Close every connection and end; from any thread."""
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._stopped.set)


class OpenAIServer:
    """The server; use it as a context manager.

    ::

        with OpenAIServer(Answer(status=429, headers={"Retry-After": "3"}), Answer()) as server:
            ...  # the first request is turned away, every later one is answered
            assert server.requests == 2
    """

    def __init__(self, *answers: Answer, rule: Rule | None = None) -> None:
        given = answers or (Answer(),)
        self._rule: Rule = rule or (lambda body, number: given[min(number, len(given) - 1)])
        self.bodies: list[dict[str, Any]] = []
        """The request bodies, in order of arrival."""
        self.headers: list[dict[str, str]] = []
        """The request headers (names in lower case), in order of arrival."""
        self.running = 0
        """How many requests are being answered."""
        self.most_running = 0
        """The most that were answered at once."""
        self.gone = 0
        """How many held requests the client abandoned."""
        self._changed = threading.Condition()
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._socket.bind(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        """The port on 127.0.0.1."""
        routes = [
            Route("/v1/chat/completions", self._chat, methods=["POST"]),
            Route("/v1/embeddings", self._chat, methods=["POST"]),
            Route("/{path:path}", _not_found, methods=["GET", "POST"]),
        ]
        self._server = _Server(
            uvicorn.Config(
                Starlette(routes=routes),
                http=_Tracked,
                lifespan="off",
                log_config=None,
                access_log=False,
                log_level="critical",
            )
        )
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [self._socket]}, daemon=True
        )

    @property
    def url(self) -> str:
        """The base URL, ending in ``/v1``."""
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def requests(self) -> int:
        """How many requests arrived."""
        return len(self.bodies)

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._server.listening.wait(30.0):
            raise RuntimeError("the loopback server did not start within 30 s")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.stop()
        self._thread.join(30.0)
        self._socket.close()

    def release(self) -> None:
        """Let every held request go on, and hold none from now on."""
        self._server.release()

    def wait_until(self, condition: Callable[[OpenAIServer], bool], timeout: float = 30.0) -> bool:
        """Block until `condition(self)` holds, looking whenever something happens here.

        Call it from another thread than the client's event loop: ``await asyncio.to_thread(...)``.
        """
        with self._changed:
            return self._changed.wait_for(lambda: condition(self), timeout)

    async def _chat(self, request: Request) -> Response:
        body = await request.json()
        with self._changed:
            number = len(self.bodies)
            self.bodies.append(body)
            self.headers.append(dict(request.headers))
            self.running += 1
            self.most_running = max(self.most_running, self.running)
            self._changed.notify_all()
        try:
            return await self._answer(self._rule(body, number), number, request)
        finally:
            with self._changed:
                self.running -= 1
                self._changed.notify_all()

    async def _answer(self, answer: Answer, number: int, request: Request) -> Response:
        if answer.hold:
            await self._held(request)
        if answer.delay_s:
            await asyncio.sleep(answer.delay_s)
        content = answer.body
        if content is None:
            content = (
                error_body(answer) if answer.status >= 400 else completion_body(answer, number)
            )
        headers = {**answer.headers, "content-type": answer.content_type}
        if answer.drip:
            return StreamingResponse(self._drops(), headers=headers)
        if answer.cut == "before":
            assert request.client is not None
            _Tracked.transports[request.client.port].close()
        if answer.cut == "during":
            headers["content-length"] = str(len(content))
            content = content[: len(content) // 2]
        return Response(content, status_code=answer.status, headers=headers)

    async def _held(self, request: Request) -> None:
        """Wait for :meth:`release` or for the client to go away."""
        released = asyncio.ensure_future(self._server.released.wait())
        gone = asyncio.ensure_future(_until_gone(request))
        await asyncio.wait((released, gone), return_when=asyncio.FIRST_COMPLETED)
        if not self._server.released.is_set():
            with self._changed:
                self.gone += 1
                self._changed.notify_all()
        for task in (released, gone):
            task.cancel()

    async def _drops(self) -> AsyncIterator[bytes]:
        """Yield white space until :meth:`release`; the server stops reading when nobody listens."""
        while not self._server.released.is_set():
            yield b" "
            await asyncio.sleep(0.01)


async def _until_gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _not_found(request: Request) -> Response:
    return Response(
        error_body(Answer(error=f"no such path: {request.url.path}")),
        status_code=404,
        media_type="application/json",
    )
