"""A real browser for tests: headless Chromium, spoken to over its DevTools protocol.

It is started by the test that needs it, with a profile of its own, and killed with it.
"""

from __future__ import annotations

import asyncio
import base64
import os
import re
import shutil
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp

NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
STARTS_IN = 60.0
"""Seconds that a browser may take to start on a busy machine."""


def find_chromium() -> str | None:
    """Return the path of a Chromium, if there is one."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Tab:
    """One page of the browser, and what it said."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._id = 0
        self.requests: list[str] = []
        self.complaints: list[str] = []
        """Errors and warnings of the console, exceptions, what a policy refused."""

    async def call(self, method: str, **parameters: Any) -> Any:
        """Return the result of a command."""
        self._id += 1
        await self._socket.send_json({"id": self._id, "method": method, "params": parameters})
        while True:
            message = await self._socket.receive_json(timeout=STARTS_IN)
            self._note(message)
            if message.get("id") == self._id:
                assert "error" not in message, message
                return message["result"]

    async def open(self, url: str, *, width: int, dark: bool = False, script: bool = True) -> None:
        """Open a page at a width in pixels and wait until it is loaded."""
        for domain in ("Page", "Network", "Runtime", "Log"):
            await self.call(f"{domain}.enable")
        phone = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        await self.call("Emulation.setDeviceMetricsOverride", **phone)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self.call("Emulation.setEmulatedMedia", features=[scheme])
        await self.call("Emulation.setScriptExecutionDisabled", value=not script)
        await self.call("Page.navigate", url=url)
        while True:
            message = await self._socket.receive_json(timeout=STARTS_IN)
            self._note(message)
            if message.get("method") == "Page.loadEventFired":
                return

    async def value(self, expression: str) -> Any:
        """Return what an expression of JavaScript is, as JSON."""
        found = await self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    async def picture(self, *, whole: bool = True) -> bytes:
        """Return a picture of the page as PNG."""
        found = await self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        return base64.b64decode(found["data"])

    async def pdf(self) -> bytes:
        """Return the page as it is printed."""
        found = await self.call("Page.printToPDF", printBackground=True)
        return base64.b64decode(found["data"])

    def _note(self, message: dict[str, Any]) -> None:
        method, told = message.get("method"), message.get("params", {})
        if method == "Network.requestWillBeSent":
            self.requests.append(told["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            self.complaints.append(str(told["exceptionDetails"]))
        elif method == "Log.entryAdded":
            self.complaints.append(told["entry"]["text"])
        elif method == "Runtime.consoleAPICalled":
            self.complaints.append(str(told["args"]))


@asynccontextmanager
async def browser_tab(program: str, profile: Path) -> AsyncIterator[Tab]:
    """Start a browser, hand out its one tab, and kill it.

    Args:
        program: of Chromium.
        profile: a folder of its own.
    """
    flags = ("--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0")
    process = await asyncio.create_subprocess_exec(
        program,
        *flags,
        "--disable-dev-shm-usage",
        "--hide-scrollbars",
        f"--user-data-dir={profile}",
        "about:blank",
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    try:
        port = await asyncio.wait_for(_port(process), STARTS_IN)
        async with aiohttp.ClientSession() as session:
            async with session.get(f"http://127.0.0.1:{port}/json/list") as answer:
                target = next(one for one in await answer.json() if one["type"] == "page")
            address = target["webSocketDebuggerUrl"]
            async with session.ws_connect(address, max_msg_size=0) as socket:
                yield Tab(socket)
    finally:
        # Its helpers hold the pipe open, so they are killed with it and nobody reads to its end.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


async def _port(process: asyncio.subprocess.Process) -> str:
    """Return the port that a browser listens at, from what it says."""
    assert process.stderr is not None
    said = []
    async for line in process.stderr:
        said.append(line.decode(errors="replace"))
        if found := re.search(r"DevTools listening on ws://[^:]+:(\d+)/", said[-1]):
            return found[1]
    raise AssertionError(f"the browser did not start: {''.join(said)}")
