"""Tool calls that a model proposes, on the wire: released ones arrive as their own bytes, a denied one never reaches the client in any form."""

import json
from dataclasses import dataclass

import aiohttp
import pytest

from sidecar.testing import document

SECRET, CRUMB = "Q" * 24, "QQQQ"  # arguments are streamed in pieces: any piece of it shows a crumb
GOOD, BAD = 'call read {"path":"/srv/a"}', f'call rm {{"path":"/srv/{SECRET}"}}'
ESCAPE = f'call read {{"path":"/srv/../etc/{SECRET}"}}'
NAMES = ("read", "rm", "write")
SCHEMA = {"type": "object", "properties": {"path": {"type": "string"}}}


@dataclass
class Heard:
    """One choice as a client reads it: calls as (name, arguments), all text, the finish reason, the indices as they came."""

    calls: list
    text: str
    finish: str
    indices: list


class Chat:
    path, model, field = "/v1/chat/completions", "gpt-4o", "messages"
    asks, stops = "tool_calls", "stop"

    def body(self, text, names=NAMES, **more):
        tools = [{"type": "function", "function": {"name": name, "parameters": SCHEMA}} for name in names]
        return {"model": self.model, "messages": [{"role": "user", "content": text}], "tools": tools, **more}

    def whole(self, reply):
        return [self._choice(choice) for choice in reply["choices"]]

    def _choice(self, choice):
        message = choice["message"]
        calls = [(call["function"]["name"], call["function"]["arguments"]) for call in message.get("tool_calls") or []]
        return Heard(calls, message["content"] or "", choice["finish_reason"], list(range(len(calls))))

    def streamed(self, events):
        assert events[-1] == "[DONE]"
        heard, calls = {}, {}
        for choice in (choice for event in events[:-1] for choice in event["choices"]):
            one = heard.setdefault(choice["index"], Heard([], "", "", []))
            assert not one.finish, "nothing after the finish reason"
            one.text += choice["delta"].get("content") or ""
            one.finish = choice["finish_reason"] or ""
            for entry in choice["delta"].get("tool_calls") or []:
                mine = calls.setdefault(choice["index"], {})
                call = mine.setdefault(entry["index"], ["", ""])
                call[0] += entry["function"].get("name") or ""
                call[1] += entry["function"].get("arguments") or ""
        for index, mine in calls.items():
            heard[index].calls, heard[index].indices = [tuple(call) for call in mine.values()], list(mine)
        return [heard[index] for index in sorted(heard)]


class Responses(Chat):
    path, asks, stops = "/v1/responses", "completed", "completed"

    def body(self, text, names=NAMES, **more):
        tools = [{"type": "function", "name": name, "parameters": SCHEMA} for name in names]
        return {"model": self.model, "input": text, "tools": tools, **more}

    def whole(self, reply):
        items = reply["output"]
        calls = [(item["name"], item["arguments"]) for item in items if item["type"] == "function_call"]
        text = "".join(part["text"] for item in items if item["type"] == "message" for part in item["content"])
        return [Heard(calls, text, reply["status"], list(range(len(calls))))]

    def streamed(self, events):
        assert [event["sequence_number"] for event in events] == list(range(len(events)))
        added = [event["output_index"] for event in events if event["type"] == "response.output_item.added"]
        done = [event["item"] for event in events if event["type"] == "response.output_item.done"]
        final = events[-1]["response"]
        assert added == list(range(len(added)))
        assert final["output"] == done, "every copy agrees"
        return self.whole(final)


