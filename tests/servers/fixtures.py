"""The loopback server as a fixture."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.servers.openai_server import OpenAIServer


@pytest.fixture
def loopback() -> Iterator[Callable[..., OpenAIServer]]:
    """Start servers, as many as are asked for; all end with the test.

    ::

        server = loopback(Answer(status=500), Answer())
        expert = Expert(model="openai/some-model", base_url=server.url)
    """
    from tests.servers.openai_server import OpenAIServer

    with ExitStack() as running:

        def start(*answers: Any, **settings: Any) -> OpenAIServer:
            return running.enter_context(OpenAIServer(*answers, **settings))

        yield start
