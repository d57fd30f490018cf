"""A no in the OpenAI dialect: the error envelope, its headers, and the error event of a stream.

The SDKs (openai-python 3.54) tell errors apart by HTTP status alone, read `code`, `type` and `message` from the envelope, and retry 408,
409, 429 and 5xx twice unless `x-should-retry: false` stands there: a denial asked three times would be three decisions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

from sidecar.wire import ratelimits, sse
from sidecar.wire.base import Answer

if TYPE_CHECKING:
    from sidecar.decision import Refusal

# kind -> (type, code); an empty code means the refusal's own.
_SHAPES = {
    "unauthenticated": ("invalid_request_error", "invalid_api_key"),
    "policy": ("policy_violation", ""),
    "hidden": ("invalid_request_error", "model_not_found"),
    "guardrail": ("invalid_request_error", "content_policy_violation"),
    "quota": ("requests", "rate_limit_exceeded"),
    "budget": ("insufficient_quota", "insufficient_quota"),
    "unavailable": ("server_error", ""),
    "approval": ("policy_violation", "approval_required"),
    "capacity": ("server_error", ""),
    "upstream": ("server_error", ""),
    "timeout": ("invalid_request_error", ""),
}
_FALLBACK = ("invalid_request_error", "")


def message(refusal: Refusal) -> str:
    """What a person reads: the author's sentence, the rule where it is disclosed, the decision's id, and where to read on."""
    facts = [f"rule {refusal.rule}"] if refusal.rule else []
    if refusal.decision:
        facts.append(f"decision {refusal.decision}")
    text = refusal.message or "This call is not allowed."
    if facts:
        text += f" ({', '.join(facts)})"
    return f"{text} See {refusal.help}" if refusal.help else text


def error(refusal: Refusal) -> dict[str, object]:
    """The inner object: always all four keys, `code` a slug."""
    kind, code = _SHAPES.get(refusal.kind, _FALLBACK)
    if refusal.kind == "quota" and refusal.levels and "tokens" in refusal.levels[0].metric:
        kind = "tokens"  # OpenAI's type is the dimension that ran out
    default = "policy_denied" if refusal.kind == "policy" else refusal.kind
    return {"message": message(refusal), "type": kind, "param": None, "code": code or refusal.code or default}


def headers(family: str, refusal: Refusal) -> tuple[tuple[str, str], ...]:
    """What every refusal of an LLM dialect carries but its request id: media type, decision, retry advice, rate levels, the challenge of a 401."""
    found = [("content-type", "application/json")]
    if refusal.decision:
        found.append(("x-sidecar-decision", refusal.decision))
    if not refusal.retry:
        found.append(("x-should-retry", "false"))
    if refusal.retry_after is not None:
        found.append(("retry-after", ratelimits.retry_after(refusal.retry_after)))
    if refusal.status == 401:
        found.append(("www-authenticate", "Bearer"))
    return (*found, *ratelimits.headers(family, refusal.levels, refusal.now))


def refuse(refusal: Refusal, request_id: str) -> Answer:
    """The whole answer (WIRE.md «How to say no»)."""
    body = orjson.dumps({"error": error(refusal)})
    return Answer(refusal.status, (("x-request-id", request_id), *headers("openai", refusal)), body)


def error_event(refusal: Refusal) -> bytes:
    """What a chat or completions stream ends with after an upstream failure: no `[DONE]`, so that the cut can be seen."""
    return sse.event(orjson.dumps({"error": error(refusal)}))
