"""Which rules may say something about one call: the index's answer, sorted by effect and made ready to be run through.

An LLM call is a closed set of names: what was asked, and each member's model and `upstream/model`. A deny, require, warn or
quota is a candidate if any of them is meant; an allow carries the set of members that it covers, as bits in the order
of `call.members`. Conditions are not read here, but a rule is left out where a guard of its condition fails. The answer depends
on nothing but the call's names, its caller and the facts that guards ask for, so that `Snapshot` may remember it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from sidecar.compiler.dimensions import models
from sidecar.compiler.index import ANY, EXCLUDED, Index, Matcher

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sidecar.call import Call, Member
    from sidecar.compiler.dimensions import Facts
    from sidecar.compiler.rules import Condition, Exemption, QuotaRule, Rule

HOUSEKEEPING = frozenset({"models", "count_tokens"})
"""Allowed to whoever may use anything (DOCUMENTS.md «What a call is called»); denies and quotas still apply."""


@dataclass(frozen=True, slots=True, eq=False)
class Ground:
    """What some enforced allow is matched on, whatever its condition: all that have the same share one."""

    match: Matcher
    order: tuple[str, ...]


def grounds(matches: Iterable[Matcher]) -> Index[Ground]:
    """The different ones among these matches, without their guards."""
    found: dict[object, Matcher] = {}
    for match in matches:
        texts = tuple(tuple(pattern.text for pattern in patterns) for patterns in (match.targets, match.subjects))
        found.setdefault((match.operations, texts), Matcher(match.operations, match.targets, match.subjects))
    return Index([Ground(match, (f"{number:09}",)) for number, match in enumerate(found.values())])


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """One compiled layer. `grants`: it holds an enforced allow, so it is an allow-list; `first`: the one with the default effect."""

    name: str
    first: bool
    grants: bool
    request: Index[Rule]
    response: Index[Rule]
    quotas: Index[QuotaRule]
    exemptions: Index[Exemption]
    reach: Index[Ground]
    """The allows by match alone: what could be allowed here if their conditions held."""
    welcome: Index[Ground]
    """The allows by subject alone: who may use anything here."""
    dimensions: frozenset[str] = field(init=False)
    """The fields that any guard in it is about."""

    def __post_init__(self) -> None:
        indexes: tuple[Index[Any], ...] = (self.request, self.response, self.quotas, self.exemptions)
        object.__setattr__(self, "dimensions", frozenset().union(*(index.dimensions for index in indexes)))


def assemble(name: str, first: bool, rules: Sequence[Rule], counted: Sequence[QuotaRule], exempt: Sequence[Exemption]) -> Layer:
    """A layer from its compiled parts."""
    allows = [rule for rule in rules if rule.effect == "allow" and not rule.audit]
    return Layer(
        name=name,
        first=first,
        grants=bool(allows),
        request=Index([rule for rule in rules if rule.phase == "request"]),
        response=Index([rule for rule in rules if rule.phase == "response"]),
        quotas=Index(counted),
        exemptions=Index(exempt),
        reach=grounds(rule.match for rule in allows),
        welcome=grounds(Matcher(frozenset({ANY}), (), rule.match.subjects) for rule in allows if rule.match.operations - EXCLUDED - HOUSEKEEPING),
    )


@dataclass(frozen=True, slots=True, eq=False)
class LayerCandidates:
    """One layer's part. `allows` pairs each allow with the members it covers; `covered` is what allows cover at best, those that a guard left out too."""

    name: str
    first: bool
    grants: bool
    denies: tuple[Rule, ...] = ()
    demands: tuple[Rule, ...] = ()
    """Requires and warns."""
    allows: tuple[tuple[Rule, int], ...] = ()
    covered: int = 0
    welcome: bool = False
    exemptions: Mapping[str, tuple[Exemption, ...]] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """All layers' parts. `everyone` has a bit for each member (one bit where a call has none).

    `groups` pairs the bits of the members that share a model with that model; there is more than one only where a
    condition can tell them apart. `roots` are the bindings that live conditions read, `audits` the rules of audit documents.
    """

    layers: tuple[LayerCandidates, ...]
    quotas: tuple[QuotaRule, ...]
    audits: tuple[tuple[Rule, int], ...]
    everyone: int
    groups: tuple[tuple[int, str], ...]
    roots: frozenset[str] = frozenset()
    buffer: bool = False

    def reads(self) -> frozenset[str]:
        """Every path that any of their conditions may read, those of variables included."""
        return frozenset(path for condition in _conditions(self.layers, self.audits, self.quotas) for path in condition.reads)


