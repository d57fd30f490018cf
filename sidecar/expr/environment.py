"""What the conditions of documents see (DOCUMENTS.md «What a condition sees»), as declarations by phase.

Its counterpart is what builds the bindings for a call: mappings of exactly these shapes. An optional field that does not apply
is left out or None; a field whose value is not known yet is `UNKNOWN`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sidecar.expr.declarations import Declarations
from sidecar.expr.types import BOOL, DOUBLE, DYN, INT, STRING, TIMESTAMP, Field, Record, Type, list_of, map_of

if TYPE_CHECKING:
    from collections.abc import Mapping

REQUEST: Final = "request"
RESPONSE: Final = "response"

_WORDS: Final = list_of(STRING)
_ANYTHING: Final = map_of(STRING, DYN)


def _record(name: str, fields: Mapping[str, Type], optional: Mapping[str, Type] | None = None) -> Record:
    present = {key: Field(found) for key, found in fields.items()}
    return Record(name, present | {key: Field(found, optional=True) for key, found in (optional or {}).items()})


TOOL: Final = _record(
    "tool",
    {
        "name": STRING, "server": STRING, "title": STRING, "kind": STRING, "labels": _WORDS,
        "read_only": BOOL, "destructive": BOOL, "idempotent": BOOL, "open_world": BOOL,
    },
)  # fmt: skip
CALL: Final = _record(
    "call",
    {
        "id": STRING, "protocol": STRING, "operation": STRING, "dialect": STRING, "target": STRING, "model": STRING,
        "requested_model": STRING, "upstreams": _WORDS, "stream": BOOL, "tokens": INT, "bytes": INT, "params": _ANYTHING,
    },
    {"args": _ANYTHING, "tool": TOOL, "agent": STRING, "task": STRING, "server": STRING, "session": STRING},
)  # fmt: skip
SOURCE: Final = _record("source", {"ip": STRING, "namespace": STRING, "pod": STRING, "loopback": BOOL})
SESSION: Final = _record("session", {"id": STRING, "labels": _WORDS, "calls": INT, "tools": _WORDS, "cost_usd": DOUBLE})
REPLY: Final = _record("reply", {"status": INT, "tokens": INT, "finish": STRING, "tool_calls": _WORDS})


def _principal(claims: Mapping[str, Type] | None) -> Record:
    # declared claims are typed and never absent (DOCUMENTS.md, Identity): credentials/ fills in the defaults
    fields = {"id": STRING, "kind": STRING, "team": STRING, "groups": _WORDS, "roles": _WORDS, "actors": _WORDS}
    return _record("principal", fields | {"claims": _ANYTHING if claims is None else _record("claims", claims)})


PROPOSAL: Final = Record("call", {name: Field(field.type, optional=field.optional and name not in {"args", "tool"}) for name, field in CALL.fields.items()})
"""`call` where a document is about tool calls alone: they always have a tool, and arguments (unreadable ones are an error when read)."""


def _common(claims: Mapping[str, Type] | None, variables: Mapping[str, Type], call: Record = CALL) -> dict[str, Type]:
    return {
        "call": call,
        "principal": _principal(claims),
        "source": SOURCE,
        "session": SESSION,
        "now": TIMESTAMP,
        "variables": _record("variables", variables),
    }


def request_declarations(claims: Mapping[str, Type] | None, variables: Mapping[str, Type], *, proposals: bool = False) -> Declarations:
    """What a condition of phase `request` sees. `proposals`: the document matches `tool_call` alone, so `call.args` and `call.tool` are always there.

    `claims`: the declared claims by name, never absent (None: nobody knows which there are); `variables`: the document's own, typed by the programs that make
    them (`Program.type`).
    """
    return Declarations(_common(claims, variables, PROPOSAL if proposals else CALL), REQUEST, {"reply": RESPONSE}, uniform=True)


def response_declarations(claims: Mapping[str, Type] | None, variables: Mapping[str, Type]) -> Declarations:
    """What a condition of phase `response` sees: all that a request shows, and the reply."""
    return Declarations(_common(claims, variables) | {"reply": REPLY}, RESPONSE, uniform=True)
