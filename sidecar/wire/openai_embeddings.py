"""OpenAI embeddings: `POST /v1/embeddings`. Texts in, numbers out: a reply has nothing to screen, only usage."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, NoReturn

import orjson

from sidecar.call import Call
from sidecar.errors import UpstreamGarbage
from sidecar.wire import fields
from sidecar.wire.base import ReplyView, WireRequest
from sidecar.wire.openai_common import OpenAICodec, refuse_stream, usage_of
from sidecar.wire.openai_completions import read_texts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sidecar.segment import Segment


class Embeddings(OpenAICodec):
    """The codec. See `wire.base.Codec`."""

    name = "openai_embeddings"
    operation = "embeddings"
    path = "/embeddings"
    params: ClassVar[Mapping[str, str]] = {"dimensions": "dimensions", "encoding_format": "encoding_format", "user": "user"}
    read = frozenset({"model", "input"})
    settable = frozenset({"dimensions", "user"})

    def read_call(self, call_id: str, request: WireRequest, parts: Mapping[str, str]) -> Call:
        """Bytes to `Call`. Raises MalformedCall, WrongMediaType."""
        body = fields.body_of(request)
        target = fields.target(body.get("model"))
        segments: list[Segment] = []
        inputs, counted = read_texts(segments, body.get("input"), "/input")
        params = self.read_rest(body, segments)
        return Call(
            id=call_id,
            protocol="llm",
            operation=self.operation,
            dialect=self.name,
            target=target,
            path=request.path,
            body=body,
            segments=tuple(segments),
            params=params,
            tokens=fields.estimate((segment for segment in segments if segment.origin != "media"), inputs) + counted,
            max_output=0,
            bytes=len(request.body),
            headers=self.headers_of(request),
        )

    def read_reply(self, call: Call, body: bytes) -> ReplyView:
        """A whole 2xx reply. The guard is left out: megabytes of numbers, and nothing in them is judged. Raises UpstreamGarbage."""
        try:
            view = orjson.loads(body)
        except orjson.JSONDecodeError:
            raise UpstreamGarbage("the reply is not JSON") from None
        if type(view) is not dict:
            raise UpstreamGarbage("the reply must be a JSON object")
        return ReplyView(view, usage=usage_of(view.get("usage")), model=str(view.get("model") or ""))

    def write_reply(self, view: ReplyView, denied: Mapping[int, str]) -> bytes:
        """The reply's bytes; there are no proposals to deny."""
        return orjson.dumps(view.body)

    def screen(self, call: Call, *, cap: int, event_limit: int) -> NoReturn:
        """Embeddings don't stream: a stream that comes anyway is garbage."""
        refuse_stream()


CODEC = Embeddings()
