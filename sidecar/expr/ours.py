"""The functions that are ours: `path.*`, `url.*`, `net.*`, `semver.*`. All are total on text: what is malformed is an error.

They exist because the obvious thing is wrong: a prefix test on a raw path, a text search in a URL, an order of versions by text.
"""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urlsplit

from sidecar.expr.overload import Overload, function
from sidecar.expr.types import BOOL, INT, STRING
from sidecar.expr.values import EvalError

if TYPE_CHECKING:
    from collections.abc import Callable

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Ip = ipaddress.IPv4Address | ipaddress.IPv6Address

_SEMVER: Final = re.compile(
    r"v?(0|[1-9]\d{0,17})\.(0|[1-9]\d{0,17})\.(0|[1-9]\d{0,17})(?:-([0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*))?(?:\+[0-9A-Za-z.-]+)?", re.ASCII
)
_VERSION_LIMIT: Final = 256
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
_LOCAL_NAMES: Final = frozenset({"localhost", "localhost.localdomain", "ip6-localhost", "ip6-loopback"})
_LOCAL_SUFFIXES: Final = (".localhost", ".local", ".internal", ".home.arpa", ".svc", ".cluster.local")
_LEGACY_HOST: Final = re.compile(r"(?:0x[0-9a-f]*|\d+)(?:\.(?:0x[0-9a-f]*|\d+)){0,3}\.?")


# ---------------------------------------------------------------- path


def clean(path: str) -> str:
    """The path with `.`, `..`, doubled and backward slashes resolved; `..` never climbs above the root or out of a relative path.

    A relative path that climbs out keeps its leading `..`. Escapes and NUL have no single reading and are an error.
    """
    if "\0" in path or "%" in path:
        raise EvalError("the path has an escape or NUL in it")
    parts: list[str] = []
    absolute = path[:1] in ("/", "\\")
    for part in path.replace("\\", "/").split("/"):
        if part in ("", "."):
            continue
        if part != "..":
            parts.append(part)
        elif parts and parts[-1] != "..":
            parts.pop()
        elif not absolute:
            parts.append(part)
    return ("/" if absolute else "") + "/".join(parts) or "."


def within(path: str, folder: str) -> bool:
    """Whether the cleaned path is the cleaned folder or inside it."""
    inner, outer = clean(path), clean(folder)
    if inner == outer or (outer == "/" and inner.startswith("/")):
        return True
    if outer == ".":
        return not inner.startswith("/") and inner.split("/", 1)[0] != ".."
    return inner.startswith(outer + "/")


# ---------------------------------------------------------------- url and net


def host(url: str) -> str:
    """The host of an absolute URL: lower case, no port, no brackets, no final dot.

    Errors: no host, user info, backslashes, spaces or control characters (parsers disagree about them), escapes in the host.
    """
    if any(c <= " " or c in "\\\x7f" for c in url):
        raise EvalError("the URL has a character that parsers disagree about")
    try:
        parts = urlsplit(url)
        name, _ = parts.hostname, parts.port
    except ValueError:
        raise EvalError("the URL is malformed") from None
    if not name or not parts.scheme or "@" in parts.netloc or unquote(name) != name:
        raise EvalError("the URL has no plain host")
    bare = name.rstrip(".").lower()
    if not bare:
        raise EvalError("the URL has no plain host")
    return bare


def private(url: str) -> bool:
    """Whether the URL points into this machine or its network, by its literal host. A name is not resolved here.

    True for every address that is not globally routable, for the old spellings of IPv4 (`0x7f.1`, `2130706433`), for names
    without a dot and for names of local zones.
    """
    name = host(url)
    address = _reached(name)
    if address is not None:
        return not address.is_global or address.is_multicast
    if _LEGACY_HOST.fullmatch(name) or not name.isascii():
        return True
    return "." not in name or name in _LOCAL_NAMES or name.endswith(_LOCAL_SUFFIXES)


def _address(text: str) -> Ip | None:
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, ipaddress.IPv6Address) else address


def _reached(text: str) -> Ip | None:
    """The address that packets for this one end at: 6to4 and NAT64 carry an IPv4 address."""
    address = _address(text)
    if isinstance(address, ipaddress.IPv6Address):
        if address in _NAT64:
            return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        return address.sixtofour or address
    return address


def _network(text: str) -> Network:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise EvalError("no network in CIDR notation") from None


def _in_range(ip: str, network: Network) -> bool:
    address = _address(ip)
    if address is None:
        raise EvalError("the `string` is no IP address")
    return address in network


def _prepare_range(cidr: str) -> Callable[[str], bool]:
    try:
        network = ipaddress.ip_network(cidr, strict=False)
    except ValueError:
        raise ValueError(f"`{cidr}` is no network in CIDR notation") from None
    return lambda ip: _in_range(ip, network)


# ---------------------------------------------------------------- semver


def _matched(text: str) -> re.Match[str] | None:
    return _SEMVER.fullmatch(text) if len(text) <= _VERSION_LIMIT else None


def _version(text: str) -> tuple[tuple[int, int, int], int, tuple[tuple[int, int, str], ...]]:
    match = _matched(text)
    if match is None:
        raise EvalError("the `string` is no semantic version")
    major, minor, patch, label = match.groups()
    # numbers sort below words (semver.org 11.4.3); a release above its pre-releases
    labels = tuple((0, int(p), "") if p.isdigit() else (1, 0, p) for p in label.split(".")) if label else ()
    return (int(major), int(minor), int(patch)), int(label is None), labels


def _valid(text: str) -> bool:
    return _matched(text) is not None


def _compare(a: str, b: str) -> int:
    left, right = _version(a), _version(b)
    return (left > right) - (left < right)


def _part(index: int) -> Callable[[str], int]:
    return lambda text: _version(text)[0][index]


OUR_FUNCTIONS: Final = (
    function("path.clean", STRING, result=STRING, apply=clean, cost=5),
    function("path.within", STRING, STRING, result=BOOL, apply=within, cost=5),
    function("url.host", STRING, result=STRING, apply=host, cost=5),
    function("url.private", STRING, result=BOOL, apply=private, cost=10),
    Overload("net.inRange", (STRING, STRING), BOOL, lambda ip, cidr: _in_range(ip, _network(cidr)), prepare=_prepare_range, cost=5),
    function("semver.valid", STRING, result=BOOL, apply=_valid, cost=3),
    function("semver.compare", STRING, STRING, result=INT, apply=_compare, cost=5),
    function("semver.major", STRING, result=INT, apply=_part(0), cost=3),
    function("semver.minor", STRING, result=INT, apply=_part(1), cost=3),
    function("semver.patch", STRING, result=INT, apply=_part(2), cost=3),
)
