import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai import NOT_GIVEN
from openai._models import construct_type
from openai.lib.streaming.responses._responses import ResponseStreamState
from openai.types.responses import ResponseStreamEvent

from sidecar.call import Usage
from sidecar.errors import UpstreamCut, UpstreamGarbage
from sidecar.wire.base import Proposal, Release
from sidecar.wire.openai_responses import CODEC

BASE = {"id": "resp_1", "object": "response", "created_at": 1, "model": "m", "parallel_tool_calls": True, "tool_choice": "auto", "tools": []}


def message(id, text, status="completed"):
    content = [{"type": "output_text", "text": text, "annotations": []}] if status == "completed" else []
    return {"type": "message", "id": id, "role": "assistant", "status": status, "content": content}


def function(id, name, arguments, status="completed"):
    return {"type": "function_call", "id": id, "call_id": "call_" + id, "name": name, "arguments": arguments, "status": status}


def custom(id, name, text):
    return {"type": "custom_tool_call", "id": id, "call_id": "call_" + id, "name": name, "input": text}


def says(index, id, text):
    part = {"output_index": index, "item_id": id, "content_index": 0}
    return [
        {"type": "response.output_item.added", "output_index": index, "item": message(id, "", "in_progress")},
        {"type": "response.content_part.added", **part, "part": {"type": "output_text", "text": "", "annotations": []}},
        {"type": "response.output_text.delta", **part, "delta": text, "logprobs": []},
        {"type": "response.output_text.done", **part, "text": text, "logprobs": []},
        {"type": "response.content_part.done", **part, "part": {"type": "output_text", "text": text, "annotations": []}},
        {"type": "response.output_item.done", "output_index": index, "item": message(id, text)},
    ]


def calls(index, id, name, arguments):
    place = {"output_index": index, "item_id": id}
    half = len(arguments) // 2
    return [
        {"type": "response.output_item.added", "output_index": index, "item": function(id, name, "", "in_progress")},
        {"type": "response.function_call_arguments.delta", **place, "delta": arguments[:half]},
        {"type": "response.function_call_arguments.delta", **place, "delta": arguments[half:]},
        {"type": "response.function_call_arguments.done", **place, "name": name, "arguments": arguments},
        {"type": "response.output_item.done", "output_index": index, "item": function(id, name, arguments)},
    ]


def asks(index, id, name, text):
    place = {"output_index": index, "item_id": id}
    return [
        {"type": "response.output_item.added", "output_index": index, "item": custom(id, name, "")},
        {"type": "response.custom_tool_call_input.delta", **place, "delta": text},
        {"type": "response.custom_tool_call_input.done", **place, "input": text},
        {"type": "response.output_item.done", "output_index": index, "item": custom(id, name, text)},
    ]


def whole(events, output, kind="response.completed"):
    status = kind.partition(".")[2]
    end = {"type": kind, "response": {**BASE, "status": status, "output": output, "usage": {"input_tokens": 3, "output_tokens": 4, "total_tokens": 7}}}
    started = {**BASE, "status": "in_progress", "output": []}
    rows = [{"type": "response.created", "response": started}, {"type": "response.in_progress", "response": started}, *events, end]
    return [{**row, "sequence_number": number} for number, row in enumerate(rows)]


WIPE = '{"path":"ALL-OF-IT"}'
STREAMS = {
    "text": whole(says(0, "msg_1", "Hello"), [message("msg_1", "Hello")]),
    "mixed": whole(
        [*says(0, "msg_1", "Hm."), *calls(1, "fc_1", "read", '{"path":"/srv"}'), *calls(2, "fc_2", "wipe", WIPE), *says(3, "msg_2", "Done.")],
        [message("msg_1", "Hm."), function("fc_1", "read", '{"path":"/srv"}'), function("fc_2", "wipe", WIPE), message("msg_2", "Done.")],
    ),
    "custom": whole(asks(0, "ctc_1", "wipe", "rm ALL-OF-IT"), [custom("ctc_1", "wipe", "rm ALL-OF-IT")]),
    "two": whole([*calls(0, "fc_1", "wipe", WIPE), *calls(1, "fc_2", "wipe", WIPE)], [function("fc_1", "wipe", WIPE), function("fc_2", "wipe", WIPE)]),
    "only at the end": whole([], [function("fc_1", "wipe", WIPE), message("msg_1", "x")]),
    "incomplete": whole(calls(0, "fc_1", "wipe", WIPE)[:2], [], "response.incomplete"),
}


