"""The form of an API key: `sck_`, random base62, six digits of checksum. Pure: randomness is handed in.

The prefix lets secret scanners find a leaked key, the checksum lets a mistyped one be told from a wrong one without a lookup.
Documents hold the SHA-256 alone; no slow hash is needed, because 160 random bits can't be guessed.
"""

from __future__ import annotations

import hashlib
import zlib
from math import ceil, log2

PREFIX = "sck_"
ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
LEAST = 20
"""Random bytes: 160 bits."""
MOST = 64
CHECK = 6
"""Base62 digits that hold any CRC-32."""


def make(random_bytes: bytes) -> str:
    """The key made of 20 to 64 random bytes. Raises ValueError for fewer or more."""
    if not LEAST <= len(random_bytes) <= MOST:
        raise ValueError(f"a key takes {LEAST} to {MOST} random bytes")
    body = _base62(int.from_bytes(random_bytes, "big"), _digits(len(random_bytes)))
    return f"{PREFIX}{body}{_checksum(body)}"


def looks_like(token: str) -> bool:
    """Whether it has the prefix, the length and the checksum of a key. Says nothing of whether the key is known."""
    body, check = token[len(PREFIX) : -CHECK], token[-CHECK:]
    if not token.startswith(PREFIX) or not _digits(LEAST) <= len(body) <= _digits(MOST):
        return False
    return token.isascii() and body.isalnum() and check == _checksum(body)


def digest(token: str) -> str:
    """What documents hold of a key: the SHA-256 in 64 lower-case hex digits."""
    return hashlib.sha256(token.encode()).hexdigest()


def _digits(size: int) -> int:
    return ceil(size * 8 / log2(62))


def _checksum(body: str) -> str:
    return _base62(zlib.crc32(body.encode()), CHECK)


def _base62(number: int, digits: int) -> str:
    out = []
    for _ in range(digits):
        number, digit = divmod(number, 62)
        out.append(ALPHABET[digit])
    return "".join(reversed(out))
