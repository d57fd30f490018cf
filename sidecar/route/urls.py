"""An Upstream's base URL, taken apart once at load. Whether its address may be dialled is the channel's business."""

from __future__ import annotations

import ipaddress
from typing import NamedTuple
from urllib.parse import urlsplit

from sidecar.errors import ConfigError

PORTS = {"http": 80, "https": 443}


class Base(NamedTuple):
    """`authority` is what the Host header says; `prefix` stands before every path and has no trailing slash."""

    scheme: str
    host: str
    port: int
    authority: str
    prefix: str

    @property
    def literal(self) -> bool:
        """Whether the host is an address and not a name."""
        return is_address(self.host)


def read(url: str) -> Base:
    """Take a base URL apart. Raises ConfigError on what is no plain http(s) URL: user names, queries and fragments have no place in it."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ConfigError("the URL of an upstream cannot be read") from error
    host = (parts.hostname or "").rstrip(".")
    if parts.scheme not in PORTS or not host or not url.isascii() or not url.isprintable() or " " in url:
        raise ConfigError("an upstream needs a URL like `https://api.example.com/v1`")
    if "@" in parts.netloc or "?" in url or "#" in url:
        raise ConfigError("the URL of an upstream holds no user name, query or fragment")
    shown = f"[{host}]" if ":" in host else host
    authority = shown if port in {None, PORTS[parts.scheme]} else f"{shown}:{port}"
    return Base(parts.scheme, host, port or PORTS[parts.scheme], authority, parts.path.rstrip("/"))


def is_address(host: str) -> bool:
    """Whether this is a literal IP address."""
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True
