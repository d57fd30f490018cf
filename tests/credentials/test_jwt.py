"""Tokens of an issuer: what is accepted, what it says, and the attacks that are not."""

from __future__ import annotations

import base64
import json

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given
from hypothesis import strategies as st

from sidecar.config.documents import Claim, Identity, Jwt, Method
from sidecar.credentials import Authenticator
from sidecar.need import Unauthenticated, Unavailable
from sidecar.principal import Presented, Principal, Source

NOW = 1_790_000_000.0
ISSUER = "https://id.example.com"


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def no(answer, says=""):
    assert isinstance(answer, Unauthenticated)
    assert says in answer.reason


async def test_every_kind_of_key_verifies(door, rsa_signer, ec_signer, ed_signer):
    for signer in (rsa_signer, ec_signer, ed_signer):
        assert (await door(signer.token())).id == "user:u1"


async def test_a_token_says_who_calls(door, rsa_signer):
    token = rsa_signer.token(
        team="build", realm={"groups": ["eng", "eu"]}, mfa=True, level=3, score=1, scopes=["a"], **{"https://example.com/mail": "u1@example.com"}
    )
    who = await door(token)
    assert (who.id, who.kind, who.team, who.groups) == ("user:u1", "user", "build", ("eng", "eu"))
    assert who.subjects == {"user:u1", "team:build", "group:eng", "group:eu"}
    assert who.claims == {"mfa": True, "level": 3, "score": 1.0, "mail": "u1@example.com", "scopes": ["a"]}
    assert who.expires == int(NOW) + 3600 + 30


async def test_absent_claims_have_their_defaults(door, rsa_signer):
    who = await door(rsa_signer.token(team=None, mfa=None))
    assert who.claims == {"mfa": False, "level": 1, "score": 0.0, "mail": "none", "scopes": []}
    assert (who.team, who.groups) == ("", ())


async def test_a_claim_nobody_declared_is_not_seen(door, rsa_signer):
    assert "admin" not in (await door(rsa_signer.token(admin=True))).claims


async def test_one_group_may_stand_for_a_list(door, rsa_signer):
    assert (await door(rsa_signer.token(realm={"groups": "eng"}))).groups == ("eng",)


@pytest.mark.parametrize(
    "wrong",
    [
        {"mfa": "true"},
        {"mfa": 1},
        {"level": True},
        {"level": 1.5},
        {"level": 2**63},
        {"score": "1"},
        {"https://example.com/mail": ["a"]},
        {"scopes": "a b"},
        {"scopes": ["a", 1]},
        {"team": ["build"]},
        {"team": "x" * 600},
        {"realm": {"groups": [1]}},
        {"realm": {"groups": {"eng": True}}},
        {"realm": {"groups": ["a\nb"]}},
        {"realm": {"groups": ["g"] * 600}},
    ],
)
async def test_a_claim_of_the_wrong_type_is_refused(door, rsa_signer, wrong):
    no(await door(rsa_signer.token(**wrong)), "wrong type")


async def test_actors_are_told_nearest_first(door, rsa_signer):
    act = {"sub": "agent", "act": {"sub": "planner", "iss": "https://else.example.com"}}
    assert (await door(rsa_signer.token(act=act))).actors == ("user:agent", "user:https://else.example.com#planner")


@pytest.mark.parametrize("act", ["agent", {}, {"sub": ""}, {"sub": 1}, {"sub": "a", "iss": 1}, {"sub": "a", "act": "b"}, []])
async def test_an_actor_that_is_none_is_refused(door, rsa_signer, act):
    no(await door(rsa_signer.token(act=act)))


async def test_a_delegation_chain_is_at_most_eight_long(door, rsa_signer):
    def chain(length):
        return {"sub": str(length), "act": chain(length - 1)} if length > 1 else {"sub": "1"}

    assert len((await door(rsa_signer.token(act=chain(8)))).actors) == 8
    no(await door(rsa_signer.token(act=chain(9))), "too long")


# ------------------------------------------------------------ times


@pytest.mark.parametrize(
    ("times", "accepted"),
    [
        ({"exp": NOW + 1}, True),
        ({"exp": NOW - 29}, True),
        ({"exp": NOW - 30}, False),
        ({"nbf": NOW + 30}, True),
        ({"nbf": NOW + 31}, False),
        ({"iat": NOW + 31}, False),
        ({"iat": ...}, True),
        ({"exp": ...}, False),
        ({"exp": None}, False),
        ({"exp": "4000000000"}, False),
        ({"exp": True}, False),
        ({"exp": 10**40}, False),
        ({"nbf": "0"}, False),
        ({"nbf": None}, False),
        ({"iat": []}, False),
    ],
)
async def test_times_are_checked_with_the_leeway(door, rsa_signer, times, accepted):
    assert isinstance(await door(rsa_signer.token(**times)), Principal) is accepted


