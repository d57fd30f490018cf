"""Closures for macros over lists and maps. Each iteration is paid for from the evaluation's budget before the range is walked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from sidecar.expr.values import FAILURES, MISSING, EvalError, UnknownReached, find, kind

if TYPE_CHECKING:
    from sidecar.expr.access import Run

BUDGET: Final = -1
"""The frame's key of what is left; macro variables have keys from 0 up, variables have names."""
ITERATIONS: Final = 10_000

Pairs = Callable[[Any], Iterable[tuple[Any, Any]]]


class Parts(NamedTuple):
    """A macro, built: `over` its range, `slots` of its one or two variables, `test` and `body` where it has them."""

    over: Run
    slots: tuple[int, ...]
    test: Run
    body: Run


def worse(first: Exception | None, second: Exception) -> Exception:
    """Of two failures the one to report: what is not known beats what went wrong, else the first."""
    if first is None or (isinstance(second, UnknownReached) and not isinstance(first, UnknownReached)):
        return second
    return first


def pay(frame: Any, size: int) -> None:
    """Take `size` iterations from the budget. Raises EvalError when it is spent."""
    left = frame[BUDGET] - size
    if left < 0:
        raise EvalError(f"more than {ITERATIONS} iterations")
    frame[BUDGET] = left


def _items(frame: Any, parts: Parts) -> Any:
    """What a macro with one variable goes over: elements, or keys."""
    values = parts.over(frame)
    if type(values) is not list and kind(values) not in ("list", "map"):
        raise EvalError(f"a macro goes over a list or a map, not a `{kind(values)}`")
    pay(frame, len(values))
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
    return lambda frame: {key: body(frame) for key in steps(frame) if test(frame)}


def to_entries(parts: Parts) -> Run:
    """`transformMapEntry`: the union of small maps; a key made twice is an error."""
    test, body, steps = parts.test, parts.body, _steps(parts)

    def run(frame: Any) -> dict[Any, Any]:
        found: dict[Any, Any] = {}
        for _ in steps(frame):
            if test(frame):
                for key, value in body(frame).items():
                    put(found, key, value)
        return found

    return run


def put(mapping: dict[Any, Any], key: Any, value: Any) -> None:
    """Add an entry. Raises EvalError for a key that is there already (in Python's eyes: it holds True and 1 to be one), or cannot be."""
    if kind(key) not in ("string", "int", "uint", "bool"):
        raise EvalError(f"a `{kind(key)}` cannot be a map key")
    if find(mapping, key) is not MISSING or key in mapping:
        raise EvalError("a map has the same key twice")
    mapping[key] = value
