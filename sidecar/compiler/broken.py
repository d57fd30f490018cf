"""The conditions of documents that did not load: checked all the same, so that a mistake in a field hides none in a `when`.

They are taken from the YAML as it stands. Where what a condition may name depends on a field that may be the broken one, the widest
reading holds: nothing is told that putting the field right would undo. Counterpart: `policies`, `rbac`, `quotas`, `exceptions` for what loads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sidecar.compiler.conditions import Report, Scope
from sidecar.config.source import BAD, ListNode, MapNode, Node, ScalarNode
from sidecar.expr import BOOL, DYN

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sidecar.config.document import Document
    from sidecar.expr import Type

FIELDS = frozenset({"mode", "auditUntil", "match", "when", "variables", "rules"})
"""Of a Policy's `spec`: another one may be `variables`, misspelt."""


def conditions(document: Document, report: Report, claims: Mapping[str, Type] | None) -> None:
    """Tell the problems of all expressions that can be read. `document` has a root and no spec."""
    spec = _under(document.root, "spec")
    if not isinstance(spec, MapNode):
        return
    scope = Scope(report, document, claims, *_phase(spec))
    if document.kind == "Policy":
        scope.declare({name: text for name, node in _entries(spec, "variables") if (text := _text(node))})
        lost_ones = {name: DYN for name, _ in _entries(spec, "variables") if name not in scope.types}
        scope.types |= lost_ones
        scope.doubtful = scope.doubtful or bool(lost_ones)
    lost = document.kind == "Policy" and bool(spec.entries.keys() - FIELDS)
    for pointer, text, result in _expressions(document.kind, spec):
        if not (lost and "variables" in text):
            scope.program(pointer, text, result=result)


def _phase(spec: MapNode) -> tuple[str, bool]:
    """The phase, and whether the document is about tool calls alone: both as wide as they may be meant."""
    match = _under(spec, "match")
    phase = _under(match, "phase")
    operation = _under(match, "operation")
    named = [_text(node) for node in (operation.items if isinstance(operation, ListNode) else [operation] if operation is not None else [])]
    known = {"chat", "embeddings", "moderation", "count_tokens", "models", "*"}
    return ("request" if phase is None or _text(phase) == "request" else "response"), bool(named) and not known & set(named)


def _expressions(kind: str, spec: MapNode) -> Iterator[tuple[str, str, Type]]:
    """Pointer, text and type of every condition and key."""
    if kind in {"Policy", "Quota", "Exception"} and (text := _text(_under(spec, "when"))):
        yield "/spec/when", text, BOOL
    for field in {"Policy": ("rules",), "Roles": ("bindings",)}.get(kind, ()):
        for index, item in enumerate(_items(spec, field)):
            if text := _text(_under(item, "when")):
                yield f"/spec/{field}/{index}/when", text, BOOL
    if kind == "Quota":
        for index, item in enumerate(_items(spec, "key")):
            if text := _text(item):
                yield f"/spec/key/{index}", text, DYN


# ---------------------------------------------------------------- nodes


def _under(node: Node | None, name: str) -> Node | None:
    found = node.entries.get(name) if isinstance(node, MapNode) else None
    return None if found is None else found[1]


def _entries(spec: MapNode, name: str) -> list[tuple[str, Node]]:
    node = _under(spec, name)
    return [(key, value) for key, (_, value) in node.entries.items()] if isinstance(node, MapNode) else []


def _items(spec: MapNode, name: str) -> list[Node]:
    node = _under(spec, name)
    return node.items if isinstance(node, ListNode) else []


def _text(node: Node | None) -> str:
    """A text that was read; "" for none."""
    return node.text if isinstance(node, ScalarNode) and node.style != BAD and not node.null and node.text.strip() else ""
