"""Bearer tokens of configured issuers (RFC 7519, with the advice of RFC 8725). `token` reads them, `keyset` has the keys.

PyJWT checks signatures; the claims are checked here, against the `now` of the decision and not against a clock of its own. What a
token says of how to verify it (`jku`, `jwk`, `x5u`, `x5c`, `crit`) is refused rather than ignored.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from jwt.algorithms import Algorithm, get_default_algorithms
from jwt.exceptions import PyJWTError

from sidecar.credentials import token as tokens
from sidecar.credentials.claims import Claims, Path, WrongClaim, find, path, text, texts
from sidecar.credentials.jwks import ASYMMETRIC
from sidecar.errors import ConfigError
from sidecar.need import Unauthenticated, Unavailable
from sidecar.principal import Principal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sidecar.config.documents import Jwt
    from sidecar.credentials.base import Answer
    from sidecar.credentials.jwks import PublicKey
    from sidecar.credentials.keyset import KeySet
    from sidecar.credentials.token import Token

REFUSED_HEADERS = frozenset({"jku", "jwk", "x5u", "x5c", "crit", "b64"})
TYPES = frozenset({"jwt", "at+jwt", "application/jwt", "application/at+jwt"})
"""`typ` values of tokens made for a resource; a logout token, say, is for something else (RFC 8725 3.11)."""
DEEPEST = 8
"""Actors in a delegation chain."""

BAD_SIGNATURE = Unauthenticated("the token's signature does not verify")
UNKNOWN_KEY = Unauthenticated("the token names no key of its issuer")


class Refused(ValueError):
    """Why a token is no good; never with its content."""


class Issuer:
    """One configured issuer. `several` says whether subjects carry the issuer's name. Raises ConfigError."""

    def __init__(self, document: Jwt, keys: KeySet, claims: Claims, *, several: bool) -> None:
        self._document = document
        self.jwks = document.jwks
        """Where the keys come from."""
        self.keys = keys
        self._claims = claims
        self._several = several
        table = get_default_algorithms()
        self._algorithms: dict[str, Algorithm] = {name: table[name] for name in document.algorithms if name in ASYMMETRIC}
        if len(self._algorithms) != len(document.algorithms):
            raise ConfigError(f"jwt `{document.issuer}`: only signatures with public keys are accepted")
        unknown = sorted(set(document.map) - {"team", "groups"} - set(claims.defaults))
        if unknown:
            raise ConfigError(f"jwt `{document.issuer}`: `map` names `{unknown[0]}`, which is no declared claim")
        if several and "#" in document.issuer:
            raise ConfigError(f"jwt `{document.issuer}`: with several issuers a `#` in one makes subjects ambiguous")
        self._map: dict[str, Path] = {name: path(place) for name, place in document.map.items()}

    def check_header(self, header: Mapping[str, object]) -> tuple[str, str | None]:
        """Algorithm and `kid` of a header that may be looked at further. Raises Refused."""
        told = REFUSED_HEADERS.intersection(header)
        if told:
            raise Refused(f"the token's header carries `{min(told)}`")
        algorithm, kid = header.get("alg"), header.get("kid")
        if not isinstance(algorithm, str) or algorithm not in self._algorithms:
            raise Refused("the token's algorithm is not accepted")
        if kid is not None and not isinstance(kid, str):
            raise Refused("the token's `kid` is no text")
        kind = header.get("typ", "JWT")
        if not isinstance(kind, str) or kind.lower() not in TYPES:
            raise Refused("the token is of a type that is for something else")
        return algorithm, kid

    def verify(self, token: Token, now: float) -> Answer | None:
        """Who this is; None where the keys should be brought again first (`retry` then judges with those there are)."""
        try:
            algorithm, kid = self.check_header(token.header)
            self.check_claims(token.payload, now)
            key = self.keys.select(algorithm, kid)
            return None if key is None else self._verify(token, algorithm, key)
        except (Refused, WrongClaim) as error:
            return _refusal(error)

    def retry(self, token: Token, now: float) -> Answer:
        """The same when no more keys will come. Unavailable where there never were any."""
        answer = self.verify(token, now)
        if answer is not None:
            return answer
        return UNKNOWN_KEY if self.keys.loaded else Unavailable(f"keys of issuer {self._document.issuer}")

    def _verify(self, token: Token, algorithm: str, key: PublicKey) -> Principal | Unauthenticated:
        method = self._algorithms[algorithm]
        try:
            if not method.verify(token.signed, method.prepare_key(key.key), token.signature):
                return BAD_SIGNATURE
        except (PyJWTError, ValueError, TypeError):  # what PyJWT raises for a key that does not fit
            return BAD_SIGNATURE
        return self.principal(token.payload)

    # ------------------------------------------------------------ claims

    def check_claims(self, payload: Mapping[str, object], now: float) -> None:
        """Issuer, audience and times, with the leeway of the document. Raises Refused."""
        leeway = self._document.leeway
        audience = payload.get("aud")
        if payload.get("iss") != self._document.issuer:
            raise Refused("the token is of another issuer")
        if self._document.audience not in (audience if isinstance(audience, list) else [audience]):
            raise Refused("the token is for another audience")
        if now >= _time(payload, "exp") + leeway:
            raise Refused("the token has expired")
        for name in ("nbf", "iat"):
            if name in payload and now < _time(payload, name) - leeway:
                raise Refused("the token is not valid yet")
        _name(payload)

    def principal(self, payload: Mapping[str, object]) -> Principal:
        """Who a verified token speaks for. Raises Refused, WrongClaim."""
        team = find(payload, self._map["team"]) if "team" in self._map else None
        groups = find(payload, self._map["groups"]) if "groups" in self._map else None
        return Principal.of(
            self._subject(payload, self._document.issuer),
            "user",
            team="" if team is None else text("team", team),
            groups=() if groups is None else texts("groups", groups),
            claims=self._claims.read(payload, self._map),
            actors=self._actors(payload),
            expires=_time(payload, "exp") + self._document.leeway,
        )

    def _subject(self, claims: Mapping[str, object], issuer: str) -> str:
        """`user:<sub>`; with the issuer where there are several, or where an actor is of another one than the token."""
        named = self._several or issuer != self._document.issuer
        return f"user:{issuer}#{_name(claims)}" if named else f"user:{_name(claims)}"

    def _actors(self, payload: Mapping[str, object]) -> tuple[str, ...]:
        """RFC 8693 4.1: the outermost `act` is who acts now, the ones within acted before."""
        actors: list[str] = []
        act = payload.get("act")
        while act is not None:
            if not isinstance(act, dict) or len(actors) == DEEPEST:
                raise Refused("the token's `act` is no chain of actors, or too long a one")
            issuer = act.get("iss", self._document.issuer)
            if not isinstance(issuer, str):
                raise Refused("the token's `act` names no issuer")
            actors.append(self._subject(act, issuer))
            act = act.get("act")
        return tuple(actors)


def read(value: str, header: Mapping[str, object]) -> Token | Unauthenticated:
    """A token by its form, read."""
    try:
        return tokens.parse(value, header)
    except tokens.BadToken:
        return Unauthenticated("the token cannot be read")


def _refusal(error: ValueError) -> Unauthenticated:
    return Unauthenticated(f"claim `{error}` has the wrong type" if isinstance(error, WrongClaim) else str(error))


def _time(payload: Mapping[str, object], name: str) -> float:
    """A NumericDate (RFC 7519 2). Raises Refused where it is none or absent."""
    value = payload.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e15:
        raise Refused(f"the token's `{name}` is missing or no time")
    return float(value)


def _name(claims: Mapping[str, object]) -> str:
    """The `sub`. Raises Refused where it is absent, empty, endless, or holds what no name holds."""
    try:
        name = text("sub", claims.get("sub"))
    except WrongClaim:
        name = ""
    if not name:
        raise Refused("the token's `sub` is missing or no name")
    return name
