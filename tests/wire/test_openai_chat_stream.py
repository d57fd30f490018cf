import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletionChunk

from sidecar.call import Usage
from sidecar.errors import UpstreamCut, UpstreamGarbage
from sidecar.wire.base import Proposal, Release
from sidecar.wire.openai_chat import CODEC

DONE = b"data: [DONE]\n\n"


def chunk(delta=None, *, index=0, finish=None, **more):
    choices = [] if delta is None else [{"index": index, "delta": delta, "finish_reason": finish}]
    return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": choices, **more}


def call(number, *, id=None, name=None, text=None):
    function = {key: value for key, value in (("name", name), ("arguments", text)) if value is not None}
    return {"index": number, **({"id": id, "type": "function"} if id else {}), "function": function}


def tool_chunk(*entries, index=0, finish=None, **delta):
    return chunk({**delta, "tool_calls": list(entries)}, index=index, finish=finish)


TWO_CALLS = [
    chunk({"role": "assistant", "content": None}),
    tool_chunk(call(0, id="c0", name="read", text="")),
    tool_chunk(call(0, text='{"path":')),
    tool_chunk(call(0, text='"/srv/a"}')),
    tool_chunk(call(1, id="c1", name="wi", text="")),
    tool_chunk(call(1, name="pe")),
    tool_chunk(call(1, text='{"path":"ALL-OF-IT"}')),
    tool_chunk(call(2, id="c2", name="read", text='{"path":"/srv/b"}')),
    chunk({}, finish="tool_calls"),
    chunk(usage={"prompt_tokens": 5, "completion_tokens": 6, "total_tokens": 11}),
]
ALL_AT_ONCE = [
    tool_chunk(
        call(0, id="c0", name="read", text='{"path":"/srv/a"}'),
        call(1, id="c1", name="wipe", text='{"path":"ALL-OF-IT"}'),
        call(2, id="c2", name="read", text='{"path":"/srv/b"}'),
        role="assistant",
        content="Sure.",
        finish="tool_calls",
    ),
    chunk(usage={"prompt_tokens": 5, "completion_tokens": 6, "total_tokens": 11}),
]
INTERLEAVED = [
    chunk({"role": "assistant", "content": "A"}, index=0),
    chunk({"role": "assistant", "content": "B"}, index=1),
    tool_chunk(call(0, id="x0", name="wipe", text='{"path":'), index=1),
    chunk({"content": "still A"}, index=0),
    tool_chunk(call(0, id="y0", name="read", text="{}"), index=0),
    tool_chunk(call(0, text='"ALL-OF-IT"}'), index=1),
    chunk({}, index=0, finish="tool_calls"),
    chunk({}, index=1, finish="tool_calls"),
]
ONLY_ONE = [chunk({"role": "assistant"}), tool_chunk(call(0, id="c1", name="wipe", text='{"path":"ALL-OF-IT"}')), chunk({}, finish="tool_calls")]
OLD = [
    chunk({"role": "assistant", "function_call": {"name": "wipe", "arguments": ""}}),
    chunk({"function_call": {"arguments": '{"path":"ALL-OF-IT"}'}}),
    chunk({}, finish="function_call"),
]
STREAMS = {"two": TWO_CALLS, "at once": ALL_AT_ONCE, "interleaved": INTERLEAVED, "one": ONLY_ONE, "old": OLD}


def stream(kit, name):
    return b"".join(kit.frame(item) for item in STREAMS[name]) + DONE


def screen(cap=10_000, event_limit=100_000):
    return CODEC.screen(None, cap=cap, event_limit=event_limit)


def no_wiping(tool):
    return "[wiping is not allowed]" if tool.name == "wipe" else None


def client_sees(kit, out):
    """What the openai SDK puts together from these bytes."""
    state = ChatCompletionStreamState()
    for item in kit.chunks(out):
        state.handle_chunk(ChatCompletionChunk.model_validate(item))
    return state.current_completion_snapshot


@pytest.mark.parametrize("name", STREAMS)
def test_what_nothing_touches_is_released_as_its_own_bytes(kit, name):
    if name == "interleaved":  # choices flow past each other, so that the order between them may change
        out, _ = kit.drive(screen(), [stream(kit, name)], lambda tool: None)
        assert sorted(out.split(b"\n\n")) == sorted(stream(kit, name).split(b"\n\n"))
    else:
        assert kit.drive(screen(), [stream(kit, name)], lambda tool: None)[0] == stream(kit, name)


@given(
    st.sampled_from(sorted(STREAMS)),
    st.lists(st.integers(0, 5000), max_size=10),
    st.sampled_from([no_wiping, lambda tool: None, lambda tool: "[nothing at all]"]),
)
def test_any_split_of_the_bytes_gives_the_same_stream_and_the_same_proposals(kit, name, places, verdict):
    data = stream(kit, name)
    assert kit.drive(screen(), kit.cut(data, places), verdict) == kit.drive(screen(), [data], verdict)


