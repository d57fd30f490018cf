"""Records on the wire: on disk before anything leaves, one per decision, without content. `test_chain.py` tells of changes to them."""

import asyncio
import json

import aiohttp
import pytest
from aiohttp import web

CANARY = "zanzibar7"


def lines(stage, name="decisions.jsonl"):
    return (stage.state / name).read_text().splitlines()


async def test_the_record_is_on_disk_before_the_upstream_sees_the_request(stage, ask):
    found = []

    async def look(_request, _body):
        found.extend(json.loads(line) for line in lines(stage))
        return web.json_response({"id": "c", "object": "chat.completion", "choices": []})

    stage.upstream.custom = look
    answer = await ask(stage)
    (row,) = found
    assert (row["id"], row["effect"], row["principal"]["id"]) == (answer.headers["x-sidecar-decision"], "allow", "key:dev")


async def test_every_decision_is_one_row_and_the_answer_names_it(stage, ask):
    asked = [await ask(stage), await ask(stage, temperature=2.0), await ask(stage, "poor"), await ask(stage, "sk-nobody"), await ask(stage, path="/v1/nope")]
    rows = stage.records()
    assert [answer.headers["x-sidecar-decision"] for answer in asked] == [row["id"] for row in rows]
    assert [answer.status for answer in asked] == [200, 403, 403, 401, 404]
    assert [row["effect"] for row in rows] == ["allow", "deny", "deny", "deny", "deny"]
    assert [row["by"] for row in rows[:3]] == [["base/known"], ["base/cool"], []]
    assert rows[1]["reasons"][0]["where"].startswith(f"{stage.directory}/all.yaml:")
    assert stage.upstream.count == 1


async def test_a_proposed_tool_call_is_a_row_of_its_own(stage, ask):
    tool = {"type": "function", "function": {"name": "rm", "parameters": {"type": "object", "properties": {"path": {"type": "string"}}}}}
    answer = await ask(stage, messages=[{"role": "user", "content": 'call rm {"path": "/srv"}'}], tools=[tool])
    assert answer.status == 200
    rows = stage.records()
    assert [(row["call"]["operation"], row["effect"]) for row in rows] == [("chat", "allow"), ("tool_call", "deny")]
    assert (rows[1]["call"]["tool"], rows[1]["by"]) == ("rm", ["tools/no-rm"])


# ---------------------------------------------------------------- without content

EVERYWHERE = {
    "messages": [
        {"role": "system", "content": CANARY},
        {"role": "user", "content": [{"type": "text", "text": CANARY}, {"type": "image_url", "image_url": {"url": f"https://example.com/{CANARY}"}}]},
        {
            "role": "assistant",
            "content": CANARY,
            "tool_calls": [{"id": CANARY, "type": "function", "function": {"name": CANARY, "arguments": json.dumps({CANARY: CANARY})}}],
        },
        {"role": "tool", "tool_call_id": CANARY, "content": CANARY},
    ],
    "tools": [{"type": "function", "function": {"name": CANARY, "description": CANARY, "parameters": {"type": "object", "title": CANARY}}}],
    "user": CANARY,
    "metadata": {CANARY: CANARY},
    "stop": [CANARY],
    f"x_{CANARY}": CANARY,
}
LET_THROUGH = {"allowed", "unknown parameter", "a proposed tool"}
HEADERS = {"user-agent": CANARY, "x-anything": CANARY, "cookie": f"a={CANARY}", "baggage": f"a={CANARY}", "traceparent": CANARY}
WAYS = {
    "allowed": {**EVERYWHERE},
    "denied by a rule": {**EVERYWHERE, "temperature": 2.0},
    "denied by rbac": {"who": "poor", **EVERYWHERE},
    "over its budget": {"who": "broke", **EVERYWHERE},
    "unknown key": {"who": f"sk-{CANARY}", **EVERYWHERE},
    "unknown model": {"model": CANARY, **EVERYWHERE},
    "unknown path": {"path": f"/v1/{CANARY}?{CANARY}={CANARY}", **EVERYWHERE},
    "unknown parameter": {"path": f"/v1/chat/completions?{CANARY}={CANARY}", **EVERYWHERE},
    "a proposed tool": {
        "messages": [{"role": "user", "content": f'call rm {{"path": "{CANARY}"}}'}],
        "tools": [{"type": "function", "function": {"name": "rm", "parameters": {"type": "object"}}}],
    },
    "wrong shape": {"messages": CANARY},
    "wrong type": {"temperature": CANARY, **EVERYWHERE},
}


async def everything_told(stage, capfd):
    """Standard output and error, every record but the names that callers choose, and all metrics."""
    rows = stage.records()
    for row in rows:
        row["call"].pop("target")
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{stage.port('health')}/metrics") as answer:
        metrics = await answer.text()
    said = capfd.readouterr()
    return json.dumps(rows) + metrics + said.out + said.err


@pytest.mark.parametrize("way", WAYS)
async def test_a_word_in_every_place_of_a_request_is_in_no_record_metric_log_or_error(stage, ask, capfd, way):
    answer = await ask(stage, **{"headers": HEADERS, **WAYS[way]})
    if way not in LET_THROUGH or way == "a proposed tool":
        assert CANARY not in answer.text + str(answer.headers)
    assert (answer.status == 200, stage.upstream.count) == ((True, 1) if way in LET_THROUGH else (False, 0))
    assert not any(CANARY in seen.path + str(seen.headers) for seen in stage.upstream.requests)
    told = await everything_told(stage, capfd)
    assert answer.headers["x-sidecar-decision"] in told
    assert CANARY not in told
    assert stage.tokens["dev"] not in told
    assert "upstream-secret" not in told


