"""Decides one call from JSON and says why, rule by rule. For `sidecar explain` and the admin API; asks no store.

The JSON has the shape of a Test document's fixtures: `{"principal": {…}, "call": {…}, "quota": {…}, "now": 1767225600}`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any, TypeVar

from sidecar.config.documents import TestCall, TestFacts, TestPrincipal, TestReply, TestSource, TestTool
from sidecar.errors import CallError
from sidecar.evaluate import why
from sidecar.workbench import cases

if TYPE_CHECKING:
    from sidecar.compiler.snapshot import Snapshot

T = TypeVar("T", TestCall, TestFacts, TestPrincipal, TestReply, TestSource, TestTool)
PARTS = {"reply": TestReply, "source": TestSource, "tool": TestTool, "facts": TestFacts}
"""Fields of a call that have fields of their own."""
TOP = frozenset({"principal", "call", "quota", "now"})


def explain(snapshot: Snapshot, data: Mapping[str, Any], now: float) -> dict[str, Any]:
    """The tree of `evaluate.why` for this call. `now` (Unix seconds) holds unless the JSON names a time. Raises ValueError."""
    if not isinstance(data, Mapping):
        raise ValueError("this is no JSON object")  # noqa: TRY004  it is the data that is wrong, not a program
    if strange := sorted(set(data) - TOP):
        raise ValueError(f"`{strange[0]}` is none of {', '.join(sorted(TOP))}")
    who = _made(TestPrincipal, {"id": "anonymous", **_mapping(data, "principal")})
    what = _mapping(data, "call")
    what |= {name: _made(shape, _mapping(what, name)) for name, shape in PARTS.items() if what.get(name) is not None}
    when = data.get("now", now)
    if isinstance(when, bool) or not isinstance(when, int | float):
        raise ValueError("`now` is a time in Unix seconds")  # noqa: TRY004  as above
    try:
        decision = cases.decide(snapshot, who, _made(TestCall, what), _mapping(data, "quota"), float(when))
    except CallError as error:
        raise ValueError(error.message) from error
    return why.tree(snapshot, decision)


def _mapping(data: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = data.get(name, {})
    if not isinstance(value, Mapping):
        raise ValueError(f"`{name}` must be an object")  # noqa: TRY004  as above
    return dict(value)


def _made(shape: type[T], values: dict[str, Any]) -> T:
    known = {field.name for field in fields(shape)}
    if strange := sorted(set(values) - known):
        raise ValueError(f"`{strange[0]}` is none of {', '.join(sorted(known))}")
    listed = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
    try:
        return shape(**listed)  # type: ignore[arg-type]  # shapes are the readers' to check
    except TypeError as error:
        raise ValueError("a field that is needed is missing") from error
