"""Conditions with the values of their parts, as plain JSON: what each part gave, for each model where models differ.

The trace runs beside the decision and on the same bindings; nothing on the way of a call knows of it. Values stand here, so what this
makes is for whoever may see the call: an author's terminal, the admin port. Counterpart: `expr/trace.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sidecar.compiler.conditions import claim_types
from sidecar.expr.environment import request_declarations, response_declarations
from sidecar.expr.shown import shown
from sidecar.expr.trace import UNREAD, Trace, trace
from sidecar.expr.values import UNKNOWN, Fault
from sidecar.workbench.recorded import Partial

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sidecar.compiler.rules import Condition, Variables
    from sidecar.compiler.snapshot import Snapshot
    from sidecar.evaluate.bindings import View, Views
    from sidecar.expr import Declarations, Program

PLAIN = (bool, int, str, type(None))
LENGTH = 256
"""Characters of a text that are told."""


class Tracer:
    """Traces the conditions of one snapshot. `unknown` is the word for a value that is not there."""

    def __init__(self, snapshot: Snapshot, unknown: str = "unknown") -> None:
        self._claims = claim_types(snapshot.identity)
        self._unknown = unknown

    def condition(self, condition: Condition | None, views: View | Views, *, phase: str, proposals: bool) -> list[dict[str, Any]]:
        """One entry for each set of models that agree: `{models, parts, variables}`. Empty where there is no condition."""
        if condition is None:
            return []
        told: list[dict[str, Any]] = []
        for view in views.each():
            view.test(condition)  # enters the variables of its document
            one = self._one(condition, view, phase=phase, proposals=proposals)
            model = _model(view)
            same = next((entry for entry in told if entry["parts"] == one["parts"]), None)
            if same is None:
                told.append({"models": [model], **one})
            else:
                same["models"].append(model)
        return told

    def _one(self, condition: Condition, view: View, *, phase: str, proposals: bool) -> dict[str, Any]:
        declared = self._declared(condition.variables, phase, proposals=proposals)
        parts = [self._traced(program, declared, view) for program in condition.programs]
        named = _named(condition.programs, condition.variables)
        variables = [{"name": f"variables.{name}", **self._traced(program, declared, view)} for name, program in named]
        return {"parts": parts, **({"variables": variables} if variables else {})}

    def _declared(self, variables: Variables | None, phase: str, *, proposals: bool) -> Declarations:
        types = {name: program.type for name, program in variables.programs.items()} if variables is not None else {}
        if phase == "response":
            return response_declarations(self._claims, types)
        return request_declarations(self._claims, types, proposals=proposals)

    def _traced(self, program: Program, declared: Declarations, view: View) -> dict[str, Any]:
        return self._node(trace(program.source, declared, view.bindings))

    def _node(self, part: Trace) -> dict[str, Any]:
        """One sub-expression: `is` says of which kind its result is, `shown` tells it in the words of the language, `value` as JSON where JSON has it."""
        told: dict[str, Any] = {"text": " ".join(part.text.split()), **self.result(part.result)}
        if part.turn:
            told["turn"] = part.turn
        if part.children:
            told["parts"] = [self._node(child) for child in part.children]
        return told

    def result(self, value: Any) -> dict[str, Any]:
        """A result as JSON. What is longer than a line is cut; `value` is there where nothing is lost."""
        if value is UNKNOWN or isinstance(value, Partial):
            return {"is": "unknown", "shown": self._unknown if value is UNKNOWN else f"in part {self._unknown}"}
        kind = "unread" if value is UNREAD else "error" if isinstance(value, Fault) else "value"
        told: dict[str, Any] = {"is": kind, "shown": shown(value)}
        if kind == "value" and _plain(value):
            told["value"] = list(value) if isinstance(value, tuple) else value
        return told


def _model(view: View) -> str:
    call = view.bindings.get("call")
    return str(call["model"]) if call is not None else ""


def _named(programs: Iterable[Program], variables: Variables | None) -> list[tuple[str, Program]]:
    """The variables that these programs read, and those that they read, in the order they are met."""
    if variables is None:
        return []
    found: dict[str, Program] = {}
    ahead = list(programs)
    while ahead:
        for path in sorted(ahead.pop(0).reads):
            root, _, rest = path.partition(".")
            name = rest.partition(".")[0]
            if root == "variables" and name in variables.programs and name not in found:
                found[name] = variables.programs[name]
                ahead.append(found[name])
    return list(found.items())


def _plain(value: Any) -> bool:
    if type(value) in PLAIN:
        return not isinstance(value, str) or len(value) <= LENGTH
    if type(value) is float:
        return value == value and abs(value) != float("inf")  # noqa: PLR0124  NaN is no JSON
    return isinstance(value, list | tuple) and len(value) <= LENGTH and all(type(item) in PLAIN for item in value)
