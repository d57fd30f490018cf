"""Which values a decision could depend on beside the names and counts that every record holds, and those values of one call.

Static: every leaf that a condition of any candidate may read, not what short-circuiting happened to touch, so that the list depends
on nothing but the candidates. Counterparts: `workbench/recorded.py`, which puts the values back, and `telemetry/kept.py`, which writes them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import orjson

from sidecar.compiler.candidates import HOUSEKEEPING
from sidecar.evaluate import tools

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sidecar.call import Call, Tool
    from sidecar.compiler.snapshot import Snapshot
    from sidecar.evaluate.reply import ReplyFacts
    from sidecar.principal import Principal

LEAVES = (
    "call.args", "call.id", "call.params", "call.tool.kind", "principal.claims", "principal.roles", "reply.finish", "reply.status",
    "reply.tokens", "reply.tool_calls", "source.loopback", "source.namespace", "source.pod",
)  # fmt: skip
"""What conditions see and no record holds of itself. All else is in the tuple, or the same for every call of this release."""
LISTS = ("principal.claims", "principal.roles")
"""What whoever may use anything is judged by, in documents about other operations (housekeeping)."""
VALUE = 1024
"""Bytes of JSON that one value may have."""
WHOLE = 16 * 1024
"""Bytes of JSON that all values of one decision may have."""
SHORT = 256
_MISSING = object()


def leaves(reads: Iterable[str]) -> tuple[str, ...]:
    """The parts of these reads that no record holds of itself, sorted: what stands above another comes first."""
    found = set()
    for path in reads:
        for leaf in LEAVES:
            if path == leaf or path.startswith(leaf + "."):
                found.add(path)
            elif leaf.startswith(path + "."):
                found.add(leaf)
    return tuple(sorted(found))


def wanted(snapshot: Snapshot, call: Call, principal: Principal, phase: str = "request") -> tuple[str, ...]:
    """The paths that this decision could read. `call` is resolved; `phase` as in `Snapshot.candidates`."""
    paths = _of(snapshot, call, principal, phase)
    if phase == "request" and call.operation in HOUSEKEEPING:
        paths = tuple(sorted({*paths, *LISTS}))
    if phase == "request" and call.tools:
        paths = tuple(sorted({*paths, *_offered(snapshot, call, principal)}))
    return paths


def _of(snapshot: Snapshot, call: Call, principal: Principal, phase: str) -> tuple[str, ...]:
    # a rule that a guard leaves out counts: what is not recorded of the call (the kind of a tool) is no guard when it is decided again
    key = (phase, call.protocol, call.operation, call.target, tuple([(member.upstream, member.model) for member in call.members]), principal)
    found = snapshot.leaves.get(key)
    return found if found is not None else snapshot.leaves.keep(key, lambda: leaves(snapshot.matched(call, principal, phase).reads()))


def _offered(snapshot: Snapshot, call: Call, principal: Principal) -> Iterable[str]:
    """The same of every tool that the provider would run: `call.tools.0.args.path`."""
    for index, tool in enumerate(call.tools):
        for path in _of(snapshot, tools.as_call(snapshot, call, tool), principal, "request"):
            yield of_offered(path, index)


def of_offered(path: str, index: int) -> str:
    """What a condition about this tool calls `path`, as the request's record calls it."""
    if path.startswith("call.args"):
        return f"call.tools.{index}{path[4:]}"
    return f"call.tools.{index}.kind" if path == "call.tool.kind" else path


# ---------------------------------------------------------------- values


def facts(paths: Sequence[str], call: Call, principal: Principal, reply: ReplyFacts | None) -> dict[str, Any]:
    """The values at these paths, which are sorted. `absent`: what is not there; `left`: what is too large, or no JSON."""
    values: dict[str, Any] = {}
    absent: list[str] = []
    left: list[str] = []
    roots: dict[str, Any] = {}
    room, last = WHOLE, "\n"
    for path in paths:
        if path.startswith(last) or not _applies(path, call):
            continue
        root = path.partition(".")[0]
        if root not in roots:
            roots[root] = _root(root, call, principal, reply)
        at, value = _reach(roots[root], path)
        if value is _MISSING:
            if at not in absent:
                absent.append(at)
            continue
        size = _size(value)
        if size > min(VALUE, room):
            left.append(path)
            continue
        room -= size
        values[at], last = value, at + "."
    return {"values": values, "absent": absent, "left": left}


def everything(call: Call, principal: Principal, reply: ReplyFacts | None, *, body: bool) -> dict[str, Any]:
    """All leaves whole, in the same shape: for the sealed record. `body`: with the parsed body."""
    values: dict[str, Any] = {"call.id": call.id, "call.params": call.params, "principal.claims": principal.claims, "principal.roles": principal.roles}
    values |= {f"source.{name}": value for name, value in _source(call).items()}
    if call.tool is not None:
        values |= {"call.args": call.tool.args, "call.tool.kind": call.tool.kind}
    for index, tool in enumerate(call.tools):
        values |= {f"call.tools.{index}.args": tool.args, f"call.tools.{index}.kind": tool.kind}
    if reply is not None:
        values |= {f"reply.{name}": value for name, value in reply._asdict().items()}
    if body:
        values["call.body"] = call.body
    return {"values": values, "absent": [], "left": []}


def _applies(path: str, call: Call) -> bool:
    """Whether there may be such a thing at all: the record tells by itself whether the call is a tool's."""
    return call.tool is not None or not (path.startswith("call.args") or path == "call.tool.kind")


def _root(root: str, call: Call, principal: Principal, reply: ReplyFacts | None) -> Mapping[str, Any]:
    if root == "call":
        offered = {str(index): _tool(tool) for index, tool in enumerate(call.tools)}
        one = {"args": call.tool.args, "tool": _tool(call.tool)} if call.tool is not None else {}
        return {"id": call.id, "params": call.params, "tools": offered, **one}
    if root == "principal":
        return {"claims": principal.claims, "roles": principal.roles}
    if root == "source":
        return _source(call)
    return reply._asdict() if reply is not None else {}


def _tool(tool: Tool) -> dict[str, Any]:
    return {"args": tool.args, "kind": tool.kind}


def _source(call: Call) -> dict[str, Any]:
    source = call.source
    return {"loopback": source.loopback, "namespace": source.namespace, "pod": source.pod}


def _reach(value: Any, path: str) -> tuple[str, Any]:
    """The value at a path and that path; or what stands above it and has no parts; or the shortest path at which nothing is."""
    names = path.split(".")
    for index, name in enumerate(names[1:], start=1):
        if not isinstance(value, Mapping):
            return ".".join(names[:index]), value
        value = value.get(name, _MISSING)
        if value is _MISSING:
            return ".".join(names[: index + 1]), value
    return path, value


def _size(value: Any) -> int:
    """Bytes of JSON; more than may be kept for what JSON does not hold as it is."""
    kind = type(value)
    if value is None or kind is bool or (kind is int and -(2**53) <= value <= 2**53):
        return 8
    if kind is str and len(value) <= SHORT and value.isascii():
        return len(value)
    if kind is float:
        return 8 if value - value == 0 else WHOLE  # neither infinite nor no number
    try:
        return len(orjson.dumps(value))
    except TypeError:
        return WHOLE + 1
