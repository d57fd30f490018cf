"""What one field's type cannot say: between the fields of a document, and between documents. One function, one rule.

Three visible tables: `WITHIN` looks at one document, `DATED` too and at the day, `ACROSS` at all layers together. Needs no
compile; counterparts: `validate` (types), `sidecar.compiler` (conditions, coverage).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sidecar.config import documents
from sidecar.config.checks import across, base, fixtures, grants, identity, policies, settings, size, upstreams
from sidecar.config.checks.across import Across, Layer, World

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sidecar.config.checks.base import Dated, Within
    from sidecar.config.diagnostics import Diagnostic
    from sidecar.config.document import Document

__all__ = ["Layer", "check"]

ALL = tuple(documents.KINDS)

WITHIN: tuple[tuple[tuple[str, ...], Within], ...] = (
    (ALL, base.names),
    (("Policy",), policies.rule_names),
    (("Policy",), policies.variable_names),
    (("Policy",), policies.rule_effects),
    (("Policy",), policies.obligations),
    (("Roles",), grants.roles),
    (("Roles",), grants.grants),
    (("Quota",), grants.limits),
    (("Exception",), grants.exception_words),
    (("Identity",), identity.methods),
    (("Identity",), identity.keys),
    (("Identity",), identity.claims),
    (("Identity",), identity.jwt),
    (("Identity",), identity.trust_domains),
    (("Upstream",), upstreams.upstream_url),
    (("Upstream",), upstreams.upstream_credential),
    (("Upstream",), upstreams.upstream_addresses),
    (("Upstream",), upstreams.upstream_headers),
    (("Upstream",), upstreams.models),
    (("Settings",), settings.stores),
    (("Settings",), settings.listeners),
    (("Settings",), settings.bounds),
    (("Settings",), settings.proxies),
    (("Settings",), settings.seal),
    (("Settings",), settings.core),
    (("Test",), fixtures.fixtures),
    (("Test",), fixtures.tested_calls),
    (("Test",), fixtures.rows),
)
"""Kinds, and a rule about each document of them."""

DATED: tuple[tuple[tuple[str, ...], Dated], ...] = (
    (("Policy", "Quota"), policies.audits),
    (("Exception",), grants.expiry),
    (("Identity",), identity.expired_keys),
)
"""The same, of rules that depend on the day."""

ACROSS: tuple[Across, ...] = (
    size.bounded,
    across.unique_names,
    across.places,
    across.aliases,
    across.destinations,
    across.lifted_rules,
    across.passthrough,
    across.fleets,
    across.tested_quotas,
    across.tested_rules,
    across.tls_for_certificates,
)
"""Rules over several documents."""


def check(layers: Sequence[Layer], now: float) -> list[Diagnostic]:
    """Everything that is wrong, in no order. `now` is Unix seconds."""
    found = [item for layer in layers for document in layer.documents for item in _within(document, now)]
    world = World(tuple(layers))
    return found + [item for rule in ACROSS for item in rule(world)]


def _within(document: Document, now: float) -> Iterator[Diagnostic]:
    for kinds, rule in WITHIN:
        if document.kind in kinds:
            yield from rule(document)
    for kinds, dated in DATED:
        if document.kind in kinds:
            yield from dated(document, now)
