"""Rules about Upstream documents: where they are, what is sent along, what they serve."""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urlsplit

from sidecar.config.checks.base import Found, at_key, escaped

if TYPE_CHECKING:
    from sidecar.config.document import Document

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+\Z")
_CREDENTIAL_HEADERS = frozenset({"authorization", "proxy-authorization", "x-api-key", "api-key", "x-goog-api-key", "cookie"})
_FRAMING_HEADERS = frozenset({"host", "content-length", "transfer-encoding", "connection", "te", "upgrade", "content-type", "expect", "trailer"})


def upstream_url(document: Document) -> Found:
    """https; plain http only to loopback or to a literal private address. `echo:` is the embedded stand-in."""
    spec = document.spec
    if spec.url == "echo:":
        return
    if not spec.url:
        yield document.complaint("error", "url", "`url` is missing", "/spec", hint="the base URL with the version prefix, or `echo:`")
        return
    yield from url_found(document, spec.url, "/spec/url", named=bool(spec.addresses))


def url_found(document: Document, url: str, pointer: str, *, named: bool = False, query: bool = False) -> Found:
    """Complain of a URL that the sidecar would dial. `named`: private addresses of its host are named; `query`: one may be there."""
    if problem := url_problem(url, named=named, query=query):
        yield document.complaint("error", "url", f"`{_without_secret(url)}`: {problem[0]}", pointer, hint=problem[1])


def url_problem(url: str, *, named: bool = False, query: bool = False) -> tuple[str, str] | None:
    """What is wrong with it, and a hint."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        return str(error).lower(), ""
    if parts.scheme not in ("http", "https"):
        return "no http or https URL", "`https://…`"
    if not parts.hostname:
        return "no host", "`https://host/v1`"
    if parts.username is not None or parts.password is not None:
        return "credentials in a URL end in logs", "`credential: {env: NAME}`"
    if parts.fragment or (parts.query and not query):
        return "no query and no fragment here", ""
    if parts.scheme == "http" and not _is_near(parts, named):
        return "plain http only to loopback, or to a private address that the document names", "`https://…`"
    return None


def _without_secret(url: str) -> str:
    return re.sub(r"//[^/@]*@", "//…@", url)


def _is_near(parts: SplitResult, named: bool) -> bool:
    host = parts.hostname or ""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost" or named
    return address.is_loopback or (address.is_private and not address.is_link_local and not address.is_unspecified)


def upstream_credential(document: Document) -> Found:
    """A credential names a variable and does not hold the value."""
    credential = document.spec.credential
    if credential is not None and credential.env and not _VARIABLE.match(credential.env):
        yield document.complaint(
            "error", "credential", "`env` holds the name of a variable", "/spec/credential/env", hint="`credential: {env: OPENAI_API_KEY}`"
        )


def upstream_addresses(document: Document) -> Found:
    """Addresses are literal; link-local ones (metadata services) are not named by range."""
    for index, text in enumerate(document.spec.addresses):
        pointer = f"/spec/addresses/{index}"
        try:
            network = ipaddress.ip_network(text, strict=False)
        except ValueError:
            yield document.complaint("error", "address", f"`{text}` is no address and no range", pointer, hint="as in `10.0.0.0/8` or `192.168.1.7`")
            continue
        bare = text.partition("/")[0]
        if ipaddress.ip_address(bare) != network.network_address:
            yield document.complaint("error", "address", f"`{text}` is an address in a range", pointer, hint=f"`{network}` is the range, `{bare}` the address")
        if network.prefixlen == 0:
            yield document.complaint("error", "address", f"`{text}` is everywhere", pointer, hint="name the range that the upstream is in")


def upstream_headers(document: Document) -> Found:
    """Fixed headers carry no credential and no framing."""
    for name, value in document.spec.headers.items():
        pointer = f"/spec/headers/{escaped(name)}"
        lower = name.lower()
        if lower in _CREDENTIAL_HEADERS:
            yield at_key(document, "header", f"`{name}` is a credential", pointer, "`credential: {env: NAME}`")
        elif lower in _FRAMING_HEADERS:
            yield at_key(document, "header", f"`{name}` is the sidecar's own", pointer, "take the line out")
        elif not _HEADER.match(name) or not value.isascii() or not value.isprintable():
            yield at_key(document, "header", f"`{name}` is no header that can be sent", pointer)


def models(document: Document) -> Found:
    """Models have names of their own; a glob has no aliases."""
    seen: dict[str, str] = {}
    for index, model in enumerate(document.spec.models):
        pointer = f"/spec/models/{index}"
        if "*" in model.name and model.aliases:
            yield document.complaint(
                "error", "alias", f"`{model.name}` stands for many names and has no aliases", f"{pointer}/aliases", hint="name the model that the alias means"
            )
        for name, place in ((model.name, f"{pointer}/name"), *((alias, f"{pointer}/aliases/{at}") for at, alias in enumerate(model.aliases))):
            if name.casefold() in seen:
                yield document.complaint(
                    "error", "duplicate-model", f"`{name}` is named twice in this upstream", place, hint="models and aliases are names of one kind"
                )
            if "*" in name and place.endswith("/name") is False:
                yield document.complaint("error", "alias", f"`{name}`: an alias is exact", place)
            seen[name.casefold()] = place
