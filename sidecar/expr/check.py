"""The checker: finds the type of every node and everything that is wrong, before anything runs. A problem blocks.

Its counterpart is `closures`, which trusts what is found here. A node with a problem is `dyn`, so that one mistake is told
once. Longer than most files because it is one case per node and they share their state.

Unchecked (for the tests of the language and for tools, never for a document), nothing is a problem: names that are not
declared are read from the bindings, and a call that no overload takes is an error when it runs.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sidecar.expr import tree
from sidecar.expr.aggregates import TYPE_VALUES
from sidecar.expr.fitting import counts, fits, mismatched, settles, signatures, sized
from sidecar.expr.functions import FUNCTIONS, NAMESPACES
from sidecar.expr.guards import Guards, Path, learned
from sidecar.expr.overload import Overload
from sidecar.expr.problems import Problem, at, nearest
from sidecar.expr.types import (
    BOOL,
    BYTES,
    DOUBLE,
    DYN,
    INT,
    NEVER,
    NULL,
    NUMERIC,
    ORDERED,
    STRING,
    TYPE,
    UINT,
    Record,
    Type,
    comparable,
    join,
    list_of,
    map_of,
    optional_of,
    substitute,
)
from sidecar.expr.values import EvalError, TypeValue, Uint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from sidecar.expr.declarations import Declarations

_LITERALS: dict[type, Type] = {bool: BOOL, int: INT, Uint: UINT, float: DOUBLE, str: STRING, bytes: BYTES, type(None): NULL}
_LAST_NAMES = frozenset(name.rpartition(".")[2] for name in TYPE_VALUES if "." in name)
_KEYS = NUMERIC | {"bool", "string", "dyn"}
_SORTED = ORDERED | {"dyn"}
_HEAVY = 8
"""Heavy calls up to which they need no count."""
_MACROS = frozenset(
    {"all", "exists", "exists_one", "existsOne", "map", "filter", "transformList", "transformMap", "transformMapEntry", "sortBy", "optMap", "optFlatMap"}
)


@dataclass(frozen=True, slots=True, eq=False)
class Resolution:
    """A call with its overloads: those that its static types leave possible.

    `args` begin with the receiver of a method. `definite`: the types alone decide, nothing is looked at when it runs.
    `prepared` is made of the literal last argument and takes the others.
    """

    overloads: tuple[Overload, ...]
    args: tuple[tree.Node, ...]
    definite: bool
    prepared: Callable[..., Any] | None = None


@dataclass(frozen=True, slots=True)
class Scope:
    """The variables of the macros around a node, as (slot, type), and the fields known to be there."""

    names: dict[str, tuple[int, Type]] = field(default_factory=dict)
    guards: Guards = frozenset()

    def knowing(self, more: Guards) -> Scope:
        """The same scope with more fields known."""
        return Scope(self.names, self.guards | more) if more else self


class Checked:
    """What the checker found. `refs` tells what an identifier or chain is: a slot, a variable's name or a constant type.

    `roots` are the variables that are read.
    """

    __slots__ = ("calls", "problems", "reads", "refs", "roots", "slots", "types")

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.types: dict[tree.Node, Type] = {}
        self.calls: dict[tree.Node, Resolution] = {}
        self.refs: dict[tree.Node, Any] = {}
        self.slots: dict[tree.Node, tuple[int, ...]] = {}
        self.reads: set[str] = set()
        self.roots: set[str] = set()

    @property
    def metered(self) -> bool:
        """Whether its evaluation pays for what is large (`meter`): the rest can do no more than look at its bindings a few times."""
        return bool(self.slots) or sum(resolution.overloads[0].heavy for resolution in self.calls.values()) > _HEAVY


def check(source: str, root: tree.Node, declarations: Declarations, *, checked: bool = True) -> Checked:
    """Types, calls and problems of the tree. Without `checked` there are no problems."""
    checker = _Checker(source, declarations, checked=checked)
    checker.visit(root, Scope())
    return checker.found


class _Checker:
    def __init__(self, source: str, declarations: Declarations, *, checked: bool) -> None:
        self.source = source
        self.declarations = declarations
        self.checked = checked
        self.dotted = declarations.dotted
        self.functions: Mapping[str, tuple[Overload, ...]] = FUNCTIONS
        self.namespaces = NAMESPACES
        if declarations.functions:
            self.functions = {**FUNCTIONS, **{name: FUNCTIONS.get(name, ()) + own for name, own in declarations.functions.items()}}
            self.namespaces |= {name.rpartition(".")[0] for name in declarations.functions if "." in name}
        self.found = Checked()
        self.next_slot = 0
        self.said = ""

    def problem(self, node: tree.Node, message: str, hint: str = "") -> Type:
        return self.complain(node.start, node.end, message, hint)

    def complain(self, start: int, end: int, message: str, hint: str) -> Type:
        self.said = message
        if self.checked:
            self.found.problems.append(at(self.source, start, end, message, hint))
        return DYN

    def text(self, node: tree.Node) -> str:
        return self.source[node.start : node.end]

    # ------------------------------------------------------------ walking

    def visit(self, node: tree.Node, scope: Scope, *, whole: bool = True) -> Type:
        """The type of the node. `whole` is false for the inside of a chain, which is read through, not read."""
        found = _LITERALS[type(node.value)] if isinstance(node, tree.Constant) else _VISITS[type(node)](self, node, scope)
        if found.kind == "never":
            found = DYN
        if found.params and not self.checked:
            found = Type(found.kind, (DYN,) * len(found.params))
        self.found.types[node] = found
        if whole and isinstance(node, _READS):
            self.note(node)
        return found

    def note(self, node: tree.Node) -> None:
        """Remember the longest chain of plain names that is read here."""
        path = self.path(node)
        while path is None and isinstance(node, tree.Select | tree.Index):
            node = node.operand
            path = self.path(node)
        if path and isinstance(path[0], str):
            self.found.reads.add(".".join(map(str, path)))
            self.found.roots.add(path[0])

    def path(self, node: tree.Node) -> Path | None:
        ref = self.found.refs.get(node)
        if ref is not None:
            return None if type(ref) is TypeValue else (ref,)
        match node:
            case tree.Select(operand=operand, field=name) | tree.Index(operand=operand, index=tree.Constant(value=str(name))):
                above = self.path(operand)
                return (*above, name) if above else None
        return None

    def truth(self, node: tree.Node, scope: Scope, where: str) -> None:
        found = self.visit(node, scope)
        if found.kind not in ("bool", "dyn"):
            self.problem(
                node,
                f"{where} must be `bool`, not `{found}`",
                "only `true` and `false` are true or false: compare with something" if found.kind != "dyn" else "",
            )

    # ------------------------------------------------------------ names and fields

    def ident(self, node: tree.Ident, scope: Scope) -> Type:
        name = node.name
        if name in scope.names and not node.rooted:
            slot, found = scope.names[name]
            self.found.refs[node] = slot
            return found
        declared = self.variable(node, scope) if self.dotted else self.declarations.variables.get(name)
        if declared is not None:
            self.found.refs.setdefault(node, name)
            return declared
        if name in TYPE_VALUES:
            self.found.refs[node] = TYPE_VALUES[name]
            return TYPE
        if not self.checked:
            self.found.refs[node] = name
            return DYN
        phase = self.declarations.elsewhere.get(name)
        if phase:
            return self.problem(node, f"`{name}` belongs to phase `{phase}`", f"a document of phase `{phase}` can read it")
        if name in self.namespaces:
            return self.problem(node, f"`{name}` is a namespace of functions, not a value")
        return self.problem(node, f"undeclared name `{name}`", nearest(name, (*self.declarations.variables, *(() if node.rooted else scope.names))))

    def variable(self, node: tree.Ident | tree.Select, scope: Scope) -> Type | None:
        """The type of the variable that the whole chain names, if it names one: in the container, or with dots in its name."""
        chain, root = _dotted(node), _root(node)
        if not chain or root is None or (root.name in scope.names and not root.rooted):
            return None
        for name in self.declarations.candidates(chain, rooted=root.rooted):
            if name in self.declarations.variables:
                self.found.refs[node] = name
                return self.declarations.variables[name]
        return None

    def select(self, node: tree.Select, scope: Scope) -> Type:
        declared = self.variable(node, scope) if self.dotted else None
        if declared is not None:
            return declared
        constant = self.type_name(node, scope)
        if constant is not None:
            self.found.refs[node] = constant
            return TYPE
        operand = self.visit(node.operand, scope, whole=False)
        through = operand.kind == "optional"
        inner = self.field(node, operand.params[0] if through else operand, scope, guarded=node.mode != "plain" or through)
        if node.mode == "test":
            return BOOL
        return optional_of(inner.params[0] if inner.kind == "optional" else inner) if through or node.mode == "optional" else inner

    def type_name(self, node: tree.Select, scope: Scope) -> Any:
        """`google.protobuf.Timestamp` and `…Duration` are constants that look like fields."""
        if node.field not in _LAST_NAMES:
            return None
        name = _dotted(node)
        root = name.partition(".")[0]
        if not name or root in scope.names or root in self.declarations.variables:
            return None
        if not self.declarations.container:
            return TYPE_VALUES.get(name)
        return next((TYPE_VALUES[c] for c in self.declarations.candidates(name) if c in TYPE_VALUES), None)

    def field(self, node: tree.Select, operand: Type, scope: Scope, *, guarded: bool) -> Type:
        if not self.checked:
            return operand.params[1] if operand.kind == "map" else DYN
        if isinstance(operand, Record):
            return self.record_field(node, operand, scope, guarded=guarded)
        if operand.kind == "map":
            if operand.params[0].kind not in ("string", "dyn", "never"):
                return self.problem(node, f"`{self.text(node.operand)}` has keys of type `{operand.params[0]}`, not fields", "write `[key]`")
            return operand.params[1]
        if operand.kind not in ("dyn", "never"):
            return self.problem(node, f"`{self.text(node.operand)}` is a `{operand}` and has no field `{node.field}`")
        return DYN

    def record_field(self, node: tree.Select, record: Record, scope: Scope, *, guarded: bool) -> Type:
        name, owner = node.field, self.text(node.operand)
        declared = record.fields.get(name)
        if declared is None:
            return self.problem(node, f"`{owner}` has no field `{name}`", nearest(name, record.fields, f"{owner}."))
        if declared.phases and self.declarations.phase not in declared.phases:
            phase = "`, `".join(sorted(declared.phases))
            return self.problem(node, f"`{owner}.{name}` belongs to phase `{phase}`", f"a document of phase `{phase}` can read it")
        if declared.optional and not guarded and self.path(node) not in scope.guards:
            hint = f"guard it: `has({owner}.{name}) && …`, or give a default: `{owner}.?{name}.orValue(…)`"
            self.problem(node, f"`{owner}.{name}` may be absent", hint)
        return declared.type

    def index(self, node: tree.Index, scope: Scope) -> Type:
        operand = self.visit(node.operand, scope, whole=False)
        key = self.visit(node.index, scope)
        through = operand.kind == "optional"
        inner = self.element(node, operand.params[0] if through else operand, key)
        return optional_of(inner.params[0] if inner.kind == "optional" else inner) if through or node.optional else inner

    def element(self, node: tree.Index, operand: Type, key: Type) -> Type:
        if not self.checked:
            return DYN
        if operand.kind == "list":
            if key.kind not in ("int", "dyn"):
                return self.problem(node.index, f"a list is indexed by `int`, not `{key}`")
            return operand.params[0]
        if operand.kind == "map":
            if not comparable(key, operand.params[0]):
                return self.problem(node.index, f"the keys of this map are `{operand.params[0]}`, not `{key}`")
            return operand.params[1]
        if operand.kind == "record":
            return self.problem(node, f"`{self.text(node.operand)}` has fields, not keys", "write `.field`")
        if operand.kind not in ("dyn", "never"):
            return self.problem(node, f"a `{operand}` cannot be indexed")
        return DYN

    # ------------------------------------------------------------ logic and literals

    def logic(self, node: tree.Logic, scope: Scope) -> Type:
        side = 0 if node.op == "&&" else 1
        for term in node.terms:
            self.truth(term, scope, f"an operand of `{node.op}`")
            scope = scope.knowing(learned(term, self.path)[side])
        return BOOL

    def choice(self, node: tree.Choice, scope: Scope) -> Type:
        self.truth(node.test, scope, "the test of `? :`")
        known = learned(node.test, self.path)
        yes = self.visit(node.yes, scope.knowing(known[0]))
        no = self.visit(node.no, scope.knowing(known[1]))
        found = join(yes, no)
        return found if found is not None else self.problem(node, f"the branches of `? :` are `{yes}` and `{no}`", "both must be of one type, or `dyn(…)`")

    def listing(self, node: tree.Listing, scope: Scope) -> Type:
        types = [self.entry(item, scope, optional=i in node.optionals) for i, item in enumerate(node.items)]
        if self.declarations.uniform:
            self.uniform(node, types)
        return list_of(_common(types))

    def uniform(self, node: tree.Listing, types: list[Type]) -> None:
        """A list of several types holds what nothing it is compared with can be: mostly a number that someone put in quotes."""
        known = [(item, found) for item, found in zip(node.items, types, strict=True) if found.kind not in ("dyn", "null")]
        for item, found in known[1:]:
            if not comparable(known[0][1], found):
                self.problem(item, f"this list holds `{known[0][1]}`, and here `{found}`", "write `dyn(…)` around it if it is meant")
                return

    def mapped(self, node: tree.Mapped, scope: Scope) -> Type:
        keys, values = [], []
        for i, (key, value) in enumerate(node.entries):
            keys.append(self.visit(key, scope))
            if keys[-1].kind not in _KEYS or keys[-1].kind == "double":
                self.problem(key, f"a `{keys[-1]}` cannot be a map key")
            values.append(self.entry(value, scope, optional=i in node.optionals))
        return map_of(_common(keys), _common(values))

    def entry(self, node: tree.Node, scope: Scope, *, optional: bool) -> Type:
        found = self.visit(node, scope)
        if not optional:
            return found
        if found.kind == "optional":
            return found.params[0]
        return found if found.kind == "dyn" else self.problem(node, f"`?` takes an optional value, not `{found}`")

    # ------------------------------------------------------------ macros

    def enter(self, node: tree.Node, scope: Scope, variables: Iterable[tuple[str, Type]]) -> Scope:
        names, slots = dict(scope.names), []
        for name, found in variables:
            names[name] = (self.next_slot, found)
            slots.append(self.next_slot)
            self.next_slot += 1
        self.found.slots[node] = tuple(slots)
        return Scope(names, scope.guards)

    def fold(self, node: tree.Fold, scope: Scope) -> Type:
        over = self.visit(node.over, scope)
        if over.kind not in ("list", "map", "dyn"):
            self.problem(node.over, f"`{node.macro}` goes over a list or a map, not a `{over}`")
            over = DYN
        key, value = (INT, over.params[0]) if over.kind == "list" else over.params if over.kind == "map" else (DYN, DYN)
        single = key if over.kind == "map" else value
        inside = self.enter(node, scope, zip(node.names, (key, value) if len(node.names) == 2 else (single,), strict=True))
        if node.test is not None:
            self.truth(node.test, inside, f"the condition of `{node.macro}`")
            inside = inside.knowing(learned(node.test, self.path)[0])
        body = self.visit(node.body, inside) if node.body is not None else single
        match node.macro:
            case "all" | "exists" | "exists_one":
                return BOOL
            case "sortBy":
                return self.sorted_by(node, over, body)
            case "transformMap":
                return map_of(key, body)
            case "transformMapEntry":
                return body if body.kind in ("map", "dyn") else self.problem(node, f"`transformMapEntry` makes entries of a map, not `{body}`")
        return list_of(body)

    def sorted_by(self, node: tree.Fold, over: Type, key: Type) -> Type:
        if over.kind == "map":
            self.problem(node.over, f"`sortBy` goes over a list, not a `{over}`")
        elif key.kind not in _SORTED:
            self.problem(node.body or node, f"`sortBy` cannot order keys of type `{key}`")
        return over if over.kind == "list" else list_of(DYN)

    def bind(self, node: tree.Bind, scope: Scope) -> Type:
        value = self.visit(node.value, scope)
        if node.macro != "bind":
            if value.kind not in ("optional", "dyn"):
                self.problem(node.value, f"`{node.macro}` takes an optional value, not `{value}`")
            value = value.params[0] if value.kind == "optional" else DYN
        body = self.visit(node.body, self.enter(node, scope, ((node.name, value),)))
        if node.macro == "optFlatMap" and body.kind not in ("optional", "dyn"):
            self.problem(node.body, f"`optFlatMap` makes an optional value, not `{body}`", "write `optMap`")
        return optional_of(body) if node.macro == "optMap" else body

    # ------------------------------------------------------------ calls

    def call(self, node: tree.Call, scope: Scope) -> Type:
        name, receiver = self.callee(node, scope)
        args = (node.target, *node.args) if receiver and node.target is not None else node.args
        types = tuple(self.argument(a, name, scope) for a in args)
        found = self.resolved(node, name, args, types, receiver=receiver)
        if node not in self.found.calls:
            self.found.calls[node] = Resolution((_undefined(name, self.said),), (), definite=True)
        return found

    def argument(self, node: tree.Node, function: str, scope: Scope) -> Type:
        """What is written side by side by `format` may be of any types."""
        if function != "format" or not isinstance(node, tree.Listing) or node.optionals or not self.declarations.uniform:
            return self.visit(node, scope)
        for item in node.items:
            self.visit(item, scope)
        found = self.found.types[node] = list_of(DYN)
        return found

    def resolved(self, node: tree.Call, name: str, args: tuple[tree.Node, ...], types: tuple[Type, ...], *, receiver: bool) -> Type:
        named = self.functions.get(name, ())
        possible = [o for o in named if o.member is receiver]
        if not possible:
            return self.unknown_function(node, name, receiver=receiver, other=bool(named))
        taking = [o for o in possible if sized(o, len(args))]
        if not taking:
            return self.misnamed(node, f"`{name}` takes {counts(possible)}, not {len(args) - receiver}", signatures(possible))
        fitting = [(o, found) for o in taking if (found := fits(o, types)) is not None]
        if not fitting or (self.checked and not _meaningful(name, types)):
            return self.problem(node, *mismatched(name, types, taking))
        return self.resolve(node, fitting, args, types)

    def callee(self, node: tree.Call, scope: Scope) -> tuple[str, bool]:
        """The function's name, and whether its target is a receiver rather than a namespace."""
        if node.target is None:
            return self.function_name(node.function), False
        space = _dotted(node.target)
        root = space.partition(".")[0]
        declared = root in scope.names or root in self.declarations.variables
        name = self.function_name(f"{space}.{node.function}") if space else ""
        if space and root not in scope.names and (name in self.functions or (space in self.namespaces and not declared)):
            return name, False
        return node.function, True

    def function_name(self, name: str) -> str:
        if not self.declarations.container:
            return name
        return next((c for c in self.declarations.candidates(name) if c in self.functions), name)

    def resolve(self, node: tree.Call, fitting: list[tuple[Overload, dict[str, Type]]], args: tuple[tree.Node, ...], types: tuple[Type, ...]) -> Type:
        prepared, last = None, args[-1] if args else None
        for overload, _ in fitting:
            if overload.prepare is None:
                continue
            if isinstance(last, tree.Constant):
                try:
                    prepared = overload.prepare(last.value)
                except ValueError as error:
                    return self.problem(last, str(error))
            elif overload.literal and self.checked:
                return self.problem(last or node, f"the last argument of `{overload.name}` must be a literal", "it is compiled once, when the document loads")
        overloads = tuple(o for o, _ in fitting)
        self.found.calls[node] = Resolution(overloads, args, len(overloads) == 1 and settles(overloads[0], types), prepared)
        first, *others = [substitute(o.result, found) for o, found in fitting]
        return first if all(other == first for other in others) else DYN

    def unknown_function(self, node: tree.Call, name: str, *, receiver: bool, other: bool) -> Type:
        if other:
            right = f"{name}(value)" if receiver else f"value.{name}(…)"
            return self.misnamed(node, f"`{name}` is not called this way", f"write `{right}`")
        if name in _MACROS and receiver:
            return self.misnamed(node, f"`{name}` does not take {len(node.args)} arguments", f"write `list.{name}(x, …)`")
        same = [n for n, overloads in self.functions.items() if n.isidentifier() and overloads[0].member is receiver] if "." not in name else self.functions
        return self.misnamed(node, f"unknown function `{name}`", nearest(name, (*same, *(_MACROS if receiver else ()))))

    def misnamed(self, node: tree.Call, message: str, hint: str) -> Type:
        """A problem of the function's name, where it stands."""
        start = node.start if node.target is None else self.source.find(node.function, node.target.end, node.end)
        start = max(start, node.start)
        return self.complain(start, start + len(node.function), message, hint)


