"""What a provider's exception means: decided by its chain of causes, without any client library.

Theory. Client libraries wrap what happened in layers, and the outermost layer often lies: a refused
connection, a missing key and broken JSON all arrive as "internal server error, status 500". So the
whole chain is read. A layer is known by the names of its classes, never by an import; a status
counts where a real HTTP response carries it; error codes in a body count only beside a 4xx status.

    what the chain shows                                 becomes
    -------------------------------------------------    -----------------------------------------
    429, a rate limit                                    Throttled(Retry-After, else a default)
    a time limit, 408, 504                               Failure timeout
    prompt and reply longer than the context             Failure overlong
    a content filter turned the request away             Failure refused
    a reply that is no chat completion                   Failure malformed
    connection, key, 401, 403, 404, 4xx, 5xx, the rest   Failure provider; the message says which

Messages are one line, bounded, free of NUL, and free of keys (:func:`scrubbed`).
"""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple

from agents.engine import Attempted, Throttled
from protocols.canonical import clean_text
from protocols.replies import Boundary, failed

DEFAULT_WAIT_S = 5.0
"""How long to wait after a rate limit that names no time."""
LONGEST_WAIT_S = 86_400.0
"""What a provider may ask for at most."""
MESSAGE_CHARACTERS = 300

_TIMEOUTS = frozenset({"TimeoutError", "TimeoutException", "APITimeoutError", "Timeout"})
_CONNECTIONS = frozenset(
    {"APIConnectionError", "TransportError", "InvalidURL", "ClientConnectionError", "OSError"}
)
_BROKEN = frozenset({"JSONDecodeError", "APIResponseValidationError"})
_BROKEN_TEXT = re.compile(
    r"Empty or invalid response from|Invalid response object|'choices' that is not a list"
    r"|Unable to get json response",
)
_PAGE_TEXT = re.compile(r"(?:Received: |Original Response: )['\"]?\s*<")
_OVERLONG_TEXT = re.compile(
    r"['\"]code['\"]: ?['\"](?:context_length_exceeded|string_above_max_length)['\"]"
    r"|maximum context length|prompt is too long|exceeds? the (?:model's )?(?:maximum )?context",
)
_REFUSED_TEXT = re.compile(
    r"['\"]code['\"]: ?['\"](?:content_policy_violation|content_filter|moderation_blocked)['\"]"
)
_NO_KEY_TEXT = re.compile(r"Missing credentials|Missing [\w ]*API key|no key is set|api_key client")
_STATUS_CAUSES: Mapping[int, tuple[str, str]] = {
    400: ("bad_request", "bad request"),
    401: ("authentication", "authentication"),
    402: ("payment", "payment"),
    403: ("authentication", "permission"),
    404: ("not_found", "not found"),
    422: ("bad_request", "bad request"),
}
_WRAPPING = re.compile(r"^(?:(?:litellm\.)?\w*(?:Error|Exception)(?: -|:)\s*)+")
_ADDRESSES = re.compile(r"\s*ssl:(?:<[^>]*>|\S+)| at 0x[0-9a-f]+")
_SECRET_NAMES = re.compile(r"KEY|TOKEN|SECRET|PASSWORD|CREDENTIAL", re.IGNORECASE)
_SECRET_FORMS = re.compile(
    r"\bsk-[\w*.-]{4,}|(?<=Bearer )[^\s'\"]+"
    r"|(?<=[?&]key=)[^&\s'\"]+|(?<=[?&]api_key=)[^&\s'\"]+|(?<=://)[^/@\s]+(?=@)"
)
_HIDDEN = "[key]"


class Cause(NamedTuple):
    """What happened."""

    boundary: Boundary | None
    """The boundary that was crossed; None where the attempt was throttled."""
    name: str
    """The finer cause, as ``Failure.cause`` holds it."""
    words: str
    """The same for people."""


def attempted(
    error: BaseException, *, where: str, secrets: Iterable[str], latency_s: float = 0.0
) -> Attempted:
    """Return what an attempt that raised `error` comes to.

    Args:
        error: what the client library raised.
        where: the provider or the server's address, for people.
        secrets: values that must not be in any message.
        latency_s: seconds from dispatch.
    """
    chain = tuple(causes(error))
    cause = classify(chain)
    message = scrubbed(f"{cause.words} ({where}): {_detail(chain)}", secrets)
    if cause.boundary is None:
        return Throttled(retry_after_s(chain), message)
    return failed(cause.boundary, message, cause=cause.name, latency_s=latency_s)


def causes(error: BaseException) -> Iterator[BaseException]:
    """Yield `error` and what led to it, outermost first, each once."""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__ or current.__context__


def classify(chain: tuple[BaseException, ...]) -> Cause:
    """Decide what a chain of causes means (the table at the top)."""
    names = frozenset().union(*map(_names, chain))
    answered = _real_status(chain)
    status = _claimed_status(chain) if answered is None else answered
    text = "\n".join(str(error) for error in chain)
    if status == 429 or "RateLimitError" in names:
        return Cause(None, "throttled", "rate limit")
    if status in (408, 504) or names & _TIMEOUTS:
        return Cause("timeout", "time_limit", "time limit")
    rejected = status is not None and 400 <= status < 500
    if "ContextWindowExceededError" in names or (rejected and _OVERLONG_TEXT.search(text)):
        return Cause("overlong", "context", "context too long")
    if "ContentPolicyViolationError" in names or (rejected and _REFUSED_TEXT.search(text)):
        return Cause("refused", "content_filter", "content filter")
    broken = _unusable(chain, names, text) if answered is None else None
    return broken or _rejection(names, status, text)


