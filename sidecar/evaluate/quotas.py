"""Reserves from every matching quota at the upper bound, before anything costs money; says what to settle afterwards.

All limits are taken together or not at all. The bound is the caller's own cap (or the largest output a surviving member may
give) times the choices asked for, priced at the dearest survivor. Counterpart: `store/memory.py`, which counts. An amount that
can't be told (no price, a missing part of the key) follows the quota's `onError`, as an outage of the store does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sidecar.decision import NONE
from sidecar.evaluate import combine
from sidecar.expr import UNKNOWN, Fault
from sidecar.need import Exhausted, Level, Reservation, Reserve, Unavailable, reserve

if TYPE_CHECKING:
    from sidecar.call import Member, Usage
    from sidecar.compiler.rules import LimitRule, QuotaRule
    from sidecar.decision import Decision, Obligations, Refusal
    from sidecar.evaluate.bindings import View
    from sidecar.evaluate.state import State
    from sidecar.need import Steps

OUTPUT = 4096
"""Tokens assumed where neither the caller nor the Upstream bounds the output: the most common default of providers."""
GENERATES = frozenset({"chat"})
"""Operations whose answer is counted in output tokens."""
BOUNDS = ("max_tokens", "max_completion_tokens", "max_output_tokens")
"""Names under which rules cap the output."""
METERED = ("input_tokens", "output_tokens", "tokens", "cost_usd")
ONE: dict[str, float | None] = {"requests": 1.0, "concurrency": 1.0}
GIVEN_BACK = {"requests": 1.0, "input_tokens": 0.0, "output_tokens": 0.0, "tokens": 0.0, "cost_usd": 0.0, "concurrency": 0.0}


Bill = dict[str, float | None]
"""What one call costs at most, by metric. None: it can't be told (a surviving member has no price)."""


class Asked(NamedTuple):
    """One reservation and the quota that asks for it."""

    item: Reservation
    quota: QuotaRule
    limit: LimitRule


def reserve_quota(state: State) -> Steps[Refusal | None]:
    """Take from all counters at once, or refuse."""
    _, candidates = state.known()
    if not candidates.quotas:
        return None
    if not state.reserving:
        state.facts["quota"] = "spared"
        return None
    asked: list[Asked] = []
    bill: Bill = ONE
    views = state.seen()
    for quota in candidates.quotas:
        if quota.condition is not None and views.test(quota.condition) not in state.counting.no:
            continue
        if bill is ONE and quota.metered:
            bill = bound(state)
        if not _ask(state, quota, bill, asked):
            return _untold(state, quota)
    if not asked:
        return None
    answer = yield from reserve(Reserve(state.id, tuple([one.item for one in asked]), state.now))
    if isinstance(answer, Unavailable):
        return _unavailable(state, asked, answer)
    if isinstance(answer, Exhausted):
        return _exhausted(state, asked, answer, bill)
    _note(state, "granted", asked, bill)
    state.reservation, state.levels = answer.token, answer.levels
    _warn(state, asked)
    return None


# ---------------------------------------------------------------- before


def bound(state: State) -> Bill:
    """The upper bound over the surviving members."""
    call, members = state.call, combine.surviving(state)
    output = 0
    if call.operation in GENERATES and call.body is not None:
        most = call.max_output or max([state.snapshot.output_bound(member) for member in members], default=0) or OUTPUT
        choices = call.choices
        if state.obligations is not NONE:
            most, choices = _owed(state.obligations, most, choices)
        output = most * choices
    tokens = call.tokens
    return {
        "requests": 1.0,
        "concurrency": 1.0,
        "input_tokens": float(tokens),
        "output_tokens": float(output),
        "tokens": float(tokens + output),
        "cost_usd": dearest(members, tokens, output),
    }


def _owed(owed: Obligations, most: int, choices: int) -> tuple[int, int]:
    """The bounds as they will be sent: set, then capped."""
    for name, value in owed.set:
        if name in BOUNDS and isinstance(value, int):
            most = value
        elif name == "n" and isinstance(value, int):
            choices = value
    for name, top in owed.cap:
        if name in BOUNDS:
            most = min(most, int(top))
        elif name == "n":
            choices = min(choices, int(top))
    return most, choices


def dearest(members: tuple[Member, ...], input: int, output: int) -> float | None:
    """Dollars at the dearest of the members; None where one has no price."""
    top = 0.0
    for member in members:
        price = cost(member, input, output)
        if price is None:
            return None
        if price > top:  # noqa: PLR1730  `max` takes three times as long
            top = price
    return top


def cost(member: Member, input: int, output: int) -> float | None:
    """Dollars at one member's prices."""
    if member.price_input is None or (member.price_output is None and output):
        return None
    return input * member.price_input + output * (member.price_output or 0.0)


