"""The guard in conftest.py: tests reach this machine and nothing else, with no real key."""

from __future__ import annotations

import asyncio
import os
import socket
import urllib.request

import pytest

from tests.conftest import SECRET, LiveCallRefused, is_here

ELSEWHERE = "192.0.2.1"
"""An address kept for documentation; nobody has it."""


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.5.5.5", True),
        ("::1", True),
        ("::1%lo", True),
        ("localhost", True),
        (b"localhost", True),
        ("0.0.0.0", True),
        ("", True),
        (None, True),
        (ELSEWHERE, False),
        ("10.0.0.1", False),
        ("example.com", False),
        ("localhost.example.com", False),
        ("127.0.0.1.example.com", False),
    ],
)
def test_what_counts_as_here(host: object, expected: bool) -> None:
    assert is_here(host) is expected


def test_connecting_elsewhere_is_refused() -> None:
    with socket.socket() as client, pytest.raises(LiveCallRefused, match=ELSEWHERE):
        client.connect((ELSEWHERE, 80))


def test_sending_a_datagram_elsewhere_is_refused() -> None:
    with (
        socket.socket(type=socket.SOCK_DGRAM) as client,
        pytest.raises(LiveCallRefused, match=ELSEWHERE),
    ):
        client.sendto(b"", (ELSEWHERE, 80))


def test_a_library_that_looks_a_name_up_is_refused() -> None:
    with pytest.raises(LiveCallRefused, match=r"example\.com"):
        urllib.request.urlopen("http://example.com")


async def test_the_event_loop_is_refused_too() -> None:
    with pytest.raises(LiveCallRefused, match=ELSEWHERE):
        await asyncio.open_connection(ELSEWHERE, 80)


def test_loopback_and_unix_sockets_work() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname()).close()
    left, right = socket.socketpair()
    left.close()
    right.close()


def test_no_real_key_is_left() -> None:
    assert not [name for name in os.environ if SECRET.search(name.upper())]