def stream(kit, name):
    return b"".join(kit.frame(event, event["type"]) for event in STREAMS[name])


def screen(cap=10_000):
    return CODEC.screen(None, cap=cap, event_limit=100_000)


def no_wiping(tool):
    return "[wiping is not allowed]" if tool.name == "wipe" else None


def client_sees(kit, out):
    """What the openai SDK puts together from these bytes: its own accumulation of the deltas, and the final response."""
    state = ResponseStreamState(input_tools=[], text_format=NOT_GIVEN)
    final = None
    for row in kit.chunks(out):
        for event in state.handle_event(construct_type(value=row, type_=ResponseStreamEvent)):
            final = getattr(event, "response", None) or final
    return final


@pytest.mark.parametrize("name", STREAMS)
def test_what_nothing_touches_is_released_as_its_own_bytes(kit, name):
    assert kit.drive(screen(), [stream(kit, name)], lambda tool: None)[0] == stream(kit, name)


@given(
    st.sampled_from(sorted(STREAMS)),
    st.lists(st.integers(0, 9000), max_size=10),
    st.sampled_from([no_wiping, lambda tool: None, lambda tool: "[nothing at all]"]),
)
def test_any_split_of_the_bytes_gives_the_same_stream_and_the_same_proposals(kit, name, places, verdict):
    data = stream(kit, name)
    assert kit.drive(screen(), kit.cut(data, places), verdict) == kit.drive(screen(), [data], verdict)


@pytest.mark.parametrize("name", sorted(STREAMS.keys() - {"text"}))
def test_a_denied_call_is_nowhere_in_the_output(kit, name):
    out, tools = kit.drive(screen(), [stream(kit, name)], no_wiping)
    assert "wipe" in {tool.name for tool in tools}
    assert b"ALL-OF" not in out
    assert b'"wipe"' not in out


@pytest.mark.parametrize("name", sorted(STREAMS))
def test_sequence_numbers_stay_gapless_whatever_is_denied(kit, name):
    for verdict in (no_wiping, lambda tool: "[no]", lambda tool: None):
        out, _ = kit.drive(screen(), [stream(kit, name)], verdict)
        assert [row["sequence_number"] for row in kit.chunks(out)] == list(range(len(kit.chunks(out))))


def test_the_sdk_sees_a_message_where_the_denied_call_stood(kit):
    out, tools = kit.drive(screen(), [stream(kit, "mixed")], no_wiping)
    assert [(tool.name, tool.args) for tool in tools] == [("read", {"path": "/srv"}), ("wipe", {"path": "ALL-OF-IT"})]
    final = client_sees(kit, out)
    assert [item.type for item in final.output] == ["message", "function_call", "message", "message"]
    assert final.output[2].content[0].text == "[wiping is not allowed]"


def test_every_copy_of_a_denied_item_agrees(kit):
    rows = kit.chunks(kit.drive(screen(), [stream(kit, "mixed")], no_wiping)[0])
    done = next(row["item"] for row in rows if row["type"] == "response.output_item.done" and row["output_index"] == 2)
    assert done == rows[-1]["response"]["output"][2]
    assert {row["item_id"] for row in rows if row.get("output_index") == 2 and "item_id" in row} == {done["id"]}


def test_a_call_waits_until_its_item_is_done(kit):
    made = screen()
    frames = [kit.frame(event, event["type"]) for event in STREAMS["two"]]
    assert made.feed(b"".join(frames[:2])) == [Release(b"".join(frames[:2]))]
    for frame in frames[2:6]:
        assert made.feed(frame) == []
    (proposal,) = made.feed(frames[6])
    assert isinstance(proposal, Proposal)
    assert made.resolve(None) == [Release(b"".join(frames[2:7]))]


def test_usage_model_finish_and_minted_ids_are_kept(kit):
    made = screen()
    kit.drive(made, [stream(kit, "mixed")], lambda tool: None)
    assert (made.usage, made.model, made.finish, made.ended) == (Usage(3, 4), "m", ("completed",), True)
    assert made.minted[0] == ("response", "resp_1")
    assert ("item", "fc_2") in made.minted
    assert made.output_bytes == len("Hm." + "read" + '{"path":"/srv"}' + "wipe" + WIPE + "Done.")


def test_the_id_is_known_from_the_first_event_on(kit):
    made = screen()
    made.feed(kit.frame(STREAMS["text"][0]))
    assert made.minted == (("response", "resp_1"),)


