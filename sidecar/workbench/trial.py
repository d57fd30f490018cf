"""Tries one expression outside of any document: for `sidecar eval`.

What it may name are the declarations of real conditions, with the claims of a configuration where there is one; or, over a plain
mapping of names to values, those names with the types of their values. Counterparts: `fixtures`, which makes callers and calls from
data, and `expr.trace`. Reads no file.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from sidecar import expr
from sidecar.compiler import compile_layers
from sidecar.compiler.conditions import claim_types
from sidecar.config import scalars, source, validate
from sidecar.config.diagnostics import Diagnostic, Position
from sidecar.config.documents import TestCall, TestPrincipal
from sidecar.config.source import MapNode
from sidecar.errors import CallError, ConfigError
from sidecar.evaluate import bindings, tools
from sidecar.expr import BOOL, DOUBLE, DYN, INT, STRING, Declarations, ExprError, Fault, Program, list_of, map_of
from sidecar.expr.environment import REQUEST, request_declarations, response_declarations
from sidecar.expr.shown import lines, shown
from sidecar.expr.trace import Trace, trace
from sidecar.workbench import fixtures

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sidecar.compiler.snapshot import Snapshot
    from sidecar.config.source import Source
    from sidecar.expr import Type

FIXTURE = frozenset({"principal", "call", "now"})
TOLD = frozenset({"target", "dialect", "operation"})
"""A `call` with one of these is one of a Test document, and not the variable."""
SCALARS: Mapping[type, Type] = {bool: BOOL, int: INT, float: DOUBLE, str: STRING}


class Scene(NamedTuple):
    """What an expression may name, and the values; None where there are none."""

    declarations: Declarations
    values: Mapping[str, Any] | None = None


class Outcome(NamedTuple):
    """`value` is meaningless where there was nothing to run over and the expression varies (`ran` false)."""

    program: Program
    ran: bool
    value: Any
    trace: Trace | None


def empty() -> Snapshot:
    """No configuration: no claims are declared."""
    made = compile_layers((), now=0.0).snapshot
    if made is None:  # pragma: no cover - no document has nothing wrong in it
        raise ConfigError("the empty configuration does not load", ())
    return made


def scene(snapshot: Snapshot, phase: str, data: tuple[str, bytes] | None, now: float) -> Scene:
    """From the file (its name and bytes) with the bindings, if there is one. Raises ConfigError for what it cannot be."""
    claims = claim_types(snapshot.identity)
    declared = request_declarations(claims, {}) if phase == REQUEST else response_declarations(claims, {})
    if data is None:
        return Scene(declared)
    read = source.read(*data)
    root = read.roots[0] if len(read.roots) == 1 else None
    if not isinstance(root, MapNode):
        read.complain("bindings", "one mapping is expected: a `principal` and a `call` of a Test document, or variables with their values", 1, 1)
    made = _scene(snapshot, declared, read, root, now) if isinstance(root, MapNode) and not read.diagnostics else None
    if made is None:
        raise ConfigError("the bindings cannot be read", tuple(read.diagnostics))
    return made


def _scene(snapshot: Snapshot, declared: Declarations, read: Source, root: MapNode, now: float) -> Scene | None:
    scope = scalars.Scope(read, {})
    if not _is_fixture(root):
        values = scalars.anything(root, scope)
        return Scene(Declarations({name: type_of(value) for name, value in values.items()}), values) if not read.diagnostics else None
    kinds: Mapping[str, Any] = {"principal": TestPrincipal, "call": TestCall}
    parts = {name: validate.reader(kinds[name], name)(node, scope) for name, (_, node) in root.entries.items() if name in kinds}
    when = scalars.instant(root.entries["now"][1], scope) if "now" in root.entries else now
    if read.diagnostics:
        return None
    try:
        return Scene(declared, _bound(snapshot, parts.get("principal", TestPrincipal(id="anonymous")), parts.get("call", TestCall()), when))
    except CallError as error:
        read.complain("call", f"the call can't be read: {error.message}", root.line, root.column)
        return None


def _is_fixture(root: MapNode) -> bool:
    if not set(root.entries) <= FIXTURE or not set(root.entries) & {"principal", "call"}:
        return False
    call = root.entries["call"][1] if "call" in root.entries else None
    return call is None or (isinstance(call, MapNode) and bool(set(call.entries) & TOLD))


def _bound(snapshot: Snapshot, who: TestPrincipal, what: TestCall, now: float) -> dict[str, Any]:
    """All that a condition may read of this caller and this call; of several members, the first's model."""
    person = fixtures.principal(snapshot, who)
    asked, codec = fixtures.call(snapshot, what, "eval")
    call = snapshot.resolve(asked, codec.family)
    model = call.members[0].model if call.members else call.target
    if what.operation == "tool_call":
        call = tools.as_call(snapshot, call, fixtures.tool(what))
    found = {
        "call": bindings.of_call(call, model),
        "principal": bindings.of_principal(person, snapshot.people),
        "source": bindings.of_source(call),
        "now": now,
    }
    if what.reply is not None:
        told = what.reply
        found["reply"] = {"status": told.status, "finish": told.finish, "tokens": told.tokens, "tool_calls": told.tool_calls}
    return found


