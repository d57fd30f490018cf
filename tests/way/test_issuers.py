"""Where an issuer's keys come from, on the wire: a file or an https server that changes them, goes away, or answers nonsense."""

import asyncio
import json
import ssl
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
import jwt
import pytest
import trustme
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec

from sidecar.credentials.fetch import fetcher
from sidecar.testing import EPOCH, FrozenClock, document, write

ISSUER = "https://id.example.com"
CHAT = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]}
OLD, NEW, STRANGER = (ec.generate_private_key(ec.SECP256R1()) for _ in range(3))
NAMES = {OLD: "old", NEW: "new", STRANGER: "stranger"}


def keyset(*keys):
    algorithm = jwt.algorithms.ECAlgorithm(jwt.algorithms.ECAlgorithm.SHA256)
    return json.dumps({"keys": [{**json.loads(algorithm.to_jwk(key.public_key())), "kid": NAMES[key], "use": "sig"} for key in keys]})


def token(key=OLD, **claims):
    made = {"iss": ISSUER, "aud": "sidecar", "sub": "u1", "exp": int(EPOCH) + 86400, **claims}
    return jwt.encode(made, key, algorithm="ES256", headers={"kid": NAMES[key]})


def documents(where, extra=()):
    """Let users of the issuer through, and nobody else."""

    def made(stage):
        method = {"jwt": {"issuer": ISSUER, "audience": "sidecar", "jwks": str(where)}}
        allow = document("Policy", "p", match={"subjects": ["user:*"]}, rules=[{"name": "yes", "effect": "allow"}])
        kept = [one for one in stage.documents() if one["kind"] in {"Settings", "Upstream"}]
        return [*kept, document("Identity", "way", methods=[method]), allow, *extra]

    return made


async def ask(stage, value):
    url = f"{stage.base}/v1/chat/completions"
    async with aiohttp.ClientSession() as session, session.post(url, json=CHAT, headers={"authorization": f"Bearer {value}"}) as answer:
        said = await answer.json(content_type=None)
        return answer.status, (said.get("error") or {}).get("type"), answer.headers.get("x-should-retry")


@dataclass
class KeyServer:
    """An https server on loopback that gives out a key set, with a certificate of an authority of its own."""

    authority: trustme.CA = field(default_factory=trustme.CA)
    body: str = ""
    status: int = 200
    headers: dict = field(default_factory=dict)
    fetched: int = 0
    silent: bool = False
    url: str = ""
    asked: asyncio.Event = field(default_factory=asyncio.Event)

    @asynccontextmanager
    async def running(self):
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.authority.issue_cert("127.0.0.1").configure_cert(context)
        app = web.Application()
        app.router.add_get("/keys", self._keys)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
        self.url = f"https://127.0.0.1:{runner.addresses[0][1]}/keys"
        try:
            yield self
        finally:
            await runner.cleanup()

    async def _keys(self, request):
        self.fetched += 1
        self.asked.set()
        if self.silent and request.transport is not None:
            request.transport.abort()
        return web.Response(text=self.body, status=self.status, headers=self.headers)

    def fetch(self):
        """The product's own fetch, trusting this authority."""
        context = ssl.create_default_context()
        self.authority.configure_trust(context)
        return fetcher(tls=context)


@pytest.fixture
async def issuer():
    async with KeyServer(body=keyset(OLD)).running() as server:
        yield server


@pytest.fixture
def at(make_stage, issuer):
    """A stage whose issuer is the server; time moves by hand."""

    @asynccontextmanager
    async def made(*extra, fetch=None):
        clock = FrozenClock()
        async with make_stage(documents(issuer.url, extra), clock=clock, fetch=fetch or issuer.fetch()) as stage:
            stage.clock = clock
            yield stage

    return made


async def test_keys_of_an_https_issuer_are_fetched_at_start(at, issuer):
    async with at() as stage:
        assert (await ask(stage, token()))[0] == 200
        assert (await ask(stage, token(STRANGER)))[0] == 401
        assert (issuer.fetched, stage.upstream.count) == (1, 1), "an unknown key makes nobody fetch again so soon"


