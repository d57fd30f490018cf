"""What tests must show of a configuration: each rule hit and missed, each condition true, false, and with every optional field missing.

The units are drawn from the snapshot, so that nothing which can decide is left out. Counterpart: `coverage.py`, which runs the cases and fills them in.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from sidecar.compiler import rbac
from sidecar.compiler.index import Matcher
from sidecar.compiler.patterns import compile_pattern
from sidecar.compiler.rules import Condition
from sidecar.evaluate.bindings import UNREADABLE
from sidecar.expr import Record
from sidecar.expr.environment import request_declarations, response_declarations

if TYPE_CHECKING:
    from sidecar.compiler.rules import Exemption, QuotaRule, Rule
    from sidecar.compiler.snapshot import Snapshot
    from sidecar.config.diagnostics import Position
    from sidecar.config.document import Document
    from sidecar.expr import Program, Type
    from sidecar.workbench.cases import Case

HIT, MISSED, TRUE, FALSE, REACHED = "hit", "missed", "true", "false", "reached"
UNSET: Final = frozenset({"call.agent", "call.task", "call.server", "call.session"})
"""Fields that no call of this release has: always missing, and never in the way."""
TOOL: Final = "call.tool"
"""Stands for `call.args` too: a call has both or neither."""


@dataclass(slots=True, eq=False)
class Unit:
    """One thing to show. `wanted` are the outcomes to see; `whole` a case with every optional field in place."""

    kind: str
    name: str
    position: Position
    wanted: tuple[str, ...]
    match: str = ""
    seen: set[str] = field(default_factory=set)
    reached: bool = False
    whole: Case | None = None

    @property
    def missing(self) -> tuple[str, ...]:
        """What no case showed."""
        return tuple(outcome for outcome in self.wanted if outcome not in self.seen)


@dataclass(frozen=True, slots=True, eq=False)
class Test:
    """One condition as it is run alone, beside its unit and the optional fields that it reads."""

    unit: Unit
    condition: Condition
    leaves: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Parts:
    """The units that one compiled rule fills: itself, its conditions, and of a role the grants behind it."""

    unit: Unit
    tests: tuple[Test, ...] = ()
    grants: tuple[tuple[Unit, Matcher], ...] = ()


class Book:
    """All units of a snapshot, and which compiled rule fills which."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.units: dict[tuple[str, ...], Unit] = {}
        self.parts: dict[int, Parts] = {}
        self._documents = {(document.layer, document.kind, document.name): document for document in snapshot.documents}
        for layer in snapshot.layers:
            for rule in (*layer.request.rules, *layer.response.rules):
                self.parts[id(rule)] = self._policy(rule) if rule.kind == "Policy" else self._binding(rule)
            for quota in layer.quotas.rules:
                self.parts[id(quota)] = self._whole("Quota", quota)
            for exemption in layer.exemptions.rules:
                self.parts[id(exemption)] = self._whole("Exception", exemption)

    def _unit(self, document: Document, kind: str, name: str, pointer: str, *, wanted: tuple[str, ...] = (HIT, MISSED), match: str = "") -> Unit:
        key = (document.layer, document.kind, document.name, kind, pointer)
        unit = self.units.get(key)
        if unit is None:
            unit = self.units[key] = Unit(kind, name, document.at(pointer), wanted, match)
        return unit

    def _policy(self, rule: Rule) -> Parts:
        title, _, short = rule.name.partition("/")
        document = self._documents[rule.layer, "Policy", title]
        index = next(index for index, each in enumerate(document.spec.rules) if each.name == short)
        pointer = f"/spec/rules/{index}"
        unit = self._unit(document, "rule", rule.name, pointer, match=described(rule.match))
        own = (f"{pointer}/when", document.spec.rules[index].when)
        return Parts(unit, self._tests(document, rule.name, rule.condition, own, ("/spec/when", document.spec.when)))

    def _whole(self, kind: str, rule: QuotaRule | Exemption) -> Parts:
        document = self._documents[rule.layer, kind, rule.name]
        unit = self._unit(document, kind.lower(), rule.name, "", match=described(rule.match))
        return Parts(unit, self._tests(document, rule.name, rule.condition, ("/spec/when", document.spec.when)))

    def _binding(self, rule: Rule) -> Parts:
        title, _, role = rule.name.partition("/")
        document = self._documents[rule.layer, "Roles", title]
        subjects = [pattern.text for pattern in rule.match.subjects]
        index = next(
            index
            for index, each in enumerate(document.spec.bindings)
            if each.role == role and sorted(set(each.subjects)) == subjects and each.when == rule.order[-1]
        )
        pointer = f"/spec/bindings/{index}"
        unit = self._unit(document, "binding", rule.name, pointer, match=described(rule.match))
        tests = self._tests(document, rule.name, rule.condition, (f"{pointer}/when", rule.order[-1]))
        return Parts(unit, tests, tuple(self._grants(document, role, rule)))

    def _grants(self, document: Document, role: str, rule: Rule) -> Iterator[tuple[Unit, Matcher]]:
        roles = document.spec.roles
        for name in inherited(roles, role):
            for index, grant in enumerate(roles[name].allow):
                _, operation, target = grant.split(":", 2)
                operations = rbac.operations(operation)
                if operations == rule.match.operations:
                    unit = self._unit(document, "grant", f"{document.name}/{name} {grant}", f"/spec/roles/{name}/allow/{index}", wanted=(HIT,))
                    yield unit, Matcher(operations, (compile_pattern(target, fold=True),))

    def _tests(self, document: Document, name: str, condition: Condition | None, *sources: tuple[str, str]) -> tuple[Test, ...]:
        """Each program of a condition beside the text that it was made from; the constant ones were left out when it was compiled."""
        found = []
        for program in condition.programs if condition is not None else ():
            pointer = next(pointer for pointer, source in sources if source == program.source)
            reads = reads_of(program, condition)
            leaves = tuple(sorted(optional_leaves(reads, document)))
            unit = self._unit(document, "condition", name if pointer != "/spec/when" else document.name, pointer, wanted=(TRUE, FALSE, *leaves))
            found.append(Test(unit, Condition((program,), reads, condition.variables if condition is not None else None), leaves))
        return tuple(found)


