"""What the OpenAI endpoints share: headers that may travel, how bytes are written for a member, how parameters are capped and set.

Each endpoint's own file has its tables and its reading. Knows nothing of messages, items or streams.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from sidecar.call import Call, Member, Outgoing, Tool, Usage
from sidecar.errors import CannotCarry, MalformedCall, UpstreamGarbage
from sidecar.principal import EMPTY
from sidecar.segment import Edit, Segment
from sidecar.wire import fields, jsonguard, openai_errors, paths, pointer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sidecar.decision import Refusal
    from sidecar.wire.base import Answer, WireRequest

HEADERS = {
    "openai-beta": re.compile(r"[a-z_]+=v[0-9]+(?:,[a-z_]+=v[0-9]+)*"),
    "idempotency-key": re.compile(r"[A-Za-z0-9_-]{1,255}"),
}
"""Header name to the values that may travel. Organisation and project are the credential's, not the caller's."""

_LABEL = re.compile(r"[A-Za-z0-9_.:|/@=+-]{0,256}")
_LONG = 64
_CHOSEN = frozenset({"reasoning_effort", "verbosity", "service_tier", "tool_choice", "truncation", "encoding_format", "prompt_cache_retention"})
"""Parameters whose texts come from the dialect's own short lists; all other texts are the caller's."""


class OpenAICodec:
    """The half of `wire.base.Codec` that is the same for every OpenAI endpoint with a JSON body."""

    name = ""
    family = "openai"
    operation = "chat"

    path = ""
    """Under the upstream's URL, which holds the version prefix."""
    params: ClassVar[Mapping[str, str]] = EMPTY
    """Wire name of a top-level scalar to its canonical name (`call.params`)."""
    read: frozenset[str] = frozenset()
    """Top-level fields that the endpoint's own code makes segments of."""
    known: frozenset[str] = frozenset()
    """Further fields of the dialect: objects in them are segments of origin `input`."""
    settable: frozenset[str] = frozenset()
    """Canonical names that `set` may write under their own name."""
    defaults: ClassVar[Mapping[str, float]] = EMPTY
    """What the provider takes for an absent number: a cap above it needs no edit. Also the list of what may be capped."""
    limits: tuple[str, ...] = ()
    """The wire's spellings of `max_tokens`; the last is the one that is added where none stands."""

    def write_call(self, call: Call, member: Member, edits: Sequence[Edit]) -> Outgoing:
        """The exact bytes for one member. Raises CannotCarry where an edit has no place."""
        body = dict(pointer.apply(call.body, edits) or {})
        body["model"] = member.model
        accept = "text/event-stream" if call.stream else "application/json"
        headers = (("content-type", "application/json"), ("accept", accept), *call.headers)
        path = paths.with_query(self.path, call.query) if call.query else self.path
        return Outgoing("POST", path, headers, jsonguard.dump(body))

    def cap(self, call: Call, name: str, maximum: float) -> tuple[Edit, ...]:
        """Hold a number down. Raises CannotCarry for what this endpoint has no number of that name for."""
        body = call.body or {}
        if name == "max_tokens" and self.limits:
            return self._cap_output(body, maximum)
        if name not in self.defaults:
            raise CannotCarry(f"`{self.name}` has no number `{name}`")
        value = body.get(name)
        if fields.number(self.defaults[name] if value is None else value, name) <= maximum:
            return ()
        return (Edit(f"/{name}", fields.whole(maximum)),)

    def set(self, call: Call, name: str, value: object) -> tuple[Edit, ...]:
        """Write a parameter. Raises CannotCarry for what may not be set here (the stream flag, messages, the model)."""
        if name == "max_tokens" and self.limits:
            there = [field for field in self.limits if (call.body or {}).get(field) is not None]
            return tuple(Edit(f"/{field}", value) for field in there or self.limits[-1:])
        if name not in self.settable:
            raise CannotCarry(f"`{self.name}` can't set `{name}`")
        return (Edit(f"/{name}", value),)

    def refuse(self, refusal: Refusal, request_id: str) -> Answer:
        """A no in the OpenAI shape."""
        return openai_errors.refuse(refusal, request_id)

    def _cap_output(self, body: Mapping[str, Any], maximum: float) -> tuple[Edit, ...]:
        there = [field for field in self.limits if body.get(field) is not None]
        high = fields.whole(maximum)
        if not there:
            return (Edit(f"/{self.limits[-1]}", high),)
        return tuple(Edit(f"/{field}", high) for field in there if fields.number(body[field], field) > maximum)

    def headers_of(self, request: WireRequest) -> tuple[tuple[str, str], ...]:
        """The request headers that may travel."""
        return fields.carried(request.headers, HEADERS)

    def read_rest(self, body: Mapping[str, Any], segments: list[Segment]) -> dict[str, object]:
        """Every field that is not in `read`: scalars become parameters, texts and structures become segments. Gives the parameters."""
        found: dict[str, object] = {}
        for name, value in body.items():
            if name in self.read or value is None:
                continue
            canonical = self.params.get(name)
            kind = type(value)
            if canonical is not None and kind is not dict:
                found[canonical] = value
                if kind is list or (kind is str and (canonical not in _CHOSEN or len(value) > _LONG)):
                    segments.append(Segment("/" + name, "", "input", fields.as_text(value)))
            elif canonical is not None or name in self.known:
                segments.append(Segment("/" + name, "", "input", fields.as_text(value)))
            else:
                segments.append(Segment("/" + pointer.escape(name), "", "unknown", fields.as_text(value)))
        return found


