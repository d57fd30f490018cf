"""Closures for `cel.bind` and for the macros over an optional value."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from sidecar.expr.values import FAILURES, MISSING, NONE, EvalError, Maybe, kind

if TYPE_CHECKING:
    from sidecar.expr.access import Run


def inside(value: Any) -> Any:
    """What an optional holds, perhaps `MISSING`. Raises EvalError for a value that is none."""
    if type(value) is not Maybe:
        raise EvalError(f"`?` takes an optional value, not `{kind(value)}`")
    return value.value


class _Failed(NamedTuple):
    """What the value of a bound variable failed with."""

    error: Exception


_PENDING: Final = object()
"""Stands in the slot of a bound variable until it is read."""


def bind(slot: int, body: Run) -> Run:
    """`cel.bind(x, …, body)`: nothing is done but to forget the value of last time; `late` is what reads `x`."""

    def run(frame: Any) -> Any:
        frame[slot] = _PENDING
        return body(frame)

    return run


def late(slot: int, value: Run) -> Run:
    """Reads a variable of `cel.bind`. Its value is found when it is first read, and then once: it may never be, and may fail."""

    def run(frame: Any) -> Any:
        found = frame[slot]
        if found is _PENDING:
            try:
                found = value(frame)
            except FAILURES as error:
                found = _Failed(error)
            frame[slot] = found
        if type(found) is _Failed:
            raise found.error.with_traceback(None)
        return found

    return run


def over_optional(macro: str, slot: int, value: Run, body: Run) -> Run:
    """`value.optMap(x, body)` and `optFlatMap`."""

    def run(frame: Any) -> Any:
        found = value(frame)
        if inside(found) is MISSING:
            return NONE
        frame[slot] = found.value
        result = body(frame)
        if macro == "optMap":
            return Maybe(result)
        if type(result) is not Maybe:
            raise EvalError(f"`optFlatMap` makes an optional value, not `{kind(result)}`")
        return result

    return run
