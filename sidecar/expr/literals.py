"""Closures for the literals of lists and maps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sidecar.expr.binds import inside
from sidecar.expr.folds import put
from sidecar.expr.values import MISSING, NONE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sidecar.expr.access import Run


def listing(items: list[tuple[Run, bool]]) -> Run:
    """A list of these items; an item with True may be absent."""
    if not any(optional for _, optional in items):
        runs = tuple(run for run, _ in items)
        return lambda frame: [run(frame) for run in runs]

    def run(frame: Any) -> list[Any]:
        made = [(item(frame), optional) for item, optional in items]
        return [inside(v) if optional else v for v, optional in made if not (optional and v is NONE)]

    return run


def mapped(entries: list[tuple[Run, Run, bool]]) -> Run:
    """A map of these keys and values; an entry with True may be absent."""

    def run(frame: Any) -> Mapping[Any, Any]:
        made: Mapping[Any, Any] = {}
        for key, value, optional in entries:
            name, found = key(frame), value(frame)
            if optional:
                found = inside(found)
            if found is not MISSING:
                made = put(made, name, found)
        return made

    return run
