"""A whole Gemini reply, read (all candidates) and written again without the proposals that were denied.

`gemini_stream` reads each event of a stream with it, since every event is a whole GenerateContentResponse.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from sidecar.call import Tool, Usage
from sidecar.errors import MalformedCall, UpstreamGarbage
from sidecar.segment import Edit
from sidecar.wire import gemini_parts, jsonguard, pointer
from sidecar.wire.base import ReplyView
from sidecar.wire.gathered import Found

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

WITHHELD = "(the call is withheld)"
_STREAMED = ("partialArgs", "willContinue", "partial_args", "will_continue")


class Place(NamedTuple):
    """A part that proposes a call: the pointer of the part, and the call."""

    pointer: str
    call: Mapping[str, Any]

    def tool(self) -> Tool:
        """The proposal. Absent arguments are none, not unknown ones."""
        args = self.call.get("args")
        named = {} if args is None else args if type(args) is dict else None
        return Tool(str(self.call.get("name") or ""), args=named, call_id=str(self.call.get("id") or ""))


def read(body: bytes) -> ReplyView:
    """A GenerateContentResponse. Raises UpstreamGarbage on what is none."""
    value = jsonguard.parse_object(body, UpstreamGarbage)
    found = Found()
    for at, candidate in candidates(value):
        _segments(found, candidate, at)
    return ReplyView(
        value,
        segments=tuple(found.segments),
        tools=tuple(place.tool() for place in proposals(value)),
        usage=usage(value.get("usageMetadata")),
        finish=tuple(str(candidate.get("finishReason") or "") for _, candidate in candidates(value)) or blocked(value),
        model=str(value.get("modelVersion") or ""),
    )


def candidates(value: Mapping[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """The candidates with their pointers. Raises UpstreamGarbage."""
    items = _absent(value.get("candidates"), [])
    if type(items) is not list or not all(type(item) is dict for item in items):
        raise UpstreamGarbage("the candidates are no list of objects")
    return [(f"/candidates/{index}", item) for index, item in enumerate(items)]


def parts(candidate: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A candidate's parts. Raises UpstreamGarbage."""
    content = _absent(candidate.get("content"), {})
    items = _absent(content.get("parts"), []) if type(content) is dict else None
    if type(items) is not list or not all(type(item) is dict for item in items):
        raise UpstreamGarbage("the parts of a candidate are no list of objects")
    return items


def _absent(value: Any, instead: Any) -> Any:
    return instead if value is None else value


def proposals(value: Mapping[str, Any]) -> list[Place]:
    """Every function call of every candidate, in order. Raises UpstreamGarbage on one that comes in pieces or in another spelling."""
    found = []
    for at, candidate in candidates(value):
        for index, part in enumerate(parts(candidate)):
            # Clients read both spellings; what the API never writes must not slip by as something unknown.
            if "function_call" in part:
                raise UpstreamGarbage("a call in a spelling the API does not write")
            call = part.get("functionCall")
            if call is not None:
                if type(call) is not dict or any(call.get(name) for name in _STREAMED):
                    raise UpstreamGarbage("a call that comes in pieces can't be judged")
                found.append(Place(f"{at}/content/parts/{index}", call))
    return found


def _segments(found: Found, candidate: Mapping[str, Any], at: str) -> None:
    try:
        for index, part in enumerate(parts(candidate)):
            gemini_parts.part(found, part, f"{at}/content/parts/{index}", "assistant", "assistant")
    except MalformedCall as bad:
        raise UpstreamGarbage(bad.message) from None
    rest = {name: item for name, item in candidate.items() if name not in ("content", "finishReason", "index", "safetyRatings", "avgLogprobs", "tokenCount")}
    found.leaves(rest, at, "assistant", "assistant")


def usage(value: Any) -> Usage | None:
    """Prompt and tool-use prompt in; candidates and thoughts out. None where the provider told none."""
    if type(value) is not dict:
        return None
    return Usage(
        _count(value.get("promptTokenCount")) + _count(value.get("toolUsePromptTokenCount")),
        _count(value.get("candidatesTokenCount")) + _count(value.get("thoughtsTokenCount")),
    )


def _count(value: Any) -> int:
    return value if type(value) is int and value > 0 else 0


def blocked(value: Mapping[str, Any]) -> tuple[str, ...]:
    """The reason why a prompt got no candidates, where there is one."""
    feedback = value.get("promptFeedback")
    reason = feedback.get("blockReason") if type(feedback) is dict else None
    return (reason,) if type(reason) is str else ()


def write(view: ReplyView, denied: Mapping[int, str]) -> bytes:
    """The reply with proposal number i replaced by the text `denied[i]`. `finishReason` is STOP for a call as for a text, so it stays true."""
    return replaced(view.body, proposals(view.body), denied)


def replaced(value: Mapping[str, Any], places: Sequence[Place], denied: Mapping[int, str]) -> bytes:
    """`value` with the denied parts replaced whole, their signatures with them."""
    edits = [Edit(places[number].pointer, {"text": text or WITHHELD}) for number, text in denied.items()]
    return jsonguard.dump(pointer.apply(value, edits))
