"""API keys, known by their SHA-256 alone. Their form is in `keys`.

Constant time by construction: the caller's key is hashed first, the table is entered by the first eight bytes of the hash, and
the rest is compared with `hmac.compare_digest`. Timing could tell at most whether a hash begins like a known one, and nobody can
steer a SHA-256 towards that without the key.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING, NamedTuple

from sidecar.credentials import keys
from sidecar.credentials.claims import Claims, WrongClaim
from sidecar.errors import ConfigError
from sidecar.need import Unauthenticated
from sidecar.principal import Principal

if TYPE_CHECKING:
    from sidecar.config.documents import ApiKeys, Key

HEAD = 8
UNKNOWN = Unauthenticated("unknown API key")
MISTYPED = Unauthenticated("mistyped API key: its checksum does not fit")
EXPIRED = Unauthenticated("the API key has expired")


class _Known(NamedTuple):
    digest: bytes
    principal: Principal


class ApiKeyMethod:
    """All API keys of an Identity. Raises ConfigError for a hash that is none, is there twice, or claims that are not declared."""

    def __init__(self, documents: tuple[ApiKeys, ...], claims: Claims) -> None:
        self._table: dict[bytes, list[_Known]] = {}
        seen: set[bytes] = set()
        for key in (key for document in documents for key in document.keys):
            digest = _digest(key)
            if digest in seen:
                raise ConfigError(f"key `{key.id}`: another key has the same sha256")
            seen.add(digest)
            self._table.setdefault(digest[:HEAD], []).append(_Known(digest, _principal(key, claims)))

    def verify(self, token: str, now: float) -> Principal | Unauthenticated:
        """Whose key this is. The same object for the same key, every time."""
        digest = hashlib.sha256(token.encode()).digest()
        for known in self._table.get(digest[:HEAD], ()):
            if hmac.compare_digest(known.digest, digest):
                expires = known.principal.expires
                return known.principal if expires is None or now < expires else EXPIRED
        return MISTYPED if token.startswith(keys.PREFIX) and not keys.looks_like(token) else UNKNOWN


def _digest(key: Key) -> bytes:
    try:
        digest = bytes.fromhex(key.sha256)
    except ValueError:
        digest = b""
    if len(digest) != hashlib.sha256().digest_size:
        raise ConfigError(f"key `{key.id}`: sha256 must be 64 hex digits")
    return digest


def _principal(key: Key, claims: Claims) -> Principal:
    undeclared = sorted(name for name in key.claims if name not in claims)
    if undeclared:
        raise ConfigError(f"key `{key.id}`: claim `{undeclared[0]}` is not declared")
    try:
        values = claims.read(key.claims, {name: (name, (name,)) for name in key.claims})
    except WrongClaim as wrong:
        raise ConfigError(f"key `{key.id}`: claim `{wrong}` has the wrong type") from None
    return Principal.of(f"key:{key.id}", "key", team=key.team, groups=key.groups, claims=values, expires=key.not_after)
