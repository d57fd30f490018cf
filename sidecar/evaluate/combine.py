"""Where answers become a yes or a no. Only here is an outage turned into a refusal, and only here is a `Permit` made.

Refusals tell the author's words or the rule's name, never what the caller sent. Counterpart: `wire`, which shapes them.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

from sidecar.decision import Decision, Permit, Reason, Refusal
from sidecar.principal import EMPTY

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sidecar.call import Member, Outgoing
    from sidecar.evaluate.state import State
    from sidecar.need import Exhausted, Unavailable

LIFETIME = 60.0
"""Seconds a permit lasts: a call waits this long for its turn, at most."""
PATIENCE = 120.0
"""Seconds up to which waiting helps: past it a client is told not to retry (some sleep as long as they are told)."""
FORGIVEN = frozenset({"policy", "hidden", "quota", "budget"})
"""What Settings `mode: audit` forwards all the same: the no of a policy, never that of an identity or of an owner."""

DEFAULT = Reason("default", "Settings", "deny", "true", "")
"""Stands among the would-be reasons where no rule said anything."""


# ---------------------------------------------------------------- refusals


def unauthenticated(reason: str, id: str) -> Refusal:
    """Nobody we know."""
    return Refusal(kind="unauthenticated", status=401, code="invalid_api_key", message=reason, decision=id)


def outage(code: str, what: Unavailable | str, id: str, rule: str = "") -> Refusal:
    """A dependency is down and its mode is closed. Waiting is for the caller to choose: no `Retry-After` is known."""
    named = what if isinstance(what, str) else what.what
    message = f"denied by `{rule}`: {named} is not available" if rule else f"{named} is not available"
    return Refusal(kind="unavailable", status=503, code=code, message=message, rule=rule, decision=id)


def unknown_model(id: str) -> Refusal:
    """No such model, or none that this caller may know of: the same words for both."""
    return Refusal(kind="not_found", status=404, code="model_not_found", message="the model does not exist, or you do not have access to it", decision=id)


def unknown_id(kind: str, id: str) -> Refusal:
    """An id that is nobody's, or somebody else's: the same words for both."""
    return Refusal(kind="not_found", status=404, code="not_found", message=f"no such {kind}", decision=id)


def nothing_allows(id: str, *, kind: str = "policy") -> Refusal:
    """The default: no rule allows it."""
    return Refusal(kind=kind, status=403, code="policy_denied", message="denied: no rule allows this", decision=id)


def denied(reason: Reason, id: str, *, told: bool, message: str = "") -> Refusal:
    """A rule says no. `told` is `denials: {disclose: rule}`."""
    if not told:
        return Refusal(kind="policy", status=403, code="policy_denied", message="denied by policy", decision=id)
    words = message or reason.message or f"denied by rule `{reason.rule}`"
    return Refusal(kind="policy", status=403, code="policy_denied", message=words, rule=reason.rule, help=reason.help, decision=id)


def exhausted(answer: Exhausted, id: str, now: float) -> Refusal:
    """Over a quota: a rate that frees itself soon, or a budget that is gone. `now` is Unix seconds."""
    level, wait = answer.level, answer.retry_after
    soon = wait is not None and wait <= PATIENCE
    return Refusal(
        kind="quota" if soon else "budget",
        status=429,
        code="rate_limit_exceeded" if soon else "insufficient_quota",
        message=f"quota `{level.rule}`: no {level.metric} left" if level.metric != "concurrency" else f"quota `{level.rule}`: too many calls at once",
        rule=level.rule,
        retry_after=wait,
        retry=soon,
        decision=id,
        levels=(level, *[other for other in answer.levels if (other.counter, other.metric) != (level.counter, level.metric)]),
        now=now,
    )


# ---------------------------------------------------------------- ends


def forgives(state: State, refusal: Refusal) -> bool:
    """Whether the whole sidecar only audits and this no is one that it may turn into a would-be."""
    if state.snapshot.settings.mode != "audit" or state.candidates is None:
        return False
    policy = refusal.kind in FORGIVEN or refusal.code in {"model_not_found", "quota_unavailable"}
    return policy and bool(state.call.members or state.call.operation == "models")


def forgive(state: State) -> None:
    """Note what would have been, and let every member serve that could."""
    state.audited = True
    state.would += state.reasons or [DEFAULT]
    state.reasons = []
    if not state.survivors and state.candidates is not None:
        state.survivors = state.candidates.everyone


def decision(state: State, refusal: Refusal | None, permit: Permit | None = None) -> Decision:
    """All that is known, as one value."""
    return Decision(
        state.id,
        state.call,
        state.principal,
        "deny" if refusal is not None else "allow",
        (*state.reasons, *state.others),
        tuple(dict.fromkeys([reason.rule for reason in state.reasons])),
        tuple(dict.fromkeys(state.would)) if state.would else (),
        state.obligations,
        state.edits,
        refusal,
        permit,
        state.reservation,
        state.levels,
        state.facts or EMPTY,
        state.audited,
        state.now,
        laps(state),
    )


def laps(state: State) -> tuple[tuple[str, int], ...]:
    """(stage, nanoseconds), where a clock was handed in."""
    return tuple((stage, at - before) for (_, before), (stage, at) in pairwise(state.laps)) if state.laps else ()


def surviving(state: State) -> tuple[Member, ...]:
    """The members that may serve, in the order of the route."""
    members, bits = state.call.members, state.survivors
    if bits == (1 << len(members)) - 1:
        return members
    return tuple([member for bit, member in enumerate(members) if bits >> bit & 1])


def uncarried(decision: Decision) -> Decision:
    """A yes for some of the members alone, taken back: the core can't be held to them."""
    text = "denied: another gateway serves this call, and which upstream it takes can't be held to what was decided"
    refusal = Refusal(kind="policy", status=403, code="policy_denied", message=text, decision=decision.id)
    return replace(decision, effect="deny", by=(), refusal=refusal, permit=None)


def permitted(state: State, members: Sequence[Member], payloads: Mapping[str, Outgoing]) -> Decision:
    """The yes: a permit for these members and these bytes."""
    principal, _ = state.known()
    permit = Permit(state.call, principal, state.id, tuple(members), payloads, expires=state.now + LIFETIME)
    return decision(state, None, permit)
