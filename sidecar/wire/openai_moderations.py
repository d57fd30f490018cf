"""OpenAI moderations: `POST /v1/moderations`. Texts and pictures in, categories and scores out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from sidecar.call import Call
from sidecar.errors import UpstreamGarbage
from sidecar.segment import Segment
from sidecar.wire import fields, jsonguard
from sidecar.wire.base import ReplyView, WireRequest
from sidecar.wire.openai_common import OpenAICodec, refuse_stream

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_MODEL = "omni-moderation-latest"
"""What the provider takes where the caller names none; the sidecar always names one."""


class Moderations(OpenAICodec):
    """The codec. See `wire.base.Codec`."""

    name = "openai_moderations"
    operation = "moderation"
    path = "/moderations"
    read = frozenset({"model", "input"})

    def read_call(self, call_id: str, request: WireRequest, parts: Mapping[str, str]) -> Call:
        """Bytes to `Call`. Raises MalformedCall, WrongMediaType."""
        body = fields.body_of(request)
        model = body.get("model")
        segments: list[Segment] = []
        _read_input(segments, body.get("input"))
        params = self.read_rest(body, segments)
        return Call(
            id=call_id,
            protocol="llm",
            operation=self.operation,
            dialect=self.name,
            target=fields.target(DEFAULT_MODEL if model is None else model),
            path=request.path,
            body=body,
            segments=tuple(segments),
            params=params,
            tokens=fields.estimate(segments, 1),
            max_output=0,
            bytes=len(request.body),
            headers=self.headers_of(request),
        )

    def read_reply(self, call: Call, body: bytes) -> ReplyView:
        """A whole 2xx reply: no texts, no usage. Raises UpstreamGarbage."""
        view = jsonguard.parse_object(body, UpstreamGarbage)
        return ReplyView(view, model=str(view.get("model") or ""))

    def write_reply(self, view: ReplyView, denied: Mapping[int, str]) -> bytes:
        """The reply's bytes; there are no proposals to deny."""
        return jsonguard.dump(view.body)

    def screen(self, call: Call, *, cap: int, event_limit: int) -> NoReturn:
        """Moderations don't stream: a stream that comes anyway is garbage."""
        refuse_stream()


def _read_input(segments: list[Segment], value: Any) -> None:
    if type(value) is str:
        segments.append(Segment("/input", "user", "user", value))
        return
    for index, item in enumerate(fields.array(value, "/input")):
        at = f"/input/{index}"
        if type(item) is str:
            segments.append(Segment(at, "user", "user", item))
        else:
            _read_part(segments, fields.mapping(item, at), at)


def _read_part(segments: list[Segment], part: dict[str, Any], at: str) -> None:
    kind = part.get("type")
    if kind == "text":
        segments.append(Segment(f"{at}/text", "user", "user", fields.text(part.get("text"), f"{at}/text")))
    elif kind == "image_url":
        url = fields.text(fields.mapping(part.get("image_url"), f"{at}/image_url").get("url"), f"{at}/image_url/url")
        segments.append(Segment(at, "user", "media", "image"))
        if url[:5] != "data:":
            segments.append(Segment(f"{at}/image_url/url", "user", "user", url))
    else:
        segments.append(Segment(at, "user", "unknown", fields.as_text(part)))
        return
    segments += fields.unknown(part, frozenset({"type", kind}), at)


CODEC = Moderations()
