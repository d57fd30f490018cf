"""Conditions where only a little is known of a call: its operation, its names, what is absent. All else is unknown, a third value.

A result that is false here is false for every such call. An error is not false: it counts as matched for what says no. Counterpart:
`evaluate/bindings.py`, which binds all of a real call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sidecar.compiler.coverage.surface import ABSENT, SILENT
from sidecar.expr import UNKNOWN, Fault

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sidecar.compiler.coverage.surface import Place
    from sidecar.compiler.rules import Condition, Variables

FIELDS = ("id", "dialect", "target", "model", "requested_model", "upstreams", "stream", "tokens", "bytes", "params")
"""What every call has."""


def bind(place: Place, **known: Any) -> dict[str, Any]:
    """Bindings for a call at this place; `known` are further fields of `call`."""
    call: dict[str, Any] = dict.fromkeys(FIELDS, UNKNOWN)
    call |= {path.partition(".")[2]: UNKNOWN for path in ABSENT if path in place.sees}
    call |= {"protocol": place.protocol, "operation": place.operation, **known}
    reply = dict.fromkeys(SILENT, UNKNOWN) if place.generates else SILENT
    return {"call": call, "reply": {**reply, "status": UNKNOWN}, "principal": UNKNOWN, "source": UNKNOWN, "session": UNKNOWN, "now": UNKNOWN}


def result(condition: Condition | None, bindings: Mapping[str, Any]) -> bool | None:
    """True or False where that holds for every such call, else None."""
    if condition is None:
        return True
    bound = dict(bindings)
    if condition.variables is not None:
        bound["variables"] = _Lazy(condition.variables, bound)
    values = [program(bound) for program in condition.programs]
    if any(value is False for value in values):
        return False
    return True if all(value is True for value in values) else None


class _Lazy(dict[str, Any]):
    """`variables`; one that fails is not known."""

    def __init__(self, variables: Variables, bindings: Mapping[str, Any]) -> None:
        super().__init__()
        self._programs = variables.programs
        self._bindings = bindings

    def __missing__(self, name: str) -> Any:
        value = self._programs[name](self._bindings)
        self[name] = UNKNOWN if isinstance(value, Fault) else value
        return self[name]

    def __contains__(self, name: object) -> bool:
        return name in self._programs

    def get(self, name: str, default: Any = None) -> Any:
        """As `[]`, for those that are declared."""
        return self[name] if name in self._programs else default
