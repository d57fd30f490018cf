"""Signed tokens on the wire: every kind of key, every trick with a header, keys that change, an issuer that is away."""

import base64
import hashlib
import hmac
import json

import aiohttp
import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from sidecar.testing import EPOCH, FrozenClock, document

ISSUER = "https://id.example.com"
CHAT = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]}
ALGORITHMS = jwt.algorithms.get_default_algorithms()
KEYS = {
    "RS256": rsa.generate_private_key(65537, 2048),
    "ES256": ec.generate_private_key(ec.SECP256R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate(),
}
STRANGER = ec.generate_private_key(ec.SECP256R1())


def jwk(algorithm, key=None, **more):
    public = json.loads(ALGORITHMS[algorithm].to_jwk((key or KEYS[algorithm]).public_key()))
    public.pop("key_ops", None)
    return {**public, "kid": algorithm, "use": "sig", **more}


def jwks(*names):
    return json.dumps({"keys": [jwk(name) for name in names or KEYS]})


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def token(algorithm="ES256", *, header=None, key=None, **changes):
    """A token of the issuer; `...` takes a claim out."""
    claims = {"iss": ISSUER, "aud": "sidecar", "sub": "u1", "exp": int(EPOCH) + 3600, "iat": int(EPOCH), **changes}
    claims = {name: value for name, value in claims.items() if value is not ...}
    head = {"alg": algorithm, "typ": "JWT", "kid": algorithm, **(header or {})}
    signed = f"{b64(json.dumps(head).encode())}.{b64(json.dumps(claims).encode())}"
    return f"{signed}.{b64(ALGORITHMS[algorithm].sign(signed.encode(), key or KEYS[algorithm]))}"


def forged(header, sign=lambda signed: b""):
    """A token whose header is wrong and whose signature is somebody's own idea."""
    claims = {"iss": ISSUER, "aud": "sidecar", "sub": "admin", "exp": int(EPOCH) + 3600}
    signed = f"{b64(json.dumps({'typ': 'JWT', **header}).encode())}.{b64(json.dumps(claims).encode())}"
    return f"{signed}.{b64(sign(signed.encode()))}"


def confused(algorithm):
    """The issuer's public key taken for a shared secret."""
    pem = KEYS["RS256"].public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return forged({"alg": "HS256", "kid": algorithm}, lambda signed: hmac.digest(pem, signed, hashlib.sha256))


def documents(where, *others, when="true", **more):
    """An issuer whose keys are at `where`, claims of two types, one allow."""

    def made(stage):
        mapped = {"team": "team", "groups": "realm.groups"}
        method = {"jwt": {"issuer": ISSUER, "audience": "sidecar", "jwks": str(where), "map": mapped, **more}}
        claims = {"mfa": {"type": "bool", "default": False}, "level": {"type": "int", "default": 0}}
        allow = document("Policy", "p", match={}, rules=[{"name": "yes", "when": when, "effect": "allow"}])
        kept = [one for one in stage.documents() if one["kind"] in {"Settings", "Upstream"}]
        return [*kept, document("Identity", "way", methods=[method, *others], claims=claims), allow]

    return made


async def ask(stage, value, headers=()):
    url = f"{stage.base}/v1/chat/completions"
    async with aiohttp.ClientSession() as session, session.post(url, json=CHAT, headers=[("authorization", f"Bearer {value}"), *headers]) as answer:
        return answer.status, await answer.json(content_type=None)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "jwks.json"
    path.write_text(jwks())
    return path


@pytest.fixture
async def trusted(make_stage, file):
    """A stage that knows the issuer by a file, at a clock that stands."""
    clock = FrozenClock()
    async with make_stage(documents(file), clock=clock) as stage:
        stage.clock = clock
        yield stage


@pytest.mark.parametrize("algorithm", KEYS)
async def test_every_kind_of_key_lets_its_tokens_in_and_none_is_told_or_sent_on(trusted, capfd, algorithm):
    value = token(algorithm, team="red", realm={"groups": ["eng"]})
    assert (await ask(trusted, value))[0] == 200
    row = trusted.records()[0]
    assert (row["principal"]["id"], row["principal"]["team"]) == ("user:u1", "red")
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{trusted.port('health')}/metrics") as scrape:
        metrics = await scrape.text()
    for part in (value, value.split(".")[2]):
        for where in (str(trusted.upstream.requests), json.dumps(trusted.records()), metrics, "".join(capfd.readouterr())):
            assert part not in where


REFUSED = {
    "another audience": lambda: token(aud="other"),
    "no audience": lambda: token(aud=...),
    "another issuer": lambda: token(iss="https://evil.example.com"),
    "a longer issuer": lambda: token(iss=ISSUER + "/"),
    "no issuer": lambda: token(iss=...),
    "no exp": lambda: token(exp=...),
    "exp as text": lambda: token(exp=str(int(EPOCH) + 3600)),
    "no sub": lambda: token(sub=...),
    "empty sub": lambda: token(sub=""),
    "sub of several lines": lambda: token(sub="u1\nuser:root"),
    "expired": lambda: token(exp=int(EPOCH) - 31),
    "not yet": lambda: token(nbf=int(EPOCH) + 31),
    "issued tomorrow": lambda: token(iat=int(EPOCH) + 86400),
    "alg none": lambda: forged({"alg": "none"}),
    "alg NONE": lambda: forged({"alg": "nOnE", "kid": "RS256"}),
    "alg HS256 with the public key": lambda: confused("RS256"),
    "alg of another key": lambda: token("ES256", header={"kid": "RS256"}),
    "alg not configured": lambda: forged({"alg": "RS512", "kid": "RS256"}, lambda s: ALGORITHMS["RS512"].sign(s, KEYS["RS256"])),
    "jku": lambda: token(header={"jku": "https://evil.example.com/keys"}),
    "x5u": lambda: token(header={"x5u": "https://evil.example.com/cert"}),
    "x5c": lambda: token(header={"x5c": ["MII"]}),
    "its own key": lambda: token(key=STRANGER, header={"jwk": jwk("ES256", STRANGER)}),
    "crit": lambda: token(header={"crit": ["exp"]}),
    "another's signature": lambda: token(key=STRANGER),
    "unknown kid": lambda: token(header={"kid": "nobody"}),
    "a path for a kid": lambda: token(header={"kid": "../../dev/null"}),
    "a logout token": lambda: token(header={"typ": "logout+jwt"}),
    "a claim of another type": lambda: token(mfa="yes"),
    "an act that is none": lambda: token(act="u2"),
    "no signature": lambda: token().rpartition(".")[0] + ".",
    "a bit of the signature": lambda: token()[:-6] + ("A" if token()[-6] != "A" else "B") + token()[-5:],
    "padded": lambda: token() + "=",
    "four parts": lambda: token() + ".x",
    "encrypted": lambda: "e30.e30.e30.e30.e30",
}


@pytest.mark.parametrize("case", REFUSED)
async def test_a_token_with_anything_wrong_is_a_401_and_nothing_is_sent(trusted, case):
    value = REFUSED[case]()
    status, said = await ask(trusted, value)
    assert (status, said["error"]["code"]) == (401, "invalid_api_key")
    assert trusted.upstream.count == 0
    assert [(row["effect"], row["principal"]) for row in trusted.records()] == [("deny", None)]
    assert value not in json.dumps(trusted.records()) + json.dumps(said)


async def test_a_token_that_was_let_in_ends_with_its_time(trusted):
    value = token(exp=int(EPOCH) + 10)
    assert (await ask(trusted, value))[0] == 200
    trusted.clock.move(39)
    assert (await ask(trusted, value))[0] == 200, "within the clock skew"
    trusted.clock.move(2)
    assert (await ask(trusted, value))[0] == 401
    assert trusted.upstream.count == 2


async def test_a_token_and_a_key_are_two_credentials(trusted):
    assert (await ask(trusted, token(), [("x-api-key", "sk-other")]))[0] == 401
    assert (await ask(trusted, token(), [("x-api-key", token(sub="u2"))]))[0] == 401
    assert trusted.upstream.count == 0


CONDITIONS = {
    'principal.actors.exists(a, a == "user:bot")': ({"act": {"sub": "bot", "act": {"sub": "older"}}}, {"act": {"sub": "else"}}),
    "size(principal.actors) == 0": ({}, {"act": {"sub": "bot"}}),
    'principal.actors == ["user:bot", "user:older"]': ({"act": {"sub": "bot", "act": {"sub": "older"}}}, {"act": {"sub": "older", "act": {"sub": "bot"}}}),
    "principal.claims.mfa && principal.claims.level >= 2": ({"mfa": True, "level": 2}, {"mfa": True, "level": 1}),
    '"eng" in principal.groups': ({"realm": {"groups": ["eng"]}}, {"groups": ["eng"]}),
    'principal.team == "red"': ({"team": "red"}, {"teams": "red"}),
    'principal.kind == "user"': ({}, None),
}


@pytest.mark.parametrize("when", CONDITIONS)
async def test_conditions_see_what_the_issuer_said_and_nothing_else(make_stage, file, when):
    yes, no = CONDITIONS[when]
    async with make_stage(documents(file, when=when), clock=FrozenClock()) as stage:
        assert (await ask(stage, token(**yes)))[0] == 200
        if no is not None:
            assert (await ask(stage, token(**no), [("x-mfa", "true"), ("x-team-id", "red")]))[0] == 403
        assert stage.upstream.count == 1
