"""The checked tree to Python closures, specialised by static types; whatever needs no variable is evaluated here, once.

Its counterpart is `check`, whose findings it trusts. It knows nothing of source text. A closure takes the frame: variables by
name, macro variables by slot, the budget of iterations.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from sidecar.expr import access, binds, compare, constancy, folds, literals, meter, tree
from sidecar.expr.values import FAILURES, EvalError, Exhausted, TypeValue, kind, no_overload

if TYPE_CHECKING:
    from collections.abc import Callable

    from sidecar.expr.access import Run
    from sidecar.expr.check import Checked, Resolution
    from sidecar.expr.types import Type

_FOLDING: Final = 1000
"""Iterations, and units of work, that the evaluation at load may take for one node."""
_PAGE: Final = 1024
"""Characters of a macro that one iteration pays for once."""
_SIGNS: Final = {f"_{sign}_": sign for sign in ("<", "<=", ">", ">=", "==", "!=")}


class Varying:
    """The type of `VARYING`, which says that an expression has no constant value."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "VARYING"


VARYING: Final = Varying()


class Code(NamedTuple):
    """A closure, and its value where that does not vary."""

    run: Run
    constant: Any = VARYING


def build(root: tree.Node, checked: Checked) -> Code:
    """The closure of the whole expression."""
    return Builder(checked).build(root)


