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
from sidecar.config.scalars import seconds_of
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
    from sidecar.config.documents import Claim, TestCall, TestFacts, TestPrincipal
    from sidecar.decision import Decision
    from sidecar.need import Need, Reservation, Steps
    from sidecar.wire.base import Codec

T = TypeVar("T")
NATURAL: Mapping[str, object] = {"bool": False, "int": 0, "double": 0.0, "string": "", "list": ()}
"""What a declared claim without a default is for a caller who has none."""
FAMILIES = ("openai", "anthropic", "gemini")
PATHS: Mapping[str, str] = {"gemini_generate": "/v1beta/models/{model}:generateContent", "gemini_count_tokens": "/v1beta/models/{model}:countTokens"}
METHODS: Mapping[str, str] = {"gemini_generate": "generateContent", "gemini_count_tokens": "countTokens"}


STANDARD: Mapping[tuple[str, str], str] = {
    ("openai", "chat"): "openai_chat",
    ("openai", "embeddings"): "openai_embeddings",
    ("openai", "moderation"): "openai_moderations",
    ("anthropic", "chat"): "anthropic_messages",
    ("anthropic", "count_tokens"): "anthropic_count_tokens",
    ("gemini", "chat"): "gemini_generate",
    ("gemini", "count_tokens"): "gemini_count_tokens",
}
"""Family and operation to the dialect that such a call is most likely in: what that can't carry, a told call can't either."""


class Plain:
    """The codec of a call that was told without a dialect: parameters are fields of the body."""

    name = ""
    operation = ""

    def __init__(self, family: str, operation: str = "") -> None:
        self.family = family
        dialect = STANDARD.get((family, operation))
        self._like = codec_of(dialect) if dialect else None

    def write_call(self, call: Call, member: Member, edits: Sequence[Edit]) -> Outgoing:
        """The body with its edits, as JSON."""
        body = pointer.apply({**(call.body or {}), "model": member.model}, edits)
        return Outgoing(call.method, call.path, (), orjson.dumps(body, default=str))

    def cap(self, call: Call, name: str, maximum: float) -> tuple[Edit, ...]:
        """Lower the parameter, or set it where there is none. Raises CannotCarry."""
        if self._like is not None:
            self._like.cap(replace(call, body={}), name, maximum)
        value = call.params.get(name, maximum)
        return (Edit(f"/{name}", min(cast("float", value), maximum)),)

    def set(self, call: Call, name: str, value: object) -> tuple[Edit, ...]:
        """Put the parameter. Raises CannotCarry."""
        if self._like is not None:
            self._like.set(replace(call, body={}), name, value)
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
    told_of = made.source
    source = Source(told_of.ip, told_of.loopback, told_of.namespace, told_of.pod)
    if made.dialect:
        codec = codec_of(made.dialect)
        return replace(read(codec, made, name), source=source), codec
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
    return told, cast("Codec", Plain(_family(snapshot, told.target), told.operation))


def codec_of(dialect: str) -> Codec:
    """The codec of a dialect. Raises MalformedCall."""
    codec = next((endpoint.codec for endpoint in wire.ENDPOINTS if endpoint.codec.name == dialect), None)
    if codec is None:
        raise MalformedCall(f"no dialect is called `{dialect}`")
    return codec


def read(codec: Codec, made: TestCall, name: str) -> Call:
    """Through the codec, as bytes. `target` and `stream` are put where the dialect has them. Raises CallError."""
    body = dict(made.body or {})
    path = PATHS.get(made.dialect, "/").format(model=made.target)
    parts = {"model": made.target, "method": METHODS.get(made.dialect, "")} | ({"id": made.target} if made.target else {})
    query: tuple[tuple[str, str], ...] = ()
    if made.dialect == "openai_models":
        return codec.read_call(name, WireRequest("GET", "/", (), (), b""), parts)
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
    known = proposal(made.target)
    if made.tool is None:
        return replace(known, args=made.args)
    return Tool(known.name, made.tool.server or known.server, made.tool.kind, made.args)


def proposal(target: str) -> Tool:
    """A tool by its name alone, `server/name` or bare: its arguments are not known."""
    server, slash, name = target.rpartition("/")
    return Tool(name, server if slash else "")


class Facts:
    """Answers needs from data: what the store says of a Quota, and whose an id is. Granted and own, unless told."""

    def __init__(self, told: TestFacts, owner: Principal, members: Sequence[Member] = ()) -> None:
        self._told = told
        self._owner = owner
        self._members = members

    def answer(self, need: Need) -> object:
        """The answer to one need."""
        if isinstance(need, Verify):
            return Unauthenticated("nobody was presented")
        if isinstance(need, Reserve):
            return self._reserve(need)
        return self._own(need.id)

    def _own(self, id: str) -> object:
        whose = self._told.owners.get(id, "own")
        if whose == "unavailable":
            return Unavailable("owner store")
        if whose == "unknown":
            return None
        return Owned(self._owner.id if whose == "own" else "", self._members[0].upstream if self._members else "")

    def _reserve(self, need: Reserve) -> object:
        for item in need.items:
            told = self._told.quota.get(item.rule, "granted")
            if told == "unavailable":
                return Unavailable("quota store")
            if told == "exhausted" or self._used(item) + item.amount > item.limit:
                return Exhausted(Level(item.counter, item.metric, item.limit, 0.0, 1.0, 60.0, item.rule), 1.0)
        return Reserved("", ())

    def _used(self, item: Reservation) -> float:
        """What is used of this limit: told for its window (`requests/1m`), or for its metric, or nothing."""
        used = self._told.used.get(item.rule, {})
        told = [amount for name, amount in used.items() if "/" in name and _is_window(name, item)]
        return float(told[0] if told else used.get(item.metric, 0.0))


def _is_window(name: str, item: Reservation) -> bool:
    metric, _, per = name.partition("/")
    window = item.window.partition(":")[0] if isinstance(item.window, str) else item.window
    return metric == item.metric and window in (per, seconds_of(per))


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


def decide(snapshot: Snapshot, asked: Call, codec: Codec, who: Principal, *, told: TestFacts, now: float) -> Decision:
    """One call down the ladder."""
    resolved = snapshot.resolve(asked, codec.family)
    facts = Facts(told, who, resolved.members)
    return drive(ladder.decide(snapshot, resolved, (), codec=codec, now=now, decision_id=asked.id, principal=who), facts)
