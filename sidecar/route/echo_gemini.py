"""The echo in the Gemini dialect: generateContent, streamGenerateContent (SSE) and countTokens."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from sidecar.route.echo_script import Memory, Said, Script, count, data, document, fields, objects, script, whole


def generate(model: str, body: Mapping[str, Any], memory: Memory) -> Said:
    """`POST /models/{model}:generateContent`: `candidateCount` answers."""
    said = _script(body)
    candidates = [_candidate(index, _parts(said), _finish(said)) for index in range(_candidates(body))]
    return document({"candidates": candidates, **_tail(model, body, memory.mint("gen"), said)})


def stream(model: str, body: Mapping[str, Any], memory: Memory) -> Said:
    """`POST /models/{model}:streamGenerateContent?alt=sse`: function calls come whole, text word by word."""
    return Said(200, tuple(_events(model, body, memory.mint("gen"))))


def count_tokens(body: Mapping[str, Any]) -> Said:
    """`POST /models/{model}:countTokens`."""
    return document({"totalTokens": _read(fields(body.get("generateContentRequest")) or body)})


def _read(body: Mapping[str, Any]) -> int:
    return count(body.get("contents")) + count(body.get("systemInstruction")) + count(body.get("tools"))


def _config(body: Mapping[str, Any]) -> Mapping[str, Any]:
    return fields(body.get("generationConfig"))


def _candidates(body: Mapping[str, Any]) -> int:
    return min(whole(_config(body).get("candidateCount")) or 1, 8)


def _script(body: Mapping[str, Any]) -> Script:
    contents = objects(body.get("contents"))
    parts = objects(contents[-1].get("parts")) if contents else []
    limit = whole(_config(body).get("maxOutputTokens"))
    heard = [part["functionResponse"] for part in parts if isinstance(part.get("functionResponse"), Mapping)]
    if heard:
        return script(orjson.dumps([one.get("response") for one in heard]).decode(), (), limit=limit, heard="The tool said")
    text = "\n".join(part["text"] for part in parts if isinstance(part.get("text"), str))
    return script(text, _offered(body), limit=limit)


def _offered(body: Mapping[str, Any]) -> Iterator[str]:
    for tool in objects(body.get("tools")):
        for function in objects(tool.get("functionDeclarations")):
            yield str(function.get("name"))


def _parts(said: Script) -> list[dict[str, Any]]:
    if not said.calls:
        return [{"text": said.text}]
    return [{"functionCall": {"name": call.name, "args": orjson.loads(call.arguments)}} for call in said.calls]


def _finish(said: Script) -> str:
    return "MAX_TOKENS" if said.cut else "STOP"


def _candidate(index: int, parts: list[dict[str, Any]], finish: str = "") -> dict[str, Any]:
    end = {"finishReason": finish} if finish else {}
    return {"content": {"role": "model", "parts": parts}, **end, "index": index}


def _tail(model: str, body: Mapping[str, Any], id: str, said: Script) -> dict[str, Any]:
    read, wrote = _read(body), said.tokens * _candidates(body)
    usage = {"promptTokenCount": read, "candidatesTokenCount": wrote, "totalTokenCount": read + wrote}
    return {"usageMetadata": usage, "modelVersion": model, "responseId": id}


def _events(model: str, body: Mapping[str, Any], id: str) -> Iterator[bytes]:
    said = _script(body)
    tail = _tail(model, body, id, said)
    head = {**tail, "usageMetadata": {"promptTokenCount": tail["usageMetadata"]["promptTokenCount"]}}
    pieces = [[part] for part in _parts(said)] if said.calls else [[{"text": word}] for word in said.words]
    for index in range(_candidates(body)):
        for piece in pieces:
            yield data({"candidates": [_candidate(index, piece)], **head})
    ends = [_candidate(index, [{"text": ""}], _finish(said)) for index in range(_candidates(body))]
    yield data({"candidates": ends, **tail})
