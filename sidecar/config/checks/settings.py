"""Rules about Settings documents: stores of this release, ports, bounds, cores."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from sidecar.config import documents
from sidecar.config.checks.upstreams import url_found

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sidecar.config.checks.base import Found
    from sidecar.config.document import Document

_STORES: Mapping[str, tuple[str, ...]] = {"store": ("memory",), "database": ("sqlite", "memory")}


def stores(document: Document) -> Found:
    """Stores of this release."""
    for name, known in _STORES.items():
        value = getattr(document.spec, name)
        scheme, colon, _ = value.partition("://")
        if scheme in known and colon:
            continue
        later = documents.LATER.get(f"Settings.spec.{name}={'redis' if scheme == 'rediss' else scheme}")
        hint = "" if later else "one of " + ", ".join(f"`{word}://`" for word in known)
        yield document.complaint("error", "later" if later else "store", later or f"`{value}` is no {name}", f"/spec/{name}", hint=hint)


def listeners(document: Document) -> Found:
    """Ports differ, TLS files come in pairs, and `effect: allow` stays on the laptop."""
    spec = document.spec
    taken: dict[int, str] = {}
    for name in ("listen", "admin", "health"):
        address = getattr(spec, name)
        if address.port > 65535:
            yield document.complaint("error", "port", f"{address.port} is no port", f"/spec/{name}/port", hint="0 to 65535")
        if address.port and address.port in taken:
            yield document.complaint("error", "port", f"port {address.port} is that of `{taken[address.port]}`", f"/spec/{name}/port")
        if address.tls is not None and address.tls.require_client and not address.tls.client_ca:
            yield document.complaint(
                "error", "tls", "`requireClient` needs the authorities to believe", f"/spec/{name}/tls/requireClient", hint="`clientCa: FILE`"
            )
        taken[address.port] = name
    if spec.default.effect == "allow" and not is_loopback(spec.listen.host):
        yield document.complaint(
            "error",
            "default-allow",
            f"`effect: allow` is for loopback, and the data port is on `{spec.listen.host}`",
            "/spec/default/effect",
            hint="`effect: deny` and a rule that allows",
        )


def is_loopback(host: str) -> bool:
    """Whether a listen address is reached from this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def bounds(document: Document) -> Found:
    """Limits that would refuse everything are mistakes."""
    sizes = document.spec.limits
    for name, field in (
        ("body", "body"),
        ("reply", "reply"),
        ("event", "event"),
        ("inflight", "inflight"),
        ("inflightBytes", "inflight_bytes"),
        ("headerBytes", "header_bytes"),
        ("headers", "headers"),
        ("clientTimeout", "client_timeout"),
    ):
        if not getattr(sizes, field):
            yield document.complaint("error", "limit", f"`{name}: 0` refuses every call", f"/spec/limits/{name}")
    if sizes.inflight_bytes < sizes.body:
        yield document.complaint("error", "limit", "`inflightBytes` is smaller than `body`: the largest body could never be held", "/spec/limits/inflightBytes")


def proxies(document: Document) -> Found:
    """Trusted proxies are ranges, and not everybody."""
    for index, text in enumerate(document.spec.trust.proxies):
        pointer = f"/spec/trust/proxies/{index}"
        try:
            network = ipaddress.ip_network(text, strict=False)
        except ValueError:
            yield document.complaint("error", "address", f"`{text}` is no address and no range", pointer)
            continue
        if network.prefixlen == 0:
            yield document.complaint("error", "address", f"`{text}` believes everybody's `X-Forwarded-For`", pointer, hint="name the proxies")


def seal(document: Document) -> Found:
    """`inputs: sealed` and `seal` come together."""
    records = document.spec.records
    if records.inputs == "sealed" and (records.seal is None or not records.seal.public_key):
        hint = "`seal: {publicKey: FILE}`, made by `sidecar keys seal`"
        yield document.complaint("error", "seal", "`inputs: sealed` needs a public key", "/spec/records/inputs", hint=hint)
    if records.seal is not None and records.inputs != "sealed":
        text = f"`seal` has no meaning with `inputs: {records.inputs}`"
        yield document.complaint("error", "seal", text, "/spec/records/seal", hint="`inputs: sealed`, or take the line out")


def core(document: Document) -> Found:
    """`core: delegate` and `delegate:` come together."""
    spec = document.spec
    if spec.core == "delegate" and not spec.delegate:
        yield document.complaint("error", "core", "`core: delegate` needs to know to whom", "/spec/core", hint="`delegate: https://gateway.example.com`")
    if spec.delegate and spec.core != "delegate":
        yield document.complaint(
            "error", "core", f"`delegate` has no meaning with `core: {spec.core}`", "/spec/delegate", hint="`core: delegate`, or take the line out"
        )
    if spec.delegate:
        yield from url_found(document, spec.delegate, "/spec/delegate")
    if spec.telemetry.otlp:
        yield from url_found(document, spec.telemetry.otlp, "/spec/telemetry/otlp", named=True)
