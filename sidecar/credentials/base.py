"""What the methods share: the answer they give, the placeholder, how a key set is brought, and the memory of who was verified."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable

from sidecar.need import Unauthenticated, Unavailable
from sidecar.principal import Principal

PLACEHOLDER = "sidecar-placeholder"
"""What the application is given in place of a key, because clients insist on one. It counts as no credential."""
LONGEST = 16 * 1024
"""Characters of a bearer credential. Longer ones are refused unread."""

Answer = Principal | Unauthenticated | Unavailable
Fetch = Callable[[str], Awaitable[bytes]]
"""Brings the body behind an https URL, or raises errors.UpstreamError. The production one is `fetch.fetcher`."""


class Verified:
    """Credentials that were verified, by SHA-256, so that no credential is kept. The least recently used is forgotten first."""

    def __init__(self, most: int = 4096) -> None:
        self._most = most
        self._known: OrderedDict[bytes, tuple[Principal, float, object]] = OrderedDict()

    def get(self, digest: bytes, now: float) -> Principal | None:
        """Who it is, if that was verified and still holds."""
        known = self._known.get(digest)
        if known is None or now >= known[1]:
            return None
        self._known.move_to_end(digest)
        return known[0]

    def put(self, digest: bytes, principal: Principal, until: float, version: object) -> Principal:
        """Remember until then, in Unix seconds. Returns the object to use.

        That is the earlier one where `version`, what verified it, is still the same: one credential stays one object.
        """
        known = self._known.get(digest)
        if known is not None and known[2] is version:
            principal = known[0]
        self._known[digest] = (principal, until, version)
        self._known.move_to_end(digest)
        if len(self._known) > self._most:
            self._known.popitem(last=False)
        return principal

    def clear(self) -> None:
        """Forget all: what verified them has changed."""
        self._known.clear()

    def __len__(self) -> int:
        return len(self._known)
