"""The fields by which the index may pass a rule by without running its condition, and what each of them is for one call.

Each is never absent and never an error (or absent only where the checker made the condition false), so that a `Pin` on it that
does not hold makes the condition false whatever the rest of it does. Counterparts: `sidecar.expr.pins`, which finds them in
conditions, and `evaluate/bindings.py`, which binds the same values: a test holds the two together.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from sidecar.call import Call
    from sidecar.compiler.index import Matcher
    from sidecar.compiler.rules import Condition
    from sidecar.expr.pins import Word
    from sidecar.principal import Principal

Facts = dict[str, "Collection[Word]"]
"""By dimension, what its field is for one call: one value, or several where it is a list or members differ. One that is left out may be anything."""


class Dimension(NamedTuple):
    """One field. `values` for a call and its caller."""

    values: Callable[[Call, Principal], Collection[Word]]
    listed: bool = True
    """Known too where names are listed and no real call is there."""
    named: bool = True
    """Told by the caller and by the names of the call; where not, an answer must be remembered under it too."""


def models(call: Call) -> tuple[str, ...]:
    """Every model that `call.model` may be: one for each different one of the members."""
    names = dict.fromkeys([member.model for member in call.members])
    return tuple(names) or ("" if call.operation == "tool_call" else call.target,)


def _tool(part: Callable[[Call], str]) -> Dimension:
    """Of the tool; none where the call is none of a tool, and then `has(call.tool)`, which the checker asks for, is false."""
    return Dimension(lambda call, _: (part(call),) if call.tool is not None else (), named=False)


DIMENSIONS: Final[Mapping[str, Dimension]] = {
    "principal.id": Dimension(lambda _, principal: (principal.id,)),
    "principal.kind": Dimension(lambda _, principal: (principal.kind,)),
    "principal.team": Dimension(lambda _, principal: (principal.team,)),
    "principal.groups": Dimension(lambda _, principal: principal.groups),
    "principal.roles": Dimension(lambda _, principal: principal.roles),
    "principal.actors": Dimension(lambda _, principal: principal.actors),
    "call.protocol": Dimension(lambda call, _: (call.protocol,)),
    "call.operation": Dimension(lambda call, _: (call.operation,)),
    "call.target": Dimension(lambda call, _: (call.target,)),
    "call.model": Dimension(lambda call, _: models(call)),
    "call.upstreams": Dimension(lambda call, _: [member.upstream for member in call.members]),
    "call.dialect": Dimension(lambda call, _: (call.dialect,), listed=False, named=False),
    "call.stream": Dimension(lambda call, _: (call.stream,), listed=False, named=False),
    "call.tool.name": _tool(lambda call: call.tool.name if call.tool is not None else ""),
    "call.tool.server": _tool(lambda call: call.tool.server if call.tool is not None else ""),
    "call.tool.kind": _tool(lambda call: call.tool.kind if call.tool is not None else ""),
}
"""The visible table. Claims are not in it: their values come from the caller's token, and a test may leave one out."""


RECORDED: Final = frozenset(name for name in DIMENSIONS if name != "principal.roles" and not name.startswith("call.tool."))
"""Those that every record tells, whatever `records.inputs` says."""


def narrowed(match: Matcher, condition: Condition | None) -> Matcher:
    """The match with the guards of the condition: those of its pins, over all that AND joins, whose field has a dimension."""
    programs = condition.programs if condition is not None else ()
    guards = tuple(dict.fromkeys([pin for program in programs for pin in program.pins if pin.path in DIMENSIONS]))
    return replace(match, guards=guards) if guards else match


def facts(names: Iterable[str], call: Call, principal: Principal, *, listing: bool = False) -> Facts:
    """What these dimensions are for a call. `listing`: nothing is said of what only a real call tells."""
    return {name: DIMENSIONS[name].values(call, principal) for name in names if DIMENSIONS[name].listed or not listing}
