"""Ids that a provider mints belong to who made them: a foreign one is an unknown one, and a retrieved reply is screened like a new one."""

import asyncio
import json
import re
import sqlite3

import aiohttp
import openai
import pytest
from aiohttp import web

from sidecar.route.echo_script import Memory
from sidecar.testing import CountingUpstream, document, running

CALL = 'call read {"path":"/srv/a"}\ncall rm {"path":"/srv/QQQQQQQQQQQQQQQQ"}'
TOOLS = [{"type": "function", "name": name, "parameters": {"type": "object"}} for name in ("read", "rm")]
STORED = {
    "retrieve": ("GET", "/v1/responses/{id}"),
    "retrieve as events": ("GET", "/v1/responses/{id}?stream=true"),
    "cancel": ("POST", "/v1/responses/{id}/cancel"),
    "delete": ("DELETE", "/v1/responses/{id}"),
    "input items": ("GET", "/v1/responses/{id}/input_items?limit=5"),
}
USES = [*STORED, "previous", "previous streamed"]


async def say(stage, method, path, body=None, who="dev"):
    headers = {"authorization": f"Bearer {stage.tokens[who]}"}
    async with aiohttp.ClientSession() as session, session.request(method, stage.base + path, json=body, headers=headers) as answer:
        return answer.status, dict(answer.headers), await answer.read()


async def made(stage, who="dev", text="hello", **more):
    """The id of a new response of `who`."""
    status, _, data = await say(stage, "POST", "/v1/responses", {"model": "gpt-4o", "input": text, **more}, who)
    assert status == 200, data
    found = re.search(rb'"id":"(resp_[^"]+)"', data)
    return found[1].decode()


async def use(stage, case, id, who="dev"):
    if case.startswith("previous"):
        body = {"model": "gpt-4o", "input": "go on", "previous_response_id": id, "stream": case.endswith("streamed")}
        return await say(stage, "POST", "/v1/responses", body, who)
    method, path = STORED[case]
    return await say(stage, method, path.format(id=id), who=who)


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("case", ["retrieve", "cancel", "delete", "previous", "previous streamed"])
async def test_ones_own_response_is_found_again(stage, case, streamed):
    id = await made(stage, stream=streamed)
    status, _, _ = await use(stage, case, id)
    assert status == 200
    assert stage.upstream.count == 2
    assert stage.records()[-1]["facts"]["owner"] == "own"


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("case", USES)
async def test_a_foreign_response_and_an_unknown_one_are_the_same_404(stage, case, streamed):
    id = await made(stage, stream=streamed)
    answers = {}
    for name, one in (("foreign", id), ("unknown", "resp_" + "0" * (len(id) - 5))):
        status, headers, data = await use(stage, case, one, "other")
        row = stage.records()[-1]
        assert (status, row["facts"]["owner"], row["refusal"]["code"]) == (404, name, "not_found")
        shown = {key.lower(): value for key, value in headers.items() if key.lower() not in {"x-request-id", "x-sidecar-decision"}}
        answers[name] = (status, shown, data.replace(row["id"].encode(), b""))
        assert one.encode() not in data
    assert answers["foreign"] == answers["unknown"]
    assert stage.upstream.count == 1, "nobody asked the upstream"


async def test_the_sdk_raises_not_found_for_a_foreign_response(stage):
    client = openai.AsyncOpenAI(base_url=f"{stage.base}/v1", api_key=stage.tokens["other"])
    mine = openai.AsyncOpenAI(base_url=f"{stage.base}/v1", api_key=stage.tokens["dev"])
    first = await mine.responses.create(model="gpt-4o", input="hello")
    again = await mine.responses.create(model="gpt-4o", input="again", previous_response_id=first.id)
    assert (await mine.responses.retrieve(again.id)).output_text == "You said: again"
    before = stage.upstream.count
    for asking in (client.responses.retrieve(first.id), client.responses.cancel(first.id), client.responses.input_items.list(first.id)):
        with pytest.raises(openai.NotFoundError):
            await asking
    with pytest.raises(openai.NotFoundError):
        await client.responses.create(model="gpt-4o", input="x", previous_response_id=first.id)
    assert stage.upstream.count == before
    await client.close()
    await mine.close()


@pytest.mark.parametrize("case", ["/v1/responses/{id}/../{id}", "/v1/responses/{id}%2fcancel", "/v1/responses/{id}/cancel/x", "/v1/responses/{id}/output"])
async def test_no_spelling_reaches_a_stored_response_in_another_way(stage, case):
    id = await made(stage)
    status, _, _ = await say(stage, "GET", case.format(id=id), who="other")
    assert status in {400, 404, 405}
    assert stage.upstream.count == 1


async def test_an_item_of_somebody_elses_response_is_unknown_too(stage):
    _, _, data = await say(stage, "POST", "/v1/responses", {"model": "gpt-4o", "input": "hello"})
    item = json.loads(data)["output"][0]["id"]
    body = {"model": "gpt-4o", "input": [{"type": "item_reference", "id": item}, {"role": "user", "content": "go on"}]}
    assert (await say(stage, "POST", "/v1/responses", body))[0] == 200
    assert (await say(stage, "POST", "/v1/responses", body, "other"))[0] == 404
    assert stage.upstream.count == 2


@pytest.mark.parametrize("name", ["conversation", "prompt"])
async def test_what_was_never_seen_here_cannot_be_named(stage, name):
    body = {"model": "gpt-4o", "input": "x", name: {"id": f"{name}_123"}}
    assert (await say(stage, "POST", "/v1/responses", body))[0] == 404
    assert stage.upstream.count == 0


