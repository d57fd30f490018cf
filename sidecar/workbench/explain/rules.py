"""Each layer's candidates with their verdicts, the exceptions that lift or do not, and the rules that were nearly candidates.

The verdicts are those of `evaluate/lattice.py`, told rule by rule with the parts of each condition; a property holds the two together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sidecar.compiler.candidates import member_names, names_of
from sidecar.decision import NONE
from sidecar.evaluate import lattice, why
from sidecar.evaluate.lattice import must_allow
from sidecar.workbench.explain.scene import UNSERVED

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from sidecar.compiler.candidates import Layer, LayerCandidates
    from sidecar.compiler.index import Matcher
    from sidecar.compiler.rules import Exemption, Rule
    from sidecar.compiler.snapshot import Snapshot
    from sidecar.workbench.explain.scene import Scene
    from sidecar.workbench.explain.traced import Tracer

SHORT = 10
"""Rules told of those that were nearly candidates, for each layer."""
NEAREST = 5
"""Allows told where nothing allows."""


class Teller:
    """Tells the rules of one scene."""

    def __init__(self, snapshot: Snapshot, scene: Scene, tracer: Tracer) -> None:
        self._snapshot = snapshot
        self._scene = scene
        self._tracer = tracer
        self._names = names_of(scene.call)

    def layers(self) -> list[dict[str, Any]]:
        """Every layer of documents, in the order of `-c`."""
        pairs = zip(self._snapshot.layers, self._scene.candidates.layers, strict=True)
        return [self._layer(layer, part) for layer, part in pairs]

    def _layer(self, layer: Layer, part: LayerCandidates) -> dict[str, Any]:
        scene = self._scene
        ours = {rule.name for rule in part.denies}
        audits = [pair for pair in scene.candidates.audits if pair[0].layer == layer.name]
        rules = [*(self._deny(rule, part) for rule in part.denies), *(self._demand(rule) for rule in part.demands)]
        rules += [self._allow(rule, mask) for rule, mask in part.allows]
        near, more = self._nearly(layer, part)
        return {
            "layer": layer.name,
            "silence": self._silence(part),
            "rules": sorted(rules, key=lambda told: RANKS.index(told["verdict"])),
            "audits": [self._audit(rule, mask, part) for rule, mask in audits],
            "exceptions": [self._exception(each, part) for each in layer.exemptions.rules if each.lifts & ours],
            "nearly": near,
            "more": more,
        }

    def _silence(self, part: LayerCandidates) -> dict[str, str]:
        """What this layer says where none of its rules speaks, and why."""
        terms = self._scene.terms
        if terms.housekeeping and part.welcome:
            return {"effect": "allow", "why": "housekeeping is allowed to whoever may use anything here"}
        if must_allow(part, terms):
            return {"effect": "deny", "why": "the default effect is deny" if part.first else "this layer holds an allow, so it is an allow-list"}
        return {"effect": "allow", "why": self._free(part)}

    def _free(self, part: LayerCandidates) -> str:
        if self._scene.phase == "response":
            return "a reply is released unless denied"
        if self._scene.call.operation == "tool_call":
            return "a tool call is released unless denied"
        return "the default effect is allow" if part.first else "a further layer without an allow only tightens"

    # ------------------------------------------------------------ verdicts

    def _deny(self, rule: Rule, part: LayerCandidates) -> dict[str, Any]:
        result = self._scene.views.test(rule.condition)
        told = self._told(rule, result)
        if self._scene.early:
            return told | {"verdict": "unread"}
        if result not in self._scene.counting.no:
            return told | {"verdict": "not matched"}
        lifted = self._lifted(rule, part)
        return told | ({"verdict": "lifted", "lifted": lifted} if lifted else {"verdict": _counted(result)})

    def _lifted(self, rule: Rule, part: LayerCandidates) -> str:
        scene = self._scene
        found = part.exemptions.get(rule.name, ()) if part.exemptions is not None else ()
        return lattice.lift(rule, found, scene.views, now=scene.now, counting=scene.counting)

    def _demand(self, rule: Rule) -> dict[str, Any]:
        result = self._scene.views.test(rule.condition)
        return self._told(rule, result) | {"verdict": self._unread() or (_counted(result) if result in self._scene.counting.no else "not matched")}

    def _allow(self, rule: Rule, mask: int) -> dict[str, Any]:
        scene = self._scene
        held, result = scene.views.granted(rule.condition, mask, scene.counting.yes)
        told = self._told(rule, result) | {"verdict": self._unread() or ("matched" if held else FAILED.get(result, "not matched"))}
        covers = _members(scene, held or mask)
        return told | {"covers": covers} if len(scene.call.members) > 1 else told

    def _unread(self) -> str:
        return "unread" if self._scene.early or self._scene.verdict.denied else ""

    def _audit(self, rule: Rule, mask: int, part: LayerCandidates) -> dict[str, Any]:
        """A rule of an audit document: what it would have done."""
        scene = self._scene
        if scene.early == UNSERVED:
            return self._told(rule, scene.views.test(rule.condition)) | {"verdict": "unread"}
        if rule.effect == "allow":
            held, result = scene.views.granted(rule.condition, mask, lattice.LIVE.yes) if mask else (0, "false")
            return self._told(rule, result) | {"verdict": "would" if held else "not matched"}
        result = scene.views.test(rule.condition)
        told = self._told(rule, result) | {"verdict": "would" if result in lattice.LIVE.no else "not matched"}
        lifted = self._lifted(rule, part) if rule.effect == "deny" and told["verdict"] == "would" else ""
        return told | {"lifted": lifted} if lifted else told

    def _told(self, rule: Rule, result: str) -> dict[str, Any]:
        """What a rule is and what its condition gives, with every part."""
        told: dict[str, Any] = {"rule": rule.name, "kind": rule.kind, "effect": rule.effect, "result": result, "where": rule.where}
        told |= {name: text for name, text in (("message", rule.message), ("help", rule.help)) if text}
        told["conditions"] = self._conditions(rule)
        if rule.obligations is not NONE:
            told["then"] = why.obligations_of(rule.obligations)
        return told

    def _conditions(self, rule: Rule) -> list[dict[str, Any]]:
        proposals = rule.kind == "Policy" and rule.match.operations == {"tool_call"}
        return self._tracer.condition(rule.condition, self._scene.views, phase=rule.phase, proposals=proposals)

    # ------------------------------------------------------------ exceptions

    def _exception(self, each: Exemption, part: LayerCandidates) -> dict[str, Any]:
        """An exception for a rule that was a candidate: applied, or why not."""
        scene = self._scene
        told = {"exception": each.name, "lifts": sorted(each.lifts), "where": each.where, "expires": each.expires}
        told["conditions"] = self._tracer.condition(each.condition, scene.views, phase="request", proposals=False)
        lifted = [rule.name for rule in part.denies if self._lifted(rule, part) == each.name]
        return told | {"verdict": f"lifts {', '.join(lifted)}" if lifted else self._idle(each, part)}

    def _idle(self, each: Exemption, part: LayerCandidates) -> str:
        scene = self._scene
        if each.expires <= scene.now:
            return "expired"
        if misses := self._misses(each.match):
            return f"not for this {' and '.join(misses)}"
        if not any(scene.views.test(rule.condition) in scene.counting.no for rule in part.denies if rule.name in each.lifts):
            return "nothing to lift"
        result = scene.views.test(each.condition)
        return "another lifts the rule" if result in scene.counting.yes else f"condition {result}"

    # ------------------------------------------------------------ nearly

    def _misses(self, match: Matcher) -> list[str]:
        """Which of its fields do not admit this call."""
        call, subjects = self._scene.call, self._scene.person.subjects
        found = {"operation": match.admits(call.operation), "target": match.covers(self._names), "subject": match.speaks(subjects)}
        return [name for name, admitted in found.items() if not admitted]

    def _nearly(self, layer: Layer, part: LayerCandidates) -> tuple[list[dict[str, Any]], int]:
        """Rules of this operation that one field kept from being candidates; and how many more there are."""
        known = {rule.order for rule in _rules(part)} | {rule.order for rule, _ in self._scene.candidates.audits}
        found = []
        for rule in self._index(layer):
            misses = self._misses(rule.match)
            if rule.order not in known and "operation" not in misses and len(misses) <= 1:
                found.append((rule, misses))
        return [self._near(rule, misses) for rule, misses in found[:SHORT]], max(len(found) - SHORT, 0)

    def _index(self, layer: Layer) -> Sequence[Rule]:
        return (layer.request if self._scene.phase == "request" else layer.response).rules

    def _near(self, rule: Rule, misses: Sequence[str]) -> dict[str, Any]:
        told = {"rule": rule.name, "kind": rule.kind, "effect": rule.effect, "where": rule.where, "audit": rule.audit}
        if not misses:  # every field admits the call: an allow that covers none of the members, or a guard that the index holds
            result = self._scene.views.test(rule.condition)
            return told | {"why": "covers none of the members" if result == "true" else f"condition {result}", "conditions": self._conditions(rule)}
        return told | {"why": self._mismatch(rule.match, misses)}

    def _mismatch(self, match: Matcher, misses: Sequence[str]) -> str:
        wanted = {"operation": sorted(match.operations), "target": _texts(match.targets), "subject": _texts(match.subjects)}
        return "; ".join(f"its {name} is {' or '.join(f'`{text}`' for text in wanted[name][:SHORT])}" for name in misses)

    def nearest(self) -> list[dict[str, Any]]:
        """The allows that the least is missing of, in layers that must allow: what is missing of each."""
        found: list[tuple[int, tuple[str, ...], dict[str, Any]]] = []
        for layer, part in zip(self._snapshot.layers, self._scene.candidates.layers, strict=True):
            if must_allow(part, self._scene.terms):
                found += [self._missing(rule) for rule in self._index(layer) if rule.effect == "allow" and not rule.audit]
        found.sort(key=lambda each: each[:2])
        best: dict[tuple[str, str], dict[str, Any]] = {}
        for _, _, told in found:
            if told["missing"]:
                best.setdefault((told["rule"], told["where"]), told)  # a grant is a rule for each kind of operation
        return list(best.values())[:NEAREST]

    def _missing(self, rule: Rule) -> tuple[int, tuple[str, ...], dict[str, Any]]:
        misses = self._misses(rule.match)
        missing = [self._mismatch(rule.match, misses)] if misses else []
        result = self._scene.views.test(rule.condition)
        if result not in self._scene.counting.yes:
            missing.append(f"condition {result}")
        elif not misses and not any(rule.match.covers(names) for names in _names_of_members(self._scene)):
            missing.append("covers none of the members")
        weight = 2 * len(misses) + len(missing) + 2 * ("operation" in misses)
        return weight, rule.order, {"rule": rule.name, "where": rule.where, "missing": missing}


RANKS = ("unknown", "error", "matched", "lifted", "failed", "not matched", "unread")
"""Verdicts, in the order in which rules are told."""
FAILED = {"error": "failed", "unknown": "unknown"}
"""Verdicts of an allow whose condition could not be told."""


def _counted(result: str) -> str:
    """The verdict of a deny or a demand that counts as matched: an error is told apart, it needs mending."""
    return result if result in {"error", "unknown"} else "matched"


def _rules(part: LayerCandidates) -> Iterator[Rule]:
    yield from (*part.denies, *part.demands)
    yield from (rule for rule, _ in part.allows)


def _members(scene: Scene, mask: int) -> list[str]:
    return [member.name for bit, member in enumerate(scene.call.members) if mask >> bit & 1]


def _names_of_members(scene: Scene) -> Iterator[tuple[str, ...]]:
    if scene.call.operation == "tool_call" or not scene.call.members:
        yield (scene.call.target,)
    else:
        yield from (member_names(member) for member in scene.call.members)


def _texts(patterns: Iterable[Any]) -> list[str]:
    return [pattern.text for pattern in patterns]
