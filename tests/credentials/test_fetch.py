"""Key sets over real TLS on this machine: what is dialled, what is followed, how much is read."""

from __future__ import annotations

import asyncio
import json
import ssl

import pytest
import trustme
from aiohttp import web

from sidecar.credentials import fetch
from sidecar.errors import UpstreamGarbage, UpstreamTimeout, UpstreamUnreachable


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture
async def site(authority):
    """Serves a key set and several things that are none; counts what it was asked."""
    asked = []

    async def keys(request):
        asked.append(request.path)
        return web.Response(body=json.dumps({"keys": []}).encode())

    async def moved(request):
        raise web.HTTPFound("/keys")

    async def gzipped(request):
        answer = web.Response(body=b"x" * 1000)
        answer.headers["content-encoding"] = "gzip"
        return answer

    async def endless(request):
        answer = web.StreamResponse()
        await answer.prepare(request)
        for _ in range(100):
            await answer.write(b"x" * 64 * 1024)
        return answer

    async def silent(request):
        await asyncio.Event().wait()

    app = web.Application()
    app.add_routes([web.get("/keys", keys), web.get("/moved", moved), web.get("/gzipped", gzipped), web.get("/endless", endless), web.get("/silent", silent)])
    runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost", "127.0.0.1").configure_cert(context)
    server = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await server.start()
    port = server._server.sockets[0].getsockname()[1]
    yield port, asked
    await runner.cleanup()


@pytest.fixture
def trusting(authority):
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


async def test_a_key_set_is_brought(site, trusting):
    get = fetch.fetcher(allowed=("127.0.0.1", "::1"), tls=trusting)
    assert json.loads(await get(f"https://localhost:{site[0]}/keys")) == {"keys": []}


async def test_a_name_that_resolves_to_a_private_address_is_not_dialled(site, trusting):
    with pytest.raises(UpstreamUnreachable):
        await fetch.fetcher(tls=trusting)(f"https://localhost:{site[0]}/keys")
    assert site[1] == []


async def test_an_address_written_in_the_url_is_named_by_that(site, trusting):
    assert await fetch.fetcher(tls=trusting)(f"https://127.0.0.1:{site[0]}/keys")


async def test_a_certificate_nobody_vouches_for_is_refused(site):
    with pytest.raises(UpstreamUnreachable):
        await fetch.fetcher()(f"https://127.0.0.1:{site[0]}/keys")
    assert site[1] == []


async def test_a_redirect_is_not_followed(site, trusting):
    with pytest.raises(UpstreamGarbage, match="302"):
        await fetch.fetcher(tls=trusting)(f"https://127.0.0.1:{site[0]}/moved")
    assert site[1] == []


@pytest.mark.parametrize(("path", "says"), [("missing", "404"), ("gzipped", "encoded"), ("endless", "too large")])
async def test_what_is_no_plain_key_set_is_refused(site, trusting, path, says):
    with pytest.raises(UpstreamGarbage, match=says):
        await fetch.fetcher(tls=trusting)(f"https://127.0.0.1:{site[0]}/{path}")


async def test_an_issuer_that_says_nothing_is_given_up(site, trusting, monkeypatch):
    monkeypatch.setattr(fetch, "TIMEOUT", 0.2)
    with pytest.raises(UpstreamTimeout):
        await fetch.fetcher(tls=trusting)(f"https://127.0.0.1:{site[0]}/silent")


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1/keys", "https://u:p@127.0.0.1/keys", "https://0x7f.1/keys", "https://[::1%25lo]/keys", "https:///keys", "file:///etc/passwd"]
)
async def test_a_url_with_another_reading_is_refused(url):
    with pytest.raises(UpstreamGarbage):
        await fetch.fetcher()(url)


async def test_proxies_of_the_environment_are_not_used(site, trusting, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    assert await fetch.fetcher(tls=trusting)(f"https://127.0.0.1:{site[0]}/keys")
