"""`GET /v1/models` and `/v1/models/{id}`: answered by the sidecar itself, with what this caller may use.

OpenAI and Anthropic share the path; a caller that sends `anthropic-version` gets Anthropic's shape. The bytes never go upstream.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NoReturn

import orjson

from sidecar.call import Call, Member
from sidecar.errors import CannotCarry
from sidecar.wire import fields, openai_errors
from sidecar.wire.base import Answer, ReplyView, WireRequest
from sidecar.wire.openai_common import refuse_stream

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sidecar.decision import Refusal
    from sidecar.segment import Edit

_MARK = "anthropic-version"
_ALLOWED = {_MARK: re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")}


class Models:
    """The codec. See `wire.base.Codec`; its calls are never sent."""

    name = "openai_models"
    family = "openai"
    operation = "models"

    def read_call(self, call_id: str, request: WireRequest, parts: Mapping[str, str]) -> Call:
        """A call without a body; its target is the model of the path, or "" for the list."""
        return Call(
            id=call_id,
            protocol="llm",
            operation=self.operation,
            dialect=self.name,
            target=fields.target(parts["id"], "path") if "id" in parts else "",
            method=request.method,
            path=request.path,
            headers=fields.carried(request.headers, _ALLOWED),
        )

    def write_call(self, call: Call, member: Member, edits: Sequence[Edit]) -> NoReturn:
        """The list is ours: nothing is sent."""
        raise CannotCarry("the list of models is answered by the sidecar")

    def cap(self, call: Call, name: str, maximum: float) -> tuple[Edit, ...]:
        """There is no number in a list of models, so every cap holds."""
        return ()

    def set(self, call: Call, name: str, value: object) -> NoReturn:
        """There is nothing to set."""
        raise CannotCarry(f"`{self.name}` can't set `{name}`")

    def read_reply(self, call: Call, body: bytes) -> ReplyView:
        """There is no upstream reply; an empty view."""
        return ReplyView({})

    def write_reply(self, view: ReplyView, denied: Mapping[int, str]) -> bytes:
        """The view's bytes."""
        return orjson.dumps(view.body)

    def screen(self, call: Call, *, cap: int, event_limit: int) -> NoReturn:
        """A list doesn't stream."""
        refuse_stream()

    def refuse(self, refusal: Refusal, request_id: str) -> Answer:
        """A no in the OpenAI shape."""
        return openai_errors.refuse(refusal, request_id)


def family_of(call: Call) -> str:
    """Whose shape this caller reads."""
    return "anthropic" if any(name == _MARK for name, _ in call.headers) else "openai"


def listing(models: Sequence[str], family: str = "openai", created: float = 0) -> bytes:
    """The list's body. `created` is Unix seconds, the same for all: a configuration knows no model's birthday."""
    if family == "anthropic":
        ends = {"first_id": models[0] if models else None, "last_id": models[-1] if models else None}
        return orjson.dumps({"data": [_anthropic(model, created) for model in models], "has_more": False, **ends})
    return orjson.dumps({"object": "list", "data": [_openai(model, created) for model in models]})


def entry(model: str, family: str = "openai", created: float = 0) -> bytes:
    """One model's body (`/v1/models/{id}`)."""
    return orjson.dumps(_anthropic(model, created) if family == "anthropic" else _openai(model, created))


def _openai(model: str, created: float) -> dict[str, Any]:
    return {"id": model, "object": "model", "created": int(created), "owned_by": "sidecar"}


def _anthropic(model: str, created: float) -> dict[str, Any]:
    born = datetime.fromtimestamp(int(created), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"type": "model", "id": model, "display_name": model, "created_at": born}


CODEC = Models()
