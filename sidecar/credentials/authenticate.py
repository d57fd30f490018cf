"""Tells credentials apart and has each verified by its method. Its counterpart is `need.Verify`.

Told apart by form and issuer, never by order: a certificate is for mtls; three parts of base64url with a JSON header are a token,
for the issuer it names; anything else is an API key. Only methods that the Identity document names are imported: cryptography
costs a fifth of the time to start.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from typing import TYPE_CHECKING

from sidecar.credentials import anonymous
from sidecar.credentials.apikey import ApiKeyMethod
from sidecar.credentials.base import LONGEST, PLACEHOLDER, Answer, Fetch, Verified
from sidecar.credentials.claims import Claims
from sidecar.credentials.token import header_of
from sidecar.errors import ConfigError
from sidecar.need import Unauthenticated, Unavailable
from sidecar.principal import Presented, Principal, Source

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from sidecar.config.documents import Identity
    from sidecar.credentials.jwt import Issuer
    from sidecar.credentials.mtls import MtlsMethod
    from sidecar.credentials.token import Token

REMEMBER = 60.0
"""Seconds a verified token is believed before its signature is checked again."""

NONE = Unauthenticated("no credential")
TWO = Unauthenticated("two different credentials")
NO_METHOD = Unauthenticated("this kind of credential is not accepted here")
NO_TEXT = Unauthenticated("the credential is too long or not ASCII")
STRANGE_ISSUER = Unauthenticated("the token is of no known issuer")


class Authenticator:
    """Verifies what callers present, for one Identity document.

    `fetch` brings key sets from https URLs (needed only where a document names one). Raises ConfigError for an Identity that
    contradicts itself; the compiler says the same with file and line.
    """

    def __init__(self, identity: Identity, *, fetch: Fetch | None = None, clock: Callable[[], float] = time.time) -> None:
        claims = Claims(identity.claims)
        self._clock = clock
        self._tokens = Verified()
        self._anonymous = _anonymous(identity, claims)
        self._keys = _keys(identity, claims)
        self._mtls = _mtls(identity, claims)
        self._issuers = _issuers(identity, claims, fetch, self._tokens.clear)
        self._due = 0.0 if self._issuers else float("inf")

    def verify(self, presented: tuple[Presented, ...], source: Source, now: float) -> Answer | Awaitable[Answer]:
        """Who calls: at once, but where the keys of an issuer must be fetched first; then an awaitable of the answer.

        `source` is for methods that go by the address (none yet); no method trusts it alone.
        """
        if self._anonymous is not None:
            return self._anonymous
        if now >= self._due:
            self._poll(now)
        one = presented[0] if len(presented) == 1 else self._choose(presented)
        if isinstance(one, Unauthenticated):
            return one
        if one.form == "certificate" and isinstance(one.value, bytes):
            return self._mtls.verify(one.value, now) if self._mtls is not None else NONE
        if one.form != "bearer" or not isinstance(one.value, str):
            return NO_METHOD
        return self._bearer(one.value, now)

    def _choose(self, presented: tuple[Presented, ...]) -> Presented | Unauthenticated:
        """The one credential among several values. A certificate is one only where mtls is a method; elsewhere it is transport."""
        real = {(one.form, one.value): one for one in presented if one.value and one.value != PLACEHOLDER and (one.form != "certificate" or self._mtls)}
        if not real:
            return NONE
        return next(iter(real.values())) if len(real) == 1 else TWO

    def _bearer(self, value: str, now: float) -> Answer | Awaitable[Answer]:
        if not value or value == PLACEHOLDER:
            return NONE
        if len(value) > LONGEST or not value.isascii():
            return NO_TEXT
        if value.count(".") == 2:
            known = self._tokens.get(hashlib.sha256(value.encode()).digest(), now)
            if known is not None:
                return known
            header = header_of(value)
            if header is not None:
                return self._token(value, header, now)
        return self._keys.verify(value, now) if self._keys is not None else NO_METHOD

    def _token(self, value: str, header: Mapping[str, object], now: float) -> Answer | Awaitable[Answer]:
        if not self._issuers:
            return NO_METHOD
        from sidecar.credentials.jwt import read  # noqa: PLC0415 - loaded already, by the issuers

        token = read(value, header)
        if isinstance(token, Unauthenticated):
            return token
        name = token.payload.get("iss")
        issuer = self._issuers.get(name) if isinstance(name, str) else None
        if issuer is None:
            return STRANGE_ISSUER
        answer = None if issuer.keys.overdue(now) else issuer.verify(token, now)
        return self._fetched(issuer, token, value, now) if answer is None else self._remember(issuer, value, answer, now)

    async def _fetched(self, issuer: Issuer, token: Token, value: str, now: float) -> Answer:
        await issuer.keys.refresh(now)
        return self._remember(issuer, value, issuer.retry(token, now), now)

    def _remember(self, issuer: Issuer, value: str, answer: Answer, now: float) -> Answer:
        if not isinstance(answer, Principal):
            return answer
        until = min(answer.expires or now, now + REMEMBER)
        return self._tokens.put(hashlib.sha256(value.encode()).digest(), answer, until, issuer.keys.version)

    def _poll(self, now: float) -> None:
        for issuer in self._issuers.values():
            if now >= issuer.keys.due:
                issuer.keys.poll(now)
        self._due = min(issuer.keys.due for issuer in self._issuers.values())

    def inherit(self, earlier: Authenticator) -> None:
        """Begin with the key sets of an earlier configuration, where they come from the same place. To be called before `warm`."""
        known = {issuer.jwks: issuer.keys for issuer in earlier._issuers.values()}
        for issuer in self._issuers.values():
            if issuer.jwks in known:
                issuer.keys.inherit(known[issuer.jwks])

    async def warm(self) -> tuple[Unavailable, ...]:
        """Bring every key set, all at once. What could not be brought is named, and brought when a token needs it."""
        now = self._clock()
        await asyncio.gather(*(issuer.keys.refresh(now) for issuer in self._issuers.values()))
        return tuple(Unavailable(f"keys of issuer {name}") for name, issuer in self._issuers.items() if not issuer.keys.loaded)

    async def close(self) -> None:
        """Stop what runs in the background."""
        for issuer in self._issuers.values():
            await issuer.keys.close()


def _anonymous(identity: Identity, claims: Claims) -> Principal | None:
    found = [method.anonymous for method in identity.methods if method.anonymous is not None]
    if found and len(identity.methods) > 1:
        raise ConfigError("`anonymous` stands alone: beside another method a bad credential would become a good one")
    return anonymous.principal(found[0], claims) if found else None


def _keys(identity: Identity, claims: Claims) -> ApiKeyMethod | None:
    documents = tuple(method.api_key for method in identity.methods if method.api_key is not None)
    return ApiKeyMethod(documents, claims) if documents else None


def _mtls(identity: Identity, claims: Claims) -> MtlsMethod | None:
    documents = tuple(method.mtls for method in identity.methods if method.mtls is not None)
    if not documents:
        return None
    from sidecar.credentials.mtls import MtlsMethod  # noqa: PLC0415 - cryptography, for who uses certificates

    return MtlsMethod(documents, claims)


def _issuers(identity: Identity, claims: Claims, fetch: Fetch | None, changed: Callable[[], None]) -> dict[str, Issuer]:
    documents = [method.jwt for method in identity.methods if method.jwt is not None]
    if not documents:
        return {}
    from sidecar.credentials.jwt import Issuer  # noqa: PLC0415 - PyJWT and cryptography, for who uses tokens
    from sidecar.credentials.keyset import keyset  # noqa: PLC0415

    several = len(documents) > 1
    issuers = {document.issuer: Issuer(document, keyset(document.jwks, fetch, changed), claims, several=several) for document in documents}
    if len(issuers) != len(documents):
        raise ConfigError("two `jwt` methods have the same issuer")
    return issuers
