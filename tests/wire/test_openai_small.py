"""The small OpenAI endpoints: completions, embeddings, moderations, models."""

import contextlib
import json

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.call import Member, Usage
from sidecar.errors import CallError, CannotCarry, MalformedCall, UpstreamCut, UpstreamGarbage
from sidecar.wire import openai_completions, openai_embeddings, openai_models, openai_moderations
from sidecar.wire.base import Release

COMPLETIONS, EMBEDDINGS, MODERATIONS, MODELS = (module.CODEC for module in (openai_completions, openai_embeddings, openai_moderations, openai_models))
MEMBER = Member("openai", "other")
DONE = b"data: [DONE]\n\n"


def texts(call):
    return [(segment.pointer, segment.origin, segment.text) for segment in call.segments]


@pytest.mark.parametrize(
    ("value", "expected", "choices"),
    [
        ("hi", [("", "user", "hi")], 2),
        (["a", "b"], [("/0", "user", "a"), ("/1", "user", "b")], 4),
        ([1, 2, 3], [("", "media", "tokens")], 2),
        ([[1, 2], [3]], [("/0", "media", "tokens"), ("/1", "media", "tokens")], 4),
    ],
)
def test_every_prompt_and_every_input_is_a_segment(kit, value, expected, choices):
    call = COMPLETIONS.read_call("c1", kit.request({"model": "m", "prompt": value, "n": 2}), {})
    assert texts(call) == [("/prompt" + at, origin, text) for at, origin, text in expected]
    assert (call.operation, call.choices) == ("chat", choices)
    call = EMBEDDINGS.read_call("c1", kit.request({"model": "m", "input": value}), {})
    assert texts(call) == [("/input" + at, origin, text) for at, origin, text in expected]
    assert (call.operation, call.max_output) == ("embeddings", 0)


def test_token_arrays_are_counted_exactly(kit):
    call = EMBEDDINGS.read_call("c1", kit.request({"model": "m", "input": [list(range(1000)), [1]]}), {})
    assert call.tokens == 1001 + 2 * 4


@given(
    st.none() | st.integers() | st.lists(st.none() | st.integers() | st.text() | st.lists(st.integers() | st.text())) | st.dictionaries(st.text(), st.text())
)
def test_garbage_raises_only_call_errors(kit, value):
    for codec, name in ((COMPLETIONS, "prompt"), (EMBEDDINGS, "input"), (MODERATIONS, "input")):
        with contextlib.suppress(CallError):
            codec.read_call("c1", kit.request(json.dumps({"model": "m", name: value}).encode()), {})


def test_the_rest_of_a_completion_is_read_too(kit):
    call = COMPLETIONS.read_call("c1", kit.request({"model": "m", "prompt": "a", "suffix": "SUFFIX", "best_of": 5, "max_tokens": 9, "odd": "ODD"}), {})
    assert {"SUFFIX", "ODD"} <= {segment.text for segment in call.segments}
    assert (call.choices, call.max_output) == (5, 9)
    sent = COMPLETIONS.write_call(call, MEMBER, COMPLETIONS.cap(call, "best_of", 2))
    assert (sent.path, orjson.loads(sent.body)["best_of"], orjson.loads(sent.body)["model"]) == ("/completions", 2, "other")


