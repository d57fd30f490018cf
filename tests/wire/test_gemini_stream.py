"""Gemini replies, whole and streamed: every candidate's function calls wait for a verdict."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import orjson
import pytest
from google.genai.types import GenerateContentResponse
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.call import Call, Tool, Usage
from sidecar.decision import Refusal
from sidecar.errors import UpstreamCut, UpstreamGarbage
from sidecar.route.echo import answer
from sidecar.route.echo_script import Memory
from sidecar.wire import gemini_generate
from sidecar.wire.base import Piece, Proposal, Release

CODEC = gemini_generate.CODEC
NO = Refusal(kind="policy", status=403, code="policy_denied", message="Not here.", decision="d1")


def the_call(choices: int = 1) -> Call:
    return Call(id="c1", protocol="llm", operation="chat", dialect=CODEC.name, target="gemini-x", stream=True, body={}, choices=choices)


def screen(choices: int = 1, cap: int = 10_000):
    return CODEC.screen(the_call(choices), cap=cap, event_limit=100_000)


def candidate(*parts: dict[str, Any], index: int = 0, finish: str = "") -> dict[str, Any]:
    return {"content": {"role": "model", "parts": list(parts)}, "index": index, **({"finishReason": finish} if finish else {})}


def use(name: str, **args: Any) -> dict[str, Any]:
    return {"functionCall": {"name": name, "args": args}, "thoughtSignature": "c2VhbGVk"}


def event(*candidates: dict[str, Any], **more: Any) -> bytes:
    return b"data: " + orjson.dumps({"candidates": list(candidates), "modelVersion": "gemini-x1", **more}) + b"\r\n\r\n"


def play(screen: Any, data: bytes, verdicts: dict[str, str], cuts: tuple[int, ...] = ()) -> tuple[bytes, list[Tool]]:
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


def values(data: bytes) -> list[Any]:
    found = [orjson.loads(raw.removeprefix(b"data: ")) for raw in data.replace(b"\r\n", b"\n").split(b"\n\n")[:-1]]
    for value in found:
        GenerateContentResponse.model_validate(value)
    return found


CALLS = b"".join([
    event(candidate({"text": "Let "})),
    event(candidate({"text": "me."}, use("look", q="a"), use("wipe", path="/")), usageMetadata={"promptTokenCount": 5}),
    event(candidate({"text": ""}, finish="STOP"), usageMetadata={"promptTokenCount": 5, "candidatesTokenCount": 8, "thoughtsTokenCount": 1}),
])  # fmt: skip
cuts = st.lists(st.integers(0, len(CALLS)), max_size=6).map(tuple)


@settings(deadline=None)
@given(cuts)
def test_any_split_of_an_allowed_stream_is_relayed_byte_for_byte(cuts):
    watch = screen()
    out, tools = play(watch, CALLS, {}, cuts)
    assert out == CALLS
    assert tools == [Tool("look", args={"q": "a"}), Tool("wipe", args={"path": "/"})]
    assert (watch.usage, watch.finish, watch.model, watch.ended, watch.minted) == (Usage(5, 9), ("STOP",), "gemini-x1", True, ())


@settings(deadline=None)
@given(cuts)
def test_a_denied_call_becomes_a_text_part_with_its_signature_gone(cuts):
    out, _ = play(screen(), CALLS, {"wipe": "wipe is not allowed"}, cuts)
    parts = values(out)[1]["candidates"][0]["content"]["parts"]
    assert parts == [{"text": "me."}, use("look", q="a"), {"text": "wipe is not allowed"}]
    assert out.startswith(event(candidate({"text": "Let "})))


def test_every_candidate_is_judged():
    data = event(candidate(use("look")), candidate(use("wipe"), index=1)) + event(candidate(finish="STOP"), candidate(index=1, finish="STOP"))
    out, tools = play(screen(2), data, {"wipe": "no"})
    assert [tool.name for tool in tools] == ["look", "wipe"]
    assert b"wipe" not in out


@pytest.mark.parametrize(
    ("call", "args"),
    [({"name": "x"}, {}), ({"name": "x", "args": None}, {}), ({"name": "x", "args": [1]}, None), ({"name": "x", "args": {"a": "y" * 50}}, None)],
)
def test_arguments_that_are_none_are_empty_and_those_that_are_not_read_unknown(call, args):
    _, tools = play(screen(cap=40), event(candidate({"functionCall": call}, finish="STOP")), {})
    assert tools == [Tool("x", args=args)]


@pytest.mark.parametrize(
    "data",
    [
        event(candidate({"function_call": {"name": "wipe"}})),
        event(candidate({"functionCall": {"name": "wipe", "willContinue": True}})),
        event(candidate({"functionCall": {"partialArgs": [{"jsonPath": "$.a"}]}})),
        event(candidate({"functionCall": "wipe"})),
        event({"content": {"parts": {"functionCall": {"name": "wipe"}}}}),
        event({"content": "x"}),
        event({"index": "0"}),
        event({"index": 10**9}),
        b'data: {"candidates": {}}\n\n',
        b'data: {"candidates": [], "candidates": []}\n\n',
        b"data: [DONE]\n\n",
    ],
)
def test_what_could_slip_a_call_past_the_screen_is_garbage(data):
    with pytest.raises(UpstreamGarbage):
        play(screen(), data, {})


def test_unknown_events_and_comments_are_relayed_and_counted():
    watch = screen()
    extra = b": hello\n\n" + b'data: {"fromTheFuture":"abc"}\n\n'
    assert watch.feed(extra) == [Release(extra)]
    assert watch.output_bytes == len(b'{"fromTheFuture":"abc"}')


def test_generated_bytes_are_counted_as_utf8():
    watch = screen()
    play(watch, event(candidate({"text": "héé"}, {"functionCall": {"name": "x"}}, finish="STOP")), {})
    assert watch.output_bytes == 5 + len(b'{"functionCall":{"name":"x"}}')


def test_a_stream_ends_when_each_candidate_has_its_reason():
    watch = screen(2)
    watch.feed(event(candidate({"text": "x"}, finish="STOP"), candidate({"text": "y"}, index=1)))
    with pytest.raises(UpstreamCut):
        watch.finish_input()
    watch.feed(event(candidate(index=1, finish="MAX_TOKENS")))
    assert (watch.finish_input(), watch.finish) == ([], ("STOP", "MAX_TOKENS"))


def test_a_blocked_prompt_and_an_error_are_ends():
    blocked = screen()
    assert blocked.feed(b'data: {"promptFeedback": {"blockReason": "SAFETY"}}\n\n')
    assert (blocked.finish_input(), blocked.finish) == ([], ("SAFETY",))
    failed = screen()
    assert failed.feed(b'data: {"error": {"code": 503}}\n\n')
    assert failed.finish_input() == []
    with pytest.raises(UpstreamCut):
        screen().finish_input()


def test_a_terminated_stream_finishes_what_was_not_finished_for_safety():
    watch = screen(2)
    watch.feed(event(candidate({"text": "x"}, finish="STOP"), candidate({"text": "y"}, index=1)))
    assert values(watch.terminate(NO))[0]["candidates"] == [{"finishReason": "SAFETY", "finishMessage": "Not here. (decision d1)", "index": 1}]
    assert [one["index"] for one in values(screen(2).terminate(NO))[0]["candidates"]] == [0, 1]


def test_an_aborted_stream_ends_in_a_status():
    error = orjson.loads(screen().abort(Refusal(kind="upstream", status=504, code="upstream_timeout", message="slow"))[6:])["error"]
    assert (error["code"], error["status"], error["message"]) == (504, "DEADLINE_EXCEEDED", "slow")


# ---------------------------------------------------------------- whole replies

WHOLE = {
    "candidates": [
        candidate({"text": "THINK", "thought": True}, {"text": "TEXT"}, use("look", q="ARG"), finish="STOP"),
        candidate(use("wipe"), index=1, finish="STOP"),
    ],
    "usageMetadata": {"promptTokenCount": 5, "toolUsePromptTokenCount": 2, "candidatesTokenCount": 8, "thoughtsTokenCount": 1},
    "modelVersion": "gemini-x1",
}


def test_a_whole_reply_is_read_with_every_text_and_proposal_of_every_candidate():
    view = CODEC.read_reply(the_call(), orjson.dumps(WHOLE))
    assert {s.text: s.origin for s in view.segments}.items() >= {"THINK": "reasoning", "TEXT": "assistant", "ARG": "tool_args"}.items()
    assert view.tools == (Tool("look", args={"q": "ARG"}), Tool("wipe", args={}))
    assert (view.usage, view.finish, view.model) == (Usage(7, 9), ("STOP", "STOP"), "gemini-x1")


def test_denied_proposals_of_a_whole_reply_become_texts():
    view = CODEC.read_reply(the_call(), orjson.dumps(WHOLE))
    made = orjson.loads(CODEC.write_reply(view, {1: "no wipe"}))
    GenerateContentResponse.model_validate(made)
    assert made["candidates"][0] == WHOLE["candidates"][0]
    assert made["candidates"][1]["content"]["parts"] == [{"text": "no wipe"}]
    assert orjson.loads(CODEC.write_reply(view, {})) == WHOLE


@pytest.mark.parametrize(
    "body", [b"", b"[]", b'{"candidates": 1}', b'{"candidates": [1]}', b'{"candidates": [{"content": {"parts": [{"function_call": {}}]}}]}']
)
def test_what_is_no_reply_is_garbage(body):
    with pytest.raises(UpstreamGarbage):
        CODEC.read_reply(the_call(), body)


def test_the_streamed_and_the_whole_answer_of_one_provider_read_the_same():
    asked = {
        "contents": [{"parts": [{"text": 'call look {"q": "ab"}\ncall wipe {}'}]}],
        "tools": [{"functionDeclarations": [{"name": "look"}, {"name": "wipe"}]}],
    }
    one = answer("POST", "/models/gemini-x:generateContent", asked, Memory()).body
    many = answer("POST", "/models/gemini-x:streamGenerateContent?alt=sse", asked, Memory()).body
    view = CODEC.read_reply(the_call(), one)
    watch = screen()
    _, tools = play(watch, b"".join(many), {})
    assert (view.tools, view.usage, view.finish) == (tuple(tools), watch.usage, watch.finish)
