"""A configuration with one thing made wrong: a rule dropped, an effect turned round, a match or a condition loosened, a limit raised.

Each mutant is one document with another `spec`. A suite of tests that passes all the same would not notice that mistake. Changes that mean the
same are left out: a pattern that another one covers, a target that is `**` already. Counterparts: `weaker.py`, which changes conditions;
`mutate.py`, which runs the tests over them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from sidecar.compiler.patterns import compile_pattern
from sidecar.expr import ExprError
from sidecar.workbench.weaker import weaker

if TYPE_CHECKING:
    from collections.abc import Callable

    from sidecar.config.diagnostics import Position
    from sidecar.config.document import Document
    from sidecar.config.documents import Match, Policy, Rule, Then

OBLIGATIONS = ("route", "cap", "set", "redact", "label", "warn")
ANY: Final = "*"


@dataclass(frozen=True, slots=True)
class Mutant:
    """`spec` takes the place of the document's own; None takes the document out. `wide`: it may concern calls that the document's rules are silent on."""

    document: Document
    spec: Any
    position: Position
    name: str
    what: str
    wide: bool = False


def of(document: Document) -> Iterator[Mutant]:
    """Every mutant of a document; none of a kind that decides nothing."""
    make = MAKERS.get(document.kind)
    if make is not None:
        yield from make(document)


# ---------------------------------------------------------------- parts that several kinds share


def _match(document: Document, put: Callable[[Any], Any], match: Match) -> Iterator[Mutant]:
    """Looser and narrower matches."""
    for field in ("target", "subjects"):
        patterns = getattr(match, field)
        pointer = f"/spec/match/{field}"
        if patterns and "**" not in patterns:
            yield Mutant(document, put(replace(match, **{field: ()})), document.at(pointer), document.name, f"`{field}` dropped: any will do", wide=True)
        for place, less in _less(patterns):
            changed = put(replace(match, **{field: less}))
            yield Mutant(document, changed, document.at(f"{pointer}/{place}"), document.name, f"`{patterns[place]}` dropped from `{field}`")
    yield from _operations(document, put, match)


def _operations(document: Document, put: Callable[[Any], Any], match: Match) -> Iterator[Mutant]:
    operations = match.operation
    if operations and ANY not in operations and "tool_call" not in operations:  # tools have names of their own: `*` would find none of them
        at = document.at("/spec/match/operation")
        yield Mutant(document, put(replace(match, operation=(ANY,))), at, document.name, "`operation` widened to `*`", wide=True)
    for place, less in _less(operations):
        at = document.at(f"/spec/match/operation/{place}")
        yield Mutant(document, put(replace(match, operation=less)), at, document.name, f"`{operations[place]}` dropped from `operation`")


def _less(patterns: Sequence[str]) -> Iterator[tuple[int, Any]]:
    """The list without one of its patterns, where no other one covers it."""
    for place, pattern in enumerate(patterns if len(patterns) > 1 else ()):
        rest = (*patterns[:place], *patterns[place + 1 :])
        if not any(compile_pattern(other, fold=False).test(pattern) for other in rest):
            yield place, rest


def _conditions(document: Document, put: Callable[[str], Any], source: str, pointer: str, *, name: str, condition: bool = True) -> Iterator[Mutant]:
    """Mutants of an expression; one that stands for all (`true`) or does not parse has none."""
    if source == "true":
        return
    try:
        found = weaker(source, condition=condition)
    except ExprError:
        return
    for each in found:
        before = source[: each.offset]
        place = document.at(pointer, before.count("\n") + 1, each.offset - (before.rfind("\n") + 1) + 1)
        yield Mutant(document, put(each.source), place, name, f"condition {each.what}")


def _without(values: Sequence[Any], place: int) -> tuple[Any, ...]:
    return (*values[:place], *values[place + 1 :])


def _with(values: Sequence[Any], place: int, value: Any) -> tuple[Any, ...]:
    return (*values[:place], value, *values[place + 1 :])


# ---------------------------------------------------------------- kinds


def _policy(document: Document) -> Iterator[Mutant]:
    spec: Policy = document.spec
    yield from _match(document, lambda match: replace(spec, match=match), spec.match)
    yield from _conditions(document, lambda when: replace(spec, when=when), spec.when, "/spec/when", name=document.name)
    for name, source in spec.variables.items():
        put = _variable(spec, name)
        yield from _conditions(document, put, source, f"/spec/variables/{name}", name=f"{document.name} variable {name}", condition=False)
    for place, rule in enumerate(spec.rules):
        yield from _rule(document, place, rule)


def _variable(spec: Policy, name: str) -> Callable[[str], Policy]:
    return lambda source: replace(spec, variables={**spec.variables, name: source})


def _rule(document: Document, place: int, rule: Rule) -> Iterator[Mutant]:
    spec: Policy = document.spec
    name, pointer = f"{document.name}/{rule.name}", f"/spec/rules/{place}"
    loud = rule.effect == "allow"

    def put(**changed: Any) -> Policy:
        return replace(spec, rules=_with(spec.rules, place, replace(rule, **changed)))

    dropped = replace(spec, rules=_without(spec.rules, place)) if len(spec.rules) > 1 else None
    yield Mutant(document, dropped, document.at(pointer), name, "rule dropped", wide=loud)
    if rule.effect in ("allow", "deny") and spec.match.phase == "request":
        other = "allow" if rule.effect == "deny" else "deny"
        yield Mutant(document, put(effect=other, then=None), document.at(f"{pointer}/effect"), name, f"effect `{rule.effect}` made `{other}`", wide=True)
    for mutant in _conditions(document, lambda when: put(when=when), rule.when, f"{pointer}/when", name=name):
        yield replace(mutant, wide=loud)
    if rule.then is not None:
        for what, less in _owing(rule.then, alone=rule.effect == "require"):
            yield Mutant(document, put(then=less), document.at(f"{pointer}/then"), name, f"obligation {what} dropped")


def _owing(then: Then, *, alone: bool) -> Iterator[tuple[str, Then]]:
    """`then` without one of its parts. `alone`: the last one takes the rule with it, which is a mutant of its own."""
    held = [(name, getattr(then, name)) for name in OBLIGATIONS]
    if alone and sum(len(values) for _, values in held) < 2:
        return
    for name, values in held:
        for key in values:
            rest = {other: value for other, value in values.items() if other != key} if isinstance(values, Mapping) else tuple(v for v in values if v != key)
            yield f"`{name}: {key}`", replace(then, **{name: rest})  # type: ignore[arg-type]  # the field it was read from


def _roles(document: Document) -> Iterator[Mutant]:
    spec = document.spec
    for name, role in spec.roles.items():
        for place, grant in enumerate(role.allow):
            pointer, title = f"/spec/roles/{name}/allow/{place}", f"{document.name}/{name}"
            for what, changed in _grants(role.allow, place):
                roles = {**spec.roles, name: replace(role, allow=changed)}
                yield Mutant(document, replace(spec, roles=roles), document.at(pointer), title, f"grant `{grant}` {what}", wide=True)
        for place, parent in enumerate(role.inherits):
            roles = {**spec.roles, name: replace(role, inherits=_without(role.inherits, place))}
            at = document.at(f"/spec/roles/{name}/inherits/{place}")
            yield Mutant(document, replace(spec, roles=roles), at, f"{document.name}/{name}", f"no longer inherits `{parent}`", wide=True)
    for place in range(len(spec.bindings)):
        yield from _binding(document, place)


def _grants(grants: Sequence[str], place: int) -> Iterator[tuple[str, tuple[str, ...]]]:
    protocol, operation, target = grants[place].split(":", 2)
    yield "dropped", _without(grants, place)
    if target not in (ANY, "**"):
        yield "widened to every target", _with(grants, place, f"{protocol}:{operation}:**")
    if operation not in (ANY, "**", "tool_call"):
        yield "widened to every operation", _with(grants, place, f"{protocol}:*:{target}")


def _binding(document: Document, place: int) -> Iterator[Mutant]:
    spec = document.spec
    binding, pointer = spec.bindings[place], f"/spec/bindings/{place}"
    name = f"{document.name}/{binding.role}"

    def put(**changed: Any) -> Any:
        return replace(spec, bindings=_with(spec.bindings, place, replace(binding, **changed)))

    yield Mutant(document, replace(spec, bindings=_without(spec.bindings, place)), document.at(pointer), name, "binding dropped", wide=True)
    if "**" not in binding.subjects:
        yield Mutant(document, put(subjects=("**",)), document.at(f"{pointer}/subjects"), name, "bound to everyone", wide=True)
    for at, less in _less(binding.subjects):
        yield Mutant(
            document, put(subjects=less), document.at(f"{pointer}/subjects/{at}"), name, f"`{binding.subjects[at]}` dropped from `subjects`", wide=True
        )
    for mutant in _conditions(document, lambda when: put(when=when), binding.when, f"{pointer}/when", name=name):
        yield replace(mutant, wide=True)


def _quota(document: Document) -> Iterator[Mutant]:
    spec = document.spec
    if spec.mode == "audit":
        return  # it never reserves: nothing can be told of it
    yield Mutant(document, None, document.at(""), document.name, "quota dropped")
    yield from _match(document, lambda match: replace(spec, match=match), spec.match)
    yield from _conditions(document, lambda when: replace(spec, when=when), spec.when, "/spec/when", name=document.name)
    for place, limit in enumerate(spec.limits):
        raised = replace(spec, limits=_with(spec.limits, place, replace(limit, max=limit.max * 2 or 1)))
        what = f"limit of {limit.metric} {limit.max:g} doubled"
        yield Mutant(document, raised, document.at(f"/spec/limits/{place}/max"), document.name, what)
    other = "allow" if spec.on_error == "deny" else "deny"
    yield Mutant(document, replace(spec, on_error=other), document.at("/spec/onError"), document.name, f"onError `{spec.on_error}` made `{other}`")


def _exception(document: Document) -> Iterator[Mutant]:
    spec = document.spec
    for place, lifted in enumerate(spec.lifts):
        less = replace(spec, lifts=_without(spec.lifts, place)) if len(spec.lifts) > 1 else None
        yield Mutant(document, less, document.at(f"/spec/lifts/{place}"), document.name, f"no longer lifts `{lifted}`")
    yield from _match(document, lambda match: replace(spec, match=match), spec.match)
    yield from _conditions(document, lambda when: replace(spec, when=when), spec.when, "/spec/when", name=document.name)


def _settings(document: Document) -> Iterator[Mutant]:
    spec = document.spec
    for field, spelt in (("effect", "effect"), ("tool_call", "toolCall")):
        if getattr(spec.default, field) == "deny":
            changed = replace(spec, default=replace(spec.default, **{field: "allow"}))
            yield Mutant(document, changed, document.at(f"/spec/default/{spelt}"), document.name, f"default {spelt} `deny` made `allow`", wide=True)


MAKERS: Mapping[str, Callable[[Document], Iterator[Mutant]]] = {
    "Policy": _policy,
    "Roles": _roles,
    "Quota": _quota,
    "Exception": _exception,
    "Settings": _settings,
}
"""The visible table of kinds that have mutants."""
