"""What conditions see: the call, the principal, the reply as plain mappings, made only for those that are read.

Names and types are declared in `expr/environment.py`, its counterpart. A `View` holds the bindings of one decision for one
model and runs conditions over them; variables are computed when first read, once per view. Knows nothing of effects.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from sidecar.compiler.memo import Memo
from sidecar.expr import UNKNOWN, Fault
from sidecar.expr.values import EvalError
from sidecar.principal import Principal

if TYPE_CHECKING:
    from sidecar.call import Call, Tool
    from sidecar.compiler.candidates import Candidates
    from sidecar.compiler.rules import Condition, Variables

People = Memo[Principal, Mapping[str, object]]
"""`principal` bindings by caller: credentials/ keeps one object per live credential."""


STRENGTH = ("true", "error", "unknown", "false")
"""What is recorded where the models of a call have different results: the first of these that occurs."""


class View:
    """One decision's bindings: of a call whose models no condition can tell apart, or of one model among several."""

    __slots__ = ("_scopes", "bindings", "mask")

    def __init__(self, bindings: dict[str, Any], mask: int) -> None:
        self.bindings = bindings
        self.mask = mask
        self._scopes: dict[Variables, LazyVariables] | None = None

    def test(self, condition: Condition | None) -> str:
        """`true` | `false` | `error` | `unknown`. Only `True` is true; a false part decides, whatever the others do (CEL's `&&`)."""
        if condition is None:
            return "true"
        only = condition.only
        if only is not None:
            value = only(self.bindings)
            return "false" if value is False else "true" if value is True else "unknown" if value is UNKNOWN else "error"
        return self._all(condition)

    def _all(self, condition: Condition) -> str:
        if condition.variables is not None:
            self._enter(condition.variables)
        worst = "true"
        for program in condition.programs:
            value = program(self.bindings)
            if value is False:
                return "false"
            if value is UNKNOWN:  # beats an error, as within one expression: it may still come out false, and that decides
                worst = "unknown"
            elif value is not True and worst == "true":
                worst = "error"
        return worst

    def granted(self, condition: Condition | None, mask: int, yes: frozenset[str]) -> tuple[int, str]:
        """The members of `mask` for which the condition counts as a yes, and what to record."""
        result = self.test(condition)
        return (mask if result in yes else 0), result

    def each(self) -> tuple[View, ...]:
        """The views by model."""
        return (self,)

    def value(self, condition: Condition) -> Any:
        """The value of a one-part expression: a key of a quota. May be a `Fault`."""
        if condition.variables is not None:
            self._enter(condition.variables)
        return condition.programs[0](self.bindings)

    def _enter(self, variables: Variables) -> None:
        if self._scopes is None:
            self._scopes = {}
        scope = self._scopes.get(variables)
        if scope is None:
            scope = self._scopes[variables] = LazyVariables(variables, self.bindings)
        self.bindings["variables"] = scope


class Views:
    """Several models that conditions can tell apart: what says no holds if it holds for any, what says yes for those it holds for."""

    __slots__ = ("_views",)

    def __init__(self, views: tuple[View, ...]) -> None:
        self._views = views

    def test(self, condition: Condition | None) -> str:
        """The strongest result over all models."""
        if condition is None:
            return "true"
        return strongest([view.test(condition) for view in self._views])

    def granted(self, condition: Condition | None, mask: int, yes: frozenset[str]) -> tuple[int, str]:
        """As `View.granted`, model by model."""
        if condition is None:
            return mask, "true"
        held, results = 0, []
        for view in self._views:
            if view.mask & mask:
                results.append(result := view.test(condition))
                held |= view.mask & mask if result in yes else 0
        return held, strongest(results)

    def each(self) -> tuple[View, ...]:
        """The views by model."""
        return self._views


def strongest(results: Sequence[str]) -> str:
    """The result to record for several models."""
    return next(result for result in STRENGTH if result in results)


