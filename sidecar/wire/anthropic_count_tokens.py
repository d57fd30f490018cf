"""`POST /v1/messages/count_tokens` of the Anthropic API: the body of `anthropic_messages`, an answer that is a number."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sidecar.call import Call, Usage
from sidecar.errors import UpstreamGarbage
from sidecar.wire import jsonguard
from sidecar.wire.anthropic_messages import AnthropicMessages
from sidecar.wire.base import ReplyView

if TYPE_CHECKING:
    from collections.abc import Mapping


class AnthropicCountTokens(AnthropicMessages):
    """The codec. Counting generates nothing: its true usage is zero, and it never streams."""

    name = "anthropic_count_tokens"
    operation = "count_tokens"
    path = "/messages/count_tokens"

    def streams(self, _body: Mapping[str, Any]) -> bool:
        """Never."""
        return False

    def read_reply(self, call: Call, body: bytes) -> ReplyView:
        """A whole 2xx reply. Raises UpstreamGarbage."""
        value = jsonguard.parse_object(body, UpstreamGarbage)
        if type(value.get("input_tokens")) is not int:
            raise UpstreamGarbage("the reply holds no count")
        return ReplyView(value, usage=Usage(), model=call.target)

    def write_reply(self, view: ReplyView, _denied: Mapping[int, str]) -> bytes:
        """The reply again: nothing is proposed in it."""
        return jsonguard.dump(view.body)


CODEC = AnthropicCountTokens()
