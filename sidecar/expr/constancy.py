"""Which nodes may have a value whatever the frame: `closures` tries only those, at load."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sidecar.expr import tree
from sidecar.expr.values import TypeValue

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from sidecar.expr.check import Checked


def may_fold(node: tree.Node, checked: Checked, constant: AbstractSet[tree.Node]) -> bool:
    """Whether an empty frame may give a value; false spares the try. What a node always evaluates must be constant."""
    match node:
        case tree.Ident():
            return type(checked.refs.get(node)) is TypeValue
        case tree.Select(operand=operand):
            return operand in constant or type(checked.refs.get(node)) is TypeValue
        case tree.Index(operand=operand, index=index):
            return operand in constant and index in constant
        case tree.Call(function="or" | "orValue", target=tree.Node() as optional):
            return optional in constant
        case tree.Call():
            return all(a in constant for a in checked.calls[node].args)
        case tree.Logic(terms=terms):
            return any(t in constant for t in terms)
        case tree.Bind(macro="bind", value=value, body=body):  # what it binds may never be read
            return value in constant or body in constant
        case tree.Choice(test=value) | tree.Fold(over=value) | tree.Bind(value=value):
            return value in constant
    return True
