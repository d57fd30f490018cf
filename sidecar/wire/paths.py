"""A raw request target to one canonical path and its query pairs, so that no spelling walks around a rule.

Percent escapes are undone once, and only those that never needed escaping (RFC 3986, 6.2.2.2). What another parser could read in a
second way is refused: escaped slashes, backslashes and controls, escapes of escapes, `..`, bytes beyond ASCII. Case is kept: the
table in `wire/__init__.py` folds it for the literal segments alone, because ids have case.
"""

from __future__ import annotations

import re
from urllib.parse import quote, unquote_to_bytes

from sidecar.errors import MalformedCall

Pairs = tuple[tuple[str, str], ...]

_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_REFUSED = frozenset(b"/\\%") | frozenset(range(0x21)) | frozenset(range(0x7F, 0x100))
_ESCAPE = re.compile(r"%([0-9A-Fa-f]{2})?")
_BROKEN = re.compile(r"%(?![0-9A-Fa-f]{2})")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def canonical(target: str) -> tuple[str, Pairs]:
    """(path, query pairs) of an origin-form target (RFC 9112, 3.2.1): one leading slash, none at the end, none doubled.

    Raises MalformedCall on every other form and on what has more than one reading.
    """
    if target[:1] != "/" or not target.isascii() or not target.isprintable() or " " in target or "\\" in target or "#" in target:
        raise MalformedCall("the request target is not a plain path")
    path, mark, query = target.partition("?")
    if "%" in path:
        path = _ESCAPE.sub(_unescape, path)
    if "//" in path or "/." in path or path[-1] == "/":
        path = _tidy(path)
    return path, _pairs(query) if mark else ()


def with_query(path: str, query: Pairs) -> str:
    """A path with these pairs behind it, escaped."""
    if not query:
        return path
    return path + "?" + "&".join(f"{quote(name, safe='[]-._~$')}={quote(value, safe='-._~')}" for name, value in query)


def _unescape(match: re.Match[str]) -> str:
    if match[1] is None:
        raise MalformedCall("the path holds a broken escape")
    byte = int(match[1], 16)
    if byte in _REFUSED:
        raise MalformedCall("the path holds an escape that has more than one reading")
    return chr(byte) if byte in _UNRESERVED else f"%{byte:02X}"


def _tidy(path: str) -> str:
    segments = [segment for segment in path.split("/") if segment not in ("", ".")]
    if ".." in segments:
        raise MalformedCall("the path climbs")
    return "/" + "/".join(segments)


def _pairs(query: str) -> Pairs:
    pairs = []
    for piece in query.split("&"):
        if piece:
            name, _, value = piece.partition("=")
            pairs.append((_decode(name), _decode(value)))
    return tuple(pairs)


def _decode(text: str) -> str:
    if "%" not in text:
        return text.replace("+", " ")
    if _BROKEN.search(text):
        raise MalformedCall("the query holds a broken escape")
    try:
        decoded = unquote_to_bytes(text.replace("+", " ")).decode()
    except UnicodeDecodeError:
        raise MalformedCall("the query is not UTF-8") from None
    if _CONTROL.search(decoded):
        raise MalformedCall("the query holds control characters")
    return decoded