class Builder:
    """Makes closures of nodes. `trace` watches them by taking its place."""

    def __init__(self, checked: Checked) -> None:
        self.checked = checked
        self.metered = checked.metered
        self.constant: set[tree.Node] = set()
        """The nodes built so far that have a value whatever the frame."""
        self.late: dict[int, Run] = {}
        """Readers of the variables of `cel.bind`, by slot."""

    def type(self, node: tree.Node) -> Type:
        return self.checked.types[node]

    def build(self, node: tree.Node) -> Code:
        if isinstance(node, tree.Constant):
            self.constant.add(node)
            return _constant(node.value)
        run = self.make(node)
        if not self.may_fold(node):
            return Code(run)
        # Absence is an error and errors are only outweighed by what holds whatever they are, so a value that comes out of
        # an empty frame comes out of every frame.
        try:
            code = _constant(run({folds.BUDGET: _FOLDING, meter.WORK: _FOLDING}))
        except (*FAILURES, Exhausted):
            return Code(run)
        self.constant.add(node)
        return code

    def may_fold(self, node: tree.Node) -> bool:
        return constancy.may_fold(node, self.checked, self.constant)

    def run(self, node: tree.Node) -> Run:
        return self.build(node).run

    def make(self, node: tree.Node) -> Run:
        match node:
            case tree.Ident() | tree.Select() | tree.Index():
                return self.read(node)
            case tree.Logic():
                return self.logic(node)
            case tree.Choice():
                return _choice(self.truth(node.test), self.run(node.yes), self.run(node.no))
            case tree.Call():
                return self.call(node)
            case tree.Listing():
                made = literals.listing([(self.run(item), i in node.optionals) for i, item in enumerate(node.items)])
                return meter.built(made, len(node.items)) if self.metered else made
            case tree.Mapped():
                made = literals.mapped([(self.run(k), self.run(v), i in node.optionals) for i, (k, v) in enumerate(node.entries)])
                return meter.built(made, len(node.entries)) if self.metered else made
            case tree.Fold():
                return self.fold(node)
            case tree.Bind():
                return self.bind(node)
        raise TypeError(type(node).__name__)  # pragma: no cover - the cases above are all there are

    # ------------------------------------------------------------ reading

    def read(self, node: tree.Ident | tree.Select | tree.Index) -> Run:
        ref = self.checked.refs.get(node)
        if type(ref) is TypeValue:
            return _constant(ref).run
        run = self.chain(node) or self.step(node)
        return access.as_timestamp(run) if self.type(node).kind == "timestamp" else run

    def chain(self, node: tree.Node) -> Run | None:
        """One closure for `variable.name.name`, where all of it is plain."""
        names: list[str] = []
        while not isinstance(node, tree.Ident) and node not in self.checked.refs:
            match node:
                case tree.Select(mode="plain", operand=operand, field=name):
                    pass
                case tree.Index(optional=False, operand=operand, index=tree.Constant(value=str(name))):
                    pass
                case _:
                    return None
            if self.type(operand).kind not in ("record", "map", "dyn") or self.type(node).kind == "type":
                return None
            names.append(name)
            node = operand
        ref = self.checked.refs.get(node)
        if ref in self.late:
            return None
        return access.chain(ref, tuple(reversed(names))) if isinstance(ref, str | int) and type(ref) is not TypeValue else None

    def step(self, node: tree.Ident | tree.Select | tree.Index) -> Run:
        if isinstance(node, tree.Ident):
            return self.late[self.checked.refs[node]]
        holder = self.run(node.operand)
        through = self.type(node.operand).kind == "optional"
        if isinstance(node, tree.Index):
            return access.element(holder, self.run(node.index), optional=node.optional or through)
        nullable = self.type(node.operand).kind == "record"
        if node.mode == "test":
            return access.test_field(holder, node.field, nullable=nullable)
        if node.mode == "optional" or through:
            return access.optional_field(holder, node.field, nullable=nullable or (through and self.type(node.operand).params[0].kind == "record"))
        return access.plain_field(holder, node.field)

    # ------------------------------------------------------------ logic

    def truth(self, node: tree.Node) -> Run:
        """A closure that gives true or false and nothing else: only what comes from a binding has to be looked at."""
        return self.truth_of(node, self.build(node))

    def truth_of(self, node: tree.Node, code: Code) -> Run:
        if type(code.constant) is bool:
            return code.run
        match node:
            case tree.Logic() | tree.Select(mode="test") | tree.Fold(macro="all" | "exists" | "exists_one"):
                return code.run
            case tree.Call() if all(o.result.kind == "bool" for o in self.checked.calls[node].overloads):
                return code.run
        return _strict(code.run)

    def logic(self, node: tree.Logic) -> Run:
        decisive = node.op == "||"
        terms = [(term, self.build(term)) for term in node.terms]
        if any(code.constant is decisive for _, code in terms):
            return _constant(decisive).run
        runs = tuple(self.truth_of(term, code) for term, code in terms)
        return _pair(runs[0], runs[1], decisive) if len(runs) == 2 else _chain(runs, decisive)

    # ------------------------------------------------------------ calls

    def call(self, node: tree.Call) -> Run:
        resolution = self.checked.calls[node]
        codes = [self.build(a) for a in resolution.args]
        special = self.special(node.function, resolution, codes) if codes else None
        if special is not None:
            return special
        if resolution.prepared is not None:
            return _prepared(resolution, [meter.weighed(code.run) if self.metered else code.run for code in codes[:-1]])
        first = resolution.overloads[0]
        if self.metered and first.fuelled:
            return meter.fuelled(first.apply if resolution.definite else _dispatch_fuelled(resolution), [code.run for code in codes])
        apply = first.apply if resolution.definite else _dispatch(resolution)
        if self.metered and any(o.walks for o in resolution.overloads):
            return meter.call(apply, [code.run for code in codes], builds=any(o.builds for o in resolution.overloads))
        return _apply(apply, codes)

    def special(self, function: str, resolution: Resolution, codes: list[Code]) -> Run | None:
        """Operators that have a faster form for these types."""
        if function in _SIGNS:
            return self.compared(_SIGNS[function], resolution, codes)
        if function == "@in":
            return self.membership(resolution, codes)
        if function in ("or", "orValue"):
            return access.alternative(codes[0].run, codes[1].run, whole=function == "or")
        if resolution.definite and len(codes) == 2 and type(codes[1].constant) is str:
            if self.metered and function == "contains":
                return meter.contains(codes[0].run, codes[1].constant)
            return _text_test(function, codes[0].run, codes[1].constant)
        return None

    def compared(self, sign: str, resolution: Resolution, codes: list[Code]) -> Run | None:
        left, right = (self.type(a) for a in resolution.args)
        (a, _), (b, constant) = codes
        if compare.same_order(left, right, constant):
            if constant is not VARYING:
                return compare.with_constant(sign, a, constant)
            if not self.metered or left.kind not in ("string", "bytes"):
                return compare.comparison(sign, a, b)
        if left.kind == "dyn" and compare.is_exact(constant):
            return compare.number_with_constant(sign, a, constant, _dispatch(resolution))
        if sign not in ("==", "!="):
            return None
        # a text is equal to nothing but a text, in Python as in CEL
        if type(constant) is str:
            return compare.with_constant(sign, a, constant)
        equality = meter.equality if self.metered else compare.equality
        return equality(a, b, negated=sign == "!=")

    def membership(self, resolution: Resolution, codes: list[Code]) -> Run | None:
        (value, _), (items, constant) = codes
        if type(constant) is list and all(type(c) is str for c in constant):
            return compare.among(value, frozenset(constant))
        left, right = (self.type(a) for a in resolution.args)
        if left.kind == "string" and right.kind == "list" and right.params[0].kind == "string" and not self.metered:
            return compare.word_in_list(value, items)
        return None

    # ------------------------------------------------------------ macros

    def bind(self, node: tree.Bind) -> Run:
        (slot,), value = self.checked.slots[node], self.run(node.value)
        if node.macro != "bind":
            return binds.over_optional(node.macro, slot, value, self.run(node.body))
        self.late[slot] = binds.late(slot, value)
        return binds.bind(slot, self.run(node.body))

    def fold(self, node: tree.Fold) -> Run:
        slots = self.checked.slots[node]
        always: Run = _constant(True).run
        own = access.chain(slots[0], ())
        test, body = self.truth(node.test) if node.test else always, self.run(node.body) if node.body else own
        parts = folds.Parts(self.run(node.over), slots, test, body, weight=1 + (node.end - node.over.end) // _PAGE)
        match node.macro:
            case "all" | "exists":
                return folds.seek(parts, node.macro == "exists")
            case "exists_one":
                return folds.exactly_one(parts)
            case "sortBy":
                return folds.sort_by(parts)
            case "transformMap":
                return folds.to_map(parts)
            case "transformMapEntry":
                return folds.to_entries(parts)
        return folds.to_list(parts)


def _constant(value: Any) -> Code:
    return Code(lambda _: value, value)


def _strict(run: Run) -> Run:
    def checked(frame: Any) -> bool:
        value = run(frame)
        if value is True or value is False:
            return value
        raise EvalError(f"a `{kind(value)}` stands where `bool` is needed")

    return checked


def _pair(left: Run, right: Run, decisive: bool) -> Run:
    """`left && right` (decisive false) or `left || right` (decisive true); a failure on one side gives way to the decisive value on the other."""

    def run(frame: Any) -> Any:
        try:
            if left(frame) is decisive:
                return decisive
        except FAILURES as error:
            return _absorb(error, right, frame, decisive)
        return right(frame)

    return run


def _absorb(first: Exception, right: Run, frame: Any, decisive: bool) -> Any:
    try:
        if right(frame) is decisive:
            return decisive
    except FAILURES as second:
        raise folds.worse(first, second) from None
    raise first


def _chain(terms: tuple[Run, ...], decisive: bool) -> Run:
    def run(frame: Any) -> Any:
        failure: Exception | None = None
        for term in terms:
            try:
                if term(frame) is decisive:
                    return decisive
            except FAILURES as error:
                failure = folds.worse(failure, error)
        if failure is not None:
            raise failure
        return not decisive

    return run


def _choice(test: Run, yes: Run, no: Run) -> Run:
    return lambda frame: yes(frame) if test(frame) else no(frame)


def _apply(apply: Callable[..., Any], codes: list[Code]) -> Run:
    runs = tuple(c.run for c in codes)
    match runs:
        case (a,):
            return lambda frame: apply(a(frame))
        case (a, b):
            constant = codes[1].constant
            return (lambda frame: apply(a(frame), b(frame))) if constant is VARYING else (lambda frame: apply(a(frame), constant))
    return lambda frame: apply(*[run(frame) for run in runs])


def _text_test(function: str, text: Run, part: str) -> Run | None:
    match function:
        case "startsWith":
            return lambda frame: text(frame).startswith(part)
        case "endsWith":
            return lambda frame: text(frame).endswith(part)
        case "contains":
            return lambda frame: text(frame).find(part) >= 0
    return None


def _prepared(resolution: Resolution, runs: list[Run]) -> Run:
    """A call whose last argument went into the function at load; these have one argument left."""
    test, overload = resolution.prepared, resolution.overloads[0]
    if test is None or len(runs) > 1:  # pragma: no cover - no such overload is in the table
        raise TypeError(overload.name)
    if not runs:
        return lambda _: test()
    run, wanted = runs[0], overload.params[0].kind
    if resolution.definite:
        return lambda frame: test(run(frame))

    def checked(frame: Any) -> Any:
        value = run(frame)
        if kind(value) != wanted:
            raise no_overload(overload.name, value)
        return test(value)

    return checked


def _dispatch(resolution: Resolution) -> Callable[..., Any]:
    """Chooses the overload by the values' classes, and remembers the choice."""
    known: dict[tuple[type, ...], Callable[..., Any]] = {}

    def run(*values: Any) -> Any:
        classes = tuple(map(type, values))
        apply = known.get(classes)
        if apply is None:
            apply = known[classes] = _choose(resolution, values)
        return apply(*values)

    return run


def _dispatch_fuelled(resolution: Resolution) -> Callable[..., Any]:
    """The same for functions that take `fuel`; `in` looks at its values itself."""
    first = resolution.overloads[0]
    return first.apply if first.name == "@in" else lambda *values, fuel: _choose(resolution, values)(*values, fuel=fuel)


def _choose(resolution: Resolution, values: tuple[Any, ...]) -> Callable[..., Any]:
    kinds = [kind(v) for v in values]
    for overload in resolution.overloads:
        params = overload.params + overload.params[-1:] * (len(values) - len(overload.params))
        if all(p.kind in ("dyn", "param", k) for p, k in zip(params, kinds, strict=True)):
            return overload.apply
    raise no_overload(resolution.overloads[0].name.strip("_@"), *values)
