"""What a test tells about the fields it guards: after `has(x.f) && …` the field is there. Used by the checker alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sidecar.expr import tree

if TYPE_CHECKING:
    from collections.abc import Callable

Path = tuple[str | int, ...]
"""A chain of fields; the root is a variable's name, or the slot of a macro's variable."""
Guards = frozenset[Path]
_NOTHING: Guards = frozenset()


def learned(node: tree.Node, path_of: Callable[[tree.Node], Path | None]) -> tuple[Guards, Guards]:
    """The fields that are present if the node is true, and if it is false."""
    match node:
        case tree.Select(mode="test"):
            path = path_of(node)
            return (frozenset({path}) if path else _NOTHING), _NOTHING
        case tree.Call(function="!_", args=(inner,)):
            yes, no = learned(inner, path_of)
            return no, yes
        case tree.Logic(op=op, terms=terms):
            sides = [learned(t, path_of) for t in terms]
            every, some = (0, 1) if op == "&&" else (1, 0)
            both = frozenset().union(*(s[every] for s in sides))
            shared = frozenset.intersection(*(s[some] for s in sides))
            return (both, shared) if op == "&&" else (shared, both)
    return _NOTHING, _NOTHING