def inherited(roles: Mapping[str, Any], name: str) -> list[str]:
    """The role and all that it inherits from."""
    found: list[str] = []
    ahead = [name]
    while ahead:
        role = ahead.pop()
        if role in roles and role not in found:
            found.append(role)
            ahead += roles[role].inherits
    return found


def described(match: Matcher) -> str:
    """A match for people, without what it leaves open."""
    parts = {
        "operation": sorted(match.operations),
        "target": [pattern.text for pattern in match.targets],
        "subjects": [pattern.text for pattern in match.subjects],
    }
    return ", ".join(f"{name} {' or '.join(words)}" for name, words in parts.items() if words)


# ---------------------------------------------------------------- optional fields


def reads_of(program: Program, condition: Condition | None) -> frozenset[str]:
    """What a program reads, and what the variables in it read."""
    variables = condition.variables.programs if condition is not None and condition.variables is not None else {}
    found, ahead = set(program.reads), [path.split(".")[1] for path in program.reads if path.startswith("variables.")]
    seen: set[str] = set()
    while ahead:
        name = ahead.pop()
        if name in variables and name not in seen:
            seen.add(name)
            found |= variables[name].reads
            ahead += [path.split(".")[1] for path in variables[name].reads if path.startswith("variables.")]
    return frozenset(found)


def optional_leaves(reads: frozenset[str], document: Document) -> set[str]:
    """The paths among these that a call may be without: optional fields, and whatever is in a free mapping."""
    match = getattr(document.spec, "match", None)
    if getattr(match, "phase", "request") == "response":
        types = response_declarations({}, {}).variables
    else:
        types = request_declarations({}, {}, proposals=match is not None and match.operation == ("tool_call",)).variables
    found = {path for path in reads if _optional(path, types)}
    return {TOOL if path == "call.args" or path.startswith(f"{TOOL}.") else path for path in found}


def _optional(path: str, types: Mapping[str, Type]) -> bool:
    root, *steps = path.split(".")
    held: Any = types.get(root)
    for step in steps:
        if isinstance(held, Record):
            declared = held.fields.get(step)
            if declared is None or declared.optional:
                return declared is not None
            held = declared.type
        else:
            return held is not None and held.kind in ("map", "dyn")
    return False


def present(bound: Mapping[str, Any], path: str) -> bool | None:
    """Whether a path is there; None where that is not known (arguments that are no JSON object)."""
    value: Any = bound
    for step in path.split("."):
        if value is UNREADABLE:
            return None
        if not isinstance(value, Mapping) or step not in value:
            return False
        value = value[step]
    return True


def others(leaf: str, leaves: tuple[str, ...]) -> Iterator[str]:
    """The optional fields that must be in place where this one is missing: not those inside of it or around it."""
    for other in leaves:
        inside = other.startswith(f"{leaf}.") or leaf.startswith(f"{other}.") or (leaf == TOOL and other.startswith("call.args."))
        if other != leaf and other not in UNSET and not inside:
            yield other
