"""What the lattice was asked: the request, each tool the provider would run, a proposed tool call, or a reply.

Built again from the snapshot as `evaluate/` builds it, but with every binding there, so that any rule's condition can be read, also
one that nothing read on the way. Counterparts: `evaluate/policies.py`, `tools.py`, `reply.py`; a property holds them together.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from sidecar.compiler.candidates import HOUSEKEEPING
from sidecar.evaluate import bindings, rbac, reply, tools
from sidecar.evaluate.lattice import LISTING, LIVE, Counting, Terms, Verdict, weigh
from sidecar.evaluate.policies import OURS
from sidecar.evaluate.rbac import possible
from sidecar.workbench import fixtures

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sidecar.call import Call, Tool
    from sidecar.compiler.candidates import Candidates
    from sidecar.compiler.snapshot import Snapshot
    from sidecar.config.documents import TestReply
    from sidecar.evaluate.bindings import View, Views
    from sidecar.evaluate.reply import ReplyFacts
    from sidecar.principal import Principal
    from sidecar.wire.base import Codec
    from sidecar.workbench.explain.asked import Asked

ROOTS = frozenset({"call", "principal", "source", "now", "variables"})
"""All that conditions may read, but for the reply, which is there where one is judged."""

UNSERVED = "no upstream serves this name"
HOPELESS = "nothing that matches could allow this, so no condition was read"


@dataclass(frozen=True, slots=True)
class Scene:
    """One question to the lattice. `views` see everything; `verdict` is what comes out of it, `early` says why no condition was read."""

    title: str
    phase: str
    call: Call
    codec: Codec
    person: Principal
    candidates: Candidates
    terms: Terms
    now: float
    views: View | Views
    counting: Counting = LIVE
    early: str = ""
    verdict: Verdict = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "verdict", weigh(self.candidates, self.views, now=self.now, terms=self.terms, counting=self.counting))


def scenes(snapshot: Snapshot, asked: Asked) -> Iterator[Scene]:
    """Every question that the decision put to the lattice, in order. Raises CallError."""
    person = fixtures.principal(snapshot, asked.who)
    call, codec = fixtures.call(snapshot, asked.what, "explain")
    if asked.what.operation == "tool_call":
        resolved = snapshot.resolve(call, codec.family) if call.target else call
        yield of_tool(snapshot, resolved, codec, person, tool=fixtures.tool(asked.what), now=asked.now)
        return
    resolved = snapshot.resolve(call, codec.family)
    yield from of_request(snapshot, resolved, codec, person, now=asked.now)
    if asked.what.reply is not None:
        yield from _answered(snapshot, resolved, codec, person, told=asked.what.reply, now=asked.now)


def _answered(snapshot: Snapshot, call: Call, codec: Codec, person: Principal, *, told: TestReply, now: float) -> Iterator[Scene]:
    """The tools that a reply proposes, each on its own, and the reply, which is judged by those that are shown."""
    shown = []
    for name in told.tool_calls:
        scene = of_tool(snapshot, call, codec, person, tool=fixtures.proposal(name), now=now)
        yield scene
        if scene.verdict.survivors == scene.candidates.everyone:
            shown.append(name)
    yield of_reply(snapshot, call, codec, person, told=replace(told, tool_calls=tuple(shown)), now=now)


def of_request(snapshot: Snapshot, call: Call, codec: Codec, person: Principal, *, now: float) -> Iterator[Scene]:
    """A resolved call, and each tool that the provider would run for it."""
    yield _request(snapshot, call, codec, person, now)
    for tool in call.tools:
        yield of_tool(snapshot, call, codec, person, tool=tool, now=now)


def _request(snapshot: Snapshot, call: Call, codec: Codec, person: Principal, now: float) -> Scene:
    candidates = snapshot.matched(call, person)
    allow = snapshot.settings.default.effect == "allow"
    hopeless = not possible(candidates, rbac.TERMS[allow, call.operation in HOUSEKEEPING])
    early = UNSERVED if not call.members and call.operation not in OURS else HOPELESS if hopeless else ""
    terms = rbac.TERMS[allow, call.operation in OURS]
    views = seen(snapshot, call, person, candidates, now)
    return Scene("request", "request", call, codec, person, candidates, terms, now, views, early=early)


def of_tool(snapshot: Snapshot, call: Call, codec: Codec, person: Principal, *, tool: Tool, now: float) -> Scene:
    """A tool, proposed by a model or run by a provider."""
    judged = tools.as_call(snapshot, call, tool)
    candidates = snapshot.matched(judged, person)
    free = snapshot.settings.default.tool_call == "allow"
    views = seen(snapshot, judged, person, candidates, now)
    return Scene(f"tool {judged.target}", "request", judged, codec, person, candidates, Terms(default_allow=free, listed=not free), now, views)


def of_reply(snapshot: Snapshot, call: Call, codec: Codec, person: Principal, *, told: TestReply | ReplyFacts, now: float, complete: bool = True) -> Scene:
    """A reply; of a stream that has only begun the rules that read its head."""
    candidates = snapshot.matched(call, person, "response")
    if not complete:
        candidates = reply.early(candidates)
    bound = {"status": told.status, "finish": told.finish, "tokens": told.tokens, "tool_calls": told.tool_calls}
    views = seen(snapshot, call, person, candidates, now, reply=bound)
    return Scene("reply", "response", call, codec, person, candidates, reply.RELEASED, now, views)


def listed(snapshot: Snapshot, call: Call, person: Principal, codec: Codec, now: float) -> Scene:
    """A name in a list of models: what a call would carry is unknown there."""
    candidates = snapshot.matched(call, person)
    terms = Terms(snapshot.settings.default.effect == "allow")
    views = seen(snapshot, call, person, candidates, now)
    bindings.forget(views)
    early = HOPELESS if not call.members or not possible(candidates, terms) else ""
    return Scene(call.target, "request", call, codec, person, candidates, terms, now, views, LISTING, early)


def seen(
    snapshot: Snapshot,
    call: Call,
    person: Principal,
    candidates: Candidates,
    now: float,
    *,
    reply: Mapping[str, object] | None = None,
) -> View | Views:
    """Views with every binding, one for each model that may serve."""
    whole = replace(candidates, roots=ROOTS, groups=_by_model(call, candidates))
    return bindings.views(call, person, whole, now=now, people=snapshot.people, reply=reply)


def _by_model(call: Call, candidates: Candidates) -> tuple[tuple[int, str], ...]:
    """As `candidates.groups` where conditions tell models apart, also where none of the candidates does."""
    models: dict[str, int] = {}
    for bit, member in enumerate(call.members):
        models[member.model] = models.get(member.model, 0) | 1 << bit
    if len(models) < 2:
        return candidates.groups
    if call.operation == "tool_call":
        return tuple((1 << bit, model) for bit, model in enumerate(models))
    return tuple((mask, model) for model, mask in models.items())
