"""Keys this process mints for its own machine: `key:local` (kept in the state directory, 0600) and `key:exec` (one run only)."""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sidecar.config.documents import Key
from sidecar.credentials import keys

if TYPE_CHECKING:
    from pathlib import Path

BYTES = 24


@dataclass(frozen=True, slots=True)
class LocalKey:
    """One minted key. `entry` is what the authenticator is told: the hash alone."""

    name: str
    token: str = field(repr=False)
    path: Path | None = None

    @property
    def entry(self) -> Key:
        """As an Identity document would spell it."""
        return Key(id=self.name, sha256=keys.digest(self.token), team=self.name)

    @classmethod
    def fresh(cls, name: str) -> LocalKey:
        """A key for this run."""
        return cls(name, keys.make(secrets.token_bytes(BYTES)))

    @classmethod
    def kept(cls, state: Path, name: str) -> LocalKey:
        """The key of this state directory, made on first use."""
        state.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = state / f"{name}.key"
        if not path.exists():
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "w") as file:
                file.write(cls.fresh(name).token + "\n")
        return cls(name, path.read_text().strip(), path)