def label(segments: list[Segment], at: str, value: Any) -> str:
    """An id or a name that is echoed: no text when it looks like one, else a segment like any unknown field."""
    if value is None:
        return ""
    name = fields.text(value, at)
    if not _LABEL.fullmatch(name):
        segments.append(Segment(at, "", "unknown", name))
    return name


def canonical_arguments(holder: dict[str, Any], field: str, at: str) -> str:
    """Tool-call arguments in a history: JSON carried in a string, written back canonically into the freshly parsed body."""
    value = holder.get(field)
    if value is None:
        return ""
    holder[field] = written = jsonguard.canonical(fields.text(value, at))
    return written


def arguments(text: Any) -> dict[str, Any] | None:
    """A proposal's arguments; None where they are no JSON object with one reading. Models write "" for no arguments."""
    if text == "":
        return {}
    try:
        value = jsonguard.parse(text.encode()) if type(text) is str else None
    except (MalformedCall, UnicodeEncodeError):
        return None
    return value if type(value) is dict else None


def usage_of(value: Any, input: str = "prompt_tokens", output: str = "completion_tokens") -> Usage | None:
    """The provider's own count; None where it told none or not in whole numbers."""
    if type(value) is not dict:
        return None
    into, out = value.get(input), value.get(output, 0)
    if type(into) is not int or type(out) is not int:
        return None
    return Usage(into, out)


def objects(value: Any, what: str) -> list[dict[str, Any]]:
    """A reply's array of objects; an absent one is empty. Raises UpstreamGarbage."""
    if value is None:
        return []
    if type(value) is not list or (value and set(map(type, value)) != {dict}):
        raise UpstreamGarbage(f"the reply's `{what}` is no array of objects")
    return value


def function_tool(name: Any, text: Any, call_id: Any) -> Tool:
    """A proposal of a function call."""
    return Tool(_name(name), args=arguments(text), call_id=_name(call_id))


def custom_tool(name: Any, text: Any, call_id: Any) -> Tool:
    """A proposal of a custom tool: its input is free text, seen by conditions as `args.input`."""
    return Tool(_name(name), kind="custom", args={"input": text} if type(text) is str else None, call_id=_name(call_id))


def _name(value: Any) -> str:
    return value if type(value) is str else ""


def refuse_stream() -> NoReturn:
    """For endpoints that have no streams: an upstream that streams there speaks something else."""
    raise UpstreamGarbage("this endpoint has no streams")
