"""Whole Responses replies: items to segments, proposals and minted ids, and back with denied items replaced by messages.

Also reads what `DELETE` and `input_items` answer. Counterpart for streams: `openai_responses_stream.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from sidecar.errors import MalformedCall, UpstreamGarbage
from sidecar.wire import jsonguard
from sidecar.wire.base import ReplyView
from sidecar.wire.openai_common import objects, usage_of
from sidecar.wire.openai_items import Reading, proposal, read_item

if TYPE_CHECKING:
    from collections.abc import Mapping


_PENDING = frozenset({"queued", "in_progress"})


def read(data: bytes) -> ReplyView:
    """Bytes to view. Raises UpstreamGarbage."""
    body = jsonguard.parse_object(data, UpstreamGarbage)
    items, at = (objects(body.get("output"), "output"), "/output") if "output" in body else (objects(body.get("data"), "data"), "/data")
    reading = Reading(request=False)
    try:
        for index, item in enumerate(items):
            read_item(reading, item, f"{at}/{index}")
    except MalformedCall as unreadable:
        raise UpstreamGarbage(unreadable.message) from None
    if at == "/data":  # a list of what went in: nothing is proposed or minted by it
        return ReplyView(body, segments=tuple(reading.segments))
    return ReplyView(
        body,
        segments=tuple(reading.segments),
        tools=tuple(tool for tool in map(proposal, items) if tool is not None),
        usage=usage_of(body.get("usage"), "input_tokens", "output_tokens"),
        finish=finish_of(body),
        model=str(body.get("model") or ""),
        minted=minted_by(body),
        pending=str(body.get("status")) in _PENDING,
    )


def write(view: ReplyView, denied: Mapping[int, str]) -> bytes:
    """The reply's bytes, proposal i replaced by a message with `denied[i]`: positions and ids of all others stay."""
    body: dict[str, Any] = dict(view.body)
    if denied:
        written = []
        number = 0
        for item in body["output"]:
            asks = proposal(item) is not None
            written.append(message_item(item, denied[number]) if asks and number in denied else item)
            number += asks
        body["output"] = written
    return orjson.dumps(body)


def message_item(item: Mapping[str, Any], text: str, status: str = "completed") -> dict[str, Any]:
    """The assistant message that stands where a denied item stood. Its id is derived, so that every copy of it agrees."""
    content = [{"type": "output_text", "text": text, "annotations": [], "logprobs": []}] if status == "completed" else []
    return {"id": message_id(item), "type": "message", "status": status, "role": "assistant", "content": content}


def message_id(item: Mapping[str, Any]) -> str:
    """`fc_123` → `msg_fc_123`: the SDKs refuse two items with one id."""
    return f"msg_{item.get('id') or item.get('call_id') or 0}"


def finish_of(response: Mapping[str, Any]) -> tuple[str, ...]:
    """The one reason: why it is incomplete, or its status."""
    details = response.get("incomplete_details")
    reason = details.get("reason") if type(details) is dict else None
    return (str(reason or response.get("status") or ""),)


def minted_by(response: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """The response's id, and its items' unless it is not stored (an unstored item can't be referred to)."""
    id = response.get("id")
    found = [("response", id)] if type(id) is str and id else []
    if response.get("store") is not False and type(response.get("output")) is list:
        found += [("item", item["id"]) for item in response["output"] if type(item) is dict and type(item.get("id")) is str]
    return tuple(found)
