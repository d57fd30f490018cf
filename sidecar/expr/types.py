"""Static types of conditions: what a declaration says and what the checker infers.

Counterpart: `values` holds what these types are made of at run time. Knows nothing of syntax or functions.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Type:
    """A type by kind; `params` are the element types of `list`, `map` and `optional`, `name` tells type parameters apart."""

    kind: str
    params: tuple[Type, ...] = ()
    name: str = ""

    def __str__(self) -> str:
        if self.name:
            return self.name
        return f"{self.kind}({', '.join(map(str, self.params))})" if self.params else self.kind


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a record. An `optional` one may be absent, and so must be guarded; `phases` empty means every phase."""

    type: Type
    optional: bool = False
    phases: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, init=False)
class Record(Type):
    """A closed set of named fields. Its value at run time is a mapping with these keys, or UNKNOWN."""

    fields: Mapping[str, Field] = field(compare=False, default_factory=dict)

    def __init__(self, name: str, fields: Mapping[str, Field]) -> None:
        for key, value in (("kind", "record"), ("params", ()), ("name", name), ("fields", dict(fields))):
            object.__setattr__(self, key, value)

    __str__ = Type.__str__


BOOL = Type("bool")
INT = Type("int")
UINT = Type("uint")
DOUBLE = Type("double")
STRING = Type("string")
BYTES = Type("bytes")
TIMESTAMP = Type("timestamp")
DURATION = Type("duration")
NULL = Type("null")
DYN = Type("dyn")
NEVER = Type("never")
"""What the elements of `[]` are: nothing yet, so that it joins with every list."""
TYPE = Type("type")
IP = Type("net.IP")
CIDR = Type("net.CIDR")
A = Type("param", name="A")
B = Type("param", name="B")

NUMERIC = frozenset({"int", "uint", "double"})
_OPEN = frozenset({"dyn", "never"})
_NULLABLE = frozenset({"optional", "timestamp", "duration"})
"""What CEL lets null stand for in a list. A function that meets the null is an error when it runs."""
ORDERED = frozenset({"bool", "string", "bytes", "timestamp", "duration"}) | NUMERIC


def list_of(element: Type) -> Type:
    """The type of lists of `element`."""
    return Type("list", (element,))


def map_of(key: Type, value: Type) -> Type:
    """The type of maps from `key` to `value`."""
    return Type("map", (key, value))


def optional_of(inner: Type) -> Type:
    """The type of what `.?` and `optional.of` give."""
    return Type("optional", (inner,))


def assignable(actual: Type, formal: Type, found: dict[str, Type]) -> bool:
    """May a value of `actual` stand where `formal` is asked for? Binds the type parameters of `formal` in `found`."""
    if formal.kind == "param":
        bound = found.get(formal.name)
        found[formal.name] = actual if bound is None else join(bound, actual) or DYN
        return bound is None or join(bound, actual) is not None
    if actual.kind in _OPEN or formal.kind in _OPEN:
        return True
    if actual.kind != formal.kind or actual.name != formal.name or len(actual.params) != len(formal.params):
        return False
    return not actual.params or all(assignable(a, f, found) for a, f in zip(actual.params, formal.params, strict=True))


def substitute(formal: Type, found: Mapping[str, Type]) -> Type:
    """`formal` with its type parameters replaced; an unbound one is never."""
    if formal.kind == "param":
        return found.get(formal.name, NEVER)
    if not formal.params:
        return formal
    return Type(formal.kind, tuple(substitute(p, found) for p in formal.params))


def join(left: Type, right: Type) -> Type | None:
    """The type of a value that is one or the other; None where the two have nothing in common."""
    if left is right or left == right:
        return left
    if NEVER in (left, right):
        return right if left == NEVER else left
    if DYN in (left, right):
        return DYN
    if NULL in (left, right) and {left.kind, right.kind} & _NULLABLE:
        return right if left == NULL else left
    if left.kind != right.kind or left.name != right.name or len(left.params) != len(right.params) or not left.params:
        return None
    parts = [join(a, b) for a, b in zip(left.params, right.params, strict=True)]
    return None if None in parts else Type(left.kind, tuple(p for p in parts if p is not None))


def comparable(left: Type, right: Type) -> bool:
    """May `==` ask for these two? Numbers of all kinds compare with each other; `null` with what may be null, that is dyn."""
    if left.kind in NUMERIC and right.kind in NUMERIC:
        return True
    if left.kind in _OPEN or right.kind in _OPEN:
        return True
    if left.kind != right.kind or left.name != right.name or len(left.params) != len(right.params):
        return False
    return not left.params or all(comparable(a, b) for a, b in zip(left.params, right.params, strict=True))


def settled(found: Type) -> Type:
    """The type with every `never` left in it made dyn: nothing more will be learned."""
    if found == NEVER:
        return DYN
    return Type(found.kind, tuple(map(settled, found.params))) if found.params else found