def type_of(value: Any) -> Type:
    """The type that a value of JSON is declared with: what a mapping holds, and a list of several kinds, is only known when it runs."""
    if isinstance(value, Mapping):
        return map_of(STRING, DYN)
    if isinstance(value, list | tuple):
        kinds = {type_of(item) for item in value}
        return list_of(kinds.pop() if len(kinds) == 1 else DYN)
    return SCALARS.get(type(value), DYN)


def run(text: str, within: Scene, *, traced: bool = False) -> Outcome:
    """Compile, and run where there are values or none are needed. Raises ExprError."""
    program = expr.compile(text, within.declarations, result=DYN)
    ran = within.values is not None or not program.reads
    values = within.values or {}
    told = trace(text, within.declarations, values) if traced and ran else None
    return Outcome(program, ran, program(values) if ran else None, told)


# ---------------------------------------------------------------- telling


def problems(text: str, error: ExprError) -> tuple[Diagnostic, ...]:
    """What is wrong with the expression, each at its line and column."""
    written = text.split("\n")
    return tuple(
        Diagnostic("error", "condition", each.message, Position("expression", each.line, each.column), each.hint, written[each.line - 1], each.end_column)
        for each in error.problems
    )


def as_text(outcome: Outcome) -> Sequence[str]:
    """The value or what would be read, the type and the cost; then the trace."""
    program = outcome.program
    reads = ", ".join(sorted(program.reads)) or "nothing"
    facts = [f"type {program.type}", f"cost {program.cost} (in comparisons)", f"reads {reads}"]
    first = [shown(outcome.value, 2000)] if outcome.ran else []
    return [*first, *facts, *(["", *lines(outcome.trace)] if outcome.trace is not None else [])]


def as_data(outcome: Outcome) -> dict[str, Any]:
    """The same as plain JSON values."""
    program = outcome.program
    told = {"type": str(program.type), "cost": program.cost, "reads": sorted(program.reads)}
    if not outcome.ran:
        return told
    value = {"error": outcome.value.message} if isinstance(outcome.value, Fault) else {"value": plain(outcome.value)}
    return value | told | ({"trace": _tree(outcome.trace)} if outcome.trace is not None else {})


def _tree(part: Trace) -> dict[str, Any]:
    """One part. What has no form in JSON is in the words of the language: times, `unknown`, `not read`, errors."""
    found = {"text": part.text, "start": part.start, "end": part.end, "result": plain(part.result)}
    return found | ({"turn": part.turn} if part.turn else {}) | ({"parts": [_tree(child) for child in part.children]} if part.children else {})


def plain(value: Any) -> Any:
    """A result as a JSON value."""
    if value is None or type(value) in SCALARS:
        return value if value == value and value not in (float("inf"), float("-inf")) else shown(value)  # noqa: PLR0124  NaN alone differs from itself
    if type(value) in (list, tuple):
        return [plain(item) for item in value]
    if type(value) is dict:
        return {key if type(key) is str else shown(key): plain(item) for key, item in value.items()}
    return shown(value)
