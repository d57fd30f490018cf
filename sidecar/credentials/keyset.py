"""Where an issuer's keys come from, and when they are brought again. `jwks` reads them, `jwt` uses them.

From a file: looked at once a second, read when it changed. From an https URL: fetched at start, every ten minutes in the
background, and when a token names an unknown key, but at most twice a minute, or anybody could make us hammer the issuer. Keys
that were good stay while the issuer is away; only where there never were any is that an outage.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from sidecar.credentials import jwks
from sidecar.errors import ConfigError, UpstreamError

if TYPE_CHECKING:
    from collections.abc import Callable

    from sidecar.credentials.base import Fetch
    from sidecar.credentials.jwks import PublicKey

LOOK = 1.0
"""Seconds between two looks at a file."""
AGE = 600.0
"""Seconds after which fetched keys are fetched again."""
PAUSE = 30.0
"""Seconds between two fetches, at least."""


class KeySet:
    """The keys of one issuer. `changed` is called whenever the set is another than before."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self.keys: tuple[PublicKey, ...] = ()
        self.loaded = False
        """There have been keys."""
        self.version: object = None
        """Another object for another set."""
        self.due = 0.0
        """Unix seconds from which `poll` has something to do."""
        self._bytes = b""
        self._fetched = 0.0

    def select(self, algorithm: str, kid: str | None) -> PublicKey | None:
        """The one key for this algorithm with this `kid`; without a `kid`, the only one for the algorithm. Never a guess."""
        fit = [key for key in self.keys if algorithm in key.algorithms and (kid is None or key.kid == kid)]
        return fit[0] if len(fit) == 1 else None

    def poll(self, now: float) -> None:
        """Look whether the keys are still those, without waiting."""

    def overdue(self, now: float) -> bool:
        """The keys are so old that a call should wait for others before it is judged by them."""
        return False

    def inherit(self, other: KeySet) -> None:
        """Begin with the keys an earlier configuration had from the same place: an issuer that is away during a reload takes nothing away."""
        if other.loaded:
            self.keys, self.loaded, self.version = other.keys, True, other.version
            self._bytes, self._fetched = other._bytes, other._fetched

    async def refresh(self, now: float) -> bool:
        """Bring the keys again if that may help now. True where it was done and worked."""
        self.poll(now)
        return False

    async def close(self) -> None:
        """Stop what runs in the background."""

    def _take(self, data: bytes) -> bool:
        """Use these bytes if they are a key set."""
        if self.loaded and data == self._bytes:
            return True
        try:
            keys = jwks.parse(data)
        except jwks.BadKeySet:
            return False
        self.keys, self.loaded, self.version, self._bytes = keys, True, object(), data
        self._changed()
        return True


class FileKeySet(KeySet):
    """Keys in a file. Read on the event loop: it is small, local, and read only when it changed."""

    def __init__(self, path: Path, changed: Callable[[], None]) -> None:
        super().__init__(changed)
        self._path = path
        self._stamp: tuple[int, int, int] | None = None

    def poll(self, now: float) -> None:
        """Read the file if it is another than last time; a missing or unreadable one changes nothing."""
        self.due = now + LOOK
        try:
            stat = self._path.stat()
            stamp = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
            if stamp != self._stamp and stat.st_size <= jwks.LARGEST and self._take(self._path.read_bytes()):
                self._stamp = stamp
        except OSError:
            return


class UrlKeySet(KeySet):
    """Keys behind an https URL. One fetch at a time, shared by all who wait for it."""

    def __init__(self, url: str, fetch: Fetch, changed: Callable[[], None]) -> None:
        super().__init__(changed)
        self._url = url
        self._fetch = fetch
        self._running: asyncio.Task[bool] | None = None
        self._tried: float | None = None

    def poll(self, now: float) -> None:
        """Fetch in the background if the keys are old; calls go on with those there are."""
        self.due = now + PAUSE
        if self.loaded and not self.overdue(now):  # then the next token that is verified waits for it
            self._start(now)

    def overdue(self, now: float) -> bool:
        """After an idle hour say, a key may long be withdrawn. While the issuer is away only one call per `PAUSE` waits in vain."""
        return self.loaded and now - self._fetched >= 2 * AGE and self._may(now)

    async def refresh(self, now: float) -> bool:
        """Fetch, or wait for the fetch that runs; at most once per `PAUSE`. True where it worked."""
        running = self._start(now)
        # shielded: a caller that leaves must not take the keys away from all who wait with it
        return await asyncio.shield(running) if running is not None else False

    def _start(self, now: float) -> asyncio.Task[bool] | None:
        if self._running is not None and not self._running.done():
            return self._running
        if not self._may(now):
            return None
        self._tried = now
        self._running = asyncio.get_running_loop().create_task(self._bring(now))
        return self._running

    def _may(self, now: float) -> bool:
        return self._tried is None or not 0.0 <= now - self._tried < PAUSE

    async def _bring(self, now: float) -> bool:
        try:
            data = await self._fetch(self._url)
        except (UpstreamError, OSError, TimeoutError):
            return False
        if not self._take(data):
            return False
        self.due, self._fetched = now + AGE, now
        return True

    async def close(self) -> None:
        """Stop a fetch that runs."""
        if self._running is not None and not self._running.done():
            self._running.cancel()
            await asyncio.wait([self._running])


def keyset(where: str, fetch: Fetch | None, changed: Callable[[], None]) -> KeySet:
    """The key set at an https URL or in a file. Raises ConfigError for http, or for a URL without a way to fetch it."""
    scheme, colon, _ = where.partition("://")
    if not colon:
        return FileKeySet(Path(where), changed)
    if scheme == "file":
        return FileKeySet(Path(where.removeprefix("file://")), changed)
    if scheme != "https":
        raise ConfigError(f"jwks: `{scheme}` cannot be trusted with keys: use https or a file")
    if fetch is None:
        raise ConfigError("jwks: nothing here can fetch a URL")
    return UrlKeySet(where, fetch, changed)