def test_arguments_over_the_cap_are_judged_by_name_and_then_flow_or_vanish(kit):
    long = '{"path":"' + "ALL-OF-IT" * 50 + '"}'
    data = b"".join(kit.frame(event) for event in whole(calls(0, "fc_1", "wipe", long), [function("fc_1", "wipe", long)]))
    out, tools = kit.drive(screen(cap=50), [data], lambda tool: None)
    assert (out, [(tool.name, tool.args) for tool in tools]) == (data, [("wipe", None)])
    out, _ = kit.drive(screen(cap=50), [data], no_wiping)
    assert b"ALL-OF-IT" not in out


def test_a_stream_that_is_resumed_in_the_middle_of_a_call_is_screened(kit):
    data = b"".join(kit.frame(event) for event in STREAMS["two"][4:])
    out, tools = kit.drive(screen(), [data], no_wiping)
    assert len(tools) == 2
    assert b"ALL-OF-IT" not in out
    numbers = [row["sequence_number"] for row in kit.chunks(out)]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def test_a_stream_without_its_end_is_cut(kit):
    made = screen()
    made.feed(b"".join(kit.frame(event) for event in STREAMS["two"][:5]))
    with pytest.raises(UpstreamCut):
        made.finish_input()


def test_nothing_passes_after_the_end(kit):
    made = screen()
    kit.drive(made, [stream(kit, "text")], lambda tool: None)
    assert made.feed(b"".join(kit.frame(event) for event in calls(1, "fc_9", "wipe", WIPE))) == []


def test_an_upstreams_error_event_ends_the_stream_and_drops_what_was_held(kit):
    made = screen()
    event = kit.frame({"type": "error", "code": "x", "message": "m", "sequence_number": 9})
    assert made.feed(b"".join(kit.frame(row) for row in calls(0, "fc_1", "wipe", WIPE)[:3]) + event) == [Release(event)]
    assert made.finish_input() == []


def changed(rows, number, **fields):
    return [{**row, **fields} if place == number else row for place, row in enumerate(rows)]


GOOD = STREAMS["two"]


@pytest.mark.parametrize(
    "rows",
    [
        changed(GOOD, 5, arguments='{"path":"OTHER"}'),
        changed(GOOD, 6, item=function("fc_1", "wipe", '{"path":"OTHER"}')),
        changed(GOOD, 6, item=function("fc_1", "read", WIPE)),
        changed(GOOD, 6, item=message("msg_9", "x")),
        changed(GOOD, 7, output_index=0),
        changed(GOOD, 8, output_index=0),
        changed(GOOD, len(GOOD) - 1, response={**BASE, "output": [function("fc_1", "wipe", '{"path":"OTHER"}')]}),
        changed(GOOD, 3, output_index=None),
        changed(GOOD, 3, delta=7),
        changed(GOOD, 2, item=None),
        changed(GOOD, 2, type=None),
        changed(GOOD, 0, response={**BASE, "output": [7]}),
    ],
)
def test_a_stream_with_two_readings_is_garbage(kit, rows):
    with pytest.raises(UpstreamGarbage):
        kit.drive(screen(), [b"".join(map(kit.frame, rows))], lambda tool: None)


def test_an_event_whose_name_is_not_its_type_is_garbage(kit):
    with pytest.raises(UpstreamGarbage):
        screen().feed(kit.frame(GOOD[3], "response.output_text.delta"))


@given(st.lists(st.sampled_from(GOOD + STREAMS["mixed"]), max_size=12))
def test_events_in_any_order_raise_only_upstream_errors_and_never_leak_what_is_denied(kit, rows):
    try:
        out, _ = kit.drive(screen(), [b"".join(map(kit.frame, rows))], no_wiping)
    except (UpstreamGarbage, UpstreamCut):
        return
    assert b"ALL-OF-IT" not in out


def test_a_denial_in_the_middle_is_an_incomplete_response(kit):
    made = screen()
    made.feed(kit.frame(STREAMS["text"][0]) + kit.frame(STREAMS["text"][1]))
    (row,) = kit.chunks(made.terminate(kit.REFUSAL))
    assert (row["type"], row["sequence_number"], row["response"]["id"], row["response"]["status"]) == ("response.incomplete", 2, "resp_1", "incomplete")
    assert row["response"]["incomplete_details"] == {"reason": "content_filter"}
    assert "Not here." in row["response"]["output"][0]["content"][0]["refusal"]


def test_a_failure_in_the_middle_is_an_error_event(kit):
    out = screen().abort(kit.REFUSAL)
    assert out.startswith(b"event: error\n")
    assert orjson.loads(out.split(b"data: ")[1])["code"] == "policy_denied"
