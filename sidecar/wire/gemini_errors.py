"""A no in the Gemini dialect: google.rpc.Status as JSON, with ErrorInfo, Help and RetryInfo details (google.aip.dev/193).

`details[].reason` is the slug of `openai_errors` in the upper case that AIP-193 asks for, so that one no has one code in every dialect.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sidecar.wire import jsonguard, openai_errors, ratelimits
from sidecar.wire.base import Answer

if TYPE_CHECKING:
    from sidecar.decision import Refusal

_STATUSES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    405: "UNIMPLEMENTED",
    408: "DEADLINE_EXCEEDED",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    502: "UNAVAILABLE",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
_TYPE = "type.googleapis.com/google.rpc."


def sentence(refusal: Refusal) -> str:
    """What a person reads."""
    return openai_errors.message(refusal)


def body(refusal: Refusal, request_id: str) -> dict[str, object]:
    """The Status. 413 and 415 are INVALID_ARGUMENT, as every 4xx without a canonical code."""
    status = _STATUSES.get(refusal.status, "INVALID_ARGUMENT")
    return {"error": {"code": refusal.status, "message": sentence(refusal), "status": status, "details": _details(refusal, request_id)}}


def _details(refusal: Refusal, request_id: str) -> list[dict[str, object]]:
    facts = {"decision": refusal.decision, "rule": refusal.rule, "request_id": request_id}
    reason = str(openai_errors.error(refusal)["code"]).upper()
    found: list[dict[str, object]] = [
        {"@type": f"{_TYPE}ErrorInfo", "reason": reason, "domain": "sidecar.dev", "metadata": {name: fact for name, fact in facts.items() if fact}}
    ]
    if refusal.help:
        found.append({"@type": f"{_TYPE}Help", "links": [{"description": "What this rule asks for", "url": refusal.help}]})
    if refusal.retry and refusal.retry_after is not None:
        found.append({"@type": f"{_TYPE}RetryInfo", "retryDelay": f"{ratelimits.retry_after(refusal.retry_after)}s"})
    return found


def refuse(refusal: Refusal, request_id: str) -> Answer:
    """The whole answer (WIRE.md «How to say no»)."""
    headers = (("x-request-id", request_id), *openai_errors.headers("gemini", refusal))
    return Answer(refusal.status, headers, jsonguard.dump(body(refusal, request_id)))
