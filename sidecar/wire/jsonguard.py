"""JSON that has one reading: orjson, and the refusals that orjson does not make itself.

Two parsers that read one text differently are a way around a gate, so a text with more than one reading is refused. orjson
refuses bad UTF-8, a byte order mark, unpaired surrogates, NaN and infinities. Here, on top: keys said twice in one object (also
when they differ in case only: Go's decoders fold it), integers beyond 64 bits (orjson makes them floats) and deep nesting.

The order is by cost. A text that orjson would write the same way byte for byte (what the SDKs send) holds no duplicate and no long
integer. Else an equal count of quotation marks proves that no key was dropped, and only what is still in doubt is read again, slowly.
Knows nothing of what the text means. Its counterpart is `dump`.
"""

from __future__ import annotations

import json
from typing import Any

import orjson

from sidecar.errors import MalformedCall, SidecarError

DEPTH = 250
"""Containers within containers. The contract refuses past 1,000; orjson writes 254 levels, and what can't be written can't be sent."""

_LOWEST, _HIGHEST = -(2**63), 2**64 - 1
_LONG = 2.0**63
_CROWD = 64


class _Twice(Exception):
    """Found by the slow reading: a key said twice, or an integer beyond 64 bits."""


def parse(data: bytes, error: type[SidecarError] = MalformedCall) -> Any:
    """The value of a JSON text. Raises `error` (the caller's fault by default; pass UpstreamGarbage for a reply) without echoing any of it."""
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError:
        raise error("the body is not JSON in UTF-8") from None
    if type(value) is not dict and type(value) is not list:
        if type(value) is float and not -_LONG < value < _LONG:
            _read_slowly(data, error)
        return value
    long = _walk(value, error)
    written = orjson.dumps(value)
    if written != data and (long or _doubtful(data, written)):
        _read_slowly(data, error)
    return value


def parse_object(data: bytes, error: type[SidecarError] = MalformedCall) -> dict[str, Any]:
    """Like `parse`, for bodies whose top level must be an object."""
    value = parse(data, error)
    if type(value) is not dict:
        raise error("the body must be a JSON object")
    return value


def canonical(text: str) -> str:
    """JSON carried in a string, written again from its parsed value, so that its next reader sees what was judged.

    A text that is no JSON, or JSON with two readings, is only text: it comes back as it is and is judged as such.
    """
    try:
        return dump(parse(text.encode())).decode()
    except (MalformedCall, UnicodeEncodeError):
        return text


def dump(value: object) -> bytes:
    """The bytes of a parsed value. Edits may have nested it deeper than can be written: raises MalformedCall then."""
    try:
        return orjson.dumps(value)
    except TypeError:
        raise MalformedCall("the body nests too deep") from None


def _walk(root: Any, error: type[SidecarError]) -> bool:
    """Look at every container once, without recursion. True where a float may have been an integer beyond 64 bits."""
    long = False
    nodes = [root]
    for node in nodes:  # grows while it is read
        values = node
        if type(node) is dict:
            names = "".join(node)
            if not (names.islower() and names.isascii()):
                _refuse_case_twins(node, error)
            values = node.values()
        elif len(node) > _CROWD and not {float, dict, list} & set(map(type, node)):
            continue  # token arrays: thousands of integers
        for value in values:
            kind = type(value)
            if kind is dict or kind is list:
                nodes.append(value)
            elif kind is float and not -_LONG < value < _LONG:
                long = True
    if len(nodes) > DEPTH:
        _refuse_depth(root, error)
    return long


def _refuse_depth(root: Any, error: type[SidecarError]) -> None:
    level = [root]
    for _ in range(DEPTH):
        inner = (node.values() if type(node) is dict else node for node in level)
        level = [value for values in inner for value in values if type(value) is dict or type(value) is list]
        if not level:
            return
    raise error(f"the body nests deeper than {DEPTH} levels")


def _refuse_case_twins(node: dict[str, object], error: type[SidecarError]) -> None:
    if len({name.casefold() for name in node}) != len(node):
        raise error("an object says one key twice")


def _doubtful(data: bytes, written: bytes) -> bool:
    """False proves that no key was dropped: every quotation mark of the text is in what was kept (its escape by number would hide one)."""
    return data.count(b'"') != written.count(b'"') or b"\\u0022" in data


def _read_slowly(data: bytes, error: type[SidecarError]) -> None:
    try:
        json.loads(data, object_pairs_hook=_pairs, parse_int=_integer)
    except _Twice as found:
        raise error(str(found)) from None
    except RecursionError:
        raise error("the body nests too deep") from None


def _pairs(pairs: list[tuple[str, object]]) -> None:
    if len({name for name, _ in pairs}) != len(pairs):
        raise _Twice("an object says one key twice")


def _integer(digits: str) -> int:
    # Twenty digits and a sign hold every 64-bit integer; JSON allows no leading zeros.
    if len(digits) > 21 or not _LOWEST <= (value := int(digits)) <= _HIGHEST:
        raise _Twice("an integer is beyond 64 bits")
    return value
