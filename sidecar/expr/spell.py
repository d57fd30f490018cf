"""A syntax tree back to source, with some of its nodes written otherwise: for changes that must not depend on where parentheses stood.

Counterpart of `parser`: what is spelt parses to the same tree. Literals and names are taken from the source as they were written.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from sidecar.expr import tree

_PLAIN: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_NO_FIELD: Final = frozenset({"in", "true", "false", "null"})
_BINARY: Final = {"<": 3, "<=": 3, ">": 3, ">=": 3, "==": 3, "!=": 3, "in": 3, "+": 4, "-": 4, "*": 5, "/": 5, "%": 5}
CHOICE, OR, AND, UNARY, POSTFIX = 0, 1, 2, 6, 7

Changes = Mapping[tree.Node, str]
"""Nodes to the text that takes their place."""


def spell(node: tree.Node, source: str, changes: Changes) -> str:
    """The source of a tree that was parsed from `source`."""
    return _Speller(source, changes).at(node, CHOICE)


class _Speller:
    def __init__(self, source: str, changes: Changes) -> None:
        self.source = source
        self.changes = changes

    def at(self, node: tree.Node, least: int) -> str:
        """The node, in parentheses where it binds less tightly than its place needs."""
        changed = self.changes.get(node)
        if changed is not None:
            return f"({changed})" if least > CHOICE and not _PLAIN.match(changed) and not changed.isdigit() else changed
        text, level = self.spelt(node)
        return text if level >= least else f"({text})"

    def spelt(self, node: tree.Node) -> tuple[str, int]:
        match node:
            case tree.Ident(name=name, rooted=rooted):
                return f".{name}" if rooted else name, POSTFIX
            case tree.Constant():
                text = self.source[node.start : node.end]
                return text, UNARY if text.startswith("-") else POSTFIX
            case tree.Logic(op=op, terms=terms):
                level = OR if op == "||" else AND
                return f" {op} ".join(self.at(term, level + 1) for term in terms), level
            case tree.Choice(test=test, yes=yes, no=no):
                return f"{self.at(test, OR)} ? {self.at(yes, OR)} : {self.at(no, CHOICE)}", CHOICE
            case tree.Call():
                return self.call(node)
            case tree.Select():
                return self.select(node), POSTFIX
            case tree.Index(operand=operand, index=index, optional=optional):
                return f"{self.at(operand, POSTFIX)}[{'?' if optional else ''}{self.at(index, CHOICE)}]", POSTFIX
            case tree.Listing(items=items, optionals=optionals):
                return f"[{', '.join(f'{_mark(place in optionals)}{self.at(item, CHOICE)}' for place, item in enumerate(items))}]", POSTFIX
            case tree.Mapped(entries=entries, optionals=optionals):
                pairs = (f"{_mark(i in optionals)}{self.at(key, CHOICE)}: {self.at(value, CHOICE)}" for i, (key, value) in enumerate(entries))
                return f"{{{', '.join(pairs)}}}", POSTFIX
            case tree.Fold() | tree.Bind():
                return self.macro(node), POSTFIX
        raise TypeError(type(node).__name__)  # pragma: no cover - the cases above are all there are

    def call(self, node: tree.Call) -> tuple[str, int]:
        operator = "in" if node.function == "@in" else node.function.strip("_")
        if node.target is None and len(node.args) == 2 and operator in _BINARY and node.function != operator:
            level = _BINARY[operator]
            return f"{self.at(node.args[0], level)} {operator} {self.at(node.args[1], level + 1)}", level
        if node.function in ("!_", "-_"):
            return f"{operator}{self.at(node.args[0], POSTFIX)}", UNARY
        head = "" if node.target is None else f"{self.at(node.target, POSTFIX)}."
        return f"{head}{node.function}({self.listed(node.args)})", POSTFIX

    def select(self, node: tree.Select) -> str:
        field = node.field if _PLAIN.match(node.field) and node.field not in _NO_FIELD else f"`{node.field}`"
        text = f"{self.at(node.operand, POSTFIX)}.{_mark(node.mode == 'optional')}{field}"
        return f"has({text})" if node.mode == "test" else text

    def macro(self, node: tree.Fold | tree.Bind) -> str:
        if isinstance(node, tree.Fold):
            parts = [*node.names, *(self.at(part, CHOICE) for part in (node.test, node.body) if part is not None)]
            return f"{self.at(node.over, POSTFIX)}.{node.macro}({', '.join(parts)})"
        if node.macro == "bind":
            return f"cel.bind({node.name}, {self.at(node.value, CHOICE)}, {self.at(node.body, CHOICE)})"
        return f"{self.at(node.value, POSTFIX)}.{node.macro}({node.name}, {self.at(node.body, CHOICE)})"

    def listed(self, nodes: tuple[tree.Node, ...]) -> str:
        return ", ".join(self.at(node, CHOICE) for node in nodes)


def _mark(optional: bool) -> str:
    return "?" if optional else ""


def within(node: tree.Node) -> tuple[tree.Node, ...]:
    """The nodes right below."""
    match node:
        case tree.Select(operand=operand):
            return (operand,)
        case tree.Index(operand=operand, index=index):
            return (operand, index)
        case tree.Call(target=target, args=args):
            return args if target is None else (target, *args)
        case tree.Logic(terms=terms):
            return terms
        case tree.Choice(test=test, yes=yes, no=no):
            return (test, yes, no)
        case tree.Listing(items=items):
            return items
        case tree.Mapped(entries=entries):
            return tuple(part for entry in entries for part in entry)
        case tree.Fold(over=over, test=test, body=body):
            return (over, *(part for part in (test, body) if part is not None))
        case tree.Bind(value=value, body=body):
            return (value, body)
    return ()
