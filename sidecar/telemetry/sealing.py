"""Sealed inputs: encrypted to a public key with HPKE (RFC 9180, base mode: X25519, HKDF-SHA256, ChaCha20-Poly1305), opened with the private one.

The decision's id and the snapshot's digest are bound in (as `info`), so that no sealed text opens in another record's place. The
sidecar holds the public half alone. `cryptography` is imported with the first key, never for records that seal nothing.
"""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from sidecar.errors import BadRecord

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
    from cryptography.hazmat.primitives.hpke import Suite

BEGIN = "-----BEGIN"
"""How a key that stands in the document itself starts; anything else names a file."""


class Sealer:
    """Seals to the public key in `pem`. Raises ValueError for what is none."""

    def __init__(self, pem: bytes) -> None:
        self._key = _public(pem)
        self._suite = _suite()
        self.key = name_of(self._key)

    def seal(self, plain: bytes, *, id: str, snapshot: str) -> str:
        """The sealed text in base64."""
        return base64.b64encode(self._suite.encrypt(plain, self._key, info=_info(id, snapshot))).decode()


class Opener:
    """Opens what was sealed to the public half of the private key in `pem`. Raises ValueError for what is none."""

    def __init__(self, pem: bytes) -> None:
        self._key = _private(pem)
        self._suite = _suite()
        self.key = name_of(self._key.public_key())

    def open(self, sealed: str, *, id: str, snapshot: str) -> bytes:
        """The plain text. Raises BadRecord: changed, or moved here from another record."""
        from cryptography.exceptions import InvalidTag  # noqa: PLC0415  (see the module's docstring)

        try:
            return self._suite.decrypt(base64.b64decode(sealed, validate=True), self._key, info=_info(id, snapshot))
        except (InvalidTag, ValueError) as error:
            raise BadRecord("the sealed inputs do not open: they were changed, or belong to another decision") from error


def make() -> tuple[bytes, bytes]:
    """A new pair as PEM: private, public."""
    from cryptography.hazmat.primitives import serialization as forms  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey  # noqa: PLC0415

    key = X25519PrivateKey.generate()
    private = key.private_bytes(forms.Encoding.PEM, forms.PrivateFormat.PKCS8, forms.NoEncryption())
    return private, key.public_key().public_bytes(forms.Encoding.PEM, forms.PublicFormat.SubjectPublicKeyInfo)


def read_key(text: str) -> bytes:
    """The PEM that a document holds or names. Raises OSError."""
    return text.encode() if text.lstrip().startswith(BEGIN) else Path(text).read_bytes()


def name_of(key: X25519PublicKey) -> str:
    """How records name their key: the first 16 hex digits of the SHA-256 of its 32 bytes."""
    return hashlib.sha256(key.public_bytes_raw()).hexdigest()[:16]


def _suite() -> Suite:
    from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite  # noqa: PLC0415

    return Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305)


def _info(id: str, snapshot: str) -> bytes:
    return f"sidecar records inputs 1\n{id}\n{snapshot}".encode()


def _public(pem: bytes) -> X25519PublicKey:
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import load_pem_public_key  # noqa: PLC0415

    try:
        key = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError("this is no public key in PEM") from None
    if not isinstance(key, X25519PublicKey):
        raise ValueError("this is no X25519 public key")  # noqa: TRY004  (the content is wrong, not an argument's type)
    return key


def _private(pem: bytes) -> X25519PrivateKey:
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import load_pem_private_key  # noqa: PLC0415

    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ValueError("this is no private key in PEM without a password") from None
    if not isinstance(key, X25519PrivateKey):
        raise ValueError("this is no X25519 private key")  # noqa: TRY004  as above
    return key
