"""One value may stand for a list, and `fmt` writes the list: where the fields of a kind say that a list is due, a lone value becomes one.

Also puts the envelope in order. Both follow the types of `documents` alone, and touch nothing that they do not know.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import cache
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, Union, get_args, get_origin, get_type_hints

from sidecar.config import documents
from sidecar.config.source import NULLS
from sidecar.config.validate import ENVELOPE, camel
from sidecar.workbench.fmt.tree import BLOCKS, Map, Node, Scalar, Seq

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sidecar.workbench.fmt.tree import Comment


def arrange(root: Node, comments: Sequence[Comment]) -> None:
    """Bring one document into its form, in place."""
    if not isinstance(root, Map):
        return
    held = {key.text: value for key, value in root.entries}
    kind, spec = held.get("kind"), held.get("spec")
    if isinstance(kind, Scalar) and kind.text in documents.KINDS and spec is not None:
        _typed(spec, documents.KINDS[kind.text])
    _order(root, comments)


def _order(root: Map, comments: Sequence[Comment]) -> None:
    """Envelope order, unless a comment stands where fields would change places: nobody can tell what it speaks of then."""
    wanted = sorted(root.entries, key=lambda entry: ENVELOPE.index(entry[0].text) if entry[0].text in ENVELOPE else len(ENVELOPE))
    moved = [entry for entry, other in zip(root.entries, wanted, strict=True) if entry is not other]
    if not moved:
        return
    after = [key.start for key, _ in root.entries if key.start > moved[-1][0].start]
    start, end = root.entries[0][0].start, after[0] if after else root.end
    if not any(start < comment.start < end for comment in comments):
        root.entries = wanted


def _typed(node: Node, hint: Any) -> Node:
    """The node, its inner values in the form that the type has."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return _typed(node, next(part for part in arguments if part is not NoneType))
    if origin is tuple:
        return _listed(node, arguments[0])
    if origin is Mapping and isinstance(node, Map):
        node.entries = [(key, _typed(value, arguments[1])) for key, value in node.entries]
    elif isinstance(node, Map) and isinstance(hint, type) and dataclasses.is_dataclass(hint):
        fields = _fields(hint)
        node.entries = [(key, _typed(value, fields[key.text]) if key.text in fields else value) for key, value in node.entries]
    return node


def _listed(node: Node, item: Any) -> Node:
    if isinstance(node, Seq):
        node.items = [_typed(each, item) for each in node.items]
        return node
    if node.anchor or (isinstance(node, Scalar) and (node.style == "*" or (not node.style and node.text in NULLS))):
        return node  # an alias may stand for a list, and nothing is no value
    flow = node.flow if isinstance(node, Map) else node.style not in BLOCKS
    return Seq(flow, node.start, node.column if isinstance(node, Map) else 0, end=node.end, items=[_typed(node, item)])


@cache
def _fields(cls: type) -> Mapping[str, Any]:
    hints = get_type_hints(cls, include_extras=True)
    return {camel(field.name): hints[field.name] for field in dataclasses.fields(cls)}
