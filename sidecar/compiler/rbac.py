"""Roles documents to allow rules: one for each binding and kind of operation, named `document/role`, standing at the binding.

Inherited grants are expanded here. Nothing later knows that a rule was a grant, but for its `kind`.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, get_args

from sidecar.compiler.conditions import NEVER, Report, Scope
from sidecar.compiler.dimensions import narrowed
from sidecar.compiler.index import ANY, EXCLUDED, Matcher
from sidecar.compiler.patterns import compile_pattern
from sidecar.compiler.rules import Condition, Rule
from sidecar.config.documents import LlmOperation
from sidecar.config.scalars import pattern_problem

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sidecar.config import documents
    from sidecar.config.document import Document
    from sidecar.expr import Type

OPERATIONS: frozenset[str] = frozenset(get_args(LlmOperation)) - {ANY}


def rules(document: Document, report: Report, claims: Mapping[str, Type] | None, rank: str) -> Iterator[Rule]:
    """The rules of one Roles document."""
    spec: documents.Roles = document.spec
    scope = Scope(report, document, claims)
    for index, binding in enumerate(spec.bindings):
        condition = scope.condition((f"/spec/bindings/{index}/when", binding.when))
        if condition == NEVER or binding.role not in spec.roles:
            continue
        place = document.at(f"/spec/bindings/{index}")
        held = None if isinstance(condition, str) else condition
        yield from _granted(document, index, held, rank=rank, where=f"{place.file}:{place.line}")


def _granted(document: Document, index: int, condition: Condition | None, *, rank: str, where: str) -> Iterator[Rule]:
    binding: documents.Binding = document.spec.bindings[index]
    name = f"{document.name}/{binding.role}"
    subjects = tuple(compile_pattern(text, fold=False) for text in sorted(set(binding.subjects)))
    for operations, targets in expanded(document.spec.roles, binding.role).items():
        open_ = "**" in targets
        yield Rule(
            name=name,
            kind="Roles",
            effect="allow",
            match=narrowed(Matcher(operations, () if open_ else tuple(compile_pattern(text, fold=True) for text in sorted(set(targets))), subjects), condition),
            condition=condition,
            layer=document.layer,
            where=where,
            order=(rank, name, "Roles", *sorted(operations), *sorted(targets), *sorted(binding.subjects), binding.when),
            audit=document.spec.mode == "audit",
            pointer=f"/spec/bindings/{index}",
        )


def expanded(roles: Mapping[str, documents.Role], name: str) -> dict[frozenset[str], list[str]]:
    """All grants of a role and of those it inherits: operations to target patterns. A role that is not there grants nothing."""
    found: dict[frozenset[str], list[str]] = {}
    seen: set[str] = set()
    ahead = [name]
    while ahead:
        role = ahead.pop()
        if role in seen or role not in roles:
            continue
        seen.add(role)
        ahead += roles[role].inherits
        for grant in roles[role].allow:
            _, operation, target = (*grant.split(":", 2), "", "")[:3]
            if pattern_problem(target) is None:  # what is none was told at load
                found.setdefault(operations(operation), []).append(target)
    return found


def operations(pattern: str) -> frozenset[str]:
    """The operations of a grant. A glob never includes what `*` never includes."""
    if pattern in {ANY, "**"}:
        return frozenset({ANY})
    if ANY not in pattern:
        return frozenset({pattern})
    return frozenset(name for name in OPERATIONS - EXCLUDED if fnmatchcase(name, pattern))
