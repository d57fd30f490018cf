"""Refusals in the OpenAI shape, and the rate headers that all families share."""

import httpx2
import openai
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar import wire
from sidecar.decision import Refusal
from sidecar.need import Level
from sidecar.wire import ratelimits


def level(metric="requests", **more):
    told = {"counter": "c", "metric": metric, "limit": 60.0, "remaining": 12.7, "reset_after": 6.2, "window": 60.0, "rule": "team-budget"}
    return Level(**{**told, **more})


def refuse(kind, status, code="x", **more):
    answer = wire.refuse("openai", Refusal(kind=kind, status=status, code=code, message="Not here.", **more), "req-1")
    return answer, dict(answer.headers), orjson.loads(answer.body)["error"]


@pytest.mark.parametrize(
    ("kind", "status", "type", "code"),
    [
        ("unauthenticated", 401, "invalid_request_error", "invalid_api_key"),
        ("policy", 403, "policy_violation", "policy_denied"),
        ("hidden", 404, "invalid_request_error", "model_not_found"),
        ("guardrail", 400, "invalid_request_error", "content_policy_violation"),
        ("quota", 429, "requests", "rate_limit_exceeded"),
        ("budget", 429, "insufficient_quota", "insufficient_quota"),
        ("unavailable", 503, "server_error", "store_unavailable"),
        ("approval", 403, "policy_violation", "approval_required"),
        ("capacity", 503, "server_error", "over_capacity"),
        ("upstream", 502, "server_error", "upstream_unreachable"),
        ("malformed", 400, "invalid_request_error", "malformed"),
        ("not_found", 404, "invalid_request_error", "not_found"),
        ("too_large", 413, "invalid_request_error", "too_large"),
        ("media_type", 415, "invalid_request_error", "unsupported_media_type"),
        ("method", 405, "invalid_request_error", "method_not_allowed"),
        ("timeout", 408, "invalid_request_error", "timeout"),
    ],
)
def test_each_kind_of_no_has_its_status_type_and_code(kind, status, type, code):
    answer, headers, error = refuse(kind, status, code)
    assert (answer.status, error["type"], error["code"], error["param"]) == (status, type, code, None)
    assert headers["content-type"] == "application/json"
    assert headers["x-request-id"] == "req-1"
    assert headers["x-should-retry"] == "false"


def test_the_message_tells_the_rule_the_decision_and_where_to_read_on():
    _, headers, error = refuse("policy", 403, rule="files/only-srv", decision="dec_1", help="https://wiki.example/x")
    assert error["message"] == "Not here. (rule files/only-srv, decision dec_1) See https://wiki.example/x"
    assert headers["x-sidecar-decision"] == "dec_1"
    assert "rule" not in refuse("policy", 403, decision="dec_1")[2]["message"]


def test_waiting_is_told_in_whole_seconds_rounded_up_and_retrying_only_where_it_helps():
    _, headers, _ = refuse("quota", 429, retry=True, retry_after=6.01, levels=(level("tokens"),))
    assert headers["retry-after"] == "7"
    assert "x-should-retry" not in headers
    assert headers["x-ratelimit-limit-tokens"] == "60"
    assert refuse("capacity", 503, retry=True, retry_after=0.0)[1]["retry-after"] == "1"
    assert "retry-after" not in refuse("budget", 429)[1]


def test_a_quota_of_tokens_says_tokens():
    assert refuse("quota", 429, levels=(level("tokens"),))[2]["type"] == "tokens"
    assert refuse("unauthenticated", 401)[1]["www-authenticate"] == "Bearer"


@pytest.mark.parametrize(
    ("kind", "status", "raised"),
    [
        ("policy", 403, openai.PermissionDeniedError),
        ("unauthenticated", 401, openai.AuthenticationError),
        ("budget", 429, openai.RateLimitError),
        ("unavailable", 503, openai.InternalServerError),
    ],
)
def test_the_sdk_raises_its_proper_exception_once(kind, status, raised):
    answer, _, _ = refuse(kind, status, decision="dec_1")
    asked = []

    def upstream(request):
        asked.append(request)
        return httpx2.Response(answer.status, headers=answer.headers, content=answer.body)

    client = openai.OpenAI(api_key="x", base_url="http://sidecar.example/v1", http_client=httpx2.Client(transport=httpx2.MockTransport(upstream)))
    with client, pytest.raises(raised) as caught:
        client.models.list()
    assert len(asked) == 1
    assert "dec_1" in str(caught.value)
    assert caught.value.request_id == "req-1"


@given(st.floats(0, 1e6))
def test_a_go_duration_reads_back_to_the_milliseconds_above(seconds):
    text = ratelimits.go_duration(seconds)
    total, number = 0.0, ""
    units = {"h": 3600, "m": 60, "s": 1}
    if text.endswith("ms"):
        total = float(text[:-2]) / 1000
    else:
        for char in text:
            if char in units:
                total += float(number) * units[char]
                number = ""
            else:
                number += char
    assert seconds - 1e-6 <= total <= seconds + 0.0011


@pytest.mark.parametrize(("seconds", "text"), [(0, "0s"), (0.02, "20ms"), (1, "1s"), (1.5, "1.5s"), (360, "6m0s"), (3723, "1h2m3s")])
def test_a_go_duration_is_spelt_as_go_spells_it(seconds, text):
    assert ratelimits.go_duration(seconds) == text


def test_each_family_gets_its_own_headers_and_all_get_the_ietf_pair():
    levels = (level(), level("tokens", limit=1000.0, remaining=-3.0), level("requests", remaining=40.0, window=3600.0), level("cost_usd"))
    openai_headers = dict(ratelimits.headers("openai", levels))
    assert openai_headers["x-ratelimit-remaining-requests"] == "12"
    assert openai_headers["x-ratelimit-remaining-tokens"] == "0"
    assert openai_headers["x-ratelimit-reset-requests"] == "6.2s"
    assert openai_headers["ratelimit-policy"] == '"requests-60";q=60;w=60, "tokens-60";q=1000;qu="tokens";w=60, "requests-3600";q=60;w=3600'
    assert openai_headers["ratelimit"] == '"requests-60";r=12;t=7, "tokens-60";r=0;t=7, "requests-3600";r=40;t=7'
    anthropic_headers = dict(ratelimits.headers("anthropic", (level("input_tokens"),), now=0.5))
    assert anthropic_headers["anthropic-ratelimit-input-tokens-reset"] == "1970-01-01T00:00:07Z"
    assert set(dict(ratelimits.headers("gemini", levels))) == {"ratelimit-policy", "ratelimit"}
    assert ratelimits.headers("openai", ()) == ()


def test_no_header_names_a_rule():
    assert "team-budget" not in str(ratelimits.headers("openai", (level(), level("concurrency", window=0.0))))
