"""Judges what comes back: each tool call a model proposes, and the reply itself, before the client sees them. Asks nothing.

Both are released unless denied. Counterparts: `server/relay.py` and `server/stream.py`, which hold a reply until it is judged.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from sidecar.decision import NONE, Decision, Reason, Refusal
from sidecar.evaluate import bindings, combine, lattice, obligations, tools
from sidecar.evaluate.audits import would_be
from sidecar.evaluate.lattice import LIVE, Counting, Terms

if TYPE_CHECKING:
    from sidecar.call import Call, Tool
    from sidecar.compiler.candidates import Candidates
    from sidecar.compiler.rules import Rule
    from sidecar.compiler.snapshot import Snapshot
    from sidecar.decision import Obligations
    from sidecar.principal import Principal

RELEASED = Terms(default_allow=True, listed=False)


class ReplyFacts(NamedTuple):
    """What response rules read: HTTP status, finish reasons joined by a comma, output tokens, targets of the proposed tools."""

    status: int
    finish: str = ""
    tokens: int = 0
    tool_calls: tuple[str, ...] = ()


def judge_tool(snapshot: Snapshot, call: Call, principal: Principal, tool: Tool, *, now: float, decision_id: str, counting: Counting = LIVE) -> Decision:
    """May this proposal be shown? `call` is the decided one. Of what rules demand, only `label` and `warn` can be done here; the rest is a no."""
    weighed = tools.weigh(snapshot, call, principal, tool, now, counting=counting)
    return _decision(snapshot, weighed, principal, now=now, id=decision_id)


def judge_reply(
    snapshot: Snapshot, call: Call, principal: Principal, facts: ReplyFacts, *, now: float, decision_id: str, complete: bool, counting: Counting = LIVE
) -> Decision:
    """May this reply be shown? `complete` False is the head of a stream: rules that read its end are left for the end."""
    candidates = snapshot.candidates(call, principal, "response")
    if not complete:
        candidates = early(candidates)
    reply = {"status": facts.status, "finish": facts.finish, "tokens": facts.tokens, "tool_calls": facts.tool_calls}
    views = bindings.views(call, principal, candidates, now=now, people=snapshot.people, reply=reply)
    verdict = lattice.weigh(candidates, views, now=now, terms=RELEASED, counting=counting)
    would = would_be(candidates, views, now, counting) if candidates.audits else []
    weighed = tools.Weighed(call, candidates, verdict, would, not verdict.denied)
    return _decision(snapshot, weighed, principal, now=now, id=decision_id)


def early(candidates: Candidates) -> Candidates:
    """Without the rules that read what only the end of a reply tells."""
    layers = tuple(replace(part, denies=_early(part.denies), demands=_early(part.demands)) for part in candidates.layers)
    return replace(candidates, layers=layers, audits=tuple(pair for pair in candidates.audits if not pair[0].late))


def _early(rules: tuple[Rule, ...]) -> tuple[Rule, ...]:
    return tuple(rule for rule in rules if not rule.late)


def has_rules(snapshot: Snapshot, call: Call, principal: Principal) -> bool:
    """Whether any response rule, enforced or not, may have something to say."""
    if not snapshot.judges_replies:
        return False
    candidates = snapshot.candidates(call, principal, "response")
    return bool(candidates.audits) or any(part.denies or part.demands for part in candidates.layers)


def audits_end(snapshot: Snapshot, call: Call, principal: Principal) -> bool:
    """Whether an audited response rule reads what only the end tells. It holds nothing back, so a stream is judged once more at its end."""
    return snapshot.judges_replies and any(rule.late for rule, _ in snapshot.candidates(call, principal, "response").audits)


def needs_buffer(snapshot: Snapshot, call: Call, principal: Principal) -> bool:
    """Whether a stream must be held to its end: an enforced response rule with `buffer: true` may match."""
    return snapshot.judges_replies and snapshot.candidates(call, principal, "response").buffer


def _decision(snapshot: Snapshot, weighed: tools.Weighed, principal: Principal, *, now: float, id: str) -> Decision:
    verdict, would = weighed.verdict, weighed.would
    reasons, refusal, owed = verdict.granted, None, NONE
    if not weighed.released:
        reasons, refusal = verdict.denied, _refusal(snapshot, verdict.denied, id)
    elif verdict.owing:
        owed, broken = _owed(verdict.owing)
        if broken is not None:
            reasons = [broken]
            refusal = combine.denied(broken, id, told=snapshot.told, message=f"denied by rule `{broken.rule}`: what it demands can't be done to a reply")
    audited = refusal is not None and snapshot.settings.mode == "audit"
    if audited:
        would, reasons, refusal = [*would, *(reasons or [combine.DEFAULT])], [], None
    return Decision(
        id=id,
        call=weighed.call,
        principal=principal,
        effect="deny" if refusal is not None else "allow",
        reasons=(*reasons, *verdict.others),
        by=tuple(dict.fromkeys(reason.rule for reason in reasons)),
        would=tuple(would),
        obligations=owed,
        refusal=refusal,
        audited=audited,
        now=now,
    )


def _refusal(snapshot: Snapshot, denied: list[Reason], id: str) -> Refusal:
    if not denied:
        return combine.nothing_allows(id)
    return combine.denied(denied[0], id, told=snapshot.told)


def _owed(owing: list[Rule]) -> tuple[Obligations, Reason | None]:
    """The sum, and the reason of a rule that demands what can't be done to a reply."""
    try:
        owed = obligations.total(owing)
    except obligations.Conflict as conflict:
        return NONE, conflict.rule.reasons["true"]
    if owed.route or owed.cap or owed.set or owed.redact:
        return NONE, next(rule for rule in owing if rule.demands).reasons["true"]
    return owed, None
