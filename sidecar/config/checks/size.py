"""How much one configuration may hold, so that loading it takes bounded time and memory. Over a bound nothing of it is compiled."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sidecar.config.checks.across import World
    from sidecar.config.checks.base import Found
    from sidecar.config.document import Document

MOST_BYTES = 64 * 2**20
"""Of all files together."""
MOST_RULES = 20_000
"""Rules, bindings, quotas and exceptions: ten seconds and half a gigabyte on a small machine."""
MOST_ENTRIES = 500_000
"""Rules times operations times targets times subjects: what the index would hold."""


def bounded(world: World) -> Found:
    """Told at the document that goes over."""
    rules = entries = 0
    for layer in world.layers:
        for document in layer.documents:
            more, spread = weight(document)
            for total, added, most, what in ((rules, more, MOST_RULES, "rules"), (entries, spread, MOST_ENTRIES, "rules, multiplied by their names")):
                if total <= most < total + added:
                    yield document.complaint(
                        "error", "too-many", f"from here on there are more than {most} {what}", hint="what is alike is one rule with a list, or a `group:`"
                    )
            rules, entries = rules + more, entries + spread


def weight(document: Document) -> tuple[int, int]:
    """Rules of a document, and the entries that they are in the index."""
    spec = document.spec
    if document.kind == "Roles":
        granted = sum(len(role.allow) for role in spec.roles.values()) or 1
        return len(spec.bindings), sum(max(len(binding.subjects), 1) * granted for binding in spec.bindings)
    if document.kind in {"Policy", "Quota", "Exception"}:
        match = spec.match
        rules = len(spec.rules) if document.kind == "Policy" else 1
        return rules, rules * max(len(match.operation), 1) * max(len(match.target), 1) * max(len(match.subjects), 1)
    return 0, 0
