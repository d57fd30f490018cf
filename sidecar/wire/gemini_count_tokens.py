"""`POST /v1beta/models/{model}:countTokens` of the Gemini API: contents, or a whole `generateContentRequest`; the answer is a number."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sidecar.call import Call, Member, Outgoing, Usage
from sidecar.errors import CannotCarry, UpstreamGarbage
from sidecar.wire import fields, jsonguard
from sidecar.wire.base import ReplyView
from sidecar.wire.gemini_generate import GeminiGenerate, path_of, read

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sidecar.segment import Edit
    from sidecar.wire.gathered import Found

_INNER = "generateContentRequest"


class GeminiCountTokens(GeminiGenerate):
    """The codec. Counting generates nothing: its true usage is zero, and there is nothing to cap or set."""

    name = "gemini_count_tokens"
    operation = "count_tokens"

    def read_body(self, found: Found, body: dict[str, Any], target: str) -> int:
        """All texts of both forms; the number of contents."""
        turns = read(found, {name: value for name, value in body.items() if name != _INNER}, target, "")
        if body.get(_INNER) is not None:
            turns += read(found, fields.mapping(body[_INNER], f"/{_INNER}"), target, f"/{_INNER}")
        return turns

    def outgoing(self, _call: Call, member: Member, body: dict[str, Any]) -> Outgoing:
        """The inner request names its model, so it is put there too."""
        if body.get(_INNER) is not None:
            body[_INNER] = {**body[_INNER], "model": f"models/{member.model}"}
        headers = (("content-type", "application/json"), ("accept", "application/json"))
        return Outgoing("POST", f"{path_of(member.model)}:countTokens", headers, jsonguard.dump(body))

    def cap(self, _call: Call, _name: str, _maximum: float) -> tuple[Edit, ...]:
        """Nothing is generated, so every bound on it holds."""
        return ()

    def set(self, _call: Call, name: str, _value: object) -> tuple[Edit, ...]:
        """Raises CannotCarry: counting takes no parameter."""
        raise CannotCarry(f"`{name}` has no place in counting")

    def read_reply(self, call: Call, body: bytes) -> ReplyView:
        """A whole 2xx reply. Raises UpstreamGarbage."""
        value = jsonguard.parse_object(body, UpstreamGarbage)
        if type(value.get("totalTokens", 0)) is not int:
            raise UpstreamGarbage("the reply holds no count")
        return ReplyView(value, usage=Usage(), model=call.target)

    def write_reply(self, view: ReplyView, _denied: Mapping[int, str]) -> bytes:
        """The reply again: nothing is proposed in it."""
        return jsonguard.dump(view.body)


CODEC = GeminiCountTokens()
