"""What conditions compare with what: paths of the call and the caller, and the values that would tell a condition apart.

Read from the syntax alone, so it may offer too much and never decides anything: each value is tried by the evaluator. Counterpart:
`changes.py`, which makes changes of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from sidecar.expr import tree
from sidecar.expr.parser import parse

if TYPE_CHECKING:
    from sidecar.compiler.rules import Condition

ELEMENT: Final = "[]"
"""The last step of a path to the elements of a list."""
_ORDER: Final = frozenset({"_<_", "_<=_", "_>_", "_>=_", "_==_", "_!=_"})
_THROUGH: Final = frozenset({"orValue", "value", "clean", "lowerAscii", "upperAscii", "trim", "int", "double", "string", "host"})
"""Functions that give their subject's value in another form: what they are compared with is near what the subject may be."""
_TEXT: Final = frozenset({"startsWith", "endsWith", "contains"})
Env = Mapping[str, Any]
"""What a name of a macro, or a variable, stands for: a path, or a list of constants."""


class Hint(NamedTuple):
    """A value that some condition tells apart from others. `how`: `is`, `within` (a folder), `range` (a network) or `has` (an element of a list)."""

    path: tuple[str, ...]
    how: str
    value: Any
    off: int = 0
    """1 where it is beside what the condition names."""


class Found(NamedTuple):
    """All that one condition names."""

    hints: tuple[Hint, ...]
    zones: frozenset[str]
    """Time zones in which it looks at `now`; `UTC` where it names none."""
    moments: tuple[str, ...]
    """The parts that look at `now` alone."""


def compared(condition: Condition) -> Found:
    """What this condition compares, and what its variables do."""
    reader = _Reader({name: parse(program.source) for name, program in condition.variables.programs.items()} if condition.variables is not None else {})
    for program in condition.programs:
        reader.truth(parse(program.source), {}, program.source)
    if condition.variables is not None:
        for program in condition.variables.programs.values():
            reader.truth(parse(program.source), {}, program.source)
    return Found(tuple(dict.fromkeys(reader.hints)), frozenset(reader.zones), tuple(dict.fromkeys(reader.moments)))


