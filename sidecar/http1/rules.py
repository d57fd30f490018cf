"""Which bytes are HTTP/1.1 and which are refused: every framing rule and limit of both directions, in one place.

Its users are the readers and writers beside it. It knows no parser and no connection.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class RequestLimits(NamedTuple):
    """What one request may be. Bytes; `body` counts after chunks are joined, and again after decoding."""

    head: int = 64 * 2**10
    headers: int = 100
    body: int = 32 * 2**20


class ResponseLimits(NamedTuple):
    """What one answer may be. `informational` is how many 1xx may come before it."""

    head: int = 64 * 2**10
    headers: int = 200
    informational: int = 8


REQUEST_LINE = re.compile(rb"([A-Z]{1,16}) (/[!-~]*|\*|[!-.0-~][!-~]*) HTTP/(\d)\.(\d)\r\n")
"""RFC 9112, 3: single spaces, no blank line in front, visible ASCII. The target's form is judged after this."""
REQUEST_LINE_START = re.compile(rb"([A-Z]{1,16})(?: ([!-~]{1,2048}))?")
"""What can be told of a line that does not fit, so that its refusal finds its dialect."""
BARE_LF = re.compile(rb"(?<!\r)\n")
"""Looked for in heads whose end has not come, which would otherwise be waited for in vain; llhttp finds it in whole ones."""
HOST = re.compile(r"(?:[A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{0,5})?")
"""RFC 9110, 7.2, without percent-encoding, user or IPvFuture."""

METHODS: Mapping[bytes, str] = {name.encode(): name for name in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")}
"""Methods that reach a door. CONNECT and TRACE have a meaning for the connection, which a policy can't see."""

SINGLE = frozenset(("host", "content-length", "transfer-encoding", "content-type", "content-encoding", "expect", "upgrade", "authorization"))
"""Request fields with one value: twice means two readings (llhttp sees to content-length and transfer-encoding as well)."""
OVERRIDES = frozenset(("x-http-method-override", "x-method-override", "x-http-method"))
"""They would make the method that was judged another one upstream."""
SINGLE_IN_ANSWERS = frozenset(("content-length", "transfer-encoding", "content-encoding", "content-type", "location"))

HOP_BY_HOP = frozenset(
    (
        "connection",
        "content-length",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    )
)
"""RFC 9110, 7.6.1, and content-length: about one connection, so the writer alone says them."""

CHUNK_OVERHEAD = 16 * 2**10
CHUNK_FACTOR = 8
"""Chunked bytes may be this many times the data, plus CHUNK_OVERHEAD: one-byte chunks pass (6 bytes each), endless extensions, leading zeros and trailers do not."""

_STAYING = frozenset(("keep-alive", "Keep-Alive"))

_COMMON = (  # a paragraph of names reads better than sixty lines
    "accept accept-encoding accept-language anthropic-beta anthropic-version api-key authorization baggage cache-control cf-ray connection content-encoding "
    "content-length content-type cookie date expect host idempotency-key keep-alive openai-beta openai-organization openai-project origin "
    "referer request-id retry-after server te traceparent tracestate transfer-encoding user-agent vary via x-api-key x-forwarded-for x-forwarded-proto "
    "x-goog-api-client x-goog-api-key x-request-id x-stainless-arch x-stainless-async x-stainless-helper-method x-stainless-lang x-stainless-os "
    "x-stainless-package-version x-stainless-read-timeout x-stainless-retry-count x-stainless-runtime x-stainless-runtime-version x-stainless-timeout"
)
NAMES: Mapping[str, str] = {spelling: name for name in _COMMON.split() for spelling in (name, name.title(), name.upper())}
"""Usual spellings of usual names, lower-cased at load; a miss is lower-cased by `fields`."""


def bodiless(status: int) -> bool:
    """Whether an answer with this status has no body whatever its fields say (RFC 9112, 6.3)."""
    return status < 200 or status in (204, 304)


def fields(head: bytes) -> list[tuple[str, str]]:
    """Split a whole head, start line and blank line included, into lower-case names and values.

    llhttp must have accepted the head before: its grammar is what makes this plain split have one reading. Doing it here
    rather than in a callback per field saves half of the time a request takes to read.
    """
    known = NAMES.get
    found = []
    for line in head.decode("latin-1").split("\r\n")[1:-2]:
        name, _, value = line.partition(":")
        found.append((known(name) or name.lower(), value.strip(" \t")))
    return found


def repeated(headers: Sequence[tuple[str, str]], single: frozenset[str]) -> str:
    """The first of `single` that comes twice, or ""."""
    seen = set()
    for name, _ in headers:
        if name in seen and name in single:
            return name
        seen.add(name)
    return ""


def lasting(headers: Sequence[tuple[str, str]], by_name: Mapping[str, str]) -> bool:
    """Whether no Connection field says `close`. It is a list that may be repeated (RFC 9110, 5.2)."""
    if "connection" not in by_name:
        return True
    return not any(name == "connection" and value not in _STAYING and "close" in tokens(value) for name, value in headers)


def tokens(value: str) -> list[str]:
    """The lower-case members of a comma-separated field (RFC 9110, 5.6.1), empty ones left out."""
    return [part for raw in value.lower().split(",") if (part := raw.strip(" \t"))]
