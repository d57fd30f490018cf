"""TLS to an upstream, on the wire: its certificate is verified for the URL's own host while the checked address is dialled."""

import json
import ssl
from contextlib import asynccontextmanager

import pytest
import trustme
from aiohttp import web

from sidecar.testing import document

NAME = "llm.example.test"


async def loopback(host, port):
    """A resolver by which every name is this machine."""
    return ["127.0.0.1"]


def documents(port, **more):
    """One https upstream, for everybody the usual stage knows."""

    def made(stage):
        where = {"protocol": "llm", "dialect": "openai", "url": f"https://{NAME}:{port or stage.upstream.port}/v1", "addresses": ["127.0.0.1"]}
        waits = {"connect": "1s", "firstByte": "2s", "idle": "2s"}
        kept = [one for one in stage.documents() if one["kind"] != "Upstream"]
        models = [{"name": "gpt-4o", "price": {"input": 1, "output": 1}}]
        return [*kept, document("Upstream", "up", **where, timeouts=waits, retry={"attempts": 1}, models=models, **more)]

    return made


@asynccontextmanager
async def provider(identity=None, clients=None):
    """An https provider with this certificate; `.names` holds the SNI of each handshake, `.seen` the requests."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    identity.configure_cert(context)
    if clients is not None:
        clients.configure_trust(context)
        context.verify_mode = ssl.CERT_REQUIRED
    made = Provider()
    context.sni_callback = lambda connection, name, context: made.names.append(name)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", made.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    made.port = runner.addresses[0][1]
    try:
        yield made
    finally:
        await runner.cleanup()


class Provider:
    def __init__(self):
        self.names, self.seen, self.port = [], [], 0

    async def answer(self, request):
        self.seen.append(request.headers["host"])
        said = {"id": "c1", "object": "chat.completion", "created": 1, "model": "gpt-4o", "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}]}  # fmt: skip
        return web.Response(body=json.dumps(said).encode(), content_type="application/json")


def authority(tmp_path):
    made = trustme.CA()
    made.cert_pem.write_to_path(tmp_path / "ca.pem")
    return made, {"ca": str(tmp_path / "ca.pem")}


async def test_tls_verifies_and_names_the_urls_own_host_while_the_checked_address_is_dialled(make_stage, ask, tmp_path):
    trusted, tls = authority(tmp_path)
    async with provider(trusted.issue_cert(NAME)) as up, make_stage(documents(up.port, tls=tls), resolver=loopback) as stage:
        assert (await ask(stage)).status == 200
        assert (up.names, up.seen) == ([NAME], [f"{NAME}:{up.port}"])


WRONG = {
    "another name": lambda trusted: trusted.issue_cert("other.example.test"),
    "the address in place of the name": lambda trusted: trusted.issue_cert("127.0.0.1"),
    "another authority": lambda trusted: trustme.CA().issue_cert(NAME),
}


@pytest.mark.parametrize("case", WRONG)
async def test_a_certificate_of_somebody_else_is_a_502_and_nothing_is_sent(make_stage, ask, tmp_path, case):
    trusted, tls = authority(tmp_path)
    async with provider(WRONG[case](trusted)) as up, make_stage(documents(up.port, tls=tls), resolver=loopback) as stage:
        answer = await ask(stage)
        assert (answer.status, answer.code) == (502, "upstream_unreachable")
        assert up.seen == []


async def test_without_an_authority_of_its_own_an_upstream_is_verified_by_the_systems(make_stage, ask, tmp_path):
    trusted, _ = authority(tmp_path)
    async with provider(trusted.issue_cert(NAME)) as up, make_stage(documents(up.port), resolver=loopback) as stage:
        assert (await ask(stage)).status == 502
        assert up.seen == []


async def test_an_https_upstream_that_speaks_plainly_is_a_502(make_stage, ask, tmp_path):
    _, tls = authority(tmp_path)
    async with make_stage(documents(None, tls=tls), resolver=loopback) as stage:
        assert (await ask(stage)).status == 502
        assert stage.upstream.count == 0


async def test_a_client_certificate_is_shown_to_the_upstream(make_stage, ask, tmp_path):
    trusted, tls = authority(tmp_path)
    clients = trustme.CA()
    mine = clients.issue_cert("sidecar.example.test")
    mine.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    mine.private_key_pem.write_to_path(tmp_path / "key.pem")
    shown = {**tls, "cert": str(tmp_path / "cert.pem"), "key": str(tmp_path / "key.pem")}
    async with provider(trusted.issue_cert(NAME), clients) as up:
        async with make_stage(documents(up.port, tls=shown), name="with", resolver=loopback) as stage:
            assert (await ask(stage)).status == 200
        async with make_stage(documents(up.port, tls=tls), name="without", resolver=loopback) as stage:
            assert (await ask(stage)).status == 502
        assert len(up.seen) == 1
