"""An Upstream's base URL, taken apart once at load. Whether its address may be dialled is the channel's business."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import urlsplit

from sidecar.errors import ConfigError

PORTS = {"http": 80, "https": 443}


class Base(NamedTuple):
    """`prefix` stands before every path and has no trailing slash."""

    scheme: str
    host: str
    port: int
    prefix: str


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
    return Base(parts.scheme, host, port or PORTS[parts.scheme], parts.path.rstrip("/"))