async def test_new_keys_are_taken_up_when_a_token_names_one_and_old_ones_end(at, issuer):
    async with at() as stage:
        assert (await ask(stage, token(OLD)))[0] == 200
        issuer.body = keyset(NEW)
        stage.clock.move(31)
        assert (await ask(stage, token(NEW)))[0] == 200
        assert (await ask(stage, token(OLD)))[0] == 401, "withdrawn, though it was let in a moment ago"
        assert issuer.fetched == 2


async def test_an_issuer_that_goes_away_changes_nothing_for_tokens_whose_keys_are_known(at, issuer):
    async with at() as stage:
        issuer.status = 500
        stage.clock.move(3600)
        assert (await ask(stage, token()))[0] == 200
        assert (await ask(stage, token(NEW)))[0] == 401
        assert issuer.fetched > 1


AWAY = {
    "down": {"silent": True},
    "500": {"status": 500},
    "404": {"status": 404},
    "no JSON": {"body": "<html>"},
    "a redirect": {"status": 302, "headers": {"location": "https://127.0.0.1:1/keys"}},
}


@pytest.mark.parametrize("case", AWAY)
async def test_an_issuer_never_reached_is_a_503_and_never_a_yes(at, issuer, case):
    for name, value in AWAY[case].items():
        setattr(issuer, name, value)
    async with at() as stage:
        for value in (token(), token(STRANGER)):
            assert await ask(stage, value) == (503, "server_error", "false")
        assert stage.upstream.count == 0
        assert [(row["effect"], row["principal"]) for row in stage.records()] == [("deny", None)] * 2
        assert (await ask(stage, token(aud="other")))[0] == 401, "no key could make this one good"
        issuer.silent, issuer.status, issuer.body = False, 200, keyset(OLD)
        stage.clock.move(31)
        assert (await ask(stage, token()))[0] == 200, "and it is asked again in time"


async def test_an_issuer_with_a_certificate_nobody_vouches_for_is_away(at, issuer):
    async with at(fetch=fetcher()) as stage:
        assert (await ask(stage, token()))[0] == 503
        assert (issuer.fetched, stage.upstream.count) == (0, 0)


async def test_a_reload_while_the_issuer_is_away_keeps_the_keys_there_were(at, issuer):
    async with at() as stage:
        assert (await ask(stage, token()))[0] == 200
        issuer.silent = True
        more = document("Policy", "more", match={}, rules=[{"name": "no", "when": "call.tokens > 100000", "effect": "deny"}])
        write(stage.directory, *documents(issuer.url, [more])(stage))
        before = stage.sidecar.services.active().generation
        await stage.sidecar.live.reload()
        assert stage.sidecar.services.active().generation == before + 1
        assert (await ask(stage, token()))[0] == 200


async def test_keys_in_a_file_are_read_again_while_running(make_stage, tmp_path):
    path, clock = tmp_path / "jwks.json", FrozenClock()
    path.write_text(keyset(OLD))
    async with make_stage(documents(path), clock=clock) as stage:
        assert (await ask(stage, token(OLD)))[0] == 200
        path.write_text(keyset(NEW, STRANGER))
        clock.move(2)
        assert (await ask(stage, token(NEW)))[0] == 200
        assert (await ask(stage, token(OLD)))[0] == 401
        path.unlink()
        clock.move(2)
        assert (await ask(stage, token(STRANGER)))[0] == 200, "a file that is gone changes nothing"
        assert stage.upstream.count == 3


async def test_a_file_that_is_not_there_is_an_outage_until_it_is(make_stage, tmp_path):
    path, clock = tmp_path / "jwks.json", FrozenClock()
    async with make_stage(documents(path), clock=clock) as stage:
        assert await ask(stage, token()) == (503, "server_error", "false")
        path.write_text(keyset(OLD))
        clock.move(2)
        assert (await ask(stage, token()))[0] == 200
        assert stage.upstream.count == 1