def _unusable(chain: tuple[BaseException, ...], names: frozenset[str], text: str) -> Cause | None:
    """Decide where no error status was sent: an answer that is none, or no answer at all."""
    if _PAGE_TEXT.search(text):
        return Cause("provider", "no_api", "a page instead of an answer, check base_url")
    if names & _BROKEN or _BROKEN_TEXT.search(text):
        return Cause("malformed", "broken_response", "broken response")
    if _is_connection(chain):
        return Cause("provider", "connection", "connection")
    return None


def _rejection(names: frozenset[str], status: int | None, text: str) -> Cause:
    """Decide by the HTTP status, where nothing else says more."""
    if _NO_KEY_TEXT.search(text):
        return Cause("provider", "authentication", "authentication, no key")
    if "UnsupportedParamsError" in names:
        return Cause("provider", "bad_request", "setting not supported by the model")
    if status is None or status < 400:
        return Cause("provider", "", "unexpected")
    if status >= 500:
        return Cause("provider", "unavailable", f"server error {status}")
    name, words = _STATUS_CAUSES.get(status, ("bad_request", "rejected"))
    return Cause("provider", name, f"{words} {status}")


def rejected_text(error: BaseException) -> str:
    """Return all that is said where a request was rejected for what it holds, else nothing."""
    chain = tuple(causes(error))
    if classify(chain).name != "bad_request":
        return ""
    return "\n".join(str(cause) for cause in chain)


def headers_of(chain: Iterable[BaseException]) -> Iterator[Mapping[str, str]]:
    """Yield the headers of every HTTP response in a chain, outermost first."""
    for error in chain:
        yield getattr(getattr(error, "response", None), "headers", None) or {}


def retry_after_s(chain: Iterable[BaseException], *, default: float = DEFAULT_WAIT_S) -> float:
    """Return the seconds that a ``Retry-After`` header asks for, else `default`."""
    for headers in headers_of(chain):
        for name, scale in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
            wait = _seconds(headers.get(name), scale)
            if wait is not None:
                return wait
    return default


def _seconds(value: str | None, scale: float) -> float | None:
    """Read a header that holds a number, or a date as HTTP writes it."""
    if not value:
        return None
    try:
        wait = float(value) * scale
    except ValueError:
        try:
            wait = parsedate_to_datetime(value).timestamp() - time.time()
        except (ValueError, OverflowError):
            return None
    return min(max(wait, 0.0), LONGEST_WAIT_S) if math.isfinite(wait) else None


def scrubbed(message: str, secrets: Iterable[str]) -> str:
    """Return `message` as one bounded clean line, without `secrets` and what looks like one."""
    for secret in sorted(secrets, key=len, reverse=True):
        message = message.replace(secret, _HIDDEN)
    message = _SECRET_FORMS.sub(_HIDDEN, _ADDRESSES.sub("", message))
    line = clean_text(" ".join(message.split()))[0]
    return line if len(line) <= MESSAGE_CHARACTERS else line[: MESSAGE_CHARACTERS - 3] + "..."


def looks_secret(text: str) -> bool:
    """Whether `text` holds something of the form of a key."""
    return _SECRET_FORMS.search(text) is not None


def secrets_in(environment: Mapping[str, str]) -> frozenset[str]:
    """Return the values of `environment` whose names say that they are secret."""
    return frozenset(
        value.strip()
        for name, value in environment.items()
        if _SECRET_NAMES.search(name) and len(value.strip()) >= 8
    )


def _names(error: BaseException) -> frozenset[str]:
    return frozenset(kind.__name__ for kind in type(error).__mro__)


def _is_connection(chain: tuple[BaseException, ...]) -> bool:
    return any(_foreign(error) and _names(error) & _CONNECTIONS for error in chain)


def _foreign(error: BaseException) -> bool:
    """Whether the layer is not litellm's, whose connection error stands for anything unknown."""
    return not type(error).__module__.startswith("litellm")


def _real_status(chain: tuple[BaseException, ...]) -> int | None:
    """Return the status of the HTTP response, where there was one."""
    for error in reversed(chain):
        status = getattr(getattr(error, "response", None), "status_code", None)
        if _foreign(error) and isinstance(status, int):
            return status
    return None


def _claimed_status(chain: tuple[BaseException, ...]) -> int | None:
    """Return the status that the outermost layer claims, unless it is 500 for "anything"."""
    status = getattr(chain[0], "status_code", None)
    return status if isinstance(status, int) and 400 <= status < 500 else None


def _detail(chain: tuple[BaseException, ...]) -> str:
    """Return what the provider said: its error message, else the innermost useful words."""
    for error in chain:
        said = _said(getattr(error, "body", None)) or _said(_WRAPPING.sub("", str(error)))
        if said:
            return said
    if _is_connection(chain):
        return next((str(error) for error in reversed(chain) if str(error)), "no connection")
    first_line = _WRAPPING.sub("", str(chain[0])).split("\nTraceback")[0]
    return first_line or type(chain[0]).__name__


def _said(body: Any) -> str | None:
    """Return the message of an OpenAI error object, given as an object or as JSON."""
    if isinstance(body, str):
        try:
            body = json.loads(body)
        except ValueError:
            return None
    if isinstance(body, Mapping):
        inner = body.get("error", body)
        message = inner.get("message") if isinstance(inner, Mapping) else inner
        return message if isinstance(message, str) and message else None
    return None
