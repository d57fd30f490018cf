"""A JWK set (RFC 7517) read into public keys that may verify signatures. Pure but for cryptography; `keyset` brings the bytes.

A key says by itself which algorithms it is for: its type and curve, narrowed by its own `alg`. A token's header never does.
Keys that are of no use are left out (other uses, weak, secret, private); a set that has more than one reading is refused whole.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm
from jwt.exceptions import PyJWTError

from sidecar.credentials.token import BadToken, read_json

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Public = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | ed448.Ed448PublicKey
LARGEST = 256 * 1024
"""Bytes of a set."""
MOST = 100
"""Keys of a set."""
RSA_BITS = range(2048, 8192 + 1)
"""RFC 7518 3.3 asks for 2048; past 8192 a verification costs too much."""
EXPONENTS = range(3, 2**32)
CURVES: Mapping[str, str] = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}
RSA_ALGORITHMS = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})
ASYMMETRIC = RSA_ALGORITHMS | frozenset(CURVES.values()) | {"EdDSA"}
"""All that is ever accepted. With a secret key, whoever verifies could sign."""
READERS: Mapping[str, Callable[[dict[str, object]], object]] = {"RSA": RSAAlgorithm.from_jwk, "EC": ECAlgorithm.from_jwk, "OKP": OKPAlgorithm.from_jwk}


class BadKeySet(ValueError):
    """These bytes are no key set."""


class PublicKey(NamedTuple):
    """One key: its `kid` (or ""), the algorithms it may verify, the key."""

    kid: str
    algorithms: frozenset[str]
    key: Public


def parse(data: bytes) -> tuple[PublicKey, ...]:
    """The keys of a set that may verify signatures; possibly none. Raises BadKeySet."""
    if len(data) > LARGEST:
        raise BadKeySet("the key set is too large")
    try:
        entries = read_json(data).get("keys")
    except BadToken as error:
        raise BadKeySet(str(error)) from None
    if not isinstance(entries, list) or len(entries) > MOST:
        raise BadKeySet("no list of keys, or too long a one")
    return tuple(key for key in map(_key, entries) if key is not None)


def _key(entry: object) -> PublicKey | None:
    if not isinstance(entry, dict) or not _for_verifying(entry):
        return None
    kid = entry.get("kid", "")
    key = _public(entry)
    if key is None or not isinstance(kid, str):
        return None
    algorithms = _algorithms(key)
    named = entry.get("alg")
    if named is not None:
        algorithms &= {named} if isinstance(named, str) else set()
    return PublicKey(kid, algorithms, key) if algorithms else None


def _for_verifying(entry: Mapping[str, object]) -> bool:
    """RFC 7517 4.2 and 4.3; and no private key, for whoever publishes one has lost it."""
    operations = entry.get("key_ops", ["verify"])
    return entry.get("use", "sig") == "sig" and isinstance(operations, list) and "verify" in operations and "d" not in entry and "k" not in entry


def _public(entry: dict[str, object]) -> Public | None:
    reader = READERS.get(str(entry.get("kty")))
    if reader is None:
        return None
    try:
        key = reader(entry)
    except (PyJWTError, ValueError, TypeError, KeyError):  # what PyJWT and cryptography raise for numbers that are no key
        return None
    return key if isinstance(key, Public) else None


def _algorithms(key: Public) -> frozenset[str]:
    if isinstance(key, rsa.RSAPublicKey):
        strong = key.key_size in RSA_BITS and key.public_numbers().e in EXPONENTS
        return RSA_ALGORITHMS if strong else frozenset()
    if isinstance(key, ec.EllipticCurvePublicKey):
        return frozenset(filter(None, [CURVES.get(key.curve.name, "")]))
    return frozenset({"EdDSA"})
