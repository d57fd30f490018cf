"""Writes heads and chunks as bytes. The framing fields are said here and nowhere else: those that callers pass are left out.

Its users are `server/listener.py` and `route/channel.py`. A CR, LF or NUL in a name, value or target raises ValueError: that
is a bug of the caller of this module (every reader refuses them), so it must be loud.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from sidecar.http1.rules import HOP_BY_HOP

if TYPE_CHECKING:
    from collections.abc import Iterable

_STATUS = {status.value: f"HTTP/1.1 {status.value} {status.phrase}" for status in HTTPStatus}
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"
CHUNKED = "chunked"


def response_head(status: int, headers: Iterable[tuple[str, str]], framing: str, *, close: bool) -> bytes:
    """The head of an answer. `framing` is the Content-Length in digits, `chunked`, or "" for neither (204, or until close)."""
    lines = [_STATUS.get(status) or f"HTTP/1.1 {status} "]
    lines += [f"{name}: {value}" for name, value in headers if name not in HOP_BY_HOP]
    return _finish(lines, framing, close=close)


def request_head(method: str, target: str, host: str, headers: Iterable[tuple[str, str]], length: int | None) -> bytes:
    """The head of a request. `host` is the authority of the upstream's URL; `length` the body's bytes, None for no body at all."""
    if " " in target or not target.startswith("/"):
        raise ValueError("a request target is a path without spaces")
    lines = [f"{method} {target} HTTP/1.1", f"host: {host}"]
    lines += [f"{name}: {value}" for name, value in headers if name not in HOP_BY_HOP and name != "host"]
    return _finish(lines, "" if length is None else str(length), close=False)


def chunk(data: bytes) -> bytes:
    """One chunk. Empty data would end the body, so it is nothing at all."""
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""


def _finish(lines: list[str], framing: str, *, close: bool) -> bytes:
    if framing == CHUNKED:
        lines.append("transfer-encoding: chunked")
    elif framing:
        lines.append("content-length: " + framing)
    if close:
        lines.append("connection: close")
    count = len(lines) + 1
    lines += ("", "")
    head = "\r\n".join(lines)
    # Counting finds any splitting: joined lines hold exactly `count` line ends (CWE-113).
    if head.count("\n") != count or head.count("\r") != count or "\0" in head:
        raise ValueError("a line end or NUL inside a head")
    return head.encode("latin-1")
