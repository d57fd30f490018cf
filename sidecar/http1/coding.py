"""Content codings, undone within a limit: whole for requests, piece by piece for answers.

Its users are `request` and `route/channel.py`. It knows gzip and deflate; anything else is refused, never passed on unread.
"""

from __future__ import annotations

import zlib

from sidecar.errors import MalformedCall, TooLarge, UpstreamGarbage, WrongMediaType
from sidecar.http1 import rules

PIECE = 256 * 2**10
"""Most bytes one step of a stream decodes."""
RATIO = 200
FREE = 4 * 2**20
"""A stream may not grow past RATIO times what came, once it is past FREE. Text reaches about 20, bombs 1,000."""

_GZIP, _ZLIB, _RAW = 31, 15, -15


def request_encoding(value: str) -> str:
    """`gzip` or "" for a Content-Encoding field. Raises WrongMediaType for any other, and for stacks."""
    named = [name for name in rules.tokens(value) if name != "identity"]
    if not named:
        return ""
    if len(named) == 1 and named[0] in ("gzip", "x-gzip"):
        return "gzip"
    raise WrongMediaType("the only content coding taken is gzip")


def decode(encoding: str, data: bytes, limit: int) -> bytes:
    """Undo `gzip` on a whole body. Raises TooLarge past `limit` bytes, MalformedCall where it is not one whole member."""
    if encoding != "gzip":
        raise WrongMediaType("the only content coding taken is gzip")
    if not data:
        return b""
    inflater = zlib.decompressobj(_GZIP)
    try:
        out = inflater.decompress(data, limit + 1)
    except zlib.error:
        raise MalformedCall("the body is not gzip") from None
    if len(out) > limit:
        raise TooLarge("the request body is too large once decoded")
    if not inflater.eof or inflater.unused_data:
        raise MalformedCall("the gzip body is cut short, or something follows it")
    return out


class Decoder:
    """One compressed answer, piece by piece. `feed` takes bytes, `pull` gives at most PIECE of them decoded."""

    __slots__ = ("_deflate", "_given", "_inflater", "_pending", "_taken")

    def __init__(self, deflate: bool) -> None:
        self._deflate = deflate
        self._inflater = zlib.decompressobj(_ZLIB if deflate else _GZIP)
        self._pending = b""
        self._taken = 0
        self._given = 0

    @classmethod
    def of(cls, value: str) -> Decoder | None:
        """The decoder for a Content-Encoding field, None for `identity`. Raises UpstreamGarbage for one that is not known."""
        named = [name for name in rules.tokens(value) if name != "identity"]
        if not named:
            return None
        if len(named) > 1 or named[0] not in ("gzip", "x-gzip", "deflate"):
            raise UpstreamGarbage("the answer has a content coding that was not asked for")
        return cls(named[0] == "deflate")

    def feed(self, data: bytes) -> None:
        """Take encoded bytes."""
        if self._taken == 0 and self._deflate and data and (data[0] & 0x0F) != 8:
            self._inflater = zlib.decompressobj(_RAW)  # servers that send deflate without zlib's wrapper (RFC 9110, 8.4.1.2)
        self._taken += len(data)
        self._pending += data

    def pull(self) -> bytes:
        """Give decoded bytes, `b""` when more must be fed. Raises UpstreamGarbage on a bomb or on what is no such coding."""
        if not self._pending:
            return b""
        if self._inflater.eof:
            raise UpstreamGarbage("something follows the compressed answer")
        try:
            out = self._inflater.decompress(self._pending, PIECE)
        except zlib.error:
            raise UpstreamGarbage("the answer is not in the coding it names") from None
        self._pending = self._inflater.unconsumed_tail or self._inflater.unused_data
        self._given += len(out)
        if self._given > max(FREE, RATIO * self._taken):
            raise UpstreamGarbage("the answer grows too much when decoded")
        return out

    def end(self) -> None:
        """Nothing more will be fed. Raises UpstreamGarbage where the coding is cut short."""
        if self._taken and not self._inflater.eof:
            raise UpstreamGarbage("the compressed answer is cut short")
