"""Every kind of no in the Anthropic dialect, as WIRE.md «How to say no» has it."""

from __future__ import annotations

import orjson
import pytest

from sidecar.decision import Refusal
from sidecar.need import Level
from sidecar.wire.anthropic_errors import refuse

CASES = [
    ("unauthenticated", 401, "invalid_api_key", "authentication_error", "invalid_api_key"),
    ("policy", 403, "policy_denied", "permission_error", "policy_denied"),
    ("policy", 403, "cannot_carry", "permission_error", "cannot_carry"),
    ("approval", 403, "approval_required", "permission_error", "approval_required"),
    ("hidden", 404, "model_not_found", "not_found_error", "model_not_found"),
    ("guardrail", 400, "content_policy_violation", "invalid_request_error", "content_policy_violation"),
    ("quota", 429, "rate_limit_exceeded", "rate_limit_error", "rate_limit_exceeded"),
    ("budget", 429, "insufficient_quota", "rate_limit_error", "insufficient_quota"),
    ("unavailable", 503, "store_unavailable", "api_error", "store_unavailable"),
    ("capacity", 503, "over_capacity", "overloaded_error", "over_capacity"),
    ("upstream", 502, "upstream_unreachable", "api_error", "upstream_unreachable"),
    ("upstream", 502, "upstream_auth", "api_error", "upstream_auth"),
    ("upstream", 504, "upstream_timeout", "timeout_error", "upstream_timeout"),
    ("malformed", 400, "malformed", "invalid_request_error", "malformed"),
    ("not_found", 404, "not_found", "not_found_error", "not_found"),
    ("too_large", 413, "too_large", "request_too_large", "too_large"),
    ("media_type", 415, "unsupported_media_type", "invalid_request_error", "unsupported_media_type"),
    ("method", 405, "method_not_allowed", "invalid_request_error", "method_not_allowed"),
    ("timeout", 408, "timeout", "invalid_request_error", "timeout"),
]


@pytest.mark.parametrize(("kind", "status", "code", "type_", "slug"), CASES)
def test_each_refusal_has_its_status_type_and_slug(kind, status, code, type_, slug):
    answer = refuse(Refusal(kind=kind, status=status, code=code, message="Because.", decision="d1"), "r1")
    assert answer.status == status
    assert orjson.loads(answer.body) == {
        "type": "error",
        "error": {"type": type_, "message": "Because. (decision d1)", "details": {"error_code": slug}},
        "request_id": "r1",
    }
    headers = dict(answer.headers)
    assert (headers["request-id"], headers["x-request-id"], headers["x-sidecar-decision"]) == ("r1", "r1", "d1")
    assert (headers["content-type"], headers["x-should-retry"]) == ("application/json", "false")


def test_the_sentence_names_rule_and_help():
    answer = refuse(
        Refusal(kind="policy", status=403, code="policy_denied", message="Files only.", rule="mcp-files/only-srv", help="https://h.test", decision="d1"), "r1"
    )
    assert orjson.loads(answer.body)["error"]["message"] == "Files only. (rule mcp-files/only-srv, decision d1) See https://h.test"


def test_a_quota_tells_when_to_come_back_and_lets_the_sdk_retry():
    level = Level("c", "requests", 60, 0, 7.2, 60, "q")
    headers = dict(
        refuse(Refusal(kind="quota", status=429, code="rate_limit_exceeded", message="x", retry=True, retry_after=7.2, levels=(level,)), "r1").headers
    )
    assert headers["retry-after"] == "8"
    assert "x-should-retry" not in headers
    assert headers["anthropic-ratelimit-requests-remaining"] == "0"
    assert headers["ratelimit"].startswith('"requests-60";r=0')
