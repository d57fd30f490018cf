"""The upstream's own credential, put on every call by the sidecar. The caller's never comes here but with `passthrough`.

A file is read again when it changes, so that a rotated secret needs no restart. Values never show in messages.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sidecar.errors import UpstreamAuth

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sidecar.config import documents

Headers = tuple[tuple[str, str], ...]

LOOK = 1.0
"""Seconds between two looks at a credential file."""
ANTHROPIC_VERSION = ("anthropic-version", "2023-06-01")
OAUTH = {"anthropic": "sk-ant-oat", "gemini": "ya29."}
"""How login tokens begin, which these providers take as a bearer token and not as an API key."""


def header(family: str, value: str) -> tuple[str, str]:
    """The header in which this family of providers takes a credential. Raises UpstreamAuth on a value that no header can hold."""
    if not value or not value.isascii() or not value.isprintable() or " " in value:
        raise UpstreamAuth("the credential of this upstream is empty or holds characters that no header can carry")
    if family == "openai" or value.startswith(OAUTH.get(family, "\0")):
        return "authorization", f"Bearer {value}"
    return ("x-api-key" if family == "anthropic" else "x-goog-api-key"), value


class FileValue:
    """The content of a file, looked at once in `LOOK` seconds."""

    def __init__(self, path: str, clock: Callable[[], float]) -> None:
        self._path = Path(path)
        self._clock = clock
        self._looked = float("-inf")
        self._seen: tuple[int, int, int] | None = None
        self._value = ""

    def __call__(self) -> str:
        """The value now. Raises UpstreamAuth where the file cannot be read."""
        now = self._clock()
        if now - self._looked >= LOOK:
            self._look()
            self._looked = now
        return self._value

    def _look(self) -> None:
        try:
            there = self._path.stat()
            seen = (there.st_mtime_ns, there.st_size, there.st_ino)
            if seen != self._seen:
                self._value = self._path.read_text(encoding="utf-8").strip()
                self._seen = seen
        except (OSError, UnicodeDecodeError) as error:
            raise UpstreamAuth("the credential file of this upstream cannot be read") from error


def source(credential: documents.Credential | None, environ: Mapping[str, str], clock: Callable[[], float]) -> Callable[[], str] | None:
    """Where an upstream's value comes from; None where it has none of its own (no credential, or passthrough)."""
    if credential is None or credential.passthrough:
        return None
    if credential.file:
        return FileValue(credential.file, clock)
    value = environ.get(credential.env, "").strip()
    return lambda: value
