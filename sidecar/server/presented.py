"""What a request says of its sender: credentials and source. Nothing here is believed yet; `credentials/` verifies it.

Every header and query key in which an LLM client may carry a key is read, because a credential that was overlooked would
let the caller be somebody else (WIRE.md: two different credentials are a 401). None of them travels on.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from sidecar.principal import Presented, Source

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sidecar.server.exchange import Exchange

KEY_HEADERS = frozenset({"x-api-key", "x-goog-api-key", "api-key"})
SCHEMES = ("bearer", "basic", "apikey", "key")
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def credentials(exchange: Exchange, query: Sequence[tuple[str, str]]) -> tuple[Presented, ...]:
    """Every credential the request carries, each distinct value once."""
    found = [_token(value) if name == "authorization" else value.strip() for name, value in exchange.headers if name == "authorization" or name in KEY_HEADERS]
    found += [value for name, value in query if name in {"key", "api_key", "access_token"}]
    bearer = tuple(Presented("bearer", value) for value in dict.fromkeys(found) if value)
    return bearer if exchange.certificate is None else (*bearer, Presented("certificate", exchange.certificate))


def _token(value: str) -> str:
    """The token of an Authorization header; one of an unknown scheme stays whole, so that it fails as a whole."""
    scheme, _, rest = value.strip().partition(" ")
    return rest.strip() if scheme.lower() in SCHEMES and rest else value.strip()


def source(exchange: Exchange, proxies: Sequence[Network]) -> Source:
    """The peer, or what a trusted proxy says of it (the right-most hop that is no trusted proxy)."""
    ip = exchange.peer[0]
    if proxies and _inside(ip, proxies):
        ip = _forwarded(exchange, proxies) or ip
    return Source(ip=ip, loopback=ip.startswith("127.") or ip == "::1")


def _forwarded(exchange: Exchange, proxies: Sequence[Network]) -> str:
    """The right-most hop that is no trusted proxy; "" where that is no address: what stands left of it anybody may have written."""
    hops = [_address(hop) for name, value in exchange.headers if name == "x-forwarded-for" for hop in value.split(",")]
    return next((hop for hop in reversed(hops) if not _inside(hop, proxies)), "")


def _address(hop: str) -> str:
    """The address of a hop in its normal form, a port behind it taken off; "" for what is none."""
    bare = hop.strip()
    if bare.startswith("["):
        bare = bare[1:].partition("]")[0]
    elif bare.count(":") == 1:
        bare = bare.partition(":")[0]
    try:
        return "" if "%" in bare else str(ipaddress.ip_address(bare))
    except ValueError:
        return ""


def _inside(ip: str, networks: Sequence[Network]) -> bool:
    try:
        address = ipaddress.ip_address(ip)
    except ValueError:
        return False
    return any(address in network for network in networks)
