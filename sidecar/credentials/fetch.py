"""Brings a key set from an https URL (`base.Fetch`). Imports aiohttp; nothing else here does, and nobody imports this before a document names a URL.

The rules of every outgoing connection (WIRE.md «Redirects are not followed …»): the name is resolved once, every address is
checked, the checked ones are dialled, TLS verifies the URL's own host; no redirect, no proxy of the environment, bounded in time
and size.
"""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from sidecar import address
from sidecar.errors import ConfigError, UpstreamGarbage, UpstreamTimeout, UpstreamUnreachable

if TYPE_CHECKING:
    import ssl
    from collections.abc import Sequence

    from sidecar.credentials.base import Fetch

TIMEOUT = 5.0
"""Seconds for all of it."""
LARGEST = 256 * 1024
"""Bytes of a body."""


class Checked(AbstractResolver):
    """Resolves a name and gives out the addresses only if every one may be dialled."""

    def __init__(self, allowed: Sequence[str]) -> None:
        self._allowed = allowed

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC) -> list[ResolveResult]:
        """All addresses of `host`. Raises OSError where one may not be dialled (aiohttp makes it its own error)."""
        found = await asyncio.get_running_loop().getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
        results = []
        for kind, _, protocol, _, where in found:
            ip = str(where[0])
            refused = address.check(ip, self._allowed)
            if refused is not None:
                raise OSError(refused)
            results.append(ResolveResult(hostname=host, host=ip, port=port, family=kind, proto=protocol, flags=socket.AI_NUMERICHOST))
        return results

    async def close(self) -> None:
        """Nothing to let go of."""


def fetcher(*, allowed: Sequence[str] = (), tls: ssl.SSLContext | None = None) -> Fetch:
    """A `Fetch`. `allowed` names special addresses that names may resolve to; one written in the URL itself is named by that.

    What it makes raises UpstreamUnreachable (no connection, TLS failure, forbidden address), UpstreamTimeout, UpstreamGarbage
    (another status than 200, a redirect among them; an encoded or too large body; a URL that is not https).
    """

    async def fetch(url: str) -> bytes:
        named = (*allowed, *_literal(url))
        connector = aiohttp.TCPConnector(resolver=Checked(named), ssl=tls if tls is not None else True, use_dns_cache=False, force_close=True)
        timeout = aiohttp.ClientTimeout(total=TIMEOUT)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout, auto_decompress=False, trust_env=False) as session:
            try:
                return await _get(session, url)
            except TimeoutError:
                raise UpstreamTimeout("the key set did not come in time") from None
            except (aiohttp.ClientError, OSError) as error:
                raise UpstreamUnreachable(f"the key set cannot be fetched: {type(error).__name__}") from None

    return fetch


async def _get(session: aiohttp.ClientSession, url: str) -> bytes:
    headers = {"accept": "application/jwk-set+json, application/json", "accept-encoding": "identity"}
    async with session.get(url, allow_redirects=False, headers=headers) as response:
        if response.status != 200:
            raise UpstreamGarbage(f"the key set was answered with status {response.status}")
        if response.headers.get("content-encoding", "identity") != "identity":
            raise UpstreamGarbage("the key set came encoded, which was not asked for")
        body = bytearray()
        async for piece in response.content.iter_chunked(64 * 1024):
            body += piece
            if len(body) > LARGEST:
                raise UpstreamGarbage("the key set is too large")
        return bytes(body)


def _literal(url: str) -> tuple[str, ...]:
    """The address written in the URL, which aiohttp dials without asking the resolver; it is named by being written there."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        ip = address.literal(f"[{host}]" if ":" in host else host)
    except (ValueError, ConfigError):
        raise UpstreamGarbage("the key set's URL cannot be read") from None
    if parts.scheme != "https" or parts.username or parts.password:
        raise UpstreamGarbage("a key set is fetched from an https URL without credentials only")
    if ip is None:
        return ()
    refused = address.check(ip, (ip,))
    if refused is not None:
        raise UpstreamUnreachable(refused)
    return (ip,)
