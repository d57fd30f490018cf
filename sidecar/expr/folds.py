"""Closures for macros over lists and maps. Each iteration is paid for from the evaluation's budget before the range is walked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from sidecar.expr.values import FAILURES, MISSING, EvalError, Exhausted, Pairs, UnknownReached, find, kind, sortable

if TYPE_CHECKING:
    from sidecar.expr.access import Run

BUDGET: Final = -1
"""The frame's key of what is left; macro variables have keys from 0 up, variables have names."""
ITERATIONS: Final = 10_000


class Parts(NamedTuple):
    """A macro, built: `over` its range, `slots` of its one or two variables, `test` and `body` where it has them.

    `weight` is what one iteration costs: more than one where the macro is more than a page of text.
    """

    over: Run
    slots: tuple[int, ...]
    test: Run
    body: Run
    weight: int = 1


def worse(first: Exception | None, second: Exception) -> Exception:
    """Of two failures the one to report: what is not known beats what went wrong, else the first."""
    if first is None or (isinstance(second, UnknownReached) and not isinstance(first, UnknownReached)):
        return second
    return first


def pay(frame: Any, size: int) -> None:
    """Take `size` iterations from the budget. Raises Exhausted when it is spent."""
    left = frame[BUDGET] - size
    if left < 0:
        raise Exhausted(f"more than {ITERATIONS} iterations")
    frame[BUDGET] = left


def _items(frame: Any, parts: Parts) -> Any:
    """What a macro with one variable goes over: elements, or keys."""
    values = parts.over(frame)
    if type(values) is not list and kind(values) not in ("list", "map"):
        raise EvalError(f"a macro goes over a list or a map, not a `{kind(values)}`")
    pay(frame, len(values) * parts.weight)
    return values


def _pairs(frame: Any, parts: Parts) -> Iterable[tuple[Any, Any]]:
    values = _items(frame, parts)
    return values.items() if isinstance(values, Mapping) else enumerate(values)


def _steps(parts: Parts) -> Callable[[Any], Iterable[Any]]:
    """A generator that puts each element into its slots."""
    if len(parts.slots) == 1:
        (slot,) = parts.slots

        def single(frame: Any) -> Iterable[Any]:
            for frame[slot] in _items(frame, parts):  # noqa: B020 the slot in the frame is the variable
                yield frame[slot]

        return single
    first, second = parts.slots

    def double(frame: Any) -> Iterable[Any]:
        for frame[first], frame[second] in _pairs(frame, parts):  # noqa: B020 see single
            yield frame[first]

    return double


def seek(parts: Parts, wanted: bool) -> Run:
    """`exists` (wanted true) and `all` (wanted false): ends at the first wanted result, which also outweighs failures."""
    test = parts.test
    if len(parts.slots) == 2:
        return _seek_pairs(parts, wanted)
    (slot,) = parts.slots

    def run(frame: Any) -> Any:
        failure: Exception | None = None
        for frame[slot] in _items(frame, parts):  # noqa: B020 see _steps
            try:
                if test(frame) is wanted:
                    return wanted
            except FAILURES as error:  # a later element may still decide
                failure = worse(failure, error)
        if failure is not None:
            raise failure
        return not wanted

    return run


def _seek_pairs(parts: Parts, wanted: bool) -> Run:
    test, steps = parts.test, _steps(parts)

    def run(frame: Any) -> Any:
        failure: Exception | None = None
        for _ in steps(frame):
            try:
                if test(frame) is wanted:
                    return wanted
            except FAILURES as error:
                failure = worse(failure, error)
        if failure is not None:
            raise failure
        return not wanted

    return run


def exactly_one(parts: Parts) -> Run:
    """`exists_one`: every element is looked at, and any failure fails it."""
    test, steps = parts.test, _steps(parts)
    return lambda frame: sum(1 for _ in steps(frame) if test(frame)) == 1


def to_list(parts: Parts) -> Run:
    """`filter`, `map` and `transformList`: the bodies of the elements that pass."""
    test, body, steps = parts.test, parts.body, _steps(parts)
    return lambda frame: [body(frame) for _ in steps(frame) if test(frame)]


def to_map(parts: Parts) -> Run:
    """`transformMap`: the same keys (or positions), other values."""
    test, body, steps = parts.test, parts.body, _steps(parts)

    def run(frame: Any) -> Mapping[Any, Any]:
        found: Mapping[Any, Any] = {}
        for key in steps(frame):
            if test(frame):
                found = put(found, key, body(frame))
        return found

    return run


def to_entries(parts: Parts) -> Run:
    """`transformMapEntry`: the union of small maps; a key made twice is an error."""
    test, body, steps = parts.test, parts.body, _steps(parts)

    def run(frame: Any) -> Mapping[Any, Any]:
        found: Mapping[Any, Any] = {}
        for _ in steps(frame):
            if test(frame):
                for key, value in _entries(body(frame)):
                    found = put(found, key, value)
        return found

    return run


def _entries(value: Any) -> Iterable[tuple[Any, Any]]:
    if kind(value) != "map":
        raise EvalError(f"`transformMapEntry` makes entries of a map, not a `{kind(value)}`")
    return value.items()  # type: ignore[no-any-return]  # a map is a Mapping


def put(mapping: Mapping[Any, Any], key: Any, value: Any) -> Mapping[Any, Any]:
    """The mapping with one more entry; it is the same one unless it must be another kind. Raises EvalError for a key that is there already, or cannot be."""
    if kind(key) not in ("string", "int", "uint", "bool"):
        raise EvalError(f"a `{kind(key)}` cannot be a map key")
    if find(mapping, key) is not MISSING:
        raise EvalError("a map has the same key twice")
    if type(mapping) is dict and key not in mapping:
        mapping[key] = value
        return mapping
    # a dict takes True for 1
    found = mapping if isinstance(mapping, Pairs) else Pairs(mapping)
    found.adding(key, value)
    return found


def sort_by(parts: Parts) -> Run:
    """`sortBy`: the elements in the order of their keys."""
    body, (slot,) = parts.body, parts.slots

    def run(frame: Any) -> list[Any]:
        values = _items(frame, parts)
        if kind(values) != "list":
            raise EvalError(f"`sortBy` goes over a list, not a `{kind(values)}`")
        keys = []
        for frame[slot] in values:
            keys.append(body(frame))
        return [value for _, value in sorted(zip(sortable(keys, "sortBy"), values, strict=True), key=itemgetter(0))]

    return run
