"""Names to addresses, off the loop. Its user is `channel`, which checks every address it gets and dials what it checked.

It keeps no answers (`channel` does, per endpoint) and judges none.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable

from sidecar.errors import UpstreamUnreachable

Resolver = Callable[[str, int], Awaitable[list[str]]]
"""(host, port) to addresses in the order to try them. Raises UpstreamUnreachable where there are none."""


async def system(host: str, port: int) -> list[str]:
    """Ask the system's resolver, in a thread. Raises UpstreamUnreachable."""
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise UpstreamUnreachable(f"`{host}` does not resolve: {error.strerror or error}") from None
    return list(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))
