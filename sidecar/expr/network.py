"""Addresses and networks as values: `ip(…)`, `cidr(…)` and their methods (cel-go `ext/network.go`), on `ipaddress`.

`net.IP` is an `IPv4Address` or `IPv6Address`, `net.CIDR` an interface: a network that remembers the address it was written
with. What has two readings is refused: zones, netmasks, leading zeros, IPv4 written inside IPv6 with dots. `::ffff:c0a8:1` is
192.168.0.1 and equal to it, so that no list of networks is passed by in the other spelling.

Beside it `ours` has what works on text alone: `net.inRange`, `url.private`.
"""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, Any, Final

from sidecar.expr.overload import Overload, function, method, reading
from sidecar.expr.types import BOOL, CIDR, INT, IP, STRING
from sidecar.expr.values import EvalError

if TYPE_CHECKING:
    from collections.abc import Callable

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Interface = ipaddress.IPv4Interface | ipaddress.IPv6Interface

_LENGTH: Final = re.compile(r"0|[1-9]\d{0,2}", re.ASCII)
_TEXT_LIMIT: Final = 64
"""Characters; the longest spelling of an address with its prefix has 49."""
_BROADCAST: Final = ipaddress.IPv4Address("255.255.255.255")
_NEIGHBOURS: Final = ipaddress.IPv4Network("224.0.0.0/24")
_LINK_SCOPE: Final = 0xFF02


def parse_ip(text: str) -> Address:
    """The address. Raises EvalError for what is none, or has a zone."""
    address: Address | None = _read(ipaddress.ip_address, text, text)
    if address is None:
        raise EvalError("the `string` is no IP address")
    if isinstance(address, ipaddress.IPv4Address) or address.ipv4_mapped is None:
        return address
    if "." in text:
        raise EvalError("the `string` is an IPv4 address inside an IPv6 address")
    return address.ipv4_mapped


def parse_cidr(text: str) -> Interface:
    """The network, with the address it was written with. Raises EvalError."""
    address, _, length = text.partition("/")
    interface: Interface | None = _read(ipaddress.ip_interface, text, (address, int(length))) if _LENGTH.fullmatch(length) else None
    if interface is None:
        raise EvalError("the `string` is no network in CIDR notation")
    if isinstance(interface, ipaddress.IPv6Interface) and interface.ipv4_mapped is not None:
        raise EvalError("the `string` is an IPv4 network inside an IPv6 network")
    return interface


def _read(make: Callable[[Any], Any], text: str, parts: object) -> Any:
    if len(text) > _TEXT_LIMIT or "%" in text:
        return None
    try:
        return make(parts)
    except ValueError:
        return None


def _is(parse: Callable[[str], Any]) -> Callable[[str], bool]:
    def run(text: str) -> bool:
        try:
            parse(text)
        except EvalError:
            return False
        return True

    return run


def _global_unicast(address: Address) -> bool:
    """Go's notion: a private address is one too."""
    return not (address == _BROADCAST or address.is_unspecified or address.is_loopback or address.is_multicast or address.is_link_local)


def _link_local_multicast(address: Address) -> bool:
    if isinstance(address, ipaddress.IPv4Address):
        return address in _NEIGHBOURS
    return int(address) >> 112 & 0xFF0F == _LINK_SCOPE


def _contains(network: Interface, address: Address) -> bool:
    return address in network.network


def _contains_cidr(outer: Interface, inner: Interface) -> bool:
    return outer.network.prefixlen <= inner.network.prefixlen and inner.network.network_address in outer.network


def _masked(network: Interface) -> Interface:
    return ipaddress.ip_interface(network.network)


NETWORK_FUNCTIONS: Final[tuple[Overload, ...]] = (
    reading("ip", STRING, result=IP, apply=parse_ip, cost=10),
    reading("cidr", STRING, result=CIDR, apply=parse_cidr, cost=20),
    function("isIP", STRING, result=BOOL, apply=_is(parse_ip), cost=10),
    function("isCIDR", STRING, result=BOOL, apply=_is(parse_cidr), cost=20),
    function("ip.isCanonical", STRING, result=BOOL, apply=lambda text: str(parse_ip(text)) == text, cost=15),
    function("string", IP, result=STRING, apply=str, cost=5),
    function("string", CIDR, result=STRING, apply=str, cost=5),
    method("family", IP, result=INT, apply=lambda address: address.version),
    method("isUnspecified", IP, result=BOOL, apply=lambda address: address.is_unspecified),
    method("isLoopback", IP, result=BOOL, apply=lambda address: address.is_loopback, cost=3),
    method("isGlobalUnicast", IP, result=BOOL, apply=_global_unicast, cost=10),
    method("isLinkLocalUnicast", IP, result=BOOL, apply=lambda address: address.is_link_local, cost=3),
    method("isLinkLocalMulticast", IP, result=BOOL, apply=_link_local_multicast, cost=3),
    method("containsIP", CIDR, IP, result=BOOL, apply=_contains, cost=10),
    method("containsIP", CIDR, STRING, result=BOOL, apply=lambda network, text: _contains(network, parse_ip(text)), cost=20),
    method("containsCIDR", CIDR, CIDR, result=BOOL, apply=_contains_cidr, cost=15),
    method("containsCIDR", CIDR, STRING, result=BOOL, apply=lambda network, text: _contains_cidr(network, parse_cidr(text)), cost=35),
    method("ip", CIDR, result=IP, apply=lambda network: network.ip, cost=3),
    method("masked", CIDR, result=CIDR, apply=_masked, cost=10),
    method("prefixLength", CIDR, result=INT, apply=lambda network: network.network.prefixlen, cost=3),
)