class _Reader:
    def __init__(self, variables: Mapping[str, tree.Node]) -> None:
        self.variables = variables
        self.hints: list[Hint] = []
        self.zones: set[str] = set()
        self.moments: list[str] = []

    def truth(self, node: tree.Node, env: Env, source: str) -> None:
        """A part that stands where true or false is due: a path there is a switch."""
        path = self.path(node, env)
        if path is not None and not isinstance(node, tree.Call):
            self.add(path, "is", True, False)
        match node:
            case tree.Logic(terms=parts):
                for part in parts:
                    self.truth(part, env, source)
            case tree.Choice(test=test, yes=yes, no=no):
                for part in (test, yes, no):
                    self.truth(part, env, source)
            case tree.Call(function="!_", args=(inner,)):
                self.truth(inner, env, source)
            case tree.Call():
                self.call(node, env, source)
            case tree.Fold():
                self.fold(node, env, source)
            case tree.Bind(name=name, value=value, body=body):
                self.truth(body, {**env, name: self.stands(value, env)}, source)

    def fold(self, node: tree.Fold, env: Env, source: str) -> None:
        over = self.stands(node.over, env)
        element = (*over, ELEMENT) if isinstance(over, tuple) else over
        for part in (node.test, node.body):
            if part is not None:
                self.truth(part, {**env, node.names[-1]: element}, source)

    def call(self, node: tree.Call, env: Env, source: str) -> None:
        """A comparison, or a function of texts."""
        parts = node.args if node.target is None or _namespace(node.target) else (node.target, *node.args)
        for part in parts:
            if isinstance(part, tree.Fold | tree.Logic | tree.Choice | tree.Bind | tree.Call):
                self.truth(part, env, source)
        if len(parts) == 2:
            self.two(node, parts[0], parts[1], env)
        if self.looks_at_now(node):
            self.moments.append(source[node.start : node.end])

    def two(self, node: tree.Call, left: tree.Node, right: tree.Node, env: Env) -> None:
        """What a comparison, a membership or a test of texts tells of one side by the other."""
        if node.function in _ORDER:
            self.pair(left, right, env)
            self.pair(right, left, env)
        elif node.function == "@in":
            self.membership(left, right, env)
        elif node.function in _TEXT:
            self.values(self.path(left, env), "is", self.constants(right, env))
        elif node.function == "within":
            self.values(self.path(left, env), "within", self.constants(right, env))
        elif node.function == "inRange":
            self.values(self.path(left, env), "range", self.constants(right, env))

    def pair(self, subject: tree.Node, other: tree.Node, env: Env) -> None:
        """`subject` compared with a constant: the constant, and for a number its neighbours."""
        path = self.path(subject, env)
        for value in self.constants(other, env):
            self.values(path, "is", (True, False) if isinstance(value, bool) else (value,))
            if path is not None and isinstance(value, int | float) and not isinstance(value, bool):
                self.hints += [Hint(path, "is", near, 1) for near in _beside(value)]

    def membership(self, value: tree.Node, items: tree.Node, env: Env) -> None:
        self.values(self.path(value, env), "is", self.constants(items, env))
        path = self.path(items, env)
        if path is not None:
            self.values((*path, ELEMENT), "is", self.constants(value, env))

    def values(self, path: tuple[str, ...] | None, how: str, values: Iterable[Any]) -> None:
        if path is not None:
            self.add(path, how, *values)

    def add(self, path: tuple[str, ...], how: str, *values: Any) -> None:
        if path[-1] == ELEMENT:
            path, how = path[:-1], "has"
        self.hints += [Hint(path, how, value) for value in values]

    # ------------------------------------------------------------ what a part stands for

    def stands(self, node: tree.Node, env: Env) -> Any:
        """A path, a list of constants, or None."""
        path = self.path(node, env)
        return path if path is not None else list(self.constants(node, env)) or None

    def path(self, node: tree.Node, env: Env) -> tuple[str, ...] | None:
        """The path whose value this part has, as it is or in another form."""
        match node:
            case tree.Ident(name=name):
                stands = env.get(name, (name,))
                return stands if isinstance(stands, tuple) else None
            case tree.Select(operand=tree.Ident(name="variables"), field=field):
                return self.path(self.variables[field], {}) if field in self.variables else None
            case tree.Select(mode="plain" | "optional", operand=operand, field=field):
                return self.step(operand, field, env)
            case tree.Index(operand=operand, index=tree.Constant(value=str(field))):
                return self.step(operand, field, env)
            case tree.Call(function=function, target=target, args=args) if function in _THROUGH:
                subject = args[0] if args and (target is None or _namespace(target)) else target
                return self.path(subject, env) if subject is not None else None
        return None

    def step(self, operand: tree.Node, field: str, env: Env) -> tuple[str, ...] | None:
        above = self.path(operand, env)
        return (*above, field) if above is not None else None

    def constants(self, node: tree.Node, env: Env) -> Iterator[Any]:
        """The constants that a part may be: itself, the items of a list, what a macro walks over."""
        match node:
            case tree.Constant(value=value) if value is not None:
                yield value
            case tree.Listing(items=items):
                for item in items:
                    yield from self.constants(item, env)
            case tree.Ident(name=name) if isinstance(env.get(name), list):
                yield from env[name]
            case tree.Call(function="timestamp", target=None, args=(tree.Constant(value=str(text)),)):
                yield text
            case tree.Select(operand=tree.Ident(name="variables"), field=field) if field in self.variables:
                yield from self.constants(self.variables[field], {})

    # ------------------------------------------------------------ time

    def looks_at_now(self, node: tree.Node) -> bool:
        """Whether this part reads `now` and nothing else; its time zones are noted."""
        names = [part for part in _below(node) if isinstance(part, tree.Ident) and not _namespace(part)]
        if not names or any(part.name != "now" for part in names):
            return False
        for part in _below(node):
            if isinstance(part, tree.Call) and part.function.startswith("get"):
                self.zones.add(next((arg.value for arg in part.args if isinstance(arg, tree.Constant) and isinstance(arg.value, str)), "UTC"))
        return True


def _beside(value: float) -> tuple[float, float]:
    """The next numbers that an author would write."""
    return (round(value - 0.1, 9), round(value + 0.1, 9)) if type(value) is float else (value - 1, value + 1)


def _namespace(node: tree.Node) -> bool:
    return isinstance(node, tree.Ident) and node.name in {"path", "url", "net", "semver", "math", "lists", "sets", "strings", "base64"}


def _below(node: tree.Node) -> Iterator[tree.Node]:
    """The part and all in it."""
    yield node
    for name in getattr(node, "__slots__", ()):
        held = getattr(node, name)
        for part in held if isinstance(held, tuple) else (held,):
            if isinstance(part, tree.Node):
                yield from _below(part)
