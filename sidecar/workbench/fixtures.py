"""Callers, calls and answers made from data: what `Test` documents and `explain` decide instead of real traffic.

Counterparts: `wire/`, which reads calls from bytes, and `gate.py`, which answers needs from real stores. The ladder can't tell the
difference.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast

import orjson

from sidecar import wire
from sidecar.call import Call, Outgoing, Tool
from sidecar.errors import MalformedCall
from sidecar.evaluate import ladder
from sidecar.need import Exhausted, Level, Owned, Reserve, Reserved, Unauthenticated, Unavailable, Verify
from sidecar.principal import Principal, Source
from sidecar.segment import Edit
from sidecar.wire import pointer
from sidecar.wire.base import WireRequest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sidecar.call import Member
    from sidecar.compiler.snapshot import Snapshot
    from sidecar.config.documents import Claim, TestCall, TestPrincipal
    from sidecar.decision import Decision
    from sidecar.need import Need, Steps
    from sidecar.wire.base import Codec

T = TypeVar("T")
NATURAL: Mapping[str, object] = {"bool": False, "int": 0, "double": 0.0, "string": "", "list": ()}
"""What a declared claim without a default is for a caller who has none."""
FAMILIES = ("openai", "anthropic", "gemini")
PATHS: Mapping[str, str] = {"gemini_generate": "/v1beta/models/{model}:generateContent", "gemini_count_tokens": "/v1beta/models/{model}:countTokens"}
METHODS: Mapping[str, str] = {"gemini_generate": "generateContent", "gemini_count_tokens": "countTokens"}


class Plain:
    """The codec of a call that was told without a dialect: parameters are fields of the body."""

    name = ""
    operation = ""

    def __init__(self, family: str) -> None:
        self.family = family

    def write_call(self, call: Call, member: Member, edits: Sequence[Edit]) -> Outgoing:
        """The body with its edits, as JSON."""
        body = pointer.apply({**(call.body or {}), "model": member.model}, edits)
        return Outgoing(call.method, call.path, (), orjson.dumps(body, default=str))

    def cap(self, call: Call, name: str, maximum: float) -> tuple[Edit, ...]:
        """Lower the parameter, or set it where there is none."""
        value = call.params.get(name, maximum)
        return (Edit(f"/{name}", min(cast("float", value), maximum)),)

    def set(self, call: Call, name: str, value: object) -> tuple[Edit, ...]:
        """Put the parameter."""
        return (Edit(f"/{name}", value),)


def principal(snapshot: Snapshot, made: TestPrincipal) -> Principal:
    """The caller, with every declared claim."""
    declared = snapshot.identity.claims if snapshot.identity is not None else {}
    claims = {name: natural(claim) for name, claim in declared.items()}
    return Principal.of(made.id, team=made.team, groups=made.groups, claims={**claims, **made.claims}, actors=made.actors)


def natural(claim: Claim) -> object:
    """What a caller has who brings no such claim."""
    return NATURAL[claim.type] if claim.default is None else claim.default


def call(snapshot: Snapshot, made: TestCall, name: str) -> tuple[Call, Codec]:
    """The call as its codec reads it, or as it is told. Raises CallError for a body that the dialect does not take, or no dialect."""
    source = Source(**made.source)  # type: ignore[arg-type]
    if made.dialect:
        codec = next((endpoint.codec for endpoint in wire.ENDPOINTS if endpoint.codec.name == made.dialect), None)
        if codec is None:
            raise MalformedCall(f"no dialect is called `{made.dialect}`")
        return replace(_read(codec, made, name), source=source), codec
    asked = made.model if made.operation == "tool_call" else made.target
    told = Call(
        id=name,
        protocol=made.protocol,
        operation="chat" if made.operation == "tool_call" else made.operation,
        dialect="",
        target=asked.strip().casefold(),
        stream=made.stream,
        body=made.params,
        params=made.params,
        tokens=made.tokens,
        max_output=_bound(made.params),
        source=source,
    )
    return told, cast("Codec", Plain(_family(snapshot, told.target)))


def _read(codec: Codec, made: TestCall, name: str) -> Call:
    """Through the codec, as bytes. `target` and `stream` are put where the dialect has them."""
    body = dict(made.body or {})
    path = PATHS.get(made.dialect, "/").format(model=made.target)
    parts = {"model": made.target, "method": METHODS.get(made.dialect, "")}
    query: tuple[tuple[str, str], ...] = ()
    if made.dialect in METHODS:
        if made.stream:
            parts["method"], query = "streamGenerateContent", (("alt", "sse"),)
    else:
        body |= ({"model": made.target} if made.target else {}) | ({"stream": True} if made.stream else {})
    request = WireRequest("POST", path, query, (("content-type", "application/json"),), orjson.dumps(body))
    return codec.read_call(name, request, parts)


def _bound(params: Mapping[str, Any]) -> int | None:
    value = next((params[name] for name in ("max_tokens", "max_completion_tokens", "max_output_tokens") if name in params), None)
    return value if isinstance(value, int) else None


def _family(snapshot: Snapshot, target: str) -> str:
    return next((family for family in FAMILIES if snapshot.members(family, target)), FAMILIES[0])


def tool(made: TestCall) -> Tool:
    """The tool that is proposed: `server/name`, or a bare name."""
    server, slash, name = made.target.rpartition("/")
    return Tool(name, server if slash else "", args=made.args)


class Facts:
    """Answers needs from data. `quota` is what the store says for a Quota document: granted unless told."""

    def __init__(self, quota: Mapping[str, str], owner: Principal, members: Sequence[Member] = ()) -> None:
        self._quota = quota
        self._owner = owner
        self._members = members

    def answer(self, need: Need) -> object:
        """The answer to one need."""
        if isinstance(need, Verify):
            return Unauthenticated("nobody was presented")
        if isinstance(need, Reserve):
            return self._reserve(need)
        return Owned(self._owner.id, self._members[0].upstream if self._members else "")

    def _reserve(self, need: Reserve) -> object:
        for item in need.items:
            told = self._quota.get(item.rule, "granted")
            if told == "unavailable":
                return Unavailable("quota store")
            if told == "exhausted":
                return Exhausted(Level(item.counter, item.metric, item.limit, 0.0, 1.0, 60.0, item.rule), 1.0)
        return Reserved("", ())


class Answering(Protocol):
    """What answers needs without waiting."""

    def answer(self, need: Need) -> object: ...


def drive(steps: Steps[T], facts: Answering) -> T:
    """Run a decision to its end on these facts."""
    answer: object = None
    while True:
        try:
            need = steps.send(answer)
        except StopIteration as stop:
            return cast("T", stop.value)
        answer = facts.answer(need)


def decide(snapshot: Snapshot, asked: Call, codec: Codec, who: Principal, *, quota: Mapping[str, str], now: float) -> Decision:
    """One call down the ladder."""
    resolved = snapshot.resolve(asked, codec.family)
    facts = Facts(quota, who, resolved.members)
    return drive(ladder.decide(snapshot, resolved, (), codec=codec, now=now, decision_id=asked.id, principal=who), facts)
