"""The Ed25519 key (RFC 8032) that signs checkpoints: made once in the state directory, 0600, its public half beside it.

`cryptography` takes tens of milliseconds to import, so it comes with the first signature, never with a decision. Every
function here blocks; `recorder.py` calls them in a thread.
"""

from __future__ import annotations

import base64
import hashlib
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

    from sidecar.telemetry.chain import Checkpoint

PRIVATE, PUBLIC = "records.key", "records.pub"


class Seal:
    """Signs with the key in `directory`, which is made at the first signature."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._key: Ed25519PrivateKey | None = None
        self._name = ""

    def sign(self, point: Checkpoint) -> Checkpoint:
        """The same checkpoint, signed. Raises OSError where the key can neither be read nor made, ValueError where it is no Ed25519 key."""
        if self._key is None:
            self._key = _load(self._directory)
            self._name = name_of(self._key.public_key())
        signature = self._key.sign(point._replace(key=self._name).message())
        return point._replace(key=self._name, signature=base64.b64encode(signature).decode())


def _load(directory: Path) -> Ed25519PrivateKey:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415  (see the module's docstring)
    from cryptography.hazmat.primitives.serialization import load_pem_private_key  # noqa: PLC0415

    path = directory / PRIVATE
    if not path.exists():
        _make(directory)
    key = load_pem_private_key(path.read_bytes(), password=None)
    if not isinstance(key, Ed25519PrivateKey):
        raise ValueError(f"{path} holds no Ed25519 key")  # noqa: TRY004  (the file's content is wrong, not an argument's type)
    return key


def _make(directory: Path) -> None:
    """Both halves. O_EXCL: of two processes that start together one makes the key and the other reads it."""
    from cryptography.hazmat.primitives import serialization as forms  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415

    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(forms.Encoding.PEM, forms.PrivateFormat.PKCS8, forms.NoEncryption())
    public = key.public_key().public_bytes(forms.Encoding.PEM, forms.PublicFormat.SubjectPublicKeyInfo)
    draft = directory / f"{PRIVATE}.{os.getpid()}"
    _write(draft, private, 0o600)
    try:
        os.link(draft, directory / PRIVATE)  # appears whole or not at all
    except FileExistsError:
        return
    finally:
        draft.unlink()
    (directory / PUBLIC).unlink(missing_ok=True)
    _write(directory / PUBLIC, public, 0o644)


def _write(path: Path, data: bytes, mode: int) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode), "wb") as file:
        file.write(data)


def name_of(key: Ed25519PublicKey) -> str:
    """How checkpoints name their key: the first 16 hex digits of the SHA-256 of its 32 bytes."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat  # noqa: PLC0415

    return hashlib.sha256(key.public_bytes(Encoding.Raw, PublicFormat.Raw)).hexdigest()[:16]


def load_public(pem: bytes) -> Ed25519PublicKey:
    """A public key from PEM. Raises ValueError."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import load_pem_public_key  # noqa: PLC0415

    key = load_pem_public_key(pem)
    if not isinstance(key, Ed25519PublicKey):
        raise ValueError("this is no Ed25519 public key")  # noqa: TRY004
    return key


def holds(point: Checkpoint, key: Ed25519PublicKey) -> bool:
    """Whether the checkpoint was signed by this key."""
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415

    try:
        key.verify(base64.b64decode(point.signature, validate=True), point.message())
    except (InvalidSignature, ValueError):
        return False
    return True