@pytest.mark.parametrize("name", STREAMS)
def test_a_denied_call_is_nowhere_in_the_output_and_its_text_is(kit, name):
    out, tools = kit.drive(screen(), [stream(kit, name)], no_wiping)
    assert "wipe" in {tool.name for tool in tools}
    assert b"ALL-OF-IT" not in out
    assert b'"wi' not in out
    assert b"[wiping is not allowed]" in out
    assert out.endswith(DONE)


@pytest.mark.parametrize("name", ["two", "at once"])
def test_the_sdk_sees_gapless_indices_and_the_true_finish_reason(kit, name):
    out, tools = kit.drive(screen(), [stream(kit, name)], no_wiping)
    assert [(tool.name, tool.args) for tool in tools] == [("read", {"path": "/srv/a"}), ("wipe", {"path": "ALL-OF-IT"}), ("read", {"path": "/srv/b"})]
    choice = client_sees(kit, out).choices[0]
    assert [(item.id, item.function.arguments) for item in choice.message.tool_calls] == [("c0", '{"path":"/srv/a"}'), ("c2", '{"path":"/srv/b"}')]
    assert choice.finish_reason == "tool_calls"
    indices = [entry["index"] for item in kit.chunks(out) for choice in item["choices"] for entry in choice["delta"].get("tool_calls", [])]
    assert sorted(set(indices)) == [0, 1]
    assert choice.message.content.endswith("[wiping is not allowed]")


@pytest.mark.parametrize("name", ["one", "old"])
def test_a_finish_reason_that_speaks_of_tool_calls_becomes_stop_when_none_is_left(kit, name):
    made = screen()
    out, _ = kit.drive(made, [stream(kit, name)], no_wiping)
    message = client_sees(kit, out).choices[0]
    assert message.finish_reason == "stop"
    assert not message.message.tool_calls
    assert message.message.content == "[wiping is not allowed]"
    assert made.finish == ("stop",)


def test_two_choices_flow_past_each_other(kit):
    made = screen()
    pieces = [kit.frame(item) for item in INTERLEAVED]
    assert made.feed(pieces[0] + pieces[1]) == [Release(pieces[0] + pieces[1])]
    assert made.feed(pieces[2]) == []
    assert made.feed(pieces[3]) == [Release(pieces[3])]
    out, _ = kit.drive(screen(), [*pieces, DONE], no_wiping)
    first, second = client_sees(kit, out).choices
    assert (first.message.content, first.finish_reason, first.message.tool_calls[0].id) == ("Astill A", "tool_calls", "y0")
    assert (second.message.content, second.finish_reason, second.message.tool_calls) == ("B\n\n[wiping is not allowed]", "stop", None)


def test_arguments_are_held_until_the_call_is_whole(kit):
    made = screen()
    frames = [kit.frame(item) for item in TWO_CALLS]
    assert made.feed(frames[0]) == [Release(frames[0])]
    for frame in frames[1:4]:
        assert made.feed(frame) == []
    (proposal,) = made.feed(frames[4])
    assert isinstance(proposal, Proposal)
    assert proposal.tool.args == {"path": "/srv/a"}
    assert made.resolve(None) == [Release(b"".join(frames[1:4]))]


def test_text_flows_at_once_and_is_counted(kit):
    made = screen()
    frame = kit.frame(chunk({"content": "häh"}))
    assert made.feed(frame) == [Release(frame)]
    assert made.output_bytes == 4


def test_usage_model_and_finish_are_kept(kit):
    made = screen()
    kit.drive(made, [stream(kit, "two")], lambda tool: None)
    assert (made.usage, made.model, made.finish, made.ended) == (Usage(5, 6), "m", ("tool_calls",), True)


def test_arguments_over_the_cap_are_judged_as_unknown_and_then_flow_or_vanish(kit):
    long = [tool_chunk(call(0, id="c0", name="wipe", text="")), *[tool_chunk(call(0, text="ALL-OF-IT" * 5)) for _ in range(10)], chunk({}, finish="tool_calls")]
    data = b"".join(map(kit.frame, long)) + DONE
    out, tools = kit.drive(screen(cap=100), [data], lambda tool: None)
    assert (out, [(tool.name, tool.args) for tool in tools]) == (data, [("wipe", None)])
    out, _ = kit.drive(screen(cap=100), [data], no_wiping)
    assert b"ALL-OF-IT" not in out
    assert client_sees(kit, out).choices[0].finish_reason == "stop"


