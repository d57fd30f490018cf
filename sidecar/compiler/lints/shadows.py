"""Rules that another rule makes pointless: an allow under a deny as wide, and the same rule twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sidecar.compiler.index import ANY, EXCLUDED
from sidecar.compiler.lints import facts

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sidecar.compiler.coverage.whole import Held
    from sidecar.compiler.index import Matcher
    from sidecar.compiler.lints.subject import Subject
    from sidecar.compiler.patterns import Pattern
    from sidecar.config.diagnostics import Diagnostic

MOST = 2_000_000
"""Pairs of matches that are compared."""


def shadowed(subject: Subject) -> Iterator[Diagnostic]:
    """An allow, all of which is denied whatever the call: a deny as wide, that no exception lifts, with no condition or the same."""
    rules = [held for held in subject.whole.rules if not held.rule.audit and held.rule.phase == "request"]
    lifted = {name for each in subject.whole.exemptions for name in each.exemption.lifts}
    denies = [held for held in rules if held.rule.effect == "deny" and held.rule.name not in lifted]
    allows = [held for held in rules if held.rule.effect == "allow"]
    wider = _Wider()
    if len({id(held.rule.match) for held in denies}) * len({id(held.rule.match) for held in allows}) > MOST:
        return
    for held in allows:
        found = next((deny for deny in denies if wider(deny.rule.match, held.rule.match) and _as_often(subject, deny, held)), None)
        if found is not None:
            words = f"this allows nothing: `{found.rule.name}` denies all of it"
            yield held.document.complaint("warning", "shadowed", words, held.pointer, hint="a deny wins whatever the order; narrow it, or take this out")


class _Wider:
    """`covers`, remembered: the rules of a document share their match."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, int], bool] = {}

    def __call__(self, wide: Matcher, narrow: Matcher) -> bool:
        key = (id(wide), id(narrow))
        if key not in self._known:
            self._known[key] = covers(wide, narrow)
        return self._known[key]


def _as_often(subject: Subject, deny: Held, allow: Held) -> bool:
    """Whether the deny holds wherever the allow does, as far as shapes tell."""
    if deny.rule.condition is None:
        return True
    if deny.rule.condition.variables is not None:
        return False
    asked = [facts.key_of(one.root) for one in subject.conditions(deny.document, deny.pointer)]
    known = [facts.key_of(one.root) for one in subject.conditions(allow.document, allow.pointer)]
    return bool(asked) and all(key in known for key in asked)


def twice(subject: Subject) -> Iterator[Diagnostic]:
    """A rule that says what another one says already."""
    seen: dict[object, Held] = {}
    for held in sorted(subject.whole.rules, key=lambda held: held.rule.order):
        if held.rule.kind != "Policy":
            continue
        first = seen.setdefault(_said(subject, held), held)
        if first is not held:
            words = f"this says what `{first.rule.name}` says already"
            yield held.document.complaint("warning", "duplicate-rule", words, held.pointer, hint="take one of them out")


def _said(subject: Subject, held: Held) -> object:
    rule = held.rule
    match = rule.match
    conditions = frozenset(facts.key_of(one.root) for one in subject.conditions(held.document, held.pointer))
    variables = held.document.name if rule.condition is not None and rule.condition.variables is not None else ""
    names = (match.operations, *(frozenset(pattern.text for pattern in patterns) for patterns in (match.targets, match.subjects)))
    return rule.layer, rule.effect, rule.audit, rule.phase, rule.buffer, names, conditions, variables, rule.obligations, rule.message


# ---------------------------------------------------------------- what is in what


def covers(wide: Matcher, narrow: Matcher) -> bool:
    """Whether `wide` surely matches whatever `narrow` matches."""
    if not all(_admits(wide, operation) for operation in narrow.operations):
        return False
    return _within(narrow.targets, wide.targets) and _within(narrow.subjects, wide.subjects)


def _admits(wide: Matcher, operation: str) -> bool:
    return operation in wide.operations or (ANY in wide.operations and operation not in EXCLUDED)


def _within(narrow: Sequence[Pattern], wide: Sequence[Pattern]) -> bool:
    return not wide or (bool(narrow) and all(any(contains(outer, inner) for outer in wide) for inner in narrow))


def contains(outer: Pattern, inner: Pattern) -> bool:
    """Whether every name of the one is a name of the other; False where that takes thought."""
    if outer.text in {inner.text, "**"}:
        return True
    if inner.exact:
        return outer.test(inner.prefix)
    head, star = outer.prefix, outer.text[len(outer.prefix) :]
    return star == "**" and inner.prefix.startswith(head)
