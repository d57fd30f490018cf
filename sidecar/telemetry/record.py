"""A decision as one JSON line, and back. Its counterparts are `chain.py` (links lines) and `recorder.py` (writes them).

Content-free by construction: names, counts, rules and times go in; no segment, argument, message or credential is ever
looked at here. What `records.inputs` adds comes whole from `kept.py`. `SCHEMA` counts up when a field changes its meaning; a line of
another version is refused, not guessed. A field that is new is left out where it says nothing, and its absence means what it always meant.

The parts that stay the same from call to call (principals, reasons, member sets) are rendered once and kept as fragments.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import orjson

from sidecar.decision import NONE
from sidecar.errors import BadRecord
from sidecar.principal import EMPTY

if TYPE_CHECKING:
    from sidecar.call import Call, Member
    from sidecar.decision import Decision, Obligations, Reason, Refusal
    from sidecar.principal import Principal

SCHEMA = 1
"""The version in `v` of every line."""
NAME_LIMIT = 256
"""Characters kept of a name that the caller chose (an asked model, a tool)."""
KEPT = 4096
"""Fragments kept per kind; the set is emptied when it is full."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One decision line, read back. Times are Unix seconds, `timings` nanoseconds by stage.

    `call` holds protocol, operation, dialect, target, members (`upstream/model`), stream, tokens, bytes, source; for proposed tool
    calls tool, server and asked (the model); where there are any, tools (that the provider runs), refs (kinds of ids), max_output and choices.
    `phase` is "" for a request or a tool call, `response` for a reply, `head` for the head of a streamed one. `inputs` is what
    `records.inputs` keeps: `values` by path, `absent` and `left` paths (facts), or `sealed` and `key`; None for `tuple`.
    `about` is, of a proposal and of a reply, the id of the decision on the call that was answered.
    `chain`, `seq` and `prev` place the line in its chain; empty where it was never linked.
    """

    id: str
    now: float
    effect: str
    snapshot: str = ""
    mode: str = "enforce"
    trace: str = ""
    request: str = ""
    principal: Mapping[str, Any] | None = None
    call: Mapping[str, Any] = field(default=EMPTY)
    by: tuple[str, ...] = ()
    reasons: tuple[Mapping[str, Any], ...] = ()
    would: tuple[Mapping[str, Any], ...] = ()
    obligations: Mapping[str, Any] = field(default=EMPTY)
    refusal: Mapping[str, Any] | None = None
    audited: bool = False
    facts: Mapping[str, Any] = field(default=EMPTY)
    timings: Mapping[str, int] = field(default=EMPTY)
    phase: str = ""
    about: str = ""
    inputs: Mapping[str, Any] | None = None
    chain: str = ""
    seq: int = -1
    prev: str = ""


class Memo(Generic[T]):
    """Rendered pieces by the identity of what they show. Keeping the value alive keeps its identity from being given to another."""

    __slots__ = ("_alive", "_pieces", "_render")

    def __init__(self, render: Callable[[T], object]) -> None:
        self._render = render
        self._pieces: dict[int, orjson.Fragment] = {}
        self._alive: list[T] = []

    def of(self, value: T) -> orjson.Fragment:
        """The JSON of `value`, rendered at most once while it is kept."""
        piece = self._pieces.get(id(value))
        return piece if piece is not None else self._keep(value)

    def all(self, values: Sequence[T]) -> list[orjson.Fragment]:
        """The same for several, without a call for each that is kept."""
        pieces = self._pieces
        try:
            return [pieces[id(value)] for value in values]
        except KeyError:
            return [self.of(value) for value in values]

    def _keep(self, value: T) -> orjson.Fragment:
        if len(self._alive) >= KEPT:
            self._pieces.clear()
            self._alive.clear()
        piece = self._pieces[id(value)] = orjson.Fragment(_dumps(self._render(value)))
        self._alive.append(value)
        return piece


class Writer:
    """Makes lines. One per process; holds nothing but rendered pieces."""

    def __init__(self) -> None:
        self._principals: Memo[Principal] = Memo(_principal)
        self._reasons: Memo[Reason] = Memo(_reason)
        self._members: Memo[tuple[Member, ...]] = Memo(_members)

    def line(
        self,
        decision: Decision,
        *,
        snapshot: str = "",
        request: str = "",
        mode: str = "enforce",
        phase: str = "",
        about: str = "",
        inputs: Mapping[str, Any] | None = None,
    ) -> bytes:
        """One JSON object without a line end. `snapshot` is the digest decided under, `request` the id the caller sees."""
        call, principal, reasons = decision.call, decision.principal, self._reasons.all
        shown: dict[str, object] = {
            "v": SCHEMA,
            "type": "decision",
            "id": decision.id,
            "now": decision.now,
            "effect": decision.effect,
            "by": decision.by,
            "mode": mode,
            "audited": decision.audited,
            "snapshot": snapshot,
            "trace": call.trace[0] if call.trace else "",
            "request": request,
            "principal": self._principals.of(principal) if principal is not None else None,
            "call": _call(call, self._members.of(call.members) if call.members else ()),
            "reasons": reasons(decision.reasons),
            "would": reasons(decision.would) if decision.would else (),
            "obligations": EMPTY if decision.obligations is NONE else _obligations(decision.obligations),
            "refusal": _refusal(decision.refusal) if decision.refusal is not None else None,
            "facts": decision.facts,
            "timings": dict(decision.timings),
        }
        return _dumps(_more(shown, phase, about, inputs))


def _more(shown: dict[str, object], phase: str, about: str, inputs: Mapping[str, Any] | None) -> dict[str, object]:
    """The fields that are there only where they say something."""
    if phase:
        shown["phase"] = phase
    if about:
        shown["about"] = about
    if inputs is not None:
        shown["inputs"] = inputs
    return shown


def _principal(who: Principal) -> object:
    return {"id": who.id, "kind": who.kind, "team": who.team, "groups": who.groups, "actors": who.actors}


def _members(members: tuple[Member, ...]) -> object:
    return [member.name for member in members]


def _reason(reason: Reason) -> object:
    """The rule's part; the author's message is in the document at `where` and is not repeated."""
    shown = {"rule": reason.rule, "kind": reason.kind, "effect": reason.effect, "result": reason.result, "where": reason.where}
    if reason.layer:
        shown["layer"] = reason.layer
    if reason.lifted:
        shown["lifted"] = reason.lifted
    return shown


def _call(call: Call, members: object) -> object:
    shown: dict[str, object] = {
        "protocol": call.protocol,
        "operation": call.operation,
        "dialect": call.dialect,
        "target": call.target[:NAME_LIMIT],
        "members": members,
        "stream": call.stream,
        "tokens": call.tokens,
        "bytes": call.bytes,
        "source": call.source.ip,
    }
    if call.tool is not None:
        shown["tool"] = call.tool.target[:NAME_LIMIT]
        if call.tool.server:
            shown["server"] = call.tool.server[:NAME_LIMIT]
        shown["asked"] = call.asked[:NAME_LIMIT]
    if call.tools:
        shown["tools"] = [tool.target[:NAME_LIMIT] for tool in call.tools]
    if call.refs:
        shown["refs"] = [kind for kind, _ in call.refs]
    if call.max_output is not None:
        shown["max_output"] = call.max_output
    if call.choices != 1:
        shown["choices"] = call.choices
    return shown


def _obligations(duty: Obligations) -> object:
    """Names and the documents' own figures; of `set` the names alone."""
    shown: dict[str, object] = {
        "route": dict(duty.route),
        "cap": dict(duty.cap),
        "set": [name for name, _ in duty.set],
        "redact": duty.redact,
        "label": duty.label,
        "warn": duty.warn,
        "allow_unscanned": duty.allow_unscanned,
    }
    return {name: value for name, value in shown.items() if value}