class Anthropic(Chat):
    path, model, asks, stops = "/v1/messages", "claude-sonnet-5-5", "tool_use", "end_turn"

    def body(self, text, names=NAMES, **more):
        return {**super().body(text, **more), "max_tokens": 500, "tools": [{"name": name, "input_schema": SCHEMA} for name in names]}

    def whole(self, reply):
        blocks = reply["content"]
        calls = [(block["name"], json.dumps(block["input"], separators=(",", ":"))) for block in blocks if block["type"] == "tool_use"]
        return [Heard(calls, "".join(block.get("text", "") for block in blocks), reply["stop_reason"], list(range(len(calls))))]

    def streamed(self, events):
        blocks, finish = [], ""
        for event in events:
            if event["type"] == "content_block_start":
                assert event["index"] == len(blocks)
                blocks.append({**event["content_block"], "json": ""})
            elif event["type"] == "content_block_delta":
                delta = event["delta"]
                blocks[event["index"]]["json"] += delta.get("partial_json", "")
                blocks[event["index"]]["text"] = blocks[event["index"]].get("text", "") + delta.get("text", "")
            elif event["type"] == "message_delta":
                finish = event["delta"]["stop_reason"]
        assert events[-1]["type"] == "message_stop"
        blocks = [{**block, "input": json.loads(block["json"] or "{}")} for block in blocks]
        return self.whole({"content": blocks, "stop_reason": finish})


class Gemini(Chat):
    path, model, asks, stops = "/v1beta/models/gemini-2.5-flash:generateContent", "gemini-2.5-flash", "STOP", "STOP"

    def body(self, text, names=NAMES, **more):
        declared = [{"name": name, "parameters": SCHEMA} for name in names]
        return {"contents": [{"role": "user", "parts": [{"text": text}]}], "tools": [{"functionDeclarations": declared}], **more}

    def whole(self, reply):
        return self.streamed([reply])

    def streamed(self, events):
        candidates = [candidate for event in events for candidate in event["candidates"]]
        parts = [part for candidate in candidates for part in candidate["content"]["parts"]]
        calls = [(part["functionCall"]["name"], json.dumps(part["functionCall"]["args"], separators=(",", ":"))) for part in parts if "functionCall" in part]
        return [Heard(calls, "".join(part.get("text", "") for part in parts), candidates[-1]["finishReason"], list(range(len(calls))))]


DIALECTS = [Chat(), Responses(), Anthropic(), Gemini()]
both = pytest.mark.parametrize(
    ("dialect", "stream"), [(d, s) for d in DIALECTS for s in (False, True)], ids=lambda v: v if isinstance(v, bool) else type(v).__name__
)


async def post(stage, path, body, token="dev"):
    """(status, headers, the very bytes)."""
    headers = {"authorization": f"Bearer {stage.tokens[token]}"}
    async with aiohttp.ClientSession() as session, session.post(stage.base + path, json=body, headers=headers) as answer:
        return answer.status, answer.headers, await answer.read()


async def ask(stage, dialect, text, *, stream=False, **more):
    """The raw answer, and what a client reads in it."""
    path = dialect.path
    if stream and isinstance(dialect, Gemini):
        path = path.replace("generateContent", "streamGenerateContent") + "?alt=sse"
    elif stream:
        more["stream"] = True
    status, _, data = await post(stage, path, dialect.body(text, **more))
    assert status == 200, data
    if not stream:
        return data, dialect.whole(json.loads(data))
    found = [line[6:] for line in data.decode().splitlines() if line.startswith("data: ")]
    return data, dialect.streamed([line if line == "[DONE]" else json.loads(line) for line in found])


def with_rules(*rules, **settings):
    def documents(stage):
        policy = document("Policy", "mine", match={"protocol": ["llm"], "operation": ["tool_call"]}, rules=list(rules))
        return [*stage.documents(**settings), *([policy] if rules else [])]

    return documents


ONLY_SRV = {"name": "only-srv", "when": "!path.within(string(call.args.path), '/srv')", "effect": "deny", "message": "Only under /srv."}


def tool_records(stage):
    return [row for row in stage.records() if row["call"]["operation"] == "tool_call"]


def unseen(stage, capfd, data):
    """The denied arguments are in nothing that left, and in nothing that was kept."""
    assert CRUMB.encode() in stage.upstream.answers[-1], "it was proposed"
    assert CRUMB.encode() not in data
    kept = b"".join(path.read_bytes() for path in stage.state.rglob("*") if path.is_file())
    assert CRUMB.encode() not in kept
    assert CRUMB not in "".join(capfd.readouterr())


