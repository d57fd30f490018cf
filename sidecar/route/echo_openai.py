"""The echo in the OpenAI dialect: chat, completions, embeddings, moderations. Its sibling `echo_responses` does responses."""

from __future__ import annotations

import base64
import hashlib
import struct
from typing import TYPE_CHECKING, Any

from sidecar.route.echo_script import Memory, Said, Script, count, data, document, fields, objects, pieces, script, texts, whole

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_DONE = b"data: [DONE]\n\n"
_DIMENSIONS = 8
_CATEGORIES = ("harassment", "harassment/threatening", "hate", "hate/threatening", "illicit", "illicit/violent", "self-harm", "self-harm/instructions",
               "self-harm/intent", "sexual", "sexual/minors", "violence", "violence/graphic")  # fmt: skip


def chat(body: Mapping[str, Any], memory: Memory, now: int) -> Said:
    """`POST /chat/completions`, whole or streamed, `n` choices."""
    said = _script(body)
    head = {"id": memory.mint("chatcmpl"), "created": now, "model": body.get("model", "echo")}
    choices = _choices(body)
    usage = _usage(count(body.get("messages")) + count(body.get("tools")), said.tokens * choices)
    ids = [[memory.mint("call") for _ in said.calls] for _ in range(choices)]
    if body.get("stream"):
        return Said(200, tuple(_chat_events(body, said, head, usage, ids)))
    answers = [{"index": i, "message": _message(said, ids[i]), "finish_reason": _finish(said), "logprobs": None} for i in range(choices)]
    return document({**head, "object": "chat.completion", "choices": answers, "usage": usage})


def _script(body: Mapping[str, Any]) -> Script:
    messages = objects(body.get("messages"))
    last = messages[-1] if messages else {}
    limit = whole(body.get("max_completion_tokens")) or whole(body.get("max_tokens"))
    if last.get("role") == "tool":
        return script(texts(last.get("content")), (), limit=limit, heard="The tool said")
    user: Mapping[str, Any] = next((m for m in reversed(messages) if m.get("role") == "user"), {})
    return script(texts(user.get("content")), _offered(body), limit=limit)


def _offered(body: Mapping[str, Any]) -> Iterator[str]:
    for tool in objects(body.get("tools")):
        if tool.get("type") == "function":
            yield str(fields(tool.get("function")).get("name"))


def _choices(body: Mapping[str, Any]) -> int:
    return min(whole(body.get("n")) or 1, 128)


def _usage(read: int, said: int) -> dict[str, int]:
    return {"prompt_tokens": read, "completion_tokens": said, "total_tokens": read + said}


def _finish(said: Script) -> str:
    return "tool_calls" if said.calls else "length" if said.cut else "stop"


def _message(said: Script, ids: list[str]) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": said.text or None, "refusal": None}
    if said.calls:
        calls = zip(ids, said.calls, strict=True)
        message["tool_calls"] = [{"id": id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}} for id, call in calls]
    return message


def _chat_events(body: Mapping[str, Any], said: Script, head: dict[str, Any], usage: dict[str, int], ids: list[list[str]]) -> Iterator[bytes]:
    head = {**head, "object": "chat.completion.chunk"}
    wants = bool(fields(body.get("stream_options")).get("include_usage"))
    extra: dict[str, Any] = {"usage": None} if wants else {}
    for index, own in enumerate(ids):
        for delta, finish in _deltas(said, own):
            yield data({**head, "choices": [{"index": index, "delta": delta, "finish_reason": finish}], **extra})
    if wants:
        yield data({**head, "choices": [], "usage": usage})
    yield _DONE


def _deltas(said: Script, ids: list[str]) -> Iterator[tuple[dict[str, Any], str | None]]:
    yield {"role": "assistant", "content": None if said.calls else ""}, None
    for word in said.words:
        yield {"content": word}, None
    for index, call in enumerate(said.calls):
        head = {"index": index, "id": ids[index], "type": "function", "function": {"name": call.name, "arguments": ""}}
        yield {"tool_calls": [head]}, None
        for piece in pieces(call.arguments):
            yield {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}, None
    yield {}, _finish(said)


def completions(body: Mapping[str, Any], memory: Memory, now: int) -> Said:
    """`POST /completions`: each prompt is answered `n` times."""
    prompt = body.get("prompt", "")
    prompts = [p for p in prompt if isinstance(p, str)] if isinstance(prompt, list) else [str(prompt)]
    said = [script(text, (), limit=whole(body.get("max_tokens"))) for text in prompts or [""] for _ in range(_choices(body))]
    head = {"id": memory.mint("cmpl"), "object": "text_completion", "created": now, "model": body.get("model", "echo")}
    usage = _usage(count(prompt), sum(one.tokens for one in said))
    if body.get("stream"):
        return Said(200, tuple(_completion_events(body, said, head, usage)))
    answers = [{"index": i, "text": one.text, "finish_reason": _finish(one), "logprobs": None} for i, one in enumerate(said)]
    return document({**head, "choices": answers, "usage": usage})


def _completion_events(body: Mapping[str, Any], said: list[Script], head: dict[str, Any], usage: dict[str, int]) -> Iterator[bytes]:
    for index, one in enumerate(said):
        for word in one.words:
            yield data({**head, "choices": [{"index": index, "text": word, "finish_reason": None, "logprobs": None}]})
        yield data({**head, "choices": [{"index": index, "text": "", "finish_reason": _finish(one), "logprobs": None}]})
    if fields(body.get("stream_options")).get("include_usage"):
        yield data({**head, "choices": [], "usage": usage})
    yield _DONE


def embeddings(body: Mapping[str, Any], _memory: Memory, _now: int) -> Said:
    """`POST /embeddings`: a small vector per input, from a hash of it; `dimensions` and `encoding_format` are honoured."""
    given = body.get("input", "")
    inputs = given if isinstance(given, list) and given and not isinstance(given[0], int) else [given]
    size = min(whole(body.get("dimensions")) or _DIMENSIONS, 4096)
    packed = body.get("encoding_format") == "base64"
    vectors = [_vector(repr(one), size) for one in inputs]
    answers = [{"object": "embedding", "index": i, "embedding": _packed(vector) if packed else vector} for i, vector in enumerate(vectors)]
    read = count(given)
    usage = {"prompt_tokens": read, "total_tokens": read}
    return document({"object": "list", "data": answers, "model": body.get("model", "echo"), "usage": usage})


def _vector(text: str, size: int) -> list[float]:
    raw = hashlib.shake_128(text.encode("utf-8", "surrogatepass")).digest(size)
    return [round(byte / 127.5 - 1, 6) for byte in raw]


def _packed(vector: list[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


def moderations(body: Mapping[str, Any], memory: Memory, _now: int) -> Said:
    """`POST /moderations`: nothing is ever flagged."""
    given = body.get("input", "")
    number = len(given) if isinstance(given, list) and given and isinstance(given[0], str) else 1
    result = {
        "flagged": False,
        "categories": dict.fromkeys(_CATEGORIES, False),
        "category_scores": dict.fromkeys(_CATEGORIES, 0.0),
        "category_applied_input_types": {name: ["text"] for name in _CATEGORIES},
    }
    return document({"id": memory.mint("modr"), "model": body.get("model", "echo"), "results": [result] * number})
