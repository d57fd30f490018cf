"""The health port, and what every port asks of Host and Origin. The admin port's own answers are in `test_admin.py`."""

import asyncio

import pytest

# ---------------------------------------------------------------- health


@pytest.mark.parametrize(("path", "word"), [("/healthz", "ok"), ("/readyz", "ready"), ("/readyz?verbose", "ready")])
async def test_a_probe_is_answered_with_one_word(stage, fetch, path, word):
    told = await fetch(stage, "health", path)
    assert (told.status, told.text, told.headers["content-type"]) == (200, f"{word}\n", "text/plain; charset=utf-8")


@pytest.mark.parametrize("path", ["/", "/healthz/", "/healthz/x", "/api/v1/status", "/v1/models", "/v1/chat/completions", "/metrics/x", "/%2fhealthz"])
async def test_there_is_nothing_else_on_the_health_port(stage, fetch, path):
    assert (await fetch(stage, "health", path)).status == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
async def test_the_health_port_is_for_reading(stage, fetch, method):
    told = await fetch(stage, "health", "/metrics", method=method)
    assert (told.status, told.headers["allow"]) == (405, "GET, HEAD")


async def test_a_head_request_has_no_body(stage, fetch):
    told = await fetch(stage, "health", "/healthz", method="HEAD")
    assert (told.status, told.text) == (200, "")


async def test_readiness_drops_while_open_streams_finish(make_stage, ask, fetch):
    async with make_stage(lambda stage: stage.documents(limits={"drain": "10s"})) as stage:
        stage.upstream.mode = "hang"
        asking = asyncio.ensure_future(ask(stage))
        await asyncio.wait_for(stage.upstream.reached.wait(), 5)
        closing = asyncio.ensure_future(stage.sidecar.close())
        await asyncio.sleep(0)
        told = await fetch(stage, "health", "/readyz")
        assert (told.status, told.text) == (503, "unready\n")
        assert (await fetch(stage, "health", "/healthz")).status == 200
        assert (await asking).status == 504, "the call that was open came to its own end"
        await closing


# ---------------------------------------------------------------- Host and Origin

PATHS = {"data": "/v1/models", "health": "/healthz", "admin": "/api/v1/status"}
FOREIGN = {
    "another name": {"host": "evil.example"},
    "another name with our port": {"host": "evil.example:4100"},
    "ours as a part": {"host": "localhost.evil.example"},
    "a name that begins like an address": {"host": "127.0.0.1.evil.example"},
    "no name": {"host": ""},
    "a page": {"origin": "https://evil.example"},
    "a page without an origin": {"origin": "null"},
    "a page on this machine": {"origin": "http://localhost:3000"},
}


@pytest.mark.parametrize("port", PATHS)
@pytest.mark.parametrize("case", FOREIGN)
async def test_every_port_refuses_foreign_hosts_and_origins(stage, fetch, admin_of, port, case):
    credential = await admin_of(stage) if port == "admin" else {"authorization": f"Bearer {stage.tokens['dev']}"}
    told = await fetch(stage, port, PATHS[port], headers={**credential, **FOREIGN[case]})
    assert told.status in ({403} if FOREIGN[case].get("host") != "" else {400, 403})
    assert not [name for name in told.headers if name.startswith("access-control-")]


@pytest.mark.parametrize("port", PATHS)
@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1", "[::1]:4100", "localhost."])
async def test_every_port_knows_the_names_of_loopback(stage, fetch, admin_of, port, host):
    credential = await admin_of(stage) if port == "admin" else {"authorization": f"Bearer {stage.tokens['dev']}"}
    assert (await fetch(stage, port, PATHS[port], headers={**credential, "host": host})).status == 200


@pytest.mark.parametrize("host", ["10.1.2.3:4102", "[fd00::7]:4102", "10.1.2.3"])
async def test_a_kubelet_names_the_pods_address_on_the_health_port_alone(stage, fetch, host):
    assert (await fetch(stage, "health", "/readyz", headers={"host": host})).status == 200
    assert (await fetch(stage, "data", "/v1/models", headers={"host": host, "authorization": f"Bearer {stage.tokens['dev']}"})).status == 403


async def test_hosts_and_origins_that_are_configured_come_in(make_stage, fetch):
    listen = {"host": "127.0.0.1", "port": 0, "hosts": ["llm.internal"], "origins": ["https://app.example.com"]}
    async with make_stage(lambda stage: stage.documents(listen=listen)) as stage:
        credential = {"authorization": f"Bearer {stage.tokens['dev']}", "host": "llm.internal:4100"}
        told = await fetch(stage, "data", "/v1/models", headers={**credential, "origin": "https://app.example.com"})
        assert told.status == 200
        assert not [name for name in told.headers if name.startswith("access-control-")], "no CORS header is sent by default"
