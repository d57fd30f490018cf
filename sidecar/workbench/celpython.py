"""cel-python, the reference engine of the extra `[reference]`: conditions run by its interpreter, and what it cannot run.

Never on the way of a call: it takes a thousand times as long, and its errors hold values. Its CompiledRunner gives wrong answers
under threads and is not used. Counterpart: `reference.py`, which compares it with our core. Imported when it is asked for.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

from sidecar.expr import Duration, Fault, Timestamp, Uint, tree
from sidecar.expr.functions import NAMESPACES
from sidecar.expr.lexer import tokens
from sidecar.expr.values import EPOCH, UNKNOWN, TypeValue

FUNCTIONS: Final = frozenset(
    (
        *(f"_{sign}_" for sign in ("==", "!=", "<", "<=", ">", ">=", "+", "-", "*", "/", "%")), "!_", "-_", "@in",
        "size", "contains", "startsWith", "endsWith", "matches", "type", "dyn", "bool", "bytes", "double", "duration", "int", "string", "timestamp", "uint",
        "getDate", "getDayOfMonth", "getDayOfWeek", "getDayOfYear", "getFullYear", "getMonth", "getHours", "getMilliseconds", "getMinutes", "getSeconds",
    )
)  # fmt: skip
"""What it has: the standard of the specification, and none of the extensions."""
LONG: Final = 12
"""Characters of a duration that it reads in reasonable time: its pattern is exponential (cel-python 0.5, issue 160)."""
_MACROS: Final = frozenset({"all", "exists", "exists_one", "map", "filter"})
_MICROSECOND: Final = timedelta(microseconds=1)
_ESCAPED: Final = re.compile(r"\\[XU?`]")
_KINDS: Final = {
    "IntType": "int", "UintType": "uint", "DoubleType": "double", "StringType": "string", "BytesType": "bytes", "BoolType": "bool", "NoneType": "null",
    "ListType": "list", "MapType": "map", "TimestampType": "timestamp", "DurationType": "duration",
}  # fmt: skip
_CLASS: Final = re.compile(r"'celpy\.celtypes\.(\w+)'|'(NoneType)'")


class Failed(NamedTuple):
    """It gave an error. `kinds` are the types of values it says it has no overload for; never their values."""

    what: str
    kinds: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"error: {self.what}" + (f" ({', '.join(self.kinds)})" if self.kinds else "")


class NotComparable(Exception):
    """A value or an expression that it has nothing like."""


class CelPython:
    """The interpreter. Raises ImportError where the extra is not installed."""

    def __init__(self) -> None:
        import celpy  # noqa: PLC0415  an extra
        from celpy import celtypes  # noqa: PLC0415
        from celpy.celparser import CELParseError  # noqa: PLC0415
        from celpy.evaluation import CELEvalError  # noqa: PLC0415

        self._parse_error: type[Exception] = CELParseError
        self._error: type[Exception] = CELEvalError
        self._types = celtypes
        self._environment = celpy.Environment(runner_class=celpy.InterpretedRunner)
        self._programs: dict[str, Any] = {}

    def evaluate(self, source: str, bindings: Mapping[str, Any]) -> Any:
        """The value in our plain form, or `Failed`. Raises NotComparable for a binding that it has no value for."""
        context = {name: self._to(value) for name, value in bindings.items()}
        program = self._program(source)
        if isinstance(program, Failed):
            return program
        try:
            return self._from(program.evaluate(context))
        except self._error as error:
            return _failure(error)
        except NotComparable as error:
            return Failed(str(error))
        except (TypeError, ValueError, ArithmeticError, LookupError, AttributeError, RecursionError) as error:
            return Failed(f"it breaks with {type(error).__name__}")

    def _program(self, source: str) -> Any:
        found = self._programs.get(source)
        if found is None:
            try:
                found = self._environment.program(self._environment.compile(source))
            except self._parse_error:
                found = Failed("it does not parse")
            self._programs[source] = found
        return found

    def _to(self, value: Any) -> Any:
        """Its value for one of ours."""
        types = self._types
        make: dict[type, Any] = {
            bool: types.BoolType,
            int: types.IntType,
            float: types.DoubleType,
            str: types.StringType,
            bytes: types.BytesType,
            Uint: types.UintType,
        }
        if value is None:
            return None
        if type(value) in make:
            return make[type(value)](value)
        if isinstance(value, Timestamp):
            return types.TimestampType(EPOCH + timedelta(microseconds=value // 1000))
        if isinstance(value, datetime):
            return types.TimestampType(value if value.tzinfo else value.replace(tzinfo=UTC))
        if isinstance(value, Duration):
            return types.DurationType(timedelta(microseconds=value // 1000))
        if type(value) in (list, tuple):
            return types.ListType([self._to(item) for item in value])
        if type(value) is dict or (isinstance(value, Mapping) and not isinstance(value, dict)):
            return types.MapType({self._to(key): self._to(item) for key, item in value.items()})
        raise NotComparable("a value that is not known" if value is UNKNOWN or isinstance(value, dict) else f"a value of type `{type(value).__name__}`")

    def _from(self, value: Any) -> Any:
        """Ours for one of its values. It gives Python's own bool or int at times."""
        types = self._types
        plain: tuple[tuple[Any, Any], ...] = (
            (types.BoolType, bool), (bool, bool), (types.IntType, int), (types.UintType, lambda v: Uint(int(v))), (types.DoubleType, float),
            (types.StringType, str), (types.BytesType, bytes), (int, int), (float, float), (str, str),
        )  # fmt: skip
        if value is None:
            return None
        if isinstance(value, self._error):  # it puts errors into lists and maps
            raise value
        if isinstance(value, types.TimestampType):
            return Timestamp((value - EPOCH) // _MICROSECOND * 1000)
        if isinstance(value, types.DurationType):
            return Duration(value // _MICROSECOND * 1000)
        if isinstance(value, list):
            return [self._from(item) for item in value]
        if isinstance(value, dict):
            return {self._from(key): self._from(item) for key, item in value.items()}
        for known, make in plain:
            if isinstance(value, known):
                return make(value)
        if isinstance(value, type):
            return TypeValue(_KINDS.get(value.__name__, value.__name__).replace("null", "null_type"))
        raise NotComparable(f"it gives a `{type(value).__name__}`")


def _failure(error: Exception) -> Failed:
    """Its error without the values in it: its messages hold the whole of the bindings."""
    text = str(error.args[0]) if error.args else ""
    kinds = tuple(_KINDS.get(found[0] or found[1], found[0] or found[1]) for found in _CLASS.findall(text))
    for words, told in (
        ("no matching overload", "no such overload"),
        ("no such overload", "no such overload"),
        ("no such member", "no such field or key"),
        ("undeclared", "undeclared name"),
    ):
        if words in text:
            return Failed(told, kinds)
    return Failed("an error of its own")


def unsupported(source: str, root: tree.Node) -> str:
    """Why cel-python cannot run this expression, or ""."""
    if any(token.kind == "quoted" for token in tokens(source)):
        return "fields in backticks"
    if "existsOne" in source:
        return "the macro `existsOne`"
    return next((why for node in tree.walk(root) if (why := _unsupported(node))), "")


def _unsupported(node: tree.Node) -> str:
    match node:
        case tree.Select(mode="optional") | tree.Index(optional=True):
            return "optional syntax (`.?`, `[?…]`)"
        case tree.Listing(optionals=optionals) | tree.Mapped(optionals=optionals) if optionals:
            return "optional syntax (`.?`, `[?…]`)"
        case tree.Bind(macro=macro):
            return f"the macro `{'cel.bind' if macro == 'bind' else macro}`"
        case tree.Fold(macro=macro, names=names) if macro not in _MACROS or len(names) > 1:
            return f"the macro `{macro}` with two variables" if macro in _MACROS else f"the macro `{macro}`"
        case tree.Call(function="duration", args=(inner,)) if not (isinstance(inner, tree.Constant) and len(str(inner.value)) <= LONG):
            return "`duration` of what is no short literal (it may take for ever)"
        case tree.Call(function=name, target=tree.Ident(name=space)) if name not in FUNCTIONS and space in NAMESPACES:
            return f"the function `{space}.{name}`"
        case tree.Call(function=name) if name not in FUNCTIONS:
            return f"the function `{name}`"
    return ""


def deviation(root: tree.Node, ours: Any, theirs: Any) -> str:
    """The known fault of cel-python that explains why the two differ, or "". Two truths that differ are never explained away."""
    if type(ours) is bool and type(theirs) is bool:
        return ""
    calls = frozenset(node.function for node in tree.walk(root) if isinstance(node, tree.Call))
    difference = _Difference(root, calls, ours, theirs)
    return next((name for name, holds in DEVIATIONS.items() if holds(difference)), "")


class _Difference(NamedTuple):
    root: tree.Node
    calls: frozenset[str]
    ours: Any
    theirs: Any

    @property
    def failed(self) -> bool:
        """It gives an error and we a value."""
        return isinstance(self.theirs, Failed) and not isinstance(self.ours, Fault)

    @property
    def gives(self) -> bool:
        """We give an error and it a value."""
        return isinstance(self.ours, Fault) and not isinstance(self.theirs, Failed)

    def has(self, *kinds: type[tree.Node]) -> bool:
        return any(isinstance(node, kinds) for node in tree.walk(self.root))


_COMPARES: Final = frozenset({"_==_", "_!=_", "_<_", "_<=_", "_>_", "_>=_", "@in"})
_CALCULATES: Final = frozenset({"_+_", "_-_", "_*_", "_/_", "_%_"})


def _moments_of_numbers(root: tree.Node) -> bool:
    times = [node for node in tree.walk(root) if isinstance(node, tree.Call) and node.function == "timestamp"]
    return any(not isinstance(node.args[0], tree.Constant) or type(node.args[0].value) is not str for node in times)


_CONVERSIONS: Final = ("is no boolean", "`double` is not defined", "`int` is not defined", "`bool` is not defined", "`uint` is not defined")


def _says(words: str) -> Callable[[_Difference], bool]:
    """It gives a value where our error says this."""
    return lambda d: d.gives and words in d.ours.message


DEVIATIONS: Final[Mapping[str, Callable[[_Difference], bool]]] = {
    "`has` swallows every error": lambda d: d.gives and any(isinstance(node, tree.Select) and node.mode == "test" for node in tree.walk(d.root)),
    "`timestamp` takes no number": lambda d: d.failed and _moments_of_numbers(d.root),
    "values of different types, numbers too, cannot be compared": lambda d: d.failed and bool(d.calls & _COMPARES),
    "an error in a list or map is no error until it is read": lambda d: d.gives and d.has(tree.Listing, tree.Mapped),
    "any value may stand for true or false": _says("where `bool` is needed"),
    "`!` takes any value": _says("`!` is not defined"),
    "numbers of different types are calculated with": lambda d: d.gives and any(f"`{sign}` is not defined for" in d.ours.message for sign in "+-*/%"),
    "`string` takes any value and writes it in Python's way": lambda d: "string" in d.calls,
    "`+` gives a text of Python's own, which has no methods": lambda d: d.failed and "_+_" in d.calls,
    "`int` of a time before 1970 is rounded up": lambda d: {"int", "timestamp"} <= d.calls and d.theirs != d.ours,
    "conversions take values of any type": lambda d: d.gives and any(words in d.ours.message for words in _CONVERSIONS),
    "a text can be walked over": _says("goes over a list or a map"),
    "booleans have an order among numbers": lambda d: d.gives and any(f"`{sign}` is not defined for" in d.ours.message for sign in ("<", "<=", ">", ">=")),
    "nothing is in a map that cannot be its key": lambda d: d.gives and ("cannot be a map key" in d.ours.message or "`in` is not defined" in d.ours.message),
    "a division by zero, or by minus zero, is always infinite": lambda d: (
        "_/_" in d.calls and not isinstance(d.ours, Fault) and not isinstance(d.theirs, Failed)
    ),
    "an error in `exists_one`, `map` or `filter` is not outweighed": lambda d: d.failed and d.has(tree.Fold),
    "`size` of null is 0": _says("`size` is not defined"),
    "`int` takes the least double": _says("the `double` is out of range"),
    "it breaks": lambda d: d.failed and d.theirs.what.startswith("it breaks"),
}
