"""The syntax tree. Nodes are compared by identity, so that the checker can keep what it learns beside them.

`start` and `end` are offsets into the source; `height` is the longest way down, bounded by the parser so that no later
pass can run out of stack.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """What all nodes have."""

    start: int
    end: int
    height: int


@dataclass(frozen=True, slots=True, eq=False)
class Constant(Node):
    """A literal."""

    value: Any


@dataclass(frozen=True, slots=True, eq=False)
class Ident(Node):
    """A name; `rooted` (`.name`) looks past the variables of macros."""

    name: str
    rooted: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Select(Node):
    """`operand.field`, `operand.?field`, or the argument of `has()`."""

    operand: Node
    field: str
    mode: Literal["plain", "optional", "test"] = "plain"


@dataclass(frozen=True, slots=True, eq=False)
class Index(Node):
    """`operand[index]` or `operand[?index]`."""

    operand: Node
    index: Node
    optional: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Call(Node):
    """A function, a method (with a `target`) or an operator (`_+_`, `!_`)."""

    function: str
    target: Node | None
    args: tuple[Node, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Logic(Node):
    """A chain of `&&` or of `||`, flat however long it is."""

    op: Literal["&&", "||"]
    terms: tuple[Node, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Choice(Node):
    """`test ? yes : no`."""

    test: Node
    yes: Node
    no: Node


@dataclass(frozen=True, slots=True, eq=False)
class Listing(Node):
    """A list literal; `optionals` are the positions written `?x`."""

    items: tuple[Node, ...]
    optionals: frozenset[int]


@dataclass(frozen=True, slots=True, eq=False)
class Mapped(Node):
    """A map literal; `optionals` are the positions written `?k: v`."""

    entries: tuple[tuple[Node, Node], ...]
    optionals: frozenset[int]


@dataclass(frozen=True, slots=True, eq=False)
class Fold(Node):
    """A macro over a range.

    `macro` is `all`, `exists`, `exists_one`, `map`, `filter`, `sortBy`, `transformList`, `transformMap` or `transformMapEntry`;
    `names` its one or two variables; `test` the condition and `body` the transformation, as the macro has them.
    """

    macro: str
    over: Node
    names: tuple[str, ...]
    test: Node | None
    body: Node | None


@dataclass(frozen=True, slots=True, eq=False)
class Bind(Node):
    """`cel.bind(name, value, body)`, also one value of a `cel.block`; or with `macro` `optMap` and `optFlatMap` the same over an optional."""

    macro: Literal["bind", "optMap", "optFlatMap"]
    name: str
    value: Node
    body: Node


def children(node: Node) -> Iterator[Node]:
    """The nodes directly below, in the order in which they are written."""
    match node:
        case Select(operand=operand):
            yield operand
        case Index(operand=operand, index=index):
            yield from (operand, index)
        case Call(target=target, args=args):
            yield from args if target is None else (target, *args)
        case Logic(terms=terms):
            yield from terms
        case Choice(test=test, yes=yes, no=no):
            yield from (test, yes, no)
        case Listing(items=items):
            yield from items
        case Mapped(entries=entries):
            yield from (part for entry in entries for part in entry)
        case Fold(over=over, test=first, body=second):
            yield from (part for part in (over, first, second) if part is not None)
        case Bind(value=value, body=body):
            yield from (value, body)


def walk(node: Node) -> Iterator[Node]:
    """The node and all below it."""
    yield node
    for child in children(node):
        yield from walk(child)