BROKEN = {
    "no json": f'{{"model": {CANARY}',
    "a key twice": f'{{"model": "gpt-4o", "{CANARY}": 1, "{CANARY}": 2}}',
    "a key twice that is read": f'{{"model": "gpt-4o", "Model": "{CANARY}"}}',
    "half a surrogate": f'{{"model": "gpt-4o", "user": "{CANARY}\\ud800"}}',
    "a huge number": f'{{"model": "gpt-4o", "{CANARY}": 1{"0" * 30}}}',
    "too deep": f'{{"{CANARY}": {"[" * 2000}{"]" * 2000}}}',
    "not utf-8": f'{{"model": "{CANARY}'.encode() + b'\xff"}',
}


@pytest.mark.parametrize("way", BROKEN)
async def test_what_cannot_be_read_is_refused_and_recorded_without_its_words(stage, capfd, way):
    headers = {"authorization": f"Bearer {stage.tokens['dev']}", "content-type": "application/json", **HEADERS}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{stage.base}/v1/chat/completions", data=BROKEN[way], headers=headers) as answer,
    ):
        assert answer.status == 400
        assert CANARY not in await answer.text()
        decision = answer.headers["x-sidecar-decision"]
    told = await everything_told(stage, capfd)
    assert [(row["id"], row["refusal"]["kind"]) for row in stage.records()] == [(decision, "malformed")]
    assert CANARY not in told
    assert stage.upstream.count == 0


async def test_a_bug_is_loud_and_counted_and_still_tells_no_content(stage, ask, capfd, monkeypatch):
    async def broken(_permit):
        raise RuntimeError(CANARY)

    monkeypatch.setattr(stage.sidecar.services.active().core, "send", broken)
    answer = await ask(stage)
    assert (answer.status, answer.code) == (500, "internal_error")
    assert CANARY not in answer.text
    told = await everything_told(stage, capfd)
    assert "bug: RuntimeError" in told
    assert "sidecar_bugs_total 1.0" in told
    assert CANARY not in told
    assert stage.upstream.count == 0


# ---------------------------------------------------------------- a sink that is down


def down_then_well(on_error):
    """A stage whose record file cannot be opened as long as a file stands where its directory should be."""
    return lambda stage: stage.documents(records={"sinks": [{"file": "log/decisions.jsonl"}], "onError": on_error})


async def ready(stage):
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{stage.port('health')}/readyz") as answer:
        return answer.status, (await answer.text()).strip()


@pytest.mark.parametrize("case", ["allowed", "denied", "malformed", "streamed"])
async def test_with_deny_nothing_is_forwarded_while_a_sink_is_down_and_calls_go_on_when_it_is_well(make_stage, ask, case):
    fields = {"allowed": {}, "denied": {"temperature": 2.0}, "malformed": {"messages": 5}, "streamed": {"stream": True}}[case]
    async with make_stage(down_then_well("deny")) as stage:
        wall = stage.state / "log"
        wall.write_text("")
        assert await ready(stage) == (200, "ready")
        answer = await ask(stage, **fields)
        assert (answer.status, answer.code, answer.headers["x-should-retry"]) == (503, "records_unavailable", "false")
        assert str(stage.state) not in answer.text
        assert stage.upstream.count == 0
        assert await ready(stage) == (503, "unready")
        wall.unlink()
        answer = await ask(stage, **fields)
        assert answer.status == {"allowed": 200, "denied": 403, "malformed": 400, "streamed": 200}[case]
        assert await ready(stage) == (200, "ready")
        assert [json.loads(line)["id"] for line in lines(stage, "log/decisions.jsonl")] == [answer.headers["x-sidecar-decision"]]


async def test_what_was_reserved_comes_back_when_the_record_cannot_be_written(make_stage, ask):
    async with make_stage(down_then_well("deny")) as stage:
        (stage.state / "log").write_text("")
        await ask(stage)
        assert stage.sidecar.counters.stats().pending == 0


async def test_bytes_that_are_no_request_are_refused_in_the_same_way_while_a_sink_is_down(make_stage):
    async with make_stage(down_then_well("deny")) as stage:
        (stage.state / "log").write_text("")
        reader, writer = await asyncio.open_connection("127.0.0.1", stage.port("data"))
        writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n")
        answer = await reader.read()
        writer.close()
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"records_unavailable" in answer
        assert stage.sidecar.metrics.snapshot("sidecar_bugs") == {}


async def test_with_allow_calls_go_on_and_each_loss_is_counted(make_stage, ask):
    async with make_stage(down_then_well("allow")) as stage:
        (stage.state / "log").write_text("")
        assert [(await ask(stage)).status for _ in range(3)] == [200, 200, 200]
        assert stage.upstream.count == 3
        assert stage.sidecar.metrics.snapshot("sidecar_records_lost") == {(): 3.0}


async def test_one_of_two_sinks_down_is_enough_and_the_other_has_the_decision(make_stage, ask):
    sinks = [{"file": "decisions.jsonl"}, {"file": "/dev/full"}]
    async with make_stage(lambda stage: stage.documents(records={"sinks": sinks})) as stage:
        answer = await ask(stage)
        assert (answer.status, stage.upstream.count) == (503, 0)
        assert len(stage.records()) == 1
