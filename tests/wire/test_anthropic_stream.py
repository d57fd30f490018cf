"""Anthropic replies, whole and streamed: proposals wait for a verdict, and what a client then reads is a message like any other."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import orjson
import pytest
from anthropic._models import construct_type
from anthropic.lib.streaming._messages import accumulate_event
from anthropic.types import Message, RawMessageStreamEvent
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.call import Call, Tool, Usage
from sidecar.decision import Refusal
from sidecar.errors import UpstreamCut, UpstreamGarbage
from sidecar.route.echo import answer
from sidecar.route.echo_script import Memory
from sidecar.wire import anthropic_messages
from sidecar.wire.base import Piece, Proposal, Release

CODEC = anthropic_messages.CODEC
NO = Refusal(kind="policy", status=403, code="policy_denied", message="Not here.", decision="d1")


def the_call(**body: Any) -> Call:
    return Call(id="c1", protocol="llm", operation="chat", dialect=CODEC.name, target="claude", stream=True, body=body)


def screen(cap: int = 10_000, **body: Any):
    return CODEC.screen(the_call(**body), cap=cap, event_limit=100_000)


def event(kind: str, **fields: Any) -> bytes:
    return b"event: " + kind.encode() + b"\ndata: " + orjson.dumps({"type": kind, **fields}) + b"\n\n"


def start(content: object = (), **more: Any) -> bytes:
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-x", "content": list(content), "stop_reason": None}
    return event("message_start", message={**message, "usage": {"input_tokens": 5, "cache_read_input_tokens": 2, "output_tokens": 1}, **more})


def block(index: int, kind: str, *deltas: tuple[str, str, str], **fields: Any) -> list[bytes]:
    return [
        event("content_block_start", index=index, content_block={"type": kind, **fields}),
        *(event("content_block_delta", index=index, delta={"type": type_, field: value}) for type_, field, value in deltas),
        event("content_block_stop", index=index),
    ]


def use(index: int, name: str, *pieces: str, kind: str = "tool_use") -> list[bytes]:
    return block(index, kind, *(("input_json_delta", "partial_json", piece) for piece in pieces), id=f"toolu_{index}", name=name, input={})


def text(index: int, *words: str) -> list[bytes]:
    return block(index, "text", *(("text_delta", "text", word) for word in words), text="")


def end(reason: str) -> list[bytes]:
    return [event("message_delta", delta={"stop_reason": reason, "stop_sequence": None}, usage={"output_tokens": 9}), event("message_stop")]


def stream(*blocks: list[bytes], reason: str = "tool_use") -> bytes:
    return b"".join([start(), event("ping"), *(one for block in blocks for one in block), *end(reason)])


def play(screen: Any, data: bytes, verdicts: dict[str, str], cuts: tuple[int, ...] = ()) -> tuple[bytes, list[Tool]]:
    """Drive a screen as the way does: what the client got, and the proposals."""
    out, tools = bytearray(), []
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    steps = [lambda chunk=data[a:b]: screen.feed(chunk) for a, b in pairwise(edges)]
    for step in [*steps, screen.finish_input]:
        pieces: list[Piece] = step()
        while pieces:
            last = pieces[-1]
            assert all(isinstance(piece, Release) for piece in pieces[:-1])
            out += b"".join(piece.data for piece in pieces if isinstance(piece, Release))
            pieces = []
            if isinstance(last, Proposal):
                tools.append(last.tool)
                pieces = screen.resolve(verdicts.get(last.tool.name))
    return bytes(out), tools


def message(data: bytes):
    """What the SDK makes of a stream."""
    snapshot, buffers = None, {}
    for raw in data.split(b"\n\n")[:-1]:
        value = orjson.loads(raw.partition(b"data: ")[2])
        if value["type"] != "ping":
            parsed: Any = construct_type(value=value, type_=RawMessageStreamEvent)
            snapshot = accumulate_event(event=parsed, current_snapshot=snapshot, json_bufs=buffers)
    return snapshot


CALLS = stream(text(0, "Let ", "me."), use(1, "look", '{"q": "a', 'b"}'), use(2, "wipe", '{"path"', ':"/"}'))
cuts = st.lists(st.integers(0, len(CALLS)), max_size=6).map(tuple)


@settings(deadline=None)
@given(cuts)
def test_any_split_of_an_allowed_stream_is_relayed_byte_for_byte(cuts):
    out, tools = play(screen(), CALLS, {}, cuts)
    assert out == CALLS
    assert tools == [Tool("look", args={"q": "ab"}, call_id="toolu_1"), Tool("wipe", args={"path": "/"}, call_id="toolu_2")]


@settings(deadline=None)
@given(cuts)
def test_a_denied_call_becomes_a_text_at_its_index_in_any_split(cuts):
    watch = screen()
    out, _ = play(watch, CALLS, {"wipe": "wipe is not allowed"}, cuts)
    assert b'"name":"wipe"' not in out
    assert b"path" not in out
    got = message(out)
    assert [block.type for block in got.content] == ["text", "tool_use", "text"]
    assert (got.content[2].text, got.content[1].input, got.stop_reason) == ("wipe is not allowed", {"q": "ab"}, "tool_use")
    assert (watch.finish, watch.usage, watch.model, watch.ended) == (("tool_use",), Usage(7, 9), "claude-x", True)


def test_when_no_call_remains_the_stop_reason_tells_the_end_of_the_turn():
    watch = screen()
    out, _ = play(watch, CALLS, {"wipe": "no", "look": "no"})
    assert [block.type for block in message(out).content] == ["text", "text", "text"]
    assert (message(out).stop_reason, watch.finish) == ("end_turn", ("end_turn",))


def test_text_is_released_while_arguments_are_held():
    watch = screen()
    assert watch.feed(start())
    assert [type(piece) for piece in watch.feed(b"".join(text(0, "hi")))] == [Release]
    held = use(1, "look", '{"q":', "1}")
    assert watch.feed(held[0] + held[1]) == []
    assert watch.feed(event("ping")) == [Release(event("ping"))]
    assert watch.feed(held[2]) == []
    assert watch.feed(held[3]) == [Proposal(Tool("look", args={"q": 1}, call_id="toolu_1"))]
    assert watch.resolve(None) == [Release(b"".join(held))]


@pytest.mark.parametrize(
    ("pieces", "args"),
    [((), {}), (("",), {}), (("{}",), {}), (("[1]",), None), (('{"a":1',), None), (('{"a":1,"a":2}',), None), (('{"a":"\\ud800"}',), None)],
)
def test_arguments_that_are_no_object_with_one_reading_are_unknown(pieces, args):
    _, tools = play(screen(), stream(use(0, "look", *pieces)), {})
    assert tools[0].args == args


def test_arguments_that_come_with_the_start_are_judged():
    whole = block(0, "tool_use", id="t", name="look", input={"q": "all at once"})
    assert play(screen(), stream(whole), {})[1][0].args == {"q": "all at once"}


@pytest.mark.parametrize("verdict", [{}, {"look": "no"}])
def test_past_the_cap_a_call_is_judged_without_arguments_and_not_held_longer(verdict):
    data = stream(use(0, "look", '{"q": "', "x" * 50, "x" * 50, '"}'), text(1, "after"))
    out, tools = play(screen(cap=40), data, verdict)
    assert [tool.args for tool in tools] == [None]
    assert out == data if not verdict else b"xx" not in out
    assert message(out).content[1].text == "after"


def test_what_the_providers_own_tool_found_goes_with_its_denied_use():
    result = block(1, "web_search_tool_result", tool_use_id="toolu_0", content=[{"title": "SECRET"}])
    data = stream(use(0, "web_search", "{}", kind="server_tool_use"), result, text(2, "so"), reason="end_turn")
    out, tools = play(screen(), data, {"web_search": "no"})
    assert tools == [Tool("web_search", kind="server_tool_use", args={}, call_id="toolu_0")]
    assert b"SECRET" not in out
    assert [block.type for block in message(out).content] == ["text", "text", "text"]
    assert play(screen(), data, {})[0] == data


@pytest.mark.parametrize(
    "data",
    [
        start(content=[{"type": "tool_use", "id": "t", "name": "wipe", "input": {}}]),
        start() + start(),
        start() + use(0, "look")[0] + use(1, "wipe")[0],
        start() + use(0, "look")[0] + b"".join(end("tool_use")),
        start() + use(0, "look")[0] + text(1, "x")[1],
        b"event: ping\ndata: " + orjson.dumps({"type": "content_block_start", "index": 0, "content_block": {"type": "tool_use"}}) + b"\n\n",
        b"data: {\n\n",
        b"data: []\n\n",
        b'data: {"type":"ping","type":"content_block_start"}\n\n',
        start() + b"".join(use(0, "look", "{}")) + use(0, "look", '{"path":"/"}')[1],
        start() + b"".join(use(0, "look", "{}")) + use(0, "look")[1],
        start() + text(0, "x")[0] + text(1, "x")[1],
        event("content_block_start", index=0, content_block="tool_use"),
        event("content_block_delta", index=0, delta="x"),
    ],
)
def test_what_could_slip_a_call_past_the_screen_is_garbage(data):
    with pytest.raises(UpstreamGarbage):
        play(screen(), data, {})


def test_unknown_events_and_comments_are_relayed_and_counted():
    extra = b": hello\n\n" + event("from_the_future", words="abc")
    watch = screen()
    out, _ = play(watch, start() + extra + b"".join(end("end_turn")), {})
    assert extra in out
    assert watch.output_bytes == len(orjson.dumps({"type": "from_the_future", "words": "abc"}))


def test_generated_bytes_are_counted_as_utf8():
    watch = screen()
    play(watch, stream(text(0, "héé"), block(1, "thinking", ("thinking_delta", "thinking", "hm"), thinking=""), use(2, "look", "{}")), {})
    assert watch.output_bytes == 5 + 2 + 2


def test_a_stream_without_its_end_is_cut_and_what_was_held_is_dropped():
    watch = screen()
    watch.feed(start() + b"".join(use(0, "look", "{}")[:2]))
    with pytest.raises(UpstreamCut):
        watch.finish_input()
    failed = screen()
    failed.feed(start() + event("error", error={"type": "overloaded_error", "message": "x"}))
    assert failed.finish_input() == []


@pytest.mark.parametrize("before", [b"", start(), start() + b"".join(text(0, "par", "tial")[:2]), start() + b"".join(text(0, "x")) + use(1, "look")[0]])
def test_a_terminated_stream_is_a_whole_message_that_was_refused(before):
    watch = screen()
    out = b"".join(piece.data for piece in watch.feed(before))
    got = message(out + watch.terminate(NO))
    assert (got.stop_reason, watch.ended) == ("refusal", True)
    assert got.stop_details.explanation == "Not here. (decision d1)"
    assert (out + watch.terminate(NO)).count(b"event: content_block_start") <= (out + watch.terminate(NO)).count(b"event: content_block_stop")


def test_an_aborted_stream_ends_in_the_error_event():
    name, data = screen().abort(Refusal(kind="upstream", status=502, code="upstream_cut", message="cut")).split(b"\n")[:2]
    assert name == b"event: error"
    assert orjson.loads(data[6:])["error"] == {"type": "api_error", "message": "cut", "details": {"error_code": "upstream_cut"}}


def test_a_container_and_a_kept_message_are_minted():
    watch = screen(thread={"type": "create"})
    tail = event("message_delta", delta={"stop_reason": "end_turn", "container": {"id": "cont_1"}}, usage={"output_tokens": 1})
    play(watch, start() + tail + event("message_stop"), {})
    assert watch.minted == (("message", "msg_1"), ("container", "cont_1"))


# ---------------------------------------------------------------- whole replies

WHOLE: dict[str, Any] = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-x",
    "container": {"id": "cont_1", "expires_at": "2026-11-23T00:00:00Z"},
    "content": [
        {"type": "thinking", "thinking": "THINK", "signature": "sealed"},
        {"type": "text", "text": "TEXT"},
        {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {"q": "ARG"}},
        {"type": "mcp_tool_use", "id": "toolu_2", "name": "read", "server_name": "fs", "input": {}},
        {"type": "mcp_tool_result", "tool_use_id": "toolu_2", "content": [{"type": "text", "text": "FOUND"}]},
        {"type": "tool_use", "id": "toolu_3", "name": "wipe", "input": {}},
    ],
    "stop_reason": "tool_use",
    "stop_sequence": None,
    "usage": {"input_tokens": 5, "cache_creation_input_tokens": 1, "cache_read_input_tokens": 2, "output_tokens": 9},
}


def whole():
    return CODEC.read_reply(the_call(), orjson.dumps(WHOLE))


def test_a_whole_reply_is_read_with_every_text_and_proposal():
    view = whole()
    assert {s.text: s.origin for s in view.segments}.items() >= {"THINK": "reasoning", "TEXT": "assistant", "ARG": "tool_args", "FOUND": "tool_result"}.items()
    assert [(tool.target, tool.kind) for tool in view.tools] == [("look", "function"), ("fs/read", "mcp_tool_use"), ("wipe", "function")]
    assert (view.usage, view.finish, view.model, view.minted) == (Usage(8, 9), ("tool_use",), "claude-x", (("container", "cont_1"),))


def test_denied_proposals_of_a_whole_reply_become_texts():
    sent = orjson.loads(CODEC.write_reply(whole(), {0: "no look", 1: "no read"}))
    assert [block.get("text") or block["type"] for block in sent["content"]] == [
        "thinking",
        "TEXT",
        "no look",
        "no read",
        "(the result is withheld)",
        "tool_use",
    ]
    assert sent["stop_reason"] == "tool_use"
    all_gone = orjson.loads(CODEC.write_reply(whole(), {0: "no", 1: "no", 2: "no"}))
    assert all_gone["stop_reason"] == "end_turn"
    Message.model_validate(all_gone)
    assert orjson.loads(CODEC.write_reply(whole(), {})) == WHOLE


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b'{"type":"message"}', b'{"type":"message","content":["x"]}', b'{"type":"error","content":[]}'])
def test_what_is_no_message_is_garbage(body):
    with pytest.raises(UpstreamGarbage):
        CODEC.read_reply(the_call(), body)


def test_the_streamed_and_the_whole_answer_of_one_provider_read_the_same():
    asked = {
        "model": "m",
        "max_tokens": 99,
        "messages": [{"role": "user", "content": 'call look {"q": "ab"}\ncall wipe {}'}],
        "tools": [{"name": "look"}, {"name": "wipe"}],
    }
    one = answer("POST", "/messages", asked, Memory()).body
    many = answer("POST", "/messages", {**asked, "stream": True}, Memory()).body
    view = CODEC.read_reply(the_call(), one)
    watch = screen()
    out, tools = play(watch, b"".join(many), {"wipe": "no"})
    assert (view.tools, view.usage, view.finish) == (tuple(tools), watch.usage, watch.finish)
    assert message(out).model_dump(exclude={"id"})["content"] == [
        {**block, **({"citations": None} if block["type"] == "text" else {"caller": None, "toolset_name": None})}
        for block in orjson.loads(CODEC.write_reply(view, {1: "no"}))["content"]
    ]
