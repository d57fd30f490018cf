"""Lists, maps, sets, optionals and types: what works on values of any kind (cel-go `ext/lists.go`, `ext/sets.go`, optionals)."""

from __future__ import annotations

from functools import cmp_to_key
from typing import TYPE_CHECKING, Any, Final

from sidecar.expr.overload import function, method
from sidecar.expr.types import BOOL, BYTES, DYN, INT, STRING, TYPE, A, B, Type, list_of, map_of, optional_of
from sidecar.expr.values import (
    LIST_LIMIT,
    MISSING,
    NONE,
    STEPS,
    EvalError,
    Maybe,
    TypeValue,
    contains,
    equals,
    kind,
    no_overload,
    order,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_LIST: Final = list_of(A)
_RANGE_LIMIT: Final = 10_000
_PAIRS_LIMIT: Final = 2**18
"""Comparisons that one set operation may take."""
_TYPE_NAMES: Final = {
    "null": "null_type",
    "optional": "optional_type",
    "timestamp": "google.protobuf.Timestamp",
    "duration": "google.protobuf.Duration",
}
TYPE_VALUES: Final = {
    name: TypeValue(name)
    for name in ("bool", "int", "uint", "double", "string", "bytes", "list", "map", "type", *_TYPE_NAMES.values())
}  # fmt: skip


def _type_of(value: Any) -> TypeValue:
    what = kind(value)
    return TYPE_VALUES[_TYPE_NAMES.get(what, what)]


def _concat(a: Sequence[Any], b: Sequence[Any]) -> list[Any]:
    if len(a) + len(b) > LIST_LIMIT:
        raise EvalError("the list grows too long")
    return [*a, *b]


# ---------------------------------------------------------------- optionals


def _value(optional: Maybe) -> Any:
    if optional.value is MISSING:
        raise EvalError("`value()` of an empty optional")
    return optional.value


def _is_zero(value: Any) -> bool:
    what = kind(value)
    if what in ("list", "map", "string", "bytes"):
        return len(value) == 0
    if what == "optional":
        return bool(value.value is MISSING)
    return what == "null" or (what not in ("type", "unsupported", "timestamp") and not value)


def _first(items: Sequence[Any], at: int = 0) -> Maybe:
    return Maybe(items[at]) if items else NONE


# ---------------------------------------------------------------- lists


def _slice(items: Sequence[Any], start: int, end: int) -> list[Any]:
    if not 0 <= start <= end <= len(items):
        raise EvalError("the range is out of the list")
    return list(items[start:end])


def _flatten(items: Sequence[Any], depth: int = 1) -> list[Any]:
    if depth < 0:
        raise EvalError("`flatten` takes no negative depth")
    found: list[Any] = []
    for item in items:
        if depth and kind(item) == "list":
            found.extend(_flatten(item, depth - 1))
        else:
            found.append(item)
        if len(found) > STEPS:
            raise EvalError("the list grows too long")
    return found


def _distinct(items: Sequence[Any]) -> list[Any]:
    if all(type(i) is str for i in items):
        return list(dict.fromkeys(items))
    _quadratic(len(items), len(items))
    found: list[Any] = []
    for item in items:
        if not contains(found, item):
            found.append(item)
    return found


def _quadratic(a: int, b: int) -> None:
    if a * b > _PAIRS_LIMIT:
        raise EvalError("the lists are too long to be compared")


def _compare(a: Any, b: Any) -> int:
    left, right = order(a, b, "sort")
    return int(left > right) - int(left < right)


def _sort(items: Sequence[Any]) -> list[Any]:
    if items and any(type(i) is not type(items[0]) for i in items):
        raise EvalError("`sort` takes values of one type")
    return sorted(items, key=cmp_to_key(_compare))


def _range(count: int) -> list[int]:
    if not 0 <= count <= _RANGE_LIMIT:
        raise EvalError(f"`lists.range` takes 0 to {_RANGE_LIMIT}")
    return list(range(count))


# ---------------------------------------------------------------- sets


def _subset(part: Sequence[Any], whole: Sequence[Any]) -> bool:
    _quadratic(len(part), len(whole))
    return all(contains(whole, item) for item in part)


def _intersects(a: Sequence[Any], b: Sequence[Any]) -> bool:
    _quadratic(len(a), len(b))
    return any(contains(b, item) for item in a)


def _unequal(a: Any, b: Any) -> bool:
    return not equals(a, b)


def _not(value: Any) -> bool:
    if value is True or value is False:
        return not value
    raise no_overload("!", value)


_SIZED: Final[tuple[tuple[Type, Callable[[Any], int]], ...]] = ((STRING, len), (BYTES, len), (_LIST, len), (map_of(A, B), len))

COLLECTION_FUNCTIONS: Final = (
    # equality is checked apart: it takes numbers of different kinds
    function("_==_", A, B, result=BOOL, apply=equals),
    function("_!=_", A, B, result=BOOL, apply=_unequal),
    function("!_", BOOL, result=BOOL, apply=_not),
    function("_+_", _LIST, _LIST, result=_LIST, apply=_concat),
    function("@in", A, list_of(B), result=BOOL, apply=lambda v, items: contains(items, v)),
    function("@in", A, map_of(B, DYN), result=BOOL, apply=lambda v, items: contains(items, v)),
    *(function("size", t, result=INT, apply=size) for t, size in _SIZED),
    *(method("size", t, result=INT, apply=size) for t, size in _SIZED),
    function("type", A, result=TYPE, apply=_type_of),
    function("dyn", A, result=DYN, apply=lambda v: v),
    function("optional.of", A, result=optional_of(A), apply=Maybe),
    function("optional.none", result=optional_of(A), apply=lambda: NONE),
    function("optional.ofNonZeroValue", A, result=optional_of(A), apply=lambda v: NONE if _is_zero(v) else Maybe(v)),
    method("hasValue", optional_of(A), result=BOOL, apply=lambda o: o.value is not MISSING),
    method("value", optional_of(A), result=A, apply=_value),
    method("or", optional_of(A), optional_of(A), result=optional_of(A), apply=lambda o, other: other if o.value is MISSING else o),
    method("orValue", optional_of(A), A, result=A, apply=lambda o, other: other if o.value is MISSING else o.value),
    method("first", _LIST, result=optional_of(A), apply=_first),
    method("last", _LIST, result=optional_of(A), apply=lambda items: _first(items, -1)),
    method("slice", _LIST, INT, INT, result=_LIST, apply=_slice),
    method("flatten", list_of(DYN), result=list_of(DYN), apply=_flatten),
    method("flatten", list_of(DYN), INT, result=list_of(DYN), apply=_flatten),
    method("distinct", _LIST, result=_LIST, apply=_distinct, cost=5),
    method("reverse", _LIST, result=_LIST, apply=lambda items: list(reversed(items))),
    method("sort", _LIST, result=_LIST, apply=_sort, cost=5),
    function("lists.range", INT, result=list_of(INT), apply=_range),
    function("sets.contains", _LIST, _LIST, result=BOOL, apply=lambda a, b: _subset(b, a), cost=5),
    function("sets.equivalent", _LIST, _LIST, result=BOOL, apply=lambda a, b: _subset(a, b) and _subset(b, a), cost=5),
    function("sets.intersects", _LIST, _LIST, result=BOOL, apply=_intersects, cost=5),
)
