"""A no in the Anthropic dialect: the error envelope with a stable slug in `error.details.error_code`, and its headers.

The SDK (anthropic-python 2.12) tells errors apart by HTTP status, reads `type` and `details` from the envelope and `request-id` from
the headers, retries like OpenAI's, and sleeps as long as `retry-after` says. Sentence, slugs and common headers are those of
`openai_errors`, so that one no has one code in every dialect.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sidecar.wire import jsonguard, openai_errors
from sidecar.wire.base import Answer

if TYPE_CHECKING:
    from sidecar.decision import Refusal

_KINDS = {
    "unauthenticated": "authentication_error",
    "policy": "permission_error",
    "approval": "permission_error",
    "hidden": "not_found_error",
    "not_found": "not_found_error",
    "quota": "rate_limit_error",
    "budget": "rate_limit_error",
    "unavailable": "api_error",
    "upstream": "api_error",
    "capacity": "overloaded_error",
    "too_large": "request_too_large",
}
_STATUSES = {504: "timeout_error"}


def sentence(refusal: Refusal) -> str:
    """What a person reads."""
    return openai_errors.message(refusal)


def body(refusal: Refusal, request_id: str) -> dict[str, object]:
    """The envelope: `request_id` is left out where it is not known (inside a stream)."""
    kind = _STATUSES.get(refusal.status) or _KINDS.get(refusal.kind, "invalid_request_error")
    details = {"error_code": openai_errors.error(refusal)["code"]}
    envelope: dict[str, object] = {"type": "error", "error": {"type": kind, "message": sentence(refusal), "details": details}}
    return {**envelope, "request_id": request_id} if request_id else envelope


def refuse(refusal: Refusal, request_id: str) -> Answer:
    """The whole answer (WIRE.md «How to say no»)."""
    ids = (("x-request-id", request_id), ("request-id", request_id))
    return Answer(refusal.status, (*ids, *openai_errors.headers("anthropic", refusal)), jsonguard.dump(body(refusal, request_id)))
