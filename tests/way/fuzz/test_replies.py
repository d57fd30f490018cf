"""Garbage from the upstream: damaged replies and streams, whole or in pieces. Each is an answer or a 502; never a 500, and every slot comes back."""

import itertools
import json
from pathlib import Path

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sidecar.route.echo import answer
from sidecar.route.echo_script import Memory

BODIES = json.loads((Path(__file__).parent / "bodies.json").read_text())
WORDS = 'call look {"at": "x"}\ncall rm {"at": "x", "all": true}'
"""Has the echo propose two tool calls, of which the second is denied."""
NAMES = ("look", "rm")
GEMINI = "/v1beta/models/gemini-2.5-flash:"
PROPOSING = {
    "/v1/chat/completions": {"model": "gpt-4o", "messages": [{"role": "user", "content": WORDS}], "tools": [{"type": "function", "function": {"name": name}} for name in NAMES]},
    "/v1/responses": {"model": "gpt-4o", "input": WORDS, "tools": [{"type": "function", "name": name} for name in NAMES]},
    "/v1/messages": {"model": "claude-x", "max_tokens": 100, "messages": [{"role": "user", "content": WORDS}], "tools": [{"name": name, "input_schema": {"type": "object"}} for name in NAMES]},
    GEMINI: {"contents": [{"role": "user", "parts": [{"text": WORDS}]}], "tools": [{"functionDeclarations": [{"name": name} for name in NAMES]}]},
}  # fmt: skip


def asked():
    """(path, body): every dialect whole and streamed, with proposals and without."""
    for path, body in [*BODIES.items(), *PROPOSING.items()]:
        if path.startswith(GEMINI):
            yield GEMINI + "generateContent", body
            yield GEMINI + "streamGenerateContent?alt=sse", body
        else:
            yield path, body
            if path in {"/v1/completions", *PROPOSING}:
                yield path, {**body, "stream": True}


def said(path, body):
    """What the echo answers, in pieces."""
    made = answer("POST", path, body, Memory(run="fuzz")).body
    return [made] if isinstance(made, bytes) else list(made)


CASES = [(path, orjson.dumps(body), said(path, body)) for path, body in asked()]
inserted = st.binary(max_size=4) | st.sampled_from([b"\n\n", b"\r\n", b"data: ", b"data: [DONE]\n\n", b"event: x\n", b"{", b'"', b"null", b"\xff", b":\n\n", b'{"type":"x"}', b"\\u0000", b"[]", b"-1", b"1e400"])  # fmt: skip
edits = st.lists(st.tuples(st.sampled_from(["put", "drop", "double", "over"]), st.floats(0, 1), st.floats(0, 1), inserted), max_size=4)
cuts = st.lists(st.floats(0, 1), max_size=4)


def bent(data, changes):
    for how, one, other, piece in changes:
        here, there = sorted((int(one * len(data)), int(other * len(data))))
        data = {
            "put": data[:here] + piece + data[here:],
            "drop": data[:here] + data[there:],
            "double": data[:there] + data[here:],
            "over": data[:here] + piece + data[here + len(piece) :],
        }[how]
    return data


def in_pieces(data, places):
    marks = [0, *sorted(int(place * len(data)) for place in places), len(data)]
    return tuple(data[a:b] for a, b in itertools.pairwise(marks) if a < b)


def examples(count):
    """The small runs are the same each time, so that they stop nobody's change by chance; the long ones search."""
    return settings(max_examples=count, derandomize=count < 1000, deadline=None, database=None, suppress_health_check=list(HealthCheck))


def under(value, *keys):
    """The objects at the end of these keys; where a list stands, those in it."""
    found = [value]
    for key in keys:
        found = [each[key] for each in found if isinstance(each, dict) and key in each]
        found = [one for each in found for one in (each if isinstance(each, list) else [each])]
    return [each for each in found if isinstance(each, dict)]