def _undefined(name: str, message: str) -> Overload:
    """What stands for a call with a problem: an error, should it come to run."""

    def fail() -> Any:
        raise EvalError(message)

    return Overload(name, (), DYN, fail)


def _meaningful(name: str, types: tuple[Type, ...]) -> bool:
    """Equality is told apart from the table, which takes any two."""
    if name in ("_==_", "_!=_"):
        return comparable(*types)
    return name != "@in" or types[1].kind == "dyn" or comparable(types[0], types[1].params[0])


_READS = (tree.Ident, tree.Select, tree.Index)
_VISITS: dict[type[tree.Node], Callable[[_Checker, Any, Scope], Type]] = {
    tree.Ident: _Checker.ident,
    tree.Select: _Checker.select,
    tree.Index: _Checker.index,
    tree.Call: _Checker.call,
    tree.Logic: _Checker.logic,
    tree.Choice: _Checker.choice,
    tree.Listing: _Checker.listing,
    tree.Mapped: _Checker.mapped,
    tree.Fold: _Checker.fold,
    tree.Bind: _Checker.bind,
}


def _dotted(node: tree.Node) -> str:
    """`a.b.c` of a plain chain of names, else an empty text."""
    if isinstance(node, tree.Ident):
        return node.name
    if isinstance(node, tree.Select) and node.mode == "plain":
        above = _dotted(node.operand)
        return f"{above}.{node.field}" if above else ""
    return ""


def _root(node: tree.Node) -> tree.Ident | None:
    while isinstance(node, tree.Select):
        node = node.operand
    return node if isinstance(node, tree.Ident) else None


def _common(types: list[Type]) -> Type:
    """The element type of a literal; mixed elements make it dyn."""
    found = types[0] if types else NEVER
    for other in types[1:]:
        found = join(found, other) or DYN
    return found