class LazyVariables(dict[str, Any]):
    """`variables` of one document. Reading one that failed is an error wherever it is read, never an absence."""

    __slots__ = ("_bindings", "_faults", "_variables")

    def __init__(self, variables: Variables, bindings: dict[str, Any]) -> None:
        super().__init__()
        self._variables = variables
        self._bindings = bindings
        self._faults: dict[str, Fault] = {}

    def __missing__(self, name: str) -> Any:
        fault = self._faults.get(name)
        if fault is None:
            value = self._variables.programs[name](self._bindings)
            if not isinstance(value, Fault):
                self[name] = value
                return value
            fault = self._faults[name] = value
        raise EvalError(fault.message)

    def __contains__(self, name: object) -> bool:
        return name in self._variables.programs

    def get(self, name: str, default: Any = None) -> Any:
        """As `[]`, for those that are declared."""
        return self[name] if name in self._variables.programs else default


def of_principal(principal: Principal, people: People) -> Mapping[str, object]:
    """The `principal` binding, remembered."""
    return people.get(principal) or people.keep(principal, lambda: _principal(principal))


def _principal(principal: Principal) -> dict[str, object]:
    return {
        "id": principal.id,
        "kind": principal.kind,
        "team": principal.team,
        "groups": principal.groups,
        "roles": principal.roles,
        "claims": principal.claims,
        "actors": principal.actors,
    }


def of_call(call: Call, model: str) -> dict[str, Any]:
    """The `call` binding for one model. Absent: `args` and `tool` but on a tool call; what is not known raises when read."""
    bound: dict[str, Any] = {
        "id": call.id,
        "protocol": call.protocol,
        "operation": call.operation,
        "dialect": call.dialect,
        "target": call.target,
        "model": model,
        "requested_model": call.asked or call.target,
        "upstreams": [member.upstream for member in call.members],
        "stream": call.stream,
        "tokens": call.tokens,
        "bytes": call.bytes,
        "params": call.params,
    }
    if call.tool is not None:
        bound["tool"] = of_tool(call.tool)
        bound["args"] = UNREADABLE if call.tool.args is None else call.tool.args
    return bound


class Unreadable(dict[str, Any]):
    """Arguments that are there and not known: `has(call.args)` is true, and whatever is read of them is an error.

    An absence would let `has(call.args.path) && …` be false and a deny be passed by.
    """

    def _read(self, *_: object) -> NoReturn:
        raise EvalError("the arguments are not known")

    __getitem__ = __contains__ = __iter__ = __len__ = get = keys = items = values = __eq__ = __ne__ = _read
    __hash__ = None


UNREADABLE = Unreadable()


HINTS = {"read_only": False, "destructive": True, "idempotent": False, "open_world": True}


def of_tool(tool: Tool) -> dict[str, Any]:
    """The `call.tool` binding. Nothing is said of a tool that no document describes, so hints are MCP's defaults: the worst."""
    return {"name": tool.name, "server": tool.server, "title": "", "kind": tool.kind, "labels": (), **HINTS}


def of_source(call: Call) -> dict[str, Any]:
    """The `source` binding."""
    source = call.source
    return {"ip": source.ip, "loopback": source.loopback, "namespace": source.namespace, "pod": source.pod}


def views(
    call: Call,
    principal: Principal,
    candidates: Candidates,
    *,
    now: float,
    people: People,
    reply: Mapping[str, object] | None = None,
) -> View | Views:
    """What conditions see; one view per model where they can tell models apart. `now` is Unix seconds."""
    roots = candidates.roots
    shared: dict[str, Any] = {}
    if "principal" in roots:
        shared["principal"] = of_principal(principal, people)
    if "source" in roots:
        shared["source"] = of_source(call)
    if "now" in roots:
        shared["now"] = now
    if reply is not None:
        shared["reply"] = reply
    if len(candidates.groups) == 1:
        ((mask, model),) = candidates.groups
        if "call" in roots:
            shared["call"] = of_call(call, model)
        return View(shared, mask)
    return Views(tuple(View({**shared, "call": of_call(call, model)}, mask) for mask, model in candidates.groups))


OPEN = ("id", "dialect", "stream", "tokens", "bytes", "params")
"""What of a call a list can't know."""


def forget(views: View | Views) -> None:
    """Make unknown what only a real call tells: for lists."""
    for view in views.each():
        if "source" in view.bindings:
            view.bindings["source"] = UNKNOWN
        if "call" in view.bindings:
            view.bindings["call"] = {**view.bindings["call"], **dict.fromkeys(OPEN, UNKNOWN), "args": UNKNOWN}