# ------------------------------------------------------------ attacks


@pytest.mark.parametrize(
    "changes",
    [
        {"sub": ...},
        {"sub": ""},
        {"sub": 7},
        {"sub": "a\u0000b"},
        {"sub": "x" * 600},
        {"aud": ...},
        {"aud": "other"},
        {"aud": ["other"]},
        {"aud": {"sidecar": 1}},
        {"aud": "sidecar2"},
        {"iss": ...},
        {"iss": "https://id.example.com/"},
        {"iss": ["https://id.example.com"]},
        {"iss": "https://evil.example.com"},
    ],
)
async def test_a_token_for_somebody_else_or_of_nobody_is_refused(door, rsa_signer, changes):
    no(await door(rsa_signer.token(**changes)))


async def test_one_audience_of_several_is_enough(door, rsa_signer):
    assert isinstance(await door(rsa_signer.token(aud=["other", "sidecar"])), Principal)


@pytest.mark.parametrize(
    "header",
    [
        {"jku": "https://evil.example.com/keys"},
        {"jwk": {"kty": "RSA"}},
        {"x5u": "https://evil.example.com/cert"},
        {"x5c": ["MIIB"]},
        {"crit": ["exp"]},
        {"crit": []},
        {"b64": True},
        {"alg": "none"},
        {"alg": "None"},
        {"alg": ""},
        {"alg": None},
        {"alg": ["RS256"]},
        {"alg": ...},
        {"alg": "RS512"},
        {"alg": "rs256"},
        {"alg": "ES256"},
        {"kid": "nobody"},
        {"kid": 7},
        {"kid": "../../dev/null"},
        {"kid": "ec"},
        {"typ": "logout+jwt"},
        {"typ": 1},
    ],
)
async def test_a_header_that_tells_how_to_verify_is_refused(door, rsa_signer, header):
    no(await door(rsa_signer.token(header)))


@pytest.mark.parametrize("kind", ["JWT", "at+jwt", "application/at+jwt", ...])
async def test_access_tokens_are_accepted(door, rsa_signer, kind):
    assert isinstance(await door(rsa_signer.token({"typ": kind})), Principal)


async def test_an_unsigned_token_is_refused(door, rsa_signer):
    token = rsa_signer.token()
    head = b64(json.dumps({"alg": "none", "typ": "JWT"}).encode())
    payload = token.split(".")[1]
    for made in (f"{head}.{payload}.", f"{token.rpartition('.')[0]}.", f"{head}.{payload}.{token.rpartition('.')[2]}"):
        no(await door(made))


async def test_the_public_key_is_no_secret_to_sign_with(door, rsa_signer):
    public = rsa_signer.key.public_key()
    formats = [
        public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo),
        public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo),
        json.dumps(rsa_signer.jwk()).encode(),
    ]
    import hashlib
    import hmac

    for secret in formats:
        signed = f"{b64(json.dumps({'alg': 'HS256', 'kid': 'rsa', 'typ': 'JWT'}).encode())}.{rsa_signer.token().split('.')[1]}"
        no(await door(f"{signed}.{b64(hmac.new(secret, signed.encode(), hashlib.sha256).digest())}"), "algorithm")


async def test_another_key_does_not_sign_for_the_issuer(door, rsa_signer, ec_signer):
    for signer, key in ((rsa_signer, rsa.generate_private_key(65537, 2048)), (ec_signer, ec.generate_private_key(ec.SECP256R1()))):
        head, payload, _ = signer.token().split(".")
        raw = signer.raw(base64.urlsafe_b64decode(head + "=="), base64.urlsafe_b64decode(payload + "=="), key=key)
        no(await door(raw), "signature")


async def test_a_changed_payload_is_noticed(door, rsa_signer, ec_signer, ed_signer):
    for signer in (rsa_signer, ec_signer, ed_signer):
        head, _, signature = signer.token().split(".")
        no(await door(f"{head}.{signer.token(sub='admin').split('.')[1]}.{signature}"), "signature")


async def test_an_ecdsa_signature_of_zeros_is_refused(door, ec_signer):
    signed = ec_signer.token().rpartition(".")[0]
    for size in (0, 1, 64, 63, 128):
        no(await door(f"{signed}.{b64(bytes(size))}"))