@both
async def test_allowed_proposals_arrive_byte_for_byte(stage, dialect, stream):
    data, heard = await ask(stage, dialect, f'{GOOD}\ncall write {{"path":"/srv/b","deep":{{"n":[1,2.5,null]}}}}', stream=stream)
    assert data == stage.upstream.answers[0]
    assert [name for name, _ in heard[0].calls] == ["read", "write"]
    assert [(row["call"]["target"], row["effect"]) for row in tool_records(stage)] == [("read", "allow"), ("write", "allow")]


@both
async def test_a_denied_proposal_becomes_a_short_text_and_the_finish_reason_is_true(stage, capfd, dialect, stream):
    data, heard = await ask(stage, dialect, BAD, stream=stream)
    assert stage.upstream.count == 1
    row = next(row for row in tool_records(stage) if row["effect"] == "deny")
    assert heard == [Heard([], f"[tool call denied by tools/no-rm: Nothing is removed here.; decision {row['id']}]", dialect.stops, [])]
    assert row["by"] == ["tools/no-rm"]
    assert row["principal"]["id"] == "key:dev"
    unseen(stage, capfd, data)


@both
async def test_of_several_proposals_only_the_denied_one_is_taken_out_and_the_places_close_up(stage, capfd, dialect, stream):
    data, heard = await ask(stage, dialect, f'{GOOD}\n{BAD}\ncall write {{"path":"/srv/b"}}', stream=stream)
    assert heard[0].calls == [("read", '{"path":"/srv/a"}'), ("write", '{"path":"/srv/b"}')]
    assert heard[0].indices == [0, 1]
    assert heard[0].finish == dialect.asks
    assert heard[0].text.count("denied by tools/no-rm") == 1
    rows = tool_records(stage)
    assert [(row["call"]["target"], row["effect"]) for row in rows] == [("read", "allow"), ("rm", "deny"), ("write", "allow")]
    assert len({row["id"] for row in rows}) == 3
    unseen(stage, capfd, data)


@pytest.mark.parametrize("stream", [False, True])
async def test_each_of_several_choices_is_judged_by_itself(stage, capfd, stream):
    data, heard = await ask(stage, Chat(), f"{BAD}\n{GOOD}", stream=stream, n=2)
    assert [(one.calls, one.indices, one.finish) for one in heard] == [([("read", '{"path":"/srv/a"}')], [0], "tool_calls")] * 2
    assert all("denied by tools/no-rm" in one.text for one in heard)
    assert [row["effect"] for row in tool_records(stage)].count("deny") == 2
    unseen(stage, capfd, data)


@both
async def test_a_proposal_is_judged_by_its_arguments(make_stage, capfd, dialect, stream):
    async with make_stage(with_rules(ONLY_SRV)) as stage:
        data, heard = await ask(stage, dialect, f"{GOOD}\n{ESCAPE}", stream=stream)
        assert heard[0].calls == [("read", '{"path":"/srv/a"}')]
        assert "Only under /srv." in heard[0].text
        unseen(stage, capfd, data)


@both
async def test_where_tool_calls_are_denied_by_default_only_listed_ones_are_shown(make_stage, dialect, stream):
    rule = {"name": "reads", "when": "call.tool.name.startsWith('rea')", "effect": "allow"}
    async with make_stage(with_rules(rule, default={"toolCall": "deny"})) as stage:
        _, heard = await ask(stage, dialect, f'{GOOD}\ncall write {{"path":"/srv/b"}}', stream=stream)
        assert heard[0].calls == [("read", '{"path":"/srv/a"}')]
        assert [(row["call"]["target"], row["effect"]) for row in tool_records(stage)] == [("read", "allow"), ("write", "deny")]


@both
async def test_with_disclosure_by_id_the_text_names_neither_rule_nor_words(make_stage, dialect, stream):
    async with make_stage(with_rules(denials={"disclose": "id"})) as stage:
        _, heard = await ask(stage, dialect, BAD, stream=stream)
        assert heard[0].text == f"[tool call denied by policy; decision {tool_records(stage)[0]['id']}]"