def _ask(state: State, quota: QuotaRule, bill: Bill, asked: list[Asked]) -> bool:
    """Add this quota's reservations. False where something can't be told and the quota is closed on that."""
    for ones in _counters(state, quota):
        for limit, one in zip(quota.limits, ones, strict=True):
            amount = bill[limit.metric]
            if one is None or amount is None:
                if not quota.fail_open:
                    return False
                state.others.append(quota.reasons["skipped"])
                continue
            item = one if amount == 1.0 else Reservation(one.counter, limit.metric, amount, limit.max, limit.window, quota.name)
            asked.append(Asked(item, quota, limit))
    return True


def _counters(state: State, quota: QuotaRule) -> list[tuple[Reservation | None, ...]]:
    """A reservation of one for each limit, once for each key; None where a part of the key is missing."""
    principal, _ = state.known()
    views = state.seen().each()
    if quota.personal:
        known = state.snapshot.counters
        key = (quota, principal)
        return [known.get(key) or known.keep(key, lambda: _ones(quota, views[0]))]
    if len(views) == 1 or not quota.per_model:
        return [_ones(quota, views[0])]
    return list(dict.fromkeys(_ones(quota, view) for view in views if view.mask & state.survivors))


def _ones(quota: QuotaRule, view: View) -> tuple[Reservation | None, ...]:
    key = key_of(quota, view)
    if key is None:
        return (None,) * len(quota.limits)
    return tuple(Reservation(limit.counter + key, limit.metric, 1.0, limit.max, limit.window, quota.name) for limit in quota.limits)


def key_of(quota: QuotaRule, view: View) -> str | None:
    """The values of all parts, each with its kind and length, so that no two keys read the same. None where one is missing or empty."""
    text = ""
    for part in quota.keys:
        value = view.value(part)
        if value is UNKNOWN:
            text += "|?"  # only where a recorded call is decided again: what the store said is on record, whatever the key was
            continue
        if value is None or value == "" or isinstance(value, Fault):
            return None
        words = value if type(value) is str else f"{type(value).__name__} {value!r}"
        text += f"|{len(words)}{'=' if type(value) is str else ':'}{words}"
    return text


# ---------------------------------------------------------------- answers


def _note(state: State, answer: str, asked: list[Asked], bill: Bill) -> None:
    """For the record: what the store said, of which quotas, and to which amounts. Enough to know what it says to the same question again."""
    facts = state.facts
    facts["quota"] = answer
    facts["quotas"] = list(dict.fromkeys([one.quota.identity for one in asked]))
    if bill is not ONE:
        facts["bill"] = {metric: bill[metric] for metric in METERED}


def _untold(state: State, quota: QuotaRule) -> Refusal:
    state.facts["quota"] = "untold"
    state.determine(quota.reasons["unavailable"])
    return combine.outage("quota_unavailable", "a price or a part of the key", state.id, rule=quota.name)


def _unavailable(state: State, asked: list[Asked], answer: Unavailable) -> Refusal | None:
    """The store is down: a no of every quota that is closed on that; the open ones are passed by, and that is noted."""
    state.facts["quota"] = "unavailable"
    closed = next((one.quota for one in asked if not one.quota.fail_open), None)
    if closed is not None:
        state.determine(closed.reasons["unavailable"])
        return combine.outage("quota_unavailable", answer, state.id, rule=closed.name)
    state.others += dict.fromkeys(one.quota.reasons["unavailable"] for one in asked)
    return None


def _exhausted(state: State, asked: list[Asked], answer: Exhausted, bill: Bill) -> Refusal:
    state.levels = answer.levels or (answer.level,)
    quota = next((one.quota for one in asked if one.item.counter == answer.level.counter), asked[0].quota)
    _note(state, "exhausted", [one for one in asked if one.quota is quota], bill)
    state.determine(quota.reasons["exhausted"])
    return combine.exhausted(answer, state.id, state.now)


def _warn(state: State, asked: list[Asked]) -> None:
    for one in asked:
        if one.limit.warn_at is not None and any(level.counter == one.item.counter and _reached(level, one.limit.warn_at) for level in state.levels):
            state.others.append(one.quota.reasons["warned"])


def _reached(level: Level, share: float) -> bool:
    return level.limit - level.remaining >= share * level.limit


# ---------------------------------------------------------------- after


def settlement(decision: Decision, usage: Usage, served: Member | None) -> dict[str, float]:  # noqa: ARG001  amounts do not depend on what was reserved
    """True amounts per metric, for `settle`. `served` None or without a price: dollars stay as reserved (they are not named)."""
    tokens = usage.input_tokens + usage.output_tokens
    actual = {
        "requests": 1.0,
        "input_tokens": float(usage.input_tokens),
        "output_tokens": float(usage.output_tokens),
        "tokens": float(tokens),
        "concurrency": 0.0,
    }
    price = cost(served, usage.input_tokens, usage.output_tokens) if served is not None else None
    if price is not None:
        actual["cost_usd"] = price
    return actual


def refund() -> dict[str, float]:
    """What to settle where nothing was answered: tokens, dollars and the slot go back, the request stays counted."""
    return dict(GIVEN_BACK)
