"""Credentials are told apart by form and issuer, and only what is configured is loaded."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from sidecar.config.documents import Anonymous, ApiKeys, Identity, Jwt, Key, Method, Mtls
from sidecar.credentials import Authenticator, keys
from sidecar.errors import ConfigError
from sidecar.need import Unauthenticated
from sidecar.principal import Presented, Principal, Source

NOW = 1_790_000_000.0
CI = keys.make(b"c" * 20)
API = Method(api_key=ApiKeys(keys=(Key(id="ci", sha256=keys.digest(CI)),)))


async def test_a_token_goes_to_its_issuer_and_anything_else_to_the_keys(doors, method, rsa_signer):
    for methods in ([API, method()], [method(), API]):
        door = doors(*methods)
        await door.authenticator.warm()
        assert (await door(CI)).id == "key:ci"
        assert (await door(rsa_signer.token())).id == "user:u1"


async def test_a_bad_token_is_not_tried_as_a_key(doors, method, rsa_signer):
    expired = rsa_signer.token(exp=int(NOW) - 3600)
    as_key = Method(api_key=ApiKeys(keys=(Key(id="sneaky", sha256=keys.digest(expired)),)))
    door = doors(as_key, method())
    assert await door(expired) == Unauthenticated("the token has expired")


async def test_dots_alone_do_not_make_a_token(doors, method):
    dotted = Method(api_key=ApiKeys(keys=(Key(id="dotted", sha256=keys.digest("sk.legacy.key")),)))
    assert (await doors(dotted, method())("sk.legacy.key")).id == "key:dotted"


async def test_a_token_and_a_key_are_two_different_credentials(doors, method, rsa_signer):
    door = doors(API, method())
    assert await door(rsa_signer.token(), CI) == Unauthenticated("two different credentials")
    assert await door(rsa_signer.token(), rsa_signer.token(sub="u2")) == Unauthenticated("two different credentials")


async def test_an_anonymous_listener_takes_everybody_as_nobody(doors, rsa_signer):
    door = doors(Method(anonymous=Anonymous(team="lab", groups=("guests",))))
    answers = [await door(*values) for values in [(), (CI,), (CI, "other"), (rsa_signer.token(),), (b"der",)]]
    assert {id(answer) for answer in answers} == {id(answers[0])}
    assert answers[0].id == "anonymous"
    assert answers[0].subjects == {"anonymous", "team:lab", "group:guests"}


def test_anonymous_beside_another_method_does_not_load():
    with pytest.raises(ConfigError, match="stands alone"):
        Authenticator(Identity(methods=(API, Method(anonymous=Anonymous()))))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"jwks": "http://id.example.com/keys"}, "use https"),
        ({"jwks": "ftp://id.example.com/keys"}, "use https"),
        ({"map": {"rank": "rank"}}, "no declared claim"),
        ({"algorithms": ("HS256",)}, "public keys"),
        ({"algorithms": ("none",)}, "public keys"),
    ],
)
def test_an_issuer_that_cannot_be_trusted_does_not_load(method, issuer, options, says):
    with pytest.raises(ConfigError, match=says):
        Authenticator(Identity(methods=(method(**options),)), fetch=issuer.fetch)


def test_a_url_without_a_way_to_fetch_it_does_not_load(method):
    with pytest.raises(ConfigError, match="fetch"):
        Authenticator(Identity(methods=(method(),)))


def test_one_issuer_twice_does_not_load(method, issuer):
    with pytest.raises(ConfigError, match="same issuer"):
        Authenticator(Identity(methods=(method(), method(audience="other"))), fetch=issuer.fetch)


@pytest.mark.parametrize("domain", ["", "*", "Example.org", "a/b", "spiffe://a"])
def test_a_trust_domain_that_is_none_does_not_load(domain):
    with pytest.raises(ConfigError, match="trust domain"):
        Authenticator(Identity(methods=(Method(mtls=Mtls(trust_domains=(domain,))),)))


async def test_an_authenticator_of_keys_has_nothing_to_warm():
    auth = Authenticator(Identity(methods=(API,)))
    assert await auth.warm() == ()
    await auth.close()


def test_the_answer_to_a_key_is_not_awaited():
    assert isinstance(Authenticator(Identity(methods=(API,))).verify((Presented("bearer", CI),), Source(), NOW), Principal)


def test_what_no_document_names_is_not_imported():
    code = """
import json, sys
from sidecar.config.documents import *
from sidecar.credentials import Authenticator
heavy = lambda: sorted({name.partition(".")[0] for name in sys.modules} & {"jwt", "cryptography", "aiohttp"})
Authenticator(Identity(methods=(Method(api_key=ApiKeys()),)))
keys = heavy()
Authenticator(Identity(methods=(Method(mtls=Mtls(trust_domains=("a",))),)))
mtls = heavy()
Authenticator(Identity(methods=(Method(jwt=Jwt(issuer="i", audience="a", jwks="keys.json")),)))
print(json.dumps([keys, mtls, heavy()]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert json.loads(done.stdout) == [[], ["cryptography"], ["cryptography", "jwt"]]


async def test_several_issuers_are_told_apart_by_name_and_in_the_subject(doors, method, rsa_signer, tmp_path):
    other = tmp_path / "other.json"
    other.write_text(json.dumps({"keys": [rsa_signer.jwk()]}))
    door = doors(method(), Method(jwt=Jwt(issuer="https://other.example.com", audience="else", jwks=str(other))))
    assert (await door(rsa_signer.token())).id == "user:https://id.example.com#u1"
    assert (await door(rsa_signer.token(iss="https://other.example.com", aud="else"))).id == "user:https://other.example.com#u1"
    assert await door(rsa_signer.token(iss="https://other.example.com")) == Unauthenticated("the token is for another audience")
