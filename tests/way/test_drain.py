"""The real process and SIGTERM: readiness drops, nobody new comes in, open streams finish, exit 0. And a second process on a taken port."""

import asyncio
import json
import os
import re
import signal
import socket
import sys
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web

from sidecar.credentials import keys
from sidecar.testing import CountingUpstream, document, write

TOKEN = keys.make(bytes([80]) * 24)
FIRST = b'data: {"id":"c","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"a"},"finish_reason":null}]}\n\n'
LAST = b"data: [DONE]\n\n"


class Held:
    """An upstream that streams one event and the end when it is let go."""

    def __init__(self):
        self.gate = asyncio.Event()

    async def __call__(self, request, body):
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        await response.write(FIRST)
        await self.gate.wait()
        await response.write(LAST)
        return response


def documents(url, *, drain="10s", **ports):
    where = {name: {"host": "127.0.0.1", "port": ports.get(name, 0)} for name in ("listen", "admin", "health")}
    return [
        document("Settings", "s", **where, limits={"drain": drain}),
        document("Identity", "i", methods=[{"apiKey": {"keys": [{"id": "dev", "sha256": keys.digest(TOKEN)}]}}]),
        document("Upstream", "up", protocol="llm", dialect="openai", url=url, models=[{"name": "gpt-4o"}]),
        document("Policy", "p", match={}, rules=[{"name": "yes", "effect": "allow"}]),
    ]


async def started(tmp_path, *made):
    """The real command; its standard output is read up to its ports."""
    directory = write(tmp_path / "policies", *made)
    environ = {**os.environ, "SIDECAR_STATE": str(tmp_path / "state"), "PYTHONUNBUFFERED": "1"}
    pipes = {"stdout": asyncio.subprocess.PIPE, "stderr": asyncio.subprocess.PIPE}
    return await asyncio.create_subprocess_exec(sys.executable, "-m", "sidecar", "run", "-c", str(directory), env=environ, **pipes)


@asynccontextmanager
async def process(tmp_path, **settings):
    """(process, data port, health port, upstream) of a sidecar that serves."""
    async with CountingUpstream().running() as up:
        up.custom = Held()
        child = await started(tmp_path, *documents(up.url, **settings))
        try:
            told = b""
            async with asyncio.timeout(20):
                while b"\nhealth " not in told:
                    told += await child.stdout.readline()
            ports = [int(re.search(pattern, told)[1]) for pattern in (rb" on http://127\.0\.0\.1:(\d+)", rb"health +http://127\.0\.0\.1:(\d+)")]
            yield child, *ports, up
        finally:
            if child.returncode is None:
                child.kill()
            await child.communicate()


def ask(session, port):
    body = {"model": "gpt-4o", "stream": True, "messages": [{"role": "user", "content": "hi"}]}
    return session.post(f"http://127.0.0.1:{port}/v1/chat/completions", json=body, headers={"authorization": f"Bearer {TOKEN}"})


async def unready(session, port):
    """Wait until readiness has dropped."""
    async with asyncio.timeout(5):
        while True:
            async with session.get(f"http://127.0.0.1:{port}/readyz") as answer:
                if answer.status == 503:
                    return await answer.text()
            await asyncio.sleep(0.01)


async def test_after_sigterm_open_streams_finish_and_nobody_new_comes_in(tmp_path):
    async with process(tmp_path) as (child, data, health, up), aiohttp.ClientSession() as session:
        kept = await asyncio.open_connection("127.0.0.1", data)
        async with ask(session, data) as stream:
            assert await stream.content.readuntil(b"\n\n") == FIRST
            child.send_signal(signal.SIGTERM)
            assert await unready(session, health) == "unready\n"
            with pytest.raises(aiohttp.ClientConnectorError):
                await ask(session, data)
            assert await kept[0].read() == b"", "an idle connection is closed"
            assert child.returncode is None
            up.custom.gate.set()
            assert await stream.content.read() == LAST
        assert await asyncio.wait_for(child.wait(), 10) == 0
        kept[1].close()
        assert up.count == 1
    rows = [json.loads(line) for line in (tmp_path / "state" / "decisions.jsonl").read_text().splitlines()]
    assert [row["type"] for row in rows] == ["decision", "checkpoint"], "the log has its signed end"


async def test_a_stream_that_outlives_the_grace_is_cut_and_no_false_end_is_told(tmp_path):
    async with process(tmp_path, drain="300ms") as (child, data, _, up), aiohttp.ClientSession() as session:
        async with ask(session, data) as stream:
            assert await stream.content.readuntil(b"\n\n") == FIRST
            child.send_signal(signal.SIGTERM)
            with pytest.raises(aiohttp.ClientPayloadError):
                await stream.content.read()
        assert await asyncio.wait_for(child.wait(), 10) == 0
        await asyncio.wait_for(up.closed.wait(), 5)


@pytest.mark.parametrize("port", ["listen", "admin", "health"])
async def test_a_second_process_on_a_taken_port_says_so_and_leaves_nothing_open(tmp_path, port):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        child = await started(tmp_path, *documents("http://127.0.0.1:9/v1", **{port: taken.getsockname()[1]}))
        async with asyncio.timeout(20):
            out, error = await child.communicate()
    assert (child.returncode, out) == (2, b"")
    assert error.startswith(b"cannot listen: ")
    assert b"Traceback" not in error


async def test_a_certificate_that_does_not_load_is_bad_configuration(tmp_path):
    (tmp_path / "key.pem").write_text("junk")
    settings, *others = documents("http://127.0.0.1:9/v1")
    settings["spec"]["listen"]["tls"] = {"cert": str(tmp_path / "key.pem"), "key": str(tmp_path / "key.pem")}
    child = await started(tmp_path, settings, *others)
    async with asyncio.timeout(20):
        out, error = await child.communicate()
    assert (child.returncode, out) == (3, b"")
    assert b"certificates" in error
    assert b"Traceback" not in error
