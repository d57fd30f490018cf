"""A decision as a tree that can be read: what came out, which rules made it so and where they stand, and which were read in vain.

Data only; `cli/explain` prints it and the admin API sends it. Counterpart: `telemetry/record.py`, which keeps the same facts.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from sidecar.decision import NONE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sidecar.compiler.candidates import Candidates
    from sidecar.compiler.rules import Rule
    from sidecar.compiler.snapshot import Snapshot
    from sidecar.decision import Decision, Obligations, Reason


def tree(snapshot: Snapshot, decision: Decision) -> dict[str, Any]:
    """The decision as plain JSON values. `rules` lists every candidate, the determining ones first, with its condition's result or `unread`."""
    call, refusal = decision.call, decision.refusal
    return {
        "id": decision.id,
        "effect": decision.effect,
        "audited": decision.audited,
        "principal": decision.principal.id if decision.principal is not None else None,
        "call": {"operation": call.operation, "target": call.target, "members": [member.name for member in call.members]},
        "by": list(decision.by),
        "refusal": {"kind": refusal.kind, "status": refusal.status, "code": refusal.code, "message": refusal.message, "help": refusal.help}
        if refusal is not None
        else None,
        "survivors": [member.name for member in decision.permit.members] if decision.permit is not None else [],
        "rules": [reason_of(reason) for reason in (*decision.reasons, *unread(snapshot, decision))],
        "would": [reason_of(reason) for reason in decision.would],
        "obligations": obligations_of(decision.obligations),
        "facts": dict(decision.facts),
    }


ALWAYS = ("rule", "kind", "effect", "result", "where")


def reason_of(reason: Reason) -> dict[str, str]:
    """One rule's part; of the rest only what is said."""
    return {name: value for name, value in asdict(reason).items() if value or name in ALWAYS}


def obligations_of(owed: Obligations) -> dict[str, Any]:
    """What is owed, by the names of DOCUMENTS.md, without the empty ones."""
    if owed is NONE:
        return {}
    maps = {"route": dict(owed.route), "cap": dict(owed.cap), "set": dict(owed.set)}
    lists = {"redact": list(owed.redact), "label": list(owed.label), "warn": list(owed.warn)}
    return {name: value for name, value in {**maps, **lists}.items() if value}


def unread(snapshot: Snapshot, decision: Decision) -> Iterable[Reason]:
    """Candidates whose conditions were not read, because something stricter had decided or, with `false`, a guard had told already."""
    if decision.principal is None or not (decision.call.members or decision.call.operation in {"models", "tool_call"}):
        return []
    read = {(reason.layer, reason.rule, reason.where) for reason in decision.reasons}
    asked = {id(rule) for rule in _rules(snapshot.candidates(decision.call, decision.principal))}
    rest = [rule for rule in _rules(snapshot.matched(decision.call, decision.principal)) if (rule.layer, rule.name, rule.where) not in read]
    return [rule.reasons["unread" if id(rule) in asked else "false"] for rule in rest]


def _rules(candidates: Candidates) -> list[Rule]:
    return [rule for part in candidates.layers for rule in (*part.denies, *part.demands, *(allow for allow, _ in part.allows))]
