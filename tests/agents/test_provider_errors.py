"""What exceptions mean, decided without any client library."""

from __future__ import annotations

import time
from email.utils import formatdate
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.engine import Throttled
from agents.provider_errors import (
    DEFAULT_WAIT_S,
    LONGEST_WAIT_S,
    MESSAGE_CHARACTERS,
    attempted,
    causes,
    retry_after_s,
    scrubbed,
    secrets_in,
)
from protocols.replies import Reply


class HTTPStatusError(Exception):
    """Carries a response, as clients' errors do."""

    def __init__(self, message: str, status: int, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.response = SimpleNamespace(status_code=status, headers=headers or {})


def caused(outer: BaseException, inner: BaseException) -> BaseException:
    outer.__cause__ = inner
    return outer


def boundary(error: BaseException) -> str | None:
    result = attempted(error, where="here", secrets=())
    if isinstance(result, Throttled):
        return "throttled"
    assert isinstance(result, Reply)
    assert result.failure is not None
    return result.failure.boundary


def claiming(status: int, name: str = "InternalServerError", module: str = "litellm.x") -> Any:
    """Return an error of litellm's that claims a status no server sent."""
    kind = type(name, (Exception,), {"__module__": module})
    error = kind("litellm.InternalServerError: OpenAIException - wrapped")
    error.status_code = status
    return error


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (caused(claiming(500), HTTPStatusError("slow", 429)), "throttled"),
        (caused(claiming(500), TimeoutError()), "timeout"),
        (caused(claiming(500), ConnectionResetError("reset")), "provider"),
        (caused(claiming(500), HTTPStatusError("maximum context length is 5", 400)), "overlong"),
        (caused(claiming(500), HTTPStatusError("maximum context length is 5", 500)), "provider"),
        (caused(claiming(500), HTTPStatusError("'code': 'content_filter'", 400)), "refused"),
        (caused(claiming(500), HTTPStatusError("odd: content_filter", 400)), "provider"),
        (claiming(400, "ContextWindowExceededError"), "overlong"),
        (claiming(400, "ContentPolicyViolationError"), "refused"),
        (claiming(401, "AuthenticationError"), "provider"),
        (claiming(400, "UnsupportedParamsError"), "provider"),
        (claiming(500, "APIConnectionError"), "provider"),
        (KeyError("x"), "provider"),
        (ValueError(), "provider"),
    ],
    ids=lambda value: value if isinstance(value, str) else repr(value)[:40],
)
def test_the_cause_decides_not_the_wrapping(error: BaseException, expected: str) -> None:
    assert boundary(error) == expected


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ({"retry-after": "3"}, 3.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": "-4"}, 0.0),
        ({"retry-after": "1e300"}, LONGEST_WAIT_S),
        ({"retry-after": "inf"}, DEFAULT_WAIT_S),
        ({"retry-after": "nan"}, DEFAULT_WAIT_S),
        ({"retry-after": "soon"}, DEFAULT_WAIT_S),
        ({"retry-after": ""}, DEFAULT_WAIT_S),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0.0),
        ({"retry-after": "9", "retry-after-ms": "1500"}, 1.5),
        ({}, DEFAULT_WAIT_S),
    ],
)
def test_retry_after(headers: dict[str, str], wait_s: float) -> None:
    inner = HTTPStatusError("slow", 429, headers)
    assert retry_after_s(causes(caused(claiming(429), inner))) == wait_s


def test_retry_after_may_be_a_date() -> None:
    date = formatdate(time.time() + 3600.0, usegmt=True)
    assert 3000.0 < retry_after_s([HTTPStatusError("slow", 429, {"retry-after": date})]) <= 3601.0


def test_causes_in_a_circle_end() -> None:
    first, second = ValueError("a"), ValueError("b")
    first.__cause__, second.__context__ = second, first
    assert list(causes(first)) == [first, second]


@pytest.mark.parametrize(
    ("message", "kept"),
    [
        ("key my secret here", "key [key] here"),
        ("Incorrect API key provided: sk-abcd********wxyz. See", "Incorrect API key provided:"),
        ("Authorization: Bearer abc.def", "Authorization: Bearer [key]"),
        ("https://host/v1?key=AIzaSy123&x=1", "https://host/v1?key=[key]&x=1"),
        ("http://ann:pw@host/v1", "http://[key]@host/v1"),
        ("a\n\nb\x00\ud800", "a b\ufffd\ufffd"),
        ("host ssl:<ssl.SSLContext object at 0x7f35> [refused]", "host [refused]"),
    ],
)
def test_messages_are_scrubbed(message: str, kept: str) -> None:
    shown = scrubbed(message, ["my secret"])
    assert shown.startswith(kept)
    assert "sk-abcd" not in shown


@given(st.text(max_size=600), st.text(st.characters(codec="ascii"), min_size=8, max_size=40))
def test_no_secret_is_left_and_the_line_is_short(text: str, secret: str) -> None:
    secret = f"planted{''.join(secret.split())}"
    shown = scrubbed(f"{text}{secret}{text}", [secret])
    assert secret not in shown
    assert len(shown) <= MESSAGE_CHARACTERS
    shown.encode()


def test_secrets_are_known_by_the_names_of_their_variables() -> None:
    environment = {
        "OPENAI_API_KEY": " sk-123456789\n",
        "HF_TOKEN": "hf_abcdefgh",
        "db_password": "correct horse",
        "SHORT_KEY": "1",
        "HOME": "somewhere-long",
    }
    assert secrets_in(environment) == {"sk-123456789", "hf_abcdefgh", "correct horse"}
