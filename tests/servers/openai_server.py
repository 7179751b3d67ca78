"""A real HTTP server on loopback that speaks the OpenAI chat protocol, well or badly.

It runs in a thread of the test process on a free port, answers what a test tells it to, counts
the requests and keeps their bodies. Nothing here imports litellm or any client. By hand, and for
measurements, it runs in a process of its own and tells at ``/counts`` what it answered::

    python -m tests.servers.openai_server --port 8000 --delay 0.2 --fail 0.1
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, ClassVar, Self

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from uvicorn.protocols.http.h11_impl import H11Protocol

from tests.servers.answers import FAULTS, Answer, Limited, Rule, content_of, error_body, faulty

__all__ = ["Answer", "OpenAIServer", "Rule"]


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

    def __init__(
        self, *answers: Answer, rule: Rule | None = None, port: int = 0, keep: bool = True
    ) -> None:
        given = answers or (Answer(),)
        self._rule: Rule = rule or (lambda body, number: given[min(number, len(given) - 1)])
        self.requests = 0
        """How many requests arrived."""
        self.answered: Counter[str] = Counter()
        """How many were answered how: by HTTP status, or ``cut``."""
        self._keep = keep
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
        # With its protocol named, asyncio sends small pieces at once on it.
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind(("127.0.0.1", port))
        self.port: int = self._socket.getsockname()[1]
        """The port on 127.0.0.1."""
        routes = [
            Route("/v1/chat/completions", self._chat, methods=["POST"]),
            Route("/v1/embeddings", self._chat, methods=["POST"]),
            Route("/counts", self._counts),
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
                timeout_keep_alive=600,  # else a slow client meets connections that just closed
                backlog=2048,
            )
        )
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [self._socket]}, daemon=True
        )

    @property
    def url(self) -> str:
        """The base URL, ending in ``/v1``."""
        return f"http://127.0.0.1:{self.port}/v1"

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
            number = self.requests
            self.requests += 1
            if self._keep:
                self.bodies.append(body)
                self.headers.append(dict(request.headers))
            self.running += 1
            self.most_running = max(self.most_running, self.running)
            self._changed.notify_all()
        try:
            return await self._answer(self._rule(body, number), number, request, body)
        finally:
            with self._changed:
                self.running -= 1
                self._changed.notify_all()

    async def _counts(self, request: Request) -> Response:
        counts = {"requests": self.requests, "most_running": self.most_running, **self.answered}
        return Response(json.dumps(counts), media_type="application/json")

    async def _answer(
        self, answer: Answer, number: int, request: Request, body: dict[str, Any]
    ) -> Response:
        if answer.hold:
            await self._held(request)
        if answer.delay_s:
            await asyncio.sleep(answer.delay_s)
        status, content = content_of(answer, number, body)
        self.answered[str(status) if answer.cut == "no" else "cut"] += 1
        headers = {**answer.headers, "content-type": answer.content_type}
        if answer.drip:
            return StreamingResponse(self._drops(), headers=headers)
        if answer.cut == "before":
            assert request.client is not None
            _Tracked.transports[request.client.port].close()
        if answer.cut == "during":
            headers["content-length"] = str(len(content))
            content = content[: len(content) // 2]
        return Response(content, status_code=status, headers=headers)

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


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until interrupted; the first line printed is the base URL."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.servers.openai_server", description="An OpenAI-compatible server."
    )
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one (default)")
    parser.add_argument("--text", default="Answer: A", help="what every good answer says")
    parser.add_argument("--delay", type=float, default=0.0, help="seconds before an answer")
    parser.add_argument("--fail", type=float, default=0.0, help="share of answers that go wrong")
    parser.add_argument(
        "--kinds", default="429,500,cut", help=f"how, of {','.join(FAULTS)} (429,500,cut)"
    )
    parser.add_argument("--seed", type=int, default=0, help="which of them go wrong")
    parser.add_argument("--requests", type=int, help="requests a minute that are let through")
    parser.add_argument("--tokens", type=int, help="tokens a minute that are let through")
    chosen = parser.parse_args(arguments)
    unknown = sorted(set(chosen.kinds.split(",")) - set(FAULTS))
    if unknown:
        parser.error(f"--kinds: unknown {', '.join(unknown)}; known are {', '.join(FAULTS)}")
    good = Answer(chosen.text, delay_s=chosen.delay)

    def rule(body: dict[str, Any], number: int) -> Answer:
        return good

    served: Rule = rule
    if chosen.requests or chosen.tokens:
        no_limit = 10**12
        served = Limited(
            served, requests=chosen.requests or no_limit, tokens=chosen.tokens or no_limit
        )
    if chosen.fail:
        served = faulty(chosen.fail, seed=chosen.seed, kinds=chosen.kinds.split(","), rule=served)
    with OpenAIServer(rule=served, port=chosen.port, keep=False) as server:
        print(server.url, flush=True)  # noqa: T201
        with suppress(KeyboardInterrupt):
            threading.Event().wait()


if __name__ == "__main__":
    main()
