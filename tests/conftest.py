"""What holds for every test: no live call, no real key, the same examples on every CI run."""

from __future__ import annotations

import ipaddress
import os
import re
import sys

from hypothesis import settings

from tests.ray_cluster import ray_cluster
from tests.servers.fixtures import loopback

__all__ = ["loopback", "ray_cluster"]

SECRET = re.compile(r"(_KEY|_KEY_ID|_TOKEN|_SECRET|_PASSWORD|_CREDENTIALS)$")
HERE = {"", "localhost", "localhost.localdomain"}


class LiveCallRefused(BaseException):
    """A test tried to reach another machine.

    A BaseException, so that code which turns errors into failures of an expert cannot hide it.
    """


def is_here(host: object) -> bool:
    """Return whether a host name or address means this machine: loopback or unspecified."""
    if host is None or isinstance(host, bytes):
        host = (host or b"").decode()
    if not isinstance(host, str):
        return False
    if host in HERE:
        return True
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


def refuse_live_calls(event: str, arguments: tuple[object, ...]) -> None:
    """Raise where Python is about to connect, send or look a name up outside this machine."""
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        target = arguments[1]
        if isinstance(target, tuple) and not is_here(target[0]):
            raise LiveCallRefused(f"{event} to {target!r}: tests talk to loopback servers only")
    elif event in ("socket.getaddrinfo", "socket.gethostbyname") and not is_here(arguments[0]):
        raise LiveCallRefused(f"{event} of {arguments[0]!r}: tests talk to loopback servers only")


# Audit hooks cannot be removed, so there is one a process, and it watches every thread and loop.
sys.addaudithook(refuse_live_calls)

for name in [name for name in os.environ if SECRET.search(name.upper())]:
    del os.environ[name]
os.environ.update(
    HF_HUB_OFFLINE="1",  # no look-ups at model hubs
    LITELLM_LOCAL_MODEL_COST_MAP="True",  # no download of prices
    LITELLM_MODE="PRODUCTION",  # no reading of a .env file
    RAY_USAGE_STATS_ENABLED="0",  # no statistics sent home
)

# Time limits on examples fail on a busy machine and say nothing about the code.
settings.register_profile("here", deadline=None, max_examples=40)
settings.register_profile("ci", deadline=None, max_examples=40, derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "here")
