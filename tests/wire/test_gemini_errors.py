"""Every kind of no in the Gemini dialect: google.rpc.Status with its details (WIRE.md «How to say no», AIP-193)."""

from __future__ import annotations

import orjson
import pytest

from sidecar.decision import Refusal
from sidecar.wire.gemini_errors import refuse

CASES = [
    ("unauthenticated", 401, "invalid_api_key", "UNAUTHENTICATED"),
    ("policy", 403, "policy_denied", "PERMISSION_DENIED"),
    ("approval", 403, "approval_required", "PERMISSION_DENIED"),
    ("hidden", 404, "model_not_found", "NOT_FOUND"),
    ("guardrail", 400, "content_policy_violation", "INVALID_ARGUMENT"),
    ("quota", 429, "rate_limit_exceeded", "RESOURCE_EXHAUSTED"),
    ("budget", 429, "insufficient_quota", "RESOURCE_EXHAUSTED"),
    ("unavailable", 503, "store_unavailable", "UNAVAILABLE"),
    ("capacity", 503, "over_capacity", "UNAVAILABLE"),
    ("upstream", 502, "upstream_unreachable", "UNAVAILABLE"),
    ("upstream", 504, "upstream_timeout", "DEADLINE_EXCEEDED"),
    ("malformed", 400, "malformed", "INVALID_ARGUMENT"),
    ("not_found", 404, "not_found", "NOT_FOUND"),
    ("too_large", 413, "too_large", "INVALID_ARGUMENT"),
    ("media_type", 415, "unsupported_media_type", "INVALID_ARGUMENT"),
    ("method", 405, "method_not_allowed", "UNIMPLEMENTED"),
    ("timeout", 408, "timeout", "DEADLINE_EXCEEDED"),
]


@pytest.mark.parametrize(("kind", "status", "code", "name"), CASES)
def test_each_refusal_is_a_status_with_its_reason(kind, status, code, name):
    answer = refuse(Refusal(kind=kind, status=status, code=code, message="Because.", rule="r/x", decision="d1"), "r1")
    error = orjson.loads(answer.body)["error"]
    info = {"reason": code.upper(), "domain": "sidecar.dev", "metadata": {"decision": "d1", "rule": "r/x", "request_id": "r1"}}
    assert (answer.status, error["code"], error["status"]) == (status, status, name)
    assert error["message"] == "Because. (rule r/x, decision d1)"
    assert error["details"] == [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", **info}]
    headers = dict(answer.headers)
    assert (headers["x-request-id"], headers["x-sidecar-decision"], headers["x-should-retry"]) == ("r1", "d1", "false")


def test_help_and_waiting_are_details_of_their_own():
    answer = refuse(Refusal(kind="quota", status=429, code="rate_limit_exceeded", message="x", help="https://h.test", retry=True, retry_after=7.2), "r1")
    help_, wait = orjson.loads(answer.body)["error"]["details"][1:]
    assert help_["links"][0]["url"] == "https://h.test"
    assert wait["retryDelay"] == "8s"
    assert dict(answer.headers)["retry-after"] == "8"
