"""The parts of a signed token (RFC 7515 compact form), taken apart and not yet believed. Pure; `jwt` verifies.

Read strictly, because two readers of one token must not see two things: base64url without padding or stray bits, UTF-8, JSON
without duplicate keys, without NaN.
"""

from __future__ import annotations

import base64
import binascii
import json
from typing import TYPE_CHECKING, NamedTuple

import orjson

if TYPE_CHECKING:
    from collections.abc import Mapping


class Token(NamedTuple):
    """Header and payload as they came, the bytes the signature is over, the signature."""

    header: Mapping[str, object]
    payload: Mapping[str, object]
    signed: bytes
    signature: bytes


class BadToken(ValueError):
    """It is a token by its form, and an unreadable one."""


def header_of(text: str) -> Mapping[str, object] | None:
    """The header, if this is a token by its form: three parts of base64url, the first a JSON object. Else None: it is a key."""
    head, _, rest = text.partition(".")
    if rest.count(".") != 1:
        return None
    try:
        return read_json(_bytes(head))
    except BadToken:
        return None


def parse(text: str, header: Mapping[str, object]) -> Token:
    """The whole token; `header` is what `header_of` found. Raises BadToken."""
    signed, _, signature = text.rpartition(".")
    payload = signed.partition(".")[2]
    return Token(header, read_json(_bytes(payload)), signed.encode(), _bytes(signature))


def read_json(data: bytes) -> Mapping[str, object]:
    """A JSON object with one reading. Raises BadToken."""
    try:
        orjson.loads(data)  # the stricter of the two: UTF-8, no lone surrogates, no NaN, bounded nesting
        value = json.loads(data, object_pairs_hook=_object)  # tells duplicate keys
    except ValueError:
        raise BadToken("not JSON with one reading") from None
    if not isinstance(value, dict):
        raise BadToken("not a JSON object")
    return value


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise BadToken("a key is there twice")
    return found


def _bytes(text: str) -> bytes:
    """RFC 7515 appendix C, strictly: encoding again must give the same text, or one signature would have several spellings."""
    try:
        data = base64.b64decode(text.encode() + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise BadToken("not base64url") from None
    if base64.urlsafe_b64encode(data).rstrip(b"=").decode() != text:
        raise BadToken("not base64url")
    return data
