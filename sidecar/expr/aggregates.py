"""Lists, maps, sets, optionals and types: what works on values of any kind (cel-go `ext/lists.go`, `ext/sets.go`, optionals).

What looks into nested values takes `fuel`: a list may hold another twice, and that one another twice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sidecar.expr.overload import function, method
from sidecar.expr.types import BOOL, BYTES, DYN, INT, STRING, TYPE, A, B, Type, list_of, map_of, optional_of
from sidecar.expr.values import (
    LIST_LIMIT,
    MISSING,
    NONE,
    PAIRS,
    EvalError,
    Fuel,
    Maybe,
    Tank,
    TypeValue,
    contains,
    equals,
    kind,
    no_overload,
    sortable,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_LIST: Final = list_of(A)
_RANGE_LIMIT: Final = 10_000
_TYPE_NAMES: Final = {
    "null": "null_type",
    "optional": "optional_type",
    "timestamp": "google.protobuf.Timestamp",
    "duration": "google.protobuf.Duration",
}
TYPE_VALUES: Final = {
    name: TypeValue(name)
    for name in ("bool", "int", "uint", "double", "string", "bytes", "list", "map", "type", "net.IP", "net.CIDR", *_TYPE_NAMES.values())
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


def _flatten(items: Sequence[Any], depth: int = 1, fuel: Fuel | None = None) -> list[Any]:
    if depth < 0:
        raise EvalError("`flatten` takes no negative depth")
    fuel = fuel or Tank()
    fuel.burn(len(items))
    found: list[Any] = []
    for item in items:
        if depth and kind(item) == "list":
            found.extend(_flatten(item, depth - 1, fuel))
        else:
            found.append(item)
    return found


def _distinct(items: Sequence[Any], fuel: Fuel | None = None) -> list[Any]:
    if _words(items):
        return list(dict.fromkeys(items))
    fuel = fuel or Tank(PAIRS)
    found: list[Any] = []
    for item in items:
        if not contains(found, item, fuel):
            found.append(item)
    return found


def _sort(items: Sequence[Any]) -> list[Any]:
    return sorted(sortable(items, "sort"))


def _unwrap(items: Sequence[Any]) -> list[Any]:
    if any(type(item) is not Maybe for item in items):
        raise EvalError("`unwrap` takes a list of optional values")
    return [item.value for item in items if item.value is not MISSING]


def _range(count: int) -> list[int]:
    if not 0 <= count <= _RANGE_LIMIT:
        raise EvalError(f"`lists.range` takes 0 to {_RANGE_LIMIT}")
    return list(range(count))


# ---------------------------------------------------------------- sets


def _words(items: Sequence[Any]) -> bool:
    """Whether all are texts, which Python compares as CEL does, and hashes."""
    return all(type(i) is str for i in items)


def _subset(part: Sequence[Any], whole: Sequence[Any], fuel: Fuel | None = None) -> bool:
    if _words(part) and _words(whole):
        return frozenset(part) <= frozenset(whole)
    fuel = fuel or Tank(PAIRS)
    return all(contains(whole, item, fuel) for item in part)


def _superset(whole: Sequence[Any], part: Sequence[Any], fuel: Fuel | None = None) -> bool:
    return _subset(part, whole, fuel)


def _equivalent(a: Sequence[Any], b: Sequence[Any], fuel: Fuel | None = None) -> bool:
    fuel = fuel or Tank(PAIRS)
    return _subset(a, b, fuel) and _subset(b, a, fuel)


def _intersects(a: Sequence[Any], b: Sequence[Any], fuel: Fuel | None = None) -> bool:
    if _words(a) and _words(b):
        return not frozenset(a).isdisjoint(b)
    fuel = fuel or Tank(PAIRS)
    return any(contains(b, item, fuel) for item in a)


def _within(value: Any, items: Any, fuel: Fuel | None = None) -> bool:
    return contains(items, value, fuel)


def _unequal(a: Any, b: Any, fuel: Fuel | None = None) -> bool:
    return not equals(a, b, fuel)


def _not(value: Any) -> bool:
    if value is True or value is False:
        return not value
    raise no_overload("!", value)


_SIZED: Final[tuple[tuple[Type, Callable[[Any], int]], ...]] = ((STRING, len), (BYTES, len), (_LIST, len), (map_of(A, B), len))

COLLECTION_FUNCTIONS: Final = (
    # equality is checked apart: it takes numbers of different kinds
    function("_==_", A, B, result=BOOL, apply=equals, fuelled=True),
    function("_!=_", A, B, result=BOOL, apply=_unequal, fuelled=True),
    function("!_", BOOL, result=BOOL, apply=_not),
    function("_+_", _LIST, _LIST, result=_LIST, apply=_concat),
    function("@in", A, list_of(B), result=BOOL, apply=_within, fuelled=True),
    function("@in", A, map_of(B, DYN), result=BOOL, apply=_within, fuelled=True),
    *(function("size", t, result=INT, apply=size, glance=True) for t, size in _SIZED),
    *(method("size", t, result=INT, apply=size, glance=True) for t, size in _SIZED),
    function("type", A, result=TYPE, apply=_type_of, glance=True),
    function("dyn", A, result=DYN, apply=lambda v: v, glance=True),
    function("optional.of", A, result=optional_of(A), apply=Maybe, glance=True),
    function("optional.none", result=optional_of(A), apply=lambda: NONE),
    function("optional.ofNonZeroValue", A, result=optional_of(A), apply=lambda v: NONE if _is_zero(v) else Maybe(v), glance=True),
    method("hasValue", optional_of(A), result=BOOL, apply=lambda o: o.value is not MISSING),
    method("value", optional_of(A), result=A, apply=_value),
    method("or", optional_of(A), optional_of(A), result=optional_of(A), apply=lambda o, other: other if o.value is MISSING else o),
    method("orValue", optional_of(A), A, result=A, apply=lambda o, other: other if o.value is MISSING else o.value, glance=True),
    function("optional.unwrap", list_of(optional_of(A)), result=_LIST, apply=_unwrap),
    method("unwrapOpt", list_of(optional_of(A)), result=_LIST, apply=_unwrap),
    method("first", _LIST, result=optional_of(A), apply=_first, glance=True),
    method("last", _LIST, result=optional_of(A), apply=lambda items: _first(items, -1), glance=True),
    method("slice", _LIST, INT, INT, result=_LIST, apply=_slice),
    method("flatten", list_of(DYN), result=list_of(DYN), apply=_flatten, fuelled=True),
    method("flatten", list_of(DYN), INT, result=list_of(DYN), apply=_flatten, fuelled=True),
    method("distinct", _LIST, result=_LIST, apply=_distinct, cost=5, fuelled=True),
    method("reverse", _LIST, result=_LIST, apply=lambda items: list(reversed(items))),
    method("sort", _LIST, result=_LIST, apply=_sort, cost=5),
    function("lists.range", INT, result=list_of(INT), apply=_range),
    function("sets.contains", _LIST, _LIST, result=BOOL, apply=_superset, cost=5, fuelled=True),
    function("sets.equivalent", _LIST, _LIST, result=BOOL, apply=_equivalent, cost=5, fuelled=True),
    function("sets.intersects", _LIST, _LIST, result=BOOL, apply=_intersects, cost=5, fuelled=True),
)
