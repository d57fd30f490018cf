"""Closures that read: variables, fields, elements, and whether they are there. Chains over plain mappings are one closure.

The fast ways trust the shapes that were declared; where one fails, the slow way finds out why and says so by name.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sidecar.expr.values import MISSING, NONE, UNKNOWN, EvalError, Maybe, UnknownReached, find, kind, no_overload, to_timestamp

Run = Callable[[Any], Any]
"""What an expression becomes: takes the frame (variables by name, macro variables by slot), gives a value, raises `values.FAILURES`."""


def chain(root: str | int, names: Sequence[str]) -> Run:
    """Reads `root.name.name…`."""
    match names:
        case ():
            return _root(root)
        case (a,):
            return _one(root, a)
        case (a, b):
            return _two(root, a, b)
    return _many(root, tuple(names))


def _root(root: str | int) -> Run:
    def run(frame: Any) -> Any:
        try:
            value = frame[root]
        except KeyError:
            raise EvalError(f"`{root}` is not bound") from None
        if value is UNKNOWN:
            raise UnknownReached
        return value

    return run


def _one(root: str | int, a: str) -> Run:
    def run(frame: Any) -> Any:
        try:
            value = frame[root][a]
        except (KeyError, TypeError):
            return walk(frame, root, (a,))
        if value is UNKNOWN:
            raise UnknownReached
        return value

    return run


def _two(root: str | int, a: str, b: str) -> Run:
    def run(frame: Any) -> Any:
        try:
            value = frame[root][a][b]
        except (KeyError, TypeError):
            return walk(frame, root, (a, b))
        if value is UNKNOWN:
            raise UnknownReached
        return value

    return run


def _many(root: str | int, names: tuple[str, ...]) -> Run:
    def run(frame: Any) -> Any:
        try:
            value = frame[root]
            for name in names:
                value = value[name]
        except (KeyError, TypeError):
            return walk(frame, root, names)
        if value is UNKNOWN:
            raise UnknownReached
        return value

    return run


def walk(frame: Any, root: str | int, names: tuple[str, ...]) -> Any:
    """The same as a chain, step by step, to tell what is missing. Raises EvalError, UnknownReached."""
    value = _root(root)(frame)
    for name in names:
        value = select(value, name)
    return value


def select(value: Any, name: str) -> Any:
    """`value.name`; from an optional it is optional. Raises EvalError."""
    what = kind(value)
    if what == "optional":
        return value if value is NONE else select_optional(value.value, name)
    if what != "map":
        raise EvalError(f"a `{what}` has no field `{name}`")
    found = find(value, name)
    if found is MISSING:
        raise EvalError(f"no such field or key: `{name}`")
    if found is UNKNOWN:
        raise UnknownReached
    return found


def select_optional(value: Any, name: str) -> Maybe:
    """`value.?name`. Raises EvalError where the value has no fields at all."""
    what = kind(value)
    if what == "optional":
        return NONE if value is NONE else select_optional(value.value, name)
    if what != "map":
        raise EvalError(f"a `{what}` has no field `{name}`")
    return _wrap(find(value, name))


def present(value: Any, name: str) -> bool:
    """`has(value.name)`: only the last step may be missing. Raises EvalError."""
    what = kind(value)
    if what == "optional":
        return value is not NONE and present(value.value, name)
    if what != "map":
        raise EvalError(f"a `{what}` has no field `{name}`")
    found = find(value, name)
    if found is UNKNOWN:
        raise UnknownReached
    return found is not MISSING


def _wrap(found: Any) -> Maybe:
    if found is UNKNOWN:
        raise UnknownReached
    if type(found) is Maybe:
        return found
    return NONE if found is MISSING else Maybe(found)


def test_field(holder: Run, name: str, *, nullable: bool) -> Run:
    """`has(holder.name)`. `nullable`: a record's optional field that is None counts as absent."""

    def run(frame: Any) -> bool:
        value = holder(frame)
        if type(value) is not dict:
            return present(value, name) and not (nullable and value[name] is None)
        found = value.get(name, MISSING)
        if found is UNKNOWN:
            raise UnknownReached
        return found is not MISSING and not (nullable and found is None)

    return run


def optional_field(holder: Run, name: str, *, nullable: bool) -> Run:
    """`holder.?name`, or `.name` of what is optional already."""

    def run(frame: Any) -> Maybe:
        found = select_optional(holder(frame), name)
        return NONE if nullable and found.value is None else found

    return run


def plain_field(holder: Run, name: str) -> Run:
    """`holder.name` where the holder is no chain."""
    return lambda frame: select(holder(frame), name)


def element(holder: Run, key: Run, *, optional: bool) -> Run:
    """`holder[key]`, or `holder[?key]`."""
    if optional:
        return lambda frame: index_optional(holder(frame), key(frame))
    return lambda frame: index(holder(frame), key(frame))


def index(value: Any, key: Any) -> Any:
    """`value[key]`; of an optional it is optional. Raises EvalError."""
    what = kind(value)
    if what == "optional":
        return index_optional(value, key)
    found = _at(value, key, what)
    if found is MISSING:
        raise EvalError("no such key" if what == "map" else "the index is out of range")
    if found is UNKNOWN:
        raise UnknownReached
    return found


def index_optional(value: Any, key: Any) -> Maybe:
    """`value[?key]`. Raises EvalError for a key that no such value can have."""
    what = kind(value)
    if what == "optional":
        return NONE if value is NONE else index_optional(value.value, key)
    return _wrap(_at(value, key, what))


def _at(value: Any, key: Any, what: str) -> Any:
    if what == "map":
        return find(value, key)
    if what != "list":
        raise EvalError(f"a `{what}` cannot be indexed")
    if kind(key) not in ("int", "uint", "double") or key != int(key):
        raise EvalError(f"a list is indexed by `int`, not `{kind(key)}`")
    position = int(key)
    return value[position] if 0 <= position < len(value) else MISSING


def as_timestamp(read: Run) -> Run:
    """A declared timestamp may be bound as a datetime or as Unix seconds."""
    return lambda frame: to_timestamp(read(frame))


def alternative(optional: Run, other: Run, *, whole: bool) -> Run:
    """`optional.orValue(other)`, or with `whole` `.or`: the other is run only where it is needed."""

    def run(frame: Any) -> Any:
        found = optional(frame)
        if type(found) is not Maybe:
            raise no_overload("or" if whole else "orValue", found)
        if found.value is MISSING:
            found = other(frame)
            if whole and type(found) is not Maybe:
                raise no_overload("or", NONE, found)
            return found
        return found if whole else found.value

    return run
