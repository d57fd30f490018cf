"""A recorded decision, made ready to be decided again: the call, the caller, the reply, the rim's answers, and what was not kept.

A value that was not kept is UNKNOWN, the third value; it is never absent. Whatever reads a mapping of which a part was not kept
reads UNKNOWN, except at the keys that were kept or recorded as absent. Counterparts: `evaluate/inputs.py`, which says what is
kept, and `replay.py`, which decides. It knows no configuration: names are resolved by who decides.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn, cast

import orjson

from sidecar.call import Call, Tool
from sidecar.errors import BadRecord
from sidecar.evaluate.reply import ReplyFacts
from sidecar.expr import UNKNOWN
from sidecar.expr.values import UnknownReached
from sidecar.principal import EMPTY, Principal, Source
from sidecar.telemetry.record import NAME_LIMIT
from sidecar.workbench.compare import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sidecar.telemetry.record import Record
    from sidecar.telemetry.sealing import Opener

REMEMBERED = 4096
"""Callers kept, so that the same one is the same object."""
OWNED = frozenset({"unknown", "foreign", "unavailable"})
"""What the rim says of an id that a call names, where that is the end of it."""
FAMILIES = ("openai", "anthropic", "gemini")


class Partial(dict[str, Any]):
    """A mapping of which some keys were kept. `absent` are known not to be there; all others are not known."""

    __slots__ = ("absent",)

    def __init__(self) -> None:
        super().__init__()
        self.absent: set[str] = set()

    def __missing__(self, key: str) -> Any:
        if key in self.absent:
            raise KeyError(key)
        return UNKNOWN

    def get(self, key: str, default: Any = None) -> Any:
        """As `[]`; the default only for what is known not to be there."""
        try:
            return self[key]
        except KeyError:
            return default

    def _whole(self, *_: object) -> NoReturn:
        raise UnknownReached("not all of it was kept")

    __contains__ = __iter__ = __len__ = keys = items = values = __eq__ = __ne__ = _whole
    __hash__ = None


@dataclass(frozen=True, slots=True)
class Kept:
    """The inputs of one decision. `values` by path; a path is known where it, or what stands above it, has a value or is absent."""

    values: Mapping[str, Any]
    absent: frozenset[str]

    def knows(self, path: str) -> bool:
        """Whether a condition that reads this gets what it got then."""
        values, absent = self.values, self.absent
        while True:
            if path in values or path in absent:
                return True
            path, dot, _ = path.rpartition(".")
            if not dot:
                return False

    def get(self, path: str, default: Any = UNKNOWN) -> Any:
        """The value at a path; a `Partial` where only parts of it were kept."""
        if path in self.values:
            return self.values[path]
        parts = self.mapping(path)
        return parts if dict.__len__(parts) or parts.absent else default

    def mapping(self, path: str) -> Any:
        """The same of what was a mapping, whatever of it was kept."""
        if path in self.values:
            return self.values[path]
        made, above = Partial(), path + "."
        for held, value in self.values.items():
            if held.startswith(above):
                node, name = _step(made, held[len(above) :])
                node[name] = value
        for gone in self.absent:
            if gone.startswith(above):
                node, name = _step(made, gone[len(above) :])
                node.absent.add(name)
        return made


def _step(node: Partial, path: str) -> tuple[Partial, str]:
    """The innermost mapping on the way, and the last name."""
    *above, name = path.split(".")
    for each in above:
        inner = dict.get(node, each)
        if type(inner) is not Partial:
            inner = node[each] = Partial()
        node = inner
    return node, name


@dataclass(frozen=True, slots=True, eq=False)
class Recorded:
    """One decision. `call` is as it came, without members; of a proposal or a reply it is the call that it answers.

    `phase`: request | tool_call | response | head. `members` are the recorded ones, `upstream/model`. `settled`: refused before any
    policy, which no configuration changes. `answer` is what came out.
    """

    id: str
    now: float
    snapshot: str
    phase: str
    call: Call
    family: str
    principal: Principal | None
    kept: Kept
    tool: Tool | None
    reply: ReplyFacts | None
    facts: Mapping[str, Any]
    members: tuple[str, ...]
    answer: Outcome
    settled: bool
    has_body: bool
    """Whether the body itself was kept (sealed)."""
    cut: bool
    """A name was longer than records hold."""


class Reader:
    """Makes records ready. `opener` opens sealed inputs; without the right key they are not known. `unopened` counts those."""

    def __init__(self, opener: Opener | None = None) -> None:
        self._opener = opener
        self._people: dict[object, Principal] = {}
        self.unopened = 0

    def read(self, record: Record) -> Recorded:
        """Raises BadRecord: a field that is needed is missing or of another shape, or sealed inputs that were changed."""
        try:
            check(record)
            return self._read(record)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise BadRecord("this decision lacks a field that is needed to decide it again") from error

    def _read(self, record: Record) -> Recorded:
        told = record.call
        kept = self._kept(record)
        phase = record.phase or ("tool_call" if "tool" in told else "request")
        return Recorded(
            record.id,
            record.now,
            record.snapshot,
            phase,
            call_of(told, kept, phase),
            family_of(told["dialect"]),
            self._principal(record.principal, kept) if record.principal is not None else None,
            kept,
            tool_of(told["tool"], told.get("server", ""), kept.get("call.args"), kept.get("call.tool.kind")) if phase == "tool_call" else None,
            reply_of(kept) if phase in {"response", "head"} else None,
            record.facts,
            tuple(told["members"]),
            answered(record),
            record.principal is None or record.facts.get("owner") in OWNED or record.facts.get("identity") == "unavailable",
            "call.body" in kept.values,
            max(len(told["target"]), len(told.get("asked", "")), *map(len, told.get("tools", ())), 0) >= NAME_LIMIT,
        )

    def _kept(self, record: Record) -> Kept:
        inputs = record.inputs
        if inputs is None:
            return NOTHING
        if "sealed" in inputs:
            if self._opener is None or inputs["key"] != self._opener.key:
                self.unopened += 1
                return NOTHING
            inputs = orjson.loads(self._opener.open(inputs["sealed"], id=record.id, snapshot=record.snapshot))
        if not _shaped(inputs, "inputs"):
            raise BadRecord("the inputs of this decision are of another shape than they must have")
        return Kept(inputs["values"], frozenset(inputs["absent"]))

    def _principal(self, who: Mapping[str, Any], kept: Kept) -> Principal:
        """The same object for the same caller, claims included: what is remembered of people is remembered by it."""
        claims = [(path, repr(value)) for path, value in kept.values.items() if path.startswith("principal.")]
        gone = [path for path in kept.absent if path.startswith("principal.")]
        key = (who["id"], who["kind"], who["team"], tuple(who["groups"]), tuple(who["actors"]), tuple(claims), tuple(gone))
        known = self._people.get(key)
        if known is None:
            if len(self._people) >= REMEMBERED:
                self._people.clear()
            known = self._people[key] = principal_of(who, kept)
        return known


NUMBER = (int, float)
SHAPES: Mapping[str, Mapping[str, Any]] = {
    "record": {
        "id": str, "now": NUMBER, "effect": str, "snapshot": str, "phase": str, "call": dict, "audited": bool,
        "facts": Mapping, "obligations": Mapping, "by": (tuple, str), "reasons": (tuple, dict), "would": (tuple, dict),
    },
    "call": {
        "protocol": str, "operation": str, "dialect": str, "target": str, "source": str, "stream": bool, "tokens": int, "bytes": int,
        "members": (list, str),
    },
    "call?": {"tool": str, "server": str, "asked": str, "max_output": int, "choices": int, "tools": (list, str), "refs": (list, str)},
    "principal": {"id": str, "kind": str, "team": str, "groups": (list, str), "actors": (list, str)},
    "reason": {"rule": str, "where": str},
    "inputs": {"values": dict, "absent": (list, str)},
    "facts?": {"quota": str, "quotas": (list, str), "bill": dict, "owner": str, "identity": str},
}  # fmt: skip
"""What a record must be made of to be decided again; with `?` what it may. (list, str) is a list of texts."""


def check(record: Record) -> None:
    """Raises BadRecord. A record may come from anywhere, and the ladder trusts what it is given."""
    shown = {name: getattr(record, name) for name in SHAPES["record"]}
    good = _shaped(shown, "record") and _shaped(record.call, "call") and _shaped(record.call, "call?") and _shaped(record.facts, "facts?")
    good = good and (record.principal is None or (type(record.principal) is dict and _shaped(record.principal, "principal")))
    good = good and (not record.audited or all(_shaped(reason, "reason") for reason in record.would))
    good = good and all(type(most) in NUMBER or most is None for most in record.facts.get("bill", {}).values())
    good = good and all(type(owed) in {list, dict} for owed in record.obligations.values()) and record.phase in {"", "response", "head"}
    if not good or record.effect not in {"allow", "deny"}:
        raise BadRecord("a field of this decision is missing, or of another shape than it must have")


def _shaped(held: Mapping[str, Any], name: str) -> bool:
    """A plain loop: this is asked of every record."""
    missing = name.endswith("?")
    for field, shape in SHAPES[name].items():
        value = held.get(field)
        if type(value) is not shape and not (missing and field not in held) and not _is(value, shape):
            return False
    return True


def _is(value: Any, shape: Any) -> bool:
    if type(shape) is not tuple:
        return shape is Mapping and isinstance(value, Mapping)
    if shape is NUMBER:
        return type(value) in shape
    holder, item = shape
    return type(value) is holder and all(type(each) is item for each in value)


NOTHING = Kept(EMPTY, frozenset())


def principal_of(who: Mapping[str, Any], kept: Kept) -> Principal:
    """The caller, with the claims that were kept."""
    made = Principal.of(
        who["id"], who["kind"], team=who["team"], groups=tuple(who["groups"]), actors=tuple(who["actors"]), claims=kept.mapping("principal.claims")
    )
    return Principal(made.id, made.kind, made.team, made.groups, kept.get("principal.roles"), made.claims, made.actors, made.subjects)


def call_of(told: Mapping[str, Any], kept: Kept, phase: str) -> Call:
    """The call as its codec read it, as far as it was kept. A field that was not is UNKNOWN, against its type: only conditions read it."""
    proposed = phase == "tool_call"
    body = kept.values.get("call.body", {} if told["bytes"] else None)
    offered = [
        tool_of(name, "", kept.get(f"call.tools.{index}.args"), kept.get(f"call.tools.{index}.kind")) for index, name in enumerate(told.get("tools", ()))
    ]
    return Call(
        id=kept.get("call.id"),
        protocol=told["protocol"],
        operation="chat" if proposed else told["operation"],
        dialect=told["dialect"],
        target=told.get("asked", "") if proposed else told["target"],
        stream=told["stream"],
        body=body,
        params=kept.mapping("call.params"),
        tools=tuple(offered),
        refs=tuple((kind, str(index)) for index, kind in enumerate(told.get("refs", ()))),
        tokens=told["tokens"],
        max_output=told.get("max_output"),
        choices=told.get("choices", 1),
        bytes=told["bytes"],
        source=Source(told["source"], kept.get("source.loopback"), kept.get("source.namespace"), kept.get("source.pod")),
    )


def tool_of(target: str, server: str, args: Any, kind: Any) -> Tool:
    """A tool by the name it is told by, which starts with that of its server."""
    return Tool(target.removeprefix(f"{server}/") if server else target, server, kind, args)


def reply_of(kept: Kept) -> ReplyFacts:
    """What response rules read."""
    return ReplyFacts(*(kept.get(f"reply.{name}") for name in ReplyFacts._fields))


def family_of(dialect: str) -> str:
    """Whose dialect it is: `openai` of `openai_chat`."""
    return next((family for family in FAMILIES if dialect.startswith(family)), FAMILIES[0])


def answered(record: Record) -> Outcome:
    """What came out. A decision that Settings `mode: audit` let pass is the no that it would have been."""
    owed = {name: value for name, value in record.obligations.items() if value}
    if record.audited:
        return Outcome("deny", named(reason["rule"] for reason in record.would), owed)
    return Outcome(record.effect, record.by, owed)


def named(rules: Iterable[str]) -> tuple[str, ...]:
    """Each rule once, in order."""
    return cast("tuple[str, ...]", tuple(dict.fromkeys(rules)))