def _refusal(no: Refusal) -> object:
    return {"kind": no.kind, "code": no.code, "status": no.status, "rule": no.rule}


def _dumps(value: object) -> bytes:
    """JSON bytes. What orjson cannot write (an integer past 64 bits in a document) is written as its text, never lost."""
    try:
        return orjson.dumps(value, default=_plain)
    except TypeError:
        return orjson.dumps(_tame(value), default=_plain)


def _plain(value: object) -> object:
    """For orjson: sets in order, mappings as objects, exotic values as the name of their type (never their content)."""
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, (set, frozenset)):
        return sorted(value, key=str)
    return type(value).__name__


def _tame(value: object) -> object:
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        return str(value)
    if isinstance(value, Mapping):
        return {_key(key): _tame(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_tame(item) for item in value]
    return value


def _key(key: object) -> str:
    return str(key).encode("utf-8", "backslashreplace").decode()


# ---------------------------------------------------------------- reading

FIELDS = tuple(item.name for item in fields(Record))
TUPLES = ("by", "reasons", "would")


def parse(data: bytes) -> Mapping[str, Any]:
    """The JSON object of any line of a record file. Raises BadRecord: no JSON object, or a version that is not known."""
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise BadRecord("this line is no JSON") from error
    if not isinstance(value, dict):
        raise BadRecord("this line is no JSON object")
    if value.get("v") != SCHEMA:
        raise BadRecord(f"schema version {value.get('v')!r:.20} is not known to this release, which reads {SCHEMA}")
    return value


def read(data: bytes) -> Record:
    """One decision line. Raises BadRecord, also for lines of another type (`chain.read_checkpoint` reads those)."""
    return of(parse(data))


def of(value: Mapping[str, Any]) -> Record:
    """The decision in a parsed line. Raises BadRecord."""
    if value.get("type") != "decision":
        raise BadRecord(f"this line is a {value.get('type')!r:.20}, not a decision")
    try:
        known: dict[str, Any] = {name: tuple(value[name]) if name in TUPLES else value[name] for name in FIELDS if name in value}
        return Record(**known)
    except TypeError as error:
        raise BadRecord("this decision lacks its id, time or effect, or a list in it is none") from error


def write(record: Record) -> bytes:
    """The line of a record that was read, byte for byte as `Writer.line` and `chain.Chain.link` made it (without line end)."""
    shown: dict[str, object] = {"v": SCHEMA, "type": "decision"}
    order = ("id", "now", "effect", "by", "mode", "audited", "snapshot", "trace", "request", "principal", "call", "reasons", "would")
    for name in (*order, "obligations", "refusal", "facts", "timings"):
        shown[name] = getattr(record, name)
    _more(shown, record.phase, record.about, record.inputs)
    if record.chain:
        shown |= {"chain": record.chain, "seq": record.seq, "prev": record.prev}
    return _dumps(shown)