def test_a_completions_reply_and_stream_are_read(kit):
    body = {
        "model": "m",
        "choices": [{"index": 0, "text": "A", "finish_reason": "stop"}, {"index": 1, "text": "B", "finish_reason": "length"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 2},
    }
    view = COMPLETIONS.read_reply(None, orjson.dumps(body))
    assert ([segment.text for segment in view.segments], view.finish, view.usage) == (["A", "B"], ("stop", "length"), Usage(1, 2))
    assert COMPLETIONS.write_reply(view, {}) == orjson.dumps(body)
    screen = COMPLETIONS.screen(None, cap=1, event_limit=1000)
    data = kit.frame(body) + DONE
    assert screen.feed(data) == [Release(data)]
    assert screen.finish_input() == []
    assert (screen.finish, screen.usage, screen.output_bytes, screen.model, screen.ended) == (("stop", "length"), Usage(1, 2), 2, "m", True)
    assert screen.feed(data) == []
    assert screen.resolve(None) == []


def test_a_completions_stream_ends_as_the_dialect_ends(kit):
    screen = COMPLETIONS.screen(None, cap=1, event_limit=1000)
    screen.feed(kit.frame({"id": "cmpl-1", "model": "m", "choices": [{"index": 0, "text": "A", "finish_reason": None}]}))
    with pytest.raises(UpstreamCut):
        screen.finish_input()
    out = screen.terminate(kit.REFUSAL)
    assert kit.chunks(out)[0]["choices"][0]["finish_reason"] == "content_filter"
    assert out.endswith(DONE)
    assert kit.chunks(screen.abort(kit.REFUSAL))[0]["error"]["code"] == "policy_denied"
    with pytest.raises(UpstreamGarbage):
        COMPLETIONS.screen(None, cap=1, event_limit=1000).feed(kit.frame({"choices": [{"index": []}]}))


def test_embeddings_and_moderations_have_no_streams(kit):
    for codec in (EMBEDDINGS, MODERATIONS, MODELS):
        with pytest.raises(UpstreamGarbage):
            codec.screen(None, cap=1, event_limit=1)


def test_an_embeddings_reply_keeps_its_numbers_and_tells_its_usage():
    body = b'{"data":[{"embedding":[0.1,-2.5e-05]}],"model":"m","usage":{"prompt_tokens":4,"total_tokens":4}}'
    view = EMBEDDINGS.read_reply(None, body)
    assert (view.usage, view.model, orjson.loads(EMBEDDINGS.write_reply(view, {}))) == (Usage(4, 0), "m", orjson.loads(body))
    for bad in (b"", b"[]"):
        with pytest.raises(UpstreamGarbage):
            EMBEDDINGS.read_reply(None, bad)


def test_a_moderation_names_a_model_even_where_the_caller_does_not(kit):
    parts = [{"type": "text", "text": "A"}, {"type": "image_url", "image_url": {"url": "https://x/PIC"}}, {"type": "odd", "x": "ODD"}]
    call = MODERATIONS.read_call("c1", kit.request({"input": parts}), {})
    assert (call.target, call.operation) == ("omni-moderation-latest", "moderation")
    assert texts(call) == [
        ("/input/0/text", "user", "A"),
        ("/input/1", "media", "image"),
        ("/input/1/image_url/url", "user", "https://x/PIC"),
        ("/input/2", "unknown", '{"type":"odd","x":"ODD"}'),
    ]
    assert orjson.loads(MODERATIONS.write_call(call, MEMBER, ()).body)["model"] == "other"
    assert MODERATIONS.read_reply(None, b'{"results":[],"model":"m"}').model == "m"


def test_a_cap_on_output_that_an_endpoint_does_not_have_cant_be_carried(kit):
    call = EMBEDDINGS.read_call("c1", kit.request({"model": "m", "input": "a"}), {})
    with pytest.raises(CannotCarry):
        EMBEDDINGS.cap(call, "max_tokens", 1)
    assert EMBEDDINGS.set(call, "dimensions", 8)[0].pointer == "/dimensions"


def test_models_are_listed_in_the_shape_of_the_caller(kit):
    openai = MODELS.read_call("c1", kit.request(b"", "/v1/models", "GET", headers=()), {})
    anthropic = MODELS.read_call("c1", kit.request(b"", "/v1/models", "GET", headers=(("anthropic-version", "2023-06-01"),)), {})
    assert (openai.operation, openai.target, openai_models.family_of(openai), openai_models.family_of(anthropic)) == ("models", "", "openai", "anthropic")
    first = orjson.loads(openai_models.listing(["a", "b"], "openai", 5.5))
    assert first == {"object": "list", "data": [{"id": name, "object": "model", "created": 5, "owned_by": "sidecar"} for name in "ab"]}
    second = orjson.loads(openai_models.listing(["a"], "anthropic"))
    assert second["data"] == [{"type": "model", "id": "a", "display_name": "a", "created_at": "1970-01-01T00:00:00Z"}]
    assert (second["has_more"], second["first_id"], second["last_id"]) == (False, "a", "a")
    assert orjson.loads(openai_models.entry("a"))["id"] == "a"


def test_one_model_is_its_own_target_and_nothing_is_ever_sent(kit):
    call = MODELS.read_call("c1", kit.request(b"", "/v1/models/GPT-4o", "GET", headers=()), {"id": "GPT-4o"})
    assert call.target == "gpt-4o"
    assert MODELS.cap(call, "max_tokens", 1) == ()
    for attempt in (lambda: MODELS.write_call(call, MEMBER, ()), lambda: MODELS.set(call, "x", 1)):
        with pytest.raises(CannotCarry):
            attempt()
    with pytest.raises(MalformedCall):
        MODELS.read_call("c1", kit.request(b"", method="GET", headers=()), {"id": " "})
