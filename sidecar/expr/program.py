"""A compiled condition: what the rest of the sidecar holds. Calling it never raises; what went wrong is a value."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sidecar.expr.check import Checked, check
from sidecar.expr.closures import VARYING, build
from sidecar.expr.cost import estimate
from sidecar.expr.folds import BUDGET, ITERATIONS
from sidecar.expr.meter import UNITS, WORK
from sidecar.expr.parser import parse
from sidecar.expr.pins import pins
from sidecar.expr.problems import ExprError, at
from sidecar.expr.types import BOOL, Type, assignable, settled
from sidecar.expr.values import FAILURES, UNKNOWN, Exhausted, Fault, UnknownReached, known, told

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sidecar.expr import tree
    from sidecar.expr.closures import Code
    from sidecar.expr.declarations import Declarations

_SCALAR: Final = frozenset({"bool", "int", "uint", "double", "string", "bytes", "timestamp", "duration", "null", "type"})


class Program:
    """One expression, ready to run.

    `source` as written · `type` of its result · `reads` the dotted paths it may read (`call.params.temperature`) · `cost` a
    static estimate of its steps, one being a comparison · `constant` its value where that varies with nothing (then also a
    Fault), else VARYING · `pins` what it asks of single fields, without which it is false.
    """

    __slots__ = ("_bool", "_roots", "_run", "_scalar", "constant", "cost", "pins", "reads", "source", "type")

    def __init__(self, source: str, root: tree.Node, checked: Checked, make: Callable[[tree.Node], Code] | None = None) -> None:
        self.source = source
        self.type = settled(checked.types[root])
        self.reads = frozenset(checked.reads)
        self.cost = estimate(root, checked)
        self.pins = pins(root, checked)
        self._bool = self.type.kind == "bool"
        self._scalar = self.type.kind in _SCALAR
        code = make(root) if make is not None else build(root, checked)
        self._run = code.run
        # only macros and meters write to the frame, and the caller's bindings are not ours to write to
        self._roots = tuple(sorted(checked.roots)) if checked.metered else None
        self.constant = code.constant
        if code.constant is VARYING and not self.reads:
            self.constant = self({})

    def __repr__(self) -> str:
        return f"Program({self.source!r})"

    def __call__(self, bindings: Mapping[str, Any]) -> Any:
        """The value for these bindings; a Fault, whose message has no values in it; or UNKNOWN where that decides.

        Bindings are plain values in the declared shapes: mappings for records and maps, lists or tuples for lists, datetime or
        Unix seconds for timestamps. A binding of another shape is a Fault where it shows. A condition gives only True or False.
        """
        try:
            value = self._run(bindings if self._roots is None else self._frame(bindings))
            if self._bool:
                return value if value is True or value is False else Fault("the result is no `bool`")
            return value if self._scalar or known(value) else UNKNOWN
        except UnknownReached:
            return UNKNOWN
        except (*FAILURES, Exhausted) as error:
            return Fault(told(error))

    def _frame(self, bindings: Mapping[str, Any]) -> dict[Any, Any]:
        frame: dict[Any, Any] = {BUDGET: ITERATIONS, WORK: UNITS}
        for name in self._roots or ():
            try:
                frame[name] = bindings[name]
            except KeyError:
                continue  # reading it is what is an error, not its absence
        return frame


def compile(source: str, declarations: Declarations, *, result: Type = BOOL, checked: bool = True) -> Program:
    """Parse, check and build an expression whose result must be of type `result` (DYN takes any, and `Program.type` tells).

    Raises ExprError with all problems at once. A result that is only known at run time is refused for every `result` but DYN.
    Without `checked` only syntax is a problem, and the rest an error where it comes to run; no document is compiled so.
    """
    try:
        return _compile(source, declarations, result, checked=checked)
    except RecursionError:  # the limits of the parser hold unless the caller's own stack is deep
        raise ExprError([at(source, 0, 1, "the expression is nested too deep")]) from None


def _compile(source: str, declarations: Declarations, result: Type, *, checked: bool) -> Program:
    return Program(source, *checked_tree(source, declarations, result, checked=checked))


def checked_tree(source: str, declarations: Declarations, result: Type, *, checked: bool = True) -> tuple[tree.Node, Checked]:
    """The tree, with nothing wrong in it (without `checked`: in its syntax). Raises ExprError."""
    root = parse(source)
    found = check(source, root, declarations, checked=checked)
    if checked and not found.problems:
        _check_result(source, root, found, result)
    if found.problems:
        raise ExprError(found.problems)
    return root, found


def _check_result(source: str, root: tree.Node, checked: Checked, result: Type) -> None:
    found = checked.types[root]
    if result.kind == "dyn" or (found.kind != "dyn" and assignable(found, result, {})):
        return
    if found.kind == "dyn":
        message, hint = f"the type of the result is not known, it must be `{result}`", "compare it with something, as in `… == true`"
    else:
        message, hint = f"the result is `{found}`, it must be `{result}`", "compare it with something" if result.kind == "bool" else ""
    checked.problems.append(at(source, root.start, root.end, message, hint))
