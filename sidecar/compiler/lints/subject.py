"""What lints look at: every condition of a configuration as a syntax tree with its place, beside the compiled rules.

Trees are parsed anew here, because what runs keeps none. Knows nothing of what is good or bad.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from sidecar.config.diagnostics import Diagnostic
from sidecar.expr import problems, tree
from sidecar.expr.parser import parse

if TYPE_CHECKING:
    from sidecar.compiler.coverage.whole import Whole
    from sidecar.config.document import Document


@dataclass(frozen=True, slots=True, eq=False)
class Expression:
    """One expression: its text, its tree, and the variables of its document. `effect` is its rule's, `allow` of a binding, "" of a variable or a key."""

    document: Document
    pointer: str
    source: str
    root: tree.Node
    effect: str
    variables: Mapping[str, tree.Node] = field(default_factory=dict)

    def warning(self, code: str, message: str, node: tree.Node | None = None, hint: str = "") -> Diagnostic:
        """A warning at a node, or at the whole text."""
        place = self.root if node is None else node
        found = problems.at(self.source, place.start, place.end, message, hint)
        return self.document.complaint("warning", code, message, self.pointer, line=found.line, column=found.column, end_column=found.end_column, hint=hint)

    def text(self, node: tree.Node) -> str:
        """What the author wrote."""
        return self.source[node.start : node.end]


class Subject:
    """A configuration, with its expressions."""

    def __init__(self, whole: Whole) -> None:
        self.whole = whole

    @cached_property
    def expressions(self) -> tuple[Expression, ...]:
        """All of them, but for those that say `true`."""
        return tuple(found for layer in self.whole.layers for document in layer.documents for found in _of(document) if found.source.strip() != "true")

    @cached_property
    def by_place(self) -> Mapping[tuple[int, str], Expression]:
        """By document and pointer."""
        return {(id(each.document), each.pointer): each for each in self.expressions}

    def conditions(self, document: Document, pointer: str) -> tuple[Expression, ...]:
        """The conditions that are joined for what stands at a pointer: the document's own and that one's."""
        places = dict.fromkeys(("/spec/when", f"{pointer}/when"))
        return tuple(found for place in places if (found := self.by_place.get((id(document), place))) is not None)


Lint = Callable[[Subject], Iterable[Diagnostic]]


def _of(document: Document) -> Iterator[Expression]:
    spec = document.spec
    if document.kind == "Policy":
        variables = {name: parse(source) for name, source in spec.variables.items()}
        yield from (Expression(document, f"/spec/variables/{name}", spec.variables[name], root, "", variables) for name, root in variables.items())
        effects = {rule.effect for rule in spec.rules}
        yield Expression(document, "/spec/when", spec.when, parse(spec.when), effects.pop() if len(effects) == 1 else "", variables)
        for index, rule in enumerate(spec.rules):
            yield Expression(document, f"/spec/rules/{index}/when", rule.when, parse(rule.when), rule.effect, variables)
    elif document.kind == "Roles":
        for index, binding in enumerate(spec.bindings):
            yield Expression(document, f"/spec/bindings/{index}/when", binding.when, parse(binding.when), "allow")
    elif document.kind in {"Quota", "Exception"}:
        yield Expression(document, "/spec/when", spec.when, parse(spec.when), "quota" if document.kind == "Quota" else "allow")


# ---------------------------------------------------------------- trees


def children(node: tree.Node) -> Iterator[tree.Node]:
    """The nodes right below."""
    match node:
        case tree.Select(operand=operand):
            yield operand
        case tree.Index(operand=operand, index=index):
            yield from (operand, index)
        case tree.Call(target=target, args=args):
            yield from (*(() if target is None else (target,)), *args)
        case tree.Logic(terms=terms):
            yield from terms
        case tree.Choice(test=test, yes=yes, no=no):
            yield from (test, yes, no)
        case tree.Listing(items=items):
            yield from items
        case tree.Mapped(entries=entries):
            yield from (each for entry in entries for each in entry)
        case tree.Fold(over=over, test=test, body=body):
            yield from (each for each in (over, test, body) if each is not None)
        case tree.Bind(value=value, body=body):
            yield from (value, body)


def walk(node: tree.Node) -> Iterator[tree.Node]:
    """The node and all below it."""
    ahead = [node]
    while ahead:
        found = ahead.pop()
        yield found
        ahead += reversed(list(children(found)))


def dotted(node: tree.Node) -> str:
    """`call.params.x` of a plain or optional chain, `call.args["x"]` too; "" for anything else."""
    match node:
        case tree.Ident(name=name):
            return name
        case tree.Select(operand=operand, field=name) | tree.Index(operand=operand, index=tree.Constant(value=str(name))):
            above = dotted(operand)
            return f"{above}.{name}" if above else ""
    return ""


def called(node: tree.Node) -> str:
    """`url.host` of a call of a namespace, `size` of a plain one, `.contains` of a method; "" for what is no call."""
    if not isinstance(node, tree.Call):
        return ""
    if node.target is None:
        return node.function
    space = dotted(node.target)
    return f"{space}.{node.function}" if space in {"path", "url", "net", "semver", "math", "strings"} else f".{node.function}"


def literal(node: tree.Node | None) -> str | None:
    """The text of a string constant."""
    return node.value if isinstance(node, tree.Constant) and type(node.value) is str else None
