"""Garbage of every kind against the assembled sidecar: never a 500, never a forward without a record before it, and it goes on serving.

`test_more_of_all` is the same with many more examples.
"""

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

BODIES = json.loads((Path(__file__).parent / "bodies.json").read_text())
"""A rich valid body for each path."""


# ---------------------------------------------------------------- strategies

scalars = st.one_of(st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(), st.text(max_size=20), st.sampled_from(["", "gpt-4o", "tool_call", "\x00", "../x", "**", "{}", "[", "\ud83d\ude00"]))  # fmt: skip
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3), max_leaves=6)


def places(value, path=()):
    """Every place in a body, the whole of it first."""
    yield path
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(inner, (*path, key))


@st.composite
def mutated(draw):
    """(path, body): a valid body with a few of its places changed."""
    path = draw(st.sampled_from(sorted(BODIES)))
    body = json.loads(json.dumps(BODIES[path]))
    for _ in range(draw(st.integers(0, 3))):
        body = changed(draw, body, draw(st.sampled_from(list(places(body)))))
    return path, json.dumps(body).encode()


def changed(draw, body, place):
    if not place:
        return draw(values)
    holder = body
    for step in place[:-1]:
        holder = holder[step]
    how = draw(st.sampled_from(["set", "drop", "swap", "add"]))
    if how == "set":
        holder[place[-1]] = draw(values)
    elif how == "drop":
        del holder[place[-1]]
    elif how == "swap":
        other = draw(st.sampled_from([place for place in places(body) if len(place) > 1] or [()]))
        holder[place[-1]] = draw(st.just(json.loads(json.dumps(at(body, other)))))
    elif isinstance(holder, dict):
        holder[draw(st.text(max_size=12) | st.sampled_from(["model", "Model", "stream", "messages", "tools", "type", "store", "previous_response_id"]))] = draw(
            values
        )
    else:
        holder.insert(0, draw(values))
    return body


def at(body, place):
    for step in place:
        body = body[step]
    return body


inserted = st.binary(max_size=4) | st.sampled_from([b"\r\n", b"\n", b"\r", b"\r\n\r\n", b"\0", b" ", b":", b"0\r\n\r\n", b'"', b"{", b"\\u0000", b"\xed\xa0\x80", b"GET / HTTP/1.1\r\n", b"transfer-encoding: chunked\r\n"])  # fmt: skip
edits = st.lists(st.tuples(st.sampled_from(["put", "drop", "double", "over"]), st.floats(0, 1), st.floats(0, 1), inserted), min_size=1, max_size=4)
plain = st.sampled_from([("POST", path, json.dumps(body).encode()) for path, body in BODIES.items()] + [("GET", "/v1/models", b"")])


def bent(data, changes):
    """Bytes with a few of them changed, taken out, doubled or put in."""
    for how, one, other, piece in changes:
        here, there = sorted((int(one * len(data)), int(other * len(data))))
        data = {
            "put": data[:here] + piece + data[here:],
            "drop": data[:here] + data[there:],
            "double": data[:there] + data[here:],
            "over": data[:here] + piece + data[here + len(piece) :],
        }[how]
    return data


tokens = st.from_regex(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,12}", fullmatch=True)
known = st.sampled_from([b"content-type", b"content-encoding", b"content-length", b"transfer-encoding", b"host", b"expect", b"connection", b"authorization", b"x-api-key", b"x-request-id", b"traceparent", b"tracestate", b"baggage", b"x-forwarded-for", b"anthropic-beta", b"openai-beta", b"anthropic-version", b"idempotency-key", b"accept", b"origin", b"te", b"trailer", b"upgrade", b"range", b"cookie"])  # fmt: skip
field_values = st.binary(max_size=30) | st.sampled_from([b"", b"chunked", b"gzip", b"identity", b"0", b"-1", b"100-continue", b"close", b"keep-alive, x", b"application/json; charset=utf-16", b"text/plain", b"00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01", b"\xff", b"a\tb"])  # fmt: skip
fields = st.lists(st.tuples(tokens | known, field_values), max_size=5)
pieces = st.sampled_from(["/", "//", "/v1", "/v1beta", "/models", "/gpt-4o", "/chat", "/completions", "/responses", "/messages", "/count_tokens", "/cancel", "/resp_1", ":generateContent", ":streamGenerateContent", "/embeddings", "..", ".", "%2e", "%2F", "%00", "%", "%zz", "%25", "?", "&", "=", "alt=sse", "key=", "key=x", "#", ";", "\\", "+", "*", "@", "http://", "localhost", "{", "~", "'", "%c3%a9", "A"])  # fmt: skip
targets = st.lists(pieces, min_size=1, max_size=8).map("".join) | st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=40)
methods = st.sampled_from(["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "CONNECT", "TRACE", "get", "X"])


# ---------------------------------------------------------------- tests


def examples(count):
    """The small runs are the same each time, so that they stop nobody's change by chance; the long ones search."""
    return settings(max_examples=count, derandomize=count < 1000, deadline=None, database=None, suppress_health_check=list(HealthCheck))


def whole(harness, data):
    """Send a request that is complete, whatever it says; a status must come."""
    harness.check(harness.send(data))


def torn(harness, data):
    """Send bytes that may be no whole request; then nothing may come, until the client leaves."""
    status = harness.send(data, patience=0.03)
    if status:
        harness.check(status)
    harness.calm()


@examples(150)
@given(case=mutated())
def test_a_valid_body_with_a_few_places_changed(harness, case):
    whole(harness, harness.request(*case))


@examples(80)
@given(case=plain, changes=edits)
def test_a_body_whose_bytes_are_damaged(harness, case, changes):
    method, path, body = case
    whole(harness, harness.request(path, bent(body, changes), method=method))


@examples(100)
@given(case=plain, more=fields)
def test_any_header_beside_the_usual(harness, case, more):
    method, path, body = case
    torn(harness, harness.request(path, body, more, method))


@examples(150)
@given(method=methods, target=targets)
def test_any_method_and_target(harness, method, target):
    whole(harness, harness.request(target, b'{"model":"gpt-4o","input":"hi","prompt":"hi","messages":[{"role":"user","content":"hi"}]}', method=method))


@examples(120)
@given(case=plain, changes=edits)
def test_a_request_whose_bytes_are_damaged(harness, case, changes):
    method, path, body = case
    torn(harness, bent(harness.request(path, body, method=method), changes))


@examples(60)
@given(data=st.binary(max_size=200))
def test_bytes_that_are_nothing(harness, data):
    torn(harness, data)


@pytest.mark.slow
@examples(5000)
@given(case=mutated(), usual=plain, changes=edits, more=fields, odd=st.tuples(methods, targets), how=st.integers(0, 4))
def test_more_of_all(harness, case, usual, changes, more, odd, how):  # noqa: PLR0917  one of each
    verb, path, body = usual
    made = [
        harness.request(*case),
        harness.request(path, bent(body, changes), method=verb),
        harness.request(path, body, more, verb),
        harness.request(odd[1], body, method=odd[0]),
        bent(harness.request(path, body, method=verb), changes),
    ]
    torn(harness, made[how])


WRONG = ({}, [], [{}], "x", None, True, -1, 1.5, 2**63)


@pytest.mark.parametrize("path", BODIES)
def test_every_place_of_a_valid_body_with_every_kind_of_wrong_value(harness, path):
    for place in places(BODIES[path]):
        for value in WRONG:
            body = json.loads(json.dumps(BODIES[path]))
            if place:
                at(body, place[:-1])[place[-1]] = value
            else:
                body = value
            whole(harness, harness.request(path, json.dumps(body).encode()))
