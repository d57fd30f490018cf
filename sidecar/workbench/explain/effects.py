"""What follows from the rules: which members may serve and why others may not, what is owed and to whom, what is reserved, what is changed.

Counterparts: `evaluate/obligations.py`, `quotas.py`, `screen.py`, whose sums these tell.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from sidecar.decision import NONE
from sidecar.evaluate import obligations, quotas, why
from sidecar.evaluate.lattice import LIVE, must_allow
from sidecar.evaluate.state import State
from sidecar.need import Reserve

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sidecar.compiler.rules import QuotaRule, Rule
    from sidecar.compiler.snapshot import Snapshot
    from sidecar.decision import Decision, Obligations
    from sidecar.need import Level
    from sidecar.segment import Edit
    from sidecar.workbench.explain.scene import Scene
    from sidecar.workbench.explain.traced import Tracer


class Owed(NamedTuple):
    """The sum of what matching rules demand, or why there is none."""

    total: Obligations
    conflict: str = ""


def owed(rules: Sequence[Rule]) -> Owed:
    """Add it up."""
    try:
        return Owed(obligations.total(rules))
    except obligations.Conflict as conflict:
        return Owed(NONE, conflict.what)


def demanded(rules: Sequence[Rule]) -> dict[str, Any]:
    """Who demands what, and what it comes to."""
    sum_ = owed(rules)
    by = [{"rule": rule.name, "where": rule.where, "then": why.obligations_of(rule.obligations)} for rule in rules if rule.obligations is not NONE]
    told = {"by": by, "sum": why.obligations_of(sum_.total)}
    return told | {"conflict": sum_.conflict} if sum_.conflict else told


# ---------------------------------------------------------------- members


def members(scene: Scene, decision: Decision, route: Sequence[tuple[str, str]]) -> list[dict[str, Any]]:
    """Each member of the closed set: whether it may serve, and what keeps it from that."""
    serving = decision.permit.members if decision.permit is not None else ()
    return [{"member": each.name, "serves": True} if each in serving else _against(scene, bit, route) for bit, each in enumerate(scene.call.members)]


def _against(scene: Scene, bit: int, route: Sequence[tuple[str, str]]) -> dict[str, Any]:
    member = scene.call.members[bit]
    denied = "the call is denied"
    why = denied if scene.verdict.denied or scene.early else _uncovered(scene, bit) or _unlabelled(member.labels, route) or denied
    return {"member": member.name, "serves": False, "why": why}


def _uncovered(scene: Scene, bit: int) -> str:
    for part in scene.candidates.layers:
        held = [scene.views.granted(rule.condition, mask, LIVE.yes)[0] for rule, mask in part.allows]
        if must_allow(part, scene.terms) and not any(mask >> bit & 1 for mask in held):
            return f"no rule of `{part.name}` allows it" if len(scene.candidates.layers) > 1 else "no rule allows it"
    return ""


def _unlabelled(labels: Mapping[str, str], route: Iterable[tuple[str, str]]) -> str:
    missing = [f"`{label}: {wanted}`" for label, wanted in route if labels.get(label) != wanted]
    return f"its upstream has no label {' and '.join(missing)}" if missing else ""


# ---------------------------------------------------------------- quotas


def reserved(snapshot: Snapshot, scene: Scene, total: Obligations) -> Reserve | None:
    """What this call would reserve if nothing denied it. None where nothing is counted, or an amount can't be told."""
    state = State(snapshot, scene.call, (), codec=scene.codec, now=scene.now, id=scene.call.id, principal=scene.person, reserving=True, counting=LIVE)
    state.candidates, state.views, state.obligations = scene.candidates, scene.views, total
    state.survivors = scene.verdict.survivors or scene.candidates.everyone
    steps = quotas.reserve_quota(state)
    try:
        need = next(steps)
    except StopIteration:
        return None
    return need if isinstance(need, Reserve) else None


class Counted(NamedTuple):
    """Quotas with the need that they come to, to ask a store for its levels."""

    told: list[dict[str, Any]]
    need: Reserve | None


def counted(snapshot: Snapshot, scene: Scene, total: Obligations, decision: Decision, *, answers: Mapping[str, str], tracer: Tracer) -> Counted:
    """Each quota that is a candidate: whether it counts this call, by which key, how much, and what the answer was."""
    if scene.title != "request":  # a proposal and a reply are part of a call that was counted
        return Counted([], None)
    need = reserved(snapshot, scene, total)
    items = need.items if need is not None else ()
    asked = decision.facts.get("quota") is not None
    told = []
    for quota in scene.candidates.quotas:
        counts = quota.condition is None or scene.views.test(quota.condition) in LIVE.no
        one = _quota(quota, scene, tracer) | {"counts": counts}
        if counts:
            one["limits"] = _limits(quota, items)
            one["answer"] = _answer(quota, decision, answers, asked=asked)
        told.append(one)
    return Counted(told, need)


def _quota(quota: QuotaRule, scene: Scene, tracer: Tracer) -> dict[str, Any]:
    keys = [{"text": " ".join(key.programs[0].source.split()), **tracer.result(view.value(key))} for view in scene.views.each()[:1] for key in quota.keys]
    conditions = tracer.condition(quota.condition, scene.views, phase="request", proposals=False)
    return {"quota": quota.name, "where": quota.where, "on_error": "allow" if quota.fail_open else "deny", "key": keys, "conditions": conditions}


def _limits(quota: QuotaRule, items: Sequence[Any]) -> list[dict[str, Any]]:
    amounts = {item.counter.partition("|")[0]: item.amount for item in items if item.rule == quota.name}
    return [{"metric": each.metric, "max": each.max, "window": each.window, "amount": amounts.get(each.counter)} for each in quota.limits]


def _answer(quota: QuotaRule, decision: Decision, answers: Mapping[str, str], *, asked: bool) -> str:
    """What the store said of it: of the one that refused that, of the others what was told or is assumed."""
    refused = decision.refusal is not None or decision.audited
    if not asked:
        return answers.get(quota.name) or ("not asked: something else had denied" if refused else "not asked")
    said = str(decision.facts["quota"])
    if said == "untold":
        return "not asked: an amount or a part of the key can't be told"
    if quota.name in decision.by or any(reason.rule == quota.name for reason in decision.would):
        return answers.get(quota.name, said)
    return answers.get(quota.name) or ("granted (assumed: no store was asked)" if said != "exhausted" else "nothing taken: another ran out")


def levels(told: Iterable[dict[str, Any]], need: Reserve, found: Sequence[Level]) -> None:
    """Add to each limit what a store says is left of it, and to each quota whether this call would fit now."""
    by_name = {quota["quota"]: quota for quota in told}
    for item, level in zip(need.items, found, strict=True):
        for limit in by_name[item.rule]["limits"]:
            if (limit["metric"], limit["max"], limit["window"]) == (item.metric, item.limit, item.window):
                limit |= {"remaining": level.remaining, "reset_after": level.reset_after, "fits": item.amount <= level.remaining}
    for quota in by_name.values():
        limits = [limit for limit in quota.get("limits", ()) if "fits" in limit]
        if limits:
            quota["now"] = "granted" if all(limit["fits"] for limit in limits) else "exhausted"


# ---------------------------------------------------------------- edits


def edited(edits: Iterable[Edit]) -> list[dict[str, Any]]:
    """What is changed in the bytes before they are sent: the places and the documents' own figures, none of the caller's content."""
    return [{"pointer": edit.pointer, "op": edit.op, **({"value": edit.value} if edit.op == "set" else {})} for edit in edits]