def test_a_call_that_never_completes_can_not_fill_the_memory(kit):
    made = screen(cap=100)
    made.feed(kit.frame(tool_chunk(call(0, id="c0", name="wipe", text="{"))))
    fed = 0
    while not (found := made.feed(kit.frame(chunk({"content": "x" * 100})))):
        fed += 1
        assert fed < 100
    assert found[-1].tool.args is None


def test_a_call_that_is_open_at_the_end_is_judged_there(kit):
    data = b"".join(map(kit.frame, TWO_CALLS[:-2])) + DONE
    out, tools = kit.drive(screen(), [data], no_wiping)
    assert len(tools) == 3
    assert b"ALL-OF-IT" not in out


def test_a_stream_without_its_end_mark_is_cut_and_what_was_held_is_dropped(kit):
    made = screen()
    made.feed(b"".join(map(kit.frame, TWO_CALLS[:3])))
    with pytest.raises(UpstreamCut):
        made.finish_input()


def test_nothing_passes_after_the_end(kit):
    made = screen()
    kit.drive(made, [stream(kit, "one")], lambda tool: None)
    assert made.feed(kit.frame(tool_chunk(call(0, id="late", name="wipe", text="{}")))) == []


def test_an_upstreams_error_event_is_relayed_and_ends_the_stream(kit):
    made = screen()
    event = kit.frame({"error": {"message": "overloaded", "code": "x"}})
    assert made.feed(kit.frame(TWO_CALLS[1]) + event) == [Release(event)]
    assert made.finish_input() == []


def test_calls_that_all_say_index_0_are_told_apart_by_their_ids(kit):
    items = [tool_chunk(call(0, id="c0", name="wipe", text="{}")), tool_chunk(call(0, id="c1", name="read", text="{}")), chunk({}, finish="tool_calls")]
    out, tools = kit.drive(screen(), [b"".join(map(kit.frame, items)) + DONE], no_wiping)
    assert [tool.name for tool in tools] == ["wipe", "read"]
    assert [item.id for item in client_sees(kit, out).choices[0].message.tool_calls] == ["c1"]


@pytest.mark.parametrize(
    "items",
    [
        [tool_chunk(call(0, id="a", name="read", text="{}")), tool_chunk(call(1, id="b", name="read", text="{}")), tool_chunk(call(0, text='{"more":1}'))],
        [tool_chunk(call(0, id="a", name="read")), tool_chunk(call(0, name="read"))],
        [tool_chunk(call(0, id="a", name="read", text="{")), tool_chunk(call(0, name="wipe"))],
        [{"choices": [{"index": 0, "message": {"tool_calls": []}}]}],
        [{"choices": [{"index": 0, "delta": []}]}, {"choices": [{"index": 0, "delta": [1]}]}],
        [{"choices": [{"index": "0", "delta": {}}]}],
        [{"choices": 7}],
        [tool_chunk({"index": -1, "id": "a"})],
        [tool_chunk({"index": 0, "id": "a", "function": {"name": ["x"]}})],
        [b'{"choices":[],"choices":[]}'],
        [b"not json"],
    ],
)
def test_a_stream_with_two_readings_is_garbage(kit, items):
    made = screen()
    with pytest.raises(UpstreamGarbage):
        for item in items:
            found = made.feed(kit.frame(item))
            while found and isinstance(found[-1], Proposal):
                found = made.resolve(None)


@given(
    st.lists(
        st.binary(max_size=30) | st.sampled_from([b"data: {}\n\n", b"data: [DONE]\n\n", b"\n\n", b"data: ", b'{"choices":[{"delta":{"tool_calls":[{}]}}]}'])
    )
)
def test_garbage_raises_only_upstream_errors(pieces):
    made = screen()
    try:
        for piece in pieces:
            found = made.feed(piece)
            while found and isinstance(found[-1], Proposal):
                found = made.resolve("no")
        made.finish_input()
    except (UpstreamGarbage, UpstreamCut):
        pass


def test_a_denial_in_the_middle_ends_every_open_choice(kit):
    made = screen()
    made.feed(kit.frame(INTERLEAVED[0]) + kit.frame(INTERLEAVED[1]) + kit.frame(chunk({}, index=1, finish="stop")))
    out = made.terminate(kit.REFUSAL)
    (last,) = kit.chunks(out)
    assert out.endswith(DONE)
    assert (last["id"], last["choices"][0]["index"], last["choices"][0]["finish_reason"]) == ("chatcmpl-1", 0, "content_filter")
    assert "Not here." in last["choices"][0]["delta"]["refusal"]
    ChatCompletionChunk.model_validate(last)


def test_a_failure_in_the_middle_shows_and_has_no_end_mark(kit):
    out = screen().abort(kit.REFUSAL)
    assert b"[DONE]" not in out
    assert orjson.loads(out.removeprefix(b"data: "))["error"]["code"] == "policy_denied"
