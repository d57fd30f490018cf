"""Tools as calls: what a model proposes, and what a provider would run itself, each judged as `operation: tool_call`.

Released unless denied; `default: {toolCall: deny}` makes it an allow-list. Counterparts: `reply.py` (proposals), `policies.py` (tools
that stand in a request).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from sidecar.call import Call, Tool
from sidecar.evaluate import bindings, combine, lattice
from sidecar.evaluate.audits import would_be
from sidecar.evaluate.lattice import LIVE, Counting, Terms, Verdict

if TYPE_CHECKING:
    from sidecar.compiler.candidates import Candidates
    from sidecar.compiler.snapshot import Snapshot
    from sidecar.decision import Reason, Refusal
    from sidecar.evaluate.state import State
    from sidecar.principal import Principal


class Weighed(NamedTuple):
    """One tool, judged. `released` is the answer; `verdict` has the reasons."""

    call: Call
    candidates: Candidates
    verdict: Verdict
    would: list[Reason]
    released: bool


def weigh(snapshot: Snapshot, call: Call, principal: Principal, tool: Tool, now: float, *, counting: Counting = LIVE) -> Weighed:
    """Judge one tool of a call. Every model that may propose it must be allowed to."""
    judged = as_call(snapshot, call, tool)
    candidates = snapshot.candidates(judged, principal)
    views = bindings.views(judged, principal, candidates, now=now, people=snapshot.people)
    free = snapshot.settings.default.tool_call == "allow"
    verdict = lattice.weigh(candidates, views, now=now, terms=Terms(default_allow=free, listed=not free), counting=counting)
    would = would_be(candidates, views, now, counting) if candidates.audits else []
    return Weighed(judged, candidates, verdict, would, verdict.survivors == candidates.everyone)


def as_call(snapshot: Snapshot, call: Call, tool: Tool) -> Call:
    """The tool call as a `Call`: its target is the tool, case-folded; its members are those that may propose it."""
    tool = of_server(tool, snapshot.servers)
    return Call(
        id=call.id,
        protocol=call.protocol,
        operation="tool_call",
        dialect=call.dialect,
        target=tool.target.casefold(),
        method=call.method,
        path=call.path,
        stream=call.stream,
        params=call.params,
        tool=tool,
        refs=call.refs,
        members=call.members,
        tokens=call.tokens,
        bytes=call.bytes,
        source=call.source,
        trace=call.trace,
        asked=call.target,
    )


def of_server(tool: Tool, servers: frozenset[str]) -> Tool:
    """`server__tool` and `mcp__server__tool` name a tool of an MCP upstream, where there is one of that name."""
    if tool.server or "__" not in tool.name:
        return tool
    server, _, name = tool.name.removeprefix("mcp__").partition("__")
    return replace(tool, server=server, name=name) if name and server in servers else tool


def offered(state: State, principal: Principal) -> Refusal | None:
    """Judge the tools that the provider would run itself: one that is denied denies the request; what their rules demand, it owes."""
    for tool in state.call.tools:
        weighed = weigh(state.snapshot, state.call, principal, tool, state.now, counting=state.counting)
        state.would += weighed.would
        state.others += weighed.verdict.others
        if not weighed.released:
            return _refused(state, weighed)
        state.reasons += weighed.verdict.granted
        state.owing += weighed.verdict.owing
    return None


def _refused(state: State, weighed: Weighed) -> Refusal:
    state.survivors = 0
    state.determine(*weighed.verdict.denied)
    if not weighed.verdict.denied:
        return combine.nothing_allows(state.id)
    return combine.denied(weighed.verdict.denied[0], state.id, told=state.snapshot.told)
