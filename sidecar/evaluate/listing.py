"""Which names `/v1/models` shows a caller. What a call would carry is unknown here, a third value: never, perhaps, always; only *never* hides.

Counterpart: `wire`, which gives the names their dialect's shape. Asks nothing, reserves nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sidecar.call import Call
from sidecar.evaluate import bindings, lattice, obligations
from sidecar.evaluate.lattice import LISTING, Terms
from sidecar.evaluate.rbac import possible

if TYPE_CHECKING:
    from sidecar.compiler.snapshot import Snapshot
    from sidecar.principal import Principal

USES = ("chat", "embeddings", "moderation")
"""What a model may be listed for."""


def models(snapshot: Snapshot, principal: Principal, family: str, now: float) -> tuple[str, ...]:
    """Models, aliases and exact names of routes that this caller may use for anything, sorted. `family` as an Upstream's `dialect`."""
    if snapshot.settings.mode == "audit":
        return snapshot.names(family)
    return tuple(name for name in snapshot.names(family) if any(perhaps(snapshot, principal, name, family=family, operation=use, now=now) for use in USES))


def anything(snapshot: Snapshot, principal: Principal, asked: str, *, family: str, now: float) -> bool:
    """Whether this caller may use any model of this dialect, the asked one first."""
    names = (asked, *snapshot.names(family))
    return any(perhaps(snapshot, principal, name, family=family, operation=use, now=now) for name in names for use in USES)


def perhaps(snapshot: Snapshot, principal: Principal, name: str, *, family: str, operation: str, now: float) -> bool:
    """Whether some call of this operation to this name may be allowed."""
    call = snapshot.resolve(Call(id="", protocol="llm", operation=operation, dialect="", target=name.casefold()), family)
    candidates = snapshot.candidates(call, principal, listing=True)
    terms = Terms(snapshot.settings.default.effect == "allow")
    if not call.members or not possible(candidates, terms):
        return False
    views = bindings.views(call, principal, candidates, now=now, people=snapshot.people)
    bindings.forget(views)
    verdict = lattice.weigh(candidates, views, now=now, terms=terms, counting=LISTING)
    if verdict.denied or not verdict.survivors:
        return False
    sure = [rule for rule in verdict.owing if rule.condition is None]
    try:
        route = obligations.total(sure).route
    except obligations.Conflict:
        return False
    return bool(obligations.routed(call.members, verdict.survivors, route))