async def test_a_retrieved_response_is_screened_under_the_rules_of_now(stage):
    """What was taken out when it was new is taken out when it is fetched."""
    id = await made(stage, text=CALL, tools=TOOLS)
    for method, path in (STORED["retrieve"], STORED["cancel"]):
        status, _, data = await say(stage, method, path.format(id=id))
        assert status == 200
        assert b"QQQQ" not in data
        assert [item["type"] for item in json.loads(data)["output"]] == ["function_call", "message"]
    assert [row["effect"] for row in stage.records() if row["call"].get("tool") == "rm"] == ["deny"] * 3


async def test_a_retrieved_stream_is_screened_too(stage):
    id = await made(stage, text=CALL, tools=TOOLS, stream=True)

    async def again(request, body):
        return web.Response(body=stage.upstream.answers[0], content_type="text/event-stream")

    stage.upstream.custom = again
    status, headers, data = await say(stage, "GET", f"/v1/responses/{id}?stream=true")
    assert (status, headers["Content-Type"]) == (200, "text/event-stream")
    assert b"denied by tools/no-rm" in data
    assert b"QQQQ" not in data


async def test_fetching_a_response_again_is_not_paid_again(make_stage, ended):
    async with make_stage(on_finished=ended) as stage:
        id = await made(stage)
        await use(stage, "retrieve", id)
        used = [settlement.usage for _, _, settlement in ended.seen]
    assert (used[0].output_tokens > 0, used[1].input_tokens, used[1].output_tokens) == (True, 0, 0)


async def test_owners_outlive_the_process(stage, tmp_path):
    id = await made(stage)
    await stage.sidecar.close(grace=0)
    async with running(stage.directory, environ={"UP_KEY": "k"}, state=stage.state) as again:
        stage.sidecar = again
        assert (await use(stage, "retrieve", id))[0] == 200
        assert (await use(stage, "retrieve", id, "other"))[0] == 404
        assert stage.upstream.count == 2


async def test_a_response_goes_back_to_the_upstream_that_made_it(make_stage):
    async with CountingUpstream(_memory=Memory(run="second")).running() as second:

        def documents(stage):
            twin = {**stage.documents()[2], "metadata": {"name": "up-twin"}}
            twin["spec"] = {**twin["spec"], "url": second.url}
            to = [{"upstream": "up-openai", "weight": 1}, {"upstream": "up-twin", "weight": 1}]
            return [*stage.documents(), twin, document("Route", "both", match={"target": ["gpt-4o"]}, to=to, strategy="weighted")]

        async with make_stage(documents) as stage:
            for _ in range(6):
                before = (stage.upstream.count, second.count)
                id = await made(stage)
                where = (stage.upstream.count - before[0], second.count - before[1])
                assert [(await use(stage, case, id))[0] for case in ("previous", "retrieve", "delete")] == [200, 200, 200]
                after = (stage.upstream.count - before[0], second.count - before[1])
                assert after == (4 * where[0], 4 * where[1])


def broken(stage):
    """Take the table away under the running process."""
    with sqlite3.connect(stage.state / "sidecar.db") as database:
        database.execute("DROP TABLE owners")
    database.close()
    stage.sidecar.owners._recent.clear()


@pytest.mark.parametrize("case", USES)
async def test_without_the_owners_store_nobody_gets_anything(stage, case):
    id = await made(stage)
    broken(stage)
    status, headers, data = await use(stage, case, id)
    assert (status, json.loads(data)["error"]["code"], headers["x-should-retry"]) == (503, "owners_unavailable", "false")
    assert stage.upstream.count == 1


async def test_an_id_that_could_not_be_recorded_is_not_told(stage):
    await made(stage)
    broken(stage)
    status, _, data = await say(stage, "POST", "/v1/responses", {"model": "gpt-4o", "input": "x"})
    assert (status, json.loads(data)["error"]["code"]) == (503, "owners_unavailable")
    status, _, data = await say(stage, "POST", "/v1/responses", {"model": "gpt-4o", "input": "x", "stream": True})
    assert b"resp_up" not in data
    assert (status, b"response.completed" in data) == (200, False)
    assert data.count(b"data: ") == 1
    assert b'"code":"owners_unavailable"' in data


async def test_an_id_that_two_upstreams_mint_is_told_once(make_stage):
    """Which of the two a later call means could not be known."""
    async with CountingUpstream().running() as second:

        def documents(stage):
            twin = {**stage.documents()[2], "metadata": {"name": "up-twin"}}
            twin["spec"] = {**twin["spec"], "url": second.url, "models": [{"name": "twin"}]}
            return [*stage.documents(), twin]

        async with make_stage(documents) as stage:
            id = await made(stage)
            status, _, data = await say(stage, "POST", "/v1/responses", {"model": "twin", "input": "x"})
            assert (status, id.encode() in data) == (503, False)


async def test_two_at_once_never_own_the_same_id(stage):
    """An upstream that mints one id twice: the first keeps it, the second is told nothing."""
    fixed = {"id": "resp_same", "object": "response", "status": "completed", "model": "gpt-4o", "output": []}
    stage.upstream.custom = lambda _request, _body: _json(fixed)
    body = {"model": "gpt-4o", "input": "x"}
    answers = await asyncio.gather(say(stage, "POST", "/v1/responses", body), say(stage, "POST", "/v1/responses", body, "other"))
    assert sorted(status for status, _, _ in answers) == [200, 503]


async def _json(value):
    return web.json_response(value)