def names_of(call: Call) -> tuple[str, ...]:
    """The closed set of names a call is matched under, case-folded."""
    if call.operation == "tool_call" or not call.members:
        return (call.target,)
    names = dict.fromkeys((call.target,) if call.target else ())
    for member in call.members:
        names.update(dict.fromkeys(member_names(member)))
    return tuple(names)


def member_names(member: Member) -> tuple[str, str]:
    """The two names of a member."""
    model = member.model.casefold()
    return model, f"{member.upstream.casefold()}/{model}"


class Question(NamedTuple):
    """What an index is asked: the arguments of `Index.find`."""

    operation: str
    names: tuple[str, ...]
    subjects: frozenset[str]
    facts: Facts


def gather(layers: Sequence[Layer], call: Call, subjects: frozenset[str], phase: str, facts: Facts) -> Candidates:
    """Ask the index of every layer. `phase` is request or response; `facts` are of the dimensions of these layers, or NOTHING."""
    question = Question(call.operation, names_of(call), subjects, facts)
    members = _members(call)
    everyone = (1 << len(members)) - 1
    parts: list[LayerCandidates] = []
    audits: list[tuple[Rule, int]] = []
    quotas: list[QuotaRule] = []
    for layer in layers:
        found = (layer.request if phase == "request" else layer.response).find(*question)
        masked = [(rule, _mask(rule.match, members) if rule.effect == "allow" else everyone) for rule in found]
        parts.append(_part(layer, question, [pair for pair in masked if not pair[0].audit], members))
        audits += [pair for pair in masked if pair[0].audit]
        quotas += layer.quotas.find(*question) if phase == "request" else ()
    conditions = _conditions(parts, audits, quotas)
    roots = frozenset(root for condition in conditions for root in condition.roots)
    buffer = any(rule.buffer for part in parts for rule in (*part.denies, *part.demands))
    return Candidates(tuple(parts), tuple(quotas), tuple(audits), everyone, _groups(call, everyone, conditions), roots, buffer)


def _members(call: Call) -> Sequence[tuple[str, ...]]:
    """What an allow must cover: each member by its names. A tool call has the tool alone, once for each model that may propose it."""
    if call.operation == "tool_call":
        return [(call.target,)] * (len({member.model for member in call.members}) or 1)
    return [member_names(member) for member in call.members] or [(call.target,)]


def _mask(match: Matcher, members: Sequence[tuple[str, ...]]) -> int:
    return sum(1 << bit for bit, names in enumerate(members) if match.covers(names))


def _part(layer: Layer, question: Question, found: Sequence[tuple[Rule, int]], members: Sequence[tuple[str, ...]]) -> LayerCandidates:
    covered = 0
    for ground in layer.reach.find(*question):
        covered |= _mask(ground.match, members)
    return LayerCandidates(
        name=layer.name,
        first=layer.first,
        grants=layer.grants,
        denies=tuple(rule for rule, _ in found if rule.effect == "deny"),
        demands=tuple(rule for rule, _ in found if rule.effect in {"require", "warn"}),
        allows=tuple(pair for pair in found if pair[0].effect == "allow" and pair[1]),
        covered=covered,
        welcome=question.operation in HOUSEKEEPING and bool(layer.welcome.find("", (), question.subjects)),
        exemptions=_exemptions(layer.exemptions.find(*question)),
    )


def _exemptions(found: Sequence[Exemption]) -> Mapping[str, tuple[Exemption, ...]] | None:
    lifted: dict[str, tuple[Exemption, ...]] = {}
    for exemption in found:
        for rule in exemption.lifts:
            lifted[rule] = (*lifted.get(rule, ()), exemption)
    return lifted or None


def _conditions(parts: Sequence[LayerCandidates], audits: Sequence[tuple[Rule, int]], quotas: Sequence[QuotaRule]) -> list[Condition]:
    rules = [rule for part in parts for rule in (*part.denies, *part.demands, *(allow for allow, _ in part.allows))]
    held: list[Condition | None] = [rule.condition for rule in (*rules, *(rule for rule, _ in audits))]
    held += [quota.condition for quota in quotas]
    held += [key for quota in quotas for key in quota.keys]
    held += [exemption.condition for part in parts for found in (part.exemptions or {}).values() for exemption in found]
    return [condition for condition in held if condition is not None]


def _groups(call: Call, everyone: int, conditions: Sequence[Condition]) -> tuple[tuple[int, str], ...]:
    names = models(call)
    if len(names) > 1 and any(condition.per_model for condition in conditions):
        return tuple((_bits(call, model, place), model) for place, model in enumerate(names))
    return ((everyone, names[0]),)


def _bits(call: Call, model: str, place: int) -> int:
    if call.operation == "tool_call":
        return 1 << place
    return sum(1 << bit for bit, member in enumerate(call.members) if member.model == model)
