"""Which addresses may be dialled. Pure: an address comes in, a reason not to dial it goes out.

Its counterpart is `route/channel.py`, which resolves a name, asks here about every address, and dials the very address
that was asked about, so that a second answer of the resolver changes nothing (DNS rebinding). It does not resolve, and
it does not know what a document is: what an Upstream names comes in as `allowed`.

The tables are the IANA special-purpose registries (RFC 6890 and its updates), written out here because what
`ipaddress.is_global` calls global changed between patch releases of Python.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING

from sidecar.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

Ip = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

METADATA = frozenset(
    ip_address(text)
    for text in (
        "169.254.169.254",  # AWS, Azure, GCP, OpenStack and most others
        "169.254.170.2",  # AWS ECS task credentials
        "169.254.170.23",  # AWS EKS pod identity
        "fd00:ec2::254",  # AWS over IPv6
        "fd00:ec2::23",  # AWS EKS pod identity over IPv6
        "fd20:ce::254",  # GCP over IPv6
        "100.100.100.200",  # Alibaba Cloud
        "192.0.0.192",  # Oracle Cloud
        "168.63.129.16",  # Azure's wire server; a public range, so that no table of ranges would catch it
    )
)
"""Where clouds hand out credentials to whoever asks."""

_RANGES: tuple[tuple[Network, str], ...] = tuple(
    (ip_network(text), kind)
    for text, kind in (
        ("0.0.0.0/8", "unspecified"),
        ("10.0.0.0/8", "private"),
        ("100.64.0.0/10", "carrier-grade NAT"),
        ("127.0.0.0/8", "loopback"),
        ("169.254.0.0/16", "link-local"),
        ("172.16.0.0/12", "private"),
        ("192.0.0.0/24", "reserved"),
        ("192.0.2.0/24", "reserved"),
        ("192.88.99.0/24", "reserved"),
        ("192.168.0.0/16", "private"),
        ("198.18.0.0/15", "reserved"),
        ("198.51.100.0/24", "reserved"),
        ("203.0.113.0/24", "reserved"),
        ("224.0.0.0/4", "multicast"),
        ("240.0.0.0/4", "reserved"),
        ("::/128", "unspecified"),
        ("::1/128", "loopback"),
        ("64:ff9b:1::/48", "private"),  # RFC 8215: translation inside one network, its embedding is not standardised
        ("fc00::/7", "private"),
        ("fe80::/10", "link-local"),
        ("fec0::/10", "private"),
        ("ff00::/8", "multicast"),
        ("2001:db8::/32", "reserved"),
        ("3fff::/20", "reserved"),
    )
)
_GLOBAL_UNICAST = IPv6Network("2000::/3")
_PROTOCOL_ASSIGNMENTS = IPv6Network("2001::/23")
_TEREDO = IPv6Network("2001::/32")
_LOW_32_BITS = tuple(IPv6Network(text) for text in ("::/96", "::ffff:0:0/96", "::ffff:0:0:0/96", "64:ff9b::/96"))
"""IPv4-compatible, mapped, translated (RFC 2765), NAT64 (RFC 6052): the IPv4 address is the last 32 bits."""
_SIX_TO_FOUR = IPv6Network("2002::/16")
_ISATAP = frozenset((0x00005EFE, 0x02005EFE))
_BY_LITERAL_ONLY = frozenset(("metadata", "link-local"))

_LABEL = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)")
_NUMBER = re.compile(r"\d+|0[xX][0-9A-Fa-f]*")


def check(ip: str, allowed: Sequence[str] = ()) -> str | None:
    """Say why `ip` may not be dialled, or None where it may.

    `ip` is an address in text, as a resolver gives it. `allowed` holds what the Upstream names: addresses and CIDR
    ranges. A range never admits a metadata or link-local address; only its own literal does. Text that is no address
    (zone ids included) is a reason too. An IPv6 address that carries an IPv4 one is judged by both.
    """
    address = _read(ip)
    if address is None:
        return f"`{ip}` is not an address"
    faces = (address, *_carried(address))
    for face in faces:
        kind = _kind(face)
        if kind and not _named(face, allowed, literal=kind in _BY_LITERAL_ONLY) and not _named(address, allowed, literal=True):
            return f"`{ip}` is a {kind} address that the upstream does not name"
    return None


def literal(host: str) -> str | None:
    """Give the normal form of an IP literal in a URL's host, or None where the host is a name.

    Brackets are taken off, a mapped IPv6 address becomes its IPv4 one. Raises ConfigError for what has more than one
    reading: octal, hexadecimal and short IPv4 notations (RFC 6943, 3.1.1), zone ids, a host that is neither.
    """
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if ":" in bare:
        address = _read(bare)
        if not isinstance(address, IPv6Address):
            raise ConfigError(f"`{host}` is not an IPv6 address (zone ids are not allowed)")
        return str(address.ipv4_mapped or address)
    if bare != host or not _is_name(host):
        raise ConfigError(f"`{host}` is not a host name")
    if _NUMBER.fullmatch(host.rstrip(".").rpartition(".")[2]) is None:
        return None
    try:
        return str(IPv4Address(host))
    except ValueError:
        raise ConfigError(f"`{host}` is not a dotted IPv4 address; write it as four decimal numbers") from None


def network(text: str) -> Network:
    """Read an address or CIDR range as a document may name it. Raises ConfigError (host bits set, zone ids, junk)."""
    try:
        return ip_network(text)
    except ValueError as error:
        raise ConfigError(f"`{text}` is not an address or a CIDR range: {error}") from None


def _is_name(host: str) -> bool:
    labels = host.removesuffix(".").split(".")
    return len(host) <= 253 and all(_LABEL.fullmatch(label) for label in labels)


def _read(text: str) -> Ip | None:
    if "%" in text:
        return None
    try:
        return ip_address(text)
    except ValueError:
        return None


def _carried(address: Ip) -> Iterator[IPv4Address]:
    """Find the IPv4 addresses that packets to this IPv6 address may end at."""
    if isinstance(address, IPv4Address):
        return
    bits = int(address)
    if any(address in net for net in _LOW_32_BITS) and bits > 1:
        yield IPv4Address(bits & 0xFFFFFFFF)
    if address in _SIX_TO_FOUR:
        yield IPv4Address((bits >> 80) & 0xFFFFFFFF)
    if address in _TEREDO:  # RFC 4380: the server, and the client's address with every bit inverted
        yield IPv4Address((bits >> 64) & 0xFFFFFFFF)
        yield IPv4Address(~bits & 0xFFFFFFFF)
    if (bits >> 32) & 0xFFFFFFFF in _ISATAP:
        yield IPv4Address(bits & 0xFFFFFFFF)


def _kind(address: Ip) -> str:
    """Name the special range, or "" for an address of the public internet (or one that only carries another)."""
    if address in METADATA:
        return "metadata"
    for net, kind in _RANGES:
        if address in net:
            return kind
    if isinstance(address, IPv4Address) or any(address in net for net in _LOW_32_BITS):
        return ""
    if address in _PROTOCOL_ASSIGNMENTS and address not in _TEREDO:
        return "reserved"
    return "" if address in _GLOBAL_UNICAST else "reserved"


def _named(address: Ip, allowed: Sequence[str], *, literal: bool) -> bool:
    return any(_covers(entry, address, literal=literal) for entry in allowed)


def _covers(entry: str, address: Ip, *, literal: bool) -> bool:
    if literal or "/" not in entry:
        return _read(entry) == address
    try:
        return address in ip_network(entry)
    except ValueError:
        return False  # a range that cannot be read admits nothing; `network` tells the author at load
