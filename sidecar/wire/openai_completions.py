"""OpenAI's older completions: `POST /v1/completions`. A prompt or several go in, texts come out; no tools, no roles.

Counterpart: `openai_chat.py`, which shares the sampling parameters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import orjson

from sidecar.call import Call
from sidecar.errors import MalformedCall, UpstreamGarbage
from sidecar.segment import Segment
from sidecar.wire import fields, jsonguard, openai_errors, sse
from sidecar.wire.base import Piece, Release, ReplyView, WireRequest
from sidecar.wire.openai_chat import SAMPLING
from sidecar.wire.openai_common import OpenAICodec, objects, usage_of
from sidecar.wire.screening import Screening

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sidecar.decision import Refusal


class Completions(OpenAICodec):
    """The codec. See `wire.base.Codec`."""

    name = "openai_completions"
    path = "/completions"
    params: ClassVar[Mapping[str, str]] = {**SAMPLING, "max_tokens": "max_tokens", "best_of": "best_of", "echo": "echo"}
    read = frozenset({"model", "prompt", "suffix"})
    known = frozenset({"logit_bias", "stream_options"})
    settable = frozenset({"temperature", "top_p", "n", "seed", "stop", "presence_penalty", "frequency_penalty", "best_of", "user"})
    defaults: ClassVar[Mapping[str, float]] = {"n": 1, "best_of": 1, "temperature": 1, "top_p": 1, "presence_penalty": 0, "frequency_penalty": 0}
    limits = ("max_tokens",)

    def read_call(self, call_id: str, request: WireRequest, parts: Mapping[str, str]) -> Call:
        """Bytes to `Call`. Raises MalformedCall, WrongMediaType."""
        body = fields.body_of(request)
        target = fields.target(body.get("model"))
        segments: list[Segment] = []
        prompts, counted = read_texts(segments, body.get("prompt"), "/prompt")
        if body.get("suffix") is not None:
            segments.append(Segment("/suffix", "user", "user", fields.text(body["suffix"], "/suffix")))
        params = self.read_rest(body, segments)
        answers = max(fields.count(body, "n") or 1, fields.count(body, "best_of") or 1)
        return Call(
            id=call_id,
            protocol="llm",
            operation="chat",
            dialect=self.name,
            target=target,
            path=request.path,
            stream=fields.flag(body, "stream"),
            body=body,
            segments=tuple(segments),
            params=params,
            tokens=fields.estimate((segment for segment in segments if segment.origin != "media"), prompts) + counted,
            max_output=fields.count(body, "max_tokens"),
            choices=answers * max(prompts, 1),
            bytes=len(request.body),
            headers=self.headers_of(request),
        )

    def read_reply(self, call: Call, body: bytes) -> ReplyView:
        """A whole 2xx reply. Raises UpstreamGarbage."""
        view = jsonguard.parse_object(body, UpstreamGarbage)
        choices = objects(view.get("choices"), "choices")
        texts = enumerate(choice.get("text") for choice in choices)
        return ReplyView(
            view,
            segments=tuple(Segment(f"/choices/{index}/text", "assistant", "assistant", fields.as_text(text)) for index, text in texts if text),
            usage=usage_of(view.get("usage")),
            finish=tuple(str(choice.get("finish_reason") or "") for choice in choices),
            model=str(view.get("model") or ""),
        )

    def write_reply(self, view: ReplyView, denied: Mapping[int, str]) -> bytes:
        """The reply's bytes; there are no proposals to deny."""
        return orjson.dumps(view.body)

    def screen(self, call: Call, *, cap: int, event_limit: int) -> CompletionsScreen:
        """A screen for one stream."""
        return CompletionsScreen(event_limit)


def read_texts(segments: list[Segment], value: Any, at: str) -> tuple[int, int]:
    """A text, several, or token arrays (which can't be scanned, but counted). Gives (how many, tokens in arrays). Raises MalformedCall."""
    if type(value) is str:
        segments.append(Segment(at, "user", "user", value))
        return 1, 0
    items = fields.array(value, at)
    if items and type(items[0]) is int:
        return 1, _read_tokens(segments, items, at)
    counted = 0
    for index, item in enumerate(items):
        if type(item) is str:
            segments.append(Segment(f"{at}/{index}", "user", "user", item))
        else:
            counted += _read_tokens(segments, fields.array(item, f"{at}/{index}"), f"{at}/{index}")
    return len(items), counted


def _read_tokens(segments: list[Segment], items: list[Any], at: str) -> int:
    if set(map(type, items)) - {int}:
        raise MalformedCall(f"`{at}` must hold texts or whole numbers")
    segments.append(Segment(at, "user", "media", "tokens"))
    return len(items)


class CompletionsScreen(Screening):
    """A stream without proposals: events are counted and released as their own bytes. See `wire.base.StreamScreen`."""

    def __init__(self, event_limit: int) -> None:
        super().__init__(event_limit)
        self._finish: dict[int, str] = {}
        self._base: dict[str, Any] = {"id": "", "object": "text_completion", "created": 0, "model": ""}

    def resolve(self, denied: str | None) -> list[Piece]:
        """Nothing is ever proposed here."""
        return []

    def terminate(self, refusal: Refusal) -> bytes:
        """`finish_reason: content_filter` on every choice that is open, then `[DONE]`."""
        self.ended = True
        opened = [index for index, finish in self._finish.items() if not finish] or ([] if self._finish else [0])
        chunks = [{**self._base, "choices": [{"index": index, "text": "", "logprobs": None, "finish_reason": "content_filter"}]} for index in opened]
        return b"".join(sse.event(orjson.dumps(chunk)) for chunk in chunks) + sse.event(b"[DONE]")

    def abort(self, refusal: Refusal) -> bytes:
        """An error event, and no `[DONE]`."""
        self.ended = True
        return openai_errors.error_event(refusal)

    def _run(self) -> list[Piece]:
        out = b"".join([event.raw for event in self._events if self._passes(event)])
        self._events.clear()
        return [Release(out)] if out else []

    def _passes(self, event: sse.Event) -> bool:
        if self.ended:
            return False
        if event.data == b"[DONE]":
            self.ended = True
        elif event.data is not None:
            self._note(jsonguard.parse_object(event.data, UpstreamGarbage))
        return True

    def _note(self, chunk: dict[str, Any]) -> None:
        if "error" in chunk and "choices" not in chunk:
            self.ended = True
            return
        self.usage = usage_of(chunk.get("usage")) or self.usage
        if not self.model and type(chunk.get("model")) is str:
            self.model = chunk["model"]
            self._base = {name: chunk.get(name, value) for name, value in self._base.items()}
        for choice in objects(chunk.get("choices"), "choices"):
            index, text = choice.get("index", 0), choice.get("text")
            self.output_bytes += len(text.encode()) if type(text) is str else 0
            if type(index) is not int:
                raise UpstreamGarbage("a choice has no index")
            self._finish[index] = str(choice.get("finish_reason") or self._finish.get(index, ""))
        self.finish = tuple(self._finish[index] for index in sorted(self._finish))


CODEC = Completions()