def proposed(told):
    """The names of all tool calls that a client of any dialect would find in an answer."""
    for line in told.replace(b"\r", b"\n").split(b"\n"):
        try:
            document = orjson.loads(line.removeprefix(b"data:").strip())
        except orjson.JSONDecodeError:
            continue
        for said in (*under(document, "choices", "message"), *under(document, "choices", "delta")):
            yield from (call.get("name") for call in (*under(said, "tool_calls", "function"), *under(said, "function_call")))
        blocks = (
            *under(document, "content"),
            *under(document, "content_block"),
            *under(document, "output"),
            *under(document, "item"),
            *under(document, "response", "output"),
        )
        yield from (block.get("name") for block in blocks if block.get("type") in ("tool_use", "function_call"))
        for part in under(document, "candidates", "content", "parts"):
            yield from (call.get("name") for call in (*under(part, "functionCall"), *under(part, "function_call")))


def ask(harness, case, changes, places, kind):
    path, body, events = case
    data = b"".join(events)
    harness.reply = in_pieces(bent(data, changes), places)
    harness.kind = kind or ("application/json" if len(events) == 1 and data[:1] == b"{" else "text/event-stream")
    status, told = harness.all(harness.request(path, body))
    harness.check(status, {200, 502})
    assert "rm" not in list(proposed(told)), told
    harness.calm()


kinds = st.sampled_from(["", "", "", "application/json", "text/event-stream", "text/plain", "application/json; charset=latin-1"])


@examples(250)
@given(number=st.integers(0, len(CASES) - 1), changes=edits, places=cuts, kind=kinds)
def test_a_damaged_reply_is_an_answer_or_a_502(harness, number, changes, places, kind):
    ask(harness, CASES[number], changes, places, kind)


@pytest.mark.slow
@examples(6000)
@given(number=st.integers(0, len(CASES) - 1), changes=edits, places=cuts, kind=kinds)
def test_more_damaged_replies(harness, number, changes, places, kind):
    ask(harness, CASES[number], changes, places, kind)


@pytest.mark.parametrize("case", CASES, ids=[f"{number} {case[0]}" for number, case in enumerate(CASES)])
def test_the_replies_that_are_damaged_here_are_good_ones(harness, case):
    path, body, events = case
    harness.reply, harness.kind = tuple(events), "application/json" if len(events) == 1 else "text/event-stream"
    status, told = harness.all(harness.request(path, body))
    assert status == 200
    assert (b"tool call denied by t/no-rm" in told) is (b"call rm" in body), "one proposal is let through, the other taken out"
    assert set(proposed(told)) - {None} == ({"look"} if b"call rm" in body else set())


WRONG = ({}, [], [{}], "x", None, True, -1, 1.5, 2**63)


def places(value, path=()):
    """Every place in a document, the whole of it first."""
    yield path
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(inner, (*path, key))


def put(document, place, value):
    made = json.loads(json.dumps(document))
    holder = made
    for step in place[:-1]:
        holder = holder[step]
    if not place:
        return value
    holder[place[-1]] = value
    return made


def shapes(events):
    """The events of a reply that differ in shape: (index, what stands before the JSON, the JSON)."""
    seen = set()
    for index, event in enumerate(events):
        before, mark, data = event.partition(b"data: ") if event[:1] != b"{" else (b"", b"", event)
        if data.startswith(b"{"):
            document = orjson.loads(data)
            shape = str(list(places(document)))
            if shape not in seen:
                seen.add(shape)
                yield index, before + mark, document


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=[f"{number} {case[0]}" for number, case in enumerate(CASES)])
def test_every_place_of_a_reply_with_every_kind_of_wrong_value(harness, case):
    path, body, events = case
    asked = harness.request(path, body)
    for index, before, document in shapes(events):
        for place in places(document):
            for value in WRONG:
                changed = before + orjson.dumps(put(document, place, value)) + b"\n\n"
                harness.reply = (*events[:index], changed, *events[index + 1 :])
                harness.kind = "text/event-stream" if before else "application/json"
                status, told = harness.all(asked)
                harness.check(status, {200, 502})
                assert "rm" not in list(proposed(told)), (harness.reply, told)
    harness.calm()