async def test_a_token_with_a_key_twice_is_refused(door, rsa_signer):
    good = json.dumps({"iss": ISSUER, "aud": "sidecar", "sub": "u1", "exp": NOW + 60})
    head = json.dumps({"alg": "RS256", "kid": "rsa"})
    assert isinstance(await door(rsa_signer.raw(head.encode(), good.encode())), Principal)
    no(await door(rsa_signer.raw(head.encode(), (good[:-1] + ', "sub": "admin"}').encode())), "cannot be read")
    no(await door(rsa_signer.raw(head.encode(), (good[:-1] + ', "x": {"y": 1, "y": 2}}').encode())), "cannot be read")
    # a header with two readings makes it no token at all, so it is looked up as a key, which is no method here
    no(await door(rsa_signer.raw((head[:-1] + ', "alg": "none"}').encode(), good.encode())))


@pytest.mark.parametrize(
    "payload", [b"[]", b"null", b"{", b"\xff{}", b'{"exp": NaN}', b'{"exp": 1e999}', b'{"a": "\\ud800"}', b"[" * 5000, b'{"a": ' + b"9" * 5000 + b"}"]
)
async def test_a_payload_with_no_reading_is_refused(door, rsa_signer, payload):
    no(await door(rsa_signer.raw(b'{"alg": "RS256", "kid": "rsa"}', payload)))


async def test_a_token_has_one_spelling(door, rsa_signer):
    token = rsa_signer.token()
    signed, _, signature = token.rpartition(".")
    last = signature[-1]
    alias = next(
        char
        for char in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
        if char != last and base64.urlsafe_b64decode(signature[:-1] + char + "==") == base64.urlsafe_b64decode(signature + "==")
    )
    for made in (
        token + "=",
        token + "==",
        f"{signed}.{signature[:-1]}{alias}",
        token.replace(".", "=.", 1),
        token + "\n",
        token.replace(".", "..", 1),
        token + ".x",
    ):
        no(await door(made))


async def test_an_oversized_token_is_refused_unread(door, rsa_signer):
    no(await door(rsa_signer.token(pad="x" * 20_000)), "too long")


pieces = st.binary(max_size=60).map(b64)
heads = st.one_of(
    pieces,
    st.dictionaries(
        st.sampled_from(["alg", "kid", "typ", "crit", "jku"]),
        st.one_of(st.text(max_size=8), st.none(), st.integers(), st.lists(st.text(max_size=3))),
        max_size=4,
    ).map(lambda head: b64(json.dumps(head).encode())),
)
bodies = st.one_of(
    pieces,
    st.dictionaries(
        st.sampled_from(["iss", "aud", "sub", "exp", "act"]),
        st.one_of(st.just(ISSUER), st.just("sidecar"), st.floats(), st.none(), st.lists(st.text(max_size=3))),
    ).map(lambda body: b64(json.dumps(body).encode())),
)


@given(st.one_of(st.text(), st.tuples(heads, bodies, pieces).map(".".join)))
def test_garbage_is_never_anybody(tmp_path_factory, value):
    file = tmp_path_factory.getbasetemp() / "empty.json"
    file.write_text('{"keys": []}')
    auth = Authenticator(Identity(methods=(Method(jwt=Jwt(issuer=ISSUER, audience="sidecar", jwks=str(file))),), claims={"mfa": Claim(type="bool")}))
    answer = auth.verify((Presented("bearer", value),), Source(), NOW)
    if not isinstance(answer, Unauthenticated):
        with pytest.raises(StopIteration) as stop:
            answer.send(None)
        answer = stop.value.value
    assert isinstance(answer, Unauthenticated)


# ------------------------------------------------------------ remembered


async def test_a_verified_token_is_answered_at_once_and_is_one_object(door, rsa_signer):
    token = rsa_signer.token()
    first = await door(token)
    assert door.waited == 1
    assert await door(token) is first
    assert await door(token, now=NOW + 61) is first
    assert door.waited == 1


async def test_a_remembered_token_still_ends(door, rsa_signer):
    token = rsa_signer.token(exp=NOW + 10)
    assert isinstance(await door(token), Principal)
    assert isinstance(await door(token, now=NOW + 39), Principal)
    no(await door(token, now=NOW + 40), "expired")


async def test_without_a_kid_the_only_key_of_the_algorithm_is_meant(door, issuer, rsa_signer, ed_signer):
    assert isinstance(await door(rsa_signer.token({"kid": ...})), Principal)
    issuer.keys.append(ed_signer.jwk(kid="ed2"))
    door.authenticator._issuers[ISSUER].keys._tried = None
    await door.authenticator.warm()
    no(await door(ed_signer.token({"kid": ...})), "names no key")


async def test_an_issuer_never_reached_is_an_outage(door, issuer, rsa_signer):
    issuer.down = True
    assert isinstance(await door(rsa_signer.token()), Unavailable)
    no(await door(rsa_signer.token(exp=1)), "expired")
